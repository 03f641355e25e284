"""Lazy, CRS-aware layers of xarray that feed neural networks, and predictions back on the map.

Everything public is here, or a method of ``.geoxr`` on DataArrays and Datasets. Parts are imported
when they are first used, so that ``import geoxr`` costs little more than ``import xarray``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from geoxr import _torchvision
from geoxr import accessor as _accessor  # registers .geoxr
from geoxr.options import options

_torchvision.watch()

__version__ = "0.1.0.dev0"

#: Public name -> module that defines it.
_NAMES = {
    "Band": "geoxr.products",
    "Catalog": "geoxr.catalog.catalog",
    "ChipPlan": "geoxr.sample.chip",
    "Classes": "geoxr.grid.classes",
    "GeoxrError": "geoxr.errors",
    "Product": "geoxr.products",
    "QA": "geoxr.products",
    "class_index": "geoxr.sample.class_index",
    "k_fold_blocks": "geoxr.sample.split",
    "list_products": "geoxr.products",
    "load_task": "geoxr.tasks",
    "map": "geoxr.derive.map",
    "merge": "geoxr.catalog.merge",
    "mosaic": "geoxr.catalog.join",
    "open_product": "geoxr.catalog.open_product",
    "open_raster": "geoxr.catalog.open",
    "open_stac": "geoxr.catalog.stac",
    "open_vector": "geoxr.catalog.vector",
    "open_zarr": "geoxr.io.open",
    "qa_mask": "geoxr.derive.mask",
    "reproject": "geoxr.warp.reproject",
    "reproject_match": "geoxr.warp.reproject",
    "split_aoi": "geoxr.sample.split_aoi",
    "split_blocks": "geoxr.sample.split",
    "split_scenes": "geoxr.sample.split_scenes",
    "split_time": "geoxr.sample.split_time",
    "stats": "geoxr.transforms.statistics",
}
_MODULES = (
    "errors",
    "losses",
    "metrics",
    "models",
    "products",
    "tasks",
    "testing",
    "transforms",
)

__all__ = sorted([*_NAMES, *_MODULES, "options"])

if TYPE_CHECKING:
    from geoxr import errors, losses, metrics, models, products, tasks, testing, transforms
    from geoxr.catalog.catalog import Catalog
    from geoxr.catalog.join import mosaic
    from geoxr.catalog.merge import merge
    from geoxr.catalog.open import open_raster
    from geoxr.catalog.open_product import open_product
    from geoxr.catalog.stac import open_stac
    from geoxr.catalog.vector import open_vector
    from geoxr.derive.map import map
    from geoxr.derive.mask import qa_mask
    from geoxr.errors import GeoxrError
    from geoxr.grid.classes import Classes
    from geoxr.io.open import open_zarr
    from geoxr.products import QA, Band, Product, list_products
    from geoxr.sample.chip import ChipPlan
    from geoxr.sample.class_index import class_index
    from geoxr.sample.split import k_fold_blocks, split_blocks
    from geoxr.sample.split_aoi import split_aoi
    from geoxr.sample.split_scenes import split_scenes
    from geoxr.sample.split_time import split_time
    from geoxr.tasks import load_task
    from geoxr.transforms.statistics import stats
    from geoxr.warp.reproject import reproject, reproject_match


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"geoxr.{name}")
    else:
        raise AttributeError(f"module 'geoxr' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

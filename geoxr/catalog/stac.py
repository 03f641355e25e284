"""STAC items as scenes: `Catalog.from_stac` and `open_stac`.

References
----------
SpatioTemporal Asset Catalog specification 1.1.0, "Item"; stac-geoparquet (properties as columns).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from geoxr.catalog.build import Built
from geoxr.catalog.catalog import Catalog
from geoxr.catalog.frame import DEFAULTS, NEEDED, frame_of
from geoxr.catalog.given import masks_of
from geoxr.catalog.open import open_raster
from geoxr.catalog.scan import Errors, check_errors, warn_skipped
from geoxr.catalog.stac_items import StacItem, load_items
from geoxr.catalog.stac_product import ProductBands, product_bands
from geoxr.catalog.stac_scene import StacScene, scene_of
from geoxr.catalog.table import SceneTable
from geoxr.errors import ArgumentError, GeoxrError
from geoxr.products.product import Product
from geoxr.products.registry import find_product

if TYPE_CHECKING:
    import geopandas

#: Columns that a property of the same name does not replace.
_TAKEN = {*NEEDED, *DEFAULTS, "geometry", "id", "collection", "bbox", "product"}
#: Properties that have become columns of other names.
_TOLD = {"datetime", "start_datetime", "end_datetime"}


def open_stac(
    items: Any,
    *,
    assets: str | Sequence[str] | None = None,
    product: str | Product | None = None,
    mask_clouds: bool = False,
    mask_saturated: bool = False,
    errors: Errors = "raise",
    **options: Any,
) -> xr.DataArray:
    """Open STAC items as one lazy layer. Opens files only for what their items do not say.

    Parameters
    ----------
    items
        An Item or ItemCollection of pystac, the result of a search, an item or a FeatureCollection
        as a dictionary, the path of a JSON file of these, a directory or pattern of such files, or a
        list of any of them. Dictionaries and files need no pystac.
    assets : str or sequence of str, optional
        Assets to open, in this order: by key ("B04"), by the common name of a band ("red"), or by
        its own name. Default: all raster assets with the role "data".
    product : str or Product, optional
        What items are of, as for `open_product`. `assets` are then bands of the product, and found
        by the names of their files, too; numbers mean what the product says.
    mask_clouds, mask_saturated : bool
        With `product`: leave out the pixels that the quality asset of each item marks.
    errors : {"raise", "skip"}
        With "skip", items that cannot be used are left out, and a warning counts and names them.
    **options
        Those of `open_raster`, with `product` those of `open_product`: ``crs``, ``resolution``,
        ``bounds``, ``like``, ``time``, ``overlap``, ``sortby`` (any property:
        ``"cloud_cover"``), ``decode``, ...

    Returns
    -------
    DataArray
        Dimensions ``(band, y, x)``, with ``time`` first where items have several dates. Bands have
        the names that were asked for, or those of the product. Assets of different resolutions lie
        on the grid of the finest. Where all items agree, ``common_name`` and ``wavelength``
        [micrometre] are coordinates.

    Raises
    ------
    ArgumentError
        If an item lacks an asset or a geometry, or its assets are no bands of one layer, or are
        files of another product by their names; or if the
        product has no such band or mask.
    MissingFileError, NotARasterError
        If a file that has to be opened cannot be.

    See Also
    --------
    Catalog.from_stac : The same items as a table, to be filtered first.
    """
    known = None if product is None else find_product(product)
    if known is not None and "bands" in options:
        raise ArgumentError(
            f"bands is {options['bands']!r}, but assets name the bands of items of a product: "
            f"assets={options['bands']!r}."
        )
    chosen = _wanted(assets, known, clouds=mask_clouds, saturated=mask_saturated)
    scenes, skipped, total = _scenes(items, chosen, errors)
    warn_skipped(skipped, total, stacklevel=2)
    catalog = _catalog(scenes, known, skipped)
    if isinstance(chosen, ProductBands):
        return catalog.to_xarray(bands=chosen.bands, errors=errors, **options)
    wanted = [assets] if isinstance(assets, str) else assets
    inside = len(catalog.table.paths[0]) == 1 and set(wanted or ()) <= set(
        scenes[0].row.header.bands
    )
    if wanted is not None and inside and options.get("bands") is None:
        options["bands"] = list(wanted)
    layer = open_raster(catalog, errors=errors, **options)
    return layer.assign_coords(_optics(scenes, layer)) if "band" in layer.dims else layer


def catalog_from_stac(
    items: Any,
    assets: str | Sequence[str] | None,
    product: str | Product | None,
    errors: Errors,
    *,
    clouds: bool,
    saturated: bool,
) -> Catalog:
    """Make a catalog of STAC items; see `Catalog.from_stac`."""
    known = None if product is None else find_product(product)
    wanted = _wanted(assets, known, clouds=clouds, saturated=saturated)
    scenes, skipped, total = _scenes(items, wanted, errors)
    warn_skipped(skipped, total, stacklevel=3)
    return _catalog(scenes, known, skipped)


def _wanted(
    assets: str | Sequence[str] | None, product: Product | None, *, clouds: bool, saturated: bool
) -> list[str] | ProductBands | None:
    """What to open of each item; None for all that holds measurements."""
    if product is not None:
        qa = masks_of(product, clouds=clouds, saturated=saturated)
        return product_bands(product, assets, qa)
    if clouds or saturated:
        raise ArgumentError(
            "mask_clouds= and mask_saturated= need a product, which knows what the numbers of "
            'quality assets mean: product="sentinel2-l2a". gx.list_products() has all.'
        )
    wanted = [assets] if isinstance(assets, str) else None if assets is None else list(assets)
    if wanted is not None and not wanted:
        raise ArgumentError("assets is empty. Name at least one, or leave it out for all.")
    return wanted


def _scenes(
    items: Any, wanted: list[str] | ProductBands | None, errors: Errors
) -> tuple[list[StacScene], list[str], int]:
    """Scenes of items, why others were left out, and how many there were of both."""
    check_errors(errors)
    found, failed = load_items(items)
    results: list[StacScene | GeoxrError] = [*failed, *_without_repeats(found, wanted)]
    scenes = [one for one in results if isinstance(one, StacScene)]
    broken = [one for one in results if isinstance(one, GeoxrError)]
    if broken and errors == "raise":
        raise broken[0]
    if not scenes:
        raise ArgumentError(f"None of {len(results)} items can be used. The first: {broken[0]}")
    return scenes, [str(error) for error in broken], len(results)


def _without_repeats(
    items: Sequence[StacItem], wanted: list[str] | ProductBands | None
) -> Iterable[StacScene | GeoxrError]:
    """Make scenes in threads, or errors; an item that comes again is one."""
    known: set[tuple[Any, Any]] = set()
    fresh = []
    for item in items:
        key = item.content.get("collection"), item.content.get("id")
        if key in known:
            yield ArgumentError(
                f"{item.name} of collection {key[0]!r} comes more than once. Pass it once."
            )
        else:
            fresh.append(item)
        known.add(key)

    def scene(item: StacItem) -> StacScene | GeoxrError:
        try:
            return scene_of(item, wanted)
        except GeoxrError as error:
            return error

    with ThreadPoolExecutor(min(4 * (os.cpu_count() or 1), 32)) as pool:
        yield from pool.map(scene, fresh)


def _catalog(
    scenes: Sequence[StacScene], product: Product | None, skipped: Sequence[str]
) -> Catalog:
    table = SceneTable.of([scene.row for scene in scenes])
    shapes = np.full(len(scenes), None, object)
    shapes[:] = [scene.footprint for scene in scenes]
    frame = frame_of(table, shapes)
    frame.insert(0, "id", [str(scene.item.content.get("id")) for scene in scenes])
    collections = [scene.item.content.get("collection") for scene in scenes]
    if any(collections):
        frame.insert(1, "collection", collections)
    if product is not None:
        frame.insert(1, "product", product.name)
    properties = [scene.item.properties for scene in scenes]
    found = Built(_with_properties(frame, properties), tuple((None, why) for why in skipped))
    catalog = Catalog.of_built(found, product)
    catalog.__dict__["table"] = table
    return catalog


def _with_properties(
    frame: geopandas.GeoDataFrame, properties: Sequence[Mapping[str, Any]]
) -> geopandas.GeoDataFrame:
    """Add a column for every property: numbers, texts and truth values; lists as text."""
    names = dict.fromkeys(key for one in properties for key in one if _is_column(key))
    columns = {}
    for key in names:
        values = [_plain(one.get(key)) for one in properties]
        name = key.removeprefix("eo:") if key == "eo:cloud_cover" else key
        if any(value is not None for value in values):
            columns[f"stac:{name}" if name in _TAKEN else name] = values
    extra = pd.DataFrame(columns, index=frame.index)
    return frame.join(extra) if columns else frame


def _is_column(key: str) -> bool:
    # Bands and grids of assets are in columns of their own.
    return key not in _TOLD and not key.startswith(("proj:", "raster:bands", "eo:bands"))


def _plain(value: Any) -> Any:
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        return ", ".join(map(str, value))
    return None


def _optics(scenes: Sequence[StacScene], layer: xr.DataArray) -> dict[str, tuple[str, np.ndarray]]:
    """Coordinates along the bands of a layer, where all scenes agree and none is missing."""
    coords = {}
    for name, attribute in (("common_name", "commons"), ("wavelength", "wavelengths")):
        known = [
            dict(zip(one.row.header.bands, getattr(one, attribute), strict=True)) for one in scenes
        ]
        values = [known[0].get(str(band)) for band in layer["band"].values]
        agree = all(one == known[0] for one in known)
        if agree and all(value is not None for value in values):
            coords[name] = ("band", np.array(values))
    return coords

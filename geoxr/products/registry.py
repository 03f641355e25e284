"""The products that geoxr knows."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from geoxr.errors import ArgumentError
from geoxr.products.buildings import CANADIAN_BUILDINGS
from geoxr.products.cdl import CDL
from geoxr.products.chesapeake import CHESAPEAKE
from geoxr.products.land_cover import NLCD, WORLDCOVER
from geoxr.products.landsat import LANDSAT
from geoxr.products.naip import NAIP
from geoxr.products.product import Product
from geoxr.products.sentinel1 import SENTINEL1
from geoxr.products.sentinel2 import SENTINEL2
from geoxr.products.surface_water import SURFACE_WATER

_IMAGERY = (*LANDSAT, *SENTINEL2, *SENTINEL1, NAIP)
_LABELS = (CDL, NLCD, WORLDCOVER, *SURFACE_WATER, *CHESAPEAKE, CANADIAN_BUILDINGS)
_PRODUCTS = {product.name: product for product in (*_IMAGERY, *_LABELS)}


def products() -> Mapping[str, Product]:
    """Return the products that geoxr knows, by name."""
    return dict(_PRODUCTS)


def find_product(product: str | Product) -> Product:
    """Return a product by its name, or itself.

    Raises
    ------
    ArgumentError
        If geoxr knows none of that name.
    """
    if isinstance(product, Product):
        return product
    if product not in _PRODUCTS:
        near = get_close_matches(str(product), _PRODUCTS, n=3)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ArgumentError(
            f"There is no product {product!r}.{hint} gx.list_products() has all "
            f"{len(_PRODUCTS)}; describe your own with gx.Product(name=..., pattern=..., bands=...)."
        )
    return _PRODUCTS[product]


def list_products() -> Any:
    """Return a table of the products that geoxr knows.

    Returns
    -------
    pandas.DataFrame
        One row per product: title, kind, bands by common name, resolution [m], units as stored and
        decoded, what masks there are, classes, licence.
    """
    import pandas as pd

    rows = {product.name: _row(product) for product in _PRODUCTS.values()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def _row(product: Product) -> dict[str, Any]:
    sizes = sorted({band.resolution for band in product.bands if band.resolution})
    return {
        "title": product.title,
        "kind": product.kind,
        "bands": ", ".join(band.common or band.name for band in product.bands),
        "resolution": ", ".join(f"{size:g}" for size in sizes),
        "units": product.units,
        "decoded": product.decoded_units if (product.scale, product.offset) != (1, 0) else "",
        "masks": ", ".join(dict.fromkeys(qa.use for qa in product.qa)),
        "classes": len(product.classes) if product.classes else 0,
        "license": product.license,
    }

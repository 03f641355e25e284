"""The products that geoxr knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geoxr.errors import ArgumentError
from geoxr.products.cdl import CDL
from geoxr.products.landsat import LANDSAT8_L2_SR
from geoxr.products.product import Product

_PRODUCTS = {product.name: product for product in (LANDSAT8_L2_SR, CDL)}


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
        raise ArgumentError(
            f"There is no product {product!r}. geoxr knows {', '.join(_PRODUCTS)}; describe your "
            f"own with gx.Product(name=..., pattern=..., bands=...)."
        )
    return _PRODUCTS[product]


def list_products() -> Any:
    """Return a table of the products that geoxr knows.

    Returns
    -------
    pandas.DataFrame
        One row per product: title, kind, bands, units, classes, licence.
    """
    import pandas as pd

    rows = {
        product.name: {
            "title": product.title,
            "kind": product.kind,
            "bands": ", ".join(band.common or band.name for band in product.bands),
            "units": product.units,
            "classes": len(product.classes) if product.classes else 0,
            "license": product.license,
        }
        for product in _PRODUCTS.values()
    }
    return pd.DataFrame.from_dict(rows, orient="index")

"""Sensors and label products described as data."""

from __future__ import annotations

from geoxr.products.cdl import CDL
from geoxr.products.landsat import LANDSAT8_L2_SR
from geoxr.products.product import Band, Product
from geoxr.products.registry import list_products, products

__all__ = [
    "CDL",
    "LANDSAT8_L2_SR",
    "Band",
    "Product",
    "list_products",
    "products",
]

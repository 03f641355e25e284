"""Sensors and label products described as data."""

from __future__ import annotations

from geoxr.products.product import QA, Band, Metadata, Product
from geoxr.products.registry import list_products, products

__all__ = [
    "QA",
    "Band",
    "Metadata",
    "Product",
    "list_products",
    "products",
]

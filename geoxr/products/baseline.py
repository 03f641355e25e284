"""Processing baselines: from one to the next, stored numbers may mean something else.

References
----------
ESA, Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD): naming of products, and the
element ``PROCESSING_BASELINE`` of the product metadata file ``MTD_MSI*.xml``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePath

from geoxr.products.product import Product

_ELEMENT = re.compile(r"<PROCESSING_BASELINE>\s*(\d\d\.?\d\d)\s*</PROCESSING_BASELINE>")


def baseline_of(product: Product, path: str, groups: Mapping[str, str]) -> str:
    """Baseline of a scene as four digits: from its name, its metadata, or the product; else ""."""
    if not product.baseline_shift:
        return ""
    text = groups.get("baseline") or _from_metadata(path) or product.baseline
    return text.replace(".", "").zfill(4) if text else ""


def shift_of(product: Product, baseline: str) -> int:
    """Return what is added to the stored numbers of a scene."""
    shifts = [(since.replace(".", "").zfill(4), number) for since, number in product.baseline_shift]
    return next((number for since, number in sorted(shifts, reverse=True) if baseline >= since), 0)


def _from_metadata(path: str) -> str:
    """Look for the metadata file of the product in the folders above a file."""
    for folder in PurePath(path).parents:
        if folder.name.endswith(".SAFE"):
            return _in_safe(str(folder))
    return ""


@lru_cache(maxsize=1024)
def _in_safe(folder: str) -> str:
    for file in sorted(Path(folder).glob("MTD_MSI*.xml")):
        found = _ELEMENT.search(file.read_text(encoding="utf-8", errors="replace"))
        if found:
            return found[1]
    return ""

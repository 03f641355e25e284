"""Processing baselines: from one to the next, stored numbers may mean something else.

References
----------
ESA, Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD): processing baseline.
"""

from __future__ import annotations

from collections.abc import Mapping

from geoxr.products.product import Product


def baseline_of(product: Product, groups: Mapping[str, str]) -> str:
    """Baseline of a scene as four digits: as its groups tell, or the product; else ""."""
    if not product.baseline_shift:
        return ""
    text = groups.get("baseline") or product.baseline
    return text.replace(".", "").zfill(4) if text else ""


def shift_of(product: Product, baseline: str) -> int:
    """Return what is added to the stored numbers of a scene."""
    shifts = [(since.replace(".", "").zfill(4), number) for since, number in product.baseline_shift]
    return next((number for since, number in sorted(shifts, reverse=True) if baseline >= since), 0)

"""Affine maps from pixels to the CRS of a grid, and back."""

from __future__ import annotations

import numpy as np
from affine import Affine


def rotated(affine: Affine) -> bool:
    """Whether rows and columns of the grid are not parallel to the axes of its CRS."""
    return affine.b != 0 or affine.d != 0


def map_points(a: Affine, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Apply an affine map to points given as two arrays; NaN where one is not finite."""
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        return a.a * x + a.b * y + a.c, a.d * x + a.e * y + a.f

"""The polygon around the cells of a mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from affine import Affine

from geoxr.grid.quiet import quiet
from geoxr.grid.window import Window

#: Outlines between cells that are on and off longer than this are drawn more coarsely [cells].
_EDGES = 100_000


def mask_outline(
    mask: np.ndarray, step: int, window: Window, *, hole: float = 0.0, gap: float = 0.0
) -> shapely.Geometry:
    """Outline of the cells of a mask that are True [pixel of the grid].

    Parameters
    ----------
    mask : bool array (row, column)
        One cell for ``step x step`` pixels of a window.
    step : int [pixel]
    window : Window
    hole : float [pixel²]
        Holes smaller than that are filled.
    gap : float [pixel]
        Holes, cracks and notches into which no square of that side fits are closed.
    """
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.features import shapes

    while (mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum() > _EDGES:
        mask, step = _coarser(mask), 2 * step
    place = Affine.translation(window.col, window.row) @ Affine.scale(step)
    with quiet(NotGeoreferencedWarning):
        found = list(shapes(mask.astype("uint8"), mask=mask, connectivity=4, transform=place))
    merged = shapely.union_all([_filled(shape["coordinates"], hole) for shape, _ in found])
    if gap > 0:
        # Grown and shrunk by half of it, with square corners.
        merged = merged.buffer(gap / 2, join_style="mitre").buffer(-gap / 2, join_style="mitre")
    # Steps of the cells along a slanted edge are not part of it.
    simpler = merged.simplify(step / 2) if step > 1 else merged
    return simpler if simpler.is_valid else shapely.make_valid(simpler)


def _filled(rings: list[Any], hole: float) -> shapely.Polygon:
    shell, *holes = rings
    return shapely.Polygon(shell, [ring for ring in holes if shapely.Polygon(ring).area >= hole])


def _coarser(mask: np.ndarray) -> np.ndarray:
    """Cells twice as large, valid where half of what is in them is."""
    height, width = mask.shape
    padded = np.pad(mask, ((0, height % 2), (0, width % 2)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2)
    return blocks.sum(axis=(1, 3)) >= 2

"""Chips on a regular grid."""

from __future__ import annotations

from typing import Literal

import numpy as np
import shapely
import xarray as xr

from geoxr.errors import ArgumentError, ChipError
from geoxr.grid.geobox import geobox_of
from geoxr.sample.area import chip_area, chip_size, inside
from geoxr.sample.chip import ChipPlan, CornerGrid, Fixed, Grid, Spots
from geoxr.sample.validity import check_min_valid, valid_fraction
from geoxr.typing import Area

Edge = Literal["shift", "pad", "drop"]


def grid_chips(
    ds: xr.Dataset,
    size: float | tuple[float, float],
    *,
    stride: float | tuple[float, float] | None = None,
    edge: Edge = "shift",
    aoi: Area | None = None,
    min_valid: float = 0.0,
    units: Literal["pixels", "crs"] = "pixels",
) -> ChipPlan:
    """Lay chips over the grid, row by row.

    Parameters
    ----------
    ds : Dataset
    size : int or (height, width) [pixel]
        Of a chip, or in CRS units with ``units="crs"``.
    stride : int or (y, x) [pixel], optional
        From chip to chip. Default: `size`, so that they touch.
    edge : {"shift", "pad", "drop"}
        The last chip of a row or column is shifted back to end with the grid, reaches over its end
        (invalid pixels), or is left out.
    aoi : geometry, GeoSeries, GeoDataFrame or bounds, optional
        Only chips whose whole window is inside. Every part of it gets a grid of its own, from its
        own corner, so that small areas are covered too.
    min_valid : float
        Smallest share of pixels that are valid in all layers. It is estimated from every eighth
        pixel, more of small chips; 1 looks at all pixels.
    units : {"pixels", "crs"}

    Raises
    ------
    ChipError
        If chips are larger than the grid, or none is left.
    """
    geobox = geobox_of(ds)
    sides = chip_size(size, units, geobox)
    steps = sides if stride is None else chip_size(stride, units, geobox, "stride")
    check_min_valid(min_valid)
    if edge not in ("shift", "pad", "drop"):
        raise ArgumentError(f'edge is {edge!r}, but must be "shift", "pad" or "drop".')
    whole = _grid((0, 0), (geobox.height, geobox.width), sides, steps, edge)
    if aoi is None and min_valid == 0:
        return ChipPlan((Grid(geobox),), sides, whole)
    corners = whole.take(np.arange(len(whole))).corners if aoi is None else None
    if corners is None:
        parts = chip_area(ds, aoi)
        pieces = [_part(part, sides, steps, edge) for part in parts]
        corners = np.concatenate([*pieces, np.empty((0, 2), "int64")])
        fits = (corners >= 0).all(axis=1) & (corners + sides <= geobox.shape).all(axis=1)
        corners = corners[fits]
    if min_valid > 0:
        corners = corners[valid_fraction(ds, corners, sides, exact=min_valid == 1) >= min_valid]
    if not len(corners):
        raise ChipError(
            f"No chip of {sides[0]} x {sides[1]} pixels lies wholly in the area with at least "
            f"{min_valid:.0%} valid pixels. Make size or min_valid smaller, or the area larger."
        )
    return ChipPlan((Grid(geobox),), sides, Fixed(Spots(corners)))


def _grid(
    start: tuple[int, int],
    extent: tuple[int, int],
    size: tuple[int, int],
    stride: tuple[int, int],
    edge: Edge,
) -> CornerGrid:
    shape, last = [], []
    for begin, length, side, step in zip(start, extent, size, stride, strict=True):
        room = max(length - side, 0)
        number = room // step + 1 if edge == "drop" else -(-room // step) + 1
        shape.append(number)
        last.append(begin + (room if edge == "shift" else (number - 1) * step))
    return CornerGrid(start, stride, (shape[0], shape[1]), (last[0], last[1]))


def _part(
    part: shapely.Polygon, size: tuple[int, int], stride: tuple[int, int], edge: Edge
) -> np.ndarray:
    """Corners of the grid of one part of an area."""
    left, top, right, bottom = part.bounds
    row, col = int(np.ceil(top)), int(np.ceil(left))
    height, width = int(np.floor(bottom)) - row, int(np.floor(right)) - col
    if height < size[0] or width < size[1]:
        return np.empty((0, 2), "int64")
    # Chips that reach over the end of an area are not in it, so "pad" has nothing to pad here.
    grid = _grid((row, col), (height, width), size, stride, "drop" if edge == "pad" else edge)
    corners = grid.take(np.arange(len(grid))).corners
    return corners[inside([part], corners, size)]

"""Target grids: from CRS, resolution and bounds to a GeoBox."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import shapely
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError
from geoxr.grid.geobox import crs_name, parse_crs, require_crs, resolution, rotated, same_crs
from geoxr.grid.shapes import outline
from geoxr.typing import Align, Bounds, CRSLike
from geoxr.warp.lattice import transformer
from geoxr.warp.shapes import moved_whole


def projected_grid(
    source: GeoBox, crs: CRSLike | None = None, size: float | tuple[float, float] | None = None
) -> GeoBox:
    """Return the grid of a layer in another CRS or resolution, snapped to whole pixels."""
    wanted = require_crs(source, "The layer") if crs is None else parse_crs(crs)
    return target_grid([source], crs=wanted, size=size, box=None, align="snap")


def target_grid(
    sources: Sequence[GeoBox],
    *,
    crs: CRSLike,
    size: float | tuple[float, float] | None,
    box: Bounds | None,
    align: Align,
) -> GeoBox:
    """Return one grid that covers all sources.

    Parameters
    ----------
    crs : CRS-like
        Of the grid.
    size : float or (x, y) [CRS units], optional
        Of a pixel; that of the first source (at its middle) if left out.
    box : (left, bottom, right, top) [CRS units], optional
        Cover this instead of the sources.
    align : {"snap", "keep"}
        Pixels start at whole multiples of their size, or where those of the first source do.
    """
    wanted = parse_crs(crs)
    first = sources[0]
    native = same_crs(first.crs, wanted) and not rotated(first.affine)
    dx, dy = _pixel_size(first, wanted, native) if size is None else _both(size)
    if box is None:
        box = _bounds_in(wanted, sources)
    if not all(map(math.isfinite, box)) or box[0] >= box[2] or box[1] >= box[3]:
        raise ArgumentError(f"The bounds of the target {box} are not (left, bottom, right, top).")
    keep = align == "keep" and native
    left, top = (first.affine.c % dx, first.affine.f % dy) if keep else (0.0, 0.0)
    # A thousandth of a pixel over the edge is rounding, not another pixel.
    slack = 1e-3
    col = math.floor((box[0] - left) / dx + slack)
    stop_col = math.ceil((box[2] - left) / dx - slack)
    row = math.floor((top - box[3]) / dy + slack)
    stop_row = math.ceil((top - box[1]) / dy - slack)
    shape = (max(stop_row - row, 1), max(stop_col - col, 1))
    return GeoBox(shape, Affine(dx, 0, left + col * dx, 0, -dy, top - row * dy), wanted)


def _bounds_in(crs: CRS, sources: Sequence[GeoBox]) -> Bounds:
    """Bounds of all sources in a CRS."""
    frame = GeoBox((1, 1), Affine.identity(), crs)
    shapes = [
        outline(source)
        if same_crs(source.crs, crs)
        else moved_whole(outline(source), source, frame)
        for source in sources
    ]
    if any(shape is None for shape in shapes):
        raise ArgumentError(
            f"Some of the data has no place in {crs_name(crs)}, so the bounds of the target cannot be "
            f"found. Pass bounds=(left, bottom, right, top) with resolution=, or like=."
        )
    left, bottom, right, top = (float(side) for side in shapely.total_bounds(shapes))
    return left, bottom, right, top


def _both(size: float | tuple[float, float]) -> tuple[float, float]:
    pair = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(pair) != 2 or not all(value > 0 and math.isfinite(value) for value in pair):
        raise ArgumentError(f"resolution must be a positive number or a pair (x, y), not {size!r}.")
    return float(pair[0]), float(pair[1])


def _pixel_size(source: GeoBox, crs: object, native: bool) -> tuple[float, float]:
    if native or same_crs(source.crs, crs):  # type: ignore[arg-type]
        return resolution(source)
    change = transformer(require_crs(source, "The layer").to_wkt(), crs.to_wkt())  # type: ignore[attr-defined]
    col, row = source.width / 2, source.height / 2
    points = np.array([source.affine @ at for at in ((col, row), (col + 1, row), (col, row + 1))])
    x, y = change.transform(points[:, 0], points[:, 1])
    one = math.sqrt(abs((x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])))
    if not math.isfinite(one) or one == 0:
        raise ArgumentError("The pixel size in the new CRS cannot be guessed; pass resolution=.")
    return one, one

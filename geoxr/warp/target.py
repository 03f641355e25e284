"""Target grids: from CRS, resolution and bounds to a GeoBox."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError
from geoxr.grid.affine import map_points, rotated
from geoxr.grid.change import change_between
from geoxr.grid.crs import crs_name, full_turn, parse_crs, require_crs, same_crs
from geoxr.grid.geobox import resolution
from geoxr.grid.shapes import outline
from geoxr.typing import Align, Bounds, CRSLike
from geoxr.warp.shapes import unbroken

#: Grids have at most this many pixels along a side, and in all.
_SIDE, _PIXELS = 2**31, 10**12
#: Points along each side of a grid that stand for its pixels.
_SAMPLES = 257
#: Longitudes with a gap this wide are of data that do not go around the globe [turn].
_GAP = 1 / 36
#: A place that comes back this close to where it was is the same [degree].
_SAME = 1e-6


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
        box = bounds_in(wanted, sources)
    if not all(map(math.isfinite, box)) or box[0] >= box[2] or box[1] >= box[3]:
        raise ArgumentError(f"The bounds of the target {box} are not (left, bottom, right, top).")
    keep = align == "keep" and native
    left, top = (first.affine.c % dx, first.affine.f % dy) if keep else (0.0, 0.0)
    _check_size(box, dx, dy, wanted)
    # A thousandth of a pixel over the edge is rounding, not another pixel.
    slack = 1e-3
    col = math.floor((box[0] - left) / dx + slack)
    stop_col = math.ceil((box[2] - left) / dx - slack)
    row = math.floor((top - box[3]) / dy + slack)
    stop_row = math.ceil((top - box[1]) / dy - slack)
    shape = (max(stop_row - row, 1), max(stop_col - col, 1))
    return GeoBox(shape, Affine(dx, 0, left + col * dx, 0, -dy, top - row * dy), wanted)


def _check_size(box: Bounds, dx: float, dy: float, crs: CRS) -> None:
    """Raise if a grid would have more pixels than any array can."""
    width, height = (box[2] - box[0]) / dx, (box[3] - box[1]) / dy
    if max(width, height) < _SIDE and width * height < _PIXELS:
        return
    units = crs.units[0] if crs.units else "units"
    raise ArgumentError(
        f"The target would have {height:,.0f} x {width:,.0f} pixels: the area {_rounded(box)} at a "
        f"resolution of {dx:g} x {dy:g} {units} of {crs_name(crs)}. At most {_SIDE:,} along each side "
        f"and {_PIXELS:,} in all make sense. Pass a coarser resolution= (in {units}) or smaller bounds=."
    )


def _rounded(box: Bounds) -> str:
    return "({})".format(", ".join(f"{side:.8g}" for side in box))


def bounds_in(crs: CRS, sources: Sequence[GeoBox]) -> Bounds:
    """Bounds of all sources in a CRS.

    Where one of them crosses 180 degrees, the longitudes of the others are those next to it.
    """
    frame = GeoBox((1, 1), Affine.identity(), crs)
    boxes = np.array([_box_in(crs, source, frame) for source in sources])
    turn = full_turn(crs)
    crossing = (boxes[:, 2] > turn / 2 * (1 + 1e-9)) | (boxes[:, 0] < -turn / 2 * (1 + 1e-9))
    if turn and crossing.any():
        middles = (boxes[:, 0] + boxes[:, 2]) / 2
        base = middles[np.argmax(crossing)]
        boxes[:, [0, 2]] -= np.round((middles - base) / turn)[:, None] * turn
    left, bottom = boxes[:, :2].min(axis=0)
    right, top = boxes[:, 2:].max(axis=0)
    return float(left), float(bottom), float(right), float(top)


def _box_in(crs: CRS, source: GeoBox, frame: GeoBox) -> Bounds:
    shape = unbroken(outline(source), source, frame)
    return _box_of_points(crs, source) if shape is None else shape.bounds


def _box_of_points(crs: CRS, source: GeoBox) -> Bounds:
    """Bounds of those pixels of a source that have a place in the latitudes a CRS is made for.

    For grids that reach beyond what a projection can show: a global grid, a disk seen from space.
    """
    degrees = CRS("EPSG:4326")
    cols, rows = np.meshgrid(
        np.linspace(0, source.width, _SAMPLES), np.linspace(0, source.height, _SAMPLES)
    )
    x, y = map_points(source.affine, cols, rows)
    to_degrees = change_between(require_crs(source, "The layer"), degrees)
    lon, lat = to_degrees.forward(x, y)
    good = np.isfinite(lon) & np.isfinite(lat) & to_degrees.comes_back(x, y)
    lon, lat = lon[good], lat[good]
    area = crs.proj.area_of_use
    if area is not None and ((lat >= area.south) & (lat <= area.north)).any():
        lat = lat.clip(area.south, area.north)
    change = change_between(degrees, crs)
    east, north = change.forward(lon, lat)
    again = change.back(east, north)
    with np.errstate(invalid="ignore"):
        good = (np.abs(again[1] - lat) < _SAME) & (
            np.abs((again[0] - lon + 180) % 360 - 180) < _SAME
        )
        good |= (np.abs(lat) > 90 - _SAME) & np.isfinite(east)  # at a pole any longitude will do
    if np.count_nonzero(good) < 2:
        raise ArgumentError(
            f"The data has no place in {crs_name(crs)}, so the bounds of the target cannot be found. "
            f"Pass bounds=(left, bottom, right, top) with resolution=, or like=."
        )
    east, north = _in_one_piece(east[good], full_turn(crs)), north[good]
    return float(east.min()), float(north.min()), float(east.max()), float(north.max())


def _in_one_piece(east: np.ndarray, turn: float) -> np.ndarray:
    """Longitudes moved by whole turns so that a wide gap between them does not tear them apart."""
    ordered = np.sort(east)
    gaps = np.diff(ordered)
    at = int(np.argmax(gaps))
    outside = turn - (ordered[-1] - ordered[0])
    if not turn or gaps[at] < max(_GAP * turn, outside):
        return east
    return np.where(east <= ordered[at], east + turn, east)


def _both(size: float | tuple[float, float]) -> tuple[float, float]:
    pair = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(pair) != 2 or not all(value > 0 and math.isfinite(value) for value in pair):
        raise ArgumentError(f"resolution must be a positive number or a pair (x, y), not {size!r}.")
    return float(pair[0]), float(pair[1])


def _pixel_size(source: GeoBox, crs: CRS, native: bool) -> tuple[float, float]:
    """Size of a pixel in another CRS, at the middle of the source or next to it."""
    if native or same_crs(source.crs, crs):
        return resolution(source)
    change = change_between(require_crs(source, "The layer"), crs)
    for down, along in ((0.5, 0.5), (0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)):
        col, row = source.width * along, source.height * down
        corners = np.array([(col, row), (col + 1, row), (col, row + 1)])
        x, y = change.forward(*map_points(source.affine, corners[:, 0], corners[:, 1]))
        turn = full_turn(crs)
        if turn:
            x = np.unwrap(x, period=turn)
        with np.errstate(invalid="ignore"):
            one = math.sqrt(abs((x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])))
        if math.isfinite(one) and one > 0:
            return one, one
    raise ArgumentError("The pixel size in the new CRS cannot be guessed; pass resolution=.")

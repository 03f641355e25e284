"""Outlines in another CRS."""

from __future__ import annotations

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoxr.grid.affine import map_points
from geoxr.grid.change import Change, change_between
from geoxr.grid.crs import full_turn, same_crs
from geoxr.grid.geobox import bounds, resolution
from geoxr.grid.shapes import from_pixels, outline
from geoxr.warp.lattice import Lattice

#: An edge whose middle lands further than this from the middle of its ends is torn [share of it].
_TORN = 0.25
#: A map of the world is wider than this [metre].
_HALF_WORLD = 1.5e7


def project(shape: shapely.Geometry, source: GeoBox, target: GeoBox) -> shapely.Geometry:
    """Transform a geometry from the CRS of `source` to that of `target`, long edges bent.

    Longitudes are those of the target grid: what lies across 180 degrees is not torn, and appears
    where the grid has it.

    Where some of its vertices have no place in the target CRS, the result is what cells of a coarse
    lattice over the target lie on it: good for finding overlaps, not for outlines.
    """
    moved = moved_whole(shape, source, target)
    return _cells_on(shape, source, target) if moved is None else moved


def moved_whole(shape: shapely.Geometry, source: GeoBox, target: GeoBox) -> shapely.Geometry | None:
    """Transform a geometry as `project` does; None if a part of it has no place in the target CRS."""
    moved = unbroken(shape, source, target)
    turn = full_turn(target.crs)
    if moved is None or not turn or moved.is_empty:
        return moved
    left, _, right, _ = bounds(target)
    low, _, high, _ = moved.bounds
    first, last = int(np.ceil((left - high) / turn)), int(np.floor((right - low) / turn))
    if first > last:  # nowhere on the target: as near to it as can be
        first = last = round((left + right - low - high) / 2 / turn)
    if (first, last) == (0, 0):
        return moved
    return shapely.union_all([_shifted(moved, k * turn) for k in range(first, last + 1)])


def unbroken(shape: shapely.Geometry, source: GeoBox, target: GeoBox) -> shapely.Geometry | None:
    """Transform a geometry with bent edges; None if a part has no place in the CRS of `target`.

    Longitudes run on across 180 degrees; a part that has a pole inside reaches to it along all
    longitudes.

    Far from where a projection is made for, PROJ may give numbers that mean another place: only
    vertices that come back to where they were count as transformed, and only edges that stay in one
    piece.
    """
    if same_crs(source.crs, target.crs):
        return shape
    assert source.crs is not None and target.crs is not None
    change = change_between(source.crs, target.crs)
    edge = max(resolution(source)) * max(max(source.shape) / 64, 1)
    rings = []
    for polygon in shapely.get_parts(shape):
        moved = _moved_polygon(shapely.segmentize(polygon, edge), change, source, target)
        if moved is None:
            return None
        rings.append(moved)
    result = shapely.union_all(rings)
    result = result if result.is_valid else shapely.make_valid(result)
    return None if _inside_out(shape, result, change, source) else result


def _moved_polygon(
    polygon: shapely.Geometry, change: Change, source: GeoBox, target: GeoBox
) -> shapely.Geometry | None:
    """Transform one polygon that has many vertices."""
    turn = full_turn(target.crs)
    parts = []
    for ring in shapely.get_rings(polygon):
        points = shapely.get_coordinates(ring)
        halves = (points[1:] + points[:-1]) / 2
        both = np.concatenate([points, halves])
        moved = np.stack(change.forward(both[:, 0], both[:, 1]), axis=1)
        if not _comes_back(both, moved, change, source):
            return None
        if turn:
            order = np.empty((len(both), 2))  # vertices and middles of edges by turns
            order[::2], order[1::2] = moved[: len(points)], moved[len(points) :]
            order[:, 0] = np.unwrap(order[:, 0], period=turn)
            moved = np.concatenate([order[::2], order[1::2]])
        ends, middles = moved[: len(points)], moved[len(points) :]
        if _torn(ends, middles).any():
            return None
        parts.append(ends)
    shell = parts[0]
    if turn and abs(shell[-1, 0] - shell[0, 0]) > turn / 2:
        return _cap(shell, turn, north=shell[:, 1].mean() > 0)
    if turn:
        # Rings may have begun a whole turn apart; all lie where the first one does, near Greenwich.
        middle = (shell[:, 0].min() + shell[:, 0].max()) / 2
        parts = [_within(part, part[:, 0].mean() - middle, turn) for part in parts]
        parts = [part - [np.floor(middle / turn + 0.5) * turn, 0.0] for part in parts]
    moved_shape = shapely.Polygon(parts[0], parts[1:])
    return moved_shape if moved_shape.is_valid else shapely.make_valid(moved_shape)


def _inside_out(
    shape: shapely.Geometry, moved: shapely.Geometry, change: Change, source: GeoBox
) -> bool:
    """Whether what is inside a shape is outside of it in the target CRS.

    The left and right edge of a map of the world are one meridian elsewhere, and the ring through
    them encloses nothing, or what the map leaves out.
    """
    left, bottom, right, top = shape.bounds
    if right - left <= (full_turn(source.crs) / 2 or _HALF_WORLD):
        return False
    at = (np.arange(8) + 0.5) / 8
    x, y = np.meshgrid(left + at * (right - left), bottom + at * (top - bottom))
    x, y = x[shapely.contains_xy(shape, x, y)], y[shapely.contains_xy(shape, x, y)]
    east, north = change.forward(x, y)
    good = [
        _comes_back(np.array([[a, b]]), np.array([[c, d]]), change, source)
        for a, b, c, d in zip(x, y, east, north, strict=True)
    ]
    if not any(good):
        return False
    covered = shapely.intersects_xy(moved, east[good], north[good])
    return bool(np.count_nonzero(covered) < len(covered) / 2)


def _comes_back(points: np.ndarray, moved: np.ndarray, change: Change, source: GeoBox) -> bool:
    """Whether all points come back to within a pixel of where they were."""
    off = np.stack(change.back(moved[:, 0], moved[:, 1]), axis=1) - points
    turn = full_turn(source.crs)
    if turn:
        with np.errstate(invalid="ignore"):
            off[:, 0] -= np.round(off[:, 0] / turn) * turn
        # At a pole all longitudes are one place.
        off[np.abs(points[:, 1]) >= turn / 4 * (1 - 1e-9), 0] = 0.0
    # A comparison with NaN or infinity is False.
    return bool((np.abs(off) <= max(resolution(source))).all())


def _torn(ends: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """Which edges do not stay in one piece."""
    off = np.hypot(*(middles - (ends[1:] + ends[:-1]) / 2).T)
    length = np.hypot(*(ends[1:] - ends[:-1]).T)
    return off > _TORN * length + 1e-6 * np.hypot(*np.ptp(ends, axis=0))


def _cap(ring: np.ndarray, turn: float, *, north: bool) -> shapely.Geometry:
    """Polygon between a ring once around a pole and this pole, from -180 to 180 degrees."""
    pole = turn / 4 if north else -turn / 4
    ring = ring - [np.floor(ring[0, 0] / turn + 0.5) * turn, 0.0]
    cap = shapely.make_valid(shapely.Polygon([*ring, (ring[-1, 0], pole), (ring[0, 0], pole)]))
    around = [_shifted(cap, k * turn) for k in (-1, 0, 1)]
    return shapely.union_all(around) & shapely.box(-turn / 2, -turn / 4, turn / 2, turn / 4)


def _shifted(shape: shapely.Geometry, along: float) -> shapely.Geometry:
    return shapely.transform(shape, lambda points: points + [along, 0.0])


def _within(ring: np.ndarray, away: float, turn: float) -> np.ndarray:
    return ring - [np.round(away / turn) * turn, 0.0]


def _cells_on(shape: shapely.Geometry, source: GeoBox, target: GeoBox) -> shapely.Geometry:
    """Cells of the target, 64 along each axis, of which a corner lies on a shape of the source.

    So do cells into which a point of a lattice over the shape falls, as a small shape may lie between
    all corners.
    """
    cols = np.linspace(0, target.width, 65)
    rows = np.linspace(0, target.height, 65)
    columns, lines = np.meshgrid(cols, rows)
    x, y = Lattice(source, target).exact(columns, lines)
    on = _covers(shape, *(map_points(source.affine, x, y)))
    touched = on[1:, 1:] | on[1:, :-1] | on[:-1, 1:] | on[:-1, :-1]
    points = np.stack(np.meshgrid(np.linspace(0, 1, 33), np.linspace(0, 1, 33)), axis=-1)
    left, bottom, right, top = shape.bounds if not shape.is_empty else outline(source).bounds
    points = points.reshape(-1, 2) * [right - left, top - bottom] + [left, bottom]
    points = points[_covers(shape, points[:, 0], points[:, 1])]
    at = map_points(~source.affine, points[:, 0], points[:, 1])
    col, row = Lattice(target, source).exact(*at)
    inside = (col >= 0) & (col < target.width) & (row >= 0) & (row < target.height)
    touched[
        (row[inside] * 64 / target.height).astype(int),
        (col[inside] * 64 / target.width).astype(int),
    ] = True
    down, along = np.nonzero(touched)
    cells_on = shapely.box(cols[along], rows[down], cols[along + 1], rows[down + 1])
    return from_pixels(shapely.union_all(cells_on), target)


def _covers(shape: shapely.Geometry, east: np.ndarray, north: np.ndarray) -> np.ndarray:
    good = np.isfinite(east) & np.isfinite(north)
    on = np.zeros(good.shape, bool)
    on[good] = shapely.covers(shape, shapely.points(east[good], north[good]))
    return on

"""Where many scenes lie in a target grid, all at once.

PROJ is asked for nine points of every scene: corners, middles of edges, centre. The second
differences between them say how far an edge can bend beyond its points, and where a projection
bends so strongly that nine points do not describe it (a pole, a cut, half the earth) the scene is
projected on its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoxr.catalog.mosaic import covered
from geoxr.catalog.table import SceneTable
from geoxr.grid.change import change_between
from geoxr.grid.crs import full_turn, require_crs, same_crs
from geoxr.grid.geobox import extent, lattice_offset
from geoxr.grid.shapes import outline
from geoxr.typing import Bounds
from geoxr.warp.reproject import goes_round
from geoxr.warp.shapes import project
from geoxr.warp.target import bounds_in

#: Nine points that describe a scene, as parts of its width and height, row by row.
_NINE = np.stack(np.meshgrid([0, 0.5, 1], [0, 0.5, 1]), axis=-1).reshape(9, 2)
#: Second differences above this part of the extent are no mere bend.
_SMOOTH = 0.2
#: A thousandth of a pixel over the edge is rounding, not another pixel.
_SLACK = 1e-3


@dataclass(frozen=True)
class Placement:
    """Where scenes lie.

    Attributes
    ----------
    windows : int64 array (scene, 4) [target pixel]
        First row and column, row and column after the last; empty where a scene misses the target.
        A window may be a little larger than its scene, never smaller.
    sliced : bool array (scene,)
        Whether a scene is on the lattice of the target, so that nothing is resampled.
    """

    windows: np.ndarray
    sliced: np.ndarray


def place(table: SceneTable, target: GeoBox) -> Placement:
    """Find the window of the target that each scene covers."""
    windows = np.zeros((len(table), 4), "int64")
    sliced = np.zeros(len(table), bool)
    for crs, rows in table.crs_groups():
        if same_crs(crs, target.crs):
            windows[rows], sliced[rows] = _place_native(table, rows, target)
        else:
            windows[rows] = _place_projected(table, rows, target)
    height, width = target.shape
    np.clip(windows, 0, (height, width, height, width), out=windows)
    empty = (windows[:, 0] >= windows[:, 2]) | (windows[:, 1] >= windows[:, 3])
    windows[empty] = 0
    return Placement(windows, sliced)


def common_bounds(table: SceneTable, crs: CRS) -> Bounds:
    """Bounds of all scenes in a CRS.

    In a geographic CRS scenes on both sides of the 180th meridian continue beyond it, where one of
    them crosses it.

    Raises
    ------
    ArgumentError
        If a scene has no place in the CRS.
    """
    frame = GeoBox((1, 1), Affine.identity(), crs)
    boxes = np.empty((len(table), 4))
    for own, rows in table.crs_groups():
        if same_crs(own, crs):
            points = points_of(table, rows, _NINE)
            boxes[rows] = np.hstack([points.min(axis=1), points.max(axis=1)])
        else:
            boxes[rows] = _boxes(table, rows, own, frame)
    turn = full_turn(crs)
    if turn:
        boxes = _round_the_earth(boxes, turn)
    return (
        float(boxes[:, 0].min()),
        float(boxes[:, 1].min()),
        float(boxes[:, 2].max()),
        float(boxes[:, 3].max()),
    )


def outlines(table: SceneTable, target: GeoBox) -> list[shapely.Geometry]:
    """Outlines of scenes in the CRS of a target, edges bent; where it is geographic, in its turn."""
    shapes: list[shapely.Geometry] = [shapely.Polygon()] * len(table)
    for crs, rows in table.crs_groups():
        if same_crs(crs, target.crs):
            rings = shapely.polygons(points_of(table, rows, ring(1)))
        else:
            rings = _moved_rings(table, rows, crs, target)
        for row, shape in zip(rows, rings, strict=True):
            shapes[row] = shape
    return shapes


def _place_native(
    table: SceneTable, rows: np.ndarray, target: GeoBox
) -> tuple[np.ndarray, np.ndarray]:
    """Windows of scenes in the CRS of the target, and which are on its lattice."""
    points = points_of(table, rows, ring(1))
    windows, _ = _windows(points, np.ones(len(rows), bool), target, bent=False)
    pixels = _to_pixels(points, target)
    corner = np.rint(pixels[:, 0])
    on = np.zeros(len(rows), bool)
    # Only what is near a whole offset is worth the exact question.
    near = np.abs(pixels - corner[:, None] - ring(1) * table.shapes[rows][:, None, ::-1])
    for i in np.flatnonzero(near.max(axis=(1, 2)) < _SLACK):
        box = table.row(int(rows[i])).geobox
        offset = lattice_offset(box, target)
        if offset is not None and not goes_round(box, target, offset[1]):
            row, col = -offset[0], -offset[1]
            windows[i] = row, col, row + box.height, col + box.width
            on[i] = True
    return windows, on


def _place_projected(table: SceneTable, rows: np.ndarray, target: GeoBox) -> np.ndarray:
    """Windows of scenes in another CRS than the target."""
    row = table.row(int(rows[0]))
    own, wanted = require_crs(row.geobox, row.name), require_crs(target, "The target grid")
    points, good = moved(points_of(table, rows, _NINE), own, wanted, table.affines[rows])
    windows, smooth = _windows(points, good, target, bent=True)
    for i in np.flatnonzero(~smooth):
        window = covered(_on_its_own(table, int(rows[i]), target) & outline(target), target)
        windows[i] = window.row, window.col, *window.stop
    return windows


def _windows(
    points: np.ndarray, good: np.ndarray, target: GeoBox, *, bent: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Windows (scene, 4) that hold points (scene, point, 2) of the CRS of the target.

    With `bent` the points are nine of each scene, and what bends too strongly gets no window; the
    second result says which scenes do not. In a geographic CRS a scene is also where a whole turn
    takes it.
    """
    turn, whole = full_turn(target.crs), extent(target)
    windows = np.zeros((len(points), 4), "int64")
    done = np.zeros(len(points), bool)
    bend, smooth = np.zeros((len(points), 2)), good
    if bent:
        bend, smooth = _bend(_to_pixels(points, target))
        smooth = smooth & good
    points = np.where(smooth[:, None, None], points, 0.0)
    for shift in [-turn, 0.0, turn] if turn else [0.0]:
        some = _around(
            _to_pixels(points + (shift, 0.0), target), np.where(smooth[:, None], bend, 0) / 4
        )
        meets = smooth & (some[:, 0] < whole.stop[0]) & (some[:, 2] > 0)
        meets &= (some[:, 1] < whole.stop[1]) & (some[:, 3] > 0)
        fresh, again = meets & ~done, meets & done
        windows[fresh] = some[fresh]
        windows[again, :2] = np.minimum(windows[again, :2], some[again, :2])
        windows[again, 2:] = np.maximum(windows[again, 2:], some[again, 2:])
        done |= meets
    return windows, smooth


def _boxes(table: SceneTable, rows: np.ndarray, crs: CRS | None, frame: GeoBox) -> np.ndarray:
    """Bounds (scene, 4) in another CRS: exact for scenes at the rim, within a bend for the others."""
    assert crs is not None and frame.crs is not None
    points, good = moved(points_of(table, rows, _NINE), crs, frame.crs, table.affines[rows])
    bend, smooth = _bend(points)
    smooth &= good
    low, high = points.min(axis=1), points.max(axis=1)
    rim = ~smooth
    if smooth.any():
        lowest, highest = low[smooth].min(axis=0), high[smooth].max(axis=0)
        rim |= ((low - bend / 4 <= lowest) | (high + bend / 4 >= highest)).any(axis=1)
    picked = np.flatnonzero(rim & smooth)
    if picked.size:
        dense, fine = moved(
            points_of(table, rows[picked], ring(64)), crs, frame.crs, table.affines[rows[picked]],
            along=True,
        )  # fmt: skip
        smooth[picked] = fine
        low[picked], high[picked] = dense.min(axis=1), dense.max(axis=1)
    for i in np.flatnonzero(~smooth):
        box = bounds_in(frame.crs, [table.row(int(rows[i])).geobox])
        low[i], high[i] = box[:2], box[2:]
    return np.hstack([low, high])


def _moved_rings(
    table: SceneTable, rows: np.ndarray, crs: CRS | None, target: GeoBox
) -> list[shapely.Geometry]:
    """Outlines in another CRS, moved by whole turns onto the target where that is geographic."""
    assert crs is not None and target.crs is not None
    points, good = moved(
        points_of(table, rows, ring(16)), crs, target.crs, table.affines[rows], along=True
    )
    smooth = _bend(moved(points_of(table, rows, _NINE), crs, target.crs, table.affines[rows])[0])[1]
    shapes: list[shapely.Geometry] = []
    for i, row in enumerate(rows):
        if not (good[i] and smooth[i]):
            shapes.append(_on_its_own(table, int(row), target))
        else:
            shapes.append(_in_turn(shapely.polygons(points[i]), target))
    return shapes


def _on_its_own(table: SceneTable, row: int, target: GeoBox) -> shapely.Geometry:
    """Outline of a scene that a projection bends or cuts, in the CRS of the target."""
    box, turn = table.row(row).geobox, full_turn(target.crs)
    if turn and box.crs is not None and target.crs is not None:
        points = points_of(table, np.array([row]), ring(64))
        points, good = moved(points, box.crs, target.crs, table.affines[[row]], along=True)
        if good[0]:
            return _in_turn(round_poles(points, turn)[0], target)
    return project(outline(box), box, target)


def round_poles(points: np.ndarray, turn: float) -> np.ndarray:
    """Polygons of outlines (scene, point, 2) in longitude and latitude.

    One that runs once round the earth has a pole inside and is closed over it.
    """
    closed = np.concatenate([points, points[:, :1]], axis=1)
    closed[..., 0] = np.unwrap(closed[..., 0], period=turn, axis=1)  # the last point, too
    shapes = shapely.polygons(closed)
    for i in np.flatnonzero(np.abs(closed[:, -1, 0] - closed[:, 0, 0]) > turn / 2):
        line = closed[i]
        pole = turn / 4 if line[:, 1].mean() > 0 else -turn / 4
        ends = [(line[-1, 0], pole), (line[0, 0], pole)]
        shapes[i] = shapely.Polygon(np.concatenate([line, ends]))
    return shapes


def _in_turn(shape: shapely.Geometry, target: GeoBox) -> shapely.Geometry:
    """Move a shape by whole turns onto a geographic target, wherever that meets it."""
    turn, frame = full_turn(target.crs), outline(target)
    if not turn:
        return shape
    shape = shape if shape.is_valid else shapely.make_valid(shape)
    turned = [
        shapely.transform(shape, lambda xy, shift=shift: xy + (shift, 0.0))
        for shift in (-2 * turn, -turn, turn, 2 * turn)
    ]
    return shapely.union_all([shape, *(one for one in turned if one.intersects(frame))])


def points_of(table: SceneTable, rows: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Points (scene, point, 2) in the CRS of each scene, given as parts of width and height."""
    a, b, c, d, e, f = (table.affines[rows, i][:, None] for i in range(6))
    col = table.shapes[rows, 1][:, None] * parts[:, 0]
    row = table.shapes[rows, 0][:, None] * parts[:, 1]
    return np.stack([a * col + b * row + c, d * col + e * row + f], axis=-1)


@lru_cache(maxsize=8)
def ring(segments: int) -> np.ndarray:
    """Points around the unit square, `segments` along every edge, without the first once more."""
    t = np.arange(segments) / segments
    zero, one = np.zeros(segments), np.ones(segments)
    edges = [(t, zero), (one, t), (1 - t, one), (zero, 1 - t)]
    return np.concatenate([np.stack(edge, axis=1) for edge in edges])


def moved(
    points: np.ndarray, source: CRS, target: CRS, affines: np.ndarray, *, along: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Transform points (scene, point, 2), so that longitudes do not jump at the 180th meridian.

    Parameters
    ----------
    affines : array (scene, 6)
        Of the grids, for the size of their pixels.
    along : bool
        Whether the points follow an outline: then each longitude is near the one before it,
        otherwise near the first.

    Returns
    -------
    points : float64 array (scene, point, 2)
    good : bool array (scene,)
        Whether all points of a scene came back to where they were, to within a pixel.
    """
    change = change_between(source, target)
    x, y = change.forward(points[..., 0], points[..., 1])
    back_x, back_y = change.back(x, y)
    own, turn = full_turn(source), full_turn(target)
    with np.errstate(invalid="ignore"):
        off = np.abs(back_x - points[..., 0])
        if own:
            off = np.minimum(off % own, -off % own)
        off = np.maximum(off, np.abs(back_y - points[..., 1]))
        size = np.maximum(
            np.hypot(affines[:, 0], affines[:, 3]), np.hypot(affines[:, 1], affines[:, 4])
        )
        # A comparison with NaN or infinity is False.
        good = (off <= size[:, None]).all(axis=1)
        if turn and along:
            x = np.unwrap(x, period=turn, axis=1)
        elif turn:
            x = x - np.rint((x - x[:, :1]) / turn) * turn
    return np.stack([x, y], axis=-1), good


def _bend(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Second differences of nine points (scene, 2), and whether they are small."""
    grid = points.reshape(-1, 3, 3, 2)
    with np.errstate(invalid="ignore"):
        along = np.abs(grid[:, :, 0] - 2 * grid[:, :, 1] + grid[:, :, 2]).max(axis=1)
        down = np.abs(grid[:, 0] - 2 * grid[:, 1] + grid[:, 2]).max(axis=1)
        bend = along + down
        size = (points.max(axis=1) - points.min(axis=1)).max(axis=1)
        smooth = bend.max(axis=1) <= _SMOOTH * size
    return bend, smooth


def _to_pixels(points: np.ndarray, target: GeoBox) -> np.ndarray:
    a = ~target.affine
    x, y = points[..., 0], points[..., 1]
    return np.stack([a.a * x + a.b * y + a.c, a.d * x + a.e * y + a.f], axis=-1)


def _around(pixels: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Windows (scene, 4) that hold points (scene, point, 2), a pixel and `more` wider."""
    low = np.floor(pixels.min(axis=1) - more + _SLACK) - 1
    high = np.ceil(pixels.max(axis=1) + more - _SLACK) + 1
    far = 2**40  # keeps what lies nowhere near within integers
    return np.hstack([low[:, ::-1], high[:, ::-1]]).clip(-far, far).astype("int64")


def _round_the_earth(boxes: np.ndarray, turn: float) -> np.ndarray:
    """Move boxes by whole turns so that together they are narrow, if one crosses 180 degrees."""
    half = turn / 2
    if not ((boxes[:, 0] < -half) | (boxes[:, 2] > half)).any():
        return boxes
    left = boxes[:, 0] % turn
    order = np.argsort(left)
    ends = np.maximum.accumulate(left[order] + (boxes[:, 2] - boxes[:, 0])[order])
    # The widest gap between boxes, the one over the start of the circle included, is where to cut.
    gaps = np.append(left[order][1:], left[order][0] + turn) - ends
    cut = order[(int(np.argmax(gaps)) + 1) % len(order)]
    moved = left[cut] + (left - left[cut]) % turn
    if gaps.max() <= 0:
        return boxes
    moved -= np.floor((moved[cut] + half) / turn) * turn
    return np.stack([moved, boxes[:, 1], moved + boxes[:, 2] - boxes[:, 0], boxes[:, 3]], axis=1)

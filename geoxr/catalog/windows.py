"""Where many scenes lie in a target grid, all at once.

PROJ is asked for nine points of every scene: corners, middles of edges, centre. The second
differences between them say how far an edge can bend beyond its points, and where a projection
bends so strongly that nine points do not describe it (a pole, a cut, half the earth) the scene is
projected on its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from odc.geo.geobox import GeoBox

from geoxr.catalog.outlines import on_its_own
from geoxr.catalog.points import NINE, bend, moved, points_of, ring
from geoxr.catalog.table import SceneTable
from geoxr.grid.affine import map_points
from geoxr.grid.crs import full_turn, require_crs, same_crs
from geoxr.grid.geobox import extent, lattice_offset
from geoxr.grid.shapes import covered, outline
from geoxr.warp.reproject import goes_round

#: A thousandth of a pixel over the edge is rounding, not another pixel.
_SLACK = 1e-3


@dataclass(frozen=True)
class SceneWindows:
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


def scene_windows(table: SceneTable, target: GeoBox) -> SceneWindows:
    """Find the window of the target that each scene covers."""
    windows = np.zeros((len(table), 4), "int64")
    sliced = np.zeros(len(table), bool)
    for crs, rows in table.crs_groups():
        if same_crs(crs, target.crs):
            windows[rows], sliced[rows] = _native(table, rows, target)
        else:
            windows[rows] = _projected(table, rows, target)
    height, width = target.shape
    np.clip(windows, 0, (height, width, height, width), out=windows)
    empty = (windows[:, 0] >= windows[:, 2]) | (windows[:, 1] >= windows[:, 3])
    windows[empty] = 0
    return SceneWindows(windows, sliced)


def _native(table: SceneTable, rows: np.ndarray, target: GeoBox) -> tuple[np.ndarray, np.ndarray]:
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


def _projected(table: SceneTable, rows: np.ndarray, target: GeoBox) -> np.ndarray:
    """Windows of scenes in another CRS than the target."""
    row = table.row(int(rows[0]))
    own, wanted = require_crs(row.geobox, row.name), require_crs(target, "The target grid")
    points, good = moved(points_of(table, rows, NINE), own, wanted, table.affines[rows])
    windows, smooth = _windows(points, good, target, bent=True)
    for i in np.flatnonzero(~smooth):
        window = covered(on_its_own(table, int(rows[i]), target) & outline(target), target)
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
    bends, smooth = np.zeros((len(points), 2)), good
    if bent:
        bends, smooth = bend(_to_pixels(points, target))
        smooth = smooth & good
    points = np.where(smooth[:, None, None], points, 0.0)
    for shift in [-turn, 0.0, turn] if turn else [0.0]:
        some = _around(
            _to_pixels(points + (shift, 0.0), target), np.where(smooth[:, None], bends, 0) / 4
        )
        meets = smooth & (some[:, 0] < whole.stop[0]) & (some[:, 2] > 0)
        meets &= (some[:, 1] < whole.stop[1]) & (some[:, 3] > 0)
        fresh, again = meets & ~done, meets & done
        windows[fresh] = some[fresh]
        windows[again, :2] = np.minimum(windows[again, :2], some[again, :2])
        windows[again, 2:] = np.maximum(windows[again, 2:], some[again, 2:])
        done |= meets
    return windows, smooth


def _to_pixels(points: np.ndarray, target: GeoBox) -> np.ndarray:
    return np.stack(map_points(~target.affine, points[..., 0], points[..., 1]), axis=-1)


def _around(pixels: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Windows (scene, 4) that hold points (scene, point, 2), a pixel and `more` wider."""
    low = np.floor(pixels.min(axis=1) - more + _SLACK) - 1
    high = np.ceil(pixels.max(axis=1) + more - _SLACK) + 1
    far = 2**40  # keeps what lies nowhere near within integers
    return np.hstack([low[:, ::-1], high[:, ::-1]]).clip(-far, far).astype("int64")

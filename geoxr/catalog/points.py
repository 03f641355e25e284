"""Points of scenes, in their own CRS and in another one."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from odc.geo.crs import CRS

from geoxr.catalog.table import SceneTable
from geoxr.grid.change import change_between
from geoxr.grid.crs import full_turn

#: Nine points that describe a scene, as parts of its width and height, row by row.
NINE = np.stack(np.meshgrid([0, 0.5, 1], [0, 0.5, 1]), axis=-1).reshape(9, 2)
#: Second differences above this part of the extent are no mere bend.
_SMOOTH = 0.2


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


def bend(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Second differences of nine points (scene, 2), and whether they are small."""
    grid = points.reshape(-1, 3, 3, 2)
    with np.errstate(invalid="ignore"):
        along = np.abs(grid[:, :, 0] - 2 * grid[:, :, 1] + grid[:, :, 2]).max(axis=1)
        down = np.abs(grid[:, 0] - 2 * grid[:, 1] + grid[:, 2]).max(axis=1)
        bends = along + down
        size = (points.max(axis=1) - points.min(axis=1)).max(axis=1)
        smooth = bends.max(axis=1) <= _SMOOTH * size
    return bends, smooth

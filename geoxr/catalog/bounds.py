"""Bounds of all scenes together."""

from __future__ import annotations

import numpy as np
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoxr.catalog.points import NINE, bend, moved, points_of, ring
from geoxr.catalog.table import SceneTable
from geoxr.grid.crs import full_turn, same_crs
from geoxr.typing import Bounds
from geoxr.warp.target import bounds_in


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
            points = points_of(table, rows, NINE)
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


def _boxes(table: SceneTable, rows: np.ndarray, crs: CRS | None, frame: GeoBox) -> np.ndarray:
    """Bounds (scene, 4) in another CRS: exact for scenes at the rim, within a bend for the others."""
    assert crs is not None and frame.crs is not None
    points, good = moved(points_of(table, rows, NINE), crs, frame.crs, table.affines[rows])
    bends, smooth = bend(points)
    smooth &= good
    low, high = points.min(axis=1), points.max(axis=1)
    rim = ~smooth
    if smooth.any():
        lowest, highest = low[smooth].min(axis=0), high[smooth].max(axis=0)
        rim |= ((low - bends / 4 <= lowest) | (high + bends / 4 >= highest)).any(axis=1)
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

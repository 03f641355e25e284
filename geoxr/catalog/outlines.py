"""Outlines of scenes in the CRS of a target."""

from __future__ import annotations

import numpy as np
import shapely
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoxr.catalog.points import NINE, bend, moved, points_of, ring
from geoxr.catalog.table import SceneTable
from geoxr.grid.crs import full_turn, same_crs
from geoxr.grid.shapes import outline
from geoxr.warp.shapes import project


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


def _moved_rings(
    table: SceneTable, rows: np.ndarray, crs: CRS | None, target: GeoBox
) -> list[shapely.Geometry]:
    """Outlines in another CRS, moved by whole turns onto the target where that is geographic."""
    assert crs is not None and target.crs is not None
    points, good = moved(
        points_of(table, rows, ring(16)), crs, target.crs, table.affines[rows], along=True
    )
    smooth = bend(moved(points_of(table, rows, NINE), crs, target.crs, table.affines[rows])[0])[1]
    shapes: list[shapely.Geometry] = []
    for i, row in enumerate(rows):
        if not (good[i] and smooth[i]):
            shapes.append(on_its_own(table, int(row), target))
        else:
            shapes.append(_in_turn(shapely.polygons(points[i]), target))
    return shapes


def on_its_own(table: SceneTable, row: int, target: GeoBox) -> shapely.Geometry:
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

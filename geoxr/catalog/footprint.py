"""Footprints of scenes in EPSG:4326, split at the 180th meridian."""

from __future__ import annotations

import contextlib

import numpy as np
import shapely
from odc.geo.crs import CRS

from geoxr.catalog.outlines import round_poles
from geoxr.catalog.points import moved, points_of, ring
from geoxr.catalog.table import SceneTable, crs_from_text
from geoxr.errors import CRSMismatchError

#: Points along an edge.
_SEGMENTS = 16
#: Points of an outline closer than that to the line between others are left out [share of its extent].
_CLOSE = 1e-4
_WORLD = shapely.box(-180, -90, 180, 90)


def footprints(table: SceneTable) -> np.ndarray:
    """Outlines of scenes as polygons in EPSG:4326, edges bent.

    A scene that crosses the 180th meridian is split there, one that holds a pole reaches it. A scene
    without CRS, or with corners that have no place on the earth, gets an empty polygon.

    Returns
    -------
    object array (scene,) of shapely.Geometry
    """
    shapes = np.full(len(table), shapely.Polygon(), object)
    for crs, rows in table.crs_groups():
        if crs is None:
            continue
        wgs84 = crs_from_text("EPSG:4326")
        assert wgs84 is not None
        with contextlib.suppress(CRSMismatchError):  # of another celestial body
            shapes[rows] = _of_group(table, rows, crs, wgs84)
    return shapes


def _of_group(table: SceneTable, rows: np.ndarray, crs: CRS, wgs84: CRS) -> np.ndarray:
    around = ring(_SEGMENTS)
    points, good = moved(
        points_of(table, rows, around), crs, wgs84, table.affines[rows], along=True
    )
    good &= np.isfinite(points).all(axis=(1, 2))
    points = np.where(good[:, None, None], points, 0.0)
    shapes = round_poles(points, 360)
    left, bottom, right, top = shapely.bounds(shapes).T
    smallest = np.minimum(right - left, top - bottom)
    shapes = shapely.simplify(shapes, _CLOSE * smallest, preserve_topology=False)
    for i in np.flatnonzero((left < -180) | (right > 180)):
        shapes[i] = split(shapes[i])
    shapes[~good] = shapely.Polygon()
    return np.where(shapely.is_valid(shapes), shapes, shapely.make_valid(shapes))


def split(shape: shapely.Geometry) -> shapely.Geometry:
    """Bring a shape back between -180 and 180 degrees, in parts if need be."""
    shape = shapely.make_valid(shape)
    parts = []
    for turn in (-720, -360, 0, 360, 720):
        part = shapely.transform(shape, lambda xy, turn=turn: xy + (turn, 0)) & _WORLD
        if part.area > 0:
            parts.append(part)
    return shapely.union_all(parts) if parts else shapely.Polygon()

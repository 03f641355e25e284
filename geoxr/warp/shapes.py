"""Outlines in another CRS."""

from __future__ import annotations

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoxr.grid.geobox import resolution, same_crs
from geoxr.grid.shapes import from_pixels
from geoxr.warp.lattice import Lattice, transformer


def project(shape: shapely.Geometry, source: GeoBox, target: GeoBox) -> shapely.Geometry:
    """Transform a geometry from the CRS of `source` to that of `target`, long edges bent.

    Where some of its vertices have no place in the target CRS, the result is what cells of a coarse
    lattice over the target lie on it: good for finding overlaps, not for outlines.
    """
    if same_crs(source.crs, target.crs):
        return shape
    moved = moved_whole(shape, source, target)
    return _cells_on(shape, source, target) if moved is None else moved


def moved_whole(shape: shapely.Geometry, source: GeoBox, target: GeoBox) -> shapely.Geometry | None:
    """Transform a geometry with bent edges; None if a vertex has no place in the target CRS.

    Far from where a projection is made for, PROJ may give numbers that mean another place: only
    vertices that come back to where they were count as transformed.
    """
    assert source.crs is not None and target.crs is not None
    change = transformer(source.crs.to_wkt(), target.crs.to_wkt())
    edge = max(resolution(source)) * max(max(source.shape) / 64, 1)
    dense = shapely.segmentize(shape, edge)
    points = shapely.get_coordinates(dense)
    moved = np.stack(change.transform(points[:, 0], points[:, 1]), axis=1)
    back = np.stack(change.transform(moved[:, 0], moved[:, 1], direction="INVERSE"), axis=1)
    # A comparison with NaN or infinity is False.
    if not (np.abs(back - points) <= max(resolution(source))).all():
        return None
    result = shapely.set_coordinates(dense, moved)
    return result if result.is_valid else shapely.make_valid(result)


def _cells_on(shape: shapely.Geometry, source: GeoBox, target: GeoBox) -> shapely.Geometry:
    """Cells of the target, 64 along each axis, of which a corner lies on a shape of the source."""
    cols = np.linspace(0, target.width, 65)
    rows = np.linspace(0, target.height, 65)
    columns, lines = np.meshgrid(cols, rows)
    x, y = Lattice(source, target).exact(columns, lines)
    a = source.affine
    east, north = a.a * x + a.b * y + a.c, a.d * x + a.e * y + a.f
    good = np.isfinite(east) & np.isfinite(north)
    on = np.zeros(good.shape, bool)
    on[good] = shapely.covers(shape, shapely.points(east[good], north[good]))
    touched = on[1:, 1:] | on[1:, :-1] | on[:-1, 1:] | on[:-1, :-1]
    down, along = np.nonzero(touched)
    cells_on = shapely.box(cols[along], rows[down], cols[along + 1], rows[down + 1])
    return from_pixels(shapely.union_all(cells_on), target)

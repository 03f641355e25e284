"""Geometries of grids, geometries in pixels of a grid, and the windows that hold them."""

from __future__ import annotations

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from geoxr.grid.affine import map_points, rotated
from geoxr.grid.geobox import bounds, extent
from geoxr.grid.window import Window


def outline(geobox: GeoBox) -> shapely.Polygon:
    """Corners of a grid as a polygon in its CRS."""
    if not rotated(geobox.affine):
        return shapely.box(*bounds(geobox))
    width, height = geobox.width, geobox.height
    corners = [(0, 0), (width, 0), (width, height), (0, height)]
    return shapely.Polygon([geobox.affine @ corner for corner in corners])


def to_pixels(shape: shapely.Geometry, geobox: GeoBox) -> shapely.Geometry:
    """Return geometries in pixels of the grid, x along columns and y along rows."""
    return _moved(shape, ~geobox.affine)


def from_pixels(shape: shapely.Geometry, geobox: GeoBox) -> shapely.Geometry:
    """Return geometries given in pixels of the grid in its CRS."""
    return _moved(shape, geobox.affine)


def covered(footprint: shapely.Geometry, geobox: GeoBox, *, margin: int = 1) -> Window:
    """Return the window of the grid that holds a footprint, wider by `margin` pixels."""
    if shapely.is_empty(footprint):
        return Window(0, 0, 0, 0)
    left, top, right, bottom = shapely.bounds(to_pixels(footprint, geobox))
    # A thousandth of a pixel over the edge is rounding, not another pixel.
    row, col = (int(np.floor(edge + 1e-3)) - margin for edge in (top, left))
    stop_row, stop_col = (int(np.ceil(edge - 1e-3)) + margin for edge in (bottom, right))
    return Window(row, col, stop_row - row, stop_col - col) & extent(geobox)


def _moved(shape: shapely.Geometry, a: Affine) -> shapely.Geometry:
    def move(points: np.ndarray) -> np.ndarray:
        return np.stack(map_points(a, points[:, 0], points[:, 1]), axis=1)

    return shapely.transform(shape, move)

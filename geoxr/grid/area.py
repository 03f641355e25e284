"""Areas of interest in the CRS of a grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError
from geoxr.grid.crs import require_crs
from geoxr.grid.geobox import resolution
from geoxr.grid.shapes import outline
from geoxr.typing import Area

#: Edges are cut so that their bend in the CRS of the grid stays far below a pixel [pixel].
_EDGE = 8


def area_geometry(area: Area | None, geobox: GeoBox) -> shapely.Geometry | None:
    """Return an area of interest in the CRS of a grid, long edges bent.

    Parameters
    ----------
    area : geometry, (left, bottom, right, top), GeoSeries, GeoDataFrame or None
        Geometries and numbers are in the CRS of the grid; tables know their own.

    Raises
    ------
    ArgumentError
        If it is none of these, or empty.
    """
    if area is None:
        return None
    if isinstance(area, shapely.Geometry):
        shape: Any = area
    elif isinstance(area, tuple | list) and len(area) == 4:
        if not np.isfinite(np.asarray(area, "float64")).all():
            raise ArgumentError(f"The bounds (aoi) are not all numbers: {area!r}.")
        shape = shapely.box(*area)
    elif not isinstance(area, tuple) and hasattr(area, "to_crs"):
        shape = _moved(area, geobox)
    else:
        raise ArgumentError(
            f"aoi must be a shapely geometry in the CRS of the Dataset, a GeoDataFrame, a GeoSeries "
            f"or (left, bottom, right, top), not {type(area).__name__}."
        )
    if shape.is_empty:
        raise ArgumentError("The area (aoi) is empty.")
    return shape if shape.is_valid else shapely.make_valid(shape)


def _moved(table: Any, geobox: GeoBox) -> shapely.Geometry:
    """Union of the geometries of a table in the CRS of the grid."""
    shapes = table.geometry[~(table.geometry.isna() | table.geometry.is_empty)]
    return shapely.union_all(table_geometries(shapes, geobox))


def table_geometries(table: Any, geobox: GeoBox) -> np.ndarray:
    """Return the geometries of a table, row by row, in the CRS of a grid, long edges bent.

    Parameters
    ----------
    table : GeoSeries or GeoDataFrame
        Without a CRS, or for a grid without one, geometries stay as they are.

    Returns
    -------
    object array (row,) of shapely.Geometry
    """
    shapes = table.geometry.make_valid()
    if table.crs is None or geobox.crs is None:
        return np.asarray(shapes)
    target = require_crs(geobox, "The Dataset").proj
    if table.crs.equals(target, ignore_axis_order=True) or shapes.empty:
        return np.asarray(shapes)
    # Straight edges of one CRS are bent in another, so they get more vertices first. How long an
    # edge may be is known in the CRS of the grid: about this share of the way across.
    pixels = max(geobox.shape)
    box = outline(geobox).segmentize(max(resolution(geobox)) * pixels / 16)
    here = np.ptp(_coordinates(type(shapes)([box], crs=target).to_crs(table.crs)), axis=0)
    edge = max(here) * _EDGE / pixels if np.isfinite(here).all() else 0.0
    if edge > 0:
        shapes = shapes.segmentize(edge)
    return np.asarray(shapes.to_crs(target).make_valid())


def _coordinates(shapes: Any) -> np.ndarray:
    return shapely.get_coordinates(shapes.to_numpy())

"""How the CRS and the transform of a layer are stored in its coordinates.

A layer keeps its grid in three places: the coordinates ``y`` and ``x`` (pixel centres), and the
scalar coordinate ``spatial_ref`` with the attributes ``crs_wkt`` and ``GeoTransform`` (GDAL order).
The GeoTransform is the lattice the layer was opened on; the coordinates say which of its pixels are
there. A rotated grid has no coordinates along ``y`` and ``x``, so these count pixels (0.5, 1.5, ...).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoxr.grid.affine import rotated
from geoxr.grid.crs import crs_from_wkt

GRID_MAPPING = "spatial_ref"
#: Source of ``spatial_ref`` in the encoding of layers that geoxr made.
MADE_HERE = "geoxr"


def coords_of(geobox: GeoBox) -> dict[str, xr.Variable]:
    """Coordinates ``y``, ``x`` and ``spatial_ref`` of a grid."""
    a = geobox.affine
    rows, cols = np.arange(geobox.height) + 0.5, np.arange(geobox.width) + 0.5
    if rotated(a):
        y, x, units = rows, cols, "1"
        y_attrs = {"long_name": "row of the pixel centre", "units": units}
        x_attrs = {"long_name": "column of the pixel centre", "units": units}
    else:
        y, x = a.f + rows * a.e, a.c + cols * a.a
        y_attrs, x_attrs = _axis_attrs(geobox.crs)
    return {
        "y": xr.Variable("y", y, y_attrs),
        "x": xr.Variable("x", x, x_attrs),
        GRID_MAPPING: spatial_ref(geobox.crs, a),
    }


def spatial_ref(crs: CRS | None, affine: Affine) -> xr.Variable:
    """Return the scalar coordinate that carries CRS and lattice.

    References
    ----------
    CF Conventions 1.11, section 5.6 "Grid Mappings"; GDAL raster data model, "Affine GeoTransform".
    """
    attrs: dict[str, str] = {}
    if crs is not None:
        wkt = crs.to_wkt()
        attrs = {"crs_wkt": wkt, "spatial_ref": wkt}
    attrs["GeoTransform"] = " ".join(repr(float(value)) for value in affine.to_gdal())
    return xr.Variable((), np.int64(0), attrs)


def _axis_attrs(crs: CRS | None) -> tuple[dict[str, str], dict[str, str]]:
    if crs is not None and crs.geographic:
        return (
            {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
            {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
        )
    unit = crs.proj.axis_info[0].unit_name if crs is not None and crs.proj.axis_info else "metre"
    return (
        {"standard_name": "projection_y_coordinate", "units": unit, "axis": "Y"},
        {"standard_name": "projection_x_coordinate", "units": unit, "axis": "X"},
    )


def read_crs(reference: xr.DataArray | xr.Variable) -> CRS | None:
    """CRS in the attributes of ``spatial_ref``, or None."""
    wkt = reference.attrs.get("crs_wkt") or reference.attrs.get("spatial_ref")
    return crs_from_wkt(wkt) if wkt else None

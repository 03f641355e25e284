"""Write CRS and classes onto layers; nothing is read or changed in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import xarray as xr

from geoxr.grid.classes import Classes
from geoxr.grid.geobox import GRID_MAPPING, geobox_of, parse_crs, spatial_ref
from geoxr.typing import CRSLike, XarrayT


def write_crs(obj: XarrayT, crs: CRSLike) -> XarrayT:
    """Return a copy that says it is in `crs`; coordinates stay as they are."""
    geobox = geobox_of(obj)
    reference = spatial_ref(parse_crs(crs), geobox.affine)
    return obj.assign_coords({GRID_MAPPING: reference})


def write_classes(
    da: xr.DataArray, classes: Classes | Mapping[int, str] | Sequence[str] | int
) -> xr.DataArray:
    """Return a label raster with these classes, in this order."""
    known = Classes.of(classes)
    return da.assign_attrs(kind="categorical", **known.to_attrs())

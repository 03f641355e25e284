"""Write classes onto layers; nothing is read or changed in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import xarray as xr

from geoxr.grid.classes import Classes
from geoxr.grid.coords import GRID_MAPPING
from geoxr.grid.index import guarded


def write_classes(
    da: xr.DataArray, classes: Classes | Mapping[int, str] | Sequence[str] | int
) -> xr.DataArray:
    """Return a label raster with these classes, in this order."""
    known = Classes.of(classes)
    layer = da.assign_attrs(kind="categorical", **known.to_attrs())
    if GRID_MAPPING in da.coords:
        layer = layer.assign_coords(guarded({GRID_MAPPING: da.coords[GRID_MAPPING].variable}))
    layer.encoding = da.encoding | {"grid_mapping": GRID_MAPPING}
    return layer

"""Write classes onto layers; nothing is read or changed in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import xarray as xr

from geoxr.grid.classes import Classes


def write_classes(
    da: xr.DataArray, classes: Classes | Mapping[int, str] | Sequence[str] | int
) -> xr.DataArray:
    """Return a label raster with these classes, in this order."""
    known = Classes.of(classes)
    return da.assign_attrs(kind="categorical", **known.to_attrs())

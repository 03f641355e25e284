"""Which pixels of a layer are valid, and which number says that they are not."""

from __future__ import annotations

import xarray as xr

from geoxr.errors import ArgumentError
from geoxr.io.dataset import validity_layer
from geoxr.io.gdal import storable
from geoxr.io.layer import grid_coords, layer_like
from geoxr.io.resolve import resolve
from geoxr.io.views import Marked


def valid(da: xr.DataArray) -> xr.DataArray:
    """Return the lazy boolean layer (y, x) that is True where all bands of `da` may be used.

    Raises
    ------
    ValidityError
        If integers were computed or loaded, so that nobody knows.
    """
    name = str(da.name or "layer")
    return validity_layer(resolve(da).reader, name, grid_coords(da))


def write_nodata(da: xr.DataArray, value: float) -> xr.DataArray:
    """Return a lazy layer in which `value` marks missing pixels; those missing already get it too.

    Raises
    ------
    ArgumentError
        If no pixel of the type of the layer can have this value.
    """
    reader = resolve(da, trust_nodata=True).reader
    number = storable(value, reader.dtype)
    if number is None:
        raise ArgumentError(f"A pixel of type {reader.dtype} cannot be {value!r}.")
    return layer_like(da, Marked(reader, number), coords=grid_coords(da))

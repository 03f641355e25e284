"""Layers that say which pixels of others may be used."""

from __future__ import annotations

import xarray as xr

from geoxr.errors import ArgumentError
from geoxr.io.dataset import layer_names, layer_reader, validity_layer
from geoxr.io.layer import as_layer, grid_coords
from geoxr.io.resolve import resolve
from geoxr.io.stacks import AllValid


def valid(da: xr.DataArray) -> xr.DataArray:
    """Return the lazy boolean layer (y, x) that is True where all bands of `da` may be used.

    Raises
    ------
    ValidityError
        If integers were computed or loaded, so that nobody knows.
    """
    name = str(da.name or "layer")
    return validity_layer(resolve(da).reader, name, grid_coords(da))


def all_valid(ds: xr.Dataset) -> xr.DataArray:
    """Return the lazy boolean layer (y, x) that is True where all layers of `ds` may be used.

    Raises
    ------
    ArgumentError
        If there is no layer.
    ValidityError
        If one was computed or loaded, so that nobody knows.
    """
    readers = tuple(layer_reader(ds, name) for name in layer_names(ds))
    if not readers:
        raise ArgumentError("The Dataset has no variable with the dimensions y and x.")
    return as_layer(
        AllValid(readers), name="valid", kind="categorical", coords=grid_coords(ds), band=None,
        attrs={"long_name": "where all layers are valid"},
    )  # fmt: skip

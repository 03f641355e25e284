"""Layers of a Dataset with the boolean variables that say where they are valid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import xarray as xr

from geoxr.errors import ArgumentError
from geoxr.io.layer import as_layer, grid_coords, layer_like
from geoxr.io.reader import WindowReader
from geoxr.io.resolve import resolve
from geoxr.io.views import Validity

#: Name of the boolean variable that says where a variable is valid.
VALID_SUFFIX = "_valid"


def validity_layer(
    reader: WindowReader, name: str, coords: Mapping[str, xr.Variable]
) -> xr.DataArray:
    """Return the lazy boolean layer that says where `reader` is valid in all bands."""
    return as_layer(
        Validity(reader),
        name=f"{name}{VALID_SUFFIX}",
        kind="categorical",
        attrs={"long_name": f"where {name} is valid"},
        coords=coords,
        band=None,
    )


def validity_of(ds: xr.Dataset, name: str) -> xr.DataArray | None:
    """Return the boolean variable that belongs to a variable, if there is one."""
    partner = ds[name].attrs.get("ancillary_variables", f"{name}{VALID_SUFFIX}")
    found = ds.data_vars.get(partner) if partner != name else None
    return found if found is not None and found.dtype == bool else None


def layer_names(ds: xr.Dataset) -> list[str]:
    """Names of the variables that are layers, without their validity."""
    layers = [str(name) for name, v in ds.data_vars.items() if {"y", "x"} <= set(v.dims)]
    partners = {f"{name}{VALID_SUFFIX}" for name in layers}
    return [name for name in layers if name not in partners or ds[name].dtype != bool]


def layer_reader(ds: xr.Dataset, name: str) -> WindowReader:
    """Return the reader of a variable, with the validity that the Dataset has for it."""
    return resolve(ds[name], validity_of(ds, name)).reader


def with_validity(layer: xr.DataArray, name: str) -> dict[str, xr.DataArray]:
    """Return a layer as variables of a Dataset: itself, and its validity where no number tells it.

    The attribute ``ancillary_variables`` of `layer` is set to what is there.
    """
    reader = resolve(layer).reader
    layer.attrs.pop("ancillary_variables", None)
    if not reader.masked:
        return {name: layer}
    valid = validity_layer(reader, name, grid_coords(layer))
    layer.attrs["ancillary_variables"] = str(valid.name)
    return {name: layer, str(valid.name): valid}


def map_dataset(ds: xr.Dataset, change: Callable[[xr.DataArray], xr.DataArray]) -> xr.Dataset:
    """Change every layer of a Dataset; their validity follows, other variables stay."""
    names = layer_names(ds)
    if not names:
        raise ArgumentError("The Dataset has no variable with the dimensions y and x.")
    partners = {name: validity_of(ds, name) for name in names}
    stale = {partner.name for partner in partners.values() if partner is not None}
    variables: dict[Any, xr.DataArray] = {}
    for name, variable in ds.data_vars.items():
        if name in partners:
            layer = change(_known(ds, str(name), partners[str(name)]))
            variables |= with_validity(layer, str(name))
        elif name not in stale:
            variables[name] = variable
    return xr.Dataset(variables, attrs=ds.attrs)


def _known(ds: xr.Dataset, name: str, partner: xr.DataArray | None) -> xr.DataArray:
    """Return a variable as a layer that brings its validity along."""
    resolved = resolve(ds[name], partner)
    return layer_like(ds[name], resolved.reader, coords=grid_coords(ds[name]))

"""What all derived layers share: operands on one grid, and results with their coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from geoxr.errors import ArgumentError, CRSMismatchError, GridError
from geoxr.grid.adopt import adopt
from geoxr.grid.classes import Classes
from geoxr.grid.crs import crs_name, same_crs
from geoxr.grid.geobox import same_grid
from geoxr.io.layer import as_layer, grid_coords
from geoxr.io.reader import WindowReader
from geoxr.io.resolve import resolve
from geoxr.typing import Kind

#: Attributes that say how stored numbers become quantities.
PACKING = ("scale", "offset", "scale_factor", "add_offset", "decoded_units")
#: Attributes that belong to class codes.
CODES = ("flag_values", "flag_meanings", "flag_colors", "flag_masks", "palette")


def adopted(layers: Sequence[xr.DataArray]) -> tuple[xr.DataArray, ...]:
    """Return layers, or arrays that others made, in the form of layers.

    Raises
    ------
    ArgumentError
        If something is no DataArray.
    """
    for layer in layers:
        if not isinstance(layer, xr.DataArray):
            raise ArgumentError(
                f"Layers are DataArrays with the dimensions y and x, not {type(layer).__name__}. "
                f"Pick one of a Dataset by name: ds['image']."
            )
    return tuple(adopt(layer) for layer in layers)


def readers_of(layers: Sequence[xr.DataArray]) -> tuple[WindowReader, ...]:
    """Return the readers of layers on one grid with the same dates.

    Raises
    ------
    CRSMismatchError, GridError
        If the grids differ.
    ArgumentError
        If something is not a layer, or the dates differ.
    """
    readers = tuple(resolve(layer).reader for layer in adopted(layers))
    first, name = readers[0], _name(layers[0], 0)
    for number, (layer, reader) in enumerate(zip(layers[1:], readers[1:], strict=True), 1):
        other = _name(layer, number)
        _check_grid(name, first, other, reader)
    dated = [reader for reader in readers if reader.times is not None]
    for reader in dated[1:]:
        if reader.times != dated[0].times:
            raise ArgumentError(
                f"Layers have different dates: {len(dated[0].times or ())} and "
                f"{len(reader.times or ())}. Pick the same ones first, for example with "
                f"da.sel(time=other.time)."
            )
    return readers


def _name(layer: xr.DataArray, number: int) -> str:
    return repr(layer.name) if layer.name is not None else f"layer {number}"


def _check_grid(name: str, first: WindowReader, other: str, second: WindowReader) -> None:
    if not same_crs(first.geobox.crs, second.geobox.crs):
        raise CRSMismatchError(
            f"{name} is {crs_name(first.geobox.crs)} but {other} is {crs_name(second.geobox.crs)}. "
            f"Put one on the grid of the other first: other.geoxr.reproject_match(layer)."
        )
    if not same_grid(first.geobox, second.geobox):
        raise GridError(
            f"{name} has {first.geobox.height} x {first.geobox.width} pixels from "
            f"{_corner(first)}, {other} has {second.geobox.height} x {second.geobox.width} from "
            f"{_corner(second)}; layers that are computed together share one grid. Align them "
            f"first: other.geoxr.reproject_match(layer), or gx.merge."
        )


def _corner(reader: WindowReader) -> str:
    a = reader.geobox.affine
    return f"({a.c:.10g}, {a.f:.10g})"


def derived(
    da: xr.DataArray,
    reader: WindowReader,
    *,
    kind: Kind,
    classes: Classes | None = None,
    attrs: Mapping[str, Any],
    band: str | None,
    name: Any = None,
) -> xr.DataArray:
    """Wrap a reader into a layer on the coordinates of `da`, with attributes of its own."""
    layer = as_layer(
        reader,
        name=name,
        kind=kind,
        classes=classes,
        attrs=attrs,
        coords=grid_coords(da),
        band=band,
    )
    same_bands = band in da.coords and np.array_equal(da[band].values, layer[band].values)
    lost = set() if band is None or same_bands else {band}
    extra = {
        key: coord.variable
        for key, coord in da.coords.items()
        if key not in layer.coords and set(coord.dims) <= set(layer.dims) - {"y", "x"} - lost
    }
    return layer.assign_coords(extra)


def without(attrs: Mapping[Any, Any], *dropped: str) -> dict[Any, Any]:
    """Return attributes without some, and without those that a new layer writes itself."""
    own = {"nodata", "kind", "ancillary_variables", *dropped}
    return {key: value for key, value in attrs.items() if key not in own}

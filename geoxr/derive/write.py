"""What is written onto layers: CRS, classes, nodata. Nothing is read, or changed in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError
from geoxr.grid.classes import Classes
from geoxr.grid.coords import GRID_MAPPING, spatial_ref
from geoxr.grid.crs import parse_crs
from geoxr.grid.geobox import geobox_of
from geoxr.grid.index import guarded
from geoxr.grid.meaning import computed, kind_of, made_here
from geoxr.io.facts import storable
from geoxr.io.layer import grid_coords, layer_like
from geoxr.io.resolve import resolve
from geoxr.io.unwrap import layer_behind, with_reader
from geoxr.io.views import Cropped, Marked
from geoxr.typing import CRSLike, XarrayT


def write_crs(obj: XarrayT, crs: CRSLike) -> XarrayT:
    """Return a copy that says it is in `crs`; coordinates stay as they are and nothing is read."""
    geobox, known = geobox_of(obj), parse_crs(crs)
    reference = guarded({GRID_MAPPING: spatial_ref(known, geobox.affine)})
    if isinstance(obj, xr.DataArray):
        return _renewed(obj, known).assign_coords(reference)
    layers = {name: _renewed(v, known) for name, v in obj.items() if {"y", "x"} <= set(v.dims)}
    return obj.assign(layers).assign_coords(reference)


def _renewed(array: xr.DataArray, crs: CRS) -> xr.DataArray:
    layer = array.copy(data=_said(array.variable, crs))
    if not made_here(array):
        layer.attrs.setdefault("kind", kind_of(array))  # what makes an array of one's own a layer
    if not computed(array):
        layer.encoding = array.encoding | {"grid_mapping": GRID_MAPPING}
    return layer


def _said(variable: xr.Variable, crs: CRS) -> Any:
    """Data of a variable whose reader, if there is one, says it is in `crs`."""
    layer = layer_behind(variable)
    if layer is None:
        return variable._data
    grid = layer.reader.geobox
    reader = Cropped(layer.reader, GeoBox(grid.shape, grid.affine, crs), 0, 0)
    return with_reader(variable, layer, reader)


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

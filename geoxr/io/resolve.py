"""From a DataArray back to the reader behind it: the only file that unwraps xarray's private data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from xarray.core import indexing

from geoxr.errors import ValidityError
from geoxr.grid.geobox import band_dim, geobox_of
from geoxr.io.array import VariableReader
from geoxr.io.layer import LayerArray
from geoxr.io.reader import WindowReader
from geoxr.io.views import Cropped, Validity


@dataclass(frozen=True)
class Resolved:
    """The reader of a DataArray on the grid of that DataArray.

    Attributes
    ----------
    reader : WindowReader
        Its grid, bands and times are exactly those of the DataArray.
    slow : str or None
        Why windows go through xarray instead of straight to the source; None on the fast path.
    """

    reader: WindowReader
    slow: str | None


def resolve(
    array: xr.DataArray, validity: xr.DataArray | None = None, *, trust_nodata: bool = False
) -> Resolved:
    """Find the reader of a layer, whatever was selected from it.

    Parameters
    ----------
    array : DataArray
        With dimensions out of ``time, band, y, x``.
    validity : DataArray of bool, optional
        Says which pixels are valid, where no reader behind `array` does.
    trust_nodata : bool
        Take computed integers as they are, valid everywhere.

    Raises
    ------
    ValidityError
        If nobody knows which pixels are valid: integers with a nodata attribute were computed, or a
        layer with a mask was turned in a way that loses it.
    """
    geobox = geobox_of(array)
    data = array.variable._data
    if isinstance(data, indexing.LazilyIndexedArray) and isinstance(data.array, LayerArray):
        reader = _sliced(data.array, data.key.tuple, geobox)
        if reader is not None:
            return Resolved(reader, None)
        slow = _through_xarray(array, geobox, validity)
        return Resolved(slow, "it was picked with steps or lists")
    if not trust_nodata:
        _check_validity(array, validity)
    reader = _through_xarray(array, geobox, validity)
    if isinstance(data, np.ndarray):
        return Resolved(reader, None)
    reason = f"its data is a {type(data).__name__}, not a layer that geoxr opened"
    return Resolved(reader, reason)


def _layer_array(data: Any) -> LayerArray | None:
    while data is not None and not isinstance(data, LayerArray):
        data = getattr(data, "array", None)
    return data


def _check_validity(array: xr.DataArray, validity: xr.DataArray | None) -> None:
    """Raise if nobody knows which pixels of `array` are valid."""
    if validity is not None:
        return
    layer = _layer_array(array.variable._data)
    if layer is not None:
        if layer.reader.masked:
            raise ValidityError(
                f"{array.name!r} was transposed or picked point by point, which loses the mask that "
                f"says where it is valid. Turn it back, or work on the layer before that."
            )
        return
    if array.dtype.kind in "fcb" or array.attrs.get("nodata") is None:
        return
    raise ValidityError(
        f"{array.name!r} was computed or loaded, so its attribute nodata = {array.attrs['nodata']} "
        f"may no longer mark missing pixels. If it does, say so: da.geoxr.write_nodata("
        f"{array.attrs['nodata']}); if not, drop it: del da.attrs['nodata']. Or keep the layer lazy."
    )


def _sliced(array: LayerArray, key: tuple[Any, ...], geobox: GeoBox) -> WindowReader | None:
    """Express indexing by unit-step slices, and picks of bands and times, as a reader."""
    picks = dict(zip(array.dims, key, strict=True))
    spans = []
    for dim in ("y", "x"):
        pick = picks[dim]
        if not isinstance(pick, slice):
            return None
        span = range(*pick.indices(array.shape[array.dims.index(dim)]))
        if span.step != 1:
            return None
        spans.append(span)
    bands = _positions(picks.get("band"), len(array.reader.bands))
    times = _positions(picks.get("time"), len(array.reader.times or (0,)))
    one_time = isinstance(picks.get("time"), int | np.integer)
    # The grid says what is so: coordinates or CRS may have been written anew.
    if geobox == array.reader.geobox and bands is None and times is None and not one_time:
        return array.reader
    return Cropped(
        array.reader, geobox, spans[0].start, spans[1].start, bands, times, timeless=one_time
    )


def _positions(pick: Any, size: int) -> tuple[int, ...] | None:
    if pick is None:
        return None
    if isinstance(pick, slice):
        span = range(*pick.indices(size))
        return None if span == range(size) else tuple(span)
    return tuple(int(i) for i in np.atleast_1d(pick))


def _through_xarray(
    array: xr.DataArray, geobox: GeoBox, validity: xr.DataArray | None
) -> VariableReader:
    layer = _layer_array(array.variable._data)
    bands, variable = canonical(array)
    times = tuple(np.asarray(array["time"].values)) if "time" in array.dims else None
    nodata = layer.reader.nodata if layer is not None else None
    good = None if validity is None else validity.variable
    if good is None and layer is not None and layer.reader.masked:
        good = _stepped_validity(array.variable, layer)
    return VariableReader(variable, geobox, bands, times, nodata, good)


def canonical(array: xr.DataArray) -> tuple[tuple[str, ...], xr.Variable]:
    """Names of the bands, and the variable with its band dimension called "band"."""
    dim = band_dim(array.dims)
    if dim is None:
        return ("1",), array.variable
    labels = array[dim].values if dim in array.coords else range(1, array.sizes[dim] + 1)
    dims = ["band" if name == dim else name for name in array.dims]
    variable = xr.Variable(dims, array.variable._data, array.attrs)
    return tuple(str(label) for label in labels), variable


def _stepped_validity(variable: xr.Variable, layer: LayerArray) -> xr.Variable | None:
    """Validity of a masked reader under the same steps and lists."""
    data = variable._data
    if not isinstance(data, indexing.LazilyIndexedArray):
        return None
    picks = dict(zip(layer.dims, data.key.tuple, strict=True))
    dims = tuple(dim for dim in layer.dims if dim != "band")
    key = indexing.OuterIndexer(tuple(picks[dim] for dim in dims))
    lazy = indexing.LazilyIndexedArray(LayerArray(Validity(layer.reader), dims), key)
    return xr.Variable(tuple(dim for dim in dims if dim in variable.dims), lazy)

"""From a DataArray back to the reader behind it: the only file that unwraps xarray's private data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from xarray.backends import BackendArray
from xarray.core import indexing

from geoxr.errors import GridError, ValidityError
from geoxr.grid.adopt import adopt
from geoxr.grid.geobox import band_dim, geobox_of, nodata_of
from geoxr.io.array import ArrayReader, Indexed, InMemory, Pixels
from geoxr.io.layer import DIMS, LayerArray
from geoxr.io.reader import WindowReader
from geoxr.io.views import Cropped, Validity
from geoxr.io.zarr import Axis, StoredArray, local_directory


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
    array = adopt(array)
    geobox = geobox_of(array)
    data = _lazy(array.variable._data)
    if isinstance(data, indexing.LazilyIndexedArray) and isinstance(data.array, LayerArray):
        reader = _sliced(data.array, data.key.tuple, geobox)
        if reader is not None:
            return Resolved(reader, None)
        through = _array_reader(array, geobox, validity)
        return Resolved(through, "it was picked with steps or lists")
    if not trust_nodata:
        _check_validity(array, validity)
    reader = _array_reader(array, geobox, validity)
    return Resolved(reader, _why_slow(reader))


def _lazy(data: Any) -> Any:
    """Take off what `xarray.open_dataset` wraps around lazy data, while nothing was read or written."""
    while (isinstance(data, indexing.MemoryCachedArray)
           or (isinstance(data, indexing.CopyOnWriteArray) and not data._copied)):  # fmt: skip
        data = data.array
    return data


def _why_slow(reader: ArrayReader) -> str | None:
    """Say why windows do not come straight from memory or a file, if so."""
    if not isinstance(reader.pixels, Indexed):
        return None
    data = reader.pixels.data
    if hasattr(data, "dask"):
        return "it is a dask array, and a graph is computed for every window"
    return f"xarray decodes or indexes it ({type(_lazy(data)).__name__}) for every window"


def layer_behind(variable: xr.Variable) -> LayerArray | None:
    """Return the array of a reader that a variable still is or picks from, or None."""
    data: Any = variable._data
    while data is not None and not isinstance(data, LayerArray):
        data = getattr(data, "array", None)
    return data


def _check_validity(array: xr.DataArray, validity: xr.DataArray | None) -> None:
    """Raise if nobody knows which pixels of `array` are valid."""
    if validity is not None:
        return
    layer = layer_behind(array.variable)
    if layer is not None:
        if layer.reader.masked:
            raise ValidityError(
                f"{array.name!r} was transposed or picked point by point, which loses the mask that "
                f"says where it is valid. Turn it back, or work on the layer before that."
            )
        return
    number = nodata_of(array)
    if array.dtype.kind in "fcb" or number is None or _as_stored(array.variable):
        return
    raise ValidityError(
        f"{array.name!r} was computed or loaded, so its attribute nodata = {number} "
        f"may no longer mark missing pixels. If it does, say so: da.geoxr.write_nodata("
        f"{number}); if not, drop it: del da.attrs['nodata']. Or keep the layer lazy."
    )


def _as_stored(variable: xr.Variable) -> bool:
    """Whether the numbers of a variable are still those of a file, not even decoded."""
    data = _lazy(variable._data)
    lazy = indexing.LazilyIndexedArray | indexing.LazilyVectorizedIndexedArray
    return isinstance(data, lazy) and isinstance(data.array, BackendArray)


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


def _array_reader(
    array: xr.DataArray, geobox: GeoBox, validity: xr.DataArray | None
) -> ArrayReader:
    layer = layer_behind(array.variable)
    bands, variable = canonical(array)
    nodata = layer.reader.nodata if layer is not None else None
    if layer is None and _as_stored(array.variable):
        nodata = storable_nodata(nodata_of(array), array.dtype)
    good = None if validity is None else pixels_of(canonical(adopt(validity))[1])
    if good is None and layer is not None and layer.reader.masked:
        stepped = _stepped_validity(array.variable, layer)
        good = None if stepped is None else pixels_of(stepped)
    return ArrayReader(pixels_of(variable), geobox, bands, times_of(array), nodata, good)


def storable_nodata(value: Any, dtype: np.dtype) -> float | int | None:
    """Return a stored fill value as a number that marks pixels of `dtype`; None if it marks none.

    NaN marks none, since it is invalid without being named.
    """
    if value is None or np.size(value) != 1 or dtype.kind not in "iufc":
        return None
    number = np.asarray(value).item()
    if not isinstance(number, int | float) or number != number:
        return None
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        if not (float(number).is_integer() and info.min <= number <= info.max):
            return None
    return dtype.type(number).item()


def pixels_of(variable: xr.Variable) -> Pixels:
    """Find the quickest way to the numbers of a variable with dimensions out of time, band, y, x."""
    data = _lazy(variable._data)
    dims = tuple(map(str, variable.dims))
    if isinstance(data, indexing.NumpyIndexingAdapter):
        data = data.array
    if isinstance(data, np.ndarray):
        return InMemory.of(dims, data)
    return _stored(dims, data) or Indexed(dims, variable._data)


def _stored(dims: tuple[str, ...], data: Any) -> StoredArray | None:
    """Find the Zarr array in local files that xarray would index without decoding anything."""
    if not isinstance(data, indexing.LazilyIndexedArray):
        return None
    from xarray.backends.zarr import ZarrArrayWrapper

    if not isinstance(data.array, ZarrArrayWrapper):
        return None
    array = data.array.get_array()
    root = local_directory(array.store)
    if root is None or array.dtype != data.dtype:
        return None
    names = iter(dims)
    axes = []
    for pick, size in zip(data.key.tuple, array.shape, strict=True):
        dim = None if isinstance(pick, int | np.integer) else next(names)
        at = _places(dim, pick, size)
        if at is None:
            return None
        axes.append(Axis(dim, at))
    version = array.metadata.zarr_format
    return StoredArray.at(str(root / array.path), version, tuple(axes), array.dtype)


def _places(dim: str | None, pick: Any, size: int) -> int | tuple[int, ...] | None:
    """Where a layer is along one axis of a stored array; None if not in one piece of rows."""
    if dim is None:
        return int(pick) % size
    if not isinstance(pick, slice):
        return None if dim in ("y", "x") else tuple(int(i) % size for i in pick)
    span = range(*pick.indices(size))
    if dim in ("y", "x"):
        return span.start if span.step == 1 else None
    return tuple(span)


def times_of(array: xr.DataArray) -> tuple[np.datetime64, ...] | None:
    """Time steps of an array, or None.

    Raises
    ------
    GridError
        If they are no dates.
    """
    if "time" not in array.dims:
        return None
    values = np.asarray(array["time"].values)
    if values.dtype.kind != "M":
        raise GridError(
            f"The dimension 'time' of {array.name!r} has {values.dtype} labels, not dates. Give "
            f"dates: da.assign_coords(time=pandas.to_datetime([...])), or convert the calendar: "
            f'da.convert_calendar("standard").'
        )
    return tuple(values)


def canonical(array: xr.DataArray) -> tuple[tuple[str, ...], xr.Variable]:
    """Names of the bands, and the variable with its band dimension called "band".

    Raises
    ------
    GridError
        If it has dimensions that a layer does not have.
    """
    dim = band_dim(array.dims)
    strange = [str(d) for d in array.dims if d != dim and d not in DIMS]
    if strange:
        raise GridError(
            f"{array.name!r} has the dimension {strange[0]!r} of length {array.sizes[strange[0]]}. A "
            f"layer has time, band, y and x. Pick one of it: da.isel({strange[0]}=0); or make it the "
            f"bands: da.rename({strange[0]}='band')."
        )
    if dim is None:
        return ("1",), array.variable
    labels = array[dim].values if dim in array.coords else range(1, array.sizes[dim] + 1)
    dims = ["band" if name == dim else name for name in array.dims]
    variable = xr.Variable(dims, array.variable._data, array.attrs)
    return tuple(str(label) for label in labels), variable


def _stepped_validity(variable: xr.Variable, layer: LayerArray) -> xr.Variable | None:
    """Validity of a masked reader under the same steps and lists."""
    data = _lazy(variable._data)
    if not isinstance(data, indexing.LazilyIndexedArray):
        return None
    picks = dict(zip(layer.dims, data.key.tuple, strict=True))
    dims = tuple(dim for dim in layer.dims if dim != "band")
    key = indexing.OuterIndexer(tuple(picks[dim] for dim in dims))
    lazy = indexing.LazilyIndexedArray(LayerArray(Validity(layer.reader), dims), key)
    return xr.Variable(tuple(dim for dim in dims if dim in variable.dims), lazy)

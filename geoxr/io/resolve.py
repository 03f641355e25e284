"""From a DataArray back to the reader behind it: the only file that unwraps xarray's private data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from xarray.core import indexing

from geoxr.errors import CRSMismatchError, GridError, ValidityError
from geoxr.grid.geobox import (
    GRID_MAPPING,
    band_dim,
    computed,
    crs_name,
    geobox_of,
    made_here,
    nodata_of,
    parse_crs,
    same_crs,
    spatial_ref,
)
from geoxr.grid.index import guarded
from geoxr.io.array import VariableReader
from geoxr.io.layer import LayerArray
from geoxr.io.picks import Picked, positions
from geoxr.io.reader import PIECE, WindowReader
from geoxr.io.views import Cropped, Labelled
from geoxr.typing import CRSLike, XarrayT


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
    _check_dims(array)
    data = array.variable._data
    layer = _layer_array(data)
    if layer is not None:
        _check_crs(array, layer.reader.geobox.crs, geobox.crs)
        reader = _selected(array.variable, layer, geobox)
        if reader is not None:
            return Resolved(_labelled(reader, array), _slow_source(reader))
    if not trust_nodata:
        _check_validity(array, validity)
    reader = _through_xarray(array, geobox, validity)
    if isinstance(data, np.ndarray):
        return Resolved(reader, None)
    reason = f"its data is a {type(data).__name__}, not a layer that geoxr opened"
    if layer is not None:
        reason = "its dimensions were exchanged"
    return Resolved(reader, reason)


def _slow_source(reader: WindowReader) -> str | None:
    """Why the source at the end of a chain of readers is slow, if it is."""
    while hasattr(reader, "source"):
        reader = reader.source
    if isinstance(reader, VariableReader) and reader.variable.chunks is not None:
        return "a dask graph is behind it"
    return None


def _check_dims(array: xr.DataArray) -> None:
    extra = [d for d in array.dims if d not in ("time", "y", "x") and d != band_dim(array.dims)]
    if extra:
        raise GridError(
            f"{array.name!r} has the dimension {extra[0]!r}. The dimensions of a layer are time, band, "
            f"y and x: pick one position, da.isel({extra[0]}=0), or rename it."
        )


def _layer_array(data: Any) -> LayerArray | None:
    while data is not None and not isinstance(data, LayerArray):
        data = getattr(data, "array", None)
    return data


def nodata(array: xr.DataArray) -> float | int | None:
    """Number that marks missing pixels of a layer, or None.

    Raises
    ------
    ValidityError
        If `array` was computed or loaded, so that its attribute may mark nothing any more.
    """
    layer = _layer_array(array.variable._data)
    if layer is not None:
        return layer.reader.nodata
    _check_validity(array, None)
    return None if array.dtype == bool else nodata_of(array)


def _check_validity(array: xr.DataArray, validity: xr.DataArray | None) -> None:
    """Raise if nobody knows which pixels of `array` are valid."""
    if validity is not None:
        return
    layer = _layer_array(array.variable._data)
    if layer is not None:
        if layer.reader.masked:
            raise ValidityError(
                f"The dimensions of {array.name!r} were exchanged or its pixels picked one by one, "
                f"which loses the mask that says where it is valid. Work on the layer before that."
            )
        return
    if made_here(array) and "kind" not in array.attrs and array.dtype != bool:
        raise ValidityError(
            f"{array.name!r} was computed, which dropped its attributes, so nobody knows which pixels "
            f"are missing. Say what marks them: da.geoxr.write_nodata(0), or float('nan') for NaN; or "
            f"that nothing does: da.assign_attrs(kind='continuous')."
        )
    number = nodata_of(array)
    # A comparison has an answer everywhere: False where it was asked of a missing pixel.
    if number is None or number != number or array.dtype == bool:
        return
    raise ValidityError(
        f"{array.name!r} was computed or loaded, so its attribute nodata = {number} may no longer "
        f"mark missing pixels. If it does, say so: da.geoxr.write_nodata({number}); if not, or if NaN "
        f"marks them, drop it: del da.attrs['nodata']. Or keep the layer lazy."
    )


def _check_crs(array: xr.DataArray, pixels: CRS | None, written: CRS | None) -> None:
    """Raise if the CRS coordinate of another layer came over this one.

    ``ds["name"] = layer``, ``assign_coords`` and ``join="override"`` do that without asking an index.
    """
    if pixels is None or written is None or same_crs(pixels, written):
        return
    raise CRSMismatchError(
        f"The pixels of {array.name!r} are in {crs_name(pixels)}, but its coordinate spatial_ref says "
        f"{crs_name(written)}. It came from another layer, by assignment or an override. Put layers "
        f"together with gx.merge({{...}}), which aligns them; if the coordinate is right, say so: "
        f'da.geoxr.write_crs("{crs_name(written)}").'
    )


def _selected(variable: xr.Variable, layer: LayerArray, geobox: GeoBox) -> WindowReader | None:
    """Express slices, steps, flips, lists and transposition of a layer as a reader of its own."""
    picks = _picks(variable, layer)
    if picks is None:
        return None
    source = layer.reader
    rows, cols = _as_range(picks["y"]), _as_range(picks["x"])
    if rows is None or cols is None:
        return None
    bands = _unless_all(picks.get("band"), len(source.bands))
    times = _unless_all(picks.get("time"), len(source.times or (0,)))
    timeless = source.times is not None and "time" not in variable.dims
    straight = rows.step == cols.step == 1
    # The grid says what is so: coordinates or CRS may have been written anew.
    if straight and geobox == source.geobox and bands is None and times is None and not timeless:
        return source
    corner = (rows.start, cols.start) if straight else (0, 0)
    if not straight:
        source = Picked(source, geobox, rows, cols)
    return Cropped(source, geobox, *corner, bands, times, timeless=timeless)


def _labelled(reader: WindowReader, array: xr.DataArray) -> WindowReader:
    """Name bands and time steps as the coordinates do, which may have been written anew."""
    bands, times = reader.bands, reader.times
    names, dates = bands, times
    dim = band_dim(array.dims)
    if dim is not None and dim in array.coords:
        names = tuple(str(label) for label in array[dim].values)
    if times is not None and "time" in array.coords and array["time"].dtype.kind == "M":
        labels = array["time"].values
        same = np.array_equal(labels, np.array(times, labels.dtype))
        dates = times if same else tuple(labels)
    return reader if (names, dates) == (bands, times) else Labelled(reader, names, dates)


def _picks(variable: xr.Variable, layer: LayerArray) -> dict[str, Sequence[int]] | None:
    """Positions along each dimension of a layer that a variable shows, or None.

    None stands for dimensions that were exchanged by renaming, or pixels picked one by one.
    """
    data = variable._data
    names = tuple("band" if dim == band_dim(variable.dims) else dim for dim in variable.dims)
    if isinstance(data, indexing.LazilyIndexedArray):
        sizes = dict(zip(layer.dims, layer.shape, strict=True))
        picks = dict(zip(layer.dims, data.key.tuple, strict=True))
        kept = tuple(dim for dim, pick in picks.items() if not isinstance(pick, int | np.integer))
        if data.array is not layer or kept != names:
            return None
        return {dim: positions(pick, sizes[dim]) for dim, pick in picks.items()}
    if isinstance(data, indexing.LazilyVectorizedIndexedArray) and data.array is layer:
        axes = {dim: names.index(dim) if dim in names else None for dim in layer.dims}
        keys = dict(zip(layer.dims, data.key.tuple, strict=True))
        found = {dim: _along(key, axes[dim]) for dim, key in keys.items()}
        return None if None in found.values() else found  # type: ignore[return-value]
    return None


def _along(key: np.ndarray, axis: int | None) -> Sequence[int] | None:
    """Positions in a broadcast key that varies along one axis only, else None."""
    others = [i for i in range(key.ndim) if i != axis]
    line = key[tuple(slice(None) if i == axis else slice(0, 1) for i in range(key.ndim))]
    if any(key.shape[i] > 1 and key.strides[i] for i in others) and (
        key.size > PIECE or not (key == line).all()
    ):
        return None
    return [int(i) for i in line.ravel()]


def _as_range(picked: Sequence[int]) -> range | None:
    """Evenly spaced positions as a range, else None."""
    if isinstance(picked, range) and len(picked) > 1:
        return picked
    first, step = picked[0], picked[1] - picked[0] if len(picked) > 1 else 1
    even = range(first, first + step * len(picked), step) if step else range(0)
    return even if list(picked) == list(even) else None


def _unless_all(picked: Sequence[int] | None, size: int) -> tuple[int, ...] | None:
    if picked is None or list(picked) == list(range(size)):
        return None
    return tuple(picked)


def _through_xarray(
    array: xr.DataArray, geobox: GeoBox, validity: xr.DataArray | None
) -> VariableReader:
    layer = _layer_array(array.variable._data)
    bands, variable = canonical(array)
    times = tuple(np.asarray(array["time"].values)) if "time" in array.dims else None
    nodata = layer.reader.nodata if layer is not None else None
    good = None if validity is None else validity.variable
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
    if not computed(array):
        layer.encoding = array.encoding | {"grid_mapping": GRID_MAPPING}
    return layer


def _said(variable: xr.Variable, crs: CRS) -> Any:
    """Data of a variable whose reader, if there is one, says it is in `crs`."""
    data: Any = variable._data
    layer = _layer_array(data)
    if layer is None or data.array is not layer:
        return data
    grid = layer.reader.geobox
    reader = Cropped(layer.reader, GeoBox(grid.shape, grid.affine, crs), 0, 0)
    return type(data)(LayerArray(reader, layer.dims), data.key)

"""A reader as a lazy xarray DataArray."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from geoxr.errors import ReadOnlyError, TooLargeError
from geoxr.grid.adopt import adopt
from geoxr.grid.classes import Classes
from geoxr.grid.geobox import (
    GRID_MAPPING,
    band_dim,
    classes_of,
    coords_of,
    kind_of,
    layer_attrs,
)
from geoxr.grid.window import Window
from geoxr.io import tokens
from geoxr.io.parallel import read_in_threads
from geoxr.io.reader import PIECE, WindowReader
from geoxr.options import options
from geoxr.typing import Kind

tokens.register()

#: All dimensions a reader has, in order.
DIMS = ("time", "band", "y", "x")

#: Reads up to this size need no look at the memory that is available [bytes].
_ALWAYS = 32 << 20


class LayerArray(BackendArray):
    """Let xarray index a reader: reads what is asked for, keeps nothing.

    Parameters
    ----------
    reader : WindowReader
    dims : tuple of str
        Those of ``(time, band, y, x)`` that the layer has, in this order. What is left out has
        length 1.
    """

    def __init__(self, reader: WindowReader, dims: tuple[str, ...]) -> None:
        self.reader, self.dims = reader, dims
        height, width = reader.geobox.shape
        times = 1 if reader.times is None else len(reader.times)
        sizes = dict(zip(DIMS, (times, len(reader.bands), height, width), strict=True))
        self.shape = tuple(sizes[dim] for dim in dims)
        self.dtype = np.dtype(reader.dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise ReadOnlyError(
            "A lazy layer cannot be assigned to: its pixels are on disk. Load it first with "
            "da.load(), or derive a new layer."
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> LayerArray:
        return self

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (type(self).__name__, self.reader, self.dims)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.reader).__name__}, {self.shape}, {self.dtype})"

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        picks = dict(zip(self.dims, key, strict=True))
        where = {dim: _positions(picks.get(dim, 0), size) for dim, size in self._sizes().items()}
        shape = tuple(len(where[dim]) for dim in DIMS)
        self._check_size(shape)
        out = np.empty(shape, self.dtype)
        if out.size:
            bands, times = tuple(where["band"]), tuple(where["time"])
            _fill(self.reader, out, bands, times, where["y"], where["x"])
        dropped = tuple(
            i for i, dim in enumerate(DIMS) if dim not in picks or (np.ndim(picks[dim]) == 0
            and not isinstance(picks[dim], slice))
        )  # fmt: skip
        return out.squeeze(axis=dropped)

    def _sizes(self) -> dict[str, int]:
        known = dict(zip(self.dims, self.shape, strict=True))
        return {dim: known.get(dim, 1) for dim in DIMS}

    def _check_size(self, shape: tuple[int, ...]) -> None:
        size = math.prod(shape) * self.dtype.itemsize
        if options.max_read is None and size < _ALWAYS:
            return
        limit = options.read_limit()
        if size > limit:
            raise TooLargeError(
                f"This operation reads {' x '.join(map(str, shape))} pixels ({DIMS}) at once: "
                f"{size / 2**30:.2f} GiB, more than options.max_read = {limit / 2**30:.2f} GiB. "
                f"Work in pieces with da.geoxr.chunk(), take a part with da.isel(y=slice(0, 4096), "
                f"x=slice(0, 4096)), or write it out with ds.geoxr.to_zarr(path)."
            )


def _positions(pick: Any, size: int) -> range | list[int]:
    if isinstance(pick, slice):
        return range(*pick.indices(size))
    return [int(i) + (size if i < 0 else 0) for i in np.atleast_1d(pick)]


def _fill(
    reader: WindowReader,
    out: np.ndarray,
    bands: tuple[int, ...],
    times: tuple[int, ...],
    rows: range | list[int],
    cols: range | list[int],
) -> None:
    """Read rows and columns in any order, through windows of a bounded number of pixels."""
    col, width = min(cols), max(cols) - min(cols) + 1
    straight_cols = isinstance(cols, range) and cols.step == 1
    straight = straight_cols and isinstance(rows, range) and rows.step == 1
    if straight:
        window = Window(rows[0], col, len(rows), width)
        read_in_threads(reader, window, out, None, bands=bands, times=times)
        return
    layers = len(bands) * len(times)
    room = max(PIECE // (width * layers), 1)
    start = 0
    while start < len(rows):
        stop = start + 1
        low = high = rows[start]
        while stop < len(rows):
            new_low, new_high = min(low, rows[stop]), max(high, rows[stop])
            # Rows far apart are read one by one, not with everything between them.
            if new_high - new_low + 1 > min(room, 64 * (stop - start + 1)):
                break
            low, high, stop = new_low, new_high, stop + 1
        piece = np.empty((len(times), len(bands), high - low + 1, width), out.dtype)
        reader.read(Window(low, col, high - low + 1, width), piece, None, bands=bands, times=times)
        picked = piece[:, :, [row - low for row in rows[start:stop]]]
        out[:, :, start:stop] = picked if straight_cols else picked[..., [c - col for c in cols]]
        start = stop


#: Attributes that mark missing pixels; those of a layer come from its reader.
_MARKS = ("nodata", "_FillValue", "missing_value")


def as_layer(
    reader: WindowReader,
    *,
    name: Hashable = None,
    kind: Kind = "continuous",
    classes: Classes | None = None,
    attrs: Mapping[str, Any] | None = None,
    coords: Mapping[Any, Any] | None = None,
    band: str | None = "band",
) -> xr.DataArray:
    """Wrap a reader into a DataArray; no pixel is read.

    Parameters
    ----------
    coords : mapping, optional
        Coordinate variables to use instead of computing ``y``, ``x`` and ``spatial_ref`` from the
        grid, so that layers of one grid agree to the last bit.
    band : str or None
        Name of the band dimension; None leaves it out of a layer with one band.
    """
    assert band is not None or len(reader.bands) == 1
    left_out = {"time" if reader.times is None else None, "band" if band is None else None}
    own = tuple(dim for dim in DIMS if dim not in left_out)
    dims = tuple(band if dim == "band" else dim for dim in own)
    data = indexing.LazilyIndexedArray(LayerArray(reader, own))
    metadata = layer_attrs(kind=kind, nodata=reader.nodata, classes=classes, extra=attrs or {})
    variable = xr.Variable(dims, data, metadata, encoding={"grid_mapping": GRID_MAPPING})
    labels = dict(coords) if coords is not None else coords_of(reader.geobox)
    if band is not None:
        labels[band] = xr.Variable(band, np.array(reader.bands))
    if reader.times is not None:
        labels["time"] = xr.Variable("time", np.array(reader.times, dtype="datetime64[ns]"))
    return xr.DataArray(variable, coords=labels, name=name)


def layer_like(
    array: xr.DataArray, reader: WindowReader, *, coords: Mapping[Any, Any] | None = None
) -> xr.DataArray:
    """Wrap a reader into a layer that is like `array` in all but its pixels and grid."""
    layer = as_layer(
        reader,
        name=array.name,
        kind=kind_of(array),
        classes=classes_of(array),
        attrs={key: value for key, value in array.attrs.items() if key not in _MARKS},
        coords=coords,
        band=band_dim(array.dims),
    )
    extra = {
        name: coord.variable
        for name, coord in array.coords.items()
        if name not in layer.coords and set(coord.dims) <= set(layer.dims) - {"y", "x"}
    }
    return layer.assign_coords(extra)


def grid_coords(obj: xr.DataArray | xr.Dataset) -> dict[str, xr.Variable]:
    """Coordinate variables ``y``, ``x`` and ``spatial_ref`` of a layer, as they are."""
    coords = adopt(obj).coords
    return {name: coords[name].variable for name in ("y", "x", GRID_MAPPING) if name in coords}

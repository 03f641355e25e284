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
from geoxr.grid.coords import GRID_MAPPING, coords_of
from geoxr.grid.index import guarded
from geoxr.grid.meaning import VALIDITY, band_dim, classes_of, kind_of, layer_attrs
from geoxr.io import tokens
from geoxr.io.picks import positions, read_picked
from geoxr.io.reader import WindowReader
from geoxr.options import format_bytes, options
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
        where = {dim: positions(picks.get(dim, 0), size) for dim, size in self._sizes().items()}
        shape = tuple(len(where[dim]) for dim in DIMS)
        self._check_size(shape)
        out = np.empty(shape, self.dtype)
        if out.size:
            read_picked(
                self.reader, out, None, bands=tuple(where["band"]), times=tuple(where["time"]),
                rows=where["y"], cols=where["x"],
            )  # fmt: skip
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
            sides = dict(zip(DIMS, shape, strict=True))
            listed = ", ".join(f"{dim}: {sides[dim]}" for dim in self.dims)
            side = _fitting(limit, size, sides)
            raise TooLargeError(
                f"This operation reads ({listed}) pixels of {self.dtype} at once: "
                f"{format_bytes(size)}, more than options.max_read = {format_bytes(limit)}. Work in "
                f"pieces with da.geoxr.chunk({min(side, 2048)}), take a part with "
                f"da.isel(y=slice(0, {side}), x=slice(0, {side})), or write it out with "
                f"da.geoxr.to_zarr(path)."
            )


def _fitting(limit: int, size: int, sides: Mapping[str, int]) -> int:
    """Side of a square that may be read, a power of two [pixel]."""
    area = sides["y"] * sides["x"] * limit / size
    return 1 << max(int(math.log2(max(area, 1)) / 2), 0)


#: Attributes that mark missing pixels; those of a layer come from its reader.
_MARKS = ("nodata", "_FillValue", "missing_value", VALIDITY)


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
    metadata = layer_attrs(
        kind=kind, nodata=reader.nodata, masked=reader.masked, classes=classes, extra=attrs or {}
    )
    variable = xr.Variable(dims, data, metadata)
    labels = dict(coords if coords is not None else coords_of(reader.geobox))
    if band is not None:
        labels[band] = xr.Variable(band, np.array(reader.bands))
    if reader.times is not None:
        labels["time"] = xr.Variable("time", np.array(reader.times, dtype="datetime64[ns]"))
    layer = xr.DataArray(variable, coords=guarded(labels), name=name)
    layer.encoding = {"grid_mapping": GRID_MAPPING}
    return layer


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

"""What is behind an xarray variable: the file that takes xarray's private data apart.

Only the tokens of layers, which dask asks for, look into it as well (`geoxr.io.tokens`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from geoxr.grid.meaning import band_dim
from geoxr.io.array import Indexed, InMemory, Pixels
from geoxr.io.layer import LayerArray
from geoxr.io.picks import positions
from geoxr.io.reader import PIECE, WindowReader
from geoxr.io.zarr import Axis, StoredArray, local_directory


def data_of(variable: xr.Variable) -> Any:
    """Return the data of a variable, without what `xarray.open_dataset` wraps around lazy data.

    The wrapping stays where something was read into it or written.
    """
    data: Any = variable._data
    while (isinstance(data, indexing.MemoryCachedArray)
           or (isinstance(data, indexing.CopyOnWriteArray) and not data._copied)):  # fmt: skip
        data = data.array
    return data


def layer_behind(variable: xr.Variable) -> LayerArray | None:
    """Return the array of a reader that a variable still is or picks from, or None."""
    data: Any = variable._data
    while data is not None and not isinstance(data, LayerArray):
        data = getattr(data, "array", None)
    return data


def picks_of(variable: xr.Variable, layer: LayerArray) -> dict[str, Sequence[int]] | None:
    """Positions along each dimension of a layer that a variable shows, or None.

    None stands for dimensions that were exchanged by renaming, or pixels picked one by one.
    """
    data = data_of(variable)
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


def with_reader(variable: xr.Variable, layer: LayerArray, reader: WindowReader) -> Any:
    """Return the data of a variable with another reader behind it; as it is if it was exchanged."""
    data = data_of(variable)
    if not hasattr(data, "key") or data.array is not layer:
        return variable._data
    return type(data)(LayerArray(reader, layer.dims), data.key)


def as_stored(variable: xr.Variable) -> bool:
    """Whether the numbers of a variable are still those of a file, not even decoded."""
    data = data_of(variable)
    lazy = indexing.LazilyIndexedArray | indexing.LazilyVectorizedIndexedArray
    return isinstance(data, lazy) and isinstance(data.array, BackendArray)


def only_read(variable: xr.Variable, *sources: str) -> bool:
    """Whether a graph of dask does nothing but read and cut arrays.

    Parameters
    ----------
    *sources : str
        What the names of the arrays that are read begin with.
    """
    layers = getattr(getattr(variable._data, "dask", None), "layers", None)
    harmless = (*sources, "getitem-", "rechunk-", "transpose-")
    return layers is not None and all(str(name).startswith(harmless) for name in layers)


def pixels_of(variable: xr.Variable) -> Pixels:
    """Find the quickest way to the numbers of a variable with dimensions out of time, band, y, x."""
    data = data_of(variable)
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


def why_slow(pixels: Pixels) -> str | None:
    """Say why numbers do not come straight from memory or a file, if so."""
    if not isinstance(pixels, Indexed):
        return None
    if hasattr(pixels.data, "dask"):
        return "it is a dask array, and a graph is computed for every window"
    return f"xarray decodes or indexes it ({type(pixels.data).__name__}) for every window"

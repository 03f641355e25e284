"""Arrays of Zarr stores: through tensorstore where it is installed, zarr-python otherwise."""

from __future__ import annotations

import importlib.util
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from geoxr.errors import ReadFailedError
from geoxr.grid.window import Window
from geoxr.io.array import as_slice
from geoxr.io.layer import DIMS
from geoxr.options import options

#: Files that describe an array, by version of the format.
_METADATA = {3: "zarr.json", 2: ".zarray"}


@dataclass(frozen=True)
class Axis:
    """What one axis of a stored array is: a dimension of the layer, or a position picked out.

    Parameters
    ----------
    dim : str or None
        One of ``time, band, y, x``; None where one position was picked.
    at : int or tuple of int
        First row or column of the layer; positions of its bands or times; the position picked.
    """

    dim: str | None
    at: int | tuple[int, ...]

    def pick(
        self, window: Window, bands: tuple[int, ...], times: tuple[int, ...], step: int
    ) -> int | slice | list[int]:
        """Return what of this axis a read needs."""
        if isinstance(self.at, tuple):
            return as_slice(tuple(self.at[i] for i in (bands if self.dim == "band" else times)))
        if self.dim is None:
            return self.at
        span = window.slices[0 if self.dim == "y" else 1]
        return slice(self.at + span.start, self.at + span.stop, step)


@dataclass(frozen=True)
class StoredArray:
    """An array in a directory, opened once in each process when it is read; see `Pixels`.

    Chunks that were never written hold the fill value of the array.

    Parameters
    ----------
    path : str
        Directory of the array, absolute.
    version : int
        Of the format: 2 or 3.
    stamp : (int, int)
        When the metadata was written [ns], and its size [bytes].
    axes : tuple of Axis
        What each axis of the array is.
    dtype : numpy.dtype
    """

    path: str
    version: int
    stamp: tuple[int, int]
    axes: tuple[Axis, ...]
    dtype: np.dtype

    @classmethod
    def at(cls, path: str, version: int, axes: tuple[Axis, ...], dtype: np.dtype) -> StoredArray:
        """Point to the array in a directory, as it is now."""
        path = os.path.abspath(path)
        return cls(path, version, _stamp(path, version), axes, np.dtype(dtype))

    def take(
        self, window: Window, bands: tuple[int, ...], times: tuple[int, ...], step: int
    ) -> np.ndarray:
        """Read a part; see `Pixels.take`.

        Raises
        ------
        ReadFailedError
            If a chunk is damaged, or the array was removed or made anew since it was opened.
        """
        # A chunk that is not there is no error in Zarr, so a store that is gone would read as empty.
        if _stamp(self.path, self.version) != self.stamp:
            raise ReadFailedError(
                f"{self.path} was changed or removed after it was opened. Open the layer again."
            )
        key = tuple(axis.pick(window, bands, times, step) for axis in self.axes)
        try:
            values = _handle(self).read(key)
        except Exception as error:  # each codec has its own
            raise ReadFailedError(
                f"{self.path}: rows {window.row}-{window.stop[0]}, columns {window.col}-"
                f"{window.stop[1]} cannot be read ({error}). A chunk may be damaged."
            ) from error
        dims = [axis.dim for axis in self.axes if axis.dim is not None]
        order = [dim for dim in DIMS if dim in dims]
        values = values.transpose([dims.index(dim) for dim in order])
        return values[tuple(slice(None) if dim in order else None for dim in DIMS)]


def _stamp(path: str, version: int) -> tuple[int, int]:
    try:
        status = os.stat(f"{path}/{_METADATA[version]}")
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


class _Tensorstore:
    """An array opened with tensorstore; safe under threads."""

    def __init__(self, array: StoredArray) -> None:
        import tensorstore

        spec = {
            "driver": "zarr3" if array.version == 3 else "zarr",
            "kvstore": {"driver": "file", "path": array.path},
        }
        opened = tensorstore.open(
            spec,
            open=True,
            read=True,
            context=_pool(options.chunk_cache),
            recheck_cached_metadata="open",
        )
        self.store = opened.result()

    def read(self, key: tuple[Any, ...]) -> np.ndarray:
        lists = any(isinstance(part, list) for part in key)
        store = self.store.oindex[key] if lists else self.store[key]
        return store.read().result()


class _Zarr:
    """An array opened with zarr-python; safe under threads."""

    def __init__(self, array: StoredArray) -> None:
        import zarr

        self.array = zarr.open_array(array.path, mode="r", zarr_format=array.version)  # type: ignore[arg-type]

    def read(self, key: tuple[Any, ...]) -> np.ndarray:
        lists = any(isinstance(part, list) for part in key)
        return np.asarray(self.array.oindex[key] if lists else self.array[key])


@cache
def _pool(size: int) -> Any:
    """Decoded chunks that tensorstore keeps, for all arrays of the process."""
    import tensorstore

    return tensorstore.Context({"cache_pool": {"total_bytes_limit": size}})


class _Opened:
    """Arrays that one process has open, the least recently opened dropped first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.arrays: OrderedDict[StoredArray, _Tensorstore | _Zarr] = OrderedDict()

    def get(self, array: StoredArray) -> _Tensorstore | _Zarr:
        found = self.arrays.get(array)
        if found is not None:
            return found
        with self.lock:
            if array not in self.arrays:
                while len(self.arrays) >= options.open_files:
                    self.arrays.popitem(last=False)
                self.arrays[array] = _open(array)
            return self.arrays[array]


#: By process. Those of a parent are left alone: they may not even be closed in a fork.
_processes: dict[int, _Opened] = {}
#: Process that started tensorstore. It has threads, so a fork of that process may not touch it:
#: tensorstore would end the fork (``internal/os/fork_detection.cc``).
_started_in: int | None = None


def _handle(array: StoredArray) -> _Tensorstore | _Zarr:
    process = os.getpid()
    opened = _processes.get(process)
    if opened is None:
        opened = _processes.setdefault(process, _Opened())
    return opened.get(array)


def _open(array: StoredArray) -> _Tensorstore | _Zarr:
    global _started_in
    if _has_tensorstore() and _started_in in (None, os.getpid()):
        _started_in = os.getpid()
        try:
            return _Tensorstore(array)
        except ValueError:  # a codec or type that tensorstore does not know
            return _Zarr(array)
    return _Zarr(array)


def _has_tensorstore() -> bool:
    return importlib.util.find_spec("tensorstore") is not None


def local_directory(store: Any) -> Path | None:
    """Directory of a store that zarr-python opened; None where it is not in local files."""
    from zarr.storage import LocalStore

    return Path(store.root) if type(store) is LocalStore else None

"""Layers as dask arrays: one task reads one chunk."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import xarray as xr

from geoxr.errors import ArgumentError
from geoxr.grid.meaning import band_dim
from geoxr.io.unwrap import layer_behind

#: A reader up to this size goes along with every task; a larger one is sent once [bytes].
_SMALL = 1 << 14


def chunk(
    obj: xr.DataArray | xr.Dataset, size: int | Mapping[str, Any] = 2048
) -> xr.DataArray | xr.Dataset:
    """Return dask arrays in which one task reads one chunk. Reads no pixel.

    Parameters
    ----------
    obj : DataArray or Dataset
    size : int or mapping of str to int [pixel]
        Edge of square chunks, with all bands and times of the place; or chunk sizes by dimension, as
        ``{"y": 512, "x": 512, "band": 1}``. "band" also stands for the ``band_<name>`` of a Dataset.

    Returns
    -------
    DataArray or Dataset
        Any scheduler computes it: threads, processes, or a cluster.

    Raises
    ------
    ArgumentError
        If a size is not positive, or a dimension is not there.
    """
    given = dict(size) if isinstance(size, Mapping) else {"y": size, "x": size}
    chunks: dict[str, Any] = {}
    for dim, length in given.items():
        if isinstance(length, int) and length < 1 and length != -1:
            raise ArgumentError(f"A chunk of {length} along {dim!r} holds nothing; pass 1 or more.")
        found = [str(d) for d in obj.dims if d == dim or (dim == "band" and band_dim([d]))]
        if not found:
            listed = ", ".join(map(str, obj.dims))
            raise ArgumentError(f"There is no dimension {dim!r} to chunk; there are {listed}.")
        chunks.update(dict.fromkeys(found, length))
    return obj.chunk(chunks, inline_array=_is_small(obj))


def _is_small(obj: xr.DataArray | xr.Dataset) -> bool:
    variables = [obj.variable] if isinstance(obj, xr.DataArray) else obj.variables.values()
    layers = [layer_behind(variable) for variable in variables]
    return all(layer is None or len(pickle.dumps(layer)) <= _SMALL for layer in layers)

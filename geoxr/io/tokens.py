"""Tokens of dask for lazy layers, made of what they would read instead of their pixels.

xarray makes the token of a variable out of its values, which would read a lazy layer whole. dask looks
here first. Variables without a reader behind them keep the token that xarray gives them.
"""

from __future__ import annotations

from typing import Any

import dask
import xarray as xr
from dask.base import normalize_token, tokenize
from xarray.backends import BackendArray
from xarray.core import indexing

from geoxr.errors import ArgumentError


def _with_reader(data: Any) -> bool:
    """Whether lazy data, under whatever xarray wraps around it, ends in an array with a token."""
    while isinstance(data, indexing.ExplicitlyIndexed):
        if isinstance(data, BackendArray):
            return hasattr(data, "__dask_tokenize__")
        data = getattr(data, "array", None)
    return False


def _lazy(data: indexing.ExplicitlyIndexed) -> Any:
    if isinstance(data, BackendArray):
        return normalize_token(data)
    key = getattr(data, "key", None)
    inner = _lazy(data.array)  # type: ignore[attr-defined]
    return type(data).__name__, inner, None if key is None else normalize_token(key.tuple)


def _variable(variable: xr.Variable) -> Any:
    if not _with_reader(variable._data):
        return variable.__dask_tokenize__()
    attrs = normalize_token(variable._attrs or None)
    return type(variable).__name__, variable._dims, _lazy(variable._data), attrs  # type: ignore[arg-type]


def _lazily_indexed(data: Any) -> Any:
    if _with_reader(data):
        return _lazy(data)
    return normalize_token.dispatch(object)(data)


def fingerprint(parts: Any, *, instead: str) -> str:
    """Text that is the same for the same readers in any process, and for no others.

    Parameters
    ----------
    parts
        Readers, in lists and tuples with whatever else counts.
    instead : str
        What to do where that cannot be told, for the message.

    Raises
    ------
    ArgumentError
        If something in them, such as an object inside of a function, has no such text.
    """
    try:
        with dask.config.set({"tokenize.ensure-deterministic": True}):
            return str(tokenize(parts))
    except Exception as error:
        raise ArgumentError(
            f"A cache of these layers could not be recognised again ({error}). {instead}"
        ) from error


def register() -> None:
    """Tell dask; xarray has no hook for it."""
    normalize_token.register(xr.Variable, _variable)
    for kind in (
        indexing.LazilyIndexedArray,
        indexing.LazilyVectorizedIndexedArray,
        indexing.CopyOnWriteArray,
        indexing.MemoryCachedArray,
    ):
        normalize_token.register(kind, _lazily_indexed)

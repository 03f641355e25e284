"""A user's function as a rule: called on arrays like the layers, sent to other processes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from types import CodeType, FunctionType
from typing import Any, Literal

import numpy as np

from geoxr.derive.cast import cast
from geoxr.errors import ArgumentError


@dataclass(frozen=True)
class Call:
    """Call a function on windows; see `geoxr.map`.

    Parameters
    ----------
    func : callable
    dims : tuple of tuple of str
        Dimensions of the array that each layer becomes.
    result : tuple of str
        Dimensions of the array that `func` returns.
    dtype : numpy.dtype or None
        What the function must return; None allows any that fits the result.
    invalid : {"any", "func"}
        "func" gives the function NaN where a layer is invalid, and lets it decide.
    """

    func: Callable[..., Any]
    dims: tuple[tuple[str, ...], ...]
    result: tuple[str, ...]
    dtype: np.dtype | None
    invalid: Literal["any", "func"] = "any"

    holes = True
    marks = True

    def __call__(
        self, pixels: Sequence[np.ndarray], good: np.ndarray, out: np.ndarray, bands: Sequence[int]
    ) -> None:
        """Fill `out`; see `geoxr.io.mapped.Rule`."""
        if self.invalid == "func":
            good[...] = True
        if any("time" in dims for dims in self.dims):
            out[...] = self._spread(self._called(pixels, out.shape), out.dtype, good)
            return
        for at in range(out.shape[0]):
            # A layer without dates is the same on all of them.
            now = [array[min(at, len(array) - 1)][None] for array in pixels]
            part = good[at : at + 1]
            out[at : at + 1] = self._spread(self._called(now, (1, *out.shape[1:])), out.dtype, part)

    def _called(self, pixels: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        sizes = dict(zip(("time", "band", "y", "x"), shape, strict=True))
        arrays = [
            array.reshape([n for n, dim in zip(array.shape, _DIMS, strict=True) if dim in dims])
            for array, dims in zip(pixels, self.dims, strict=True)
        ]
        value = run(self.func, arrays)
        expected = tuple(sizes[dim] for dim in self.result)
        if value.shape != expected:
            raise ArgumentError(
                f"{named(self.func)} returned an array of shape {value.shape} for a window where "
                f"{expected} ({', '.join(self.result)}) was expected, as from its trial run. It must "
                f"return one value per pixel, whatever the pixels are."
            )
        return value

    def _spread(self, value: np.ndarray, dtype: np.dtype, good: np.ndarray) -> np.ndarray:
        """Return the value with all four dimensions and in the type of the result."""
        if self.dtype is not None and value.dtype != self.dtype:
            raise ArgumentError(
                f"{named(self.func)} returned {value.dtype} for a window and {self.dtype} in its trial "
                f"run. Say which type the layer has: gx.map(..., dtype={str(value.dtype)!r})."
            )
        missing = tuple(axis for axis, dim in enumerate(_DIMS) if dim not in self.result)
        return cast(np.expand_dims(value, missing), dtype, good, f"{named(self.func)} returned")

    def __getstate__(self) -> dict[str, Any]:
        state = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**state, "func": _pack(self.func)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for key, value in state.items():
            object.__setattr__(self, key, _unpack(value) if key == "func" else value)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (type(self).__name__, _code(self.func), self.dims, self.result, self.invalid)


_DIMS = ("time", "band", "y", "x")


def run(func: Callable[..., Any], arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Call a function on arrays that may hold invalid pixels, without warnings about them."""
    # What comes of dividing by nodata is no news: it is NaN or marked invalid.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(func(*arrays))


def named(func: Callable[..., Any]) -> str:
    """Name of a function for messages."""
    return str(getattr(func, "__qualname__", None) or repr(func))


def _pack(func: Callable[..., Any]) -> tuple[str, Any]:
    """Return a function in a form that pickles: by its name, else with its code."""
    if getattr(func, "__module__", None) != "__main__":
        try:
            pickle.dumps(func)
        except Exception:
            pass
        else:
            return "name", func
    import cloudpickle

    try:
        return "code", cloudpickle.dumps(func)
    except Exception as error:
        raise ArgumentError(
            f"{named(func)} cannot be sent to other processes ({error}). Define it at the top of a "
            f"module, and let it make what it needs (open files, locks, models) itself."
        ) from error


def _unpack(packed: tuple[str, Any]) -> Callable[..., Any]:
    import cloudpickle

    how, value = packed
    return value if how == "name" else cloudpickle.loads(value)


def _code(func: Any) -> Any:
    """What a function does, as far as it can be told: another body is another layer."""
    if isinstance(func, CodeType):
        return func.co_code, func.co_names, tuple(_code(const) for const in func.co_consts)
    if isinstance(func, frozenset):
        # A set of texts has another order in every process.
        return "set", tuple(sorted(map(repr, func)))
    if isinstance(func, FunctionType):
        cells = tuple(_code(cell.cell_contents) for cell in func.__closure__ or ())
        defaults = func.__defaults__, func.__kwdefaults__
        return func.__module__, func.__qualname__, _code(func.__code__), defaults, cells
    if isinstance(func, partial):
        return "partial", _code(func.func), func.args, func.keywords
    return func

"""Pixels as stored into the tensors of a batch: type, classes and invalid pixels in one pass."""

from __future__ import annotations

import math
import threading
from typing import Any, TypeAlias

import numba
import numpy as np

#: Rows and columns.
Place: TypeAlias = tuple[slice, slice]

_jit: Any = numba.njit(nogil=True, cache=True, error_model="numpy")


def scratch(shape: tuple[int, ...], dtype: np.dtype, role: str) -> np.ndarray:
    """Memory of this thread that is used for one chip after the other."""
    size = math.prod(shape) * dtype.itemsize
    held: dict[str, np.ndarray] = _own.__dict__
    if role not in held or held[role].nbytes < size:
        held[role] = np.empty(size, "uint8")
    return held[role][:size].view(dtype).reshape(shape)


_own = threading.local()


def to_float(
    pixels: np.ndarray, valid: np.ndarray, of: Place, fill: float, out: np.ndarray, to: Place
) -> None:
    """Write a part of some pixels as float32 into a part of a chip, `fill` where they are invalid.

    Parameters
    ----------
    pixels : array (channel, rows, columns)
        May be `out`.
    valid : bool array (rows, columns)
    of, to : (slice, slice)
        Rows and columns in `pixels` and in `out`.
    out : float32 array (channel, height, width)
    """
    if pixels.dtype.kind in "iu" or pixels.dtype in (np.float32, np.float64):
        _to_float(pixels, valid, *_starts(of, to), np.float32(fill), out)
        return
    np.copyto(out[:, *to], pixels[:, *of], casting="unsafe")
    np.copyto(out[:, *to], fill, where=~valid[of])


def to_index(
    pixels: np.ndarray,
    valid: np.ndarray,
    of: Place,
    table: np.ndarray,
    ignore: int,
    out: np.ndarray,
    to: Place,
) -> bool:
    """Write class positions from a table by code, `ignore` where invalid; the rest as in `to_float`.

    Parameters
    ----------
    table : int64 array
        Position of every code that the type of `pixels` can hold, negative where it is no class.

    Returns
    -------
    bool
        Whether all valid pixels are classes.
    """
    return bool(_to_index(pixels, valid, *_starts(of, to), table, ignore, out))


def _starts(of: Place, to: Place) -> tuple[int, int, int, int, int, int]:
    """Return first row and column of both, height and width."""
    rows, cols = to
    return (
        of[0].start,
        of[1].start,
        rows.start,
        cols.start,
        rows.stop - rows.start,
        cols.stop - cols.start,
    )


@_jit
def _to_float(pixels, valid, top, left, row, col, height, width, fill, out):  # type: ignore[no-untyped-def]
    at, to = np.uintp(left), np.uintp(col)
    for channel in range(out.shape[0]):
        for i in range(height):
            line, good, result = pixels[channel, top + i], valid[top + i], out[channel, row + i]
            for j in range(np.uintp(width)):
                value = np.float32(line[at + j])
                result[to + j] = value if good[at + j] else fill


@_jit
def _to_index(pixels, valid, top, left, row, col, height, width, table, ignore, out) -> Any:  # type: ignore[no-untyped-def]
    at, to, lowest = np.uintp(left), np.uintp(col), 0
    for channel in range(out.shape[0]):
        for i in range(height):
            line, good, result = pixels[channel, top + i], valid[top + i], out[channel, row + i]
            for j in range(np.uintp(width)):
                code = table[np.uintp(line[at + j])]
                result[to + j] = code if good[at + j] else ignore
                lowest = min(lowest, code if good[at + j] else 0)
    return lowest >= 0

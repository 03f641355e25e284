"""Pixels as stored into the tensors of a batch: type, classes and invalid pixels in one pass."""

from __future__ import annotations

import threading
from typing import Any

import numba
import numpy as np

_jit: Any = numba.njit(nogil=True, cache=True, error_model="numpy")


def scratch(shape: tuple[int, ...], dtype: np.dtype, role: str) -> np.ndarray:
    """Memory of this thread that is used for one chip after the other."""
    size = int(np.prod(shape)) * dtype.itemsize
    held: dict[str, np.ndarray] = _own.__dict__
    if role not in held or held[role].nbytes < size:
        held[role] = np.empty(size, "uint8")
    return held[role][:size].view(dtype).reshape(shape)


_own = threading.local()


def to_float(pixels: np.ndarray, valid: np.ndarray, col: int, fill: float, out: np.ndarray) -> None:
    """Write the pixels of a chip as float32, `fill` where they are invalid.

    Parameters
    ----------
    pixels : array (channel, height, columns)
        A strip that holds the chip; may be `out`.
    valid : bool array (height, columns)
    col : int
        First column of the chip in the strip.
    out : float32 array (channel, height, width)
    """
    if pixels.dtype.kind in "iu" or pixels.dtype in (np.float32, np.float64):
        _to_float(pixels, valid, col, np.float32(fill), out)
        return
    cols = np.s_[..., col : col + out.shape[-1]]
    np.copyto(out, pixels[cols], casting="unsafe")
    np.copyto(out, fill, where=~valid[cols])


def to_codes(pixels: np.ndarray, valid: np.ndarray, col: int, ignore: int, out: np.ndarray) -> None:
    """Write label pixels as int64, `ignore` where they are invalid; shapes as in `to_float`."""
    cols = np.s_[..., col : col + out.shape[-1]]
    np.copyto(out, pixels[cols], casting="unsafe")
    np.copyto(out, ignore, where=~valid[cols])


def to_index(
    pixels: np.ndarray,
    valid: np.ndarray,
    col: int,
    table: np.ndarray,
    ignore: int,
    out: np.ndarray,
) -> bool:
    """Write class positions from a table by code, `ignore` where invalid; shapes as in `to_float`.

    Parameters
    ----------
    table : int64 array
        Position of every code that the type of `pixels` can hold, negative where it is no class.

    Returns
    -------
    bool
        Whether all valid pixels are classes.
    """
    return bool(_to_index(pixels, valid, col, table, ignore, out))


@_jit
def _to_float(pixels, valid, col, fill, out):  # type: ignore[no-untyped-def]
    channels, height, width = out.shape
    first = np.uintp(col)
    for channel in range(channels):
        for i in range(height):
            line, good, to = pixels[channel, i], valid[i], out[channel, i]
            for j in range(np.uintp(width)):
                value = np.float32(line[first + j])
                to[j] = value if good[first + j] else fill


@_jit
def _to_index(pixels, valid, col, table, ignore, out) -> Any:  # type: ignore[no-untyped-def]
    channels, height, width = out.shape
    first, lowest = np.uintp(col), 0
    for channel in range(channels):
        for i in range(height):
            line, good, to = pixels[channel, i], valid[i], out[channel, i]
            for j in range(np.uintp(width)):
                code = table[np.uintp(line[first + j])]
                to[j] = code if good[first + j] else ignore
                lowest = min(lowest, code if good[first + j] else 0)
    return lowest >= 0

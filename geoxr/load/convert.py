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


def to_float(pixels: np.ndarray, valid: np.ndarray, fill: float, out: np.ndarray) -> None:
    """Write pixels as float32, `fill` where they are invalid.

    Parameters
    ----------
    pixels : array (channel, height, width)
        Contiguous; may be `out`.
    valid : bool array (height, width)
    out : float32 array (channel, height, width)
    """
    if pixels.dtype.kind in "iu" or pixels.dtype in (np.float32, np.float64):
        channels = len(pixels)
        _to_float(
            pixels.reshape(channels, -1),
            valid.reshape(-1),
            np.float32(fill),
            out.reshape(channels, -1),
        )
        return
    np.copyto(out, pixels, casting="unsafe")
    np.copyto(out, fill, where=~valid)


def to_codes(pixels: np.ndarray, valid: np.ndarray, ignore: int, out: np.ndarray) -> None:
    """Write label pixels as int64, `ignore` where they are invalid; shapes as in `to_float`."""
    np.copyto(out, pixels, casting="unsafe")
    np.copyto(out, ignore, where=~valid)


def to_index(
    pixels: np.ndarray, valid: np.ndarray, table: np.ndarray, ignore: int, out: np.ndarray
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
    channels = len(pixels)
    return bool(
        _index(
            pixels.reshape(channels, -1),
            valid.reshape(-1),
            table,
            ignore,
            out.reshape(channels, -1),
        )
    )


@_jit
def _to_float(pixels: np.ndarray, valid: np.ndarray, fill: np.float32, out: np.ndarray) -> None:
    for channel in range(pixels.shape[0]):
        for i in range(pixels.shape[1]):
            value = np.float32(pixels[channel, i])
            out[channel, i] = value if valid[i] else fill


@_jit
def _index(
    pixels: np.ndarray, valid: np.ndarray, table: np.ndarray, ignore: int, out: np.ndarray
) -> bool:
    lowest = np.int64(0)
    for channel in range(pixels.shape[0]):
        for i in range(pixels.shape[1]):
            code = table[np.uintp(pixels[channel, i])]
            out[channel, i] = code if valid[i] else ignore
            if valid[i]:
                lowest = min(lowest, code)
    return bool(lowest >= 0)

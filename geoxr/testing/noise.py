"""Randomness that is a function of place: hashes of integer cells, and smooth noise between them.

Only integer arithmetic, ``floor``, products and sums are used, element by element, so a value
depends on its own coordinates and the salt alone: not on the rest of the array, its chunking, the
number of threads, or a platform's ``sin``.
"""

from __future__ import annotations

import zlib
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.floating]
IntArray: TypeAlias = npt.NDArray[np.integer]

# Multipliers and shifts of a 32 bit finaliser with low bias, and two odd constants that keep
# (i, j) and (j, i) apart.
_ROW, _COLUMN = np.uint32(0x9E3779B1), np.uint32(0x85EBCA77)
_FIRST, _SECOND = np.uint32(0x21F0AAAD), np.uint32(0x735A2D97)


def salt(seed: int, name: str) -> int:
    """Give the random stream `name` of a `seed` its own 32 bit number.

    Examples
    --------
    >>> salt(0, "river") == salt(0, "river"), salt(0, "river") == salt(1, "river")
    (True, False)
    """
    return zlib.crc32(f"{name}/{seed}".encode())


def cell_uniform(i: npt.ArrayLike, j: npt.ArrayLike, stream: int) -> FloatArray:
    """Return the uniform random number of each integer cell.

    Parameters
    ----------
    i, j : array of int
        Cell numbers, of any sign; they broadcast.
    stream : int
        Which of the independent streams, see `salt`.

    Returns
    -------
    array of float32 in [0, 1)

    References
    ----------
    The finaliser is "lowbias32" of C. Wellons, Prospecting for Hash Functions (2018),
    https://nullprogram.com/blog/2018/07/31/, with the constants found since.

    Examples
    --------
    >>> bool(cell_uniform(3, -7, salt(0, "a")) == cell_uniform([9, 3], [1, -7], salt(0, "a"))[1])
    True
    """
    rows = np.atleast_1d(np.asarray(i, dtype="int64")).astype("uint32") * _ROW
    columns = np.atleast_1d(np.asarray(j, dtype="int64")).astype("uint32") * _COLUMN
    h = _finalise(rows ^ np.uint32(stream))
    h = _finalise(h ^ columns)
    # 24 bits: every one is a float32, so 1.0 can't come out by rounding.
    return (h >> np.uint32(8)).astype("float32") * np.float32(2.0**-24)


def _finalise(h: IntArray) -> IntArray:
    h = (h ^ (h >> np.uint32(16))) * _FIRST
    h = (h ^ (h >> np.uint32(15))) * _SECOND
    return h ^ (h >> np.uint32(15))


def value_noise(x: FloatArray, y: FloatArray, cell: float, stream: int) -> FloatArray:
    """Return smooth noise: random values at the nodes of a lattice, eased in between.

    Parameters
    ----------
    x, y : array of float64 [m]
        Where, of one shape.
    cell : float [m]
        Distance of the nodes. The lattice is turned by 37 degrees, so that its axes are nobody's.
    stream : int
        Which of the independent streams, see `salt`.

    Returns
    -------
    array of float32 in [-1, 1], of the shape of `x`
    """
    i, fi = _split((0.8 * x + 0.6 * y) / cell)
    j, fj = _split((0.8 * y - 0.6 * x) / cell)
    i0, j0 = i.min(), j.min()
    rows, columns = np.arange(i0, i.max() + 2), np.arange(j0, j.max() + 2)
    nodes = 2 * cell_uniform(rows[:, None], columns[None, :], stream) - 1
    at = (i - i0) * len(columns) + (j - j0)
    flat = nodes.ravel()
    low = flat[at] + (flat[at + 1] - flat[at]) * fj
    at += len(columns)
    high = flat[at] + (flat[at + 1] - flat[at]) * fj
    return np.asarray(low + (high - low) * fi)


def _split(u: FloatArray) -> tuple[IntArray, FloatArray]:
    """Whole cells, and the eased (3 f^2 - 2 f^3) fraction of one."""
    whole = np.floor(u)
    f = (u - whole).astype("float32")
    return whole.astype("int64"), f * f * (3 - 2 * f)


def fractal_noise(
    x: FloatArray, y: FloatArray, cell: float, stream: int, *, octaves: int = 3
) -> FloatArray:
    """Sum `octaves` of value noise, each half the cell and half the height of the one before.

    Parameters
    ----------
    x, y : array of float64 [m]
        Where, of one shape.
    cell : float [m]
        Distance of the nodes of the first octave.
    stream : int
        Which of the independent streams, see `salt`.
    octaves : int

    Returns
    -------
    array of float32 in [-1, 1], of the shape of `x`
    """
    total = value_noise(x, y, cell, stream)
    for k in range(1, octaves):
        total = total + value_noise(x, y, cell / 2**k, stream + k) * np.float32(0.5**k)
    return np.asarray(total / np.float32(2 - 0.5 ** (octaves - 1)))


def wave(phase: FloatArray) -> FloatArray:
    """Return a rounded wave of period 1, height 1 and mean 0, made of polynomials.

    Examples
    --------
    >>> wave(np.array([0.0, 0.25, 0.5, 1.0])).tolist()
    [1.0, 0.0, -1.0, 1.0]
    """
    triangle = (4 * np.abs(phase - np.floor(phase) - 0.5) - 1).astype("float32")
    return np.asarray(triangle * (np.float32(1.5) - np.float32(0.5) * triangle * triangle))

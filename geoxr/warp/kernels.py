"""Compiled gathers. All release the GIL; all are pure functions of their arguments.

A position lies in the cell ``floor(position + EDGE)``: within ``EDGE`` of a border it belongs to the
right or lower cell.
"""

from __future__ import annotations

import math

import numba
import numpy as np

#: Positions this close to a border of a cell count as on it [pixel].
EDGE = 1e-6

_jit = numba.njit(nogil=True, cache=True, fastmath=False)


@_jit
def interpolate(
    nodes: np.ndarray, step: int, row0: int, col0: int, x: np.ndarray, y: np.ndarray
) -> None:
    """Fill positions of pixel centres bilinearly from nodes every `step` pixels.

    Parameters
    ----------
    nodes : float64 array (2, rows, columns)
        x and y at whole multiples of `step`.
    row0, col0 : int [pixel]
        Of the first pixel wanted, counted from the first node.
    x, y : float64 array (height, width)
        Filled.
    """
    height, width = x.shape
    for i in range(height):
        at_row = row0 + i + 0.5
        node_row = int(at_row // step)
        fy = at_row / step - node_row
        for j in range(width):
            at_col = col0 + j + 0.5
            node_col = int(at_col // step)
            fx = at_col / step - node_col
            for axis in range(2):
                upper = (1.0 - fx) * nodes[axis, node_row, node_col] + fx * nodes[
                    axis, node_row, node_col + 1
                ]
                lower = (1.0 - fx) * nodes[axis, node_row + 1, node_col] + fx * nodes[
                    axis, node_row + 1, node_col + 1
                ]
                if axis == 0:
                    x[i, j] = (1.0 - fy) * upper + fy * lower
                else:
                    y[i, j] = (1.0 - fy) * upper + fy * lower


@_jit
def cells(
    x: np.ndarray, y: np.ndarray, height: int, width: int, index: np.ndarray
) -> tuple[int, int, int, int]:
    """Find the source cell of every position.

    Parameters
    ----------
    x, y : float64 array (n, m) [source pixel]
    height, width : int [pixel]
        Of the source.
    index : int32 array (2, n, m)
        Filled with row and column; -1 outside of the source.

    Returns
    -------
    row, col, stop_row, stop_col : int
        The smallest window that holds all cells; empty (0, 0, 0, 0) if there is none.
    """
    top, left, bottom, right = height, width, -1, -1
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            px, py = x[i, j] + EDGE, y[i, j] + EDGE
            # NaN and infinity fail these comparisons, so they are outside.
            if 0.0 <= px < width and 0.0 <= py < height:
                row, col = int(math.floor(py)), int(math.floor(px))
                index[0, i, j] = row
                index[1, i, j] = col
                top, bottom = min(top, row), max(bottom, row)
                left, right = min(left, col), max(right, col)
            else:
                index[0, i, j] = -1
                index[1, i, j] = -1
    if bottom < 0:
        return 0, 0, 0, 0
    return top, left, bottom + 1, right + 1


@_jit
def gather_nearest(
    source: np.ndarray,
    good: np.ndarray,
    index: np.ndarray,
    row0: int,
    col0: int,
    fill: float,
    out: np.ndarray,
    valid: np.ndarray,
) -> None:
    """Copy the source pixel of every cell.

    Parameters
    ----------
    source : array (band, rows, columns)
        A window of the source whose first pixel is (`row0`, `col0`).
    good : bool array (band, rows, columns)
        Which source pixels are valid.
    index : int32 array (2, height, width)
        From `cells`.
    fill : number
        Written where there is no source pixel or it is invalid.
    out, valid : array (band, height, width)
        Filled.
    """
    for band in range(source.shape[0]):
        for i in range(index.shape[1]):
            for j in range(index.shape[2]):
                row, col = index[0, i, j] - row0, index[1, i, j] - col0
                if index[0, i, j] >= 0 and good[band, row, col]:
                    out[band, i, j] = source[band, row, col]
                    valid[band, i, j] = True
                else:
                    out[band, i, j] = fill
                    valid[band, i, j] = False


@_jit
def gather_bilinear(
    source: np.ndarray,
    good: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    index: np.ndarray,
    row0: int,
    col0: int,
    fill: float,
    marks: bool,
    whole: bool,
    out: np.ndarray,
    valid: np.ndarray,
) -> None:
    """Weigh the four source pixels around every position.

    Invalid neighbours are left out and the weights of the others scaled up; a position whose own
    cell is invalid is invalid. `whole` rounds half up, for integers. Where `fill` marks missing
    pixels, a valid result never equals it: it is moved to the next number.

    Parameters
    ----------
    x, y : float64 array (height, width) [source pixel]
    index, source, good, row0, col0, out, valid
        As for `gather_nearest`.
    """
    rows, cols = source.shape[1], source.shape[2]
    for i in range(index.shape[1]):
        for j in range(index.shape[2]):
            row, col = index[0, i, j] - row0, index[1, i, j] - col0
            inside = index[0, i, j] >= 0
            left = upper = 0
            fx = fy = 0.0
            if inside:
                px, py = x[i, j] - 0.5 - col0, y[i, j] - 0.5 - row0
                left, upper = int(math.floor(px + EDGE)), int(math.floor(py + EDGE))
                fx, fy = px - left, py - upper
                # A position on a pixel centre takes this pixel alone.
                fx = 0.0 if fx < EDGE else fx
                fy = 0.0 if fy < EDGE else fy
            for band in range(source.shape[0]):
                if not inside or not good[band, row, col]:
                    out[band, i, j] = fill
                    valid[band, i, j] = False
                    continue
                total = weight = 0.0
                for down in range(2):
                    r = upper + down
                    wy = fy if down else 1.0 - fy
                    if r < 0 or r >= rows or wy == 0.0:
                        continue
                    for along in range(2):
                        c = left + along
                        w = wy * (fx if along else 1.0 - fx)
                        if c < 0 or c >= cols or w == 0.0 or not good[band, r, c]:
                            continue
                        total += w * source[band, r, c]
                        weight += w
                value = total / weight
                if whole:
                    value = math.floor(value + 0.5)
                if marks and value == fill:
                    value += 1.0 if whole else max(abs(value) * 1e-6, 1e-30)
                out[band, i, j] = value
                valid[band, i, j] = True

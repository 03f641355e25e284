"""Compiled sampling: nearest, bilinear, cubic. All release the GIL and are pure functions.

A position lies in the cell ``floor(position + EDGE)``: within ``EDGE`` of a border it belongs to the
right or lower cell.

"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

#: Positions this close to a border of a cell count as on it [pixel].
EDGE = 1e-6
#: Pixels that are moved at once from a source to a row.
CHUNK = 16
#: Runs that are shorter than this on the average are not worth moving in chunks [pixel].
_SHORT = 4
#: What tells which source pixels are valid: nothing, since all are; a number; a mask.
ALL, MARK, MASK = 0, 1, 2

jit: Any = numba.njit(nogil=True, cache=True, error_model="numpy")


@jit
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
    share = 1.0 / step  # exact: steps are powers of two
    first = int((col0 + 0.5) // step)
    number = int((col0 + width - 0.5) // step) - first + 2
    # How far each column is between two nodes is the same in all rows.
    between = np.empty(width)
    for j in range(width):
        at = col0 + j + 0.5
        between[j] = at * share - int(at // step)
    across, down = np.empty(number), np.empty(number)
    for i in range(height):
        at = row0 + i + 0.5
        node = int(at // step)
        fy = at * share - node
        above_x, below_x = nodes[0, node], nodes[0, node + 1]
        above_y, below_y = nodes[1, node], nodes[1, node + 1]
        for n in range(number):
            k = np.uintp(first + n)
            across[n] = (1.0 - fy) * above_x[k] + fy * below_x[k]
            down[n] = (1.0 - fy) * above_y[k] + fy * below_y[k]
        line_x, line_y, start = x[i], y[i], 0
        for n in range(number - 1):
            stop = min((first + n + 1) * step - col0, width)
            x0, x1, y0, y1 = across[n], across[n + 1], down[n], down[n + 1]
            # Unsigned positions spare the compiler the check for counting from the end.
            for j in range(np.uintp(start), np.uintp(stop)):
                line_x[j] = (1.0 - between[j]) * x0 + between[j] * x1
                line_y[j] = (1.0 - between[j]) * y0 + between[j] * y1
            start = stop


@jit
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
    far = np.int32(2**31 - 1)
    top, left, bottom, right = far, far, np.int32(-1), np.int32(-1)
    stop_x, stop_y = float(width), float(height)
    for i in range(x.shape[0]):
        line_x, line_y, rows, cols = x[i], y[i], index[0, i], index[1, i]
        for j in range(x.shape[1]):
            px, py = line_x[j] + EDGE, line_y[j] + EDGE
            # NaN and infinity fail these comparisons, so they are outside. No branch, so that
            # several positions are done at once.
            inside = (px >= 0.0) & (px < stop_x) & (py >= 0.0) & (py < stop_y)
            row, col = np.int32(py if inside else -1.0), np.int32(px if inside else -1.0)
            rows[j], cols[j] = row, col
            top, left = min(top, row if inside else far), min(left, col if inside else far)
            bottom, right = max(bottom, row), max(right, col)
    if bottom < 0:
        return 0, 0, 0, 0
    return int(top), int(left), int(bottom) + 1, int(right) + 1


@jit
def flatten(
    index: np.ndarray, row0: int, col0: int, step: int, width: int, offsets: np.ndarray
) -> None:
    """Turn rows and columns of a source into offsets in a window of it.

    Parameters
    ----------
    index : int32 array (2, n, m)
        From `cells`.
    row0, col0 : int [source pixel]
        Corner of the window.
    step : int [source pixel]
        Only every `step`-th row and column is in the window.
    width : int
        Columns of the window.
    offsets : int32 array (n, m)
        Filled; -1 outside.
    """
    for i in range(offsets.shape[0]):
        for j in range(offsets.shape[1]):
            row, col = index[0, i, j] - row0, index[1, i, j] - col0
            if step > 1:  # dividing costs more than all the rest
                row, col = row // step, col // step
            offsets[i, j] = row * width + col if index[0, i, j] >= 0 else -1


@jit
def gather_nearest(
    source: np.ndarray,
    good: np.ndarray,
    how: int,
    mark: float,
    offsets: np.ndarray,
    fill: float,
    out: np.ndarray,
    valid: np.ndarray,
) -> None:
    """Copy the source pixel of every cell.

    Parameters
    ----------
    source : array (band, rows, columns)
        A window of the source, in C order.
    good : bool array (band, rows, columns)
        Which source pixels are valid, with `MASK`; else (band, 0, 0).
    how : int
        `ALL` pixels are valid; those that are finite and not `mark` (`MARK`); those that `good`
        says (`MASK`).
    mark : number of the type of the source
        NaN where only NaN and infinity are invalid.
    offsets : int32 array (height, width)
        From `flatten`.
    fill : number
        Written where there is no source pixel or it is invalid. With `MARK` it equals `mark`.
    out : array (band, height, width)
        Filled.
    valid : bool array (band, height, width), (1, height, width) or (0, height, width)
        Filled: per band, where all bands are valid, or not at all.
    """
    bands = source.shape[0]
    pixels = source.reshape(bands, -1)
    if how == MASK:
        _gather_masked(pixels, good.reshape(bands, -1), offsets, fill, out, valid)
    else:
        _gather_marked(pixels, how == MARK, mark, offsets, fill, out, valid)


@jit
def _gather_marked(pixels, marked, mark, offsets, fill, out, valid):  # type: ignore[no-untyped-def]
    """`gather_nearest` where a number, or nothing, says which pixels are invalid.

    Loops over all bands of a row stay in one function: passing an array costs as much as a run.
    """
    bands, (rows, width) = pixels.shape[0], offsets.shape
    # What a row takes from a source in runs is moved in chunks, which may reach beyond its end.
    line = np.empty(width + CHUNK, pixels.dtype)
    starts, froms = np.empty(width + 1, np.int32), np.empty(width + 1, np.int32)
    for i in range(rows):
        at = offsets[i]
        number = _runs(at, starts, froms)
        last = froms[:number].max() + width + CHUNK
        runs = number * _SHORT <= width and last <= pixels.shape[1]
        for band in range(bands):
            taken, to = pixels[band], out[band, i]
            if not runs:
                for j in range(width):
                    value = taken[np.uint32(max(at[j], 0))]
                    line[j] = value if at[j] >= 0 else fill
            else:
                for run in range(number):
                    start, stop = np.uintp(starts[run]), np.uintp(starts[run + 1])
                    if froms[run] < 0:
                        for m in range(start, stop):
                            line[m] = fill
                    else:
                        k = np.uintp(froms[run])
                        while start < stop:
                            # Always as many, so that they move at once; the next run overwrites them.
                            for m in range(np.uintp(CHUNK)):
                                line[start + m] = taken[k + m]
                            start += np.uintp(CHUNK)
                            k += np.uintp(CHUNK)
            if not marked:
                for j in range(width):
                    to[j] = line[j]
                continue
            for j in range(width):
                to[j] = line[j] if line[j] != mark and line[j] - line[j] == 0 else fill
            if valid.shape[0] == bands or (valid.shape[0] == 1 and band == 0):
                told = valid[band, i]
                for j in range(width):
                    told[j] = line[j] != mark and line[j] - line[j] == 0
            elif valid.shape[0] == 1:
                told = valid[0, i]
                for j in range(width):
                    told[j] &= line[j] != mark and line[j] - line[j] == 0
        if not marked:
            for band in range(valid.shape[0]):
                told = valid[band, i]
                for j in range(width):
                    told[j] = at[j] >= 0


@jit
def _gather_masked(pixels, good, offsets, fill, out, valid):  # type: ignore[no-untyped-def]
    """`gather_nearest` where a mask says which pixels are invalid."""
    bands, (rows, width) = pixels.shape[0], offsets.shape
    for i in range(rows):
        at = offsets[i]
        for band in range(bands):
            taken, fine, to = pixels[band], good[band], out[band, i]
            each = valid.shape[0] == bands
            for j in range(width):
                k = np.uint32(max(at[j], 0))
                usable = at[j] >= 0 and fine[k]
                to[j] = taken[k] if usable else fill
                if each or (valid.shape[0] == 1 and band == 0):
                    valid[band, i, j] = usable
                elif valid.shape[0] == 1:
                    valid[0, i, j] &= usable


@jit
def _runs(at, starts, froms):  # type: ignore[no-untyped-def]
    """Find where offsets go on one by one, or stay outside: first positions, first offsets.

    Returns how many such runs there are.
    """
    number = 0
    for j in range(at.size):
        starts[number], froms[number] = j, at[j]
        before = at[max(j - 1, 0)]
        goes_on = at[j] == before + 1 if before >= 0 else at[j] < 0
        number += 0 if goes_on and j > 0 else 1
    starts[number] = at.size
    return number


@jit
def finished(value, marks, mark, low, high, whole):  # type: ignore[no-untyped-def]
    """Round half up and keep within the type, for integers; move away from the mark."""
    if whole:
        value = min(max(math.floor(value + 0.5), low), high)
    if marks and value == mark:
        step = 1.0 if whole else max(abs(value) * 1e-6, 1e-30)
        value += step if value + step <= high else -step
    return value


@jit
def place(at, first):  # type: ignore[no-untyped-def]
    """Pixel before a position, counted from `first`, and how far beyond its centre that is [pixel].

    A position on a pixel centre is no further than that.
    """
    at -= 0.5
    before = math.floor(at + EDGE)
    beyond = at - before
    return int(before) - first, 0.0 if beyond < EDGE else beyond


@jit
def tell(valid, band, bands, i, j, usable):  # type: ignore[no-untyped-def]
    """Note whether a pixel of one band may be used: per band, for all together, or not at all."""
    if valid.shape[0] == bands:
        valid[band, i, j] = usable
    elif valid.shape[0] > 0:
        valid[0, i, j] = usable and (band == 0 or valid[0, i, j])


@jit
def blend(source, good, all_good, band, row, col, fy, fx):  # type: ignore[no-untyped-def]
    """Weigh four pixels, the first at (`row`, `col`).

    Those that are invalid or missing are left out and the weights of the others scaled up.
    """
    total = weight = 0.0
    for down in range(2):
        r = row + down
        wy = fy if down else 1.0 - fy
        for along in range(2):
            c = col + along
            w = wy * (fx if along else 1.0 - fx)
            if (
                w > 0.0
                and 0 <= r < source.shape[1]
                and 0 <= c < source.shape[2]
                and (all_good or good[band, r, c])
            ):
                total += w * source[band, r, c]
                weight += w
    return total / weight


@jit
def gather_bilinear(
    source: np.ndarray,
    good: np.ndarray,
    all_good: bool,
    x: np.ndarray,
    y: np.ndarray,
    offsets: np.ndarray,
    row0: int,
    col0: int,
    fill: float,
    marks: bool,
    low: float,
    high: float,
    whole: bool,
    out: np.ndarray,
    valid: np.ndarray,
) -> None:
    """Weigh the four source pixels around every position.

    Invalid neighbours are left out and the weights of the others scaled up; a position whose own
    cell is invalid is invalid. Where `fill` marks missing pixels (`marks`), a valid result never
    equals it: it is moved to the next number.

    Parameters
    ----------
    source : array (band, rows, columns)
        A window of the source, in C order.
    good : bool array (band, rows, columns)
        Which source pixels are valid; (band, 0, 0) with `all_good`.
    all_good : bool
        Whether all are.
    x, y : float64 array (height, width) [source pixel]
    offsets : int32 array (height, width)
        From `flatten`.
    row0, col0 : int [source pixel]
        Corner of the window that `source` holds.
    low, high : float
        Smallest and largest number of the type of `out`.
    whole : bool
        Whether it is an integer, to round half up.
    fill, out, valid
        As for `gather_nearest`.
    """
    bands, rows, cols = source.shape
    pixels, fine = source.reshape(bands, -1), good.reshape(bands, -1)
    height, width = offsets.shape
    # What a row needs of its four neighbours is the same for all bands.
    corner, inner = np.empty(width, np.uintp), np.empty(width, np.bool_)
    w00, w01, w10, w11 = np.empty(width), np.empty(width), np.empty(width), np.empty(width)
    blended = np.zeros(width)
    # Unsigned positions spare the compiler the check for counting from the end.
    right, below = np.uintp(1), np.uintp(cols)
    across = right + below
    for i in range(height):
        at, full = offsets[i], True
        for j in range(width):
            col, fx = place(x[i, j], col0)
            row, fy = place(y[i, j], row0)
            own = at[j] >= 0
            inner[j] = own and row >= 0 and col >= 0 and row + 1 < rows and col + 1 < cols
            full = full and inner[j]
            corner[j] = np.uintp(row * cols + col if inner[j] else 0)
            both = fx * fy
            w11[j], w01[j], w10[j] = both, fx - both, fy - both
            w00[j] = 1.0 - fx - (fy - both)
        for band in range(bands):
            taken, line = pixels[band], out[band, i]
            for j in range(width if across < taken.size else 0):
                k = corner[j]
                blended[j] = (
                    w00[j] * taken[k]
                    + w01[j] * taken[k + right]
                    + w10[j] * taken[k + below]
                    + w11[j] * taken[k + across]
                )
            for j in range(width):
                line[j] = finished(blended[j], marks, fill, low, high, whole)
            usable = full
            if full and not all_good:
                mask = fine[band]
                for j in range(width):
                    k = corner[j]
                    usable &= mask[k] & mask[k + right] & mask[k + below] & mask[k + across]
            if usable:
                for j in range(width):
                    tell(valid, band, bands, i, j, True)
            else:
                _blend_edges(
                    source, good, all_good, x, y, offsets, row0, col0, fill, marks, low, high,
                    whole, out, valid, band, i, inner, corner,
                )  # fmt: skip


@jit
def _blend_edges(  # type: ignore[no-untyped-def]
    source, good, all_good, x, y, offsets, row0, col0, fill, marks, low, high, whole, out, valid,
    band, i, inner, corner,
):  # fmt: skip
    """Go over a row of `gather_bilinear` again: some pixels are invalid or lack a neighbour."""
    bands, _, cols = source.shape
    fine = good.reshape(bands, -1)[band]
    right, below = np.uintp(1), np.uintp(cols)
    for j in range(offsets.shape[1]):
        own, k = offsets[i, j], corner[j]
        usable = own >= 0 and (all_good or fine[np.uintp(max(own, 0))])
        if not usable:
            out[band, i, j] = fill
        elif not inner[j] or not (
            all_good or fine[k] & fine[k + right] & fine[k + below] & fine[k + right + below]
        ):
            col, fx = place(x[i, j], col0)
            row, fy = place(y[i, j], row0)
            value = blend(source, good, all_good, band, row, col, fy, fx)
            out[band, i, j] = finished(value, marks, fill, low, high, whole)
        tell(valid, band, bands, i, j, usable)


@jit
def cubic_weights(f, weights):  # type: ignore[no-untyped-def]
    """Weights of the four pixels around a position at the fraction `f` between the middle two."""
    weights[0] = ((-0.5 * f + 1.0) * f - 0.5) * f
    weights[1] = (1.5 * f - 2.5) * f * f + 1.0
    weights[2] = ((-1.5 * f + 2.0) * f + 0.5) * f
    weights[3] = (0.5 * f - 0.5) * f * f


@jit
def gather_cubic(
    source: np.ndarray,
    good: np.ndarray,
    all_good: bool,
    x: np.ndarray,
    y: np.ndarray,
    offsets: np.ndarray,
    row0: int,
    col0: int,
    fill: float,
    marks: bool,
    low: float,
    high: float,
    whole: bool,
    out: np.ndarray,
    valid: np.ndarray,
) -> None:
    """Convolve the 16 source pixels around every position with Keys' kernel (a = -1/2).

    Where one of them is missing or invalid, the position is bilinear, as in GDAL. Arguments are
    those of `gather_bilinear`.

    References
    ----------
    R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on
    Acoustics, Speech, and Signal Processing 29 (1981), equation 15.
    """
    bands, rows, cols = source.shape
    pixels, fine = source.reshape(bands, -1), good.reshape(bands, -1)
    wx, wy = np.empty(4), np.empty(4)
    for i in range(offsets.shape[0]):
        for j in range(offsets.shape[1]):
            own = offsets[i, j]
            row = col = 0
            fx = fy = 0.0
            if own >= 0:
                col, fx = place(x[i, j], col0)
                row, fy = place(y[i, j], row0)
                cubic_weights(fx, wx)
                cubic_weights(fy, wy)
            inner = own >= 0 and row > 0 and col > 0 and row + 2 < rows and col + 2 < cols
            first = np.uintp((row - 1) * cols + col - 1 if inner else 0)
            for band in range(bands):
                n = np.uintp(band)
                usable = own >= 0 and (all_good or fine[n, np.uintp(own)])
                full = inner
                if usable and inner and not all_good:
                    for down in range(4):
                        for along in range(4):
                            full &= fine[n, first + np.uintp(down * cols + along)]
                if not usable:
                    out[band, i, j] = fill
                elif full:
                    value = 0.0
                    for down in range(4):
                        k = first + np.uintp(down * cols)
                        value += wy[down] * (
                            wx[0] * pixels[n, k]
                            + wx[1] * pixels[n, k + np.uintp(1)]
                            + wx[2] * pixels[n, k + np.uintp(2)]
                            + wx[3] * pixels[n, k + np.uintp(3)]
                        )
                    out[band, i, j] = finished(value, marks, fill, low, high, whole)
                else:
                    value = blend(source, good, all_good, band, row, col, fy, fx)
                    out[band, i, j] = finished(value, marks, fill, low, high, whole)
                tell(valid, band, bands, i, j, usable)

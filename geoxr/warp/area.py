"""Compiled statistics of the source pixels under a target pixel, each weighted by its overlap.

A target pixel is the quadrilateral between its four corners in the source; how much of a source pixel
lies in it is computed exactly. All kernels release the GIL and are pure functions.
"""

from __future__ import annotations

import math

import numpy as np

from geoxr.warp.kernels import EDGE, finished, jit, tell

#: Statistics by name, as the kernel knows them.
AVERAGE, MODE, MIN, MAX, SUM, MEDIAN = range(6)
STATISTICS = {
    "average": AVERAGE,
    "mode": MODE,
    "min": MIN,
    "max": MAX,
    "sum": SUM,
    "median": MEDIAN,
}
#: A corner further away than this has no place in the source [source pixel].
_FAR = 1e12
#: A target pixel is torn if its centre is further from the mean of its corners [share of its size].
#: Where one corner is across the edge of a map that is a quarter, where two are a half.
_TORN = 0.2


@jit
def reach(
    x: np.ndarray, y: np.ndarray, turn: float, middle_x: np.ndarray, middle_y: np.ndarray
) -> tuple[float, float, float, float, int, int]:
    """Bounds of all target pixels that have a place in the source, and the size of the largest.

    Parameters
    ----------
    x, y : float64 array (height + 1, width + 1) [source pixel]
        Corners of target pixels.
    turn : float [source pixel]
        Columns after which the source comes round again; 0 where it does not.
    middle_x, middle_y : float64 array (height, width) [source pixel]
        Centres of target pixels.

    Returns
    -------
    left, top, right, bottom : float [source pixel]
        Not finite if no pixel has a place.
    high, wide : int [source pixel]
        Rows and columns that the largest one touches, at most.
    """
    left = top = math.inf
    right = bottom = -math.inf
    high = wide = 0.0
    for i in range(x.shape[0] - 1):
        for j in range(x.shape[1] - 1):
            x0, x1, y0, y1, _ = box_of(x, y, turn, middle_x, middle_y, i, j)
            if x1 - x0 < math.inf and y1 - y0 < math.inf:  # not for NaN either
                left, right = min(left, x0), max(right, x1)
                top, bottom = min(top, y0), max(bottom, y1)
                high, wide = max(high, y1 - y0), max(wide, x1 - x0)
    return left, top, right, bottom, int(high) + 2, int(wide) + 2


@jit
def corner(x, turn, i, j, down, along):  # type: ignore[no-untyped-def]
    """Column of a corner of a target pixel, less than half a turn from its first one."""
    return near(x[i + down, j + along], x[i, j], turn)


@jit
def near(value, first, turn):  # type: ignore[no-untyped-def]
    """Column less than half a turn from another."""
    if turn > 0.0:
        if value - first > 0.5 * turn:
            return value - turn
        if first - value > 0.5 * turn:
            return value + turn
    return value


@jit
def box_of(x, y, turn, middle_x, middle_y, i, j):  # type: ignore[no-untyped-def]
    """Bounds of one target pixel, and whether the edge of a map tears it apart.

    A torn one has its corners on both sides of what the map shows, so that the quadrilateral between
    them lies over pixels of other places. It is taken for the source pixel at its centre.
    """
    a, b = x[i, j], corner(x, turn, i, j, 0, 1)
    c, d = corner(x, turn, i, j, 1, 1), corner(x, turn, i, j, 1, 0)
    e, f, g, h = y[i, j], y[i, j + 1], y[i + 1, j + 1], y[i + 1, j]
    farthest = max(abs(a), abs(b), abs(c), abs(d), abs(e), abs(f), abs(g), abs(h))
    if not (farthest < _FAR and math.isfinite(a + b + c + d + e + f + g + h)):
        return math.nan, math.nan, math.nan, math.nan, False
    x0, x1, y0, y1 = min(a, b, c, d), max(a, b, c, d), min(e, f, g, h), max(e, f, g, h)
    off_x = near(middle_x[i, j], a, turn) - 0.25 * (a + b + c + d)
    off_y = middle_y[i, j] - 0.25 * (e + f + g + h)
    if off_x * off_x + off_y * off_y <= _TORN**2 * ((x1 - x0) ** 2 + (y1 - y0) ** 2):
        return x0, x1, y0, y1, False
    col, row = math.floor(middle_x[i, j] + EDGE), math.floor(middle_y[i, j] + EDGE)
    if not (abs(col) < _FAR and abs(row) < _FAR):
        return math.nan, math.nan, math.nan, math.nan, False
    return col, col + 1.0, row, row + 1.0, True


@jit
def beside(xa, xb, height, c):  # type: ignore[no-untyped-def]
    """Area right of an edge that runs from `xa` to `xb` over `height`, and left of the line x = c."""
    if c <= xa:
        return 0.0
    if c >= xb:
        return height * (c - 0.5 * (xa + xb))
    return height * (c - xa) * (c - xa) / (2.0 * (xb - xa))


@jit
def add_edge(x0, y0, x1, y1, cover, first_r, stop_r, first_c, stop_c):  # type: ignore[no-untyped-def]
    """Add the area right of an edge to every cell of `cover`, negative where it runs upwards.

    The first cell is (`first_r`, `first_c`); what an edge covers of a cell does not depend on that.
    """
    if y0 == y1:
        return
    sign = 1.0 if y1 > y0 else -1.0
    top, bottom = (y0, y1) if y1 > y0 else (y1, y0)
    slope = (x1 - x0) / (y1 - y0)
    for row in range(max(int(top), first_r), min(int(math.ceil(bottom)), stop_r)):
        low, high = max(float(row), top), min(float(row + 1), bottom)
        if high > low:
            ends = x0 + slope * (low - y0), x0 + slope * (high - y0)
            xa, xb = min(ends[0], ends[1]), max(ends[0], ends[1])
            height = high - low
            first = max(int(math.floor(xa)), first_c)
            before = beside(xa, xb, height, float(first))
            for col in range(first, stop_c):
                if col > xb:
                    cover[row - first_r, col - first_c] += sign * height
                else:
                    after = beside(xa, xb, height, col + 1.0)
                    cover[row - first_r, col - first_c] += sign * (after - before)
                    before = after


@jit
def overlaps(x, y, turn, i, j, row0, col0, cover, first_r, stop_r, first_c, stop_c):  # type: ignore[no-untyped-def]
    """Fill `cover` with the share of source pixels that lies in a target pixel.

    Those are the rows from `first_r` and columns from `first_c`, counted from (`row0`, `col0`).
    """
    cover[: stop_r - first_r, : stop_c - first_c] = 0.0
    for number in range(4):
        # The corners in turn: upper left, upper right, lower right, lower left.
        di, dj = (1 if number > 1 else 0), (1 if 0 < number < 3 else 0)
        after = (number + 1) % 4
        ei, ej = (1 if after > 1 else 0), (1 if 0 < after < 3 else 0)
        add_edge(
            corner(x, turn, i, j, di, dj) - col0, y[i + di, j + dj] - row0,
            corner(x, turn, i, j, ei, ej) - col0, y[i + ei, j + ej] - row0,
            cover, first_r, stop_r, first_c, stop_c,
        )  # fmt: skip
    for r in range(stop_r - first_r):
        for c in range(stop_c - first_c):
            cover[r, c] = abs(cover[r, c])


@jit
def average(values: np.ndarray, weights: np.ndarray, number: int) -> float:
    """Mean of the first `number` values."""
    total = weight = 0.0
    for k in range(number):
        total += weights[k] * values[k]
        weight += weights[k]
    return total / weight


@jit
def mode(values: np.ndarray, weights: np.ndarray, number: int):  # type: ignore[no-untyped-def]
    """Value with the largest weight; of equal ones the smallest."""
    distinct = 0
    for k in range(number):
        at = 0
        while at < distinct and values[at] != values[k]:
            at += 1
        if at < distinct:
            weights[at] += weights[k]
        else:
            values[at], weights[at] = values[k], weights[k]
            distinct += 1
    best = 0
    for k in range(1, distinct):
        lead = weights[k] - weights[best]
        if lead > EDGE or (lead > -EDGE and values[k] < values[best]):
            best = k
    return values[best]


@jit
def median(values: np.ndarray, weights: np.ndarray, number: int) -> float:
    """Value in the middle of the weight; the mean of two where it falls between them."""
    order = np.argsort(values[:number])
    half = 0.5 * weights[:number].sum()
    reached = 0.0
    for k in range(number):
        reached += weights[order[k]]
        if abs(reached - half) <= EDGE and k + 1 < number:
            return 0.5 * (values[order[k]] + float(values[order[k + 1]]))
        if reached > half:
            return float(values[order[k]])
    return float(values[order[number - 1]])


@jit
def gather_area(
    source: np.ndarray,
    good: np.ndarray,
    all_good: bool,
    statistic: int,
    x: np.ndarray,
    y: np.ndarray,
    turn: float,
    middle_x: np.ndarray,
    middle_y: np.ndarray,
    high: int,
    wide: int,
    row0: int,
    col0: int,
    fill: float,
    marks: bool,
    low: float,
    top: float,
    whole: bool,
    out: np.ndarray,
    valid: np.ndarray,
) -> None:
    """Reduce the valid source pixels under every target pixel; it is invalid where there is none.

    Parameters
    ----------
    x, y : float64 array (height + 1, width + 1) [source pixel]
        Corners of target pixels.
    turn : float [source pixel]
        As for `reach`. A pixel across the edge where the source begins again takes what is on the
        side of its first corner.
    middle_x, middle_y : float64 array (height, width) [source pixel]
        Centres of target pixels.
    high, wide : int [source pixel]
        Rows and columns that the largest of them touches, from `reach`.
    statistic : int
        One of `STATISTICS`.
    low, top : float
        Smallest and largest number of the type of `out`.
    source, good, all_good, row0, col0, fill, marks, whole, out, valid
        As for `gather_bilinear`.
    """
    bands, source_rows, source_cols = source.shape
    pixels, fine = source.reshape(bands, -1), good.reshape(bands, -1)
    # Of a target pixel larger than the source only what lies on the source is looked at.
    high, wide = min(high, source_rows), min(wide, source_cols)
    cover = np.empty((high, wide))
    values = np.empty(high * wide, source.dtype)
    weights = np.empty(high * wide)
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            x0, x1, y0, y1, torn = box_of(x, y, turn, middle_x, middle_y, i, j)
            row = col = rows = cols = 0
            if x1 - x0 < math.inf and y1 - y0 < math.inf:
                row, col = int(math.floor(y0)), int(math.floor(x0))
                rows, cols = int(math.ceil(y1)) - row, int(math.ceil(x1)) - col
            # From cells of the target pixel to pixels of `source`.
            to_row, to_col = row - row0, col - col0
            first_r, stop_r = max(-to_row, 0), min(rows, source_rows - to_row)
            first_c, stop_c = max(-to_col, 0), min(cols, source_cols - to_col)
            if torn and cover.size > 0:
                cover[0, 0] = 1.0
            elif first_r < stop_r and first_c < stop_c:
                overlaps(x, y, turn, i, j, row, col, cover, first_r, stop_r, first_c, stop_c)
            for band in range(bands):
                number = 0
                for r in range(first_r, stop_r):
                    for c in range(first_c, stop_c):
                        at = (to_row + r) * source_cols + to_col + c
                        share = cover[r - first_r, c - first_c]
                        if share > EDGE and (all_good or fine[band, at]):
                            values[number] = pixels[band, at]
                            weights[number] = share
                            number += 1
                if number == 0:
                    out[band, i, j] = fill
                elif statistic == MODE:
                    out[band, i, j] = mode(values, weights, number)
                elif statistic == MIN:
                    out[band, i, j] = values[:number].min()
                elif statistic == MAX:
                    out[band, i, j] = values[:number].max()
                else:
                    if statistic == MEDIAN:
                        value = median(values, weights, number)
                    else:
                        value = average(values, weights, number)
                        if statistic == SUM:
                            value *= weights[:number].sum()
                    out[band, i, j] = finished(value, marks, fill, low, top, whole)
                tell(valid, band, bands, i, j, number > 0)

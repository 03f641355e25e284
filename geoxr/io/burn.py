"""Compiled burning of points, lines and polygons into a window of a grid.

The rules are those of GDAL, to the last bit of their arithmetic, so that a grid burnt as a whole by
`rasterio.features.rasterize` has the same pixels. All positions are counted from the corner of the
*whole* grid, whatever the window: nothing a window shows depends on where it was cut.

References
----------
GDAL 3.10, ``alg/llrasterize.cpp``: filled polygons, Bresenham lines, lines that touch.
"""

from __future__ import annotations

import math

import numba
import numpy as np

#: What a piece is: see `burn`.
POINT, LINE, POLYGON = 0, 1, 2
#: Edges this close to the lines of the grid count as on them when all touched pixels burn [pixel].
_ON_LINE = 1e-4
#: Edges that move less than this along an axis are taken as parallel to the other [pixel].
_STRAIGHT = 0.01
#: The least step along an edge that crosses a corner of pixels [pixel].
_STEP = 1e-9

_jit = numba.njit(nogil=True, cache=True, fastmath=False)


@_jit
def burn(
    out: np.ndarray,
    row: int,
    col: int,
    height: int,
    width: int,
    step: float,
    corner_y: float,
    corner_x: float,
    edges: np.ndarray,
    starts: np.ndarray,
    bands: np.ndarray,
    kinds: np.ndarray,
    values: np.ndarray,
    hits: np.ndarray,
    all_touched: bool,
) -> None:
    """Burn pieces of features into a window, in the order of `hits`.

    Parameters
    ----------
    out : int32 array (rows, columns)
        The window; only what is burnt changes.
    row, col : int [pixel]
        Where it starts in the grid.
    height, width : int [pixel]
        Of the grid.
    step : float
        Edge of a pixel of the grid, in the units of `edges`.
    corner_y, corner_x : float
        Corner of the grid in the units of `edges`.
    edges : float64 array (n, 4)
        x, y of both ends. Outlines run clockwise on the map.
    starts : int64 array (pieces + 1,)
        Where the edges of each piece start.
    bands : float64 array (pieces, 2)
        The y between which a piece of a polygon is filled; its edges are all that lie there.
    kinds, values : array (pieces,)
        POINT, LINE or POLYGON, and the number to burn.
    hits : int64 array
        Pieces to burn.
    """
    rows, cols = out.shape
    counts = np.zeros(rows + 1, np.int64)
    for hit in hits:
        value, kind = values[hit], kinds[hit]
        first, last = starts[hit], starts[hit + 1]
        for i in range(first, last):
            x1, y1 = (edges[i, 0] - corner_x) / step, (edges[i, 1] - corner_y) / step
            if kind == POINT:
                _set(out, math.floor(y1) - row, math.floor(x1) - col, value)
                continue
            if kind == POLYGON and not all_touched:
                break
            x2, y2 = (edges[i, 2] - corner_x) / step, (edges[i, 3] - corner_y) / step
            if max(x1, x2) < col - 2 or min(x1, x2) > col + cols + 2:
                continue
            if max(y1, y2) < row - 2 or min(y1, y2) > row + rows + 2:
                continue
            if all_touched:
                _touch(out, row, col, height, width, x1, y1, x2, y2, value, kind == POLYGON)
            else:
                _line(out, row, col, x1, y1, x2, y2, value)
        if kind == POLYGON:
            corner = corner_y, corner_x
            _fill(out, row, col, step, corner, edges[first:last], bands[hit], value, counts)


@_jit
def _set(out: np.ndarray, row: float, col: float, value: int) -> None:
    if 0 <= row < out.shape[0] and 0 <= col < out.shape[1]:
        out[int(row), int(col)] = value


@_jit
def _fill(
    out: np.ndarray,
    row: int,
    col: int,
    step: float,
    corner: tuple[float, float],
    edges: np.ndarray,
    band: np.ndarray,
    value: int,
    counts: np.ndarray,
) -> None:
    """Fill the pixels whose centre is inside, by the even-odd rule.

    A centre on an edge is inside where the inside lies to its left. On an edge along a row it is
    inside where the inside lies below, and where the edge runs to the left.
    """
    rows, cols = out.shape
    low, high = np.inf, -np.inf
    for i in range(len(edges)):
        low = min(low, edges[i, 1], edges[i, 3])
        high = max(high, edges[i, 1], edges[i, 3])
    low, high = (low - corner[0]) / step, (high - corner[0]) / step
    top = int(min(max(math.floor(low), row), row + rows))
    bottom = int(min(max(math.floor(high) + 1, top), row + rows))
    # Centres of rows in the band.
    while top < bottom and (top + 0.5) * step + corner[0] < band[0]:
        top += 1
    while top < bottom and (bottom - 0.5) * step + corner[0] >= band[1]:
        bottom -= 1
    if top >= bottom:
        return
    counts[: bottom - top + 1] = 0
    for i in range(len(edges)):
        y1, y2 = (edges[i, 1] - corner[0]) / step, (edges[i, 3] - corner[0]) / step
        if y1 == y2:
            at = math.floor(y1)
            x1, x2 = (edges[i, 0] - corner[1]) / step, (edges[i, 2] - corner[1]) / step
            if y1 == at + 0.5 and top <= at < bottom and x1 > x2:
                start = int(min(max(math.floor(x2 + 0.5), col), col + cols))
                stop = int(min(max(math.floor(x1 + 0.5), col), col + cols))
                out[int(at) - row, start - col : stop - col] = value
            continue
        start, stop = _rows(min(y1, y2), max(y1, y2), top, bottom)
        for r in range(start, stop):
            counts[r - top + 1] += 1
    for r in range(bottom - top):
        counts[r + 1] += counts[r]
    total = counts[bottom - top]
    if total == 0:
        return
    crossings = np.empty(total, np.int64)
    for i in range(len(edges)):
        y1, y2 = (edges[i, 1] - corner[0]) / step, (edges[i, 3] - corner[0]) / step
        if y1 == y2:
            continue
        x1, x2 = (edges[i, 0] - corner[1]) / step, (edges[i, 2] - corner[1]) / step
        if y1 > y2:
            x1, y1, x2, y2 = x2, y2, x1, y1
        start, stop = _rows(y1, y2, top, bottom)
        for r in range(start, stop):
            x = (r + 0.5 - y1) * (x2 - x1) / (y2 - y1) + x1
            crossings[counts[r - top]] = int(min(max(math.floor(x + 0.5), col), col + cols))
            counts[r - top] += 1
    # Every row's count has moved on to where the next row starts.
    start = 0
    for r in range(top, bottom):
        stop = counts[r - top]
        line = crossings[start:stop]
        line.sort()
        for i in range(0, stop - start - 1, 2):
            out[r - row, line[i] - col : line[i + 1] - col] = value
        start = stop


@_jit
def _rows(low: float, high: float, top: int, bottom: int) -> tuple[int, int]:
    """Rows of `top : bottom` whose centre c has low <= c < high."""
    start = int(min(max(math.ceil(low - 0.5), top), bottom))
    while start > top and start - 0.5 >= low:
        start -= 1
    while start < bottom and start + 0.5 < low:
        start += 1
    stop = int(min(max(math.ceil(high - 0.5), start), bottom))
    while stop > start and stop - 0.5 >= high:
        stop -= 1
    while stop < bottom and stop + 0.5 < high:
        stop += 1
    return start, stop


@_jit
def _line(
    out: np.ndarray,
    row: int,
    col: int,
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    value: int,
) -> None:
    """Burn a line one pixel wide between the pixels of its ends, by Bresenham's rule."""
    c1, r1, c2, r2 = math.floor(x1), math.floor(y1), math.floor(x2), math.floor(y2)
    steep = abs(r2 - r1) > abs(c2 - c1)
    if steep:
        c1, r1, c2, r2 = r1, c1, r2, c2
        start, stop = row, row + out.shape[0]
    else:
        start, stop = col, col + out.shape[1]
    along, across = int(abs(c2 - c1)), int(abs(r2 - r1))
    forward, down = (-1 if c1 > c2 else 1), (-1 if r1 > r2 else 1)
    # Only the steps inside of the window; the state after k steps is known without taking them.
    if forward > 0:
        k, end = max(start - c1, 0), min(stop - 1 - c1, along)
    else:
        k, end = max(c1 - (stop - 1), 0), min(c1 - start, along)
    for i in range(int(k), int(end) + 1):
        moved = 0 if along == 0 else max(-((along - 2 * across * i) // (2 * along)), 0)
        c, r = c1 + forward * i, r1 + down * moved
        if steep:
            _set(out, c - row, r - col, value)
        else:
            _set(out, r - row, c - col, value)


@_jit
def _touch(
    out: np.ndarray,
    row: int,
    col: int,
    height: int,
    width: int,
    x: float,
    y: float,
    x_end: float,
    y_end: float,
    value: int,
    outline: bool,
) -> None:
    """Burn every pixel that an edge goes through.

    An edge on a line between pixels touches the pixels right of it or below; as part of an
    `outline` it touches none by itself.
    """
    if (y < 0 and y_end < 0) or (y > height and y_end > height):
        return
    if (x < 0 and x_end < 0) or (x > width and x_end > width):
        return
    if x > x_end:
        x, y, x_end, y_end = x_end, y_end, x, y
    if math.floor(x) == math.floor(x_end) or abs(x - x_end) < _STRAIGHT:
        if outline and _on_line(x) and _on_line(x_end):
            return
        at = math.floor(x_end)
        if not (0 <= at < width and col <= at < col + out.shape[1]):
            return
        low, high = min(y, y_end), max(y, y_end)
        start = max(math.floor(low), 0, row)
        stop = min(math.floor(high - _ON_LINE), height - 1, row + out.shape[0] - 1)
        for r in range(int(start), int(stop) + 1):
            out[r - row, int(at) - col] = value
        return
    if math.floor(y) == math.floor(y_end) or abs(y - y_end) < _STRAIGHT:
        if outline and _on_line(y) and _on_line(y_end):
            return
        at = math.floor(y)
        if not (0 <= at < height and row <= at < row + out.shape[0]):
            return
        start = max(math.floor(x), 0, col)
        stop = min(math.floor(x_end - _ON_LINE), width - 1, col + out.shape[1] - 1)
        for c in range(int(start), int(stop) + 1):
            out[int(at) - row, c - col] = value
        return
    slope = (y_end - y) / (x_end - x)
    # Cut at the edges of the grid.
    if x_end > width:
        y_end -= (x_end - width) * slope
        x_end = width
    if x < 0:
        y += (0.0 - x) * slope
        x = 0.0
    if y_end > y:
        if y < 0:
            x += (0.0 - y) / slope
            y = 0.0
        if y_end >= height:
            x_end += (y_end - height) / slope
            x_end = min(x_end, width)
    else:
        if y >= height:
            x += (height - y) / slope
            y = height
        if y_end < 0:
            x_end -= y_end / slope
    right = col + out.shape[1]
    while 0 <= x < x_end and x < right:
        c, r = math.floor(x), math.floor(y)
        if 0 <= r < height:
            _set(out, r - row, c - col, value)
        step_x = math.floor(x + 1.0) - x
        step_y = step_x * slope
        if math.floor(y + step_y) != r:
            # The edge leaves the row before the column.
            if slope < 0:
                step_y = min(r - y, -_STEP)
            else:
                step_y = max(r + 1 - y, _STEP)
            step_x = step_y / slope
        x += step_x
        y += step_y


@_jit
def _on_line(position: float) -> bool:
    """Whether a position is on a line between pixels; halves count away from zero as in C."""
    nearest = math.floor(abs(position) + 0.5)
    return abs(abs(position) - nearest) < _ON_LINE

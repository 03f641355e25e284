"""How much of a chip is valid, from a coarse look at the data."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import xarray as xr

from geoxr.errors import ArgumentError
from geoxr.grid.geobox import geobox_of
from geoxr.grid.window import Window
from geoxr.io.dataset import layer_names, layer_reader
from geoxr.io.reader import WindowReader, has_holes
from geoxr.io.views import Validity

#: Validity is looked at on every so many pixels at most [pixel].
_WIDEST = 8
#: ... and so often along a side of a chip at least.
_LOOKS = 16
#: Edge of the squares it is looked at in [pixel].
_BLOCK = 2048
#: Memory for what was looked at [byte].
_MEMORY = 32 << 20


def valid_fraction(
    ds: xr.Dataset,
    corners: np.ndarray,
    size: tuple[int, int],
    *,
    exact: bool = False,
    times: np.ndarray | None = None,
) -> np.ndarray:
    """Share of pixels of each chip, of all its dates, that are valid in all layers.

    Every eighth pixel along both axes is looked at, more of chips below 128 pixels, so that shares
    are estimates: right to a few percent where holes are larger than that, blind to finer ones.
    With `exact`, all pixels are.

    Parameters
    ----------
    corners : int array (n, 2)
        Rows and columns of the top-left pixels.
    size : (int, int) [pixel]
    times : int array (n, steps), optional
        Dates of the chips, -1 where there is none; default: all.

    Returns
    -------
    float array (n,)
        0 for a chip without dates.
    """
    return valid_share(ds, corners, size, times, exact=exact)[0]


def valid_share(
    ds: xr.Dataset,
    corners: np.ndarray,
    size: tuple[int, int],
    times: np.ndarray | None,
    *,
    exact: bool = False,
    ragged: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return what `valid_fraction` does, and the dates of the chips.

    With `ragged`, dates on which nothing of a chip is valid count no more, and become -1.
    """
    if times is None:
        return valid_by_date(ds, corners, size, exact=exact).mean(axis=1), None
    dates, place = np.unique(times, return_inverse=True)
    place = place.reshape(times.shape)
    real = dates >= 0
    share = np.zeros((len(corners), len(dates)))
    if real.any():
        some = tuple(dates[real].tolist())
        share[:, real] = valid_by_date(ds, corners, size, some, exact=exact)
    share = np.take_along_axis(share, place, axis=1)
    if ragged:
        times = np.where(share > 0, times, -1)
    return share.sum(axis=1) / np.maximum((times >= 0).sum(axis=1), 1), times


def valid_by_date(
    ds: xr.Dataset,
    corners: np.ndarray,
    size: tuple[int, int],
    dates: tuple[int, ...] | None = None,
    *,
    exact: bool = False,
) -> np.ndarray:
    """Share of pixels of each chip that are valid in all layers at each date, as `valid_fraction`.

    Parameters
    ----------
    dates : tuple of int, optional
        Positions along the time dimension; default: all.

    Returns
    -------
    float array (n, date)
        A Dataset without time has one date.
    """
    if dates is None:
        dates = tuple(range(ds.sizes.get("time", 1)))
    readers = [layer_reader(ds, name) for name in layer_names(ds)]
    readers = [reader for reader in readers if has_holes(reader)]
    if not readers or not len(corners):
        return np.ones((len(corners), len(dates)))
    grid = geobox_of(ds).shape
    step = 1 if exact else min(max(min(size) // _LOOKS, 1), _WIDEST)
    held = _MEMORY // (len(dates) * (_BLOCK // step) ** 2)

    @lru_cache(maxsize=max(held, 4))
    def look(row: int, col: int) -> np.ndarray:
        return _look(readers, row, col, (int(grid[0]), int(grid[1])), step, dates)

    share = np.empty((len(corners), len(dates)))
    order = np.lexsort((corners[:, 1] // _BLOCK, corners[:, 0] // _BLOCK))
    for at in order:
        row, col = (int(v) for v in corners[at])
        window = Window(row, col, *size)
        good, total = np.zeros(len(dates), "int64"), 0
        for part in window.tiles(_BLOCK):
            block = look(part.row // _BLOCK, part.col // _BLOCK)
            rows = _steps(part.row, part.height, part.row // _BLOCK, step)
            cols = _steps(part.col, part.width, part.col // _BLOCK, step)
            piece = block[:, rows, cols]
            good += np.count_nonzero(piece, axis=(1, 2))
            total += piece.shape[1] * piece.shape[2]
        share[at] = good / total if total else 0.0
    return share


def check_min_valid(min_valid: float) -> None:
    """Raise unless it is a share."""
    if not isinstance(min_valid, int | float | np.number) or not 0 <= min_valid <= 1:
        raise ArgumentError(f"min_valid is a share from 0 to 1, not {min_valid!r}.")


def _steps(start: int, length: int, block: int, step: int) -> slice:
    """Looked-at pixels within ``start : start + length``, counted in their block; at least one."""
    first = -(-(start - block * _BLOCK) // step)
    stop = -(-(start + length - block * _BLOCK) // step)
    return slice(min(first, stop - 1) if first >= stop else first, max(stop, 1))


def _look(
    readers: list[WindowReader],
    row: int,
    col: int,
    grid: tuple[int, int],
    step: int,
    dates: tuple[int, ...],
) -> np.ndarray:
    """Where all readers are valid at each date (date, row, column) in a block of the grid."""
    top, left = row * _BLOCK, col * _BLOCK
    window = Window(top, left, _BLOCK, _BLOCK) & Window(0, 0, *grid)
    side = -(-_BLOCK // step)
    result = np.zeros((len(dates), side, side), bool)
    if window.empty:
        return result
    rows, cols = -(-window.height // step), -(-window.width // step)
    result[:, :rows, :cols] = True
    for reader in readers:
        times = (0,) if reader.times is None else dates
        seen = np.empty((len(times), 1, rows, cols), bool)
        Validity(reader).read(window, seen, None, bands=(0,), times=times, step=step)
        result[:, :rows, :cols] &= seen[:, 0]
    return result

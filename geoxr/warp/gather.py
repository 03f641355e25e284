"""From positions in a source to pixels: which window is needed, and the kernel that takes from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from odc.geo.geobox import GeoBox

from geoxr.grid.geobox import extent
from geoxr.grid.window import Window
from geoxr.io.reader import WindowReader, mark_valid
from geoxr.typing import Resampling
from geoxr.warp.area import STATISTICS, gather_area, reach
from geoxr.warp.kernels import (
    ALL,
    EDGE,
    MARK,
    MASK,
    cells,
    flatten,
    gather_bilinear,
    gather_cubic,
    gather_nearest,
)

#: Source pixels around a position that a kernel looks at.
_MARGIN = {"nearest": 0, "bilinear": 1, "cubic": 2}
_NO_VALIDITY = np.empty((0, 0, 0), bool)


@dataclass(frozen=True)
class Source:
    """Pixels of a window of a source, (time, band, rows, columns), and what tells their validity."""

    window: Window
    step: int
    pixels: np.ndarray
    good: np.ndarray | None
    how: int
    mark: np.ndarray

    @classmethod
    def load(
        cls,
        reader: WindowReader,
        window: Window,
        bands: tuple[int, ...],
        times: tuple[int, ...],
        step: int = 1,
    ) -> Source:
        """Read a window; validity pixel by pixel only where the pixels do not tell it."""
        height, width = -(-window.height // step), -(-window.width // step)
        pixels = np.empty((len(times), len(bands), height, width), reader.dtype)
        good = np.empty(pixels.shape, bool) if reader.masked else None
        reader.read(window, pixels, good, bands=bands, times=times, step=step)
        plain = reader.nodata is None and reader.dtype.kind not in "fc"
        how = MASK if good is not None else ALL if plain else MARK
        missing = 0 if plain or good is not None else math.nan
        mark = missing if reader.nodata is None or good is not None else reader.nodata
        return cls(window, step, pixels, good, how, np.array([mark], reader.dtype))

    def offsets(self, index: np.ndarray) -> np.ndarray:
        """Where the cells `index` of the source are in `pixels`."""
        offsets = np.empty(index.shape[1:], "int32")
        corner = self.window.row, self.window.col
        flatten(index, *corner, self.step, self.pixels.shape[-1], offsets)
        return offsets

    def as_stored(self, time: int) -> tuple[np.ndarray, np.ndarray, int, Any]:
        """Pixels, mask, how validity is told, and by which number; for one time step."""
        none = np.empty((self.pixels.shape[1], 0, 0), bool)
        good = none if self.good is None else self.good[time]
        return compiled(self.pixels[time]), good, self.how, compiled(self.mark)[0]

    def with_mask(self, time: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """Pixels, mask, and whether all are valid, so that the mask need not be looked at."""
        pixels, good, how, mark = self.as_stored(time)
        if how == MARK:
            good = np.empty(pixels.shape, bool)
            mark_valid(pixels[None], mark, good[None])
        return pixels, good, how == ALL or bool(good.all())


class Gather(Protocol):
    """Takes the pixels of a block of a target from the window `around` of the source."""

    around: Window

    def fill(
        self,
        source: Source,
        out: np.ndarray,
        valid: np.ndarray | None,
        *,
        fill: float,
        marks: bool,
    ) -> None:
        """Fill `out` and `valid`, (time, band, height, width).

        Parameters
        ----------
        fill : number
            Written where a pixel is invalid.
        marks : bool
            Whether `fill` marks missing pixels, so that no valid one may have it.
        """


class PointGather:
    """Nearest, bilinear or cubic at positions (x, y) of pixel centres."""

    def __init__(
        self, grid: GeoBox, positions: tuple[np.ndarray, np.ndarray], resampling: Resampling
    ) -> None:
        self._x, self._y = positions
        self._resampling = resampling
        self._index, used = used_cells(grid, *positions)
        self.around = used if used.empty else used.pad(_MARGIN[resampling]) & extent(grid)

    def fill(
        self,
        source: Source,
        out: np.ndarray,
        valid: np.ndarray | None,
        *,
        fill: float,
        marks: bool,
    ) -> None:
        """Fill `out` and `valid`; see `Gather`."""
        if self._resampling == "nearest":
            gather_cells(source, self._index, out, valid, fill)
            return
        kernel = gather_bilinear if self._resampling == "bilinear" else gather_cubic
        rules = _rules(out.dtype, fill, marks)
        where = self._x, self._y, source.offsets(self._index), source.window.row, source.window.col
        for time in range(len(out)):
            kernel(
                *source.with_mask(time), *where, *rules, compiled(out[time]), _validity(valid, time)
            )


class AreaGather:
    """Statistics of what lies under target pixels with corners and centres (x, y)."""

    def __init__(
        self,
        grid: GeoBox,
        corners: tuple[np.ndarray, np.ndarray],
        turn: float,
        centres: tuple[np.ndarray, np.ndarray],
        resampling: Resampling,
    ) -> None:
        self._pixels = *corners, turn, *centres
        self._statistic = STATISTICS[resampling]
        left, top, right, bottom, *self._largest = reach(*self._pixels)
        if left > right:
            self.around = Window(0, 0, 0, 0)
            return
        row, col = math.floor(top + EDGE), math.floor(left + EDGE)
        stop_row, stop_col = math.ceil(bottom - EDGE), math.ceil(right - EDGE)
        self.around = Window(row, col, stop_row - row, stop_col - col) & extent(grid)

    def fill(
        self,
        source: Source,
        out: np.ndarray,
        valid: np.ndarray | None,
        *,
        fill: float,
        marks: bool,
    ) -> None:
        """Fill `out` and `valid`; see `Gather`."""
        rules = _rules(out.dtype, fill, marks)
        where = *self._pixels, *self._largest, source.window.row, source.window.col
        for time in range(len(out)):
            gather_area(
                *source.with_mask(time), self._statistic, *where, *rules, compiled(out[time]),
                _validity(valid, time),
            )  # fmt: skip


def used_cells(grid: GeoBox, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, Window]:
    """Source cells of positions, int32 (2, ...), -1 outside; and the window that holds them."""
    index = np.empty((2, *x.shape), "int32")
    top, left, bottom, right = cells(x, y, grid.height, grid.width, index)
    return index, Window(top, left, bottom - top, right - left)


def gather_cells(
    source: Source, index: np.ndarray, out: np.ndarray, valid: np.ndarray | None, fill: float
) -> None:
    """Copy the source pixels of the cells `index`."""
    value = compiled(np.array([fill], out.dtype))[0]
    offsets = source.offsets(index)
    for time in range(len(out)):
        gather_nearest(
            *source.as_stored(time), offsets, value, compiled(out[time]), _validity(valid, time)
        )


def _rules(dtype: np.dtype, fill: float, marks: bool) -> tuple[Any, bool, float, float, bool]:
    """What a result must obey: fill, whether it marks, the range of the type, whether it is whole."""
    value = compiled(np.array([fill], dtype))[0]
    if dtype.kind == "f":
        return value, marks, -math.inf, math.inf, False
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    # The largest 64-bit integers are no floats; the next smaller float is.
    top = float(high) if float(high) <= high else math.nextafter(float(high), 0.0)
    return value, marks, float(low), top, True


def _validity(valid: np.ndarray | None, time: int) -> np.ndarray:
    return _NO_VALIDITY if valid is None else valid[time]


def compiled(pixels: np.ndarray) -> np.ndarray:
    """Pixels in a type that the kernels are compiled for: no booleans, no half precision."""
    if pixels.dtype.kind == "b":
        return pixels.view("uint8")
    return pixels.astype("float32") if pixels.dtype == np.float16 else pixels

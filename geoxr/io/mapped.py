"""A pure function of the windows of other readers: all the lazy arithmetic of geoxr."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoxr.grid.window import Window
from geoxr.io.reader import PIECE, WindowReader, everything, fill_of, has_holes


class Rule(Protocol):
    """What happens to pixels. Rules are frozen values, so that readers compare and pickle.

    Attributes
    ----------
    holes : bool
        Whether a valid pixel may come out invalid.
    marks : bool
        Whether it may do so by being NaN, infinite or the nodata value, not only by being cleared
        in `good`.
    """

    @property
    def holes(self) -> bool:
        """Whether valid pixels may come out invalid."""
        ...

    @property
    def marks(self) -> bool:
        """Whether NaN, infinity or the nodata value may be written."""
        ...

    def __call__(
        self, pixels: Sequence[np.ndarray], good: np.ndarray, out: np.ndarray, bands: Sequence[int]
    ) -> None:
        """Fill `out` from `pixels`, and clear `good` where the result is invalid.

        Parameters
        ----------
        pixels : sequence of array (time, band, y, x)
            One per source; of length 1 along an axis that the source does not have.
        good : bool array (time, band, y, x)
            Where all sources are valid; of length 1 along axes that the rule works along.
        out : array (time, band, y, x)
            May be the memory of the first source.
        bands : sequence of int
            Positions of the bands in `out`.
        """
        ...


@dataclass(frozen=True)
class Mapped:
    """A rule applied to the windows of readers of one grid; see `WindowReader`.

    Parameters
    ----------
    sources : tuple of WindowReader
        On one grid. Those without times or with one band serve all times or bands.
    rule : Rule
    dtype, nodata, bands, times
        Of the result.
    along : tuple of {"time", "band"}
        Axes whose values the rule combines: it gets them whole, whatever part is read.
    within : bytes, optional
        Outline of the result in WKB, where it is smaller than that of the sources.
    """

    sources: tuple[WindowReader, ...]
    rule: Rule
    dtype: np.dtype
    nodata: float | int | None
    bands: tuple[str, ...]
    times: tuple[np.datetime64, ...] | None
    along: tuple[str, ...] = ()
    within: bytes | None = None

    @property
    def geobox(self) -> GeoBox:
        """Grid of all."""
        return self.sources[0].geobox

    @cached_property
    def masked(self) -> bool:
        """Whether pixels alone do not tell validity."""
        marked = self.nodata is not None or self.dtype.kind in "fc"
        return self._holes and not marked

    @cached_property
    def _holes(self) -> bool:
        return self.rule.holes or any(has_holes(source) for source in self.sources)

    @cached_property
    def footprint(self) -> shapely.Geometry:
        """Outline of what all sources cover."""
        shapes = [source.footprint for source in self.sources]
        if self.within is not None:
            shapes.append(shapely.from_wkb(self.within))
        return shapes[0] if len(shapes) == 1 else shapely.intersection_all(shapes)

    def read(
        self,
        window: Window,
        out: np.ndarray,
        valid: np.ndarray | None,
        *,
        bands: tuple[int, ...],
        times: tuple[int, ...],
        step: int = 1,
    ) -> None:
        """Read a window; see `WindowReader.read`."""
        for piece, cells in self._pieces(window, out, step):
            part = None if valid is None else valid[..., *cells]
            self._read(piece, out[..., *cells], part, bands, times, step)

    def _pieces(
        self, window: Window, out: np.ndarray, step: int
    ) -> Iterator[tuple[Window, tuple[slice, slice]]]:
        """Cut a window so that the pixels of all sources stay within bounds."""
        planes = out.shape[0] * out.shape[1]
        for source in self.sources:
            every_band, every_time = everything(source)
            number = len(every_band) if "band" in self.along else min(out.shape[1], len(every_band))
            planes += number * (len(every_time) if "time" in self.along else out.shape[0])
        side = max(math.isqrt(PIECE // planes), 64)
        for cell in Window(0, 0, *out.shape[2:]).tiles(side):
            corner = window.row + cell.row * step, window.col + cell.col * step
            piece = Window(*corner, cell.height * step, cell.width * step) & window
            yield piece, cell.slices

    def _read(
        self,
        window: Window,
        out: np.ndarray,
        valid: np.ndarray | None,
        bands: tuple[int, ...],
        times: tuple[int, ...],
        step: int,
    ) -> None:
        along_band, along_time = "band" in self.along, "time" in self.along
        every_band, every_time = everything(self)
        result = out
        if along_band or along_time:
            shape = (
                len(every_time) if along_time else len(times),
                len(every_band) if along_band else len(bands),
            )
            result = np.empty((*shape, *out.shape[2:]), self.dtype)
        good = np.ones(
            (1 if along_time else len(times), 1 if along_band else len(bands), *out.shape[2:]), bool
        )
        pixels: list[np.ndarray] = []
        for source in self.sources:
            values, here = self._source(source, window, result, not pixels, bands, times, step)
            pixels.append(values)
            if here is not None:
                good &= here.all(axis=0, keepdims=True) if along_time else here
        self.rule(pixels, good, result, every_band if along_band else bands)
        good = self._mark(result, good)
        if result is not out:
            picks = np.ix_(
                times if along_time else range(len(times)),
                bands if along_band else range(len(bands)),
            )
            out[...] = result[picks]
            good = np.broadcast_to(good, result.shape)[picks]
        if valid is not None:
            narrow = valid.shape[1] < good.shape[1]
            valid[...] = good.all(axis=1, keepdims=True) if narrow else good

    def _source(
        self,
        source: WindowReader,
        window: Window,
        result: np.ndarray,
        first: bool,
        bands: tuple[int, ...],
        times: tuple[int, ...],
        step: int,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Pixels of a source as the rule sees them, and where they are valid (None: everywhere)."""
        along_band = "band" in self.along
        every_band, every_time = everything(source)
        wanted = every_band if along_band or len(every_band) == 1 else bands
        dates = every_time if "time" in self.along or source.times is None else times
        shape = (len(dates), len(wanted), *result.shape[2:])
        own = first and source.dtype == self.dtype and shape == result.shape
        pixels = result if own else np.empty(shape, source.dtype)
        here = None
        if has_holes(source):
            here = np.empty((shape[0], 1 if along_band else shape[1], *shape[2:]), bool)
        source.read(window, pixels, here, bands=wanted, times=dates, step=step)
        return pixels, here

    def _mark(self, result: np.ndarray, good: np.ndarray) -> np.ndarray:
        """Write what stands for missing pixels, and return where there are none."""
        if not self._holes:
            return good
        if self.rule.marks:
            if self.dtype.kind in "fc":
                good = good & np.isfinite(result)
            if self.nodata is not None:
                good = good & (result != self.nodata)
        if not good.all():
            blank(result, good, fill_of(self))
        return good

    def __getstate__(self) -> dict[str, Any]:
        # Cached properties are not worth sending.
        return {field.name: getattr(self, field.name) for field in fields(self)}


def blank(pixels: np.ndarray, good: np.ndarray, fill: float | int) -> None:
    """Write `fill` where `good` is False.

    The bits are multiplied instead of chosen: ragged masks cost a processor that guesses branches
    ten times as much.
    """
    mark = np.array(fill, pixels.dtype)
    if pixels.dtype.itemsize > 8:
        np.copyto(pixels, mark, where=~good)
        return
    whole = np.dtype(f"u{pixels.dtype.itemsize}")
    bits = pixels.view(whole)
    np.multiply(bits, good, out=bits)
    if mark.view(whole) != 0:
        bits |= np.multiply(~good, mark.view(whole), dtype=whole)

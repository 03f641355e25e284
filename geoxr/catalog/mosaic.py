"""Several scenes on one grid as a single layer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoxr.grid.geobox import extent
from geoxr.grid.shapes import outline, to_pixels
from geoxr.grid.window import Window
from geoxr.io.reader import View, WindowReader, fill_of, reduce_valid
from geoxr.typing import Overlap

#: How scenes are combined where they overlap, per pixel and band.
OVERLAPS = ("first", "last", "mean", "median", "min", "max", "count")


@dataclass(frozen=True)
class Mosaic(View):
    """Scenes laid over each other; see `WindowReader`.

    Parameters
    ----------
    scenes : tuple of WindowReader
        All on the grid of the mosaic, with the same bands and type.
    overlap : str
        Which scene wins where several are valid, or how they are combined.
    """

    scenes: tuple[WindowReader, ...]
    overlap: Overlap = "first"

    @property
    def source(self) -> WindowReader:  # type: ignore[override]
        """The scene that stands for all where they agree."""
        return self.scenes[0]

    @property
    def geobox(self) -> GeoBox:
        """Grid of all."""
        return self.source.geobox

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels."""
        return np.dtype("uint16") if self.overlap == "count" else self.source.dtype

    @property
    def nodata(self) -> float | int | None:
        """Number that marks missing pixels; a count has none, 0 scenes is a fact."""
        return None if self.overlap == "count" else self.source.nodata

    @cached_property
    def masked(self) -> bool:
        """Whether pixels alone do not tell validity."""
        if self.overlap == "count":
            return False
        if len({repr(scene.nodata) for scene in self.scenes}) > 1:
            return True
        if any(scene.masked for scene in self.scenes) and self.nodata is None:
            return True
        marked = self.nodata is not None or self.dtype.kind in "fc"
        return not marked and not self.footprint.covers(outline(self.geobox))

    @cached_property
    def footprint(self) -> shapely.Geometry:
        """Outline of all scenes together."""
        return shapely.union_all([scene.footprint for scene in self.scenes])

    @cached_property
    def _index(self) -> tuple[shapely.STRtree, list[Window]]:
        """Scenes by their place, and the window each one covers."""
        windows = [covered(scene.footprint, self.geobox) for scene in self.scenes]
        boxes = [shapely.box(w.col, w.row, w.stop[1], w.stop[0]) for w in windows]
        return shapely.STRtree(boxes), windows

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
        hits = self._scenes_in(window)
        good = np.zeros(out.shape, bool)
        if self.overlap in ("first", "last"):
            self._overlay(window, hits, out, good, bands, times, step)
        else:
            self._combine(window, hits, out, good, bands, times, step)
        if valid is not None:
            reduce_valid(good, valid)

    def _scenes_in(self, window: Window) -> list[int]:
        tree, windows = self._index
        (row, col), (stop_row, stop_col) = (window.row, window.col), window.stop
        hits = tree.query(shapely.box(col, row, stop_col, stop_row))
        return sorted(int(hit) for hit in hits if not (windows[hit] & window).empty)

    def _overlay(
        self,
        window: Window,
        hits: list[int],
        out: np.ndarray,
        good: np.ndarray,
        bands: tuple[int, ...],
        times: tuple[int, ...],
        step: int,
    ) -> None:
        """Lay down scenes until no pixel is missing."""
        out[...] = fill_of(self)
        for hit in hits if self.overlap == "first" else reversed(hits):
            part = self._part(hit, window, step)
            rows, cols = _cells(part, window, step)
            here, there = good[..., rows, cols], out[..., rows, cols]
            if here.all():
                continue
            pixels, fresh = np.empty(here.shape, self.dtype), np.empty(here.shape, bool)
            self.scenes[hit].read(part, pixels, fresh, bands=bands, times=times, step=step)
            np.copyto(there, pixels, where=fresh & ~here)
            here |= fresh

    def _combine(
        self,
        window: Window,
        hits: list[int],
        out: np.ndarray,
        good: np.ndarray,
        bands: tuple[int, ...],
        times: tuple[int, ...],
        step: int,
    ) -> None:
        """Reduce all valid scenes of every pixel."""
        stack = np.full((len(hits), *out.shape), np.nan)
        for layer, hit in zip(stack, hits, strict=True):
            part = self._part(hit, window, step)
            rows, cols = _cells(part, window, step)
            shape = layer[..., rows, cols].shape
            pixels, fresh = np.empty(shape, self.source.dtype), np.empty(shape, bool)
            self.scenes[hit].read(part, pixels, fresh, bands=bands, times=times, step=step)
            np.copyto(layer[..., rows, cols], pixels, where=fresh)
        number = (~np.isnan(stack)).sum(axis=0)
        if self.overlap == "count":
            out[...], good[...] = number, True
            return
        good[...] = number > 0
        reduce: dict[str, Callable[..., np.ndarray]]
        reduce = {"mean": np.nanmean, "median": np.nanmedian, "min": np.nanmin, "max": np.nanmax}
        if not hits:
            out[...] = fill_of(self)
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # pixels that no scene covers
            value = reduce[self.overlap](stack, axis=0)
        if self.dtype.kind in "iu":
            value = np.floor(value + 0.5)
        if self.nodata is not None:
            # A valid result never equals the number that marks missing pixels.
            nudge = 1.0 if self.dtype.kind in "iu" else max(abs(self.nodata) * 1e-6, 1e-30)
            value = np.where(value == self.nodata, value + nudge, value)
        out[...] = np.where(good, value, fill_of(self))

    def _part(self, hit: int, window: Window, step: int) -> Window:
        """Return the part of a window that a scene covers, starting on a step."""
        part = self._index[1][hit] & window
        row = window.row + (part.row - window.row) // step * step
        col = window.col + (part.col - window.col) // step * step
        return Window(row, col, part.stop[0] - row, part.stop[1] - col)


def _cells(part: Window, window: Window, step: int) -> tuple[slice, slice]:
    row, col = (part.row - window.row) // step, (part.col - window.col) // step
    return slice(row, row - (-part.height // step)), slice(col, col - (-part.width // step))


def covered(footprint: shapely.Geometry, geobox: GeoBox, *, margin: int = 1) -> Window:
    """Return the window of the grid that holds a footprint, wider by `margin` pixels."""
    if shapely.is_empty(footprint):
        return Window(0, 0, 0, 0)
    left, top, right, bottom = shapely.bounds(to_pixels(footprint, geobox))
    # A thousandth of a pixel over the edge is rounding, not another pixel.
    row, col = (int(np.floor(edge + 1e-3)) - margin for edge in (top, left))
    stop_row, stop_col = (int(np.ceil(edge - 1e-3)) + margin for edge in (bottom, right))
    return Window(row, col, stop_row - row, stop_col - col) & extent(geobox)

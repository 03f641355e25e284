"""Several scenes on one grid as a single layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoxr.catalog.overlap import PICKING, Part, combine
from geoxr.catalog.sources import Scenes
from geoxr.grid.shapes import outline
from geoxr.grid.window import Window
from geoxr.io.reader import WindowReader, fill_of, reduce_valid
from geoxr.typing import Overlap, Resampling

#: Numbers that one window may hold in memory while scenes are combined; larger ones are cut.
_MOST = 1 << 22


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Scenes laid over each other; see `WindowReader`.

    A window opens only the scenes that meet it. With the rules "first" and "last" it opens none once
    every pixel is filled.

    Parameters
    ----------
    scenes : Scenes
    overlap : str
        Which scene wins where several are valid, or how they are combined.
    """

    scenes: Scenes
    overlap: Overlap = "first"

    @property
    def geobox(self) -> GeoBox:
        """Grid of all."""
        return self.scenes.geobox

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""
        return self.scenes.bands

    @property
    def times(self) -> tuple[np.datetime64, ...] | None:
        """Time steps of every scene."""
        return self.scenes.times

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels."""
        return np.dtype("uint16") if self.overlap == "count" else self.scenes.dtype

    @property
    def nodata(self) -> float | int | None:
        """Number that marks missing pixels; a count has none, 0 scenes is a fact."""
        return None if self.overlap == "count" else self.scenes.nodata

    @cached_property
    def masked(self) -> bool:
        """Whether pixels alone do not tell validity."""
        if self.overlap == "count":
            return False
        if self.nodata is not None:
            # A combined pixel is kept off the number; a picked one may have it and be valid.
            return self.scenes.masked and self.overlap in PICKING
        if self.dtype.kind in "fc":
            return False
        return self.scenes.masked or not self.footprint.covers(outline(self.geobox))

    @cached_property
    def footprint(self) -> shapely.Geometry:
        """Outline of all scenes together."""
        return self.scenes.footprint

    @cached_property
    def _tree(self) -> shapely.STRtree:
        """Scenes by their windows."""
        top, left, bottom, right = self.scenes.windows.T
        return shapely.STRtree(shapely.box(left, top, right, bottom))

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def onto(self, geobox: GeoBox, resampling: Resampling) -> Mosaic | None:
        """Return the mosaic on another grid with every scene resampled once; see `Regridded`."""
        if self.overlap == "count":
            return None
        scenes = self.scenes.onto(geobox, resampling)
        return None if scenes is None else Mosaic(scenes, self.overlap)

    def hits(self, window: Window, step: int = 1) -> np.ndarray:
        """Positions of the scenes that have pixels in a window, in order."""
        row, col = window.row, window.col
        stop_row, stop_col = window.stop
        # Half a pixel inside, so that scenes that only touch the window are not found.
        box = shapely.box(col + 0.5, row + 0.5, stop_col - 0.5, stop_row - 0.5)
        found = np.sort(self._tree.query(box))
        return found if step == 1 else found[self._sampled(found, window, step)]

    def _sampled(self, found: np.ndarray, window: Window, step: int) -> np.ndarray:
        """Which scenes hold one of the pixels that a decimated read takes.

        That is the first pixel of a cell where a scene is sliced, the middle where it is warped.
        """
        windows = self.scenes.windows[found]
        start = np.where(self.scenes.sliced[found], 0, step // 2)
        keep = np.ones(len(found), bool)
        for first, last, at in ((0, 2, window.row), (1, 3, window.col)):
            cell = np.maximum(-(-(windows[:, first] - at - start) // step), 0)
            keep &= cell * step + start + at < windows[:, last]
        return keep

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
        hits = self.hits(window, step)
        depth = max(len(hits), 1) if self.overlap == "median" else 1
        if out.size * depth > _MOST and max(out.shape[2:]) > 1:
            for part, rows, cols in _halves(window, step):
                piece = None if valid is None else valid[..., rows, cols]
                self.read(part, out[..., rows, cols], piece, bands=bands, times=times, step=step)
            return
        if len(hits) == 1 and self._whole(hits[0], window, out, valid, bands, times, step):
            return
        own = valid is not None and valid.shape == out.shape
        good = valid if own and valid is not None else np.empty(out.shape, bool)
        good[...] = False
        if self.overlap in PICKING:
            self._overlay(window, hits, out, good, bands, times, step)
        else:
            parts = self._parts(window, hits, out, bands, times, step)
            combine(self.overlap, parts, len(hits), out, good, self.nodata, fill_of(self))
        if valid is not None and not own:
            reduce_valid(good, valid)

    def _whole(
        self,
        hit: int,
        window: Window,
        out: np.ndarray,
        valid: np.ndarray | None,
        bands: tuple[int, ...],
        times: tuple[int, ...],
        step: int,
    ) -> bool:
        """Let the one scene of a window write it all; False where it does not fit."""
        if self.overlap not in PICKING or self._part(hit, window, step) != window:
            return False
        scene = self.scenes.reader(int(hit))
        if scene is None or scene.dtype != out.dtype or repr(scene.nodata) != repr(self.nodata):
            return False
        # Below a mask, and beside NaN, a scene may have other numbers than the mosaic has there.
        if scene.masked or scene.dtype.kind in "fc":
            return False
        scene.read(window, out, valid, bands=bands, times=times, step=step)
        return True

    def _overlay(
        self,
        window: Window,
        hits: np.ndarray,
        out: np.ndarray,
        good: np.ndarray,
        bands: tuple[int, ...],
        times: tuple[int, ...],
        step: int,
    ) -> None:
        """Lay down scenes until no pixel is missing."""
        fill, empty = fill_of(self), True
        for hit in hits if self.overlap == "first" else hits[::-1]:
            part = self._part(hit, window, step)
            if not empty:
                part = _missing(part, window, step, good)
            if part.empty:
                continue
            rows, cols = _cells(part, window, step)
            here, there = good[..., rows, cols], out[..., rows, cols]
            scene = self.scenes.reader(int(hit))
            if scene is None:
                continue
            if empty and part == window and scene.dtype == out.dtype:
                # Nothing is there yet, so the scene may write where it will stay.
                scene.read(part, out, good, bands=bands, times=times, step=step)
                if not good.all():
                    out[~good] = fill
                empty = False
                continue
            if empty:
                out[...] = fill
                empty = False
            pixels, fresh = np.empty(here.shape, self.dtype), np.empty(here.shape, bool)
            _read(scene, part, pixels, fresh, bands, times, step)
            np.copyto(there, pixels, where=fresh & ~here)
            here |= fresh
        if empty:
            out[...] = fill

    def _parts(
        self,
        window: Window,
        hits: np.ndarray,
        out: np.ndarray,
        bands: tuple[int, ...],
        times: tuple[int, ...],
        step: int,
    ) -> Iterator[Part]:
        """Read the scenes of a window, one after the other."""
        for hit in hits:
            part = self._part(hit, window, step)
            cells = _cells(part, window, step)
            shape = out[..., *cells].shape
            pixels, fresh = np.empty(shape, self.scenes.dtype), np.zeros(shape, bool)
            scene = self.scenes.reader(int(hit))
            if scene is not None:
                _read(scene, part, pixels, fresh, bands, times, step)
            yield cells, pixels, fresh

    def _part(self, hit: int, window: Window, step: int) -> Window:
        """Return the part of a window that a scene covers, starting on a step."""
        top, left, bottom, right = self.scenes.windows[hit].tolist()
        part = Window(top, left, bottom - top, right - left) & window
        row = window.row + (part.row - window.row) // step * step
        col = window.col + (part.col - window.col) // step * step
        return Window(row, col, part.stop[0] - row, part.stop[1] - col)


def _missing(part: Window, window: Window, step: int, good: np.ndarray) -> Window:
    """Cut the part of a window that a scene covers to what is not filled yet."""
    rows, cols = _cells(part, window, step)
    missing = np.logical_not(good[..., rows, cols].all(axis=(0, 1)))
    down, across = np.flatnonzero(missing.any(axis=1)), np.flatnonzero(missing.any(axis=0))
    if not down.size:
        return Window(part.row, part.col, 0, 0)
    top, left = part.row + int(down[0]) * step, part.col + int(across[0]) * step
    bottom, right = part.row + (int(down[-1]) + 1) * step, part.col + (int(across[-1]) + 1) * step
    return Window(top, left, bottom - top, right - left) & part


def _read(
    scene: WindowReader,
    part: Window,
    pixels: np.ndarray,
    fresh: np.ndarray,
    bands: tuple[int, ...],
    times: tuple[int, ...],
    step: int,
) -> None:
    """Read a scene into pixels of the type of the mosaic, which may be wider than its own."""
    own = pixels if scene.dtype == pixels.dtype else np.empty(pixels.shape, scene.dtype)
    scene.read(part, own, fresh, bands=bands, times=times, step=step)
    if own is not pixels:
        pixels[...] = own


def _cells(part: Window, window: Window, step: int) -> tuple[slice, slice]:
    row, col = (part.row - window.row) // step, (part.col - window.col) // step
    return slice(row, row - (-part.height // step)), slice(col, col - (-part.width // step))


def _halves(window: Window, step: int) -> Iterator[tuple[Window, slice, slice]]:
    """Cut a window across its longer side, between two cells; with their cells of the result."""
    height, width = -(-window.height // step), -(-window.width // step)
    down = height >= width
    middle = (height if down else width) // 2
    cut = middle * step
    if down:
        parts = [
            Window(window.row, window.col, cut, window.width),
            Window(window.row + cut, window.col, window.height - cut, window.width),
        ]
    else:
        parts = [
            Window(window.row, window.col, window.height, cut),
            Window(window.row, window.col + cut, window.height, window.width - cut),
        ]
    for part in parts:
        yield part, *_cells(part, window, step)

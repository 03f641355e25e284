"""A reader seen through another grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from geoxr.grid.geobox import crop, extent, same_crs
from geoxr.grid.shapes import outline
from geoxr.grid.window import Window
from geoxr.io.reader import PIECE, View, WindowReader, fill_of, has_holes, reduce_valid
from geoxr.typing import Resampling
from geoxr.warp.kernels import cells, gather_bilinear, gather_nearest
from geoxr.warp.lattice import Lattice, lattice
from geoxr.warp.shapes import moved_whole, project

#: Windows are warped in squares of this size, which bounds memory and keeps them in cache [pixel].
BLOCK = 1024


@dataclass(frozen=True)
class Warped(View):
    """A source resampled onto another grid, window by window; see `WindowReader`."""

    source: WindowReader
    geobox: GeoBox
    resampling: Resampling

    @cached_property
    def masked(self) -> bool:
        """Whether pixels alone do not tell validity: what the source does not cover needs a mark."""
        if self.source.masked:
            return True
        if self.nodata is not None or self.dtype.kind in "fc":
            return False
        if not same_crs(self.source.geobox.crs, self.geobox.crs):
            shape = moved_whole(self.source.footprint, self.source.geobox, self.geobox)
        else:
            shape = self.source.footprint
        return shape is None or not shape.covers(outline(self.geobox))

    @cached_property
    def footprint(self) -> shapely.Geometry:
        """Outline of the source in the target CRS, within the target grid."""
        return project(self.source.footprint, self.source.geobox, self.geobox) & outline(
            self.geobox
        )

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
        if step > 1:
            self._preview(window, out, valid, bands, times, step)
            return
        for part in window.tiles(BLOCK) if max(out.shape[2:]) > BLOCK else [window]:
            rows, cols = part.inside(window)
            piece = None if valid is None else valid[..., rows, cols]
            self._warp(part, out[..., rows, cols], piece, bands, times)

    def _warp(
        self,
        window: Window,
        out: np.ndarray,
        valid: np.ndarray | None,
        bands: tuple[int, ...],
        times: tuple[int, ...],
    ) -> None:
        """Warp one block, in halves where that would take too many source pixels at once."""
        grid = self.source.geobox
        x, y = lattice(grid, self.geobox).coordinates(window)
        index = np.empty((2, *x.shape), "int32")
        used = _used(x, y, grid, index)
        if used.empty:
            _nothing(self.source, out, valid)
            return
        around = used.pad(1) & extent(grid)
        if around.height * around.width * len(bands) * len(times) > PIECE and x.size > 1:
            for part in _halves(window):
                rows, cols = part.inside(window)
                piece = None if valid is None else valid[..., rows, cols]
                self._warp(part, out[..., rows, cols], piece, bands, times)
            return
        source = _load(self.source, around, bands, times, 1)
        corner = around.row, around.col
        per_band = (
            valid if valid is not None and valid.shape == out.shape else np.empty(out.shape, bool)
        )
        fill = out.dtype.type(fill_of(self.source))
        for t, (pixels, good) in enumerate(zip(*source, strict=True)):
            if self.resampling == "nearest":
                gather_nearest(pixels, good, index, *corner, fill, out[t], per_band[t])
            else:
                whole, marks = self.dtype.kind in "iub", self.nodata is not None
                result = out[t], per_band[t]
                gather_bilinear(pixels, good, x, y, index, *corner, fill, marks, whole, *result)
        if valid is not None and per_band is not valid:
            reduce_valid(per_band, valid)

    def _preview(
        self,
        window: Window,
        out: np.ndarray,
        valid: np.ndarray | None,
        bands: tuple[int, ...],
        times: tuple[int, ...],
        step: int,
    ) -> None:
        """Nearest pixels at every `step`, from a source that is itself read with a step."""
        grid = self.source.geobox
        coarse = coarsened(crop(self.geobox, window), step)
        x, y = Lattice(grid, coarse).coordinates(extent(coarse))
        index = np.empty((2, *x.shape), "int32")
        used = _used(x, y, grid, index)
        if used.empty:
            _nothing(self.source, out, valid)
            return
        skip = max(min(used.height // x.shape[0], used.width // x.shape[1]), 1)
        outside = index < 0
        index -= np.array([used.row, used.col], "int32")[:, None, None]
        index //= skip
        index[outside] = -1
        source = _load(self.source, used, bands, times, skip)
        per_band = np.empty(out.shape, bool)
        fill = out.dtype.type(fill_of(self.source))
        for t, (pixels, good) in enumerate(zip(*source, strict=True)):
            gather_nearest(pixels, good, index, 0, 0, fill, out[t], per_band[t])
        if valid is not None:
            reduce_valid(per_band, valid)


def _used(x: np.ndarray, y: np.ndarray, grid: GeoBox, index: np.ndarray) -> Window:
    """Fill `index` with source cells and return the window that holds them."""
    top, left, bottom, right = cells(x, y, grid.height, grid.width, index)
    return Window(top, left, bottom - top, right - left)


def _load(
    source: WindowReader, window: Window, bands: tuple[int, ...], times: tuple[int, ...], step: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and their validity per band, (time, band, height, width) each."""
    height, width = -(-window.height // step), -(-window.width // step)
    pixels = np.empty((len(times), len(bands), height, width), source.dtype)
    if has_holes(source):
        good = np.empty(pixels.shape, bool)
        source.read(window, pixels, good, bands=bands, times=times, step=step)
    else:
        good = np.ones(pixels.shape, bool)
        source.read(window, pixels, None, bands=bands, times=times, step=step)
    return pixels, good


def _nothing(source: WindowReader, out: np.ndarray, valid: np.ndarray | None) -> None:
    out[...] = fill_of(source)
    if valid is not None:
        valid[...] = False


def _halves(window: Window) -> list[Window]:
    row, col, height, width = window.row, window.col, window.height, window.width
    if height >= width:
        top = height // 2
        return [Window(row, col, top, width), Window(row + top, col, height - top, width)]
    left = width // 2
    return [Window(row, col, height, left), Window(row, col + left, height, width - left)]


def coarsened(geobox: GeoBox, step: int) -> GeoBox:
    """Return the grid of ``step x step`` cells, the last ones reaching over the edge."""
    shape = (-(-geobox.height // step), -(-geobox.width // step))
    return GeoBox(shape, geobox.affine @ Affine.scale(step), geobox.crs)

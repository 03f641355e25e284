"""A reader seen through another grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from geoxr.errors import GridError
from geoxr.grid.control_points import Placement
from geoxr.grid.geobox import crop, extent
from geoxr.grid.shapes import outline
from geoxr.grid.window import Window
from geoxr.io.reader import PIECE, View, WindowReader, fill_of
from geoxr.typing import Resampling
from geoxr.warp.area import STATISTICS
from geoxr.warp.gather import AreaGather, Gather, PointGather, Source, gather_cells, used_cells
from geoxr.warp.lattice import TILE, Lattice, lattice
from geoxr.warp.shapes import moved_whole, project

#: Windows are warped in squares of this size, which bounds memory and keeps them in cache [pixel].
BLOCK = 512


@dataclass(frozen=True)
class Warped(View):
    """A source resampled onto another grid, window by window; see `WindowReader`."""

    source: WindowReader
    geobox: GeoBox
    resampling: Resampling

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels: that of the source, but sums of integers are float64."""
        return np.dtype("float64") if self._promoted else self.source.dtype

    @property
    def nodata(self) -> float | int | None:
        """Number that marks missing pixels."""
        return None if self._promoted else self.source.nodata

    @property
    def _promoted(self) -> bool:
        """Whether parts of integers are added up, which no integer type of the source can hold."""
        return self.resampling == "sum" and self.source.dtype.kind in "iub"

    @property
    def _origin(self) -> GeoBox | Placement:
        """What places the pixels of the source."""
        return self.source.geobox

    @property
    def _reach(self) -> tuple[shapely.Geometry, GeoBox]:
        """Outline of the source, and a grid in its CRS."""
        return self.source.footprint, self.source.geobox

    @cached_property
    def masked(self) -> bool:
        """Whether pixels alone do not tell validity: what the source does not cover needs a mark."""
        if self._promoted:
            return False
        if self.source.masked:
            return True
        if self.nodata is not None or self.dtype.kind in "fc":
            return False
        shape = moved_whole(*self._reach, self.geobox)
        return shape is None or not shape.covers(outline(self.geobox))

    @cached_property
    def footprint(self) -> shapely.Geometry:
        """Outline of the source in the target CRS, within the target grid."""
        return project(*self._reach, self.geobox) & outline(self.geobox)

    @cached_property
    def _centres(self) -> Lattice:
        return lattice(self._origin, self.geobox)

    @cached_property
    def _corners(self) -> Lattice:
        """Lattice of a grid whose pixel centres are the corners of the target pixels."""
        height, width = self.geobox.shape
        shifted = self.geobox.affine @ Affine.translation(-0.5, -0.5)
        return lattice(self._origin, GeoBox((height + 1, width + 1), shifted, self.geobox.crs))

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
        gather = self._gather(window)
        around = gather.around
        if around.empty:
            self._nothing(out, valid)
            return
        if around.height * around.width * len(bands) * len(times) > PIECE:
            if window.height == window.width == 1:
                raise GridError(
                    f"One target pixel covers {around.height} x {around.width} source pixels of "
                    f"{len(bands) * len(times)} layers, too many at once. Go there in two steps, with "
                    f"a resolution in between."
                )
            for part in window.halves():
                rows, cols = part.inside(window)
                piece = None if valid is None else valid[..., rows, cols]
                self._warp(part, out[..., rows, cols], piece, bands, times)
            return
        source = Source.load(self.source, around, bands, times)
        # Half precision is computed in single precision.
        result = out if out.dtype != np.float16 else np.empty(out.shape, "float32")
        gather.fill(source, result, valid, fill=fill_of(self), marks=self.nodata is not None)
        if result is not out:
            out[...] = result

    def _gather(self, window: Window) -> Gather:
        grid = self.source.geobox
        if self.resampling in STATISTICS:
            corners = Window(window.row, window.col, window.height + 1, window.width + 1)
            positions = self._corners.coordinates(corners)
            centres = self._centres.coordinates(window)
            return AreaGather(grid, positions, self._corners.turn, centres, self.resampling)
        return PointGather(grid, self._centres.coordinates(window), self.resampling)

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
        between = Lattice(self._origin, coarse)
        if coarse.height * coarse.width > TILE**2:
            x, y = between.coordinates(extent(coarse))
        else:  # a tile of a lattice this coarse costs more than all of these pixels
            rows, cols = (np.arange(size) + 0.5 for size in coarse.shape)
            x, y = between.exact(*np.meshgrid(cols, rows))
        index, used = used_cells(grid, x, y)
        if used.empty:
            self._nothing(out, valid)
            return
        skip = max(min(used.height // x.shape[0], used.width // x.shape[1]), 1)
        # A turned strip has many pixels along an axis where the preview has few.
        most = PIECE // (len(bands) * len(times)) or 1
        skip = max(skip, math.ceil(math.sqrt(used.height * used.width / most)))
        source = Source.load(self.source, used, bands, times, skip)
        gather_cells(source, index, out, valid, fill_of(self))

    def _nothing(self, out: np.ndarray, valid: np.ndarray | None) -> None:
        out[...] = fill_of(self)
        if valid is not None:
            valid[...] = False


def coarsened(geobox: GeoBox, step: int) -> GeoBox:
    """Return the grid of ``step x step`` cells, the last ones reaching over the edge."""
    shape = (-(-geobox.height // step), -(-geobox.width // step))
    return GeoBox(shape, geobox.affine @ Affine.scale(step), geobox.crs)

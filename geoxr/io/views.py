"""Readers over one reader: another window, other names, its validity, another nodata value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoxr.grid.geobox import extent
from geoxr.grid.shapes import outline
from geoxr.grid.window import Window
from geoxr.io.reader import (
    View,
    WindowReader,
    everything,
    fill_of,
    has_holes,
    mark_valid,
    read_padded,
)


@dataclass(frozen=True)
class Cropped(View):
    """Another window of the same lattice: pure slicing, no resampling; see `WindowReader`.

    Parameters
    ----------
    source : WindowReader
    geobox : GeoBox
        On the lattice of the source; what lies outside of it is invalid.
    row, col : int [pixel]
        Corner of `geobox` in the source.
    picked_bands, picked_times : tuple of int, optional
        Positions to keep.
    timeless : bool
        Whether one time step was picked out, so that there is no time any more.
    """

    source: WindowReader
    geobox: GeoBox
    row: int
    col: int
    picked_bands: tuple[int, ...] | None = None
    picked_times: tuple[int, ...] | None = None
    timeless: bool = False

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands kept."""
        return _pick(self.source.bands, self.picked_bands)

    @property
    def times(self) -> tuple[np.datetime64, ...] | None:
        """Time steps kept."""
        times = self.source.times
        return None if times is None or self.timeless else _pick(times, self.picked_times)

    @property
    def masked(self) -> bool:
        """Whether pixels alone do not tell validity."""
        inside = extent(self.geobox).shift(self.row, self.col)
        covered = inside & extent(self.source.geobox) == inside
        return self.source.masked or not (
            covered or self.nodata is not None or self.dtype.kind in "fc"
        )

    @property
    def footprint(self) -> shapely.Geometry:
        """Outline of the data."""
        return self.source.footprint & outline(self.geobox)

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
            _align_step(self, window, out, valid, bands, times, step)
            return
        read_padded(
            self.source,
            window.shift(self.row, self.col),
            out,
            valid,
            bands=_pick(self.picked_bands, bands) if self.picked_bands else bands,
            times=_pick(self.picked_times, times) if self.picked_times else times,
        )


def _align_step(
    view: Cropped,
    window: Window,
    out: np.ndarray,
    valid: np.ndarray | None,
    bands: tuple[int, ...],
    times: tuple[int, ...],
    step: int,
) -> None:
    """Decimated read whose cells may start outside of the source."""
    bands = _pick(view.picked_bands, bands) if view.picked_bands else bands
    times = _pick(view.picked_times, times) if view.picked_times else times
    target = window.shift(view.row, view.col)
    inside = target & extent(view.source.geobox)
    out[...] = fill_of(view.source)
    if valid is not None:
        valid[...] = False
    row, col = -(-(inside.row - target.row) // step), -(-(inside.col - target.col) // step)
    start_row, start_col = target.row + row * step, target.col + col * step
    part = Window(start_row, start_col, inside.stop[0] - start_row, inside.stop[1] - start_col)
    if part.empty:
        return
    rows = slice(row, row - (-part.height // step))
    cols = slice(col, col - (-part.width // step))
    view.source.read(
        part,
        out[..., rows, cols],
        None if valid is None else valid[..., rows, cols],
        bands=bands,
        times=times,
        step=step,
    )


def _pick(values: tuple, positions: tuple[int, ...] | None) -> tuple:
    return values if positions is None else tuple(values[i] for i in positions)


@dataclass(frozen=True)
class Labelled(View):
    """A reader whose bands and time steps have other names; see `WindowReader`."""

    source: WindowReader
    band_names: tuple[str, ...]
    dates: tuple[np.datetime64, ...] | None

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""
        return self.band_names

    @property
    def times(self) -> tuple[np.datetime64, ...] | None:
        """Time steps."""
        return self.dates

    @property
    def geobox(self) -> GeoBox:
        """Grid of the source."""
        return self.source.geobox

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
        self.source.read(window, out, valid, bands=bands, times=times, step=step)


@dataclass(frozen=True)
class Validity(View):
    """Where all bands of a reader are valid, as boolean pixels; see `WindowReader`."""

    source: WindowReader

    bands = ("valid",)
    nodata = None
    masked = False
    dtype = np.dtype(bool)

    @property
    def geobox(self) -> GeoBox:
        """Grid of the source."""
        return self.source.geobox

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
        every_band = everything(self.source)[0]
        shape = (len(times), len(every_band), *out.shape[2:])
        pixels = np.empty(shape, self.source.dtype)
        self.source.read(window, pixels, out, bands=every_band, times=times, step=step)
        if valid is not None:
            valid[...] = True


@dataclass(frozen=True)
class Marked(View):
    """A reader in which one more number marks missing pixels; see `WindowReader`.

    What is missing already is marked by that number too.
    """

    source: WindowReader
    mark: float | int

    masked = False

    @property
    def geobox(self) -> GeoBox:
        """Grid of the source."""
        return self.source.geobox

    @property
    def nodata(self) -> float | int:
        """Number that marks missing pixels."""
        return self.mark

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
        if has_holes(self.source):
            good = np.empty(out.shape, bool)
            self.source.read(window, out, good, bands=bands, times=times, step=step)
            out[~good] = self.mark
        else:
            self.source.read(window, out, None, bands=bands, times=times, step=step)
        if valid is not None:
            mark_valid(out, self.mark, valid)

"""The protocol that every source of pixels follows.

A reader is a small frozen value: it pickles as paths and numbers, opens what it needs when it reads,
and is safe under threads. It presents four dimensions, ``(time, band, y, x)``; a source without times
has one.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Protocol, runtime_checkable

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoxr.grid.geobox import extent
from geoxr.grid.window import Window

#: Pixels of one piece when a large window is read in pieces.
PIECE = 1 << 24


class Raster(Protocol):
    """What is known of pixels on a grid before any is read.

    Attributes
    ----------
    geobox : GeoBox
        Grid of the source.
    dtype : numpy.dtype
        Type of the pixels, as stored.
    bands : tuple of str
        Names of the bands.
    times : tuple of numpy.datetime64 or None
        Time steps; None where the source has no time.
    nodata : float, int or None
        Number written where a pixel is invalid; None where no number is free for that.
    masked : bool
        Whether validity is more than "not `nodata` and not NaN", so that the pixels alone do not
        tell it: mask bands, alpha, missing coverage without a nodata value.
    footprint : shapely.Geometry
        Outline of the data in the CRS of `geobox`.
    """

    @property
    def geobox(self) -> GeoBox:
        """Grid of the source."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels."""
        ...

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""
        ...

    @property
    def times(self) -> tuple[np.datetime64, ...] | None:
        """Time steps."""
        ...

    @property
    def nodata(self) -> float | int | None:
        """Number that marks missing pixels."""
        ...

    @property
    def masked(self) -> bool:
        """Whether pixels alone do not tell validity."""
        ...

    @property
    def footprint(self) -> shapely.Geometry:
        """Outline of the data."""
        ...


@runtime_checkable
class WindowReader(Raster, Protocol):
    """Anything that delivers windows of a grid; its attributes are those of `Raster`."""

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
        """Fill `out`, and `valid` if it is given, with the pixels of a window inside the grid.

        Parameters
        ----------
        window : Window
            Inside the grid; never empty.
        out : array (time, band, height, width)
            Memory to fill, of `dtype`. With `step`, height and width are divided by it, rounded up.
        valid : bool array (time, band, height, width) or (time, 1, height, width), optional
            True = use the pixel. With a single band it says whether *all* bands read are valid.
        bands, times : tuple of int
            Positions along the band and time dimension, in the order wanted.
        step : int [pixel]
            Above 1: one pixel for every ``step x step`` cell, whichever is cheapest (an overview).
        """
        ...


class View:
    """Base of frozen readers over another reader: what they do not change is that of the source."""

    source: WindowReader

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels."""
        return self.source.dtype

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""
        return self.source.bands

    @property
    def times(self) -> tuple[np.datetime64, ...] | None:
        """Time steps."""
        return self.source.times

    @property
    def nodata(self) -> float | int | None:
        """Number that marks missing pixels."""
        return self.source.nodata

    @property
    def masked(self) -> bool:
        """Whether pixels alone do not tell validity."""
        return self.source.masked

    @property
    def footprint(self) -> shapely.Geometry:
        """Outline of the data."""
        return self.source.footprint

    def __getstate__(self) -> dict[str, Any]:
        # Cached properties are not worth sending.
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]


def fill_of(reader: WindowReader) -> float | int:
    """Return what a reader writes where there is nothing: nodata, else NaN, else 0."""
    if reader.nodata is not None:
        return reader.nodata
    return float("nan") if reader.dtype.kind in "fc" else 0


def has_holes(reader: WindowReader) -> bool:
    """Whether some pixels may be invalid."""
    return reader.masked or reader.nodata is not None or reader.dtype.kind in "fc"


def mark_valid(pixels: np.ndarray, nodata: float | None, valid: np.ndarray) -> None:
    """Write into `valid` which `pixels` are neither `nodata`, NaN nor infinite.

    Parameters
    ----------
    pixels : array (time, band, height, width)
    valid : bool array (time, band or 1, height, width)
    """
    good: np.ndarray | None = None
    if nodata is not None and nodata == nodata:
        good = pixels != pixels.dtype.type(nodata)
    if pixels.dtype.kind in "fc":
        numbers = np.isfinite(pixels)
        good = numbers if good is None else good & numbers
    if good is None:
        valid[...] = True
    elif valid.shape[1] == pixels.shape[1]:
        valid[...] = good
    else:
        np.all(good, axis=1, keepdims=True, out=valid)


def reduce_valid(per_band: np.ndarray, valid: np.ndarray) -> None:
    """Copy validity per band (..., band, y, x) into `valid`, which may ask for all bands at once."""
    if valid.shape[-3] == per_band.shape[-3]:
        valid[...] = per_band
    else:
        np.all(per_band, axis=-3, keepdims=True, out=valid)


def everything(reader: WindowReader) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Positions of all bands and all times."""
    return tuple(range(len(reader.bands))), tuple(
        range(1 if reader.times is None else len(reader.times))
    )


def read_window(
    reader: WindowReader, window: Window, *, step: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Read all bands and times of a window, which may reach outside the grid.

    Returns
    -------
    pixels : array (time, band, height, width)
    valid : bool array (time, band, height, width)
    """
    bands, times = everything(reader)
    shape = (len(times), len(bands), -(-window.height // step), -(-window.width // step))
    pixels, valid = np.empty(shape, reader.dtype), np.empty(shape, bool)
    read_padded(reader, window, pixels, valid, bands=bands, times=times, step=step)
    return pixels, valid


def read_padded(
    reader: WindowReader,
    window: Window,
    out: np.ndarray,
    valid: np.ndarray | None,
    *,
    bands: tuple[int, ...],
    times: tuple[int, ...],
    step: int = 1,
) -> None:
    """`WindowReader.read` for windows that may reach outside the grid: what is outside is invalid.

    With `step`, a window that reaches outside must start at a multiple of it.
    """
    inside = window & extent(reader.geobox)
    if inside == window:
        reader.read(window, out, valid, bands=bands, times=times, step=step)
        return
    out[...] = fill_of(reader)
    if valid is not None:
        valid[...] = False
    if inside.empty:
        return
    row, col = (inside.row - window.row) // step, (inside.col - window.col) // step
    rows = slice(row, row - (-inside.height // step))
    cols = slice(col, col - (-inside.width // step))
    reader.read(
        inside,
        out[..., rows, cols],
        None if valid is None else valid[..., rows, cols],
        bands=bands,
        times=times,
        step=step,
    )

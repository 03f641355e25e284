"""Single rows and columns of a reader: steps, flips and lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoxr.grid.shapes import outline
from geoxr.grid.window import Window
from geoxr.io.parallel import read_in_threads
from geoxr.io.reader import PIECE, View, WindowReader

#: Rows that are this close to each other are read with what lies between them [pixel].
_NEAR = 64


def positions(pick: Any, size: int) -> Sequence[int]:
    """Whole numbers, none negative, that a slice, a number or a list stands for.

    Examples
    --------
    >>> positions(slice(None, None, -2), 5), positions([0, -1], 5)
    (range(4, -1, -2), [0, 4])
    """
    if isinstance(pick, slice):
        return range(*pick.indices(size))
    return [int(i) + (size if i < 0 else 0) for i in np.atleast_1d(pick)]


def read_picked(
    reader: WindowReader,
    out: np.ndarray,
    valid: np.ndarray | None,
    *,
    bands: tuple[int, ...],
    times: tuple[int, ...],
    rows: Sequence[int],
    cols: Sequence[int],
) -> None:
    """Fill `out` and `valid` with rows and columns in any order; see `WindowReader.read`.

    What lies between them is read in pieces of a bounded number of pixels and left out.
    """
    col, width = min(cols), max(cols) - min(cols) + 1
    if _straight(rows) and _straight(cols):
        window = Window(rows[0], col, len(rows), width)
        read_in_threads(reader, window, out, valid, bands=bands, times=times)
        return
    at_cols = slice(None) if _straight(cols) else [c - col for c in cols]
    room = max(PIECE // (width * len(bands) * len(times)), 1)
    start = 0
    while start < len(rows):
        stop = start + 1
        low = high = rows[start]
        while stop < len(rows):
            new_low, new_high = min(low, rows[stop]), max(high, rows[stop])
            if new_high - new_low + 1 > min(room, _NEAR * (stop - start + 1)):
                break
            low, high, stop = new_low, new_high, stop + 1
        window = Window(low, col, high - low + 1, width)
        at_rows = [row - low for row in rows[start:stop]]
        piece = np.empty((len(times), len(bands), window.height, width), out.dtype)
        good = None if valid is None else np.empty((*valid.shape[:2], window.height, width), bool)
        reader.read(window, piece, good, bands=bands, times=times)
        out[:, :, start:stop] = piece[:, :, at_rows][..., at_cols]
        if valid is not None and good is not None:
            valid[:, :, start:stop] = good[:, :, at_rows][..., at_cols]
        start = stop


def _straight(positions: Sequence[int]) -> bool:
    return isinstance(positions, range) and (positions.step == 1 or len(positions) == 1)


@dataclass(frozen=True)
class Picked(View):
    """Evenly spaced rows and columns of a reader, forwards or backwards; see `WindowReader`.

    A pixel is the one of the source at that place, not a mean of those left out.

    Parameters
    ----------
    source : WindowReader
    geobox : GeoBox
        Of the result.
    rows, cols : range [pixel]
        Of the source.
    """

    source: WindowReader
    geobox: GeoBox
    rows: range
    cols: range

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
        rows, cols = window.slices
        read_picked(
            self.source, out, valid, bands=bands, times=times,
            rows=self.rows[rows][::step], cols=self.cols[cols][::step],
        )  # fmt: skip

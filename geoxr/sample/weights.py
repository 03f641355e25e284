"""How likely places are to be drawn: a density on the map, or a number for each area."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError, ChipError, TooLargeError
from geoxr.grid.affine import map_points
from geoxr.grid.change import change_between
from geoxr.grid.crs import crs_name, same_crs
from geoxr.grid.geobox import extent
from geoxr.io.reader import read_window
from geoxr.io.resolve import resolve
from geoxr.options import format_bytes, options
from geoxr.sample.cells import Cells
from geoxr.sample.pool import Pool

#: Cells are cut into about so many, so that weights hardly differ within one.
_CELLS = 1 << 14


@dataclass(frozen=True, eq=False)
class Density:
    """A density on a grid of its own.

    Attributes
    ----------
    values : float32 array (height, width)
        Finite, not negative, 0 where the layer is invalid.
    geobox : GeoBox
    bounds : float array (cell,)
        No value in a cell of the pool is larger.
    """

    values: np.ndarray
    geobox: GeoBox
    bounds: np.ndarray

    @classmethod
    def of(cls, layer: xr.DataArray) -> Density:
        """Read a layer of one band and date.

        Raises
        ------
        ArgumentError
            If it has several, or its values are no weights.
        TooLargeError
            If it is larger than ``options.max_read``.
        """
        reader = resolve(layer).reader
        size = reader.geobox.height * reader.geobox.width * 4
        if len(reader.bands) * len(reader.times or (0,)) > 1:
            raise ArgumentError(
                f"weights has the dimensions {dict(layer.sizes)}, but a density has y and x alone. Pick "
                f"one band and date of it: weights.isel(band=0)."
            )
        if size > options.read_limit():
            raise TooLargeError(
                f"weights takes {format_bytes(size)} of memory; options.max_read allows "
                f"{format_bytes(options.read_limit())}. Give a coarser density: "
                f"weights.geoxr.reproject(resolution=...)."
            )
        pixels, valid = read_window(reader, extent(reader.geobox))
        values = np.where(valid[0, 0], pixels[0, 0], 0).astype("float32")
        if values.min() < 0 or not np.isfinite(values).all() or values.max() == 0:
            raise ArgumentError(
                f"weights has values from {values.min():g} to {values.max():g}. A density is not "
                f"negative, finite, and above 0 somewhere."
            )
        values.setflags(write=False)
        return cls(values, reader.geobox, np.zeros(0))

    def at(self, geobox: GeoBox, places: np.ndarray) -> np.ndarray:
        """Values (n,) at places (n, 2), rows and columns in pixels of a grid; 0 outside."""
        row, col = self._place(geobox, places)
        height, width = self.values.shape
        known = (row >= 0) & (row < height) & (col >= 0) & (col < width)
        found = np.zeros(len(places))
        found[known] = self.values[row[known].astype("int64"), col[known].astype("int64")]
        return found

    def _place(self, geobox: GeoBox, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of places of another grid; NaN or infinity where there is none."""
        x, y = map_points(geobox.affine, places[:, 1], places[:, 0])
        if not same_crs(geobox.crs, self.geobox.crs):
            if geobox.crs is None or self.geobox.crs is None:
                raise ArgumentError(
                    f"weights is in {crs_name(self.geobox.crs)} and the Dataset in "
                    f"{crs_name(geobox.crs)}, so nobody knows where one lies on the other. Name the "
                    f'CRS: da.geoxr.write_crs("EPSG:...").'
                )
            x, y = change_between(geobox.crs, self.geobox.crs).forward(x, y)
        col, row = map_points(~self.geobox.affine, x, y)
        return row, col

    def weighing(
        self, pool: Pool, rooms: list[tuple[GeoBox, tuple[int, int]]]
    ) -> tuple[Pool, Density]:
        """Cut the cells of a pool into smaller ones, and weigh each with the most in it.

        Parameters
        ----------
        rooms : list of (GeoBox, size)
            Grids that the cells are on.

        Raises
        ------
        ChipError
            If all weights are 0 where chips fit.
        """
        cells, origin = _cut(pool.cells)
        room = pool.room[origin]
        bounds = np.zeros(len(cells))
        pyramid = _maxima(self.values)
        for number, (geobox, size) in enumerate(rooms):
            mine = np.flatnonzero(room == number)
            bounds[mine] = self._most(cells.take(mine), geobox, size, pyramid)
        some = np.flatnonzero(bounds > 0)
        if not len(some):
            raise ChipError(
                "weights is 0 wherever a chip fits. Check that it lies where the data and the area are."
            )
        kept, from_ = cells.take(some), origin[some]
        weight = pool.weight[from_] * bounds[some]
        return Pool(kept, room[some], pool.key[from_], weight), replace(self, bounds=bounds[some])

    def _most(
        self, cells: Cells, geobox: GeoBox, size: tuple[int, int], pyramid: list[np.ndarray]
    ) -> np.ndarray:
        """Upper bound of the values at the centres of chips in cells."""
        steps = np.linspace(0, 1, 3)
        down, along = (at.ravel() for at in np.meshgrid(steps, steps, indexing="ij"))
        rows = cells.row[:, None] + down * (cells.rows[:, None] - 1) + size[0] / 2
        cols = cells.col[:, None] + along * (cells.cols[:, None] - 1) + size[1] / 2
        places = np.stack([rows.ravel(), cols.ravel()], axis=1)
        row, col = (at.reshape(len(cells), 9) for at in self._place(geobox, places))
        bad = ~(np.isfinite(row) & np.isfinite(col)).all(axis=1)
        ends = []
        for at, most in ((row, self.values.shape[0]), (col, self.values.shape[1])):
            low, high = at.min(axis=1), at.max(axis=1)
            # Between the nine points edges bend, by far less than this.
            spare = 0.25 * (high - low) + 1
            ends += [np.clip(low - spare, -1, most), np.clip(high + spare, -1, most)]
        ends = [np.floor(np.where(bad, 0, end)).astype("int64") for end in ends]
        found = _largest(pyramid, *ends)
        return np.where(bad, self.values.max(), found)


def _cut(cells: Cells) -> tuple[Cells, np.ndarray]:
    """Cut cells into about equal ones; returns them and the positions of what they were cut from."""
    side = max(int(np.sqrt(cells.number.sum() / _CELLS)), 1)
    down, along = -(-cells.rows // side), -(-cells.cols // side)
    origin = np.repeat(np.arange(len(cells)), down * along)
    count = np.arange(len(origin)) - np.repeat(np.cumsum(down * along) - down * along, down * along)
    whole = cells.take(origin)
    i, j = np.divmod(count, along[origin])
    row, col = i * side, j * side
    rows, cols = np.minimum(side, whole.rows - row), np.minimum(side, whole.cols - col)
    return Cells(whole.row + row, whole.col + col, rows, cols, whole.part, whole.sure), origin


def _maxima(values: np.ndarray) -> list[np.ndarray]:
    """Largest value of every 1 x 1, 2 x 2, 4 x 4, ... block."""
    levels = [values]
    while max(levels[-1].shape) > 1:
        last = levels[-1]
        padded = np.pad(last, [(0, side % 2) for side in last.shape])
        height, width = padded.shape
        levels.append(padded.reshape(height // 2, 2, width // 2, 2).max(axis=(1, 3)))
    return levels


def _largest(
    levels: list[np.ndarray],
    top: np.ndarray,
    bottom: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
) -> np.ndarray:
    """Largest value in windows (n,), first and last rows and columns included, or a bit around them."""
    height, width = levels[0].shape
    top, left = np.maximum(top, 0), np.maximum(left, 0)
    bottom, right = np.minimum(bottom, height - 1), np.minimum(right, width - 1)
    outside = (bottom < top) | (right < left)
    span = np.maximum(np.maximum(bottom - top, right - left), 1)
    # Two blocks along each axis reach over the whole of a window that is no longer than one.
    level = np.minimum(np.ceil(np.log2(span)).astype("int64"), len(levels) - 1)
    found = np.zeros(len(top))
    for number in np.unique(level):
        mine = np.flatnonzero(level == number)
        blocks = levels[number]
        for rows in (top[mine], bottom[mine]):
            for cols in (left[mine], right[mine]):
                row = np.minimum(rows >> number, blocks.shape[0] - 1)
                col = np.minimum(cols >> number, blocks.shape[1] - 1)
                found[mine] = np.maximum(found[mine], blocks[row, col])
    return np.where(outside, 0.0, found)


def row_weights(weights: Any, aoi: Any) -> np.ndarray:
    """Return numbers for the rows of a table of areas as probabilities.

    Raises
    ------
    ArgumentError
        If they are no weights of these rows.
    """
    if not hasattr(aoi, "to_crs"):
        raise ArgumentError(
            f"weights has a number for each row of aoi, which must be a GeoSeries or GeoDataFrame then, "
            f"not {type(aoi).__name__}. A density is a DataArray."
        )
    try:
        numbers = np.asarray(weights, dtype=float)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"weights must be a DataArray or numbers, not {type(weights).__name__}."
        ) from error
    if numbers.shape != (len(aoi),):
        raise ArgumentError(
            f"weights has the shape {numbers.shape}, but aoi has {len(aoi)} rows. Give each a number."
        )
    if not np.isfinite(numbers).all() or numbers.min() < 0 or numbers.sum() == 0:
        raise ArgumentError(
            f"weights must be finite, not negative, and above 0 somewhere, not {numbers[:10].tolist()}."
        )
    return numbers / numbers.sum()

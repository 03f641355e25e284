"""Chips and plans of chips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, overload

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError
from geoxr.grid.affine import map_points
from geoxr.grid.crs import crs_name
from geoxr.grid.geobox import crop
from geoxr.grid.window import Window

if TYPE_CHECKING:
    import geopandas


@dataclass(frozen=True)
class Chip:
    """A window of a grid, with its number in the plan."""

    index: int
    window: Window
    geobox: GeoBox

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) [CRS units]."""
        left, bottom, right, top = self.geobox.boundingbox
        return left, bottom, right, top


class Draw(Protocol):
    """Where chips start: drawn again for every epoch, or always the same."""

    def corners(self, epoch: int) -> Corners:
        """Return the corners of all chips of an epoch."""
        ...


class Corners(Protocol):
    """Top-left pixels of chips by their number."""

    def __len__(self) -> int: ...

    def take(self, index: np.ndarray) -> np.ndarray:
        """Return rows and columns (n, 2) of chips."""
        ...


@dataclass(frozen=True, eq=False)
class CornerList:
    """Corners one by one."""

    pixels: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, index: np.ndarray) -> np.ndarray:
        """Return rows and columns (n, 2) of chips."""
        return self.pixels[index]

    def corners(self, epoch: int) -> CornerList:
        """Return itself: the same in every epoch."""
        return self


@dataclass(frozen=True)
class CornerGrid:
    """Corners of a regular grid, computed when asked for: a grid of 10^8 chips costs no memory."""

    start: tuple[int, int]
    stride: tuple[int, int]
    shape: tuple[int, int]
    last: tuple[int, int]

    def __len__(self) -> int:
        return self.shape[0] * self.shape[1]

    def take(self, index: np.ndarray) -> np.ndarray:
        """Return rows and columns (n, 2) of chips."""
        steps = np.stack(np.divmod(np.asarray(index, "int64"), self.shape[1]), axis=-1)
        return np.minimum(np.array(self.start) + steps * np.array(self.stride), self.last)

    def corners(self, epoch: int) -> CornerGrid:
        """Return itself: the same in every epoch."""
        return self


@dataclass(frozen=True, eq=False)
class ChipPlan:
    """An ordered set of chips of one size on one grid: seeded, countable, picklable, unread.

    Made by ``ds.geoxr.grid_chips`` and ``ds.geoxr.random_chips``.

    Attributes
    ----------
    geobox : GeoBox
        Grid of the Dataset.
    size : (int, int) [pixel]
        Height and width of a chip.
    """

    geobox: GeoBox
    size: tuple[int, int]
    draw: Draw
    number: int = 0
    picked: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._corners) if self.picked is None else len(self.picked)

    @property
    def _corners(self) -> Corners:
        return self.draw.corners(self.number)

    @overload
    def __getitem__(self, item: int) -> Chip: ...
    @overload
    def __getitem__(self, item: slice | np.ndarray | list[int]) -> ChipPlan: ...
    def __getitem__(self, item: int | slice | np.ndarray | list[int]) -> Chip | ChipPlan:
        if isinstance(item, int | np.integer):
            at = range(len(self))[item]
            index = np.array([at if self.picked is None else self.picked[at]])
            return self._chip(int(index[0]), *self._corners.take(index)[0])
        every = np.arange(len(self)) if self.picked is None else self.picked
        return replace(self, picked=every[item])

    def __iter__(self) -> Iterator[Chip]:
        for start in range(0, len(self), 4096):
            index, corners = self.windows(start, start + 4096)
            for i, (row, col) in zip(index, corners, strict=True):
                yield self._chip(int(i), row, col)

    def __add__(self, other: ChipPlan) -> ChipPlan:
        if self.geobox != other.geobox or self.size != other.size:
            raise ArgumentError(
                f"Plans of different grids or sizes ({self.size} and {other.size} pixels) cannot be "
                f"added: a loader makes batches of one shape."
            )
        both = [plan.windows(0, len(plan))[1] for plan in (self, other)]
        return ChipPlan(self.geobox, self.size, CornerList(np.concatenate(both)))

    def windows(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers (n,) and corners (n, 2) as (row, column) of some chips in order."""
        span = np.arange(start, min(stop, len(self)))
        index = span if self.picked is None else self.picked[span]
        return index, self._corners.take(index)

    def _chip(self, index: int, row: int, col: int) -> Chip:
        window = Window(int(row), int(col), *self.size)
        return Chip(index, window, crop(self.geobox, window))

    def shuffle(self, seed: int) -> ChipPlan:
        """Return the same chips in an order fixed by `seed`."""
        return self[np.random.default_rng(seed).permutation(len(self))]

    def epoch(self, number: int) -> ChipPlan:
        """Return fresh draws for another epoch; a grid stays as it is."""
        return replace(self, number=number)

    def to_geodataframe(self) -> geopandas.GeoDataFrame:
        """Return one row per chip: index, row, col, and its outline in the CRS of the grid."""
        import geopandas

        index, corners = self.windows(0, len(self))
        rows, cols = corners[:, 0], corners[:, 1]
        height, width = self.size
        ring = np.stack(
            [
                np.stack(map_points(self.geobox.affine, c, r), axis=-1)
                for r, c in (
                    (rows, cols), (rows, cols + width), (rows + height, cols + width),
                    (rows + height, cols), (rows, cols),
                )
            ],
            axis=1,
        )  # fmt: skip
        crs = None if self.geobox.crs is None else self.geobox.crs.proj
        columns = {"index": index, "row": rows, "col": cols}
        return geopandas.GeoDataFrame(columns, geometry=shapely.polygons(ring), crs=crs)

    def __repr__(self) -> str:
        height, width = self.size
        grid = f"{self.geobox.height} x {self.geobox.width} {crs_name(self.geobox.crs)}"
        return f"ChipPlan({len(self)} chips of {height} x {width} pixels on {grid})"

"""Chips and plans of chips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, overload

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
    """A window of a grid, with its number in the plan.

    Attributes
    ----------
    index : int
        Number of the chip in the plan.
    window : Window [pixel]
    geobox : GeoBox
        Grid of the chip alone.
    node : str
        Path of the node of a DataTree that it lies in; empty for a Dataset.
    times : tuple of int, optional
        Positions along the time dimension; None for all. -1 stands for a date that is not there.
    """

    index: int
    window: Window
    geobox: GeoBox
    node: str = ""
    times: tuple[int, ...] | None = None

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) [CRS units]."""
        left, bottom, right, top = self.geobox.boundingbox
        return left, bottom, right, top


@dataclass(frozen=True)
class Grid:
    """A grid that chips lie on: that of a Dataset, or of one node of a DataTree.

    Attributes
    ----------
    geobox : GeoBox
    node : str
        Path of the node; empty for a Dataset.
    """

    geobox: GeoBox
    node: str = ""


@dataclass(frozen=True, eq=False)
class Spots:
    """Where `n` chips are.

    Attributes
    ----------
    corners : int64 array (n, 2)
        Rows and columns of the top-left pixels.
    grids : int array (n,), optional
        Positions of their grids in the plan; None where there is one.
    times : int array (n, steps), optional
        Positions along the time dimension, -1 where a chip has fewer; None for all.
    """

    corners: np.ndarray
    grids: np.ndarray | None = None
    times: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.corners)

    def grid(self, at: int) -> int:
        """Position of the grid of a chip."""
        return 0 if self.grids is None else int(self.grids[at])

    @classmethod
    def join(cls, parts: Sequence[Spots]) -> Spots:
        """One after the other. Shorter lists of dates are padded."""
        corners = np.concatenate([part.corners for part in parts])
        grids = times = None
        if any(part.grids is not None for part in parts):
            none = [np.zeros(len(part), "int64") for part in parts]
            grids = np.concatenate(
                [
                    zero if part.grids is None else part.grids
                    for part, zero in zip(parts, none, strict=True)
                ]
            )
        if any(part.times is not None for part in parts):
            if any(part.times is None and len(part) for part in parts):
                raise ArgumentError("Chips with all dates and chips with some cannot be one plan.")
            listed = [part.times for part in parts if part.times is not None]
            most = max(dates.shape[1] for dates in listed)
            times = np.concatenate(
                [np.pad(d, ((0, 0), (0, most - d.shape[1])), constant_values=-1) for d in listed]
            )
        return cls(corners, grids, times)

    def take(self, index: np.ndarray) -> Spots:
        """Some of them."""
        return Spots(
            self.corners[index],
            None if self.grids is None else self.grids[index],
            None if self.times is None else self.times[index],
        )


class Places(Protocol):
    """Places of chips by their number."""

    def __len__(self) -> int: ...

    def take(self, index: np.ndarray) -> Spots:
        """Return where the chips with these numbers are."""
        ...


class Draw(Protocol):
    """Where chips are: drawn again for every epoch, or always the same."""

    def places(self, epoch: int) -> Places:
        """Return the places of all chips of an epoch."""
        ...


@dataclass(frozen=True, eq=False)
class Fixed:
    """The same places in every epoch."""

    spots: Places

    def places(self, epoch: int) -> Places:
        """Return the places; see `Draw`."""
        return self.spots


@dataclass(frozen=True)
class CornerGrid:
    """Corners of a regular grid, computed when asked for: a grid of 10^8 chips costs no memory.

    Attributes
    ----------
    start, stride : (int, int) [pixel]
    shape : (int, int)
        Rows and columns of chips.
    last : (int, int) [pixel]
        No chip starts beyond.
    grid : int
        Position of the grid in the plan.
    dates : tuple of tuples of int, optional
        Dates of the chips: all windows with the first tuple, then all with the second ...
    """

    start: tuple[int, int]
    stride: tuple[int, int]
    shape: tuple[int, int]
    last: tuple[int, int]
    grid: int = 0
    dates: tuple[tuple[int, ...], ...] | None = None

    def __len__(self) -> int:
        return self.shape[0] * self.shape[1] * (1 if self.dates is None else len(self.dates))

    def take(self, index: np.ndarray) -> Spots:
        """Return where the chips with these numbers are."""
        date, window = np.divmod(np.asarray(index, "int64"), self.shape[0] * self.shape[1])
        steps = np.stack(np.divmod(window, self.shape[1]), axis=-1)
        corners = np.minimum(np.array(self.start) + steps * np.array(self.stride), self.last)
        grids = None if self.grid == 0 else np.full(len(corners), self.grid)
        times = None if self.dates is None else np.array(self.dates, "int64")[date]
        return Spots(corners, grids, times)

    def places(self, epoch: int) -> CornerGrid:
        """Return itself: the same in every epoch."""
        return self


@dataclass(frozen=True, eq=False)
class Chain:
    """Draws one after the other."""

    draws: tuple[Draw, ...]

    def places(self, epoch: int) -> Places:
        """Return the places of an epoch; see `Draw`."""
        return _Chained(tuple(draw.places(epoch) for draw in self.draws))


@dataclass(frozen=True, eq=False)
class _Chained:
    parts: tuple[Places, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def take(self, index: np.ndarray) -> Spots:
        index = np.asarray(index, "int64")
        starts = np.cumsum([0, *map(len, self.parts)])
        owner = np.searchsorted(starts, index, side="right") - 1
        found, order = [], []
        for number in np.unique(owner):
            mine = np.flatnonzero(owner == number)
            found.append(self.parts[number].take(index[mine] - starts[number]))
            order.append(mine)
        if not found:
            return self.parts[0].take(index)
        return Spots.join(found).take(np.argsort(np.concatenate(order)))


#: Numbers of the chips of a plan, in order: all, some evenly spaced ones, or a list.
Picked = range | np.ndarray


@dataclass(frozen=True, eq=False)
class ChipPlan:
    """An ordered set of chips of one size: seeded, countable, picklable, unread.

    Made by ``ds.geoxr.grid_chips``, ``ds.geoxr.random_chips`` and their like.

    Attributes
    ----------
    grids : tuple of Grid
        That of the Dataset, or those of the nodes of a DataTree.
    size : (int, int) [pixel]
        Height and width of a chip.
    group : int
        So many consecutive chips are one item of the plan: 3 for triplets. Items of one chip are
        that `Chip`, others a tuple of them.
    together : int
        So many consecutive items lie near each other and stay one batch when a loader shuffles.
    """

    grids: tuple[Grid, ...]
    size: tuple[int, int]
    draw: Draw
    number: int = 0
    picked: Picked | None = None
    group: int = 1
    together: int = 1

    @property
    def geobox(self) -> GeoBox:
        """Grid of the Dataset.

        Raises
        ------
        ArgumentError
            If the plan is for the nodes of a DataTree, which have one each.
        """
        if len(self.grids) > 1:
            raise ArgumentError(
                f"The plan lies on {len(self.grids)} grids, one for each node of a DataTree. See "
                f"plan.grids."
            )
        return self.grids[0].geobox

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def _places(self) -> Places:
        return self.draw.places(self.number)

    @property
    def _numbers(self) -> Picked:
        return range(len(self._places) // self.group) if self.picked is None else self.picked

    @overload
    def __getitem__(self, item: int) -> Any: ...
    @overload
    def __getitem__(self, item: slice | np.ndarray | list[int]) -> ChipPlan: ...
    def __getitem__(self, item: int | slice | np.ndarray | list[int]) -> Any:
        numbers = self._numbers
        if isinstance(item, int | np.integer):
            chips = self._chips(np.array([numbers[int(item)]]))
            return chips[0] if self.group == 1 else tuple(chips)
        if isinstance(item, slice):
            return replace(self, picked=numbers[item])
        at = np.asarray(item)
        if at.dtype == bool:
            if at.shape != (len(self),):
                raise ArgumentError(
                    f"A mask of {at.shape} does not fit a plan of {len(self)} chips."
                )
            at = np.flatnonzero(at)
        return replace(self, picked=np.asarray(numbers)[at.astype("int64")])

    def __iter__(self) -> Iterator[Any]:
        yield from (
            self.chips() if self.group == 1 else zip(*[self.chips()] * self.group, strict=True)
        )

    def chips(self) -> Iterator[Chip]:
        """Yield all chips in order, those of one item one after the other."""
        for start in range(0, len(self), 4096):
            yield from self._chips(self.indices(start, start + 4096))

    def __add__(self, other: ChipPlan) -> ChipPlan:
        alike = self.grids == other.grids and self.size == other.size and self.group == other.group
        if not alike:
            raise ArgumentError(
                f"Plans of different grids or sizes ({self.size} and {other.size} pixels) cannot be "
                f"added: a loader makes batches of one shape."
            )
        draw = Chain((_Part(self), _Part(other)))
        together = self.together if self.together == other.together else 1
        return ChipPlan(self.grids, self.size, draw, group=self.group, together=together)

    def indices(self, start: int, stop: int) -> np.ndarray:
        """Numbers (n,) of the items at positions ``start : stop``."""
        return np.asarray(self._numbers[start : max(stop, start)], "int64")

    def spots(self, index: np.ndarray) -> Spots:
        """Where the chips of the items with these numbers are, (n * group)."""
        flat = np.asarray(index, "int64")
        if self.group > 1:
            flat = (flat[:, None] * self.group + np.arange(self.group)).ravel()
        return self._places.take(flat)

    def _chips(self, index: np.ndarray) -> list[Chip]:
        spots = self.spots(index)
        chips = []
        for at, (row, col) in enumerate(spots.corners):
            window = Window(int(row), int(col), *self.size)
            grid = self.grids[spots.grid(at)]
            times = None if spots.times is None else tuple(spots.times[at].tolist())
            number = int(index[at // self.group])
            chips.append(Chip(number, window, crop(grid.geobox, window), grid.node, times))
        return chips

    def shuffle(self, seed: int) -> ChipPlan:
        """Return the same chips in an order fixed by `seed`; chips drawn as a batch stay one."""
        rng = np.random.default_rng(seed)
        if self.together == 1:
            return self[rng.permutation(len(self))]
        blocks = rng.permutation(-(-len(self) // self.together))
        order = (blocks[:, None] * self.together + np.arange(self.together)).ravel()
        return self[order[order < len(self)]]

    def epoch(self, number: int) -> ChipPlan:
        """Return fresh draws for another epoch; a grid stays as it is."""
        return replace(self, number=number)

    def to_geodataframe(self) -> geopandas.GeoDataFrame:
        """Return one row per chip: index, row, col, and its outline in the CRS of the grid."""
        import geopandas

        index = self.indices(0, len(self))
        spots = self.spots(index)
        rows, cols = spots.corners[:, 0], spots.corners[:, 1]
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
        columns = {"index": np.repeat(index, self.group), "row": rows, "col": cols}
        return geopandas.GeoDataFrame(columns, geometry=shapely.polygons(ring), crs=crs)

    def __repr__(self) -> str:
        height, width = self.size
        grids = [
            f"{grid.geobox.height} x {grid.geobox.width} {crs_name(grid.geobox.crs)}"
            for grid in self.grids
        ]
        on = grids[0] if len(grids) == 1 else f"{len(grids)} grids"
        return f"ChipPlan({len(self)} chips of {height} x {width} pixels on {on})"


@dataclass(frozen=True, eq=False)
class _Part:
    """A plan as part of another: its chips in its order, drawn anew with the epoch of the whole."""

    plan: ChipPlan

    def places(self, epoch: int) -> Places:
        return _Ordered(self.plan.epoch(epoch))


@dataclass(frozen=True, eq=False)
class _Ordered:
    plan: ChipPlan

    def __len__(self) -> int:
        return len(self.plan) * self.plan.group

    def take(self, index: np.ndarray) -> Spots:
        group = self.plan.group
        item, member = np.divmod(np.asarray(index, "int64"), group)
        numbers = np.asarray(self.plan._numbers, "int64")[item]
        return self.plan._places.take(numbers * group + member)

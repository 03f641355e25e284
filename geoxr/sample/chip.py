"""Chips and plans of chips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError
from geoxr.grid.crs import crs_name
from geoxr.grid.geobox import crop, geobox_of
from geoxr.grid.window import Window

if TYPE_CHECKING:
    import geopandas
    import matplotlib.axes

    from geoxr.sample.area import Within
    from geoxr.sample.nodes import Layers
    from geoxr.typing import Area, PathLike, Seed


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
    dates : tuple of numpy.datetime64, optional
        Those of the layers when the plan was made; plans count them.
    """

    geobox: GeoBox
    node: str = ""
    dates: tuple[np.datetime64, ...] | None = None

    @classmethod
    def of(cls, ds: xr.Dataset, node: str = "") -> Grid:
        """Return the grid of a Dataset."""
        dated = "time" in ds.coords and ds.coords["time"].dtype.kind == "M"
        dates = tuple(np.atleast_1d(ds.coords["time"].values)) if dated else None
        return cls(geobox_of(ds), node, dates)


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
                raise ArgumentError(
                    "Chips with all dates and chips with some cannot be one plan. Name all dates of the "
                    "first: steps=ds.sizes['time']."
                )
            most = max(part.steps or 0 for part in parts)
            listed = [part.padded(most).times for part in parts]
            times = np.concatenate([dates for dates in listed if dates is not None])
        return cls(corners, grids, times)

    @property
    def steps(self) -> int | None:
        """Dates of a chip, padding included; None for all."""
        return None if self.times is None else self.times.shape[1]

    def padded(self, steps: int | None) -> Spots:
        """Return the same with so many dates for each chip, or as they are where they have more."""
        if self.times is None or steps is None or self.times.shape[1] >= steps:
            return self
        missing = (0, 0), (0, steps - self.times.shape[1])
        return replace(self, times=np.pad(self.times, missing, constant_values=-1))

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
        spots = Spots.join(found).take(np.argsort(np.concatenate(order)))
        # Chips have as many dates whichever are asked for, so that batches have one shape.
        return spots if spots.times is None else spots.padded(self._steps)

    @cached_property
    def _steps(self) -> int:
        """Dates of a chip of the part where they are most."""
        first = np.zeros(1, "int64")
        return max(part.take(first).steps or 0 for part in self.parts if len(part))


#: Numbers of the chips of a plan, in order: all, some evenly spaced ones, or a list.
Picked = range | np.ndarray


def _numbers_at(numbers: Picked, at: np.ndarray) -> np.ndarray:
    """Numbers (n,) at some positions; a range of many millions is not written out for that."""
    if isinstance(numbers, np.ndarray):
        return numbers[at].astype("int64")
    at, length = at.astype("int64"), len(numbers)
    beyond = at[(at < -length) | (at >= length)]
    if len(beyond):
        raise IndexError(f"A plan of {length} chips has none at position {beyond[0]}.")
    return numbers.start + np.where(at < 0, at + length, at) * numbers.step


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
            part = range(len(numbers))[item]
            aligned = part.step == 1 and part.start % self.together == 0
            together = self.together if aligned else 1
            return replace(self, picked=numbers[item], together=together)
        at = np.asarray(item)
        if at.dtype == bool:
            if at.shape != (len(self),):
                raise ArgumentError(
                    f"A mask of {at.shape} does not fit a plan of {len(self)} chips."
                )
            at = np.flatnonzero(at)
        if at.ndim != 1 or (at.size and at.dtype.kind not in "iu"):
            raise ArgumentError(
                f"Chips are picked by a number, a slice, a list of numbers or a mask, not by {item!r}."
            )
        return replace(self, picked=_numbers_at(numbers, at), together=1)

    def __iter__(self) -> Iterator[Any]:
        yield from (
            self.chips() if self.group == 1 else zip(*[self.chips()] * self.group, strict=True)
        )

    def chips(self) -> Iterator[Chip]:
        """Yield all chips in order, those of one item one after the other."""
        for start in range(0, len(self), 4096):
            yield from self._chips(self.indices(start, start + 4096))

    def __add__(self, other: ChipPlan) -> ChipPlan:
        if not isinstance(other, ChipPlan):
            return NotImplemented
        alike = self.grids == other.grids and self.size == other.size and self.group == other.group
        if not alike:
            raise ArgumentError(_difference(self, other))
        if len(self) and len(other):  # a sum of chips with all dates and chips with some raises
            Spots.join([plan.spots(plan.indices(0, 1)) for plan in (self, other)])
        draw = Chain((_Part(self), _Part(other)))
        # The first batch of the other begins where the last of this one ends.
        whole = self.together == other.together and len(self) % self.together == 0
        together = self.together if whole else 1
        return ChipPlan(self.grids, self.size, draw, group=self.group, together=together)

    def indices(self, start: int, stop: int) -> np.ndarray:
        """Numbers (n,) of the items at positions ``start : stop``."""
        numbers = self._numbers[start : max(stop, start)]
        return _numbers_at(numbers, np.arange(len(numbers)))

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

    def shuffle(self, seed: Seed) -> ChipPlan:
        """Return the same chips in an order fixed by `seed`.

        Chips drawn as a batch stay one, and a last batch that has fewer stays the last.
        """
        from geoxr.sample.room import seed_number

        rng = np.random.default_rng(seed_number(seed))
        if self.together == 1:
            return self[rng.permutation(len(self))]
        blocks = rng.permutation(len(self) // self.together)
        order = (blocks[:, None] * self.together + np.arange(self.together)).ravel()
        rest = np.arange(order.size, len(self))
        return replace(self[np.concatenate([order, rest])], together=self.together)

    def epoch(self, number: int) -> ChipPlan:
        """Return fresh draws for another epoch, counted from 0; a grid stays as it is."""
        if not isinstance(number, int | np.integer) or number < 0:
            raise ArgumentError(f"Epochs are whole numbers from 0 up, not {number!r}.")
        return replace(self, number=int(number))

    def filter(
        self,
        keep: Callable[[Any], bool] | None = None,
        *,
        ds: Layers | None = None,
        min_valid: float | None = None,
        aoi: Area | None = None,
        within: Within = "window",
    ) -> ChipPlan:
        """Return the chips that meet all that is asked for; a group if all of its chips do.

        The result has the chips of this epoch in every epoch. For fresh draws that meet a condition,
        give it to `random_chips`.

        Parameters
        ----------
        keep : callable, optional
            Chip (or tuple of them, in plans of groups) -> bool.
        ds : Dataset or DataTree, optional
            What the plan was made for; needed for `min_valid`.
        min_valid : float, optional
            Smallest share of valid pixels, as for `random_chips`.
        aoi : geometry, GeoSeries, GeoDataFrame or bounds, optional
        within : {"window", "centre"}
            Whether whole windows lie in `aoi`, or centres.

        Raises
        ------
        ChipError
            If none is left.
        GridError
            If the plan was made for other data than `ds`.
        """
        from geoxr.sample.keep import keep_chips

        return keep_chips(self, keep, ds=ds, min_valid=min_valid, aoi=aoi, within=within)

    def to_geodataframe(self) -> geopandas.GeoDataFrame:
        """Return one row per chip, with its outline in the CRS of the grid.

        Columns are ``index`` (number of the item), ``node``, ``row``, ``col``, ``height`` and ``width``
        [pixel], ``times`` (positions, -1 is padding) where chips have dates of their own, and ``group``
        and ``together`` where they are not 1. Outlines on grids of several CRSs are in EPSG:4326.
        """
        from geoxr.sample.frame import to_geodataframe

        return to_geodataframe(self)

    @classmethod
    def from_geodataframe(cls, frame: geopandas.GeoDataFrame, ds: Layers) -> ChipPlan:
        """Make a plan from a table such as `to_geodataframe` returns; its inverse.

        Parameters
        ----------
        frame : GeoDataFrame
            In any CRS. Without the columns row, col, height and width the outlines say where the chips
            are, and without index they are numbered.
        ds : Dataset or DataTree
            What the chips lie on.

        Raises
        ------
        GridError
            If outlines are no windows of the grid, or other ones than the columns say.
        ArgumentError
            If chips have different sizes, or columns contradict each other.
        """
        from geoxr.sample.frame import from_geodataframe

        return from_geodataframe(frame, ds)

    def to_parquet(self, path: PathLike) -> Path:
        """Write the table of `to_geodataframe` as GeoParquet."""
        self.to_geodataframe().to_parquet(path, index=False)
        return Path(path)

    @classmethod
    def from_parquet(cls, path: PathLike, ds: Layers) -> ChipPlan:
        """Read a plan that `to_parquet` wrote; see `from_geodataframe`."""
        from geoxr.sample.frame import from_parquet

        return from_parquet(path, ds)

    def plot(self, ax: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
        """Draw the chips over the outlines of the grids, and over the areas that they were drawn from.

        Of more than 2,000 chips the picture shows how many lie where.

        Raises
        ------
        MissingDependencyError
            If matplotlib is not installed.
        """
        from geoxr.sample.plot import plot_plan

        return plot_plan(self, ax)

    @property
    def items(self) -> str:
        """What a plan has, in words."""
        return {1: "chips", 2: "pairs", 3: "triplets"}.get(
            self.group, f"groups of {self.group} chips"
        )

    def __repr__(self) -> str:
        from geoxr.sample.cover import coverage

        height, width = self.size
        grids = [
            f"{grid.geobox.height} x {grid.geobox.width} {crs_name(grid.geobox.crs)}"
            for grid in self.grids
        ]
        names = sorted({crs_name(grid.geobox.crs) for grid in self.grids})
        on = grids[0] if len(grids) == 1 else f"{len(grids)} grids in {', '.join(names)}"
        share, whole = coverage(self) if len(self) else (0.0, True)
        facts = [
            on,
            f"{'' if whole else 'at least '}{_percent(share)} covered",
            f"epoch {self.number}",
        ]
        if len(self):
            times = self.spots(self.indices(0, 1)).times
            facts += [] if times is None else [f"{times.shape[1]} dates"]
        if self.together > 1:
            facts.append(f"batches of {self.together} near each other")
        return (
            f"ChipPlan({len(self)} {self.items} of {height} x {width} pixels on {', '.join(facts)})"
        )


def _difference(one: ChipPlan, other: ChipPlan) -> str:
    """Say why plans cannot be added."""
    said = "Plans cannot be added that "
    if one.size != other.size:
        return f"{said}have chips of {one.size} and of {other.size} pixels: batches have one shape."
    if one.group != other.group:
        return f"{said}have {one.items} and {other.items}: batches have one shape."
    mine, theirs = ({grid.node for grid in plan.grids} for plan in (one, other))
    if mine != theirs:
        return (
            f"{said}lie in different nodes: only one of them has chips in {sorted(mine ^ theirs)[:5]}. "
            f"Plan them together, or train from one loader after the other."
        )
    return f"{said}lie on different grids. Plan both on the same Dataset, with the same dates."


def _percent(share: float) -> str:
    """Write a share so that little is not nothing, and nearly all not all."""
    if 0 < share < 0.001:
        return "less than 0.1%"
    return "99.9%" if 0.9995 <= share < 1 else f"{share:.1%}".replace(".0%", "%")


@dataclass(frozen=True, eq=False)
class _Part:
    """A plan as part of another: its chips in its order, its epochs counted on from its own."""

    plan: ChipPlan

    def places(self, epoch: int) -> Places:
        return _Ordered(self.plan.epoch(self.plan.number + epoch))


@dataclass(frozen=True, eq=False)
class _Ordered:
    plan: ChipPlan

    def __len__(self) -> int:
        return len(self.plan) * self.plan.group

    def take(self, index: np.ndarray) -> Spots:
        group = self.plan.group
        item, member = np.divmod(np.asarray(index, "int64"), group)
        numbers = _numbers_at(self.plan._numbers, item)
        return self.plan._places.take(numbers * group + member)

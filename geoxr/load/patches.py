"""Which windows to read for the chips of a batch: chips that overlap share what they show."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from geoxr.grid.window import Window
from geoxr.sample.chip import ChipPlan, CornerGrid, Spots

#: Windows, each with the positions of the chips that meet it.
_Blocks: TypeAlias = list[tuple[Window, list[int]]]

#: Height and width of shared windows at most: they stay in the processor's cache [pixel].
_BLOCK = (256, 384)
#: Chips share windows where that saves at least this share of the pixels.
_WORTH = 0.15


@dataclass(frozen=True)
class Patch:
    """A window to read, and the chips of a batch that lie in it or reach into it.

    Attributes
    ----------
    window : Window [pixel]
    grid : int
        Position of the grid in the plan.
    times : tuple of int, optional
        Positions of the dates to read; None for all.
    chips : tuple of (int, Window)
        Row in the batch, and window of the chip.
    stays : bool
        Whether later batches ask for the same window.
    """

    window: Window
    grid: int
    times: tuple[int, ...] | None
    chips: tuple[tuple[int, Window], ...]
    stays: bool = False

    def alone(self, at: int, window: Window) -> Patch:
        """Return the patch of one chip."""
        return Patch(window, self.grid, self.times, ((at, window),))


@dataclass(frozen=True)
class Sweep:
    """Blocks that batches of an overlapping grid meet again and again.

    Attributes
    ----------
    sides : (int, int) [pixel]
        Of a block; whole numbers of strides, so that few chips are cut.
    area : int [pixel]
        What batches go through before they come to the same pixels again.
    """

    sides: tuple[int, int]
    area: int


def sweep_of(plan: ChipPlan) -> Sweep | None:
    """Return the blocks to keep between batches; None where chips of one hardly meet another.

    That is so for grids whose stride is below the size, in their order.
    """
    grid = plan.draw
    in_order = plan.picked is None or (isinstance(plan.picked, range) and plan.picked.step == 1)
    if not isinstance(grid, CornerGrid) or not in_order:
        return None
    if math.prod(grid.stride) > (1 - _WORTH) * math.prod(plan.size):
        return None
    sides = tuple(
        max(most // step, 1) * step for most, step in zip(_BLOCK, grid.stride, strict=True)
    )
    wide = grid.shape[1] * grid.stride[1] + plan.size[1] + sides[1]
    return Sweep((sides[0], sides[1]), wide * (plan.size[0] + 2 * sides[0]))


def patches_of(plan: ChipPlan, spots: Spots, sweep: Sweep | None = None) -> Iterator[Patch]:
    """Cut a batch into windows, in the order of grids, rows and columns.

    Parameters
    ----------
    sweep : Sweep, optional
        Cut all batches of a grid along the same blocks.
    """
    for grid, times, chips in _alike(spots):
        corners = spots.corners[chips]
        windows = [Window(row, col, *plan.size) for row, col in corners.tolist()]
        if sweep is None:
            blocks = _shared(corners, plan.size)
        else:
            origin = np.zeros(2, "int64")
            blocks = _blocks(corners, plan.size, origin, np.array(sweep.sides))
        if blocks is None:
            for i in np.lexsort((corners[:, 1], corners[:, 0])).tolist():
                yield Patch(windows[i], grid, times, ((int(chips[i]), windows[i]),))
            continue
        for block, members in blocks:
            inside = tuple((int(chips[i]), windows[i]) for i in members)
            yield Patch(block, grid, times, inside, stays=sweep is not None)


def patches_of_each(plan: ChipPlan, spots: Spots) -> Iterator[Patch]:
    """Return one patch for every chip, in the order of the chips."""
    for chip in range(len(spots)):
        window = _window(spots, plan.size, chip)
        times = None
        if spots.times is not None:
            times = tuple(date for date in spots.times[chip].tolist() if date >= 0)
        yield Patch(window, spots.grid(chip), times, ((chip, window),))


def _window(spots: Spots, size: tuple[int, int], chip: int) -> Window:
    row, col = spots.corners[chip].tolist()
    return Window(row, col, *size)


def _alike(spots: Spots) -> Iterator[tuple[int, tuple[int, ...] | None, np.ndarray]]:
    """Group chips by grid and dates: grid, dates, positions."""
    keys = [np.zeros((len(spots), 1), "int64") if spots.grids is None else spots.grids[:, None]]
    if spots.times is not None:
        keys.append(spots.times)
    groups, owner = np.unique(np.hstack(keys), axis=0, return_inverse=True)
    for number, group in enumerate(groups.tolist()):
        times = None if spots.times is None else tuple(date for date in group[1:] if date >= 0)
        yield group[0], times, np.flatnonzero(owner.ravel() == number)


def _shared(corners: np.ndarray, size: tuple[int, int]) -> _Blocks | None:
    """Cut what chips cover into blocks, each with the chips that it meets; None where none is shared."""
    if len(corners) < 2:
        return None
    start, stop = corners.min(axis=0), corners.max(axis=0) + size
    number = -(-(stop - start) // _BLOCK)
    sides = -(-(stop - start) // number)
    blocks = _blocks(corners, size, start, sides, stop)
    if len(blocks) * sides.prod() > (1 - _WORTH) * len(corners) * size[0] * size[1]:
        return None
    return blocks


def _blocks(
    corners: np.ndarray,
    size: tuple[int, int],
    start: np.ndarray,
    sides: np.ndarray,
    stop: np.ndarray | None = None,
) -> _Blocks:
    """Blocks of a tiling from `start` that chips meet, cut at `stop`, each with these chips."""
    first = ((corners - start) // sides).tolist()  # negative where chips reach over the edge
    last = ((corners + np.array(size) - 1 - start) // sides).tolist()
    met: dict[tuple[int, int], list[int]] = {}
    for chip, ((top, left), (bottom, right)) in enumerate(zip(first, last, strict=True)):
        for down in range(top, bottom + 1):
            for along in range(left, right + 1):
                met.setdefault((down, along), []).append(chip)
    (top, left), (height, width) = start.tolist(), sides.tolist()
    bottom, right = (math.inf, math.inf) if stop is None else stop.tolist()
    result = []
    for (down, along), members in sorted(met.items()):
        row, col = top + down * height, left + along * width
        high, wide = min(height, bottom - row), min(width, right - col)
        result.append((Window(row, col, high, wide), members))
    return result

"""Which windows to read for the chips of a batch: chips that overlap share what they show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from geoxr.grid.window import Window
from geoxr.sample.chip import ChipPlan, Spots

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
    """

    window: Window
    grid: int
    times: tuple[int, ...] | None
    chips: tuple[tuple[int, Window], ...]

    def alone(self, at: int, window: Window) -> Patch:
        """Return the patch of one chip."""
        return Patch(window, self.grid, self.times, ((at, window),))


def patches_of(plan: ChipPlan, spots: Spots) -> Iterator[Patch]:
    """Cut a batch into windows, in the order of grids, rows and columns."""
    for grid, times, chips in _alike(spots):
        corners = spots.corners[chips]
        blocks = _shared(corners, plan.size)
        if blocks is None:
            for chip in chips[np.lexsort((corners[:, 1], corners[:, 0]))].tolist():
                window = _window(spots, plan.size, chip)
                yield Patch(window, grid, times, ((chip, window),))
            continue
        for block, members in blocks:
            inside = tuple(
                (chip, _window(spots, plan.size, chip)) for chip in chips[members].tolist()
            )
            yield Patch(block, grid, times, inside)


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


def _shared(corners: np.ndarray, size: tuple[int, int]) -> list[tuple[Window, np.ndarray]] | None:
    """Cut what chips cover into blocks, each with the chips that it meets; None where none is shared."""
    if len(corners) < 2:
        return None
    start, stop = corners.min(axis=0), corners.max(axis=0) + size
    number = -(-(stop - start) // _BLOCK)
    sides = -(-(stop - start) // number)
    first, last = (corners - start) // sides, (corners + np.array(size) - 1 - start) // sides
    pairs = []
    for chip, ((top, left), (bottom, right)) in enumerate(zip(first, last, strict=True)):
        rows, cols = np.meshgrid(
            np.arange(top, bottom + 1), np.arange(left, right + 1), indexing="ij"
        )
        block = rows.ravel() * number[1] + cols.ravel()
        pairs.append(np.stack([block, np.full(block.size, chip)]))
    block, chip = np.hstack(pairs)
    met = np.unique(block)
    if len(met) * sides.prod() > (1 - _WORTH) * len(corners) * size[0] * size[1]:
        return None
    order = np.argsort(block, kind="stable")
    cuts = np.searchsorted(block[order], met)
    result = []
    for at, members in zip(met, np.split(chip[order], cuts[1:]), strict=True):
        corner = start + np.array(divmod(int(at), int(number[1]))) * sides
        end = np.minimum(corner + sides, stop)
        result.append((Window(*map(int, (*corner, *(end - corner)))), members))
    return result

"""How much of its grids a plan covers, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geoxr.sample.chip import CornerGrid
from geoxr.sample.nodes import ground_area

if TYPE_CHECKING:
    from geoxr.sample.chip import ChipPlan

#: Pixels of a grid that are looked at, and chips, at most.
_LOOKS, _CHIPS = 1_000_000, 1_000_000


def coverage(plan: ChipPlan) -> tuple[float, bool]:
    """Share of the area of all grids that is in a chip, by ground area.

    Returns
    -------
    share : float
        From a million pixels of each grid at most.
    whole : bool
        Whether all chips were counted; of many millions some are, and the share is at least this.
    """
    if isinstance(plan.draw, CornerGrid) and plan.picked is None:
        return _of_grid(plan.draw, plan.size, tuple(plan.geobox.shape)), True
    areas = [ground_area(g.geobox) * g.geobox.height * g.geobox.width for g in plan.grids]
    shares = [float((counts > 0).mean()) for counts, _ in lattices(plan, _LOOKS)]
    return float(np.average(shares, weights=areas)), len(plan) * plan.group <= _CHIPS


def _of_grid(grid: CornerGrid, size: tuple[int, int], shape: tuple[int, ...]) -> float:
    """Share that a whole grid of chips covers, axis by axis."""
    share = 1.0
    for axis in (0, 1):
        starts = grid.start[axis] + np.arange(grid.shape[axis]) * grid.stride[axis]
        starts = np.minimum(starts, grid.last[axis])
        stops = np.minimum(starts + size[axis], np.append(starts[1:], shape[axis]))
        inside = np.clip(stops, 0, shape[axis]) - np.clip(starts, 0, shape[axis])
        share *= inside.sum() / shape[axis]
    return float(share)


def lattices(plan: ChipPlan, looks: int) -> list[tuple[np.ndarray, int]]:
    """Count the chips over evenly spaced pixels of each grid.

    Returns
    -------
    list of (int array, int)
        Numbers of chips, and the distance between the pixels [pixel].
    """
    steps = [
        max(int(np.ceil(np.sqrt(grid.geobox.height * grid.geobox.width / looks))), 1)
        for grid in plan.grids
    ]
    found = [
        np.zeros((-(-grid.geobox.height // step) + 1, -(-grid.geobox.width // step) + 1), "int64")
        for grid, step in zip(plan.grids, steps, strict=True)
    ]
    skip = -(-len(plan) * plan.group // _CHIPS) or 1
    chosen = plan if skip == 1 else plan[::skip]
    for begin in range(0, len(chosen), 1 << 16):
        spots = chosen.spots(chosen.indices(begin, begin + (1 << 16)))
        for number, (edges, step) in enumerate(zip(found, steps, strict=True)):
            mine = spots.corners if spots.grids is None else spots.corners[spots.grids == number]
            if spots.grids is None and number > 0:
                break
            _add(edges, mine, plan.size, step)
    return [
        (edges.cumsum(axis=0).cumsum(axis=1)[:-1, :-1], step)
        for edges, step in zip(found, steps, strict=True)
    ]


def _add(edges: np.ndarray, corners: np.ndarray, size: tuple[int, int], step: int) -> None:
    """Note where chips begin and end among the pixels at ``step // 2 + i * step``."""
    start = -(-(corners - step // 2) // step)
    stop = -(-(corners + size - step // 2) // step)
    most = np.array(edges.shape) - 1
    (top, left), (bottom, right) = np.clip(start, 0, most).T, np.clip(stop, 0, most).T
    for rows, cols, sign in (
        (top, left, 1),
        (top, right, -1),
        (bottom, left, -1),
        (bottom, right, 1),
    ):
        np.add.at(edges, (rows, cols), sign)

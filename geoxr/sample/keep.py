"""Some chips of a plan: those that are valid enough, in an area, or pass a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from geoxr.errors import ArgumentError, ChipError
from geoxr.grid.adopt import adopt
from geoxr.grid.area import area_geometry
from geoxr.sample.area import Within, check_within, inside, pixel_parts
from geoxr.sample.chip import Fixed, Spots
from geoxr.sample.iterate import check_plan, node_of
from geoxr.sample.nodes import Layers, check_area
from geoxr.sample.validity import check_min_valid, valid_share
from geoxr.typing import Area

if TYPE_CHECKING:
    from geoxr.sample.chip import ChipPlan

#: Chips looked at together.
_AT_ONCE = 1 << 16


def keep_chips(
    plan: ChipPlan,
    keep: Callable[[Any], bool] | None,
    *,
    ds: Layers | None,
    min_valid: float | None,
    aoi: Area | None,
    within: Within,
) -> ChipPlan:
    """Return the chips that meet all conditions; see `ChipPlan.filter`."""
    if keep is not None and not callable(keep):
        raise ArgumentError(
            f"filter takes a function of a chip, not {type(keep).__name__}. Positions and masks pick "
            f"chips too: plan[numbers]."
        )
    if min_valid is not None and ds is None:
        raise ArgumentError(
            "To know what is valid the data is needed: plan.filter(min_valid=..., ds=ds)."
        )
    check_within(within)
    tests = []
    if aoi is not None:
        tests.append(_in_area(plan, aoi, within))
    if min_valid is not None and ds is not None:
        check_min_valid(min_valid)
        tests.append(_valid(plan, ds, min_valid))
    kept = []
    best = 0.0
    for begin in range(0, len(plan), max(_AT_ONCE // plan.group, 1)):
        part = plan[begin : begin + max(_AT_ONCE // plan.group, 1)]
        index = part.indices(0, len(part))
        good = np.ones(len(index), bool)
        for test in tests:
            passed, share = test(part.spots(index))
            good &= passed.reshape(-1, plan.group).all(axis=1)
            best = max(best, share)
        if keep is not None:
            good[good] = [bool(keep(item)) for item in part[good]]
        kept.append(index[good])
    numbers = np.concatenate([*kept, np.empty(0, "int64")])
    if not len(numbers):
        seen = f" The best has {best:.1%} valid pixels." if min_valid is not None else ""
        raise ChipError(f"None of the {len(plan)} chips meets what filter asks for.{seen}")
    # Numbers of one epoch mean other chips in the next, so the chips of this one are kept.
    return replace(plan, draw=Fixed(plan.draw.places(plan.number)), picked=numbers, together=1)


Test = Callable[[Spots], tuple[np.ndarray, float]]


def _in_area(plan: ChipPlan, aoi: Area, within: Within) -> Test:
    check_area([grid.geobox for grid in plan.grids], aoi)
    areas = [area_geometry(aoi, grid.geobox) for grid in plan.grids]
    parts = [pixel_parts(area, grid.geobox) for area, grid in zip(areas, plan.grids, strict=True)]

    def test(spots: Spots) -> tuple[np.ndarray, float]:
        passed = np.zeros(len(spots), bool)
        for number, mine in _by_grid(spots, len(parts)):
            passed[mine] = inside(parts[number], spots.corners[mine], plan.size, within)
        return passed, 0.0

    return test


def _valid(plan: ChipPlan, ds: Layers, min_valid: float) -> Test:
    check_plan(ds, plan)
    layers = [adopt(node_of(ds, grid.node)) for grid in plan.grids]

    def test(spots: Spots) -> tuple[np.ndarray, float]:
        share = np.zeros(len(spots))
        for number, mine in _by_grid(spots, len(layers)):
            times = None if spots.times is None else spots.times[mine]
            share[mine] = valid_share(
                layers[number], spots.corners[mine], plan.size, times, exact=min_valid == 1
            )[0]
        return share >= min_valid, float(share.max(initial=0.0))

    return test


def _by_grid(spots: Spots, number: int) -> list[tuple[int, np.ndarray]]:
    """Positions of the chips on each grid."""
    if spots.grids is None:
        return [(0, np.arange(len(spots)))]
    found = ((at, np.flatnonzero(spots.grids == at)) for at in range(number))
    return [(at, mine) for at, mine in found if len(mine)]

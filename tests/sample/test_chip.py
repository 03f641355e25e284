import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.errors import ArgumentError, GridError
from geoxr.grid.coords import coords_of
from geoxr.sample.chip import CornerGrid, Grid

GRID = GeoBox((90, 130), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")


def dataset() -> xr.Dataset:
    data = np.ones((1, *GRID.shape), "float32")
    return xr.Dataset({"image": (("band", "y", "x"), data)}, coords=coords_of(GRID))


def corners(plan: gx.ChipPlan) -> list[tuple[int, int]]:
    return [(chip.window.row, chip.window.col) for chip in plan.chips()]


def huge_plan() -> gx.ChipPlan:
    box = GeoBox((100_000, 100_000), GRID.affine, GRID.crs)
    shape = 10_000, 10_000
    return gx.ChipPlan(
        (Grid(box),), (10, 10), CornerGrid((0, 0), (10, 10), shape, (99_990, 99_990))
    )


def test_chips_of_a_huge_grid_are_picked_and_added_without_a_list_of_all() -> None:
    plan = huge_plan()
    tracemalloc.start()
    some = plan[[3, -1, 20_001]]
    both = plan[5:] + plan[:5]
    last = both[len(both) - 1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert corners(some) == [(0, 30), (99_990, 99_990), (20, 10)]
    assert (last.window.row, last.window.col) == (0, 40)
    assert peak < 1 << 20


def test_every_way_to_pick_chips_gives_those_that_a_list_would_give() -> None:
    plan = dataset().geoxr.grid_chips(20, stride=7)[::-2]
    listed = corners(plan)
    at = [4, -1, 0, 4]
    assert corners(plan[at]) == [listed[i] for i in at]
    assert corners(plan[at][1:][[0, -1]]) == [listed[-1], listed[4]]
    mask = np.arange(len(plan)) % 3 == 0
    assert corners(plan[mask]) == listed[::3]


@pytest.mark.parametrize("wrong", [[0.5, 1.5], ["a"], [[1, 2]], [None]])
def test_what_is_no_position_picks_nothing(wrong: list[object]) -> None:
    with pytest.raises(ArgumentError, match="a list of numbers or a mask"):
        dataset().geoxr.grid_chips(20)[wrong]


@pytest.mark.parametrize("beyond", [24, -25])
def test_a_position_beyond_the_plan_is_an_error(beyond: int) -> None:
    plan = dataset().geoxr.grid_chips(20)[:24]
    with pytest.raises(IndexError, match="24 chips has none at position"):
        plan[[0, beyond]]


def test_parts_of_a_sum_keep_their_epoch() -> None:
    plan = dataset().geoxr.random_chips(10, 12, seed=4)
    first, second, third = (corners(plan.epoch(k)) for k in range(3))
    assert corners(plan + plan.epoch(1) + plan.epoch(2)) == first + second + third
    assert corners(plan.epoch(2) + plan.epoch(2)) == third + third
    assert corners((plan + plan.epoch(1)).epoch(1)) == second + third


def test_chips_drawn_as_a_batch_stay_one_when_a_plan_is_shuffled() -> None:
    plan = dataset().geoxr.random_batch_chips(10, 22, batch_size=4, spread=12, seed=1)
    number = {index: index // 4 for index in range(22)}
    for seed in range(5):
        shuffled = plan.shuffle(seed)
        assert shuffled.together == 4
        order = shuffled.indices(0, 22).tolist()
        assert sorted(order) == list(range(22))
        batches = [[number[i] for i in order[start : start + 4]] for start in range(0, 22, 4)]
        assert all(len(set(batch)) == 1 for batch in batches)
        assert [batch[0] for batch in batches] != list(range(6))


def test_plans_know_when_their_batches_are_broken_up() -> None:
    plan = dataset().geoxr.random_batch_chips(10, 22, batch_size=4, spread=12, seed=1)
    assert (plan[:20] + plan).together == 4
    assert (plan + plan).together == 1  # the 22nd and 23rd are far apart
    assert plan[[0, 9, 3]].together == 1
    assert plan[4:].together == 4
    assert plan[3:].together == 1
    assert replace(plan, together=1).shuffle(0).together == 1


def series(dates: int = 5) -> xr.Dataset:
    data = np.ones((dates, 1, *GRID.shape), "float32")
    times = np.datetime64("2020-01-01", "ns") + np.arange(dates) * np.timedelta64(30, "D")
    coords = {**coords_of(GRID), "time": times}
    return xr.Dataset({"image": (("time", "band", "y", "x"), data)}, coords=coords)


def test_chips_of_a_sum_have_as_many_dates_whichever_are_asked_for() -> None:
    ds = series()
    two, three = (ds.geoxr.random_chips(10, 6, steps=n, seed=n) for n in (2, 3))
    both = two + three
    assert [chip.times for chip in both] == [
        *[(*chip.times, -1) for chip in two], *[chip.times for chip in three]
    ]  # fmt: skip
    assert both[0].times == (*two[0].times, -1)
    assert (both[:3] + three[:1])[1].times == (*two[1].times, -1)


def test_chips_with_all_dates_and_chips_with_some_are_not_added() -> None:
    ds = series()
    every, some = ds.geoxr.grid_chips(30), ds.geoxr.grid_chips(30, steps=2)
    with pytest.raises(ArgumentError, match=r"all dates of the first: steps=ds\.sizes"):
        every + some
    assert len(every[:0] + some) == len(some)


def test_a_plan_for_dates_that_are_gone_is_told_before_anything_is_read() -> None:
    ds = series()
    plan = ds.geoxr.random_chips(10, 6, toi=("2020-03", "2020-05"))
    shorter = ds.isel(time=[0, 1])
    for use in (shorter.geoxr.to_torch, lambda p: next(shorter.geoxr.iter_chips(p))):
        with pytest.raises(GridError, match=r"of 2 dates\. It was made for another Dataset"):
            use(plan)
    with pytest.raises(GridError, match="of 0 dates"):
        dataset().geoxr.to_torch(plan)


def test_chips_that_need_one_grid_say_so_for_a_tree() -> None:
    tree = xr.DataTree.from_dict({"/scene": dataset()})
    with pytest.raises(ArgumentError, match="Plan them on a node"):
        tree.geoxr.triplet_chips(10, 2, near=100, far=200)
    with pytest.raises(ArgumentError, match="Plan them on a node"):
        tree.geoxr.chips_around([GRID.extent.geom.centroid], 10)
    with pytest.raises(ArgumentError, match="Plan them on a node"):
        tree.geoxr.stratified_chips(10, 2, by="image")


def test_nonsense_about_plans_is_told() -> None:
    ds = dataset()
    plan = ds.geoxr.random_chips(10, 4)
    for wrong in (-1, 1.5, None):
        with pytest.raises(ArgumentError, match="whole numbers from 0 up"):
            plan.epoch(wrong)  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match="seed must be a whole number"):
            plan.shuffle(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unsupported operand"):
        plan + [1]  # type: ignore[operator]
    with pytest.raises(ArgumentError, match="Chips come from a plan"):
        ds.geoxr.to_torch([0, 1], batch_size=2)
    for share in ("half", None):
        with pytest.raises(ArgumentError, match="min_valid is a share"):
            ds.geoxr.random_chips(10, 4, min_valid=share)
    with pytest.raises(ArgumentError, match="are not all numbers"):
        ds.geoxr.random_chips(10, 4, aoi=(np.nan, 0, 1, 1))

import pickle
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

import geoxr as gx

Make = Callable[..., xr.Dataset]


@pytest.fixture
def twelve(masked: Make) -> xr.Dataset:
    """Twelve dates, ten days apart from 2020-01-01, all valid."""
    return masked(np.ones((12, 90, 130), bool))


def dates(plan: gx.ChipPlan) -> list[tuple[int, ...]]:
    return [chip.times for chip in plan]


@pytest.mark.parametrize(
    "toi",
    [("2020-01-21", "2020-03"), (None, "2020-02-10"), ("2020-04-05", None),
     (np.datetime64("2020-01-11"), np.datetime64("2020-02-20")), slice("2020-02", "2020-02")],
)  # fmt: skip
def test_an_interval_means_what_it_means_to_sel(twelve: xr.Dataset, toi: object) -> None:
    start, stop = (toi.start, toi.stop) if isinstance(toi, slice) else toi  # type: ignore[misc]
    expected = twelve.assign(n=("time", range(12))).sel(time=slice(start, stop))["n"].values
    for plan in (twelve.geoxr.grid_chips(40, toi=toi), twelve.geoxr.random_chips(40, 7, toi=toi)):
        assert set(dates(plan)) == {tuple(expected.tolist())}


def test_without_an_interval_chips_have_all_dates(twelve: xr.Dataset) -> None:
    assert set(dates(twelve.geoxr.grid_chips(40))) == {None}
    assert set(dates(twelve.geoxr.random_chips(40, 5))) == {None}


def test_random_chips_start_at_any_date_they_fit(twelve: xr.Dataset) -> None:
    plan = twelve.geoxr.random_chips(16, 3000, steps=3, toi=("2020-01-11", None), seed=1)
    assert {len(one) for one in dates(plan)} == {3}
    starts = np.array([one[0] for one in dates(plan)])
    assert all(one == (one[0], one[0] + 1, one[0] + 2) for one in dates(plan))
    counts = np.bincount(starts, minlength=12)
    assert not counts[0] and not counts[10:].any()
    expected = 3000 / 9
    assert ((counts[1:10] - expected) ** 2 / expected).sum() < 30  # 8 degrees of freedom
    assert dates(pickle.loads(pickle.dumps(plan.epoch(2)))) == dates(plan.epoch(2)) != dates(plan)


def test_dates_of_a_grid_do_not_overlap_and_cover_all(twelve: xr.Dataset) -> None:
    windows = 3 * 4
    plan = twelve.geoxr.grid_chips(40, steps=5)  # 12 dates: the last window is shifted back
    assert len(plan) == 3 * windows
    assert sorted(set(dates(plan))) == [(0, 1, 2, 3, 4), (5, 6, 7, 8, 9), (7, 8, 9, 10, 11)]
    assert [chip.window for chip in plan[:windows]] == [
        chip.window for chip in plan[windows : 2 * windows]
    ]
    assert {chip.times for chip in plan[:windows]} == {(0, 1, 2, 3, 4)}
    dropped = twelve.geoxr.grid_chips(40, steps=5, edge="drop")
    assert sorted(set(dates(dropped))) == [(0, 1, 2, 3, 4), (5, 6, 7, 8, 9)]
    padded = twelve.geoxr.grid_chips(40, steps=5, edge="pad")
    assert sorted(set(dates(padded)))[-1] == (10, 11, -1, -1, -1)
    sliding = twelve.geoxr.grid_chips(40, steps=4, time_stride=2, toi=("2020-01", "2020-02"))
    assert sorted(set(dates(sliding))) == [(0, 1, 2, 3), (2, 3, 4, 5)]


def test_areas_and_dates_go_together(twelve: xr.Dataset) -> None:
    box = (500_000, 5_199_600, 500_400, 5_200_000)
    plan = twelve.geoxr.grid_chips(20, steps=6, aoi=box)
    assert len(plan) == 4 * 2
    assert dates(plan) == [(0, 1, 2, 3, 4, 5)] * 4 + [(6, 7, 8, 9, 10, 11)] * 4


def test_dates_out_of_order_follow_each_other_in_time(twelve: xr.Dataset) -> None:
    mixed = twelve.isel(time=[3, 0, 2, 1])
    plan = mixed.geoxr.grid_chips(40, steps=2)
    assert sorted(set(dates(plan))) == [(1, 3), (2, 0)]


@pytest.mark.parametrize("verb", ["grid", "random", "batch"])
def test_ragged_chips_have_the_dates_on_which_they_show_something(masked: Make, verb: str) -> None:
    rng = np.random.default_rng(0)
    valid = np.kron(rng.random((6, 3, 4)) < 0.5, np.ones((30, 33), bool)).astype(bool)[:, :, :130]
    valid[:, 60:, 99:] = False  # nothing at all
    ds = masked(valid)
    if verb == "grid":
        plan = ds.geoxr.grid_chips(16, ragged=True)
    elif verb == "random":
        plan = ds.geoxr.random_chips(16, 200, ragged=True, seed=1)
    else:
        plan = ds.geoxr.random_batch_chips(16, 200, batch_size=8, ragged=True, seed=1)
    longest = 0
    for chip in plan:
        rows, cols = chip.window.slices
        shows = valid[:, rows, cols].any(axis=(1, 2))
        real = [date for date in chip.times if date >= 0]
        assert real == np.flatnonzero(shows).tolist()
        assert chip.times == (*real, *[-1] * (len(chip.times) - len(real)))
        assert real
        longest = max(longest, len(real))
    assert {len(chip.times) for chip in plan} == {longest}
    if verb == "grid":
        shown = [c for c in ds.geoxr.grid_chips(16) if valid[:, *c.window.slices].any()]
        assert {chip.window for chip in plan} == {chip.window for chip in shown}


def test_min_valid_counts_the_dates_of_the_chip(masked: Make) -> None:
    valid = np.zeros((4, 90, 130), bool)
    valid[:2] = True  # all of the first two dates
    ds = masked(valid)
    assert len(ds.geoxr.grid_chips(30, min_valid=0.5)) == 15
    with pytest.raises(gx.errors.ChipError, match=r"The best has 50\.0%"):
        ds.geoxr.grid_chips(30, min_valid=0.6)
    plan = ds.geoxr.grid_chips(30, steps=1, min_valid=0.6)
    assert set(dates(plan)) == {(0,), (1,)}
    plan = ds.geoxr.random_chips(30, 50, steps=2, min_valid=0.9)
    assert set(dates(plan)) == {(0, 1)}
    assert len(ds.geoxr.grid_chips(30, min_valid=0.9, ragged=True)) == 15


def test_chips_of_a_batch_have_the_same_dates(twelve: xr.Dataset) -> None:
    plan = twelve.geoxr.random_batch_chips(16, 90, batch_size=10, steps=3)
    batches = [set(dates(plan[at : at + 10])) for at in range(0, 90, 10)]
    assert {len(batch) for batch in batches} == {1}
    assert len(set.union(*batches)) > 3


def test_dates_that_are_not_there_are_told(twelve: xr.Dataset, whole: Make) -> None:
    for chips in (
        lambda ds, **options: ds.geoxr.grid_chips(16, **options),
        lambda ds, **options: ds.geoxr.random_chips(16, 5, **options),
        lambda ds, **options: ds.geoxr.random_batch_chips(16, 5, batch_size=2, **options),
    ):
        with pytest.raises(
            gx.errors.NoOverlapError,
            match=r"12 dates from 2020-01-01 to 2020-04-20 \(2020-01-01, 2020",
        ):
            chips(twelve, toi=("2021", "2022"))
        with pytest.raises(gx.errors.NoOverlapError, match="there are 2020-01-01, 2020-01-11"):
            chips(twelve.isel(time=[0, 1]), toi=("2020-01-02", "2020-01-03"))
        with pytest.raises(gx.errors.ChipError, match=r"13 dates do not fit into the 12 dates\."):
            chips(twelve, steps=13)
        with pytest.raises(gx.errors.ChipError, match=r"into the 2 dates in toi = \('2020-02'"):
            chips(twelve, steps=4, toi=("2020-02", "2020-02"))
        for options in ({"toi": ("2020", "2021")}, {"steps": 1}, {"ragged": True}):
            with pytest.raises(
                gx.errors.ArgumentError, match=f"{next(iter(options))} asks for dates, but"
            ):
                chips(whole(), **options)
        with pytest.raises(gx.errors.ArgumentError, match="steps must be a positive number"):
            chips(twelve, steps=0)
        for toi in ("2020", (1, 2), ("yesterday", "today"), 5, ("2020", "2021", "2022")):
            with pytest.raises(gx.errors.ArgumentError, match=r"toi must be \(start, stop\)"):
                chips(twelve, toi=toi)

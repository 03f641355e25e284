import pickle
from collections.abc import Callable

import numpy as np
import pytest
import shapely
import xarray as xr

import geoxr as gx

Make = Callable[..., xr.Dataset]
Corners = Callable[[gx.ChipPlan], np.ndarray]
Check = Callable[[np.ndarray, np.ndarray], None]


def test_chips_of_a_batch_lie_in_one_square(whole: Make, corners_of: Corners) -> None:
    plan = whole().geoxr.random_batch_chips(8, 330, batch_size=32, spread=20, seed=2)
    assert (len(plan), plan.together) == (330, 32)
    corners = corners_of(plan)
    batches = [corners[at : at + 32] for at in range(0, 330, 32)]
    assert all((np.ptp(batch, axis=0) < 20).all() for batch in batches)
    # All lie on one lattice of squares, from an origin that moves with the epoch.
    shifts = []
    for epoch in (0, 1, 2):
        corners = corners_of(plan.epoch(epoch))
        fits = [
            (row, col) for row in range(20) for col in range(20)
            if all(np.ptp((corners[at : at + 32] + (row, col)) // 20, axis=0).max() == 0
                   for at in range(0, 330, 32))
        ]  # fmt: skip
        shifts.append(fits)
        assert fits
    assert not set(shifts[0]) & set(shifts[1]) & set(shifts[2])


@pytest.mark.parametrize("spread", [3, 7, 500])
def test_every_chip_is_uniform_over_all_places(
    spread: int, whole: Make, corners_of: Corners, check_uniform: Check
) -> None:
    """The second chips of batches are independent of each other, and so are the last ones."""
    area = shapely.Polygon(
        [(500_000, 5_200_000), (500_300, 5_200_000), (500_300, 5_199_800), (500_150, 5_199_800),
         (500_150, 5_199_600), (500_000, 5_199_600)]
    )  # fmt: skip
    legal = np.zeros((90, 130))
    for row in range(90):
        for col in range(130):
            chip = shapely.box(col * 10, -row * 10 - 120, col * 10 + 120, -row * 10)
            moved = shapely.transform(chip, lambda xy: xy + [500_000, 5_200_000])
            legal[row, col] = area.covers(moved)
    batches = int(legal.sum()) * 25
    plan = whole().geoxr.random_batch_chips(
        12, batches * 3, batch_size=3, spread=spread, aoi=area, seed=1
    )
    corners = corners_of(plan)
    for member in range(3):
        check_uniform(corners[member::3], legal)


def test_over_many_epochs_every_place_is_as_likely(
    whole: Make, corners_of: Corners, check_uniform: Check
) -> None:
    plan = whole().geoxr.random_batch_chips((85, 120), 2, batch_size=2, spread=4, seed=0)
    last = np.concatenate([corners_of(plan.epoch(k))[1:] for k in range(2000)])
    check_uniform(last, np.ones((6, 11)))


def test_one_seed_fixes_all_batches(whole: Make, corners_of: Corners) -> None:
    plan = whole().geoxr.random_batch_chips(8, 60, batch_size=20, seed=3)
    again = pickle.loads(
        pickle.dumps(whole().geoxr.random_batch_chips(8, 60, batch_size=20, seed=3))
    )
    np.testing.assert_array_equal(corners_of(plan), corners_of(again))
    np.testing.assert_array_equal(corners_of(plan.epoch(4)), corners_of(again.epoch(4)))
    np.testing.assert_array_equal(corners_of(plan.epoch(0)), corners_of(plan))
    assert (corners_of(plan.epoch(1)) != corners_of(plan)).any()
    assert len(pickle.dumps(plan)) < 4000


def test_shuffling_keeps_batches_together(whole: Make, corners_of: Corners) -> None:
    plan = whole().geoxr.random_batch_chips(8, 100, batch_size=20, spread=16)
    shuffled = plan.shuffle(1)
    assert shuffled.together == 20
    firsts = [chip.index for chip in shuffled][::20]
    assert sorted(firsts) == [0, 20, 40, 60, 80] != firsts
    assert plan[20:60].together == 20
    assert plan[5:60].together == plan[::2].together == 1


def test_spread_may_be_in_units_of_the_crs(whole: Make, corners_of: Corners) -> None:
    plan = whole().geoxr.random_batch_chips(80, 64, batch_size=32, spread=200, units="crs")
    assert plan.size == (8, 8)
    assert (np.ptp(corners_of(plan).reshape(2, 32, 2), axis=1) < 20).all()
    default = whole().geoxr.random_batch_chips(8, 640, batch_size=32)
    assert np.ptp(corners_of(default).reshape(20, 32, 2), axis=1).max() in range(24, 32)


def test_min_valid_holds_for_all_chips_of_a_batch(masked: Make) -> None:
    valid = np.ones((90, 130), bool)
    valid[:, 60:63] = False
    plan = masked(valid).geoxr.random_batch_chips(20, 96, batch_size=32, spread=30, min_valid=1.0)
    assert all(valid[chip.window.slices].all() for chip in plan)


def test_nonsense_is_told(whole: Make) -> None:
    chips = whole().geoxr.random_batch_chips
    with pytest.raises(gx.errors.ArgumentError, match="batch_size must be a positive"):
        chips(8, 10, batch_size=0)
    for spread in (0, -3, float("nan"), float("inf")):
        with pytest.raises(gx.errors.ChipError, match="spread is the side of the square"):
            chips(8, 10, batch_size=2, spread=spread)
    with pytest.raises(gx.errors.ChipError, match=r"spread .* not 3 metres"):
        chips(80, 10, batch_size=2, spread=3, units="crs")
    with pytest.raises(gx.errors.ChipError, match="roomiest part of it is 5 x 5 pixels"):
        chips(8, 10, batch_size=2, aoi=shapely.box(500_000, 5_199_950, 500_050, 5_200_000))


@pytest.mark.parametrize("spread", ["a", True, [64]])
def test_a_spread_is_a_number(whole: Make, spread: object) -> None:
    with pytest.raises(gx.errors.ArgumentError, match="spread is a number of pixels or CRS units"):
        whole().geoxr.random_batch_chips(16, 8, batch_size=4, spread=spread)

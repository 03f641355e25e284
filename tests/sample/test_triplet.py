"""Triplets: an anchor, a neighbour within near, a distant chip beyond far."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.grid.coords import coords_of

GRID = GeoBox((90, 130), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")
TURNED = GeoBox(
    (90, 130), Affine.translation(500_000, 5_200_000) @ Affine.rotation(25) @ Affine.scale(8, -15),
    "EPSG:32633",
)  # fmt: skip


def dataset(geobox: GeoBox = GRID) -> xr.Dataset:
    data = np.zeros((1, *geobox.shape), "uint8")
    return xr.Dataset({"image": (("band", "y", "x"), data)}, coords=coords_of(geobox))


def corners(plan: gx.ChipPlan) -> np.ndarray:
    """(triplet, 3, 2)"""
    return plan.spots(plan.indices(0, len(plan))).corners.reshape(-1, 3, 2)


def distances(plan: gx.ChipPlan) -> np.ndarray:
    """From the anchor to the other two (triplet, 2), of the centres of the outlines."""
    middles = plan.to_geodataframe().geometry.centroid
    xy = np.stack([middles.x, middles.y], axis=1).reshape(-1, 3, 2)
    return np.hypot(*np.moveaxis(xy[:, 1:] - xy[:, :1], 2, 0))


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([GRID, TURNED]), st.integers(0, 1000), st.integers(1, 30),
    st.floats(15, 200), st.floats(200, 500),
)  # fmt: skip
def test_neighbours_are_near_and_strangers_far(
    geobox: GeoBox, seed: int, size: int, near: float, far: float
) -> None:
    plan = dataset(geobox).geoxr.triplet_chips(size, 20, near=near, far=far, seed=seed)
    assert len(plan) == 20
    assert plan.group == 3
    apart = distances(plan)
    assert (apart[:, 0] <= near * (1 + 1e-9)).all()
    assert (apart[:, 0] > 0).all()
    assert (apart[:, 1] > far * (1 - 1e-9)).all()
    found = corners(plan)
    assert ((found >= 0) & (found + size <= geobox.shape)).all()


def test_neighbours_are_uniform_in_the_disc() -> None:
    area = shapely.box(500_600, 5_199_500, 500_610, 5_199_510).union(
        shapely.box(500_000, 5_199_100, 501_300, 5_200_000)
    )
    plan = dataset().geoxr.triplet_chips(1, 20_000, near=30, far=400, aoi=area, seed=0)
    found = corners(plan)
    middle = ((found[:, 0] > 4) & (found[:, 0] < (85, 125))).all(axis=1)
    steps = (found[:, 1] - found[:, 0])[middle]
    seen = np.histogram2d(steps[:, 0], steps[:, 1], bins=[np.arange(-3.5, 4)] * 2)[0]
    rows, cols = np.mgrid[-3:4, -3:4]
    disc = (np.hypot(rows, cols) <= 3) & ((rows != 0) | (cols != 0))
    assert disc.sum() == 28
    assert (seen[~disc] == 0).all()
    expected = len(steps) / 28
    assert ((seen[disc] - expected) ** 2 / expected).sum() < 55.5  # 27 degrees of freedom, 0.1 %


def test_neighbours_on_a_turned_grid_are_all_places_within_near() -> None:
    plan = dataset(TURNED).geoxr.triplet_chips(1, 6000, near=40, far=400, seed=0)
    found = corners(plan)
    middle = ((found[:, 0] > 6) & (found[:, 0] < (83, 123))).all(axis=1)
    seen, counts = np.unique((found[:, 1] - found[:, 0])[middle], axis=0, return_counts=True)
    rows, cols = (axis.ravel() for axis in np.mgrid[-9:10, -9:10])
    within = (np.hypot(15 * rows, 8 * cols) <= 40) & ((rows != 0) | (cols != 0))
    assert {tuple(step) for step in seen} == set(zip(rows[within], cols[within], strict=True))
    expected = middle.sum() / within.sum()
    assert ((counts - expected) ** 2 / expected).sum() < 75  # 42 degrees of freedom, 0.1 %


def test_anchors_and_strangers_are_uniform_where_they_may_be() -> None:
    plan = dataset().geoxr.triplet_chips((81, 121), 8000, near=20, far=20, seed=1)
    found = corners(plan)
    seen = np.histogram2d(found[:, 0, 0], found[:, 0, 1], bins=[range(11)] * 2)[0]
    assert ((seen - 80) ** 2 / 80).sum() < 149  # 99 degrees of freedom, 0.1 %
    mine = found[(found[:, 0] == (5, 5)).all(axis=1), 2]
    assert np.hypot(*(mine - 5).T).min() > 2
    many = dataset().geoxr.triplet_chips((89, 121), 8000, near=20, far=70, seed=1)
    found = corners(many)
    # Of 2 x 10 places those in columns 3 to 6 have none that is further than seven columns.
    assert set(np.unique(found[:, 0, 1])) <= {0, 1, 2, 7, 8, 9}
    strangers = found[(found[:, 0] == (0, 0)).all(axis=1), 2]
    assert {tuple(place) for place in strangers} == {(1, 7), (0, 8), (1, 8), (0, 9), (1, 9)}


def test_one_seed_fixes_the_draws_and_epochs_differ() -> None:
    ds = dataset()
    plan, again = (ds.geoxr.triplet_chips(16, 30, near=50, far=300, seed=7) for _ in range(2))
    np.testing.assert_array_equal(corners(plan), corners(again))
    np.testing.assert_array_equal(corners(pickle.loads(pickle.dumps(plan))), corners(plan))
    np.testing.assert_array_equal(corners(plan.epoch(2)), corners(again.epoch(2)))
    assert (corners(plan) != corners(plan.epoch(1))).any()
    area = shapely.Polygon([(5e5, 5.2e6), (501_300, 5_199_700), (501_000, 5_199_100)])
    inside = ds.geoxr.triplet_chips(8, 30, near=50, far=300, aoi=area)
    assert inside.to_geodataframe().within(area.buffer(1e-3)).all()
    dated = ds.expand_dims(time=np.array(["2020-01-01", "2021-01-01"], "datetime64[ns]"))
    late = dated.geoxr.triplet_chips(8, 3, near=50, far=300, toi=("2021", "2021"))
    assert {chip.times for three in late for chip in three} == {(1,)}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"far": 1500}, gx.errors.ChipError, r"further than far = 1500 from another: at most 1\d+"),
        ({"near": 5}, gx.errors.ArgumentError, "near must be a pixel"),
        ({"near": 300, "far": 200}, gx.errors.ArgumentError, "far not below it"),
        ({"near": -1}, gx.errors.ArgumentError, "near must be a pixel"),
        ({"far": float("nan")}, gx.errors.ArgumentError, "near must be a pixel"),
        ({"length": 0}, gx.errors.ArgumentError, "length must be"),
        ({"seed": -1}, gx.errors.ArgumentError, "seed must be"),
    ],
)
def test_nonsense_is_told(options: dict, error: type, message: str) -> None:
    arguments = {"near": 50, "far": 300, "size": 8, "length": 5} | options
    with pytest.raises(error, match=message):
        dataset().geoxr.triplet_chips(arguments.pop("size"), arguments.pop("length"), **arguments)


def test_far_that_only_the_bounds_of_an_area_reach_says_so() -> None:
    cross = shapely.box(500_000, 5_199_940, 500_100, 5_199_950) | shapely.box(
        500_050, 5_199_900, 500_060, 5_200_000
    )  # 90 from end to end, and 127 from corner to corner of its bounds
    with pytest.raises(gx.errors.ChipError, match=r"Only 0 of 3 triplets .* further than far"):
        dataset().geoxr.triplet_chips(1, 3, near=10, far=95, aoi=cross)

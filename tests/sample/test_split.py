"""Splits: chips of two of them never share or touch a pixel, and shares are met by area."""

from __future__ import annotations

import itertools
from pathlib import Path

import geopandas
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
from geoxr.testing import write_geotiff

GRID = GeoBox((90, 130), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")
TURNED = GeoBox(
    (90, 130), Affine.translation(500_000, 5_200_000) @ Affine.rotation(25) @ Affine.scale(10, -10),
    "EPSG:32633",
)  # fmt: skip
ODD = GeoBox((90, 130), Affine(7.3, 0, 499_999.1, 0, -12.7, 5_200_003.9), "EPSG:32633")
DEGREES = GeoBox((90, 130), Affine(1e-4 / 3, 0, 15.1, 0, -1e-4 / 3, 47.2), "EPSG:4326")
LARGE = GeoBox((1200, 1200), GRID.affine, GRID.crs)
GRIDS = {"north up": GRID, "turned": TURNED, "odd": ODD, "degrees": DEGREES}


def dataset(geobox: GeoBox = GRID) -> xr.Dataset:
    data = np.zeros((1, *geobox.shape), "uint8")
    return xr.Dataset({"image": (("band", "y", "x"), data)}, coords=coords_of(geobox))


def seen(plan: gx.ChipPlan) -> np.ndarray:
    pixels = np.zeros(plan.geobox.shape, bool)
    for chip in plan.chips():
        pixels[chip.window.slices] = True
    return pixels


def grown(pixels: np.ndarray) -> np.ndarray:
    """Pixels and their eight neighbours."""
    padded = np.pad(pixels, 1)
    height, width = pixels.shape
    shifts = itertools.product(range(3), range(3))
    return np.logical_or.reduce([padded[r : r + height, c : c + width] for r, c in shifts])


def chips_of(ds: xr.Dataset, area: geopandas.GeoSeries, size: int, seed: int) -> np.ndarray:
    """All that grids (shifted at edges) and draws of chips see of an area."""
    pixels = np.zeros(ds.geoxr.geobox.shape, bool)
    plans = (
        lambda: ds.geoxr.grid_chips(size, stride=max(size - 1, 1), aoi=area, edge="shift"),
        lambda: ds.geoxr.random_chips(size, 60, aoi=area, seed=seed),
        lambda: ds.geoxr.random_batch_chips(size, 60, batch_size=8, aoi=area, seed=seed),
    )
    for plan in plans:
        try:
            pixels |= seen(plan())
        except gx.errors.ChipError:  # no chip fits into the area
            continue
    return pixels


def assert_apart(ds: xr.Dataset, areas, size: int, seed: int) -> None:
    masks = [chips_of(ds, area, size, seed) for area in areas]
    for first, second in itertools.combinations(masks, 2):
        assert not (grown(first) & second).any()


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(sorted(GRIDS)), st.integers(0, 10_000), st.floats(9, 25), st.floats(0, 6),
    st.booleans(), st.integers(1, 7),
)  # fmt: skip
def test_chips_of_splits_never_share_or_touch_a_pixel(
    grid: str, seed: int, block: float, gap: float, whole: bool, size: int
) -> None:
    ds = dataset(GRIDS[grid])
    pixel = max(ds.geoxr.resolution)
    block = round(block) * pixel if whole else block * pixel  # borders on pixel edges, and not
    gap = 0.0 if whole else gap * pixel
    areas = gx.split_blocks(ds, (0.6, 0.2, 0.2), block=block, gap=gap, seed=seed)
    for first, second in itertools.combinations(areas, 2):
        assert first.union_all().distance(second.union_all()) >= max(gap, 1e-3 * pixel) * 0.999999
    assert_apart(ds, areas, size, seed)


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(sorted(GRIDS)), st.integers(0, 10_000), st.integers(2, 6), st.floats(0, 8))
def test_folds_are_complete_and_keep_training_away(
    grid: str, seed: int, k: int, gap: float
) -> None:
    ds = dataset(GRIDS[grid])
    pixel = max(ds.geoxr.resolution)
    folds = gx.k_fold_blocks(ds, k, block=12 * pixel, gap=gap * pixel, seed=seed)
    assert len(folds) == k
    left_out = [val.union_all() for _, val in folds]
    whole = ds.geoxr.footprint
    assert sum(shape.area for shape in left_out) == pytest.approx(whole.area)
    assert shapely.union_all(left_out).area == pytest.approx(whole.area)
    np.testing.assert_allclose([s.area / whole.area for s in left_out], 1 / k, atol=0.02)
    for train, val in folds:
        assert train.union_all().distance(val.union_all()) >= gap * pixel * 0.999999
        assert_apart(ds, (train, val), 5, seed)


@pytest.mark.parametrize("gap", [0, 40])
def test_fractions_hold_for_what_the_gaps_leave(gap: float) -> None:
    wanted = (0.7, 0.2, 0.1)
    for seed in range(3):
        areas = gx.split_blocks(dataset(), wanted, block=60, gap=gap, seed=seed)
        held = np.array([float(area.area.sum()) for area in areas])
        np.testing.assert_allclose(held / held.sum(), wanted, atol=0.02)


def test_one_seed_gives_one_split() -> None:
    first, again, other = (
        gx.split_blocks(dataset(), (0.5, 0.5), block=100, seed=seed)[0] for seed in (1, 1, 2)
    )
    assert first.geom_equals(again).all()
    assert not first.geom_equals(other).any()


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ((0.5, 0.4), r"add up to 0\.9"),
        ((1.5, -0.5), "must be positive, one for each split"),
        ((), "must be positive, one for each split"),
        (("a", "b"), "must be numbers"),
        ((0.5, float("nan")), "must be positive"),
    ],
)
def test_fractions_that_make_no_sense_say_so(fractions: tuple, message: str) -> None:
    with pytest.raises(gx.errors.ArgumentError, match=message):
        gx.split_blocks(dataset(), fractions, block=100)


def test_blocks_that_make_no_sense_say_so() -> None:
    ds = dataset()
    with pytest.raises(gx.errors.ArgumentError, match="block must be a length"):
        gx.split_blocks(ds, (0.5, 0.5), block=-1)
    with pytest.raises(gx.errors.ArgumentError, match=r"smaller than the blocks \(100\)"):
        gx.split_blocks(ds, (0.5, 0.5), block=100, gap=100)
    with pytest.raises(gx.errors.ArgumentError, match="k must be a whole number of folds"):
        gx.k_fold_blocks(ds, 1, block=100)
    with pytest.raises(gx.errors.NoOverlapError, match="too few for 200 splits"):
        gx.k_fold_blocks(ds, 200, block=100)
    with pytest.raises(gx.errors.NoOverlapError, match="leaves nothing of split"):
        gx.split_blocks(ds, (0.5, 0.5), block=1290, gap=100)
    with pytest.raises(gx.errors.ArgumentError, match="make more than 1,000,000 pieces"):
        gx.split_blocks(dataset(LARGE), (0.5, 0.5), block=10)


@pytest.mark.parametrize("seed", [-1, 0.5, "one"])
def test_a_seed_that_is_none_says_so(seed) -> None:
    for split in (gx.split_blocks, lambda *a, **k: gx.k_fold_blocks(a[0], 2, **k)):
        with pytest.raises(gx.errors.ArgumentError, match="seed must be"):
            split(dataset(), (0.5, 0.5), block=100, seed=seed)


def test_validation_is_what_training_lacks() -> None:
    (train, val), *_ = gx.k_fold_blocks(dataset(), 3, block=100, gap=0, seed=0)
    area = float(train.area.sum() + val.area.sum())
    assert area == pytest.approx(900 * 1300, rel=1e-3)


# Scenes


def write_scenes(folder: Path, places: list[tuple[int, int]], side: int = 40) -> list[Path]:
    return [
        write_geotiff(
            folder / f"scene{i}.tif", np.full((side, side), i + 1, "uint8"), crs=32633,
            transform=Affine(10, 0, 500_000 + 10 * col, 0, -10, 5_200_000 - 10 * row),
        )
        for i, (row, col) in enumerate(places)
    ]  # fmt: skip


#: A sheet of scenes that overlap their neighbours by a tenth of their side.
SHEET = [(row, col) for row in range(0, 144, 36) for col in range(0, 180, 36)]


def test_scenes_of_different_splits_share_no_pixel(tmp_path: Path) -> None:
    paths = write_scenes(tmp_path, SHEET)
    ds = gx.merge({"image": gx.open_raster(paths)})
    areas = gx.split_scenes(ds, (0.6, 0.4), seed=1)
    catalog = gx.Catalog.scan(paths)
    same = gx.split_scenes(catalog, (0.6, 0.4), like=ds, seed=1)
    for area, other in zip(areas, same, strict=True):
        assert area.crs.to_epsg() == 32633
        assert area.union_all().symmetric_difference(other.union_all()).area < 1e-3
        assert [str(paths[i]) for i in other.index] == list(area.index)
    assert sorted([*same[0].index, *same[1].index]) == list(range(20))
    assert_apart(ds, areas, 6, 0)
    # What two splits have in common is in neither of them.
    owner = np.zeros(len(SHEET), int)
    owner[same[1].index] = 1
    held = np.zeros((2, *ds.geoxr.geobox.shape), bool)
    for (row, col), split in zip(SHEET, owner, strict=True):
        held[split, row : row + 40, col : col + 40] = True
    for split, area in enumerate(areas):
        inside = seen(ds.geoxr.grid_chips(1, aoi=area))
        assert not (inside & held[1 - split]).any()
        assert (inside == held[split])[~grown(held[1 - split])].all()


def test_scenes_of_several_dates_stay_together(tmp_path: Path) -> None:
    places = [(0, 0), (0, 100), (100, 0), (100, 100)]
    paths = write_scenes(tmp_path, [(r + d, c + d) for d in range(3) for r, c in places])
    train, test = gx.split_scenes(gx.Catalog.scan(paths), (0.5, 0.5), seed=0)
    assert {i % 4 for i in train.index} & {i % 4 for i in test.index} == set()
    assert sorted([*train.index, *test.index]) == list(range(12))
    assert train.crs.to_epsg() == 32633
    held = np.array([train.union_all().area, test.union_all().area])
    np.testing.assert_allclose(held / held.sum(), 0.5, atol=0.01)
    with pytest.raises(gx.errors.NoOverlapError, match="make 4 groups"):
        gx.split_scenes(gx.Catalog.scan(paths), [0.2] * 5)


def test_tables_of_scenes_in_any_crs_fit_the_grid(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"name": list("abcd")},
        geometry=[shapely.box(500_000 + 325 * i, 5_199_100, 500_325 + 325 * i, 5_200_000)
                  for i in range(4)],
        crs=32633,
        index=list("abcd"),
    )  # fmt: skip
    ds = dataset()
    areas = gx.split_scenes(frame.to_crs(3035), (0.5, 0.5), like=ds, seed=0)
    assert areas[0].crs.to_epsg() == 32633
    assert sorted([*areas[0].index, *areas[1].index]) == list("abcd")
    assert_apart(ds, areas, 5, 0)
    plain = gx.split_scenes(frame, (0.5, 0.5), seed=0)
    assert_apart(ds, plain, 5, 0)
    both = gx.Catalog.scan(
        [
            *write_scenes(tmp_path, [(0, 0)]),
            write_geotiff(
                tmp_path / "other.tif", np.ones((40, 40), "uint8"), crs=32634,
                transform=Affine(10, 0, 300_000, 0, -10, 5_200_000),
            ),
        ]
    )  # fmt: skip
    assert gx.split_scenes(both, (0.5, 0.5))[0].crs.to_epsg() == 4326


def test_scenes_that_are_none_say_so() -> None:
    with pytest.raises(gx.errors.NoOverlapError, match="not opened from several scenes"):
        gx.split_scenes(dataset(), (0.5, 0.5))
    with pytest.raises(gx.errors.ArgumentError, match="by is 'mask', but the layers are image"):
        gx.split_scenes(dataset(), (0.5, 0.5), by="mask")
    with pytest.raises(gx.errors.ArgumentError, match="not list"):
        gx.split_scenes([], (0.5, 0.5))  # type: ignore[arg-type]
    with pytest.raises(gx.errors.ArgumentError, match="together is a share"):
        gx.split_scenes(dataset(), (0.5, 0.5), together=2)
    far = geopandas.GeoSeries([shapely.box(0, 0, 1, 1)] * 2, crs=4326)
    with pytest.raises(gx.errors.NoOverlapError, match="None of the scenes meets"):
        gx.split_scenes(far, (0.5, 0.5), like=dataset())


# Areas


@pytest.mark.parametrize("grid", sorted(GRIDS))
@pytest.mark.parametrize("gap", [0, 3])
def test_own_areas_are_kept_apart(grid: str, gap: float) -> None:
    ds = dataset(GRIDS[grid])
    pixel = max(ds.geoxr.resolution)
    left, bottom, right, top = ds.geoxr.bounds
    x = left + 0.5 * (right - left)
    areas = gx.split_aoi(
        ds,
        {"train": (left, bottom, x, top), "test": shapely.box(x, bottom, right, top)},
        gap=gap * pixel,
    )
    assert list(areas) == ["train", "test"]
    distance = areas["train"].union_all().distance(areas["test"].union_all())
    assert distance == pytest.approx(max(gap, 1e-3) * pixel)
    assert_apart(ds, areas.values(), 5, 0)


def test_own_areas_that_overlap_beyond_repair_say_so() -> None:
    ds = dataset()
    left, top = 500_000, 5_200_000
    train = shapely.box(left, top - 900, left + 700, top)
    with pytest.raises(gx.errors.ArgumentError, match=r"share 11\.8% of 'test'"):
        gx.split_aoi(
            ds, {"train": train, "test": shapely.box(left + 620, top - 900, left + 1300, top)}
        )
    slightly = shapely.box(left + 698, top - 900, left + 1300, top)
    first, second = gx.split_aoi(ds, [train, geopandas.GeoSeries([slightly], crs=32633)])
    assert_apart(ds, (first, second), 5, 0)
    with pytest.raises(gx.errors.NoOverlapError, match=r"'area 1' .* does not meet the data"):
        gx.split_aoi(ds, [train, (0, 0, 1, 1)])
    with pytest.raises(gx.errors.NoOverlapError, match="leaves nothing of 'area 1'"):
        gx.split_aoi(ds, [train, (left + 700, top - 900, left + 720, top)], gap=50)
    with pytest.raises(gx.errors.ArgumentError, match="no areas"):
        gx.split_aoi(ds, {})
    with pytest.raises(gx.errors.ArgumentError, match="gap must be 0 or a distance"):
        gx.split_aoi(ds, [train], gap=-1)


# Dates


def series(number: int = 20) -> xr.Dataset:
    time = np.datetime64("2020-01-01", "ns") + np.arange(number) * np.timedelta64(16, "D")
    return xr.Dataset(coords={"time": time})


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 400), min_size=4, max_size=30), st.integers(1, 4), st.integers(0, 60),
    st.floats(0.05, 0.9),
)  # fmt: skip
def test_dates_of_splits_are_distinct_and_complete(
    days: list[int], number: int, gap: int, first: float
) -> None:
    time = np.datetime64("2020-01-01", "ns") + np.array(days) * np.timedelta64(1, "D")
    ds = xr.Dataset(coords={"time": time})
    rest = (1 - first) / max(number - 1, 1)
    shares = [first] + [rest] * (number - 1) if number > 1 else [1.0]
    try:
        parts = gx.split_time(ds, shares, gap=f"{gap}D")
    except gx.errors.NoOverlapError:
        return
    held = [(time >= start) & (time <= stop) for start, stop in parts]
    assert (np.sum(held, axis=0) <= 1).all()
    assert all(mask.any() for mask in held)
    for (_, stop), (start, _) in itertools.pairwise(parts):
        assert start > stop
        assert start - stop >= np.timedelta64(gap, "D")
    if gap == 0:
        assert (np.sum(held, axis=0) == 1).all()


def test_dates_split_by_number_and_by_date() -> None:
    ds = series()
    parts = gx.split_time(ds, (0.7, 0.2, 0.1))
    assert [ds.sel(time=slice(*part)).sizes["time"] for part in parts] == [14, 4, 2]
    before, after = gx.split_time(ds, ["2020-07-01"])
    assert before[1] < np.datetime64("2020-07-01") <= after[0]
    assert gx.split_time(ds, ["2020-07-01"], gap="40D")[1][0] - before[1] >= np.timedelta64(40, "D")
    middle = gx.split_time(series(10), (0.5, 0.01, 0.49))
    assert [series(10).sel(time=slice(*part)).sizes["time"] for part in middle] == [5, 1, 4]


@pytest.mark.parametrize(
    ("splits", "gap", "error", "message"),
    [
        ((0.5, 0.6), None, gx.errors.ArgumentError, r"add up to 1\.1"),
        (["2021-01-01", "2020-01-01"], None, gx.errors.ArgumentError, "must ascend"),
        (["next year"], None, gx.errors.ArgumentError, "no date"),
        (["1999-01-01"], None, gx.errors.NoOverlapError, "Split 0 has no date: there are 20"),
        (["2020-07-01"], "900D", gx.errors.NoOverlapError, "with a gap of 900D"),
        ((0.5, 0.5), "soon", gx.errors.ArgumentError, "length of time"),
        ((0.5, 0.5), "-3D", gx.errors.ArgumentError, "not be negative"),
        ([0.04] * 25, None, gx.errors.NoOverlapError, "20 dates are too few for 25 splits"),
        ("2020-07-01", None, gx.errors.ArgumentError, "splits must be fractions"),
    ],
)
def test_dates_that_make_no_sense_say_so(splits, gap, error, message) -> None:
    with pytest.raises(error, match=message):
        gx.split_time(series(), splits, gap=gap)


def test_a_dataset_without_dates_says_so() -> None:
    with pytest.raises(gx.errors.GridError, match="no dimension 'time'"):
        gx.split_time(dataset(), (0.5, 0.5))
    with pytest.raises(gx.errors.GridError, match="int64 labels, not dates"):
        gx.split_time(xr.Dataset(coords={"time": [2019, 2020]}), (0.5, 0.5))

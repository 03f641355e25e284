"""Chips by class: what is drawn follows the weights, and every chip holds the pixel it is for."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from pathlib import Path

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
from geoxr.sample import class_index as module
from geoxr.sample.class_index import class_index
from geoxr.sample.stratified import _holding
from geoxr.testing import write_geotiff

GRID = GeoBox((300, 400), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")


def labels() -> np.ndarray:
    """Much of 1, some of 5, a little of 9, one pixel of 200; 0 is nodata."""
    pixels = np.ones(GRID.shape, "uint8")
    pixels[50:120, 210:300] = 5
    pixels[200:206, 30:40] = 9
    pixels[280, 390] = 200
    pixels[:, 350:370] = 0
    return pixels


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_geotiff(
        tmp_path / "label.tif", labels(), crs=32633, transform=GRID.affine, nodata=0
    )


@pytest.fixture
def ds(path: Path) -> xr.Dataset:
    return gx.merge({"mask": gx.open_raster(path, kind="categorical").isel(band=0, drop=True)})


def chi_square(codes: np.ndarray, shares: dict[int, float]) -> float:
    seen = np.array([(codes == code).sum() for code in shares])
    assert seen.sum() == len(codes)
    expected = np.array(list(shares.values())) * len(codes)
    return float(((seen - expected) ** 2 / expected).sum())


def check_seeds(plan: gx.ChipPlan, pixels: np.ndarray, epoch: int = 0) -> np.ndarray:
    """Every chip lies in the grid and holds its pixel, which has its class; returns the classes."""
    seeds = plan.draw.seeds(epoch)
    corners = plan.draw.places(epoch).corners
    places = seeds[:, 1:]
    np.testing.assert_array_equal(pixels[places[:, 0], places[:, 1]], seeds[:, 0])
    assert ((corners >= 0) & (corners + plan.size <= pixels.shape)).all()
    assert ((corners <= places) & (places < corners + np.array(plan.size))).all()
    return seeds[:, 0]


def test_the_index_counts_every_valid_pixel_once(ds: xr.Dataset) -> None:
    index = class_index(ds)
    pixels = labels()
    assert index.totals() == {c: int((pixels == c).sum()) for c in (1, 5, 9, 200)}
    assert list(index.entries(200)[1]) == [1]
    assert len(index.entries(77)[0]) == 0
    for code in (1, 5, 9, 200):
        for cell, count in zip(*index.entries(code), strict=True):
            date, window = index.window(int(cell))
            assert date == 0
            assert (pixels[window.slices] == code).sum() == count


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 1000), st.sampled_from(["int16", "bool", "uint8", "int64"]),
    st.integers(100, 1300), st.integers(1, 1300),
)  # fmt: skip
def test_the_index_is_right_for_any_size_and_type(
    seed: int, dtype: str, height: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 2 if dtype == "bool" else 5, (height, width + 1)).astype(dtype)
    if dtype.startswith("int"):
        pixels = np.array([-7, 0, 3, 120, 30_000], dtype)[pixels.astype(int)]
    geobox = GeoBox(pixels.shape, GRID.affine, GRID.crs)
    ds = xr.Dataset({"mask": (("y", "x"), pixels)}, coords=coords_of(geobox))
    values, counts = np.unique(pixels, return_counts=True)
    assert class_index(ds).totals() == {int(v): int(n) for v, n in zip(values, counts, strict=True)}


def test_classes_follow_the_weights(ds: xr.Dataset) -> None:
    pixels = labels()
    even = ds.geoxr.stratified_chips(32, 4000, seed=1)
    # 99.9 % of draws stay below 16.3 with three degrees of freedom.
    assert chi_square(check_seeds(even, pixels), dict.fromkeys((1, 5, 9, 200), 0.25)) < 16.3
    natural = ds.geoxr.stratified_chips(32, 4000, weights="natural", seed=2)
    codes = check_seeds(natural, pixels)
    total = (pixels > 0).sum()
    shares = {c: (pixels == c).sum() / total for c in (1, 5)}
    shares[0] = 1 - sum(shares.values())
    assert chi_square(np.where(np.isin(codes, (1, 5)), codes, 0), shares) < 13.8
    own = ds.geoxr.stratified_chips(32, 4000, weights={9: 3, 5: 1}, seed=3)
    assert chi_square(check_seeds(own, pixels), {9: 0.75, 5: 0.25}) < 10.8


def test_pixels_of_a_class_and_places_in_the_chip_are_uniform(ds: xr.Dataset) -> None:
    plan = ds.geoxr.stratified_chips((8, 16), 6000, weights={9: 1}, seed=0)
    seeds = plan.draw.seeds(0)[:, 1:]
    seen = np.histogram2d(seeds[:, 0], seeds[:, 1], bins=[range(200, 207), range(30, 41)])[0]
    assert ((seen - 100) ** 2 / 100).sum() < 98  # 59 degrees of freedom, 0.1 %
    offset = seeds - plan.draw.places(0).corners
    seen = np.histogram2d(offset[:, 0], offset[:, 1], bins=[range(9), range(17)])[0]
    assert seen.shape == (8, 16)
    assert ((seen - 6000 / 128) ** 2 / (6000 / 128)).sum() < 181  # 127 degrees of freedom, 0.1 %


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 9), st.integers(1, 9))
def test_windows_that_hold_a_pixel_are_all_found(seed: int, high: int, wide: int) -> None:
    mine = np.random.default_rng(seed).random((7, 5)) < 0.1
    around = [(r, c) for r in range(-12, 20) for c in range(-12, 20)]
    wanted = {
        (r, c) for r, c in around
        if mine[max(r, 0) : max(r + high, 0), max(c, 0) : max(c + wide, 0)].any()
    }  # fmt: skip
    assert set(map(tuple, _holding(mine, (high, wide)).tolist())) == wanted


def test_one_pixel_of_a_class_is_found_in_area_and_corner(ds: xr.Dataset) -> None:
    for aoi in (None, (503_800, 5_197_000, 504_000, 5_197_400)):
        plan = ds.geoxr.stratified_chips(16, 20, weights={200: 1}, aoi=aoi)
        check_seeds(plan, labels())
    # One place is left for a chip with this pixel.
    tight = (503_800, 5_197_100, 503_960, 5_197_260)
    plan = ds.geoxr.stratified_chips(16, 3, weights={200: 1}, aoi=tight)
    assert {(chip.window.row, chip.window.col) for chip in plan} == {(274, 380)}
    hard = shapely.union_all(
        [shapely.box(*tight), shapely.box(503_000, 5_197_000, 504_000, 5_197_250)]
    )
    plan = ds.geoxr.stratified_chips((16, 16), 50, weights={200: 1}, aoi=hard)
    boxes = plan.to_geodataframe().geometry.to_numpy()
    assert shapely.covers(hard.buffer(1e-3), boxes).all()


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 60), st.integers(0, 10_000))
def test_chips_stay_in_the_area_and_hold_their_pixel(
    seed: int, high: int, wide: int, place: int
) -> None:
    pixels = labels()
    ds = xr.Dataset({"mask": (("y", "x"), pixels)}, coords=coords_of(GRID))
    rng = np.random.default_rng(place)
    x, y = 500_000 + rng.uniform(0, 4000, 6), 5_200_000 - rng.uniform(0, 3000, 6)
    area = shapely.MultiPoint(np.column_stack([x, y])).convex_hull
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes without room
        try:
            plan = ds.geoxr.stratified_chips((high, wide), 20, aoi=area, seed=seed)
        except gx.errors.ChipError:
            return
    check_seeds(plan, pixels)
    assert shapely.covers(area.buffer(1e-3), plan.to_geodataframe().geometry.to_numpy()).all()


def test_one_seed_fixes_the_draws_and_epochs_differ(ds: xr.Dataset) -> None:
    def corners(plan: gx.ChipPlan) -> list[tuple[int, int]]:
        return [(chip.window.row, chip.window.col) for chip in plan]

    plan, again = (ds.geoxr.stratified_chips(16, 50, seed=4) for _ in range(2))
    with gx.options.set(threads=1):
        alone = ds.geoxr.stratified_chips(16, 50, seed=4)
    copy = pickle.loads(pickle.dumps(plan))
    assert corners(plan) == corners(again) == corners(alone) == corners(copy)
    assert corners(plan.epoch(3)) == corners(copy.epoch(3)) != corners(plan)
    assert corners(plan) != corners(ds.geoxr.stratified_chips(16, 50, seed=5))
    check_seeds(plan, labels(), epoch=3)


def test_named_classes_are_drawn_by_name_and_others_are_none(ds: xr.Dataset) -> None:
    named = ds.assign(mask=ds["mask"].geoxr.write_classes({1: "grass", 5: "maize", 7: "rye"}))
    plan = named.geoxr.stratified_chips(16, 300)
    assert set(plan.draw.seeds(0)[:, 0]) == {1, 5}  # 9 and 200 are no classes
    plan = named.geoxr.stratified_chips(16, 30, weights={"maize": 1})
    assert set(plan.draw.seeds(0)[:, 0]) == {5}
    with pytest.raises(gx.errors.ClassesError, match=r"7 \(rye\) do not occur .* 1 \(grass\), 5"):
        named.geoxr.stratified_chips(16, 30, weights={"rye": 1, "grass": 1})
    with pytest.raises(gx.errors.ClassesError, match="names the class 'oats'"):
        named.geoxr.stratified_chips(16, 30, weights={"oats": 1})


def test_a_class_that_no_chip_can_hold_is_left_out_or_told(ds: xr.Dataset) -> None:
    area = (500_000, 5_197_300, 503_900, 5_200_000)  # all but the last columns
    beside = shapely.union_all(
        [shapely.box(*area), shapely.box(503_900, 5_197_190, 503_920, 5_197_210)]
    )
    with pytest.warns(UserWarning, match=r"pixel of the classes \[200\]"):
        plan = ds.geoxr.stratified_chips(16, 100, aoi=beside)
    assert set(plan.draw.seeds(0)[:, 0]) == {1, 5, 9}
    with pytest.raises(gx.errors.ChipError, match="holds a pixel of class 200 lies in the area"):
        ds.geoxr.stratified_chips(16, 100, aoi=beside, weights={200: 1, 1: 1})


def test_valid_enough_and_centred(ds: xr.Dataset) -> None:
    valid = labels() > 0
    plan = ds.geoxr.stratified_chips(64, 200, weights={1: 1}, min_valid=0.9)
    assert min(valid[chip.window.slices].mean() for chip in plan) > 0.8
    area = shapely.box(501_000, 5_198_000, 502_000, 5_199_000)
    plan = ds.geoxr.stratified_chips(64, 200, aoi=area, within="centre", weights="natural")
    middles = plan.to_geodataframe().centroid
    assert middles.within(area.buffer(1e-3)).all()
    assert not plan.to_geodataframe().within(area).all()
    # A class that no cell of the area holds, and chips centred in it do.
    beside = (502_200, 5_198_500, 502_800, 5_198_700)  # rows 130 to 150, below it
    plan = ds.geoxr.stratified_chips(64, 50, aoi=beside, within="centre", weights={5: 1})
    assert set(check_seeds(plan, labels())) == {5}


def test_the_index_is_stored_and_known_again(
    ds: xr.Dataset, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = tmp_path / "classes.npz"
    first = ds.geoxr.stratified_chips(16, 20, index=stored)
    reads = []
    monkeypatch.setattr(module, "_count", lambda *args: reads.append(args))
    module._built.clear()
    again = ds.geoxr.stratified_chips(16, 20, index=stored)
    assert [chip.window for chip in first] == [chip.window for chip in again]
    assert not reads
    monkeypatch.undo()
    changed = labels()
    changed[:10] = 5
    write_geotiff(path, changed, crs=32633, transform=GRID.affine, nodata=0)
    fresh = gx.merge({"mask": gx.open_raster(path, kind="categorical").isel(band=0, drop=True)})
    with pytest.warns(UserWarning, match="counted again"):
        index = class_index(fresh, path=stored)
    assert index.totals()[5] == (changed == 5).sum()
    assert class_index(fresh, path=stored).totals() == index.totals()
    other = tmp_path / "other.npz"
    other.write_bytes(b"something else")
    with pytest.raises(gx.errors.ArgumentError, match="is no class index"):
        class_index(fresh, path=other)


def test_the_token_of_labels_is_the_same_in_another_process(
    ds: xr.Dataset, path: Path, tmp_path: Path
) -> None:
    stored = tmp_path / "classes.npz"
    class_index(ds, path=stored)
    code = (
        "import sys, warnings; warnings.simplefilter('error'); import geoxr as gx\n"
        "layer = gx.open_raster(sys.argv[1], kind='categorical').isel(band=0, drop=True)\n"
        "print(gx.class_index(gx.merge({'mask': layer}), path=sys.argv[2]).totals()[5])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(stored)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == (labels() == 5).sum()


def test_labels_with_dates_give_chips_of_the_date_of_the_pixel() -> None:
    pixels = np.stack([np.full(GRID.shape, code, "uint8") for code in (1, 2, 3)])
    time = np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "datetime64[ns]")
    ds = xr.Dataset(
        {"mask": (("time", "y", "x"), pixels)}, coords={**coords_of(GRID), "time": time}
    )
    plan = ds.geoxr.stratified_chips(16, 60)
    for chip, (code, *_) in zip(plan, plan.draw.seeds(0), strict=True):
        assert chip.times == (code - 1,)
    late = ds.geoxr.stratified_chips(16, 60, toi=("2021", "2022"))
    assert set(late.draw.seeds(0)[:, 0]) == {2, 3}
    still = xr.Dataset({"mask": ds["mask"][0].drop_vars("time"), "image": ds["mask"]})
    plan = still.geoxr.stratified_chips(16, 5, toi=("2021-01-01", "2021-12-31"))
    assert {chip.times for chip in plan} == {(1,)}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"by": "label"}, gx.errors.ArgumentError, "by is 'label', but the layers are mask"),
        ({"weights": "even"}, gx.errors.ArgumentError, "weights is 'even'"),
        ({"weights": {1: -1}}, gx.errors.ArgumentError, "must not be negative"),
        ({"weights": {1: 0}}, gx.errors.ArgumentError, "one at least positive"),
        ({"weights": {77: 1}}, gx.errors.ClassesError, "77 do not occur"),
        ({"size": 301}, gx.errors.ChipError, "do not fit into a grid of 300 x 400"),
        ({"length": 0}, gx.errors.ArgumentError, "length must be"),
        ({"within": "here"}, gx.errors.ArgumentError, "within is 'here'"),
        ({"toi": ("2020", "2021")}, gx.errors.ArgumentError, "no dimension 'time'"),
        ({"aoi": (503_520, 5_198_000, 503_680, 5_199_000)}, gx.errors.ChipError, "No chip of"),
    ],
)
def test_nonsense_is_told(ds: xr.Dataset, options: dict, error: type, message: str) -> None:
    arguments = {"size": 16, "length": 5} | options
    with pytest.raises(error, match=message):
        ds.geoxr.stratified_chips(arguments.pop("size"), arguments.pop("length"), **arguments)


def test_an_image_is_no_label_raster() -> None:
    image = xr.Dataset({"mask": (("y", "x"), np.ones(GRID.shape))}, coords=coords_of(GRID))
    with pytest.raises(gx.errors.ClassesError, match="float64; class codes are whole numbers"):
        image.geoxr.stratified_chips(16, 5)
    many = np.arange(300 * 400, dtype="int32").reshape(GRID.shape)
    with pytest.raises(gx.errors.ClassesError, match="hardly a label raster"):
        image.assign(mask=(("y", "x"), many)).geoxr.stratified_chips(16, 5)
    two = image.assign(mask=(("band", "y", "x"), np.ones((2, *GRID.shape), "uint8")))
    with pytest.raises(gx.errors.ClassesError, match="has 2 bands"):
        two.geoxr.stratified_chips(16, 5)

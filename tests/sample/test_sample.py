import pickle
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
from geoxr.testing import LandsatCDL

GRID = GeoBox((90, 130), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")


def dataset(geobox: GeoBox = GRID) -> xr.Dataset:
    data = np.arange(geobox.height * geobox.width, dtype="float32").reshape(1, *geobox.shape)
    return xr.Dataset({"image": (("band", "y", "x"), data)}, coords=coords_of(geobox))


def covered(plan: gx.ChipPlan) -> np.ndarray:
    seen = np.zeros(plan.geobox.shape, int)
    for chip in plan:
        seen[chip.window.slices] += 1
    return seen


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.sampled_from(["shift", "pad", "drop"])
)  # fmt: skip
def test_a_grid_covers_every_pixel_and_stays_inside(
    high: int, wide: int, stride: int, edge: str
) -> None:
    stride = min(stride, high, wide)
    plan = dataset().geoxr.grid_chips((high, wide), stride=stride, edge=edge)  # type: ignore[arg-type]
    windows = [chip.window for chip in plan]
    assert len(windows) == len(plan)
    assert len(set(windows)) == len(windows)
    inside = all(
        w.row >= 0 and w.col >= 0 and w.stop[0] <= 90 and w.stop[1] <= 130 for w in windows
    )
    assert inside or edge == "pad"
    if edge != "drop":
        assert covered(plan).min() >= 1


def test_a_grid_of_many_chips_costs_no_memory() -> None:
    huge = GeoBox((100_000, 100_000), GRID.affine, GRID.crs)
    plan = gx.ChipPlan(huge, (10, 10), dataset().geoxr.grid_chips(10).draw)
    assert len(pickle.dumps(plan)) < 5000


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(5, 30))
def test_random_chips_lie_wholly_in_the_area(seed: int, size: int) -> None:
    left, top = 500_000, 5_200_000
    area = shapely.Polygon(
        [(left, top), (left + 1300, top - 200), (left + 900, top - 900), (left, top - 700)]
    )
    plan = dataset().geoxr.random_chips(size, 20, aoi=area, seed=seed)
    outlines = plan.to_geodataframe().geometry
    assert len(plan) == 20
    assert shapely.covers(area.buffer(1e-4), outlines.to_numpy()).all()


def test_random_chips_are_uniform_over_all_legal_places() -> None:
    """The last legal offset is as likely as any other."""
    plan = dataset().geoxr.random_chips((81, 121), 10_000, seed=3)
    corners = np.array([(chip.window.row, chip.window.col) for chip in plan])
    counts = np.histogram2d(corners[:, 0], corners[:, 1], bins=[range(11), range(11)])[0]
    chi2 = ((counts - 100) ** 2 / 100).sum()
    assert counts.min() > 50
    assert chi2 < 160  # 99 degrees of freedom: mean 99, 0.01 % above 160


def test_one_seed_fixes_the_draws_and_epochs_differ() -> None:
    ds = dataset()

    def places(plan: gx.ChipPlan) -> list[tuple[int, int]]:
        return [(chip.window.row, chip.window.col) for chip in plan]

    plan, again = (ds.geoxr.random_chips(16, 30, seed=7) for _ in range(2))
    assert places(plan) == places(again) == places(pickle.loads(pickle.dumps(plan)))
    assert places(plan) != places(ds.geoxr.random_chips(16, 30, seed=8))
    assert places(plan.epoch(1)) == places(again.epoch(1)) != places(plan)
    grid = ds.geoxr.grid_chips(16)
    assert places(grid.epoch(1)) == places(grid)


def test_plans_slice_add_shuffle_and_list() -> None:
    plan = dataset().geoxr.grid_chips(30)
    assert len(plan) == 15
    assert [chip.index for chip in plan[3:6]] == [3, 4, 5]
    assert plan[-1].window == plan[14].window
    assert len(plan[:3] + plan[10:]) == 8
    shuffled = plan.shuffle(1)
    assert sorted(chip.index for chip in shuffled) == list(range(15))
    assert [chip.index for chip in shuffled] != list(range(15))
    frame = plan.to_geodataframe()
    assert frame.crs.to_epsg() == 32633
    assert frame.union_all().equals(shapely.box(500_000, 5_199_100, 501_300, 5_200_000))
    assert plan[0].bounds == (500_000, 5_199_700, 500_300, 5_200_000)


def test_chips_too_large_or_nowhere_say_so() -> None:
    ds = dataset()
    with pytest.raises(
        gx.errors.ChipError, match="200 x 200 pixels do not fit into a grid of 90 x 130"
    ):
        ds.geoxr.random_chips(200, 1)
    with pytest.raises(gx.errors.ChipError, match=r"positive whole number of pixels, not 0\.5"):
        ds.geoxr.grid_chips(0.5)
    sliver = shapely.box(500_000, 5_199_500, 500_050, 5_200_000)
    with pytest.raises(gx.errors.ChipError, match="roomiest part of it is 50 x 5 pixels"):
        ds.geoxr.random_chips(16, 1, aoi=sliver)
    with pytest.raises(gx.errors.NoOverlapError, match="does not meet the data"):
        ds.geoxr.grid_chips(16, aoi=shapely.box(0, 0, 1, 1))


def test_an_area_may_be_in_another_crs() -> None:
    box = shapely.box(500_000, 5_199_500, 500_600, 5_200_000)
    frame = geopandas.GeoSeries([box], crs=32633).to_crs(4326)
    plan = dataset().geoxr.random_chips(16, 50, aoi=frame, seed=0)
    assert all(box.buffer(0.5).covers(shape) for shape in plan.to_geodataframe().geometry)


def test_min_valid_leaves_out_empty_chips(farmland: LandsatCDL) -> None:
    image = gx.open_product("landsat8-l2-sr", farmland.scenes, time="collapse", crs="auto")
    ds = gx.merge({"image": image})
    valid = ds["image"].geoxr.valid.values
    for plan in (
        ds.geoxr.random_chips(32, 60, min_valid=0.9),
        ds.geoxr.grid_chips(32, min_valid=0.9),
    ):
        share = np.array([valid[chip.window.slices].mean() for chip in plan])
        assert share.min() > 0.9 - 0.1
    everywhere = np.array([valid[c.window.slices].mean() for c in ds.geoxr.grid_chips(32)])
    assert everywhere.min() < 0.5


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(100, 250), st.floats(0, 60))
def test_splits_keep_their_gap_and_never_share_a_pixel(seed: int, block: float, gap: float) -> None:
    ds = dataset()
    areas = gx.split_blocks(ds, (0.6, 0.2, 0.2), block=block, gap=gap, seed=seed)
    shapes = [area.union_all() for area in areas]
    for i, first in enumerate(shapes):
        for second in shapes[i + 1 :]:
            assert first.intersection(second).area == pytest.approx(0, abs=1e-3)
            assert first.distance(second) >= gap - 1e-6 or gap == 0
    masks = []
    for area in areas:
        try:
            masks.append(covered(ds.geoxr.random_chips(8, 10, aoi=area, seed=seed)) > 0)
        except gx.errors.ChipError:
            continue
    assert (np.sum(masks, axis=0) <= 1).all() if masks else True


def test_fractions_are_met_by_area() -> None:
    areas = gx.split_blocks(dataset(), (0.7, 0.15, 0.15), block=50, gap=0, seed=1)
    total = sum(float(area.area.sum()) for area in areas)
    assert total == pytest.approx(900 * 1300, rel=1e-3)  # a hair lies between the areas
    shares = [float(area.area.sum()) / total for area in areas]
    np.testing.assert_allclose(shares, (0.7, 0.15, 0.15), atol=0.02)


def test_splits_that_cannot_be_say_why() -> None:
    with pytest.raises(gx.errors.NoOverlapError, match="too few for 3 splits"):
        gx.split_blocks(dataset(), (0.4, 0.3, 0.3), block=5000)
    with pytest.raises(gx.errors.ArgumentError, match=r"add up to 0\.9"):
        gx.split_blocks(dataset(), (0.5, 0.4), block=100)


def test_iter_chips_yields_the_windows_with_coordinates() -> None:
    ds = dataset()
    plan = ds.geoxr.grid_chips(40, edge="pad")
    chips = list(ds.geoxr.iter_chips(plan))
    assert len(chips) == len(plan) == 12
    for chip, part in zip(plan, chips, strict=True):
        assert part.sizes == {"band": 1, "y": 40, "x": 40}
        assert part.geoxr.bounds == chip.bounds
        rows, cols = chip.window.slices
        inside = ds["image"].values[:, rows, cols]
        np.testing.assert_array_equal(
            part["image"].values[:, : inside.shape[1], : inside.shape[2]], inside
        )
        assert int(part["chip"]) == chip.index
    assert np.isnan(chips[-1]["image"].values[0, -1, -1])


def test_a_plan_belongs_to_its_grid() -> None:
    plan = dataset().geoxr.grid_chips(30)
    with pytest.raises(gx.errors.GridError, match="Plan the chips on this Dataset"):
        next(dataset().isel(x=slice(50)).geoxr.iter_chips(plan))


def test_padded_chips_keep_their_validity(tmp_path: Path) -> None:
    from geoxr.testing import write_geotiff

    path = write_geotiff(
        tmp_path / "a.tif", np.ones((50, 50), "uint8"), crs=32633, transform=GRID.affine
    )
    ds = gx.merge({"a": gx.open_raster(path)}, like=GeoBox((60, 60), GRID.affine, GRID.crs))
    chips = list(ds.geoxr.iter_chips(ds.geoxr.grid_chips(40, edge="pad")))
    assert all(set(chip.data_vars) == {"a", "a_valid"} for chip in chips)
    assert sum(int(chip["a_valid"].sum()) for chip in chips) == 2500


def test_min_valid_of_one_means_every_pixel() -> None:
    data = np.ones((1, 90, 130), "float32")
    data[:, :, 60:63] = np.nan
    ds = xr.Dataset({"image": (("band", "y", "x"), data)}, coords=coords_of(GRID))
    for chip in ds.geoxr.random_chips(32, 200, min_valid=1.0, seed=1):
        assert not np.isnan(data[:, *chip.window.slices]).any()


def test_nonsense_is_told(tmp_path: Path) -> None:
    ds = dataset()
    bow_tie = shapely.Polygon(
        [(5e5, 5.2e6), (501_300, 5_199_100), (501_300, 5.2e6), (5e5, 5_199_100)]
    )
    assert len(ds.geoxr.random_chips(8, 5, aoi=bow_tie)) == 5
    with pytest.raises(gx.errors.ArgumentError, match="seed must be"):
        ds.geoxr.random_chips(8, 5, seed=-1)
    with pytest.raises(gx.errors.ChipError, match="one number or"):
        ds.geoxr.random_chips((8, 8, 8), 5)
    with pytest.raises(gx.errors.ArgumentError, match="smaller than a pixel"):
        gx.split_blocks(ds, (0.5, 0.5), block=0.5)


def test_a_plan_without_min_valid_does_not_hold_the_data() -> None:
    assert len(pickle.dumps(dataset().geoxr.random_chips(8, 5))) < 8000


@pytest.fixture
def image_with_gap(utm_image: Path) -> xr.Dataset:
    return gx.merge({"image": gx.open_raster(utm_image)})


def test_chips_know_their_validity_nodata_and_grid(
    image_with_gap: xr.Dataset, tmp_path: Path
) -> None:
    ds = image_with_gap
    for chip in ds.geoxr.iter_chips(ds.geoxr.grid_chips(64, edge="pad")):
        assert chip["image"].geoxr.nodata == 0
        expected = (chip["image"] != 0).all("band")
        np.testing.assert_array_equal(chip["image"].geoxr.valid, expected)
        np.testing.assert_array_equal(chip.geoxr.valid, expected)
    chip.geoxr.to_zarr(tmp_path / "chip.zarr")
    back = gx.open_zarr(tmp_path / "chip.zarr")
    np.testing.assert_array_equal(back["image"], chip["image"])
    assert back.geoxr.geobox == chip.geoxr.geobox


def test_chips_carry_everything_else_of_the_dataset(image_with_gap: xr.Dataset) -> None:
    ds = image_with_gap.assign(
        weight=("y", np.arange(150.0)), gain=2.5, good=image_with_gap["image"].geoxr.valid
    ).assign_attrs(title="all")
    ds = ds.assign_coords(wavelength=("band", [0.6, 0.5, 0.8]))
    plan = ds.geoxr.grid_chips(64)
    for chip, planned in zip(ds.geoxr.iter_chips(plan), plan, strict=True):
        rows, cols = planned.window.slices
        xr.testing.assert_identical(chip.drop_vars("chip").load(), ds.isel(y=rows, x=cols).load())


def test_chips_of_a_masked_layer_bring_their_validity() -> None:
    whole = xr.Dataset({"mask": dataset()["image"].isel(band=0, drop=True).astype("uint8")})
    whole["mask_valid"] = whole["mask"] > 3
    for chip in whole.geoxr.iter_chips(whole.geoxr.grid_chips(32)):
        np.testing.assert_array_equal(chip["mask_valid"], chip["mask"] > 3)
        np.testing.assert_array_equal(chip["mask"].geoxr.valid, chip["mask"] > 3)

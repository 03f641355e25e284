from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.grid.coords import coords_of

GRID = GeoBox((90, 130), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")


def dataset(geobox: GeoBox = GRID) -> xr.Dataset:
    data = np.arange(geobox.height * geobox.width, dtype="float32").reshape(1, *geobox.shape)
    return xr.Dataset({"image": (("band", "y", "x"), data)}, coords=coords_of(geobox))


def covered(plan: gx.ChipPlan) -> np.ndarray:
    seen = np.zeros(plan.geobox.shape, int)
    for chip in plan:
        seen[chip.window.slices] += 1
    return seen


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


def test_blocks_smaller_than_a_pixel_are_told() -> None:
    with pytest.raises(gx.errors.ArgumentError, match="smaller than a pixel"):
        gx.split_blocks(dataset(), (0.5, 0.5), block=0.5)


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

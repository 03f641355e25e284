import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize

import geoxr as gx
from geoxr.grid.coords import coords_of
from geoxr.grid.window import Window
from geoxr.io.dataset import layer_reader
from geoxr.io.geotiff import GeotiffReader
from geoxr.sample import footprint
from geoxr.sample.footprint import valid_footprint
from geoxr.testing import write_geotiff

Make = Callable[..., xr.Dataset]
Corners = Callable[[gx.ChipPlan], np.ndarray]
Check = Callable[[np.ndarray, np.ndarray], None]
UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)


def burnt(shape: shapely.Geometry, grid: GeoBox) -> np.ndarray:
    """Pixels whose centre is in a geometry, by GDAL."""
    if shape.is_empty:
        return np.zeros(grid.shape, bool)
    return rasterize([shape], tuple(grid.shape), transform=grid.affine).astype(bool)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), cell=st.integers(1, 12))
def test_it_is_every_valid_pixel_of_a_small_layer(
    masked: Make, grid: GeoBox, seed: int, cell: int
) -> None:
    rng = np.random.default_rng(seed)
    valid = np.kron(rng.random((90, 130)) < 0.7, np.ones((cell, cell), bool)).astype(bool)[
        :90, :130
    ]
    shape = valid_footprint(masked(valid))
    np.testing.assert_array_equal(burnt(shape, grid), valid)
    assert shape.is_valid
    assert shape.area == pytest.approx(100 * valid.sum())


def test_layers_meet_and_dates_add_up(masked: Make, grid: GeoBox) -> None:
    top, left = np.zeros((90, 130), bool), np.zeros((90, 130), bool)
    top[:50], left[:, :70] = True, True
    one, other = masked(top), masked(left)
    both = one.assign(other=other["image"])
    np.testing.assert_array_equal(burnt(valid_footprint(both), grid), top & left)
    dates = masked(np.stack([top, left]))
    np.testing.assert_array_equal(burnt(valid_footprint(dates), grid), top | left)
    assert one.geoxr.valid_footprint().equals(valid_footprint(one))
    assert valid_footprint(one["image"]).equals(valid_footprint(one))


def test_gaps_narrower_than_a_chip_are_closed(masked: Make, grid: GeoBox) -> None:
    valid = np.ones((90, 130), bool)
    valid[20:26, 30:36] = False  # a hole
    valid[5::10, 60:] = False  # lines, as where a scanner failed
    valid[50:80, 5:35] = False  # a hole for whole chips
    expected = np.ones((90, 130), bool)
    expected[50:80, 5:35] = False
    np.testing.assert_array_equal(burnt(valid_footprint(masked(valid), gap=12), grid), expected)
    assert len(masked(valid).geoxr.random_chips(12, 20)) == 20
    np.testing.assert_array_equal(burnt(valid_footprint(masked(valid)), grid), valid)
    filled = valid.copy()
    filled[20:26, 30:36] = True
    filled[5::10, 60:] = valid[5::10, 60:]
    np.testing.assert_array_equal(burnt(valid_footprint(masked(valid), hole=40), grid), filled)


def test_random_chips_are_uniform_over_what_is_valid(
    masked: Make, grid: GeoBox, corners_of: Corners, check_uniform: Check
) -> None:
    rows, cols = np.mgrid[:90, :130]
    valid = (rows < cols) & (cols < 90)
    legal = np.zeros((90, 130))
    for row in range(90 - 14):
        for col in range(130 - 14):
            legal[row, col] = valid[row : row + 15, col : col + 15].all()
    number = int(legal.sum()) * 16
    check_uniform(corners_of(masked(valid).geoxr.random_chips(15, number, seed=2)), legal)
    batches = masked(valid).geoxr.random_batch_chips(
        15, number * 2, batch_size=2, spread=20, seed=2
    )
    check_uniform(corners_of(batches)[1::2], legal)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """3000 x 3000 pixels with a slanted edge and nodata (0) beyond."""
    rows, cols = np.mgrid[:3000, :3000]
    pixels = np.where((cols > rows / 4) & (cols < 2900), 7, 0).astype("uint8")
    return write_geotiff(tmp_path / "scene.tif", pixels, crs=32633, transform=UTM, nodata=0)


def test_a_large_file_is_looked_at_coarsely_and_once(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[tuple[int, int]] = []
    read = GeotiffReader.read

    def counting(self, window, out, valid, *, bands, times, step=1):  # type: ignore[no-untyped-def]
        looks.append((out.size, step))
        read(self, window, out, valid, bands=bands, times=times, step=step)

    monkeypatch.setattr(GeotiffReader, "read", counting)
    ds = gx.merge({"image": gx.open_raster(scene)})
    shape = valid_footprint(ds)
    assert looks == [(1_000_000, 3)]
    exact = shapely.Polygon(
        [(500_000, 5_200_000), (529_000, 5_200_000), (529_000, 5_170_000), (507_500, 5_170_000)]
    )
    assert shape.symmetric_difference(exact).area < 0.003 * exact.area
    assert len(shape.exterior.coords) < 2200
    again = gx.merge({"image": gx.open_raster(scene)})
    again.geoxr.random_chips(64, 10)
    assert len(looks) == 1
    plan = again.geoxr.random_chips(64, 500)
    assert all(exact.buffer(45).covers(one) for one in plan.to_geodataframe().geometry)
    # Closer where less is asked for.
    near = valid_footprint(ds, within=shapely.box(500_000, 5_195_000, 505_000, 5_200_000))
    assert looks[-1] == (250_000, 1)
    assert near.area == pytest.approx(
        (exact & shapely.box(500_000, 5_195_000, 505_000, 5_200_000)).area, rel=2e-3
    )


def test_few_pixels_are_looked_at_of_very_large_layers(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(footprint, "_LARGE", 1_000_000)
    ds = gx.merge({"image": gx.open_raster(scene)})
    mask, step = footprint._look((layer_reader(ds, "image"),), Window(0, 0, 3000, 3000))
    assert (mask.shape, step) == ((250, 250), 12)
    shape = valid_footprint(ds)
    assert shape.area == pytest.approx(900e6 * (2900 / 3000 - 0.125), rel=0.02)


def test_nothing_is_read_where_nothing_can_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_geotiff(
        tmp_path / "full.tif", np.ones((50, 60), "uint8"), crs=32633, transform=UTM
    )
    ds = gx.merge({"image": gx.open_raster(path)})

    def fail(*args: object, **options: object) -> None:
        raise AssertionError("read")

    monkeypatch.setattr(GeotiffReader, "read", fail)
    assert valid_footprint(ds).equals(ds.geoxr.footprint)
    assert len(ds.geoxr.random_chips(8, 5)) == len(ds.geoxr.random_batch_chips(8, 5, batch_size=2))


def test_what_is_valid_all_over_has_its_exact_outline(tmp_path: Path) -> None:
    path = write_geotiff(
        tmp_path / "a.tif", np.ones((2100, 1500), "uint8"), crs=32633, transform=UTM, nodata=0
    )
    ds = gx.merge({"image": gx.open_raster(path)})
    assert valid_footprint(ds).equals(ds.geoxr.footprint)


def test_large_arrays_of_dask_are_not_computed() -> None:
    import dask.array

    def fail(block: np.ndarray) -> np.ndarray:
        raise AssertionError("computed")

    data = dask.array.zeros((9000, 9000), chunks=3000, dtype="float32").map_blocks(
        fail, dtype="float32", meta=np.zeros((0, 0), "float32")
    )
    grid = GeoBox((9000, 9000), UTM, "EPSG:32633")
    ds = xr.Dataset({"image": (("y", "x"), data)}, coords=coords_of(grid))
    assert valid_footprint(ds).equals(ds.geoxr.footprint)


def test_speckles_are_drawn_more_coarsely() -> None:
    grid = GeoBox((1000, 1000), UTM, "EPSG:32633")
    valid = np.random.default_rng(0).random((1000, 1000)) < 0.8
    valid[:, 700:] = False
    data = np.where(valid, 1, np.nan).astype("float32")
    ds = xr.Dataset({"image": (("y", "x"), data)}, coords=coords_of(grid))
    shape = valid_footprint(ds)
    assert shapely.get_num_coordinates(shape) < 50_000
    assert shape.area == pytest.approx(0.97 * 100 * 700 * 1000, rel=0.05)


def test_nothing_valid_is_told(masked: Make, tmp_path: Path) -> None:
    none = masked(np.zeros((90, 130), bool))
    assert none.geoxr.valid_footprint().is_empty
    for draw in (
        none.geoxr.random_chips,
        lambda *a: none.geoxr.random_batch_chips(*a, batch_size=2),
    ):
        with pytest.raises(
            gx.errors.ChipError, match="No valid pixel of 'image' was found in the Data"
        ):
            draw(8, 5)
    top, bottom = np.zeros((2, 90, 130), bool)
    top[:40], bottom[50:] = True, True
    apart = masked(top).assign(other=masked(bottom)["image"])
    with pytest.raises(
        gx.errors.ChipError, match=r"of 'image', 'other' was found.*where one layer is"
    ):
        apart.geoxr.random_chips(8, 5)
    below = shapely.box(500_000, 5_199_100, 501_300, 5_199_500)
    with pytest.raises(gx.errors.ChipError, match="was found in the area"):
        masked(top).geoxr.random_chips(8, 5, aoi=below)
    with pytest.raises(gx.errors.ChipError, match=r"None of the 204 chips .* The best has 0\.0%"):
        none.geoxr.grid_chips(8, min_valid=0.1)


def test_looks_do_not_travel_with_the_plan(scene: Path) -> None:
    ds = gx.merge({"image": gx.open_raster(scene)})
    assert len(pickle.dumps(ds.geoxr.random_chips(64, 5000))) < 80_000

"""Kernels against GDAL at its most exact and against brute force."""

from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

import geoxr as gx
from geoxr.grid.coords import coords_of
from geoxr.grid.geobox import geobox_of
from geoxr.testing import write_geotiff
from geoxr.warp.area import gather_area, reach

UTM = "EPSG:32633"
AREAS = ("average", "mode", "min", "max", "sum", "median")


def layer(pixels: np.ndarray, geobox: GeoBox, **attrs: object) -> xr.DataArray:
    return xr.DataArray(pixels, dims=("y", "x"), coords=coords_of(geobox), name="a", attrs=attrs)


def grid(height: int, width: int, size: float = 10.0, x: float = 5e5, y: float = 5.2e6) -> GeoBox:
    return GeoBox((height, width), Affine(size, 0, x, 0, -size, y), UTM)


def supersampled(
    pixels: np.ndarray, source: GeoBox, target: GeoBox, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Values and inside of `number` x `number` points in every target pixel, each through PROJ."""
    at = (np.arange(number) + 0.5) / number
    rows = (np.arange(target.height)[:, None] + at).ravel()
    cols = (np.arange(target.width)[:, None] + at).ravel()
    x, y = target.affine @ tuple(np.meshgrid(cols, rows))
    change = pyproj.Transformer.from_crs(target.crs.proj, source.crs.proj, always_xy=True)
    col, row = ~source.affine @ change.transform(x, y)
    c, r = np.floor(col).astype(int), np.floor(row).astype(int)
    inside = (c >= 0) & (r >= 0) & (c < source.width) & (r < source.height)
    values = pixels[r.clip(0, source.height - 1), c.clip(0, source.width - 1)]

    def split(a: np.ndarray) -> np.ndarray:
        shape = target.height, number, target.width, number
        return a.reshape(shape).swapaxes(1, 2).reshape(target.height, target.width, -1)

    return split(values), split(inside)


@pytest.mark.parametrize("dtype", ["uint16", "float32", "int16"])
def test_cubic_equals_the_exact_gdal_warp(tmp_path: Path, dtype: str) -> None:
    rng = np.random.default_rng(1)
    rows, cols = np.mgrid[:150, :200]
    pixels = 500 + 200 * np.sin(cols / 3) + 150 * np.cos(rows / 4) + rng.normal(0, 5, rows.shape)
    pixels[rows > cols + 60] = 0
    pixels[60:62, 100:103] = 0
    path = tmp_path / "a.tif"
    affine = Affine(10, 0, 500_000, 0, -10, 5_200_000)
    write_geotiff(path, pixels.astype(dtype), crs=UTM, transform=affine, nodata=0)
    found = gx.open_raster(path, crs="EPSG:3035", resolution=10, resampling="cubic")
    geobox = geobox_of(found)
    with rasterio.open(path) as file, WarpedVRT(
        file, crs=geobox.crs.to_wkt(), transform=geobox.affine, width=geobox.width,
        height=geobox.height, resampling=Resampling.cubic, tolerance=1e-9,
        XSCALE=1,
        YSCALE=1,
    ) as vrt:  # fmt: skip
        expected = vrt.read().astype(float)
    values = found.values.astype(float)
    assert ((values != 0) != (expected != 0)).mean() < 1e-4
    both = (values != 0) & (expected != 0)
    off = np.abs(values - expected)[both]
    # Where cubic falls back to bilinear depends on a position within rounding of a pixel centre.
    assert np.quantile(off, 0.9999) <= (1 if dtype != "float32" else 1e-4 * np.ptp(expected[both]))


def test_cubic_keeps_within_the_type_and_goes_through_its_pixels() -> None:
    source = grid(20, 20)
    pixels = np.where(np.indices((20, 20)).sum(0) % 7 < 3, 0, 255).astype("uint8")
    fine = GeoBox((40, 40), source.affine @ Affine.scale(0.5), UTM)
    between = gx.reproject(layer(pixels, source), geobox=fine, resampling="cubic").values
    assert between.min() == 0 and between.max() == 255
    shifted = GeoBox((18, 18), source.affine @ Affine.translation(1 + 1e-8, 1), UTM)
    again = gx.reproject(layer(pixels, source), geobox=shifted, resampling="cubic").values
    np.testing.assert_array_equal(again, pixels[1:-1, 1:-1])


@pytest.mark.parametrize("resampling", ["average", "mode", "min", "max", "sum", "median"])
def test_whole_blocks_are_reduced_as_numpy_does(resampling: str) -> None:
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 9, (60, 80)).astype("float64")
    source = grid(60, 80)
    target = grid(15, 20, 40.0)
    found = gx.reproject(layer(pixels, source), geobox=target, resampling=resampling).values
    blocks = pixels.reshape(15, 4, 20, 4).swapaxes(1, 2).reshape(15, 20, 16)
    if resampling == "mode":
        expected = np.array([[np.bincount(b.astype(int)).argmax() for b in row] for row in blocks])
    else:
        expected = getattr(np, {"average": "mean"}.get(resampling, resampling))(blocks, axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("turn", [0.0, 17.0, 45.0])
def test_average_weighs_every_pixel_by_its_overlap(turn: float) -> None:
    """Exact against polygons that shapely cuts."""
    rng = np.random.default_rng(3)
    source = grid(30, 30)
    pixels = rng.normal(size=(30, 30))
    affine = (
        source.affine @ Affine.translation(8.3, 4.1) @ Affine.rotation(turn) @ Affine.scale(3.7)
    )
    target = GeoBox((4, 5), affine, UTM)
    found = gx.reproject(layer(pixels, source), geobox=target, resampling="average").values
    cells = shapely.box(*np.meshgrid(np.arange(30), np.arange(30)), *np.meshgrid(
        np.arange(1, 31), np.arange(1, 31)))  # fmt: skip
    to_source = ~source.affine @ target.affine
    for i in range(4):
        for j in range(5):
            corners = [to_source @ at for at in ((j, i), (j + 1, i), (j + 1, i + 1), (j, i + 1))]
            share = shapely.area(shapely.intersection(cells, shapely.Polygon(corners)))
            if share.sum() == 0:
                assert np.isnan(found[i, j])
            else:
                np.testing.assert_allclose(found[i, j], (share * pixels).sum() / share.sum())


@pytest.mark.parametrize("resampling", ["average", "mode"])
def test_coarsening_to_another_crs_equals_supersampling(resampling: str) -> None:
    rng = np.random.default_rng(4)
    source = GeoBox((300, 300), Affine(30, 0, 400_000, 0, -30, 4_600_000), "EPSG:32615")
    parcels = np.kron(rng.integers(1, 6, (30, 30)), np.ones((10, 10))).astype("uint8")
    noisy = np.where(rng.random((300, 300)) < 0.1, rng.integers(1, 6, (300, 300)), parcels)
    values = noisy.astype("uint8" if resampling == "mode" else "float64")
    middle = pyproj.Transformer.from_crs(32615, 5070, always_xy=True).transform(404_500, 4_595_500)
    target = GeoBox(
        (30, 30), Affine(300, 0, middle[0] - 4500, 0, -300, middle[1] + 4500), "EPSG:5070"
    )
    found = gx.reproject(layer(values, source), geobox=target, resampling=resampling).values
    points, inside = supersampled(values, source, target, 40)
    full = inside.all(axis=-1)
    assert full.mean() > 0.5
    if resampling == "average":
        off = np.abs(found - points.mean(axis=-1))[full]
        assert off.mean() < 0.01 and off.max() < 0.04  # of values 1 to 5; 1600 points err by that
    else:
        counts = np.stack([(points == code).sum(axis=-1) for code in range(1, 6)])
        first, second = np.sort(counts, axis=0)[[-1, -2]]
        clear = full & (first - second > 30)  # supersampling errs by some points
        assert clear.sum() > 0.9 * full.sum()
        np.testing.assert_array_equal(found[clear], counts.argmax(axis=0)[clear] + 1)


@pytest.mark.parametrize("resampling", AREAS)
def test_missing_pixels_are_left_out_of_statistics(resampling: str) -> None:
    pixels = np.array([[1, 0, 0, 0], [2, 5, 0, 0]], "uint8")
    target = grid(1, 2, 20.0)
    source = layer(pixels, grid(2, 4)).geoxr.write_nodata(0)
    found = gx.reproject(source, geobox=target, resampling=resampling)
    expected = {"average": 3, "mode": 1, "min": 1, "max": 5, "sum": 8.0, "median": 2}[resampling]
    assert found.values[0, 0] == expected
    assert found.geoxr.valid.values.tolist() == [[True, False]]
    assert found.dtype == ("float64" if resampling == "sum" else "uint8")


def test_a_median_between_two_values_is_their_mean() -> None:
    pixels = np.array([[1.0, 2.0, 10.0, 20.0]])
    source = GeoBox((1, 4), Affine(10, 0, 5e5, 0, -40, 5.2e6), UTM)
    target = GeoBox((1, 1), Affine(40, 0, 5e5, 0, -40, 5.2e6), UTM)
    assert gx.reproject(layer(pixels, source), geobox=target, resampling="median").item() == 6.0


def test_of_equally_common_codes_the_smallest_wins() -> None:
    pixels = np.array([[7, 3], [3, 7]], "int16")
    found = gx.reproject(layer(pixels, grid(2, 2)), geobox=grid(1, 1, 20.0), resampling="mode")
    assert found.item() == 3


def test_a_sum_of_integers_does_not_overflow() -> None:
    pixels = np.full((4, 4), 60_000, "uint16")
    found = gx.reproject(layer(pixels, grid(4, 4)), geobox=grid(1, 1, 40.0), resampling="sum")
    assert found.dtype == "float64" and found.item() == 960_000
    assert found.geoxr.nodata is None


@pytest.mark.parametrize("kind", ["continuous", "categorical"])
@pytest.mark.parametrize("size", [14.0, 16.0])
def test_the_default_changes_where_pixels_would_be_left_out(kind: str, size: float) -> None:
    pixels = np.random.default_rng(5).integers(1, 200, (40, 40)).astype("uint8")
    source = layer(pixels, grid(40, 40), kind=kind)
    target = grid(20, 20, size)
    chosen = {
        ("continuous", 14.0): "bilinear",
        ("continuous", 16.0): "average",
        ("categorical", 14.0): "nearest",
        ("categorical", 16.0): "mode",
    }[kind, size]
    default = gx.reproject(source, geobox=target)
    named = gx.reproject(source, geobox=target, resampling=chosen)
    np.testing.assert_array_equal(default.values, named.values)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(["cubic", *AREAS]),
    st.integers(0, 39), st.integers(0, 39), st.integers(1, 40), st.integers(1, 40),
    st.sampled_from([10.0, 33.3]),
)  # fmt: skip
def test_any_window_equals_the_whole(
    resampling: str, row: int, col: int, high: int, wide: int, size: float
) -> None:
    rng = np.random.default_rng(6)
    pixels = rng.normal(size=(120, 130)).astype("float32")
    pixels[rng.random(pixels.shape) < 0.1] = np.nan
    source = layer(pixels, grid(120, 130))
    x, y = pyproj.Transformer.from_crs(UTM, 3035, always_xy=True).transform(500_600, 5_199_400)
    target = GeoBox((40, 40), Affine(size, 0, x - 20 * size, 0, -size, y + 20 * size), "EPSG:3035")
    warped = gx.reproject(source, geobox=target, resampling=resampling)
    part = warped.isel(y=slice(row, row + high), x=slice(col, col + wide))
    np.testing.assert_array_equal(part.values, warped.values[row : row + high, col : col + wide])


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", *AREAS])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float64", "bool"])
def test_every_type_goes_through_every_kernel(resampling: str, dtype: str) -> None:
    pixels = (np.indices((30, 30)).sum(0) // 10 % 2).astype(dtype)
    target = GeoBox((8, 8), Affine(25, 0, 500_013, 0, -25, 5_199_987), UTM)
    found = gx.reproject(layer(pixels, grid(30, 30)), geobox=target, resampling=resampling)
    promoted = resampling == "sum" and dtype not in ("float16", "float64")
    assert found.dtype == ("float64" if promoted else dtype)
    assert found.values.max() > found.values.min() >= 0


def test_complex_pixels_are_resampled_by_nearest_only() -> None:
    pixels = np.arange(100).reshape(10, 10) * (1 + 2j)
    target = grid(4, 4, 10.0, 500_015.0, 5_199_985.0)
    found = gx.reproject(layer(pixels, grid(10, 10)), geobox=target, resampling="nearest")
    np.testing.assert_array_equal(found.values, pixels[2:6, 2:6])
    with pytest.raises(gx.errors.ArgumentError, match="Complex pixels cannot be resampled"):
        gx.reproject(layer(pixels, grid(10, 10)), geobox=target, resampling="cubic")


def test_one_pixel_over_too_much_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoxr.warp.warped.PIECE", 1000)
    source = layer(np.ones((100, 100), "float32"), grid(100, 100))
    far = gx.reproject(source, geobox=grid(1, 1, 1000.0), resampling="average")
    with pytest.raises(gx.errors.GridError, match="100 x 100 source pixels"):
        far.load()


def test_corners_without_a_place_leave_pixels_without_data() -> None:
    x, y = (part.astype(float) for part in np.meshgrid(np.arange(4) * 2, np.arange(4) * 2))
    x[0, 0] = np.inf
    out, valid = np.empty((1, 3, 3)), np.empty((1, 3, 3), bool)
    where = x, y, 0.0, np.arange(3) * 2 + np.ones((3, 1)), np.arange(3)[:, None] * 2 + np.ones(3)
    *_, high, wide = reach(*where)
    source, good = np.ones((1, 6, 6)), np.ones((1, 6, 6), bool)
    gather_area(
        source, good, True, 0, *where, high, wide, 0, 0, np.nan, False, -np.inf, np.inf, False, out,
        valid,
    )  # fmt: skip
    assert valid[0].tolist() == [[False, True, True], [True] * 3, [True] * 3]
    np.testing.assert_array_equal(np.isnan(out), ~valid)


@pytest.fixture
def small_and_fine() -> tuple[xr.DataArray, GeoBox]:
    """A layer of 3 km at 10 m, and a grid of the whole world."""
    pixels = np.random.default_rng(6).integers(1, 100, (300, 300)).astype("uint8")
    world = GeoBox((720, 1440), Affine(0.25, 0, -180, 0, -0.25, 90), "EPSG:4326")
    return layer(pixels, grid(300, 300)).geoxr.write_nodata(0), world


@pytest.mark.parametrize("resampling", AREAS)
def test_a_small_layer_is_in_one_pixel_of_the_world(small_and_fine, resampling: str) -> None:
    source, world = small_and_fine
    found = gx.reproject(source, geobox=world, resampling=resampling)
    # 90 and 180 degrees from its meridian, corners of target pixels are all over UTM.
    at = np.argwhere(found.geoxr.valid.values)
    assert at.tolist() == [[172, 780]]
    values = source.values
    expected = {
        "average": np.floor(values.mean() + 0.5),
        "mode": np.bincount(values.ravel()).argmax(),
        "min": values.min(),
        "max": values.max(),
        "sum": values.sum(dtype=float),
        "median": np.floor(np.median(values) + 0.5),
    }[resampling]
    assert found.values[172, 780] == pytest.approx(expected)


def test_memory_of_a_statistic_does_not_grow_with_target_pixels(small_and_fine) -> None:
    source, _ = small_and_fine
    # Each of these pixels is as large as a billion of the source.
    coarse = GeoBox((6, 6), Affine(3.0, 0, 6.0, 0, -3.0, 56.0), "EPSG:4326")
    found = gx.reproject(source, geobox=coarse, resampling="max")
    assert int(found.geoxr.valid.sum()) == 1 and int(found.max()) == 99


def test_a_torn_pixel_takes_what_is_at_its_centre() -> None:
    """A map of the world around a pole meets one that is torn along 180 degrees."""
    sinusoidal = "+proj=sinu +R=6371007.181 +units=m"
    source = GeoBox((200, 400), Affine(1e5, 0, -2e7, 0, -1e5, 1e7), sinusoidal)
    x, _ = np.meshgrid(*(np.arange(size) + 0.5 for size in (400, 200)))
    polar = GeoBox(
        (40, 40), Affine(25e4, 0, -5e6, 0, -25e4, 5e6), "+proj=stere +lat_0=90 +lat_ts=70"
    )
    east = layer((x > 200).astype("float32"), source)
    found = gx.reproject(east, geobox=polar, resampling="average").values
    _, cols = np.meshgrid(np.arange(40), np.arange(40))
    # Beside the two meridians at which east and west meet, a mean of both is a mistake.
    beside = np.abs(cols - 19.5) > 2
    assert np.isfinite(found).mean() > 0.95
    np.testing.assert_allclose(found[beside & np.isfinite(found)] % 1, 0, atol=1e-6)

"""Images without a transform: control points and rational polynomials, against GDAL's own."""

import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.control import GroundControlPoint
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC
from rasterio.transform import GCPTransformer, RPCTransformer
from rasterio.warp import reproject

import geoxr as gx
from geoxr.io.gdal import open_file
from geoxr.io.resolve import resolve

#: Rotated by 20 degrees, pixels of about 30 m.
PLACE = Affine.translation(14.2, 46.6) @ Affine.rotation(20) @ Affine.scale(4e-4, -3e-4)


def write_image(path: Path, *, gcps=None, crs="EPSG:4326", rpcs=None, nodata=0) -> Path:
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[:90, :120]
    pixels = (1000 + 300 * np.sin(cols / 9) + 200 * np.cos(rows / 7)).astype("uint16")
    pixels[rng.random(pixels.shape) < 0.02] = 0
    profile = {"driver": "GTiff", "width": 120, "height": 90, "count": 1, "dtype": "uint16"}
    if gcps is not None:
        profile.update(gcps=gcps, crs=crs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # the polynomials come later
        file = rasterio.open(path, "w", nodata=nodata, **profile)
    with file:
        file.write(pixels, 1)
        if rpcs is not None:
            file.rpcs = rpcs
    return path


def control_points(number: int, bend: float = 0.0, place: Affine = PLACE):
    rng = np.random.default_rng(1)
    cols, rows = rng.uniform(0, 120, number), rng.uniform(0, 90, number)
    cols[:4], rows[:4] = [0, 120, 120, 0], [0, 0, 90, 90]
    x, y = place @ (cols, rows)
    x = x + bend * (cols - 60) * (rows - 45) + 1e-6 * rng.normal(size=number)
    return [
        GroundControlPoint(row=r, col=c, x=e, y=n)
        for r, c, e, n in zip(rows, cols, x, y, strict=True)
    ]


def rational_polynomials() -> RPC:
    line, sample = np.zeros(20), np.zeros(20)
    line[[0, 1, 2, 3, 4, 7, 15]] = 0.01, -0.2, -1.1, 0.02, 3e-3, -2e-3, 1e-4
    sample[[0, 1, 2, 3, 5, 8, 11]] = 0.02, 1.2, -0.2, 0.03, 2e-3, 1e-3, -1e-4
    below, below_sample = np.zeros(20), np.zeros(20)
    below[[0, 1, 2]] = 1, 1e-3, 2e-3
    below_sample[[0, 1, 3]] = 1, -2e-3, 1e-3
    return RPC(
        height_off=350.0, height_scale=500.0, lat_off=46.6, lat_scale=0.02, long_off=14.2,
        long_scale=0.03, line_off=45.0, line_scale=46.0, samp_off=60.0, samp_scale=61.0,
        line_num_coeff=line.tolist(), line_den_coeff=below.tolist(),
        samp_num_coeff=sample.tolist(), samp_den_coeff=below_sample.tolist(),
    )  # fmt: skip


@pytest.fixture(params=["four points", "forty points", "polynomials"])
def placed_image(request, tmp_path: Path) -> Path:
    """An image that only control points, or only rational polynomials, place on earth."""
    path = tmp_path / "image.tif"
    if request.param == "polynomials":
        return write_image(path, rpcs=rational_polynomials())
    number = 4 if request.param == "four points" else 40
    return write_image(path, gcps=control_points(number, bend=1e-7))


def gdal_positions(path: Path, x, y):
    """Columns and rows of places, by GDAL's own transformers."""
    with rasterio.open(path) as file:
        if file.gcps[0]:
            change, height = GCPTransformer(file.gcps[0]), None
        else:
            change, height = RPCTransformer(file.rpcs), np.full(np.size(x), file.rpcs.height_off)
        with change:
            rows, cols = change.rowcol(np.ravel(x), np.ravel(y), zs=height, op=lambda value: value)
    return np.reshape(cols, np.shape(x)), np.reshape(rows, np.shape(x))


def test_positions_are_those_of_gdal(placed_image: Path) -> None:
    placement = open_file(placed_image).placement
    cols, rows = np.random.default_rng(2).uniform(0, [[120], [90]], (2, 300))
    x, y = placement.to_map(cols, rows)
    found = gdal_positions(placed_image, x, y)
    np.testing.assert_allclose(found, (cols, rows), atol=1e-5)
    np.testing.assert_allclose(placement.to_pixels(x, y), (cols, rows), atol=1e-5)


def test_the_layer_is_the_image_at_the_positions_of_gdal(placed_image: Path) -> None:
    layer = gx.open_raster(placed_image, resampling="nearest")
    assert layer.geoxr.crs.epsg == 4326
    assert layer.geoxr.resolution[0] == layer.geoxr.resolution[1]
    x, y = np.meshgrid(layer.x.values, layer.y.values)
    cols, rows = (np.floor(part).astype(int) for part in gdal_positions(placed_image, x, y))
    inside = (cols >= 0) & (rows >= 0) & (cols < 120) & (rows < 90)
    with rasterio.open(placed_image) as file:
        pixels = file.read(1)
    expected = np.where(inside, pixels[rows.clip(0, 89), cols.clip(0, 119)], 0)
    assert 0.3 < inside.mean() < 0.9
    assert (layer.values[0] != expected).mean() <= 1e-4
    np.testing.assert_array_equal(layer.geoxr.valid.values, layer.values[0] != 0)
    assert layer.geoxr.nodata == 0


def test_the_grid_holds_the_whole_image_at_its_own_resolution(placed_image: Path) -> None:
    layer, placement = gx.open_raster(placed_image), open_file(placed_image).placement
    left, bottom, right, top = layer.geoxr.bounds
    x, y = placement.to_map(*(part.ravel() + 0.5 for part in np.mgrid[:120, :90]))
    assert left <= x.min() and x.max() <= right and bottom <= y.min() and y.max() <= top
    pixels = placement.outline.area / layer.geoxr.resolution[0] ** 2
    assert pixels == pytest.approx(120 * 90, rel=0.02)
    assert layer.geoxr.footprint.area == pytest.approx(placement.outline.area, rel=1e-3)


@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
def test_any_window_of_it_equals_the_whole(placed_image: Path, resampling: str) -> None:
    layer = gx.open_raster(placed_image, resampling=resampling)
    whole = layer.values
    part = layer.isel(y=slice(31, 77), x=slice(20, 93))
    np.testing.assert_array_equal(part.values, whole[:, 31:77, 20:93])
    again = pickle.loads(pickle.dumps(layer))
    with ThreadPoolExecutor(4) as pool:
        for rows in pool.map(lambda i: again.isel(y=slice(i, i + 9)).values, range(0, 60, 9)):
            assert rows.shape[1] == 9
    np.testing.assert_array_equal(again.values, whole)


def test_bilinear_pixels_are_those_that_gdal_warps(tmp_path: Path) -> None:
    """As far as its approximation of an eighth of a pixel goes, on waves of 30 units a pixel."""
    points = control_points(40, bend=1e-7)
    path = write_image(tmp_path / "image.tif", gcps=points)
    layer = gx.open_raster(path, resampling="bilinear")
    box = layer.geoxr.geobox
    expected = np.zeros(box.shape, "uint16")
    with rasterio.open(path) as file:
        reproject(
            file.read(1), expected, gcps=file.gcps[0], src_crs=file.gcps[1], dst_crs="EPSG:4326",
            dst_transform=box.affine, resampling=Resampling.bilinear, src_nodata=0, dst_nodata=0,
        )  # fmt: skip
    found = layer.values[0].astype(int)
    both = (found != 0) & (expected != 0)
    assert both.mean() > 0.4
    assert ((found != 0) != (expected != 0)).mean() < 0.02
    off = np.abs(found - expected.astype(int))[both]
    assert np.median(off) <= 1
    assert np.quantile(off, 0.99) < 8


def test_it_is_resampled_once_on_its_way_to_another_grid(placed_image: Path) -> None:
    """Not from the regular grid on which it comes without a target."""
    layer = gx.open_raster(placed_image, resampling="nearest")
    moved = layer.geoxr.reproject("EPSG:32633", resolution=20, resampling="nearest")
    direct = gx.open_raster(placed_image, like=moved.geoxr.geobox, resampling="nearest")
    np.testing.assert_array_equal(moved.values, direct.values)
    x, y = np.meshgrid(moved.x.values, moved.y.values)
    lon, lat = pyproj.Transformer.from_crs(32633, 4326, always_xy=True).transform(x, y)
    cols, rows = (np.floor(part).astype(int) for part in gdal_positions(placed_image, lon, lat))
    inside = (cols >= 0) & (rows >= 0) & (cols < 120) & (rows < 90)
    with rasterio.open(placed_image) as file:
        pixels = file.read(1)
    expected = np.where(inside, pixels[rows.clip(0, 89), cols.clip(0, 119)], 0)
    assert (moved.values[0] != expected).mean() <= 2e-4
    assert type(resolve(moved).reader).__name__ == "Placed"


def test_a_second_degree_polynomial_does_not_fold_back_far_away(tmp_path: Path) -> None:
    path = write_image(tmp_path / "image.tif", gcps=control_points(40, bend=3e-6))
    world = GeoBox((900, 1800), Affine(0.2, 0, -180, 0, -0.2, 90), "EPSG:4326")
    layer = gx.open_raster(path, like=world, resampling="nearest")
    valid = layer.geoxr.valid.values
    left, bottom, right, top = open_file(path).placement.outline.bounds
    rows, cols = np.nonzero(valid)
    assert len(rows) <= 4
    assert (np.abs(layer.x.values[cols] - (left + right) / 2) < 0.3).all()
    assert (np.abs(layer.y.values[rows] - (bottom + top) / 2) < 0.3).all()


def test_control_points_across_180_degrees_stay_together(tmp_path: Path) -> None:
    place = Affine.translation(179.98, 46.6) @ Affine.scale(4e-4, -3e-4)
    points = control_points(12, place=place)
    for point in points:
        point.x = point.x if point.x <= 180 else point.x - 360
    path = write_image(tmp_path / "image.tif", gcps=points)
    layer = gx.open_raster(path, resampling="nearest")
    left, _, right, _ = layer.geoxr.bounds
    assert (left, right) == (pytest.approx(179.98, abs=1e-3), pytest.approx(180.028, abs=1e-3))
    west = GeoBox((90, 50), Affine(4e-4, 0, -180, 0, -3e-4, 46.6), "EPSG:4326")
    assert gx.open_raster(path, like=west).geoxr.valid.values.mean() > 0.9


def test_points_without_a_crs_take_the_one_given(tmp_path: Path) -> None:
    points = control_points(4, place=Affine(10, 0, 500_000, 0, -10, 5_000_000))
    path = write_image(tmp_path / "image.tif", gcps=points, crs=rasterio.crs.CRS())
    assert gx.open_raster(path).geoxr.crs is None
    layer = gx.open_raster(path, crs="EPSG:32633")
    assert layer.geoxr.crs.epsg == 32633
    assert layer.geoxr.resolution == pytest.approx((10, 10))


def test_points_on_one_line_are_refused(tmp_path: Path) -> None:
    points = [GroundControlPoint(row=i, col=i, x=14 + i / 100, y=46 + i / 100) for i in range(5)]
    path = write_image(tmp_path / "line.tif", gcps=points)
    with pytest.raises(gx.errors.GridError, match=r"line.tif: 5 ground control points.*-gcp"):
        gx.open_raster(path)


def test_points_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    points = [
        GroundControlPoint(row=r, col=c, x=x, y=y)
        for r, c, x, y in rng.uniform([0, 0, 14, 46], [90, 120, 15, 47], (20, 4))
    ]
    path = write_image(tmp_path / "noise.tif", gcps=points)
    with pytest.raises(gx.errors.GridError, match=r"noise.tif.*contradict each other"):
        gx.open_raster(path)


def test_complex_images_are_placed_by_their_nearest_pixels(tmp_path: Path) -> None:
    plain = write_image(tmp_path / "plain.tif", gcps=control_points(40))
    with rasterio.open(plain) as file:
        pixels, (gcps, crs) = file.read(1), file.gcps
    profile = {"driver": "GTiff", "width": 120, "height": 90, "count": 1, "dtype": "complex64"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(tmp_path / "slc.tif", "w", gcps=gcps, crs=crs, **profile) as file:
            file.write(pixels * np.complex64(1 + 2j), 1)
    amplitude = gx.open_raster(plain, resampling="nearest", nodata=65535)
    layer = gx.open_raster(tmp_path / "slc.tif")
    inside = amplitude.geoxr.valid.values
    np.testing.assert_array_equal(layer.values[0, inside], amplitude.values[0, inside] * (1 + 2j))
    with pytest.raises(gx.errors.ArgumentError, match=r"Complex pixels.*bilinear"):
        gx.open_raster(tmp_path / "slc.tif", resampling="bilinear")

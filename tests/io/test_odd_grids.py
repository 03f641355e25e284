"""Files whose grid or CRS is not the usual one: they open, read and reproject like all others."""

from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

import geoxr as gx
from geoxr.grid.crs import parse_crs, same_crs
from geoxr.io.gdal import open_file
from geoxr.testing import write_geotiff

PIXELS = np.arange(1, 1 + 40 * 50, dtype="uint16").reshape(40, 50)
UTM = Affine(30, 0, 500_000, 0, -30, 5_200_000)
SINUSOIDAL = "+proj=sinu +R=6371007.181 +units=m"
GEOSTATIONARY = "+proj=geos +h=35785831 +lon_0=-75 +sweep=x +ellps=GRS80 +units=m"


def warped_by_gdal(path: Path, geobox: GeoBox) -> np.ndarray:
    with rasterio.open(path) as file, WarpedVRT(
        file, crs=geobox.crs.to_wkt(), transform=geobox.affine, width=geobox.width,
        height=geobox.height, resampling=Resampling.nearest, tolerance=1e-9, nodata=0,
    ) as vrt:  # fmt: skip
        return vrt.read(1)


@pytest.mark.parametrize(
    "transform",
    [
        UTM,
        Affine(30, 0, 500_000, 0, 30, 5_190_000),
        Affine(-30, 0, 501_500, 0, -30, 5_200_000),
        Affine(30, 0, 500_000, 0, -12.5, 5_200_000),
        UTM @ Affine.rotation(30),
        Affine(26, 15, 500_000, 7, -25, 5_200_000),
    ],
    ids=["north-up", "south-up", "mirrored", "not square", "rotated", "sheared"],
)
def test_any_affine_grid_reads_and_reprojects_as_gdal_does(tmp_path: Path, transform) -> None:
    path = write_geotiff(tmp_path / "a.tif", PIXELS, crs=32633, transform=transform, nodata=0)
    layer = gx.open_raster(path)
    assert layer.geoxr.geobox.affine.almost_equals(transform, 1e-9)
    np.testing.assert_array_equal(layer.values[0], PIXELS)
    moved = layer.geoxr.reproject("EPSG:3035", resolution=20, resampling="nearest")
    expected = warped_by_gdal(path, moved.geoxr.geobox)
    assert (expected != 0).any()
    assert (moved.values[0] != expected).mean() < 1e-3


def test_points_are_read_as_pixels_around_them(tmp_path: Path) -> None:
    """A file of points places their centres; GDAL moves them half a pixel."""
    path = write_geotiff(tmp_path / "area.tif", PIXELS, crs=32633, transform=UTM)
    point = tmp_path / "point.tif"
    with rasterio.open(path) as file, rasterio.open(
        point, "w", driver="GTiff", width=50, height=40, count=1, dtype="uint16", crs=file.crs,
        transform=UTM,
    ) as copy:  # fmt: skip
        copy.update_tags(AREA_OR_POINT="Point")
        copy.write(file.read())
    with rasterio.Env(GTIFF_POINT_GEO_IGNORE=True), rasterio.open(point) as file:
        assert file.transform.c == 500_015  # the tie point lies in the middle of the first pixel
    a, b = gx.open_raster(path), gx.open_raster(point)
    assert a.geoxr.geobox == b.geoxr.geobox
    np.testing.assert_array_equal(a.x.values, b.x.values)


@pytest.mark.parametrize(
    ("crs", "left", "top", "res"),
    [
        (SINUSOIDAL, 1_111_950, 5_559_752, 463.3127),
        (GEOSTATIONARY, -1_000_000, 3_500_000, 2000),
        ("+proj=laea +lat_0=10 +lon_0=20 +ellps=bessel", 0, 0, 500),
        ("+proj=ortho +lat_0=40 +lon_0=-100", 100_000, 100_000, 900),
        ("+proj=omerc +lat_0=4 +lonc=115 +alpha=53 +k=0.99984 +x_0=0 +y_0=0", 0, 500_000, 100),
    ],
    ids=["sinusoidal", "geostationary", "a sphere of its own", "orthographic", "oblique"],
)
def test_custom_crs_reproject_as_in_gdal(tmp_path: Path, crs, left, top, res) -> None:
    transform = Affine(res, 0, left, 0, -res, top)
    path = write_geotiff(tmp_path / "a.tif", PIXELS, crs=crs, transform=transform, nodata=0)
    layer = gx.open_raster(path)
    assert layer.geoxr.crs.epsg is None
    assert same_crs(layer.geoxr.crs, parse_crs(pyproj.CRS(crs)))
    moved = layer.geoxr.reproject("EPSG:4326", resampling="nearest")
    expected = warped_by_gdal(path, moved.geoxr.geobox)
    assert (moved.values[0] != expected).mean() < 1e-3
    back = moved.geoxr.reproject_match(layer, resampling="nearest")
    assert (back.values != 0).mean() > 0.9


def test_pixels_off_the_disk_are_invalid(tmp_path: Path) -> None:
    transform = Affine(120_000, 0, -6_000_000, 0, -120_000, 6_000_000)
    ones = np.ones((100, 100), "uint8")
    path = write_geotiff(tmp_path / "disk.tif", ones, crs=GEOSTATIONARY, transform=transform)
    world = GeoBox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")
    valid = gx.open_raster(path, like=world, resampling="nearest").geoxr.valid.values
    lon, lat = np.meshgrid(np.arange(-179.5, 180), np.arange(89.5, -90, -1))
    x, _ = pyproj.Transformer.from_crs(4326, GEOSTATIONARY, always_xy=True).transform(lon, lat)
    np.testing.assert_array_equal(valid, np.isfinite(x))
    assert 0.3 < valid.mean() < 0.5


def test_a_file_without_crs_is_allowed_until_one_is_needed(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", PIXELS, crs=None, transform=UTM)
    layer = gx.open_raster(path)
    assert layer.geoxr.crs is None
    np.testing.assert_array_equal(layer.isel(y=slice(3, 9)).values[0], PIXELS[3:9])
    with pytest.raises(gx.errors.MissingCRSError, match="write_crs"):
        layer.geoxr.reproject("EPSG:3035")
    placed = layer.geoxr.write_crs("EPSG:32633").geoxr.reproject("EPSG:3035")
    opened = gx.open_raster(path, crs="EPSG:32633").geoxr.reproject("EPSG:3035")
    np.testing.assert_array_equal(placed.values, opened.values)
    assert placed.values.any()


@pytest.mark.parametrize("broken", [np.nan, np.inf, 0.0])
def test_a_file_whose_transform_places_nothing_is_refused(tmp_path: Path, broken) -> None:
    path = tmp_path / "broken.vrt"
    source = write_geotiff(tmp_path / "a.tif", PIXELS, crs=32633, transform=UTM)
    path.write_text(
        f'<VRTDataset rasterXSize="50" rasterYSize="40"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>500000, {broken}, 0, 5200000, 0, -30</GeoTransform>"
        f'<VRTRasterBand dataType="UInt16" band="1"><SimpleSource><SourceFilename>{source}'
        f"</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>",
        encoding="utf-8",
    )
    with pytest.raises(gx.errors.GridError, match=r"broken.vrt has the transform .*gdal_edit"):
        gx.open_raster(path)


def test_a_map_of_the_moon_stays_on_the_moon(tmp_path: Path) -> None:
    moon = "+proj=eqc +R=1737400 +units=m"
    path = write_geotiff(
        tmp_path / "moon.tif", PIXELS, crs=moon, transform=Affine(99, 0, 0, 0, -99, 0)
    )
    layer = gx.open_raster(path)
    there = layer.geoxr.reproject("+proj=longlat +R=1737400 +no_defs", resampling="nearest")
    assert there.values.any()
    with pytest.raises(gx.errors.CRSMismatchError, match="different celestial bodies"):
        layer.geoxr.reproject("EPSG:4326")


def test_netcdf_with_a_custom_projection_opens(tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    pytest.importorskip("netCDF4")
    crs = pyproj.CRS("+proj=lcc +lat_1=30 +lat_2=60 +lat_0=45 +lon_0=-97 +R=6370000 +units=m")
    data = xr.Dataset(
        {"t": (("y", "x"), PIXELS.astype("float32"), {"grid_mapping": "lcc"})},
        coords={
            "y": (
                "y",
                1000.0 * np.arange(40, 0, -1),
                {"standard_name": "projection_y_coordinate", "units": "m"},
            ),
            "x": (
                "x",
                1000.0 * np.arange(50),
                {"standard_name": "projection_x_coordinate", "units": "m"},
            ),
            "lcc": ((), 0, crs.to_cf()),
        },
    )
    path = tmp_path / "a.nc"
    data.to_netcdf(path)
    layer = gx.open_raster(path)
    np.testing.assert_array_equal(layer.values[0], PIXELS)
    np.testing.assert_allclose(layer.x.values, data.x.values)
    np.testing.assert_allclose(layer.y.values, data.y.values)
    assert layer.geoxr.reproject("EPSG:4326", resampling="nearest").geoxr.valid.values.mean() > 0.5


def test_complex_integers_open_as_what_they_are_read_into(tmp_path: Path) -> None:
    path = tmp_path / "c.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=3, height=2, count=1, dtype="complex_int16", crs=32633,
        transform=UTM,
    ) as file:  # fmt: skip
        file.write(np.full((1, 2, 3), 3 - 4j, "complex64"))
    assert open_file(path).reader.dtype == np.complex64
    np.testing.assert_array_equal(gx.open_raster(path).values, np.full((1, 2, 3), 3 - 4j))

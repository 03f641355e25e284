"""Radar, aerial images, label rasters and features."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.features import rasterize

import geoxr as gx
from geoxr.products import products
from geoxr.testing import write_geotiff

GRID = Affine(10, 0, 500_000, 0, -10, 4_000_000)
RTC = "S1A_IW_{date}_DVP_RTC10_G_g{scale}uned_1A2B_{band}.tif"


def write(path: Path, pixels: np.ndarray, nodata: float | None = None, east: float = 0) -> Path:
    grid = Affine.translation(east, 0) @ GRID
    return write_geotiff(path, pixels, crs="EPSG:26911", transform=grid, nodata=nodata)


def test_a_mosaic_in_decibel_keeps_negative_values_and_zero(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    made = {}
    for at, date in enumerate(("20200101T053000", "20200101T053025")):
        for band in ("VV", "VH"):
            pixels = rng.normal(-15, 6, (40, 50)).astype("float32")
            pixels[3, 3], pixels[4, 4], pixels[:, :2] = 0.0, -20.0, np.nan
            made[at, band] = pixels
            write(tmp_path / RTC.format(date=date, scale="d", band=band), pixels, np.nan, at * 100)
    layer = gx.open_product("sentinel1-rtc-db", tmp_path, time="collapse")
    assert layer.attrs["units"] == "dB"
    for at, band in enumerate(("VV", "VH")):
        first, second = np.full((40, 60), np.nan), np.full((40, 60), np.nan)
        first[:, :50], second[:, 10:] = made[0, band], made[1, band]
        expected = np.where(np.isnan(first), second, first).astype("float32")
        np.testing.assert_array_equal(layer.values[at], expected)
        assert layer.values[at, 3, 3] == 0.0
    np.testing.assert_array_equal(layer.geoxr.valid.values, np.isfinite(layer.values).all(axis=0))


def test_power_and_decibel_are_told_apart(tmp_path: Path) -> None:
    ones = np.ones((20, 20), "float32")
    write(tmp_path / RTC.format(date="20200101T053000", scale="p", band="VV"), ones, 0)
    layer = gx.open_product("sentinel1-rtc", tmp_path, bands=["vv"])
    assert (layer.attrs["units"], layer.values.max()) == ("1", 1)
    with pytest.raises(gx.errors.MissingFileError, match="1 like sentinel1-rtc:"):
        gx.open_product("sentinel1-rtc-db", tmp_path, bands=["vv"])


def test_polarisations_of_a_safe_tree_are_one_scene(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    made = []
    for number, band in enumerate(("vv", "vh"), 1):
        made.append(rng.integers(1, 900, (30, 40), "uint16"))
        name = f"s1a-iw-grd-{band}-20200101t053000-20200101t053025-030600-0381b5-00{number}.tiff"
        write(tmp_path / "x.SAFE" / "measurement" / name, made[-1])
    layer = gx.open_product("sentinel1-grd", tmp_path)
    np.testing.assert_array_equal(layer.values, np.stack(made))
    dated = gx.open_product("sentinel1-grd", tmp_path, time="each")
    assert str(dated["time"].values[0]).startswith("2020-01-01T05:30:00")


def test_near_infrared_of_an_aerial_image_is_no_alpha(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    pixels = rng.integers(0, 256, (4, 40, 50), "uint8")
    pixels[3, :10] = 0
    path = write(tmp_path / "m_3211605_ne_11_060_20200415.tif", pixels)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    layer = gx.open_product("naip", tmp_path)
    assert layer["band"].values.tolist() == ["R", "G", "B", "N"]
    np.testing.assert_array_equal(layer.values, pixels)
    colour = gx.open_product("naip", tmp_path, bands=["nir", "red"])
    np.testing.assert_array_equal(colour.values, pixels[[3, 0]])
    rgb = gx.open_product("naip", tmp_path, bands=["red", "green", "blue"])
    np.testing.assert_array_equal(rgb.values, pixels[:3])
    assert rgb.geoxr.valid.values.all()


def test_aerial_images_of_three_and_four_bands(tmp_path: Path, rng: np.random.Generator) -> None:
    three, four = (
        rng.integers(0, 256, (3, 20, 30), "uint8"),
        rng.integers(0, 256, (4, 20, 30), "uint8"),
    )
    write(tmp_path / "m_3211605_ne_11_1_20100415_20101201.tif", three)
    alone = gx.open_product("naip", tmp_path)
    assert alone["common_name"].values.tolist() == ["red", "green", "blue"]
    write(tmp_path / "m_3211605_ne_11_h_20180415.tif", four)
    both = gx.open_product("naip", tmp_path, bands=["red", "green", "blue"])
    np.testing.assert_array_equal(both.values, np.stack([three, four[:3]]))
    with pytest.raises(gx.errors.ArgumentError, match="no band 'N'"):
        gx.open_product("naip", tmp_path, bands=["nir"])
    with pytest.raises(gx.errors.ArgumentError, match="has 3 bands"):
        gx.open_product("naip", tmp_path)


@pytest.mark.parametrize(
    ("product", "name", "nodata", "code", "label"),
    [
        ("cdl", "2021_30m_cdls.tif", 0, 5, "Soybeans"),
        ("cdl", "2021_30m_cdls_-91095_1807575_15000.tif", 0, 1, "Corn"),
        ("nlcd", "nlcd_2019_land_cover_l48_20210604.tif", 0, 41, "Deciduous Forest"),
        ("nlcd", "Annual_NLCD_LndCov_2023_CU_C1V0.tif", 0, 82, "Cultivated Crops"),
        ("worldcover", "ESA_WorldCover_10m_2021_v200_N00E006_Map.tif", 0, 95, "Mangroves"),
        ("chesapeake-lc", "m_3907833_nw_17_1_lc.tif", 15, 2, "Tree canopy / forest"),
        ("chesapeake-lulc", "md_lulc_2018_2022-Edition.tif", None, 127, "Code 127"),
        ("jrc-gsw-transitions", "transitions-0000360000-0000480000.tif", 255, 2, "New permanent"),
        ("jrc-gsw-extent", "extent_80W_50Nv1_4_2021.tif", 255, 1, "Water detected"),
    ],
)  # fmt: skip
def test_labels_have_codes_names_and_colours(
    tmp_path: Path, rng: np.random.Generator, product: str, name: str, nodata: int | None,
    code: int, label: str,
) -> None:  # fmt: skip
    codes = [*products()[product].classes.values, *([nodata] if nodata is not None else [])]
    pixels = rng.choice(np.array(codes, "uint8"), (30, 40))
    write(tmp_path / name, pixels)
    layer = gx.open_product(product, tmp_path)
    assert layer.dims == ("y", "x")
    assert layer.geoxr.kind == "categorical"
    assert layer.dtype == "uint8"
    np.testing.assert_array_equal(layer.values, pixels)
    np.testing.assert_array_equal(
        layer.geoxr.valid.values,
        np.ones(pixels.shape, bool) if nodata is None else pixels != nodata,
    )
    classes = layer.geoxr.classes
    assert dict(zip(classes.values, classes.names, strict=True))[code] == label
    assert all(len(color) == 7 for color in classes.colors)


def test_several_numbers_may_be_no_data(tmp_path: Path) -> None:
    stored = np.array([[0, 100, 200, 253, 254, 255]], "uint8")
    write(tmp_path / "change-0000360000-0000480000.tif", stored)
    layer = gx.open_product("jrc-gsw-change", tmp_path, decode=True)
    np.testing.assert_array_equal(layer.values[0, 0], [-100, 0, 100, np.nan, np.nan, np.nan])
    assert layer.attrs["units"] == "%"


def test_buildings_are_burnt_onto_the_grid_of_an_image(tmp_path: Path) -> None:
    image = gx.open_raster(write(tmp_path / "image.tif", np.ones((40, 50), "uint8")))
    boxes = [shapely.box(500_050, 3_999_800, 500_120, 3_999_900),
             shapely.box(500_300, 3_999_700, 500_333, 3_999_790)]  # fmt: skip
    frame = geopandas.GeoDataFrame(geometry=boxes, crs="EPSG:26911")
    frame.to_file(tmp_path / "Alberta.geojson", driver="GeoJSON", layer_options={"RFC7946": "NO"})
    layer = gx.open_product("canadian-buildings", tmp_path, like=image)
    expected = rasterize([(box, 1) for box in boxes], (40, 50), transform=GRID)
    np.testing.assert_array_equal(layer.values, expected)
    assert layer.geoxr.classes.names == ("background", "building")
    assert layer.attrs["product"] == "canadian-buildings"
    with pytest.raises(gx.errors.ArgumentError, match="like=image"):
        gx.open_product("canadian-buildings", tmp_path)
    frame.to_file(tmp_path / "Yukon.geojson", driver="GeoJSON")
    with pytest.raises(gx.errors.MissingFileError, match="None of 1 files is named"):
        gx.open_product("canadian-buildings", tmp_path / "Yukon.geojson", like=image)

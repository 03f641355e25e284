"""Landsat: names of every sensor, scale, and masks bit by bit."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from affine import Affine

import geoxr as gx
from geoxr.products import products
from geoxr.testing import write_geotiff

GRID = Affine(30, 0, 300_000, 0, -30, 5_000_000)


def write_band(path: Path, pixels: np.ndarray, nodata: float | None = 0) -> Path:
    write_geotiff(path, pixels, crs="EPSG:32632", transform=GRID, nodata=nodata)
    return path


def write_scene(
    folder: Path, rng: np.random.Generator, name: str, bands: list[str]
) -> dict[str, np.ndarray]:
    pixels = {}
    for band in bands:
        quality = band.startswith("QA")
        pixels[band] = rng.integers(0 if quality else 1, 2**16, (60, 70), "uint16")
        write_band(folder / f"{name}_{band}.TIF", pixels[band], None if quality else 0)
    return pixels


SR = [f"SR_B{i}" for i in range(1, 8)]


@pytest.mark.parametrize(
    ("product", "stem", "bands", "red"),
    [
        ("landsat1-l1", "LM01_L1TP_031034_19720928_20200909_02_T2", "B4 B5 B6 B7", "B5"),
        ("landsat3-l1", "LM03_L1GS_031034_19780928_20200909_02_T2", "B4 B5 B6 B7", "B5"),
        ("landsat4-mss-l1", "LM04_L1TP_031034_19830928_20200909_02_T2", "B1 B2 B3 B4", "B2"),
        ("landsat5-mss-l1", "LM05_L1TP_031034_19840928_20200909_02_T2", "B1 B2 B3 B4", "B2"),
        ("landsat4-l1", "LT04_L1TP_031034_19880928_20200909_02_T1", "B1 B2 B3 B4 B5 B6 B7", "B3"),
        ("landsat5-l2-sr", "LT05_L2SP_031034_20100928_20200909_02_T1",
         "SR_B1 SR_B2 SR_B3 SR_B4 SR_B5 SR_B7", "SR_B3"),
        ("landsat7-l2-sr", "LE07_L2SP_031034_20100928_20200909_02_T1",
         "SR_B1 SR_B2 SR_B3 SR_B4 SR_B5 SR_B7", "SR_B3"),
        ("landsat7-l1", "LE07_L1TP_031034_20100928_20200909_02_T1",
         "B1 B2 B3 B4 B5 B6_VCID_1 B6_VCID_2 B7", "B3"),
        ("landsat8-l2-sr", "LC08_L2SP_031034_20180928_20200909_02_T1", " ".join(SR), "SR_B4"),
        ("landsat9-l2-sr", "LC09_L2SP_031034_20220928_20230909_02_T1", " ".join(SR), "SR_B4"),
        ("landsat8-l1", "LC08_L1TP_031034_20180928_20200909_02_RT",
         "B1 B2 B3 B4 B5 B6 B7 B9 B10 B11", "B4"),
    ],
)  # fmt: skip
def test_every_sensor_opens_by_its_names(
    tmp_path: Path, rng: np.random.Generator, product: str, stem: str, bands: str, red: str
) -> None:
    pixels = write_scene(tmp_path, rng, stem, bands.split())
    layer = gx.open_product(product, tmp_path)
    assert layer["band"].values.tolist() == bands.split()
    for band in bands.split():
        np.testing.assert_array_equal(layer.sel(band=band).values, pixels[band])
    assert gx.open_product(product, tmp_path, bands=["red"])["band"].values.tolist() == [red]
    others = [
        one.name
        for one in products().values()
        if one.name != product and one.groups(f"{stem}_{bands.split()[0]}.TIF")
    ]
    assert others == []


def test_reflectance_and_temperature_decode_as_the_guide_says(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    stem = "LC08_L2SP_031034_20180928_20200909_02_T1"
    pixels = write_scene(tmp_path, rng, stem, ["SR_B4", "ST_B10"])
    red = gx.open_product("landsat8-l2-sr", tmp_path, bands=["red"], decode=True)
    np.testing.assert_allclose(red.values[0], pixels["SR_B4"] * 0.0000275 - 0.2, rtol=1e-6)
    warmth = gx.open_product("landsat8-l2-st", tmp_path, decode=True)
    np.testing.assert_allclose(warmth.values[0], pixels["ST_B10"] * 0.00341802 + 149, rtol=1e-6)
    assert (red.attrs["units"], warmth.attrs["units"]) == ("1", "K")


def test_the_panchromatic_band_brings_the_others_onto_its_grid(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    stem = "LC08_L1TP_031034_20180928_20200909_02_T1"
    write_scene(tmp_path, rng, stem, ["B4"])
    pan = rng.integers(1, 2**16, (120, 140), "uint16")
    write_geotiff(
        tmp_path / f"{stem}_B8.TIF", pan, crs="EPSG:32632", nodata=0,
        transform=Affine(15, 0, 300_000, 0, -15, 5_000_000),
    )  # fmt: skip
    layer = gx.open_product("landsat8-l1", tmp_path, bands=["red", "pan"])
    assert layer.shape == (2, 120, 140)
    np.testing.assert_array_equal(layer.sel(band="B8").values, pan)


@pytest.mark.parametrize(
    ("sensor", "stem", "bad"),
    [
        ("landsat8-l2-sr", "LC08_L2SP_031034_20180928_20200909_02_T1", (0, 1, 2, 3, 4)),
        ("landsat7-l2-sr", "LE07_L2SP_031034_20100928_20200909_02_T1", (0, 1, 3, 4)),
    ],
)
def test_clouds_are_masked_as_the_bits_say(
    tmp_path: Path, rng: np.random.Generator, sensor: str, stem: str, bad: tuple[int, ...]
) -> None:
    pixels = write_scene(tmp_path, rng, stem, ["SR_B3", "SR_B4", "QA_PIXEL"])
    # Bits that mean clouds are seldom set, so that something is left.
    pixels["QA_PIXEL"] &= rng.integers(0, 2**16, (60, 70), "uint16")
    pixels["QA_PIXEL"] &= rng.integers(0, 2**16, (60, 70), "uint16")
    write_band(tmp_path / f"{stem}_QA_PIXEL.TIF", pixels["QA_PIXEL"], None)
    layer = gx.open_product(sensor, tmp_path, bands=["SR_B3", "SR_B4"], mask_clouds=True)
    clear = np.ones((60, 70), bool)
    for bit in bad:
        clear &= pixels["QA_PIXEL"] // 2**bit % 2 == 0
    assert 0.1 < clear.mean() < 0.9
    for band in ("SR_B3", "SR_B4"):
        expected = np.where(clear, pixels[band], 0)
        np.testing.assert_array_equal(layer.sel(band=band).values, expected)
    np.testing.assert_array_equal(layer.geoxr.valid.values, clear)
    window = layer[:, 13:40, 7:31]
    np.testing.assert_array_equal(window.values, layer.values[:, 13:40, 7:31])


def test_saturated_pixels_are_masked_in_their_band_alone(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    stem = "LC08_L2SP_031034_20180928_20200909_02_T1"
    pixels = write_scene(tmp_path, rng, stem, ["SR_B2", "SR_B5", "QA_RADSAT"])
    layer = gx.open_product("landsat8-l2-sr", tmp_path, bands=["nir", "blue"], mask_saturated=True)
    for band, bit in (("SR_B5", 4), ("SR_B2", 1)):
        good = pixels["QA_RADSAT"] // 2**bit % 2 == 0
        expected = np.where(good, pixels[band], 0)
        np.testing.assert_array_equal(layer.sel(band=band).values, expected)
    one = gx.open_product("landsat8-l2-sr", tmp_path, bands=["blue"], mask_saturated=True)
    np.testing.assert_array_equal(one.values[0], layer.sel(band="SR_B2").values)


def test_dropped_pixels_are_masked_in_all_bands(tmp_path: Path, rng: np.random.Generator) -> None:
    stem = "LT05_L1TP_031034_20100928_20200909_02_T1"
    pixels = write_scene(tmp_path, rng, stem, ["B3", "B6", "QA_RADSAT"])
    layer = gx.open_product("landsat5-l1", tmp_path, bands=["B3", "B6"], mask_saturated=True)
    flags = pixels["QA_RADSAT"]
    for band, bit in (("B3", 2), ("B6", 5)):
        good = (flags // 2**9 % 2 == 0) & (flags // 2**bit % 2 == 0)
        np.testing.assert_array_equal(layer.sel(band=band).values, np.where(good, pixels[band], 0))


def test_the_first_clear_pixel_shows_where_scenes_overlap(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    early = "LC08_L2SP_031034_20180901_20200909_02_T1"
    late = "LC08_L2SP_031034_20180917_20200909_02_T1"
    first = write_scene(tmp_path, rng, early, ["SR_B4", "QA_PIXEL"])
    second = write_scene(tmp_path, rng, late, ["SR_B4", "QA_PIXEL"])
    layer = gx.open_product(
        "landsat8-l2-sr", tmp_path, bands=["red"], time="collapse", mask_clouds=True
    )
    clear = [one["QA_PIXEL"] & 0b11111 == 0 for one in (first, second)]
    expected = np.where(clear[0], first["SR_B4"], np.where(clear[1], second["SR_B4"], 0))
    assert (clear[1] & ~clear[0]).any()
    np.testing.assert_array_equal(layer.values[0], expected)
    each = gx.open_product("landsat8-l2-sr", tmp_path, bands=["red"], mask_clouds=True)
    np.testing.assert_array_equal(each.values[1, 0], np.where(clear[1], second["SR_B4"], 0))


def test_masks_stay_with_catalogs_and_pickles(tmp_path: Path, rng: np.random.Generator) -> None:
    import pickle

    from geoxr.catalog.catalog import Catalog
    from geoxr.catalog.scan import Given, SceneFiles, scan
    from geoxr.products.files import scenes_of
    from geoxr.products.registry import find_product

    for day in ("20180901", "20180917"):
        write_scene(tmp_path, rng, f"LC08_L2SP_031034_{day}_20200909_02_T1", ["SR_B4", "QA_PIXEL"])
    layer = gx.open_product("landsat8-l2-sr", tmp_path, bands=["red"], mask_clouds=True)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(layer)).values, layer.values)
    product = find_product("landsat8-l2-sr")
    files = sorted(map(str, tmp_path.glob("*.TIF")))
    named, _ = scenes_of(product, files, [product.band("red")], qa=product.qa[:1])
    scenes = [SceneFiles(one.paths, one.bands, one.start, one.end, one.treatment) for one in named]
    catalog = Catalog.of_table(scan(scenes, Given(default=0)).table)
    catalog.to_parquet(tmp_path / "scenes.parquet")
    again = gx.open_raster(Catalog.from_parquet(tmp_path / "scenes.parquet"))
    np.testing.assert_array_equal(again.values, layer.values)
    assert "treatment" not in again.attrs
    known = gx.open_product(
        "landsat8-l2-sr", Catalog.from_parquet(tmp_path / "scenes.parquet"), mask_clouds=True
    )
    xr.testing.assert_identical(known.load(), layer.load())


def test_a_mask_that_is_not_there_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    write_scene(tmp_path, rng, "LC08_L2SP_031034_20180901_20200909_02_T1", ["SR_B4"])
    with pytest.raises(gx.errors.MissingFileError, match="no quality file QA_PIXEL"):
        gx.open_product("landsat8-l2-sr", tmp_path, bands=["red"], mask_clouds=True)
    with pytest.raises(gx.errors.ArgumentError, match="no quality band that tells clouds"):
        gx.open_product("naip", tmp_path, mask_clouds=True)

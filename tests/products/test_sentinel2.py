"""Sentinel-2: trees and names, resolutions on one grid, the offset of baseline 04.00, masks."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.vrt import WarpedVRT

import geoxr as gx
from geoxr.testing import write_geotiff

RES = {"B02": 10, "B03": 10, "B04": 10, "B08": 10, "B05": 20, "B11": 20, "B01": 60, "SCL": 20}
SIDE = 1200


def write(path: Path, pixels: np.ndarray, res: int, east: int = 600_000) -> None:
    write_geotiff(
        path, pixels, crs="EPSG:32632", transform=Affine(res, 0, east, 0, -res, 5_000_040)
    )


def write_safe(
    root: Path,
    rng: np.random.Generator,
    *,
    date: str = "20200101T101319",
    baseline: str = "_N0213",
    bands: tuple[str, ...] = ("B04", "B08"),
    level: str = "L2A",
    pixels: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Write a SAFE tree of GeoTIFFs named as its JPEG 2000 files are."""
    safe = root / f"S2A_MSI{level}_{date}{baseline}_R022_T32TLS_20200101T130000.SAFE"
    images = safe / "GRANULE" / "L2A_T32TLS_A023_20200101T101319" / "IMG_DATA"
    made = {}
    for band in bands:
        res = RES[band]
        n = SIDE // res
        data = rng.integers(0, 9000, (n, n), "uint16") if pixels is None else pixels
        if band == "SCL":
            data = rng.integers(0, 12, (n, n), "uint8")
        stem = f"T32TLS_{date}_{band}"
        if level == "L2A":
            write(images / f"R{res}m" / f"{stem}_{res}m.tif", data, res)
        else:
            write(images / f"{stem}.tif", data, res)
        made[band] = data
    return made


def test_bands_of_three_resolutions_lie_on_the_finest_grid(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    made = write_safe(tmp_path, rng, bands=("B01", "B04", "B11"))
    layer = gx.open_product("sentinel2-l2a", tmp_path, bands=["coastal", "red", "swir16"])
    assert layer.shape == (3, 120, 120)
    assert layer.geoxr.resolution == (10, 10)
    np.testing.assert_array_equal(layer.sel(band="B04").values, made["B04"])
    for band, res in (("B01", 60), ("B11", 20)):
        (path,) = tmp_path.rglob(f"*_{band}_*.tif")
        with (
            rasterio.open(path) as file,
            WarpedVRT(
                file, crs=file.crs, transform=Affine(10, 0, 600_000, 0, -10, 5_000_040), width=120,
                height=120, src_nodata=0, nodata=0, resampling=rasterio.enums.Resampling.bilinear,
            ) as vrt,
        ):  # fmt: skip
            expected = vrt.read(1).astype(int)
        ours = layer.sel(band=band).values.astype(int)
        side = 120 * 10 // res
        assert np.abs(ours - expected)[res // 10 : -res // 10, res // 10 : -res // 10].max() <= 1
        assert len(np.unique(ours)) > side
    coarse = gx.open_product("sentinel2-l2a", tmp_path, bands=["swir16", "coastal"])
    assert coarse.geoxr.resolution == (20, 20)


def test_the_finest_file_of_a_band_is_taken(tmp_path: Path, rng: np.random.Generator) -> None:
    made = write_safe(tmp_path, rng, bands=("B04",))
    images = next(tmp_path.rglob("IMG_DATA"))
    for res in (20, 60):
        data = np.full((SIDE // res, SIDE // res), res, "uint16")
        write(images / f"R{res}m" / f"T32TLS_20200101T101319_B04_{res}m.tif", data, res)
    layer = gx.open_product("sentinel2-l2a", tmp_path, bands=["red"])
    np.testing.assert_array_equal(layer.values[0], made["B04"])


@pytest.mark.parametrize(
    ("name", "dated"),
    [
        ("S2A_32TLS_20200101_0_L2A/{}.tif", True),
        ("T32TLS_20200101T101319_{}.tif", True),
        ("S2A_MSIL2A_20200101T101319_R022_T32TLS_20200102T120000.SAFE/T32TLS_20200101T101319_{}_10m.tif",
         True),
        ("my field/{}.tif", False),
    ],
)  # fmt: skip
def test_names_of_cogs(tmp_path: Path, rng: np.random.Generator, name: str, dated: bool) -> None:
    made = {}
    for band in ("B04", "B08"):
        made[band] = rng.integers(1, 9000, (50, 60), "uint16")
        write(tmp_path / name.format(band), made[band], 10)
    layer = gx.open_product("sentinel2-l2a", tmp_path, bands=["nir", "red"])
    assert layer["band"].values.tolist() == ["B08", "B04"]
    np.testing.assert_array_equal(layer.values, np.stack([made["B08"], made["B04"]]))
    if dated:
        axis = gx.open_product("sentinel2-l2a", tmp_path, bands=["red"], time="each")
        assert str(axis["time"].values[0]).startswith("2020-01-01")


def test_a_ramp_is_seamless_over_the_change_of_the_baseline(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    ramp = np.arange(1, 120 * 120 + 1, dtype="uint16").reshape(120, 120) // 2 + 1
    ramp[:5] = 0
    after = np.where(ramp > 0, ramp + 1000, 0).astype("uint16")
    write_safe(tmp_path, rng, date="20220124T101319", baseline="_N0301", pixels=ramp)
    write_safe(tmp_path, rng, date="20220126T101319", baseline="_N0400", pixels=after)
    layer = gx.open_product("sentinel2-l2a", tmp_path, bands=["red", "nir"])
    assert layer.sizes["time"] == 2
    for step in range(2):
        np.testing.assert_array_equal(layer.values[step], np.stack([ramp, ramp]))
    decoded = gx.open_product("sentinel2-l2a", tmp_path, bands=["red"], decode=True)
    expected = np.where(ramp > 0, ramp * 1e-4, np.nan).astype("float32")
    np.testing.assert_allclose(decoded.values[1, 0], expected, rtol=1e-6)


def test_numbers_below_the_offset_become_the_smallest_valid_one(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    stored = np.full((120, 120), 3000, "uint16")
    stored[0, :6] = [0, 1, 999, 1000, 1001, 1002]
    write_safe(tmp_path, rng, baseline="_N0509", bands=("B04",), pixels=stored)
    layer = gx.open_product("sentinel2-l2a", tmp_path, bands=["red"])
    assert layer.values[0, 0, :7].tolist() == [0, 1, 1, 1, 1, 2, 2000]
    assert layer.geoxr.valid.values[0, :2].tolist() == [False, True]


def test_the_baseline_is_also_read_from_metadata(tmp_path: Path, rng: np.random.Generator) -> None:
    stored = np.full((120, 120), 3000, "uint16")
    write_safe(tmp_path, rng, baseline="", bands=("B04",), pixels=stored)
    (safe,) = tmp_path.glob("*.SAFE")
    (safe / "MTD_MSIL2A.xml").write_text(
        "<n1:x><PROCESSING_BASELINE>05.10</PROCESSING_BASELINE></n1:x>", encoding="utf-8"
    )
    assert gx.open_product("sentinel2-l2a", tmp_path, bands=["red"]).values.max() == 2000


def test_level_1c(tmp_path: Path, rng: np.random.Generator) -> None:
    bands = ("B01", "B02", "B05")
    made = write_safe(tmp_path, rng, bands=bands, level="L1C")
    layer = gx.open_product("sentinel2-l1c", tmp_path, bands=list(bands))
    assert layer.shape == (3, 120, 120)
    np.testing.assert_array_equal(layer.sel(band="B02").values, made["B02"])
    with pytest.raises(gx.errors.MissingFileError, match="3 like sentinel2-l1c"):
        gx.open_product("sentinel2-l2a", tmp_path)


def test_both_levels_in_one_folder_are_kept_apart(tmp_path: Path, rng: np.random.Generator) -> None:
    made = write_safe(tmp_path, rng, bands=("B04",))
    write_safe(tmp_path, rng, bands=("B04",), level="L1C")
    with pytest.warns(UserWarning, match=r"left out: 1 of sentinel2-l1c"):
        layer = gx.open_product("sentinel2-l2a", tmp_path, bands=["red"])
    np.testing.assert_array_equal(layer.values[0], made["B04"])


def test_clouds_are_masked_as_the_scene_classification_says(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    made = write_safe(tmp_path, rng, bands=("B04", "B05", "SCL"))
    layer = gx.open_product("sentinel2-l2a", tmp_path, bands=["red"], mask_clouds=True)
    codes = np.kron(made["SCL"], np.ones((2, 2), int))
    clear = ~np.isin(codes, [0, 1, 3, 8, 9, 10])
    np.testing.assert_array_equal(layer.values[0], np.where(clear, made["B04"], 0))
    coarse = gx.open_product("sentinel2-l2a", tmp_path, bands=["B05"], mask_clouds=True)
    clear = ~np.isin(made["SCL"], [0, 1, 3, 8, 9, 10])
    np.testing.assert_array_equal(coarse.values[0], np.where(clear, made["B05"], 0))
    classes = gx.open_product("sentinel2-scl", tmp_path)
    assert classes.dims == ("y", "x")
    np.testing.assert_array_equal(classes.values, made["SCL"])
    assert dict(zip(classes.geoxr.classes.values, classes.geoxr.classes.names, strict=True))[6] == (
        "Water"
    )


def test_coarse_bands_are_resampled_once_onto_another_grid(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    made = write_safe(tmp_path, rng, bands=("B04", "B11"))
    layer = gx.open_product(
        "sentinel2-l2a", tmp_path, bands=["red", "swir16"], resolution=20, resampling="nearest",
        align="keep",
    )  # fmt: skip
    np.testing.assert_array_equal(layer.sel(band="B11").values, made["B11"])


def test_the_same_tile_twice_is_an_error_or_skipped(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    write_safe(tmp_path, rng, baseline="_N0209", bands=("B04",))
    write_safe(tmp_path, rng, baseline="_N0500", bands=("B04",))
    with pytest.raises(gx.errors.ArgumentError, match="same scene and band"):
        gx.open_product("sentinel2-l2a", tmp_path, bands=["red"])
    with pytest.warns(UserWarning, match="same scene and band"):
        layer = gx.open_product("sentinel2-l2a", tmp_path, bands=["red"], errors="skip")
    assert layer.dims == ("band", "y", "x")


def test_a_band_that_some_scenes_lack(tmp_path: Path, rng: np.random.Generator) -> None:
    write_safe(tmp_path, rng, bands=("B04", "B08"))
    made = write_safe(tmp_path, rng, date="20200111T101319", bands=("B04",))
    with pytest.raises(gx.errors.MissingFileError, match="no file for B08; it has B04"):
        gx.open_product("sentinel2-l2a", tmp_path, bands=["red", "nir"])
    with pytest.warns(UserWarning, match="no file for B08"):
        layer = gx.open_product("sentinel2-l2a", tmp_path, bands=["red", "nir"], errors="skip")
    assert layer.dims == ("band", "y", "x")
    both = gx.open_product("sentinel2-l2a", tmp_path, bands=["red"])
    np.testing.assert_array_equal(both.values[1, 0], made["B04"])

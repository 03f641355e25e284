"""STAC items of known products: masks, shifts and names are those of the same files by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine

import geoxr as gx
from geoxr.testing import write_geotiff

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
SIDE = 40
GRID = Affine(10, 0, 600_000, 0, -10, 5_000_000)


def item_of(name: str, date: str, files: dict[str, Path], **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": shapely.geometry.mapping(shapely.box(10.26, 45.14, 10.28, 45.15)),
        "properties": {"datetime": date, **properties},
        "assets": {
            key: {"href": str(path), "type": COG, "roles": ["data"]} for key, path in files.items()
        },
        "links": [],
    }


def write(path: Path, pixels: np.ndarray, crs: int = 32632, size: float = 10) -> Path:
    grid = Affine(size, 0, 600_000, 0, -size, 5_000_000)
    write_geotiff(path, pixels, crs=crs, transform=grid)
    return path


@pytest.fixture
def sentinel(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, dict[str, Any]]:
    """A scene of baseline 04.00 in a SAFE tree, and an item of it with short keys."""
    safe = tmp_path / "S2A_MSIL2A_20220601T101031_N0400_R022_T32TLS_20220601T180000.SAFE"
    images = safe / "GRANULE" / "L2A" / "IMG_DATA"
    stem = "T32TLS_20220601T101031"
    files = {
        "red": write(
            images / "R10m" / f"{stem}_B04_10m.tif",
            rng.integers(1001, 9000, (SIDE, SIDE), "uint16"),
        ),
        "nir": write(
            images / "R10m" / f"{stem}_B08_10m.tif",
            rng.integers(1001, 9000, (SIDE, SIDE), "uint16"),
        ),
        "SCL": write(
            images / "R20m" / f"{stem}_SCL_20m.tif",
            rng.integers(0, 12, (SIDE // 2, SIDE // 2), "uint8"),
            size=20,
        ),
    }
    return tmp_path, item_of("S2A_T32TLS", "2022-06-01T10:10:31Z", files)


def test_an_item_is_masked_and_shifted_like_its_files(sentinel: tuple[Path, dict]) -> None:
    folder, item = sentinel
    options = {"mask_clouds": True, "product": "sentinel2-l2a"}
    layer = gx.open_stac(item, assets=["nir", "red"], **options)
    files = gx.open_product("sentinel2-l2a", folder, bands=["nir", "red"], mask_clouds=True)
    np.testing.assert_array_equal(layer.values, files.values)
    np.testing.assert_array_equal(layer.geoxr.valid.values, files.geoxr.valid.values)
    assert not layer.geoxr.valid.values.all()
    assert layer["band"].values.tolist() == ["B08", "B04"]
    assert layer["common_name"].values.tolist() == ["nir", "red"]
    assert layer.attrs == files.attrs


def test_a_catalog_of_items_keeps_masks_on_disk(sentinel: tuple[Path, dict]) -> None:
    folder, item = sentinel
    catalog = gx.Catalog.from_stac(item, ["red"], product="sentinel2-l2a", mask_clouds=True)
    again = gx.Catalog.from_parquet(catalog.to_parquet(folder / "items.parquet"))
    layer = again.to_xarray()
    files = gx.open_product("sentinel2-l2a", folder, bands=["red"], mask_clouds=True)
    np.testing.assert_array_equal(layer.values, files.values)
    np.testing.assert_array_equal(layer.geoxr.valid.values, files.geoxr.valid.values)


@pytest.mark.parametrize(
    ("told", "shift"),
    [
        ({}, -1000),  # as the name of the tree tells
        ({"earthsearch:boa_offset_applied": True}, 0),
        ({"raster": (1e-4, -0.1)}, -1000),
        ({"raster": (1e-4, 0)}, 0),
    ],
)
def test_the_shift_of_a_scene_is_what_its_item_tells(
    sentinel: tuple[Path, dict], told: dict[str, Any], shift: int
) -> None:
    _, item = sentinel
    raster = told.pop("raster", None)
    item["properties"].update(told)
    if raster:
        record = {"scale": raster[0], "offset": raster[1], "nodata": 0, "data_type": "uint16"}
        item["assets"]["red"]["raster:bands"] = [record]
    stored = gx.open_raster(item["assets"]["red"]["href"]).values
    layer = gx.open_stac(item, assets="red", product="sentinel2-l2a")
    np.testing.assert_array_equal(layer.values, stored.astype("int64") + shift)


def test_landsat_items_with_keys_of_their_own(tmp_path: Path, rng: np.random.Generator) -> None:
    stem = "LC08_L2SP_031034_20180928_20200909_02_T1"
    red = rng.integers(1, 60_000, (SIDE, SIDE), "uint16")
    flags = rng.integers(0, 2**10, (SIDE, SIDE), "uint16")
    full = rng.integers(0, 2**5, (SIDE, SIDE), "uint16")
    files = {
        "qa_pixel": write(tmp_path / f"{stem}_QA_PIXEL.TIF", flags, size=30),
        "qa_radsat": write(tmp_path / f"{stem}_QA_RADSAT.TIF", full, size=30),
        "red": write(tmp_path / f"{stem}_SR_B4.TIF", red, size=30),
    }
    item = item_of("scene", "2018-09-28T17:00:00Z", files, **{"eo:cloud_cover": 3.0})
    layer = gx.open_stac(
        item, assets=["red"], product="landsat8-l2-sr", mask_clouds=True, mask_saturated=True
    )
    cloudy = (flags & 0b11111) != 0  # fill, dilated cloud, cirrus, cloud, shadow
    saturated = (full >> 3) & 1 == 1  # band 4
    np.testing.assert_array_equal(layer.geoxr.valid.values, ~(cloudy | saturated))
    np.testing.assert_array_equal(layer.values[0], np.where(cloudy | saturated, 0, red))
    decoded = gx.open_stac(item, assets=["red"], product="landsat8-l2-sr", decode=True)
    np.testing.assert_allclose(decoded.values[0], red * 2.75e-5 - 0.2, rtol=1e-6)


def test_one_file_with_all_bands(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = rng.integers(1, 255, (4, SIDE, SIDE), "uint8")
    file = write(tmp_path / "m_3211605_ne_11_060_20200415.tif", pixels, size=0.6)
    item = item_of("naip", "2020-04-15T00:00:00Z", {"image": file})
    layer = gx.open_stac(item, assets=["nir", "red"], product="naip")
    assert layer["common_name"].values.tolist() == ["nir", "red"]
    np.testing.assert_array_equal(layer.values, pixels[[3, 0]])


def test_signed_addresses_are_known_by_their_names() -> None:
    from geoxr.catalog.stac_items import StacItem
    from geoxr.catalog.stac_product import product_bands
    from geoxr.products import products

    stem = "https://example.com/T32TLS_20220601T101031_{}_10m.tif?st=2022&sig=a%2Fb"
    files = {f"asset-{n}": Path(stem.format(b)) for n, b in enumerate(("B04", "B08"))}
    content = item_of("x", "2022-06-01T10:10:31Z", files)
    for n, band in enumerate(("B04", "B08")):
        content["assets"][f"asset-{n}"]["href"] = stem.format(band)
    known = product_bands(products()["sentinel2-l2a"], ["nir"], ())
    assert [one.key for one in known.pick(StacItem(content, None))] == ["asset-1"]


def test_what_cannot_be_done_is_said(sentinel: tuple[Path, dict]) -> None:
    _, item = sentinel
    with pytest.raises(gx.errors.ArgumentError, match=r"need a product.*sentinel2-l2a"):
        gx.open_stac(item, mask_clouds=True)
    with pytest.raises(gx.errors.ArgumentError, match=r"no asset 'swir16'.*red"):
        gx.open_stac(item, assets=["B11"], product="sentinel2-l2a")
    with pytest.raises(gx.errors.ArgumentError, match=r"no band 'purple'"):
        gx.open_stac(item, assets=["purple"], product="sentinel2-l2a")
    del item["assets"]["SCL"]
    with pytest.raises(gx.errors.ArgumentError, match=r"'S2A_T32TLS' has no asset 'SCL'"):
        gx.open_stac(item, assets=["red"], product="sentinel2-l2a", mask_clouds=True)
    with pytest.raises(gx.errors.ArgumentError, match=r"canadian-buildings has features"):
        gx.open_stac(item, product="canadian-buildings")


def test_files_of_another_product_are_refused(tmp_path: Path) -> None:
    stem = "{}_L2SP_031034_20220601_20220610_02_T1_{}.TIF"
    pixels = np.full((SIDE, SIDE), 9000, "uint16")

    def landsat(sensor: str) -> dict[str, Any]:
        names = {"red": "SR_B4", "nir08": "SR_B5", "qa_pixel": "QA_PIXEL"}
        files = {key: write(tmp_path / stem.format(sensor, b), pixels) for key, b in names.items()}
        return item_of(sensor, "2022-06-01", files)

    eight, nine = landsat("LC08"), landsat("LC09")
    for product in ("landsat7-l2-sr", "sentinel2-l2a"):
        with pytest.raises(
            gx.errors.ArgumentError,
            match=rf"'LC08': asset 'red' is LC08_.*B4\.TIF, a file of landsat8-l2-sr, not of {product}",
        ):
            gx.open_stac(eight, assets=["red"], product=product)
    with pytest.raises(gx.errors.ArgumentError, match=r"landsat8-l2-sr, not of naip"):
        gx.open_stac(item_of("a", "2022-06-01", {"image": tmp_path / stem.format("LC08", "SR_B4")}),
                     product="naip")  # fmt: skip
    both = gx.open_stac([eight | {"id": "first"}, nine], assets=["red"], product="landsat8-l2-sr",
                        mask_clouds=True, time="collapse")  # fmt: skip
    assert both["band"].values.tolist() == ["SR_B4"]  # the sensors are alike
    with pytest.raises(gx.errors.ArgumentError, match=r"assets=\['red'\]"):
        gx.open_stac(eight, product="landsat8-l2-sr", bands=["red"])


def test_items_left_out_are_listed(sentinel: tuple[Path, dict]) -> None:
    _, item = sentinel
    lacking = item | {"id": "lacking", "assets": {"nir": item["assets"]["nir"]}}
    with pytest.warns(UserWarning, match=r"1 of 2 .* left out"):
        catalog = gx.Catalog.from_stac([item, lacking], ["red"], errors="skip")
    assert len(catalog) == 1
    assert "'lacking' has no asset 'red'" in catalog.skipped["reason"][0]

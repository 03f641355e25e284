"""Scale and offset: from stored numbers to quantities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine

import geoxr as gx
from geoxr.io.resolve import resolve
from geoxr.testing import LandsatCDL, write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)


def scaled(values: np.ndarray, scale: float, offset: float, good: np.ndarray) -> np.ndarray:
    return np.where(good, values * scale + offset, np.nan).astype("float32")


def test_a_product_decodes_to_its_quantity(farmland: LandsatCDL) -> None:
    image = gx.open_product("landsat8-l2-sr", farmland.scenes, time="collapse", crs="auto")
    layer = image.geoxr.decode()
    expected = scaled(image.values, 2.75e-5, -0.2, image.values != 0)
    np.testing.assert_array_equal(layer.values, expected)
    assert (layer.dtype, layer.attrs["units"], layer.geoxr.nodata) == ("float32", "1", None)
    assert not {"scale", "offset", "decoded_units"} & set(layer.attrs)
    assert layer.attrs["product"] == "landsat8-l2-sr"
    assert layer["wavelength"].equals(image["wavelength"])
    assert (image.attrs["scale"], image.attrs["units"], image.dtype) == (2.75e-5, "DN", "uint16")
    opened = gx.open_product(
        "landsat8-l2-sr", farmland.scenes, time="collapse", crs="auto", decode=True
    )
    xr.testing.assert_identical(opened.compute(), layer.compute())


def test_labels_are_never_decoded(farmland: LandsatCDL) -> None:
    label = gx.open_product("cdl", farmland.cdl, decode=True)
    assert label.dtype == "uint8"
    with pytest.raises(gx.errors.ArgumentError, match="label raster: its numbers are codes"):
        label.assign_attrs(scale=2.0).geoxr.decode()


def test_a_file_decodes_by_its_scale_and_offset(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = rng.integers(-300, 300, (40, 50), dtype="int16")
    path = write_geotiff(
        tmp_path / "t.tif", pixels, crs=32633, transform=UTM, nodata=-300, band_names=["lst"]
    )
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets, file.units = (0.02,), (273.15,), ("K",)
    stored = gx.open_raster(path)
    assert (stored.dtype, stored.attrs["scale"]) == ("int16", 0.02)
    layer = gx.open_raster(path, decode=True)
    assert layer.attrs["units"] == "K"
    np.testing.assert_array_equal(layer.values[0], scaled(pixels, 0.02, 273.15, pixels != -300))


def test_bands_may_differ_and_stay_with_their_scale(image: xr.DataArray) -> None:
    scales = np.array([0.1, 0.01, 2.0])
    layer = image.assign_coords(scale=("band", scales)).assign_attrs(offset=1.0)
    picked = layer.isel(band=[2, 0]).geoxr.decode()
    expected = scaled(
        image.values[[2, 0]], scales[[2, 0], None, None], 1.0, image.values[[2, 0]] != 0
    )
    np.testing.assert_array_equal(picked.values, expected)
    assert "scale" not in picked.coords
    then = layer.geoxr.decode().isel(band=[2, 0])
    np.testing.assert_array_equal(then.values, expected)
    single = layer.isel(band=1).geoxr.decode()
    np.testing.assert_array_equal(
        single.values, scaled(image.values[1], 0.01, 1.0, image.values[1] != 0)
    )
    listed = image.assign_attrs(scale=[0.1, 0.01, 2.0])
    with pytest.raises(gx.errors.ArgumentError, match=r"3 numbers.*assign_coords\(scale="):
        listed.geoxr.decode()
    alike = image.assign_attrs(scale=[0.1, 0.1, 0.1]).geoxr.decode()
    np.testing.assert_array_equal(alike.values, scaled(image.values, 0.1, 0.0, image.values != 0))


def test_bands_may_have_units_and_nodata_of_their_own(image: xr.DataArray) -> None:
    layer = image.assign_coords(
        units=("band", ["DN", "K", "mm"]), scale=("band", [0.5, 1.0, 1.0]),
        nodata=("band", [0.0, np.nan, 1.0]),
    )  # fmt: skip
    del layer.attrs["units"]
    decoded = layer.geoxr.decode()
    assert decoded["units"].values.tolist() == ["1", "K", "mm"]
    assert not {"nodata", "scale"} & set(decoded.coords) and "units" not in decoded.attrs
    assert layer.isel(band=1).geoxr.decode()["units"].item() == "K"


def test_the_names_of_cf_are_understood(image: xr.DataArray) -> None:
    packed = image.assign_attrs(scale_factor=0.5, add_offset=-3.0, units="K")
    layer = packed.geoxr.decode()
    np.testing.assert_array_equal(layer.values, scaled(image.values, 0.5, -3, image.values != 0))
    assert layer.attrs["units"] == "K"
    assert not {"scale_factor", "add_offset"} & set(layer.attrs)


def test_nothing_is_decoded_twice(image: xr.DataArray) -> None:
    layer = image.assign_attrs(scale=0.5).geoxr.decode()
    with pytest.raises(gx.errors.ArgumentError, match=r"nothing to decode.*units are '1'"):
        layer.geoxr.decode()
    with pytest.raises(gx.errors.ArgumentError, match="nothing to decode"):
        image.geoxr.decode()
    with pytest.raises(gx.errors.ArgumentError, match="decodes nothing"):
        image.assign_attrs(scale=0.0).geoxr.decode()


def test_a_dataset_decodes_what_has_a_scale(image: xr.DataArray, labels: xr.DataArray) -> None:
    ds = gx.merge({"image": image.assign_attrs(scale=0.5), "mask": labels})
    decoded = ds.geoxr.decode()
    assert (decoded["image"].dtype, decoded["mask"].dtype) == ("float32", "uint8")
    assert decoded["mask"].geoxr.classes == labels.geoxr.classes
    np.testing.assert_array_equal(decoded["mask"].values, labels.values)
    assert list(decoded) == ["image", "mask"]
    with pytest.raises(gx.errors.ArgumentError, match="No layer of the Dataset"):
        decoded.geoxr.decode()


def test_decoding_before_and_after_a_slice_and_a_warp_is_fast_and_right(
    image: xr.DataArray,
) -> None:
    packed = image.assign_attrs(scale=0.5)
    whole = packed.geoxr.decode()
    part = {"y": slice(7, 90), "x": slice(40, 120), "band": [2, 0]}
    np.testing.assert_array_equal(packed.isel(part).geoxr.decode().values, whole.isel(part).values)
    moved = whole.geoxr.reproject("EPSG:3035", resampling="nearest")
    stored = image.geoxr.reproject("EPSG:3035", resampling="nearest")
    np.testing.assert_array_equal(moved.values, scaled(stored.values, 0.5, 0, stored.values != 0))
    assert resolve(whole.isel(part)).slow is None

"""Masks and the bits of quality layers."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import geoxr as gx
from geoxr.io.mapped import blank
from geoxr.io.resolve import resolve
from geoxr.testing import LandsatCDL, write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)
SHARED = Path(
    os.environ.get("GEOXR_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data")
)
#: Fill, dilated cloud, cirrus, cloud, cloud shadow; and high confidence of cirrus.
BITS = {0: 1, 1: 1, 2: 1, 3: 1, 4: 1, (14, 2): 3}


def bit_by_bit(codes: np.ndarray, fields: dict[object, object]) -> np.ndarray:
    """Which of some codes have none of the flags, one bit of one code at a time."""
    bad = {}
    for code in np.unique(codes).tolist():
        digits = f"{code % (1 << 64):064b}"[::-1]
        bad[code] = any(
            int(digits[first : first + width][::-1], 2) in np.atleast_1d(values).tolist()
            for field, values in fields.items()
            for first, width in [field if isinstance(field, tuple) else (field, 1)]
        )
    return ~np.vectorize(bad.__getitem__, otypes=[bool])(codes)


def write_qa(path: Path, codes: np.ndarray, nodata: float | None = None) -> xr.DataArray:
    return gx.open_raster(write_geotiff(path, codes, crs=32633, transform=UTM, nodata=nodata))


def test_masked_pixels_are_nodata(image: xr.DataArray, rng: np.random.Generator) -> None:
    keep = gx.map(lambda a: a[1] % 3 != 0, image)
    layer = image.geoxr.mask(keep)
    expected = np.where(
        (image.values[1] % 3 != 0) & (image.values != 0).all(axis=0), image.values, 0
    )
    np.testing.assert_array_equal(layer.values, expected)
    assert layer.attrs == image.attrs and layer.dtype == image.dtype and layer.name == image.name
    np.testing.assert_array_equal(layer.geoxr.valid.values, (expected != 0).all(axis=0))
    assert resolve(layer).slow is None
    part = {"y": slice(30, 90), "x": slice(11, 77)}
    np.testing.assert_array_equal(layer.isel(part).values, expected[:, 30:90, 11:77])


def test_validity_travels_where_no_number_marks_missing_pixels(unmarked: xr.DataArray) -> None:
    keep = gx.map(lambda a: a[0] > 99, unmarked)
    ds = gx.merge({"image": unmarked.geoxr.mask(keep), "other": unmarked})
    good = unmarked.values[0] > 99
    assert set(ds) == {"image", "image_valid", "other"}
    np.testing.assert_array_equal(ds["image_valid"].values, good)
    np.testing.assert_array_equal(ds["image"].values, np.where(good, unmarked.values, 0))
    batch = next(iter(ds.geoxr.to_torch(ds.geoxr.grid_chips(50), batch_size=12)))
    assert int(batch["valid_image"].sum()) == good.sum()


def test_masking_a_dataset_renews_its_validity(unmarked: xr.DataArray, image: xr.DataArray) -> None:
    first = gx.map(lambda a: a[0] > 99, unmarked)
    ds = gx.merge({"a": unmarked.geoxr.mask(first), "b": image}).assign(extra=("n", [1, 2]))
    second = gx.map(lambda a: a[1] < 150, unmarked)
    masked = ds.geoxr.mask(second)
    good = (unmarked.values[0] > 99) & (unmarked.values[1] < 150)
    np.testing.assert_array_equal(masked["a_valid"].values, good)
    assert masked.compute().geoxr.crs == ds.geoxr.crs and masked["extra"].values.tolist() == [1, 2]
    np.testing.assert_array_equal(
        masked["b"].values, np.where(unmarked.values[1] < 150, image.values, 0)
    )
    assert masked["a"].attrs["ancillary_variables"] == "a_valid"
    assert list(masked) == list(ds)


def test_a_mask_with_bands_or_dates_goes_with_its_own(farmland: LandsatCDL) -> None:
    series = gx.open_product("landsat8-l2-sr", farmland.scenes, crs="auto")
    by_band = gx.map(lambda a: a > 9000, series, along=())
    values = series.values
    np.testing.assert_array_equal(
        series.geoxr.mask(by_band).values, np.where(values > 9000, values, 0)
    )
    by_date = gx.map(lambda a: a[0] > 9000, series)
    good = (values[:, :1] > 9000) & (values != 0).all(axis=1, keepdims=True)
    np.testing.assert_array_equal(series.geoxr.mask(by_date).values, np.where(good, values, 0))
    once = by_date.isel(time=0, drop=True)
    np.testing.assert_array_equal(series.geoxr.mask(once).values, np.where(good[:1], values, 0))
    with pytest.raises(gx.errors.ArgumentError, match=r"keep has 2 dates.*isel"):
        series.isel(time=0).geoxr.mask(by_date)
    with pytest.raises(gx.errors.ArgumentError, match="keep has 2 bands"):
        series.geoxr.mask(by_band.isel(band=slice(2)))


def test_masks_must_be_boolean_and_on_the_grid(image: xr.DataArray, labels: xr.DataArray) -> None:
    with pytest.raises(gx.errors.ArgumentError, match=r"keep is uint8.*gx.qa_mask"):
        image.geoxr.mask(labels)
    keep = gx.map(lambda a: a > 3, labels)
    with pytest.raises(gx.errors.GridError, match="reproject_match"):
        image.geoxr.mask(keep.isel(y=slice(5, None)))


def test_bits_say_what_a_check_bit_by_bit_says(tmp_path: Path, rng: np.random.Generator) -> None:
    codes = rng.integers(0, 1 << 16, (60, 70), dtype="uint16")
    qa = write_qa(tmp_path / "qa.tif", codes)
    clear = gx.qa_mask(qa, bits=BITS)
    assert clear.dims == ("y", "x") and clear.dtype == bool
    np.testing.assert_array_equal(clear.values, bit_by_bit(codes, BITS))
    cloudy = gx.qa_mask(qa, bits=BITS, keep=True)
    np.testing.assert_array_equal(cloudy.values, ~clear.values)
    np.testing.assert_array_equal(
        gx.qa_mask(qa, bits=[3, 4]).values, bit_by_bit(codes, {3: 1, 4: 1})
    )


@settings(max_examples=60, deadline=None)
@given(
    codes=st.sampled_from(["uint8", "int8", "int16", "uint16", "int32", "uint64"]).flatmap(
        lambda name: npst.arrays(name, (3, 4))
    ),
    first=st.integers(0, 7), width=st.integers(1, 8), data=st.data(),
)  # fmt: skip
def test_fields_of_any_type_and_width(
    codes: np.ndarray, first: int, width: int, data: st.DataObject
) -> None:
    width = min(width, 8 * codes.dtype.itemsize - first)
    values = data.draw(st.lists(st.integers(0, (1 << width) - 1), min_size=1, max_size=3))
    qa = xr.DataArray(codes, {"y": [2.5, 1.5, 0.5], "x": [0.5, 1.5, 2.5, 3.5]}, ("y", "x"))
    fields = {(first, width): values}
    np.testing.assert_array_equal(gx.qa_mask(qa, bits=fields).values, bit_by_bit(codes, fields))


def test_fields_as_wide_as_a_signed_type(rng: np.random.Generator) -> None:
    codes = rng.integers(-3, 3, (3, 4), dtype="int16")
    qa = xr.DataArray(codes, {"y": [2.5, 1.5, 0.5], "x": [0.5, 1.5, 2.5, 3.5]}, ("y", "x"))
    clear = gx.qa_mask(qa, bits={(0, 16): (1 << 16) - 2, (15, 1): 0})
    np.testing.assert_array_equal(clear.values, (codes < 0) & (codes != -2))


def test_values_say_what_to_leave_out(tmp_path: Path, rng: np.random.Generator) -> None:
    scl = rng.integers(0, 12, (60, 70), dtype="uint8")
    layer = write_qa(tmp_path / "scl.tif", scl, nodata=0)
    bad = [1, 3, 8, 9, 10]
    clear = gx.qa_mask(layer, values=bad)
    good = scl != 0
    np.testing.assert_array_equal(clear.values[good], ~np.isin(scl[good], bad))
    np.testing.assert_array_equal(clear.geoxr.valid.values, good)
    image = write_qa(tmp_path / "image.tif", rng.integers(1, 99, (60, 70), dtype="uint8"), nodata=0)
    masked = image.geoxr.mask(clear)
    np.testing.assert_array_equal(masked.values != 0, (good & ~np.isin(scl, bad))[None])
    xr.testing.assert_identical(pickle.loads(pickle.dumps(masked)).compute(), masked.compute())


def test_senseless_flags_are_named(tmp_path: Path, image: xr.DataArray) -> None:
    qa = write_qa(tmp_path / "qa.tif", np.zeros((5, 6), "uint8"))
    for bits, message in (
        ([8], "Bits 8 to 8 are not in uint8"),
        ({(6, 3): 1}, "Bits 6 to 8 are not"),
        ({(0, 2): 4}, "no values of the 2 bits from 0: they hold 0 to 3"),
    ):
        with pytest.raises(gx.errors.ArgumentError, match=message):
            gx.qa_mask(qa, bits=bits)  # type: ignore[arg-type]
    with pytest.raises(gx.errors.ArgumentError, match="Say what to leave out"):
        gx.qa_mask(qa)
    with pytest.raises(gx.errors.ArgumentError, match="qa is float32"):
        gx.qa_mask(image.geoxr.astype("float32"), bits=[1])


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["bool", "int8", "uint16", "int32", "float32", "float64", "complex64"]),
    data=st.data(),
)
def test_missing_pixels_are_written_over_whatever_they_were(name: str, data: st.DataObject) -> None:
    pixels = data.draw(npst.arrays(name, (2, 3, 4)))
    good = data.draw(npst.arrays(bool, (1, 3, 4)))
    fill = {"f": np.nan, "c": np.nan, "b": False}.get(
        pixels.dtype.kind, data.draw(st.integers(0, 99))
    )
    expected = np.where(good, pixels, pixels.dtype.type(fill))
    blank(pixels, good, fill)
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("scene", ["LC08_L2SP_005009_20150710", "LC08_L2SP_017036_20130419"])
def test_real_landsat_quality_bands(scene: str) -> None:
    found = sorted((SHARED / "landsat_c2l2").rglob(f"{scene}*_QA_PIXEL.TIF"))
    if not found:
        pytest.skip(f"no {scene} under {SHARED}")
    with rasterio.open(found[0]) as file:
        codes = file.read(1)[:1500, :1500]
    qa = gx.open_raster(found[0]).isel(y=slice(1500), x=slice(1500))
    clear = gx.qa_mask(qa, bits=BITS)
    np.testing.assert_array_equal(clear.values & clear.geoxr.valid.values, bit_by_bit(codes, BITS))
    cloud = gx.qa_mask(qa, bits=[3], keep=True)
    np.testing.assert_array_equal(cloud.values, (codes & 8) != 0)

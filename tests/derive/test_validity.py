"""Where pixels may be used, and nodata values that are written onto layers."""

import numpy as np
import pytest
import xarray as xr

import geoxr as gx


def test_computed_integers_do_not_know_their_validity(image: xr.DataArray) -> None:
    loaded = image.load()
    with pytest.raises(gx.errors.ValidityError, match=r"write_nodata\(0\)"):
        _ = loaded.geoxr.valid
    trusted = loaded.geoxr.write_nodata(0)
    np.testing.assert_array_equal(trusted.geoxr.valid.values, (loaded.values != 0).all(axis=0))


def test_all_valid_is_where_every_layer_is(image: xr.DataArray, labels: xr.DataArray) -> None:
    ds = gx.merge({"image": image, "mask": labels})
    expected = (image.values != 0).all(axis=0) & (labels.values != 255)
    np.testing.assert_array_equal(ds.geoxr.valid.values, expected)


def test_a_dataset_without_layers_has_no_validity() -> None:
    with pytest.raises(gx.errors.ArgumentError, match="no variable with the dimensions y and x"):
        _ = xr.Dataset({"a": ("t", [1, 2])}).geoxr.valid


def test_what_was_missing_gets_the_new_nodata_too(labels: xr.DataArray) -> None:
    other = labels.geoxr.write_nodata(7)
    codes = labels.values
    np.testing.assert_array_equal(other.values, np.where(codes == 255, 7, codes))
    np.testing.assert_array_equal(other.geoxr.valid.values, (codes != 255) & (codes != 7))


def test_a_nodata_that_no_pixel_can_have_is_refused(labels: xr.DataArray) -> None:
    with pytest.raises(gx.errors.ArgumentError, match="uint8 cannot be -9999"):
        labels.geoxr.write_nodata(-9999)

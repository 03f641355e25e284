"""What is written onto layers."""

import numpy as np
import pytest
import xarray as xr

import geoxr as gx


def test_what_was_missing_gets_the_new_nodata_too(labels: xr.DataArray) -> None:
    other = labels.geoxr.write_nodata(7)
    codes = labels.values
    np.testing.assert_array_equal(other.values, np.where(codes == 255, 7, codes))
    np.testing.assert_array_equal(other.geoxr.valid.values, (codes != 255) & (codes != 7))


def test_a_nodata_that_no_pixel_can_have_is_refused(labels: xr.DataArray) -> None:
    with pytest.raises(gx.errors.ArgumentError, match="uint8 cannot be -9999"):
        labels.geoxr.write_nodata(-9999)

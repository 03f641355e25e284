"""Classes that occur in a label raster."""

import numpy as np
import pytest
import xarray as xr

import geoxr as gx


def test_present_classes_are_those_of_the_valid_pixels(labels: xr.DataArray) -> None:
    part = labels.isel(y=slice(0, 40), x=slice(0, 40)).geoxr.write_nodata(3)
    found = part.geoxr.present_classes()
    codes = part.values
    assert found.values == tuple(np.unique(codes[part.geoxr.valid.values]).tolist())
    assert 3 not in found.values
    names = dict(zip(found.values, found.names, strict=True))
    assert names[1] == "Corn"
    assert names[9] == "9"


def test_what_has_fractions_is_no_label_raster(labels: xr.DataArray) -> None:
    with pytest.raises(gx.errors.ClassesError, match="float32; class codes are whole numbers"):
        labels.geoxr.astype("float32").geoxr.present_classes()


def test_a_thousand_values_are_no_classes() -> None:
    height = xr.DataArray(
        np.arange(1200, dtype="int16").reshape(30, 40),
        {"y": np.arange(30, 0, -1.0), "x": np.arange(40.0)},
        ("y", "x"),
    )
    with pytest.raises(gx.errors.ClassesError, match="more than 1024 different values"):
        height.geoxr.present_classes()


def test_without_valid_pixels_there_are_no_classes(labels: xr.DataArray) -> None:
    with pytest.raises(gx.errors.ClassesError, match="no valid pixel"):
        labels.isel(y=slice(0, 10), x=slice(0, 10)).geoxr.present_classes()

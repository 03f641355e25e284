"""`astype`: another type of pixel, checked."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import geoxr as gx
from geoxr.derive.cast import cast
from geoxr.io.resolve import resolve

COORDS = {"y": [3.5, 2.5, 1.5, 0.5], "x": [0.5, 1.5, 2.5]}


def test_a_wider_type_keeps_pixels_nodata_and_validity(image: xr.DataArray) -> None:
    for dtype in ("int32", "float32", "float64", "uint32"):
        layer = image.geoxr.astype(dtype)
        np.testing.assert_array_equal(layer.values, image.values.astype(dtype))
        assert (layer.dtype, layer.geoxr.nodata) == (dtype, 0)
        np.testing.assert_array_equal(layer.geoxr.valid.values, image.geoxr.valid.values)
        assert resolve(layer).slow is None
    assert image.dtype == "uint16"


def test_a_valid_value_that_does_not_fit_raises(image: xr.DataArray) -> None:
    layer = image.geoxr.astype("uint8")
    with pytest.raises(
        gx.errors.ArgumentError, match=r"A pixel is \d{3}, but uint8 holds 0 to 255"
    ):
        _ = layer.values
    small = gx.map(lambda a: a // 10, image, nodata=0).geoxr.astype("uint8")
    good = (image.values != 0).all(axis=0)
    np.testing.assert_array_equal(small.values[:, good], image.values[:, good] // 10)


def test_nodata_that_does_not_fit_must_be_named(labels: xr.DataArray) -> None:
    with pytest.raises(gx.errors.ArgumentError, match=r"are 255, which int8 cannot.*nodata=\.\.\."):
        labels.geoxr.astype("int8")
    layer = labels.geoxr.astype("int8", nodata=-1)
    stored = labels.values.astype("int16")
    np.testing.assert_array_equal(layer.values, np.where(stored == 255, -1, stored))
    assert layer.geoxr.nodata == -1 and layer.geoxr.classes == labels.geoxr.classes
    with pytest.raises(gx.errors.ArgumentError, match="A valid pixel is 4, which is to mark"):
        _ = labels.geoxr.astype("int8", nodata=4).values


def test_fractions_are_cut_off_but_never_become_nodata() -> None:
    values = np.array([[0.4, -0.4, 1.9], [-9999.0, np.nan, 3.0], [2.0, 7.5, -1.5], [0, 5, 6]])
    layer = xr.DataArray(values, COORDS, ("y", "x"))
    cut = layer.geoxr.astype("int16")
    good = np.isfinite(values)
    np.testing.assert_array_equal(cut.values[good], values[good].astype("int16"))
    np.testing.assert_array_equal(cut.geoxr.valid.values, good)
    assert cut.geoxr.nodata is None
    marked = layer.geoxr.astype("int16", nodata=0).values
    np.testing.assert_array_equal(marked[0], [1, 1, 1])
    assert marked[1, 1] == 0 and marked[3, 0] == 1


def test_what_is_no_real_number_is_refused(image: xr.DataArray) -> None:
    for dtype in ("complex64", "datetime64[ns]", "U3"):
        with pytest.raises(gx.errors.ArgumentError, match="only real numbers and booleans"):
            image.geoxr.astype(dtype)


def test_booleans_become_numbers_and_back(unmarked: xr.DataArray) -> None:
    bright = gx.map(lambda a: a > 99, unmarked, along=())
    numbers = bright.geoxr.astype("uint8")
    np.testing.assert_array_equal(numbers.values, unmarked.values > 99)
    np.testing.assert_array_equal(numbers.geoxr.astype(bool).values, unmarked.values > 99)


INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32"]


@settings(max_examples=150, deadline=None)
@given(
    values=st.sampled_from([*INTEGERS, "float32", "float64"]).flatmap(
        lambda name: npst.arrays(name, 6, elements=npst.from_dtype(np.dtype(name), allow_nan=False,
                                                                   allow_infinity=False))
    ),
    name=st.sampled_from(INTEGERS),
)  # fmt: skip
def test_a_cast_is_exact_or_raises(values: np.ndarray, name: str) -> None:
    info, whole = np.iinfo(name), [int(value) for value in values.tolist()]
    good = np.ones(values.shape, bool)
    if all(info.min <= value <= info.max for value in whole):
        assert cast(values, np.dtype(name), good, "A pixel is").tolist() == whole
    else:
        with pytest.raises(gx.errors.ArgumentError, match="holds"):
            cast(values, np.dtype(name), good, "A pixel is")

"""Where pixels may be used."""

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

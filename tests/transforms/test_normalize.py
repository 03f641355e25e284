"""Statistics against numpy, and what normalisation does with invalid pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import geoxr as gx
from geoxr.errors import ArgumentError
from geoxr.transforms import Normalize, Stats, stats_of_batches
from geoxr.transforms.statistics import stats


def make_batches(sizes: list[int], seed: int = 0, offset: float = 0.0) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [
        {
            "image": torch.from_numpy(
                (offset + rng.normal([5, -300], [2, 70], (n, 7, 6, 2)).transpose(0, 3, 1, 2)).copy()
            ).float(),
            "valid_image": torch.from_numpy(rng.random((n, 7, 6)) < 0.7),
        }
        for n in sizes
    ]


def valid_pixels(batches: list[dict]) -> np.ndarray:
    """Valid pixels of all batches, float64 (n, C)."""
    return np.concatenate(
        [b["image"].numpy().transpose(0, 2, 3, 1)[b["valid_image"].numpy()] for b in batches]
    ).astype("float64")


def test_stats_equal_numpy_on_all_valid_pixels() -> None:
    batches = make_batches([3, 1, 4])
    pixels = valid_pixels(batches)
    stats = stats_of_batches(batches)
    assert stats.count == len(pixels)
    np.testing.assert_allclose(stats.mean, pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(stats.std, pixels.std(0), rtol=1e-12)


def test_stats_keep_their_digits_where_the_mean_is_large() -> None:
    # float32 at 1e6 has steps of 1/16; sums of squares in float32 would lose the spread altogether.
    batches = make_batches([2, 2, 2], offset=1e6)
    pixels = valid_pixels(batches)
    np.testing.assert_allclose(stats_of_batches(batches).std, pixels.std(0), rtol=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 2**31))
def test_stats_do_not_depend_on_how_pixels_are_batched(sizes: list[int], seed: int) -> None:
    pieces = make_batches(sizes, seed)
    whole = {key: torch.cat([piece[key] for piece in pieces]) for key in pieces[0]}
    one, many = stats_of_batches([whole]), stats_of_batches(pieces)
    assert one.count == many.count
    np.testing.assert_allclose(one.mean, many.mean, rtol=1e-11)
    np.testing.assert_allclose(one.std, many.std, rtol=1e-11)


def test_stats_use_the_validity_of_their_own_variable() -> None:
    image = torch.tensor([[[[1.0, 3.0, 9.0]]]])
    only = torch.tensor([[[True, False, False]]])
    two = torch.tensor([[[True, True, False]]])
    assert stats_of_batches([{"image": image, "valid": only, "valid_image": two}]).mean == (2.0,)
    assert stats_of_batches([{"image": image, "valid": two}]).mean == (2.0,)
    assert stats_of_batches([{"image": image}]).count == 3
    assert stats_of_batches([{"dem": image, "valid_dem": two}], key="dem").mean == (2.0,)


def test_invalid_nan_does_not_reach_the_stats_but_valid_nan_raises() -> None:
    image = torch.tensor([[[[1.0, torch.nan]], [[2.0, 4.0]]]])
    valid = torch.tensor([[[True, False]]])
    assert stats_of_batches([{"image": image, "valid": valid}]).mean == (1.0, 2.0)
    with pytest.raises(ArgumentError, match=r"Bands \[0\].*NaN or infinite"):
        stats_of_batches([{"image": image}])


def test_a_constant_band_gets_std_one() -> None:
    image = torch.stack([torch.full((8, 8), 0.1), torch.randn(8, 8)])[None]
    assert stats_of_batches([{"image": image}, {"image": image[:, :, :3]}]).std[0] == 1.0


def test_no_valid_pixels_raise() -> None:
    batch = {"image": torch.zeros(1, 1, 2, 2), "valid": torch.zeros(1, 2, 2, dtype=torch.bool)}
    with pytest.raises(ArgumentError, match="No valid pixel of 'image'"):
        stats_of_batches([batch])
    with pytest.raises(ArgumentError, match="No valid pixel"):
        stats_of_batches([])


def test_stats_survive_json() -> None:
    stats = stats_of_batches(make_batches([2]))
    assert Stats.from_dict(json.loads(json.dumps(stats.to_dict()))) == stats
    assert all(type(value) is float for value in stats.mean + stats.std)


@pytest.mark.parametrize(
    ("mean", "std", "match"),
    [
        ((1.0,), (1.0, 2.0), "1 means and 2"),
        ((), (), "0 means"),
        ((1.0,), (0.0,), "positive"),
        ((float("nan"),), (1.0,), "finite"),
        ((1.0,), (float("inf"),), "positive"),
    ],
)
def test_stats_that_cannot_be_are_refused(
    mean: tuple[float, ...], std: tuple[float, ...], match: str
) -> None:
    with pytest.raises(ArgumentError, match=match):
        Stats(mean, std, 1)


def test_normalised_valid_pixels_have_mean_zero_and_std_one_and_invalid_are_fill() -> None:
    (batch,) = make_batches([4])
    batch["image"][0, :, 0, 0], batch["valid_image"][0, 0, 0] = torch.nan, False
    normalize = Normalize(stats_of_batches([batch]))
    for fill in (0.0, -7.0):
        out = normalize(batch["image"], batch["valid_image"], fill=fill)
        assert (out.movedim(1, -1)[~batch["valid_image"]] == fill).all()
        again = stats_of_batches([{"image": out, "valid": batch["valid_image"]}])
        np.testing.assert_allclose(again.mean, 0, atol=1e-5)
        np.testing.assert_allclose(again.std, 1, atol=1e-5)


def test_normalize_takes_time_series() -> None:
    image, valid = torch.randn(2, 3, 2, 4, 4), torch.rand(2, 3, 4, 4) < 0.5
    normalize = Normalize(Stats((1.0, 2.0), (3.0, 4.0), 1))
    out = normalize(image, valid)
    for t in range(3):
        assert torch.equal(out[:, t], normalize(image[:, t], valid[:, t]))


def test_normalize_refuses_another_number_of_bands() -> None:
    with pytest.raises(ArgumentError, match=r"shape \(1, 3, 4, 4\).*\(B, 2, H, W\) is expected"):
        Normalize(Stats.identity(2))(torch.zeros(1, 3, 4, 4))


def test_stats_of_a_layer_without_bands_or_with_dates_equal_numpy(utm_image: Path) -> None:
    image = gx.open_raster(utm_image)
    one = image.isel(band=0, drop=True).to_dataset(name="image")
    found = stats(one, one.geoxr.grid_chips(50))
    pixels = one["image"].values[one["image"].geoxr.valid.values]
    assert found.count == pixels.size
    np.testing.assert_allclose((found.mean[0], found.std[0]), (pixels.mean(), pixels.std()))
    dates = pd.DatetimeIndex(["2020-01-01", "2021-01-01"], name="time")
    loaded = image.astype("float32").where(image != 0)
    series = xr.concat([loaded, loaded * 3], dates).drop_attrs(deep=False)
    ds = series.assign_attrs(kind="continuous").to_dataset(name="image")
    found = stats(ds, ds.geoxr.grid_chips(50))
    everything = series.values.transpose(1, 0, 2, 3).reshape(3, -1)
    np.testing.assert_allclose(found.mean, np.nanmean(everything, axis=1), rtol=1e-6)
    np.testing.assert_allclose(found.std, np.nanstd(everything, axis=1), rtol=1e-6)

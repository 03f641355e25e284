"""Layers and plans that tests of sampling share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.grid.coords import coords_of


@pytest.fixture(scope="session")
def grid() -> GeoBox:
    """90 x 130 pixels of 10 m in EPSG:32633."""
    return GeoBox((90, 130), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")


@pytest.fixture(scope="session")
def whole(grid: GeoBox) -> Callable[..., xr.Dataset]:
    """Dataset of one band of integers, which cannot be invalid, on any grid."""

    def make(geobox: GeoBox = grid) -> xr.Dataset:
        data = np.arange(geobox.height * geobox.width, dtype="int32").reshape(1, *geobox.shape)
        return xr.Dataset({"image": (("band", "y", "x"), data)}, coords=coords_of(geobox))

    return make


@pytest.fixture(scope="session")
def masked(grid: GeoBox) -> Callable[..., xr.Dataset]:
    """Dataset of one layer that is valid where an array (y, x) or (time, y, x) says so."""

    def make(valid: np.ndarray, geobox: GeoBox = grid) -> xr.Dataset:
        data = np.where(valid, 1, np.nan).astype("float32")
        dims = ("time", "y", "x")[-valid.ndim :]
        coords = dict(coords_of(geobox))
        if valid.ndim == 3:
            days = np.arange(len(valid)) * np.timedelta64(10, "D")
            coords["time"] = xr.Variable("time", np.datetime64("2020-01-01", "ns") + days)
        return xr.Dataset({"image": (dims, data)}, coords=coords)

    return make


@pytest.fixture(scope="session")
def corners_of() -> Callable[[gx.ChipPlan], np.ndarray]:
    """Rows and columns (n, 2) of the corners of all chips of a plan."""

    def take(plan: gx.ChipPlan) -> np.ndarray:
        return plan.spots(plan.indices(0, len(plan))).corners

    return take


@pytest.fixture(scope="session")
def check_uniform() -> Callable[[np.ndarray, np.ndarray], None]:
    """Chi-square test of corners (n, 2) against probabilities by row and column."""

    def check(corners: np.ndarray, chance: np.ndarray) -> None:
        counts = np.zeros(chance.shape)
        np.add.at(counts, tuple(corners.T), 1)
        assert not counts[chance == 0].any()
        expected = (chance / chance.sum() * len(corners))[chance > 0]
        assert expected.min() > 8  # else the statistic is not that of chi-square
        statistic = ((counts[chance > 0] - expected) ** 2 / expected).sum()
        freedom = len(expected) - 1
        # Wilson and Hilferty (1931): the cube root of chi-square is nearly normal.
        spread = np.sqrt(2 / (9 * freedom))
        z = ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / spread
        assert abs(z) < 4, (z, statistic, freedom)

    return check

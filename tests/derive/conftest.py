"""Layers with holes for everything that is derived from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from affine import Affine

import geoxr as gx
from geoxr.testing import write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)


@pytest.fixture
def image(utm_image: Path) -> xr.DataArray:
    """Three bands of uint16 with a wedge of nodata 0, and some more of it in the last band."""
    return gx.open_raster(utm_image)


@pytest.fixture
def labels(tmp_path: Path, rng: np.random.Generator) -> xr.DataArray:
    """Codes 0 to 9 on the grid of `image`, with names for 1 to 5 and nodata 255."""
    pixels = rng.integers(0, 10, (150, 200), dtype="uint8")
    pixels[:20, :30] = 255
    path = write_geotiff(
        tmp_path / "labels.tif", pixels, crs="EPSG:32633", transform=UTM, nodata=255
    )
    names = {1: "Corn", 2: "Soybeans", 3: "Forest", 4: "Pasture", 5: "Water"}
    return (
        gx.open_raster(path, kind="categorical").isel(band=0, drop=True).geoxr.write_classes(names)
    )


@pytest.fixture
def unmarked(tmp_path: Path, rng: np.random.Generator) -> xr.DataArray:
    """Integers on the grid of `image` of which no number marks missing pixels."""
    pixels = rng.integers(0, 256, (2, 150, 200), dtype="uint8")
    path = write_geotiff(tmp_path / "unmarked.tif", pixels, crs="EPSG:32633", transform=UTM)
    return gx.open_raster(path)

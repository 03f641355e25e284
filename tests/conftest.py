"""Data that many tests share: small, synthetic, written to real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from affine import Affine

from geoxr.testing import LandsatCDL, make_landsat_cdl, write_geotiff


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep torch from spinning on cores that loader threads and other test processes need."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def farmland(tmp_path_factory: pytest.TempPathFactory) -> LandsatCDL:
    """Two Landsat-like scenes in two UTM zones over a crop label raster in EPSG:5070."""
    return make_landsat_cdl(tmp_path_factory.mktemp("farmland"), size=256, seed=0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def utm_image(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Three smooth bands in EPSG:32633 at 10 m with a wedge of nodata (0)."""
    rows, cols = np.mgrid[:150, :200]
    wave = 500 + 200 * np.sin(cols / 17) + 150 * np.cos(rows / 11)
    pixels = np.stack([wave + 100 * band + rng.normal(0, 5, wave.shape) for band in range(3)])
    pixels[:, rows > cols + 60] = 0
    path = tmp_path / "image.tif"
    write_geotiff(
        path,
        pixels.astype("uint16"),
        crs="EPSG:32633",
        transform=Affine(10, 0, 500_000, 0, -10, 5_200_000),
        nodata=0,
        band_names=["red", "green", "nir"],
    )
    return path


@pytest.fixture
def label_3035(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Field-shaped labels 1..5 in EPSG:3035 at 10 m that cover `utm_image`; no nodata value."""
    fields = rng.integers(1, 6, (40, 50), dtype="uint8")
    pixels = np.kron(fields, np.ones((8, 8), "uint8"))
    path = tmp_path / "label.tif"
    write_geotiff(
        path,
        pixels,
        crs="EPSG:3035",
        transform=Affine(10, 0, 4_701_000, 0, -10, 2_662_500),
    )
    return path

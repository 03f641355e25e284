"""Writing small GeoTIFFs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoxr.errors import ArgumentError
from geoxr.testing import write_geotiff

TRANSFORM = Affine(30, 0, 600_015, 0, -30, 4_600_005)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    array = np.arange(2 * 40 * 50, dtype="int16").reshape(2, 40, 50)
    path = write_geotiff(
        tmp_path / "deep" / "a.tif",
        array,
        crs="EPSG:32615",
        transform=TRANSFORM,
        nodata=-1,
        band_names=["VV", "VH"],
        compress="deflate",
        blockxsize=16,
        blockysize=32,
    )
    with rasterio.open(path) as file:
        assert np.array_equal(file.read(), array)
        assert (file.crs, file.transform, file.nodata) == ("EPSG:32615", TRANSFORM, -1)
        assert file.descriptions == ("VV", "VH")
        assert file.block_shapes == [(32, 16)] * 2
        assert file.compression.name == "deflate"
    assert [file.name for file in path.parent.iterdir()] == ["a.tif"]


def test_a_palette_and_strips_are_possible(tmp_path: Path) -> None:
    array = np.eye(40, dtype="uint8")
    path = write_geotiff(
        tmp_path / "a.tif",
        array,
        crs=None,
        transform=TRANSFORM,
        colormap={1: (255, 0, 0)},
        tiled=False,
    )
    with rasterio.open(path) as file:
        assert file.colormap(1)[1] == (255, 0, 0, 255)
        assert file.block_shapes[0][1] == 40
        assert np.array_equal(file.read(1), array)


def test_wrong_shapes_and_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="has 1 dimensions"):
        write_geotiff(tmp_path / "a.tif", np.zeros(3), crs=None, transform=TRANSFORM)
    with pytest.raises(ArgumentError, match="2 band names for 1 bands"):
        write_geotiff(
            tmp_path / "a.tif",
            np.zeros((3, 3)),
            crs=None,
            transform=TRANSFORM,
            band_names=["a", "b"],
        )
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_geotiff(
        tmp_path / "a.tif", np.ones((3, 3), "uint8"), crs=None, transform=TRANSFORM
    )
    with pytest.raises(ValueError, match="4"):
        write_geotiff(
            path,
            np.ones((3, 3), "uint8"),
            crs=None,
            transform=TRANSFORM,
            colormap={0: (1, 2, 3, 4, 4)},
        )
    with rasterio.open(path) as file:
        assert file.read(1).sum() == 9
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]

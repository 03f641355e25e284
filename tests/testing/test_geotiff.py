"""Writing small GeoTIFFs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.errors import RasterioIOError

from geoxr.errors import ArgumentError, DiskFullError
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


def test_a_full_disk_leaves_the_old_file_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = {"crs": None, "transform": TRANSFORM}
    path = write_geotiff(tmp_path / "a.tif", np.ones((3, 3), "uint8"), **grid)

    def fail(self: object, *_: object) -> None:
        raise RasterioIOError("Write failed")

    monkeypatch.setattr(rasterio.io.DatasetWriter, "write", fail)
    with pytest.raises(RasterioIOError, match="Write failed"):
        write_geotiff(path, np.zeros((3, 3), "uint8"), **grid)
    full = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(DiskFullError, match=r"a.tif was not written in full: .* 0.0 MB are free"):
        write_geotiff(path, np.zeros((3, 3), "uint8"), **grid)
    with rasterio.open(path) as file:
        assert file.read(1).sum() == 9
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


def test_a_file_that_ends_too_early_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rasterio.io.DatasetWriter, "write", lambda self, pixels: None)
    with pytest.raises(DiskFullError, match="not written in full"):
        write_geotiff(
            tmp_path / "a.tif",
            np.ones((600, 600)),
            crs=None,
            transform=TRANSFORM,
            sparse_ok=True,
        )
    assert not list(tmp_path.iterdir())

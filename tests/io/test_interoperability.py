"""rioxarray, odc-geo and xbatcher work on lazy layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import odc.geo.xr
import pytest
import rasterio
import rioxarray  # noqa: F401
import xarray as xr
from rasterio.enums import Resampling

import geoxr as gx
from geoxr.io.layer import LayerArray
from geoxr.io.resolve import resolve


@pytest.fixture
def layer(utm_image: Path) -> xr.DataArray:
    return gx.open_raster(utm_image)


def test_rioxarray_knows_the_grid(layer: xr.DataArray, utm_image: Path) -> None:
    with rasterio.open(utm_image) as file:
        assert layer.rio.crs == file.crs
        assert layer.rio.bounds() == tuple(file.bounds)
        assert layer.rio.transform() == file.transform
        assert layer.rio.resolution() == (10, -10)
        assert (layer.rio.width, layer.rio.height) == (file.width, file.height)


def test_rioxarray_clips_lazily(layer: xr.DataArray) -> None:
    part = layer.rio.clip_box(500_095, 5_198_905, 500_405, 5_199_305)
    assert resolve(part).slow is None
    assert isinstance(part.variable._data.array, LayerArray)
    assert part.geoxr.geobox == layer.isel(x=slice(9, 41), y=slice(69, 110)).geoxr.geobox
    np.testing.assert_array_equal(part.values, layer.values[:, 69:110, 9:41])


def test_rioxarray_writes_layers(layer: xr.DataArray, tmp_path: Path) -> None:
    warped = layer.geoxr.reproject("EPSG:3035")
    warped.rio.to_raster(tmp_path / "w.tif")
    with rasterio.open(tmp_path / "w.tif") as file:
        np.testing.assert_array_equal(file.read(), warped.values)
        assert file.transform.almost_equals(warped.geoxr.geobox.affine, 1e-9)
        assert file.crs.to_epsg() == 3035


def test_rioxarray_reprojects_layers(layer: xr.DataArray) -> None:
    warped = layer.rio.reproject("EPSG:3035", resampling=Resampling.nearest, nodata=0)
    assert warped.geoxr.crs.epsg == 3035
    ours = gx.reproject(layer, geobox=warped.geoxr.geobox, resampling="nearest")
    assert (ours.values == warped.values).mean() > 0.98  # theirs is off by up to 1/8 pixel


def test_odc_knows_the_grid(layer: xr.DataArray) -> None:
    assert odc.geo.xr is not None
    assert layer.odc.geobox == layer.geoxr.geobox
    assert layer.odc.crs == layer.geoxr.crs


@pytest.mark.parametrize("overlap", [0, 16])
def test_xbatcher_makes_batches_of_layers(layer: xr.DataArray, overlap: int) -> None:
    xbatcher = pytest.importorskip("xbatcher")
    ds = gx.merge({"image": layer, "copy": layer})
    generator = xbatcher.BatchGenerator(
        ds, {"y": 64, "x": 64}, input_overlap={"y": overlap, "x": overlap} if overlap else {},
        preload_batch=False,
    )  # fmt: skip
    now, number, step = ds.compute(), 0, 64 - overlap
    corners = [(r, c) for r in range(0, 150 - 63, step) for c in range(0, 200 - 63, step)]
    for batch, (row, col) in zip(generator, corners, strict=True):
        expected = now.isel(y=slice(row, row + 64), x=slice(col, col + 64))
        xr.testing.assert_identical(batch.compute(), expected)
        assert batch.geoxr.geobox == expected.geoxr.geobox
        assert resolve(batch["image"]).slow is None
        number += 1
    assert number == len(generator) == len(corners)

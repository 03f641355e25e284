"""Layers written once and read from there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from affine import Affine

import geoxr as gx
from geoxr.export import cache as module
from geoxr.io.geotiff import GeotiffReader
from geoxr.io.resolve import resolve
from geoxr.testing import LandsatCDL, write_geotiff


def aligned(farmland: LandsatCDL, scale: float = 1.0) -> xr.Dataset:
    image = gx.open_product(
        "landsat8-l2-sr", farmland.scenes, time="collapse", crs="auto", decode=True
    )
    image = gx.map(lambda a: a * np.float32(scale), image.isel(band=[2, 3, 4]), along=(), units="1")
    return gx.merge({"image": image, "mask": gx.open_product("cdl", farmland.cdl)}, like="mask")


def test_a_cached_dataset_equals_the_one_it_was_made_of(
    farmland: LandsatCDL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = aligned(farmland).assign_attrs(title="fields").assign(extra=("n", [1.5]))
    cached = ds.geoxr.cache(tmp_path / "c.zarr")
    xr.testing.assert_identical(cached.compute(), ds.compute())
    assert list(cached.data_vars) == list(ds.data_vars)
    assert resolve(cached["image"]).slow is None

    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("the files were read")

    monkeypatch.setattr(GeotiffReader, "read", fail)
    monkeypatch.setattr(module, "to_zarr", fail)
    again = aligned(farmland).geoxr.cache(tmp_path / "c.zarr")
    assert float(again["image"].max()) == float(cached["image"].max())


def test_a_cached_layer_keeps_name_type_and_validity(tmp_path: Path, utm_image: Path) -> None:
    image = gx.open_raster(utm_image)
    bright = gx.map(lambda a: a[0] > 500, image, name=None)
    cached = bright.geoxr.cache(tmp_path / "b.zarr")
    xr.testing.assert_identical(cached.compute(), bright.compute())
    assert cached.name is None and cached.dtype == bool
    np.testing.assert_array_equal(cached.geoxr.valid.values, bright.geoxr.valid.values)
    warped = image.geoxr.reproject("EPSG:3035")
    kept = warped.geoxr.cache(tmp_path / "w.zarr")
    xr.testing.assert_identical(kept.compute(), warped.compute())
    np.testing.assert_array_equal(kept.geoxr.valid.values, warped.geoxr.valid.values)


def test_other_layers_never_pass_for_the_cached_ones(farmland: LandsatCDL, tmp_path: Path) -> None:
    path = tmp_path / "c.zarr"
    aligned(farmland).geoxr.cache(path)
    others = (
        aligned(farmland, scale=2.0),
        aligned(farmland).isel(x=slice(1, None)),
        aligned(farmland)[["image"]],
    )
    for other in others:
        with pytest.raises(
            gx.errors.OutputExistsError, match=r"holds other layers.*overwrite=True"
        ):
            other.geoxr.cache(path)
    doubled = others[0].geoxr.cache(path, overwrite=True)
    xr.testing.assert_identical(doubled.compute(), others[0].compute())


def test_a_file_that_changed_is_noticed(tmp_path: Path) -> None:
    affine = Affine(10, 0, 500_000, 0, -10, 5_200_000)
    path, where = tmp_path / "a.tif", tmp_path / "c.zarr"
    write_geotiff(path, np.full((20, 20), 3, "uint8"), crs=32633, transform=affine)
    gx.open_raster(path).geoxr.cache(where)
    write_geotiff(path, np.full((20, 20), 4, "uint8"), crs=32633, transform=affine)
    os.utime(path, (1, 1))
    with pytest.raises(gx.errors.OutputExistsError, match="their files, grid"):
        gx.open_raster(path).geoxr.cache(where)
    assert (gx.open_raster(path).geoxr.cache(where, overwrite=True).values == 4).all()


def test_what_is_no_cache_is_left_alone(tmp_path: Path, utm_image: Path) -> None:
    image = gx.open_raster(utm_image)
    image.geoxr.to_zarr(tmp_path / "own.zarr")
    (tmp_path / "notes.zarr").write_text("keep")
    for name in ("own.zarr", "notes.zarr"):
        with pytest.raises(gx.errors.OutputExistsError, match="holds something else"):
            image.geoxr.cache(tmp_path / name)
    assert (tmp_path / "notes.zarr").read_text() == "keep"

"""xarray opens files through geoxr, and they stay layers."""

from __future__ import annotations

import importlib
import pickle
import tomllib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import geoxr as gx
from geoxr.io.backend import GeoxrBackendEntrypoint
from geoxr.io.gdal import GdalReader
from geoxr.io.layer import LayerArray
from geoxr.io.resolve import resolve

ROOT = Path(__file__).parents[2]


def opened(paths: object, **options: object) -> xr.Dataset:
    return xr.open_dataset(paths, engine=GeoxrBackendEntrypoint, **options)  # type: ignore[arg-type]


def test_the_entry_point_names_the_class() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, name = project["entry-points"]["xarray.backends"]["geoxr"].split(":")
    assert getattr(importlib.import_module(module), name) is GeoxrBackendEntrypoint


def test_a_file_is_a_variable_of_its_name(utm_image: Path) -> None:
    ds = opened(utm_image)
    expected = gx.open_raster(utm_image)
    assert list(ds.data_vars) == ["image"]
    assert type(ds["image"].variable) is xr.Variable
    xr.testing.assert_identical(ds["image"].compute(), expected.compute())
    assert ds.geoxr.geobox == expected.geoxr.geobox
    assert opened(str(utm_image), bands=["nir"])["image"]["band"].values.tolist() == ["nir"]
    assert list(opened(utm_image, drop_variables="image").data_vars) == []


@pytest.mark.parametrize("cache", [None, True, False])
def test_nothing_is_read_or_kept(
    utm_image: Path, cache: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(GdalReader, "read", None)
        ds = opened(utm_image, cache=cache)
        part = ds["image"].isel(y=slice(10, 90), x=slice(5, 70))
        assert resolve(part).slow is None
        repr(ds)
        ds.copy()
    expected = gx.open_raster(utm_image).values
    np.testing.assert_array_equal(ds["image"].values, expected)
    np.testing.assert_array_equal(ds["image"].geoxr.valid.values, (expected != 0).all(axis=0))
    assert isinstance(ds["image"].variable._data.array, LayerArray)
    assert len(pickle.dumps(ds)) < 2 * sum(c.nbytes for c in ds.coords.values()) + 20_000
    loader = ds.geoxr.to_torch(ds.geoxr.random_chips(32, 4), batch_size=4)
    assert next(iter(loader))["image"].shape == (4, 3, 32, 32)


def test_new_values_may_be_given(utm_image: Path) -> None:
    entry = GeoxrBackendEntrypoint()
    for ds in (opened(utm_image), entry.open_dataset(utm_image)):
        ds["image"].data = np.zeros(ds["image"].shape)
        assert ds["image"].values.sum() == 0
        with pytest.raises(ValueError, match="shape"):
            ds["image"].data = np.zeros(3)


@pytest.mark.parametrize("chunks", [{}, {"y": 64, "x": 64}, "auto", 50])
def test_chunks_give_dask(utm_image: Path, chunks: object) -> None:
    ds = opened(utm_image, chunks=chunks)
    assert ds["image"].chunks is not None
    np.testing.assert_array_equal(ds["image"].values, gx.open_raster(utm_image).values)


def test_files_of_one_grid_are_variables(tmp_path: Path, utm_image: Path, label_3035: Path) -> None:
    second = gx.open_raster(utm_image).geoxr.to_cog(tmp_path / "second.tif")
    for paths, names in (
        ([utm_image, second], ["image", "second"]),
        ({"a": utm_image, "b": second}, ["a", "b"]),
    ):
        ds = opened(paths)
        assert list(ds.data_vars) == names
        xr.testing.assert_equal(ds[names[0]], ds[names[1]])
    with pytest.raises(gx.errors.GridError, match=r"'label' and 'image' are on different grids"):
        opened([utm_image, label_3035])
    with pytest.raises(gx.errors.ArgumentError, match="same name"):
        opened([utm_image, utm_image])
    with pytest.raises(gx.errors.ArgumentError, match="opens paths"):
        opened([3])


def test_zarr_stores_open_with_what_they_hold(tmp_path: Path, utm_image: Path) -> None:
    ds = opened(utm_image)
    ds.geoxr.to_zarr(tmp_path / "c.zarr")
    back = opened(tmp_path / "c.zarr")
    xr.testing.assert_identical(back.compute(), gx.open_zarr(tmp_path / "c.zarr").compute())
    assert isinstance(back["image"].variable._data.array, LayerArray)


def test_other_engines_are_not_pushed_aside(utm_image: Path) -> None:
    assert not GeoxrBackendEntrypoint().guess_can_open(str(utm_image))

"""Layers as dask arrays: one task a chunk, on any scheduler, named by what they read."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from dask.base import tokenize

import geoxr as gx
from geoxr.io.gdal import GdalReader
from geoxr.io.layer import LayerArray


@pytest.fixture
def ds(utm_image: Path, label_3035: Path) -> xr.Dataset:
    image = gx.open_raster(utm_image)
    label = gx.open_raster(label_3035, kind="categorical").isel(band=0, drop=True)
    return gx.merge({"image": image, "label": label}, like="image")


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("pixels were read")

    monkeypatch.setattr(GdalReader, "read", fail)


def tasks(da: xr.DataArray) -> int:
    return len(dict(da.__dask_graph__()))


@pytest.mark.usefixtures("no_reading")
@pytest.mark.parametrize(
    ("size", "expected"),
    [(64, 3 * 4), (1000, 1), ({"y": 50, "x": 200}, 3), ({"y": 50, "x": 50, "band": 1}, 36),
     ({"x": 100}, 2), ({"y": -1, "band": 2}, 2)],
)  # fmt: skip
def test_one_task_for_each_chunk(ds: xr.Dataset, size: object, expected: int) -> None:
    image = ds["image"].geoxr.chunk(size)
    assert image.data.npartitions == expected
    assert tasks(image) == expected
    plain = ds["image"].chunk(size if isinstance(size, dict) else {"y": size, "x": size})
    assert plain.data.npartitions == expected
    assert tasks(plain) == expected + 1  # what holds the reader


@pytest.mark.usefixtures("no_reading")
def test_bands_of_every_layer_are_chunked(utm_image: Path) -> None:
    image = gx.open_raster(utm_image)
    ds = gx.merge({"a": image, "b": image.isel(band=[0, 1])})
    chunked = ds.geoxr.chunk({"band": 1})
    assert chunked["a"].chunks[0] == (1, 1, 1)
    assert chunked["b"].chunks[0] == (1, 1)


@pytest.mark.parametrize("how", ["synchronous", "threads", "processes"])
def test_every_scheduler_gives_the_same_pixels(ds: xr.Dataset, how: str) -> None:
    expected = ds.compute()
    chunked = ds.geoxr.chunk(96)
    plain = ds.chunk({"y": 70, "x": 200, "band": 2})
    with dask.config.set(scheduler=how, num_workers=1 if how == "processes" else 2):
        for found in dask.compute(chunked, plain):  # together, since processes start slowly
            xr.testing.assert_identical(found, expected)


@pytest.mark.slow
def test_a_cluster_gives_the_same_pixels(ds: xr.Dataset) -> None:
    distributed = pytest.importorskip("distributed")
    expected = ds.compute()
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}),
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=True, host="127.0.0.1",
            dashboard_address=None,
        ) as cluster,
        distributed.Client(cluster),
    ):  # fmt: skip
        xr.testing.assert_identical(ds.geoxr.chunk(64).compute(), expected)
        lazy = xr.DataArray(
            ds["image"].geoxr.chunk(64).data,
            ds["image"].coords,
            ds["image"].dims,
            attrs={"kind": "continuous"},
        ).astype("float32")
        warped = lazy.geoxr.reproject("EPSG:3035")
        ours = lazy.copy(data=expected["image"].values.astype("float32"))
        ours = ours.geoxr.reproject("EPSG:3035")
        np.testing.assert_array_equal(warped.geoxr.chunk(100).compute(), ours)


def test_chunks_keep_what_the_layer_says(ds: xr.Dataset) -> None:
    chunked = ds.geoxr.chunk(64)
    for name in ds.data_vars:
        assert chunked[name].attrs == ds[name].attrs
    assert chunked.geoxr.geobox == ds.geoxr.geobox


def test_a_graph_pickles_small(ds: xr.Dataset) -> None:
    graph = ds["image"].geoxr.chunk(10).__dask_graph__()
    assert len(pickle.dumps(dict(graph))) < 100 * len(graph) + 20_000


def test_a_large_reader_is_sent_once(ds: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from geoxr.io import chunks

    monkeypatch.setattr(chunks, "_SMALL", 10)
    image = ds["image"].geoxr.chunk(64)
    assert tasks(image) == 12 + 1
    np.testing.assert_array_equal(image.values, ds["image"].values)


@pytest.mark.usefixtures("no_reading")
@pytest.mark.parametrize(
    "view",
    [
        lambda ds: ds,
        lambda ds: ds["image"],
        lambda ds: ds["image"].variable,
        lambda ds: ds["image"].isel(y=slice(3, 9), band=[2, 0]),
        lambda ds: ds["image"].transpose("x", "y", "band"),
        lambda ds: ds["image"].geoxr.reproject("EPSG:3035"),
        lambda ds: ds["image"].geoxr.valid,
        lambda ds: ds["image"].variable._data,
    ],
)
def test_tokens_read_no_pixel_and_repeat(ds: xr.Dataset, view: object) -> None:
    one, two = tokenize(view(ds)), tokenize(view(pickle.loads(pickle.dumps(ds))))  # type: ignore[operator]
    assert one == two


@pytest.mark.usefixtures("no_reading")
def test_tokens_tell_layers_apart(ds: xr.Dataset, utm_image: Path) -> None:
    image = ds["image"]
    views = [
        image, image.isel(y=slice(1, None)), image.isel(y=slice(None, -1)), image.isel(band=[1, 0, 2]),
        image.isel(band=0), image.assign_attrs(units="K"), ds["label"], image.rename("b"),
        image.transpose("y", "x", "band"), gx.open_raster(utm_image, nodata=3),
        image.geoxr.reproject("EPSG:3035"),
        image.geoxr.reproject("EPSG:3035", resampling="nearest"),
    ]  # fmt: skip
    assert len({tokenize(view) for view in views}) == len(views)


def test_a_file_written_anew_has_another_token(tmp_path: Path) -> None:
    from affine import Affine

    from geoxr.testing import write_geotiff

    names = set()
    for value in (1, 2):
        write_geotiff(tmp_path / "a.tif", np.full((8, 8, 8), value, "uint8")[0],
                      crs="EPSG:32633", transform=Affine(1, 0, 5e5, 0, -1, 5e6))  # fmt: skip
        names.add(gx.open_raster(tmp_path / "a.tif").geoxr.chunk(4).data.name)
    assert len(names) == 2


def test_names_are_the_same_in_another_process(utm_image: Path) -> None:
    code = (
        f"import geoxr as gx; da = gx.open_raster({str(utm_image)!r}).geoxr.reproject('EPSG:3035');"
        "print(da.geoxr.chunk(64).data.name, da.chunk(y=50).data.name)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    da = gx.open_raster(utm_image).geoxr.reproject("EPSG:3035")
    assert run.stdout.split() == [da.geoxr.chunk(64).data.name, da.chunk(y=50).data.name]


def test_tokens_of_other_arrays_are_those_of_xarray() -> None:
    array = xr.DataArray(np.arange(6).reshape(2, 3), dims=("a", "b"), name="n")
    assert tokenize(array) == tokenize(array.copy(deep=True))
    assert tokenize(array) != tokenize(array + 1)


@pytest.mark.parametrize(
    ("size", "match"), [(0, "holds nothing"), ({"z": 4}, "no dimension 'z'"), (-5, "holds nothing")]
)
def test_chunks_that_make_no_sense_are_refused(ds: xr.Dataset, size: object, match: str) -> None:
    with pytest.raises(gx.errors.ArgumentError, match=match):
        ds.geoxr.chunk(size)


def test_the_array_of_a_layer_is_what_tokens_are_made_of(ds: xr.Dataset) -> None:
    data = ds["image"].variable._data
    assert isinstance(data.array, LayerArray)
    assert tokenize(data) != tokenize(data.array)

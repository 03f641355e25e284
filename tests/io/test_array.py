"""Arrays in memory, in Zarr, in NetCDF and in dask, read like files."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.grid.coords import coords_of
from geoxr.grid.geobox import geobox_of
from geoxr.grid.window import Window
from geoxr.io.array import ArrayReader, Indexed, InMemory
from geoxr.io.reader import read_window
from geoxr.io.resolve import resolve
from geoxr.io.zarr import StoredArray

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have a Zarr V3 specification")

SHAPE = {"time": 3, "band": 4, "y": 30, "x": 40}
GRID = GeoBox((30, 40), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")
DATES = np.array(["2024-01-01", "2024-02-01", "2024-03-01"], "datetime64[ns]")


def cube(dtype: str = "int16", dims: tuple[str, ...] = ("time", "band", "y", "x")) -> xr.DataArray:
    """An array whose numbers tell their place."""
    shape = tuple(SHAPE[dim] for dim in dims)
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    coords = {**coords_of(GRID), "time": DATES, "band": list("abcd")}
    kept = {key: value for key, value in coords.items() if key in (*dims, "spatial_ref")}
    return xr.DataArray(pixels, dims=dims, coords=kept, name="cube")


def store(array: xr.DataArray, path: Path, way: str) -> xr.DataArray:
    """Write an array and open it lazily with xarray alone."""
    plain = array.rename("cube")
    if way == "netcdf4":
        plain.to_netcdf(path.with_suffix(".nc"), engine=way)
        return xr.open_dataset(path.with_suffix(".nc"), engine=way, decode_coords="all")["cube"]
    if way == "dask":
        return plain.chunk({"y": 7, "x": 11})
    encoding = {"cube": {**array.encoding, "chunks": tuple(min(n, 8) for n in plain.shape)}}
    plain.to_zarr(path, zarr_format=3 if way == "zarr3" else 2, encoding=encoding,
                  consolidated=False)  # fmt: skip
    return xr.open_zarr(path, chunks=None, decode_coords="all", consolidated=False)["cube"]


WAYS = ("memory", "netcdf4", "zarr2", "zarr3", "dask")


def opened(array: xr.DataArray, path: Path, way: str) -> xr.DataArray:
    return array if way == "memory" else store(array, path / "cube.zarr", way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "dims", [("time", "band", "y", "x"), ("y", "x"), ("y", "x", "band"), ("x", "time", "y")]
)
def test_windows_are_those_of_numpy(tmp_path: Path, way: str, dims: tuple[str, ...]) -> None:
    array = cube(dims=dims)
    order = [dim for dim in SHAPE if dim in dims]
    full = array.transpose(*order).values[
        tuple(slice(None) if dim in dims else None for dim in SHAPE)
    ]
    reader = resolve(opened(array, tmp_path, way)).reader
    bands, times = ((2, 0, 3), (2, 0)) if "band" in dims else ((0,), (2, 0))
    times = times if "time" in dims else (0,)
    for step in (1, 3):
        window = Window(4, 5, 20, 31)
        expected = full[list(times)][:, list(bands)][..., 4:24:step, 5:36:step]
        out, valid = np.empty(expected.shape, "int16"), np.empty(expected.shape, bool)
        reader.read(window, out, valid, bands=bands, times=times, step=step)
        np.testing.assert_array_equal(out, expected)
        assert valid.all()


@pytest.mark.parametrize("way", WAYS)
def test_selections_of_lazy_arrays_are_followed(tmp_path: Path, way: str) -> None:
    array = cube()
    lazy = opened(array, tmp_path, way)
    for key in (
        {"y": slice(3, 20), "x": slice(1, 30)},
        {"time": 1},
        {"time": -1, "band": [2, 0], "y": slice(5, 9)},
        {"band": slice(None, None, -1), "y": slice(2, 8)},
        {"y": slice(None, None, 2)},
        {"x": slice(None, None, -1)},
    ):
        reader = resolve(lazy.isel(key)).reader
        expected = array.isel(key)
        whole = Window(0, 0, *expected.shape[-2:])
        np.testing.assert_array_equal(read_window(reader, whole)[0].squeeze(), expected.squeeze())
        assert reader.geobox == geobox_of(expected)


@pytest.mark.parametrize(
    ("way", "kind", "slow"),
    [
        ("memory", InMemory, None),
        ("zarr2", StoredArray, None),
        ("zarr3", StoredArray, None),
        ("netcdf4", Indexed, "xarray decodes or indexes it"),
        ("dask", Indexed, "dask array"),
    ],
)
def test_the_way_to_the_pixels_is_the_shortest_and_said(
    tmp_path: Path, way: str, kind: type, slow: str | None
) -> None:
    found = resolve(opened(cube(), tmp_path, way))
    assert isinstance(found.reader, ArrayReader)
    assert isinstance(found.reader.pixels, kind)
    assert found.slow is None if slow is None else slow in str(found.slow)


def test_large_arrays_are_not_copied() -> None:
    array = cube("float32")
    reader = resolve(array.transpose("x", "band", "y", "time").isel(y=slice(3, 9))).reader
    assert isinstance(reader, ArrayReader)
    assert np.shares_memory(reader.pixels.array, array.values)  # type: ignore[attr-defined]


def test_memory_maps_are_read_in_place(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "pixels.bin", "uint16", "w+", shape=(30, 40))
    mapped[...] = np.arange(1200).reshape(30, 40)
    array = xr.DataArray(mapped, dims=("y", "x"), coords=coords_of(GRID))
    reader = resolve(array).reader
    mapped[5, 6] = 60_000
    assert read_window(reader, Window(5, 6, 1, 1))[0].item() == 60_000


@pytest.mark.parametrize("way", ["netcdf4", "zarr2", "zarr3"])
def test_what_xarray_decoded_stays_decoded(tmp_path: Path, way: str) -> None:
    array = cube("float64", ("y", "x")) * 0.5
    array[3, 4] = np.nan
    array.encoding = {"dtype": "int16", "scale_factor": 0.5, "_FillValue": -1}
    found = resolve(opened(array, tmp_path, way))
    pixels, valid = read_window(found.reader, Window(0, 0, 30, 40))
    np.testing.assert_array_equal(pixels.squeeze(), array.values)
    assert not valid[0, 0, 3, 4]
    assert valid.sum() == 1199
    assert found.slow is not None


@pytest.mark.parametrize("way", WAYS)
def test_any_array_is_reprojected_lazily_like_a_file(tmp_path: Path, way: str) -> None:
    from geoxr.testing import write_geotiff

    array = cube("int16", ("band", "y", "x"))
    path = tmp_path / "cube.tif"
    write_geotiff(path, array.values, crs="EPSG:32633", transform=GRID.affine)
    expected = gx.open_raster(path).geoxr.reproject("EPSG:3035", resampling="bilinear")
    warped = opened(array, tmp_path, way).geoxr.reproject("EPSG:3035", resampling="bilinear")
    assert warped.geoxr.geobox == expected.geoxr.geobox
    np.testing.assert_array_equal(warped.geoxr.valid, expected.geoxr.valid)
    np.testing.assert_array_equal(warped.values, expected.values)
    assert pickle.loads(pickle.dumps(warped)).equals(warped)


@pytest.mark.parametrize("way", WAYS)
def test_threads_read_what_one_reads(tmp_path: Path, way: str) -> None:
    array = cube()
    reader = resolve(opened(array, tmp_path, way)).reader
    wrong: list[int] = []

    def read(number: int) -> None:
        for i in range(8):
            row, col = (number * 5 + i) % 20, (number * 3 + 2 * i) % 30
            got = read_window(reader, Window(row, col, 10, 10))[0]
            if not np.array_equal(got, array.values[..., row : row + 10, col : col + 10]):
                wrong.append(i)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_dask_computes_only_the_chunks_of_a_window() -> None:
    import dask.array

    asked: list[tuple[int, int]] = []

    def block(block_info: dict | None = None) -> np.ndarray:
        if block_info is None or None not in block_info:
            return np.zeros((10, 10), "uint8")
        where = block_info[None]["chunk-location"]
        asked.append(where)
        assert threading.current_thread() is threading.main_thread()
        return np.full((10, 10), 4 * where[0] + where[1], "uint8")

    pixels = dask.array.map_blocks(block, chunks=((10,) * 3, (10,) * 4), dtype="uint8")
    array = xr.DataArray(pixels, dims=("y", "x"), coords=coords_of(GRID))
    reader = resolve(array).reader
    asked.clear()
    assert read_window(reader, Window(12, 15, 3, 10))[0][0, 0, 0].tolist() == [5] * 5 + [6] * 5
    assert sorted(asked) == [(1, 1), (1, 2)]


def test_a_dask_array_is_said_to_be_slow() -> None:
    ds = cube("float32", ("band", "y", "x")).to_dataset().chunk({"y": 10})
    with pytest.warns(UserWarning, match="dask array"):
        ds.geoxr.to_torch(ds.geoxr.grid_chips(10), batch_size=2)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_windows_of_memory_equal_slices(data: st.DataObject) -> None:
    array = cube()
    row, col = data.draw(st.integers(0, 29)), data.draw(st.integers(0, 39))
    height, width = data.draw(st.integers(1, 30 - row)), data.draw(st.integers(1, 40 - col))
    bands = tuple(data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=6)))
    times = tuple(data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=4)))
    step = data.draw(st.integers(1, 5))
    dims = data.draw(st.permutations(["time", "band", "y", "x"]))
    reader = resolve(array.transpose(*dims)).reader
    expected = array.values[list(times)][:, list(bands)]
    expected = expected[..., row : row + height : step, col : col + width : step]
    out = np.empty(expected.shape, "float64")
    window = Window(row, col, height, width)
    reader.read(window, out, None, bands=bands, times=times, step=step)
    np.testing.assert_array_equal(out, expected)


def test_extra_dimensions_say_what_to_do() -> None:
    levels = cube("float32", ("y", "x")).expand_dims(level=2)
    with pytest.raises(gx.errors.GridError, match=r"da\.isel\(level=0\)"):
        levels.geoxr.reproject("EPSG:3035")


def test_times_that_are_no_dates_are_refused() -> None:
    array = cube().assign_coords(time=[1, 2, 3])
    with pytest.raises(gx.errors.GridError, match="not dates"):
        array.geoxr.reproject("EPSG:3035")


def test_nodata_of_rioxarray_counts_while_nothing_was_computed(utm_image: Path) -> None:
    import rioxarray

    lazy = rioxarray.open_rasterio(utm_image)
    ours = gx.open_raster(utm_image)
    np.testing.assert_array_equal(lazy.geoxr.valid, ours.geoxr.valid)
    warped = lazy.geoxr.reproject("EPSG:3035")
    expected = ours.geoxr.reproject("EPSG:3035")
    np.testing.assert_array_equal(warped.values, expected.values)
    np.testing.assert_array_equal(warped.geoxr.valid, expected.geoxr.valid)
    assert warped.geoxr.nodata == 0
    assert "_FillValue" not in warped.attrs
    with pytest.raises(gx.errors.ValidityError, match=r"nodata = 0 may no longer mark"):
        lazy.load().geoxr.reproject("EPSG:3035")
    said = lazy.geoxr.write_nodata(0)
    np.testing.assert_array_equal(said.geoxr.valid, ours.geoxr.valid)


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    store(cube("int16", ("y", "x")), tmp_path / "cube.zarr", "netcdf4")
    ds = xr.open_dataset(tmp_path / "cube.nc", engine="netcdf4", decode_coords="all")
    reader = resolve(ds["cube"]).reader
    ds.close()
    (tmp_path / "cube.nc").unlink()
    with pytest.raises(gx.errors.ReadFailedError, match="cannot be read"):
        read_window(reader, Window(0, 0, 2, 2))

"""Zarr stores of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401
import pandas as pd
import pytest
import rasterio
import rioxarray  # noqa: F401
import xarray as xr
import zarr
from affine import Affine
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.grid.coords import coords_of
from geoxr.io.array import ArrayReader
from geoxr.io.resolve import resolve
from geoxr.io.zarr import StoredArray

UTM = GeoBox((50, 60), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")


def cube(grid: GeoBox = UTM, dtype: str = "int16") -> xr.DataArray:
    pixels = np.arange(2 * grid.shape[0] * grid.shape[1]).reshape(2, *grid.shape).astype(dtype)
    times = pd.to_datetime(["2024-05-01", "2024-06-01"])
    y, x = (coords_of(grid)[dim].values for dim in ("y", "x"))
    return xr.DataArray(
        pixels, dims=("time", "y", "x"), coords={"time": times, "y": y, "x": x}, name="red"
    )


def check(ds: xr.Dataset, expected: xr.DataArray, name: str = "red") -> None:
    assert ds.geoxr.crs == UTM.crs
    assert ds.geoxr.geobox.affine.almost_equals(UTM.affine)
    np.testing.assert_array_equal(ds[name].values.squeeze(), expected.values.squeeze())
    assert ds[name].dtype == expected.dtype
    reader = resolve(ds[name]).reader
    assert isinstance(reader, ArrayReader)
    assert isinstance(reader.pixels, StoredArray)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("consolidated", [False, True])
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_stores_of_rioxarray(tmp_path: Path, version: int, consolidated: bool) -> None:
    ds = cube().rio.write_crs(32633).to_dataset()
    ds.to_zarr(tmp_path / "c.zarr", zarr_format=version, consolidated=consolidated)
    back = gx.open_zarr(tmp_path / "c.zarr")
    check(back, ds["red"])
    np.testing.assert_array_equal(back.time, ds.time)


def test_stores_of_odc(tmp_path: Path) -> None:
    ds = cube().odc.assign_crs("EPSG:32633", "albers").to_dataset()
    ds.to_zarr(tmp_path / "c.zarr", consolidated=False)
    check(gx.open_zarr(tmp_path / "c.zarr"), ds["red"])


def test_stores_with_latitude_and_longitude(tmp_path: Path) -> None:
    grid = GeoBox((20, 30), Affine(0.01, 0, 14.5, 0, 0.01, 47.2), "EPSG:4326")
    da = cube(grid, "float32").rename(y="latitude", x="longitude")
    da.rio.write_crs(4326).to_zarr(tmp_path / "c.zarr", consolidated=False)
    back = gx.open_zarr(tmp_path / "c.zarr")["red"]
    assert back.dims == ("time", "y", "x")
    assert back.geoxr.crs.epsg == 4326
    assert back.geoxr.resolution == pytest.approx((0.01, 0.01))
    np.testing.assert_array_equal(back.values, da.values)


def test_stores_with_only_the_zarr_conventions(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "c.zarr", mode="w", attributes={
        "proj:code": "EPSG:32633", "spatial:transform": list(UTM.affine)[:6],
        "spatial:dimensions": ["y", "x"],
    })  # fmt: skip
    array = group.create_array("red", shape=UTM.shape, dtype="uint8", dimension_names=("y", "x"))
    array[...] = 7
    check(gx.open_zarr(tmp_path / "c.zarr"), cube(dtype="uint8").isel(time=0) * 0 + 7)


def test_stores_of_gdal(tmp_path: Path, utm_image: Path) -> None:
    with rasterio.Env() as env:
        if "Zarr" not in env.drivers():
            pytest.skip("this GDAL has no Zarr driver")
    image = gx.open_raster(utm_image)
    profile = {"count": 3, "height": 150, "width": 200, "dtype": "uint16", "crs": "EPSG:32633"}
    with rasterio.open(
        tmp_path / "c.zarr", "w", driver="Zarr", transform=image.geoxr.geobox.affine, **profile
    ) as file:
        file.write(image.values)
    back = gx.open_zarr(tmp_path / "c.zarr")
    back = back.geoxr.write_crs("EPSG:32633")  # rasterio writes none
    assert back.geoxr.geobox == image.geoxr.geobox
    bands = [back[name].values.reshape(-1, *image.shape[1:]) for name in back.data_vars]
    np.testing.assert_array_equal(np.concatenate(bands), image.values)


def test_stored_numbers_stay_and_their_meaning_is_kept(tmp_path: Path) -> None:
    da = cube(dtype="float64") * 0.1 + 5
    da[0, 3, 4] = np.nan
    da.encoding = {
        "dtype": "int16", "scale_factor": 0.1, "add_offset": 5.0, "_FillValue": np.int16(-99),
    }  # fmt: skip
    da.rio.write_crs(32633).to_zarr(tmp_path / "c.zarr", consolidated=False)
    back = gx.open_zarr(tmp_path / "c.zarr")["red"]
    assert back.dtype == "int16"
    assert back.geoxr.nodata == -99
    assert (back.attrs["scale"], back.attrs["offset"]) == (0.1, 5.0)
    assert not back.geoxr.valid.values[0, 3, 4]
    assert back.geoxr.valid.values.sum() == back.size - 1
    assert not {"_FillValue", "scale_factor", "grid_mapping"} & set(back.attrs)


def test_a_fill_value_that_is_nan_needs_no_name(tmp_path: Path) -> None:
    da = cube(dtype="float32").rio.write_crs(32633)
    da[0, 3, 4] = np.nan
    da.to_zarr(tmp_path / "c.zarr", consolidated=False)
    back = gx.open_zarr(tmp_path / "c.zarr")["red"]
    assert back.geoxr.nodata is None
    assert back.geoxr.valid.values.sum() == back.size - 1


def several(path: Path) -> None:
    coarse = cube().isel(x=slice(None, None, 2), y=slice(None, None, 2)).rename("swir")
    ds = xr.Dataset({"red": cube(), "swir": coarse.rename(y="y20", x="x20")})
    ds["y20"].attrs["standard_name"] = ds["y"].attrs["standard_name"] = "projection_y_coordinate"
    ds["x20"].attrs["standard_name"] = ds["x"].attrs["standard_name"] = "projection_x_coordinate"
    ds.rio.write_crs(32633).to_zarr(path, consolidated=False)


def test_several_grids_in_one_group_are_refused_until_one_is_chosen(tmp_path: Path) -> None:
    several(tmp_path / "c.zarr")
    with pytest.raises(gx.errors.GridError, match=r"'y20'.*variables="):
        gx.open_zarr(tmp_path / "c.zarr")
    check(gx.open_zarr(tmp_path / "c.zarr", variables=["red"]), cube())
    assert gx.open_zarr(tmp_path / "c.zarr", variables=["swir"]).geoxr.resolution == (20, 20)
    with pytest.raises(gx.errors.ArgumentError, match=r"no variable \['nir'\]. It has red, swir"):
        gx.open_zarr(tmp_path / "c.zarr", variables=["nir"])


def test_groups_are_opened_by_name(tmp_path: Path) -> None:
    da = cube().rio.write_crs(32633)
    for name in ("r10m", "r20m"):
        da.to_zarr(tmp_path / "c.zarr", group=f"measurements/{name}", consolidated=False)
    with pytest.raises(gx.errors.NotARasterError, match=r"groups: measurements. Pass group="):
        gx.open_zarr(tmp_path / "c.zarr")
    with pytest.raises(gx.errors.NotARasterError, match=r"groups: r10m, r20m. Pass group="):
        gx.open_zarr(tmp_path / "c.zarr", group="measurements")
    check(gx.open_zarr(tmp_path / "c.zarr", group="measurements/r10m"), da)


def test_what_holds_no_layers_says_what_it_holds(tmp_path: Path) -> None:
    xr.Dataset({"a": ("time", [1, 2])}).to_zarr(tmp_path / "c.zarr", consolidated=False)
    with pytest.raises(gx.errors.NotARasterError, match=r"but a \('time',\)"):
        gx.open_zarr(tmp_path / "c.zarr")
    zarr.create_array(tmp_path / "a.zarr", shape=(4, 4), dtype="uint8")
    with pytest.raises(gx.errors.NotARasterError, match="not a Zarr store that can be opened"):
        gx.open_zarr(tmp_path / "a.zarr")


def test_a_damaged_chunk_is_told_with_its_window(tmp_path: Path) -> None:
    ds = gx.open_zarr(_layer_store(tmp_path))
    chunk = next(path for path in (tmp_path / "c.zarr" / "red" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(b"nonsense")
    with pytest.raises(gx.errors.ReadFailedError, match=r"red: rows 0-50, columns 0-60"):
        ds["red"].values  # noqa: B018


def _layer_store(tmp_path: Path, **options: Any) -> Path:
    da = cube().rio.write_crs(32633)
    return da.to_dataset().geoxr.to_zarr(tmp_path / "c.zarr", **options)


def test_a_cube_with_dates_and_bands_comes_back(tmp_path: Path) -> None:
    da = cube().expand_dims(band=["a", "b"], axis=1).rio.write_crs(32633)
    da.to_dataset().geoxr.to_zarr(tmp_path / "c.zarr", chunks=16, shards=32)
    back = gx.open_zarr(tmp_path / "c.zarr")
    check(back, da)
    assert back["red"].dims == ("time", "band", "y", "x")
    assert back["band"].values.tolist() == ["a", "b"]


def test_a_remote_store_is_left_to_xarray() -> None:
    with pytest.raises(gx.errors.ArgumentError, match=r"xr\.open_zarr\('s3://bucket/a\.zarr'\)"):
        gx.open_zarr("s3://bucket/a.zarr")

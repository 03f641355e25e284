"""Arrays that others made become layers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import odc.geo.xr
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.grid.adopt import adopt
from geoxr.grid.coords import GRID_MAPPING, coords_of
from geoxr.grid.geobox import geobox_of

UTM = GeoBox((30, 40), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")
WGS84 = GeoBox((20, 30), Affine(0.01, 0, 14.5, 0, -0.01, 47.2), "EPSG:4326")


def plain(grid: GeoBox, names: tuple[str, str] = ("y", "x"), **options: Any) -> xr.DataArray:
    """Numbers with coordinates along the axes and nothing else."""
    y, x = (coords_of(grid)[dim].values for dim in ("y", "x"))
    pixels = np.arange(grid.shape[0] * grid.shape[1], dtype="float32").reshape(grid.shape)
    return xr.DataArray(pixels, dims=names, coords={names[0]: y, names[1]: x}, name="a", **options)


def near(found: GeoBox, expected: GeoBox) -> bool:
    same = found.shape == expected.shape and found.crs == expected.crs
    return same and found.affine.almost_equals(expected.affine, 1e-6)


def with_mapping(da: xr.DataArray, name: str, attrs: dict[str, Any]) -> xr.DataArray:
    da = da.assign_coords({name: xr.Variable((), 0, attrs)})
    da.encoding["grid_mapping"] = name
    return da


CRS = UTM.crs.proj
WAYS = {
    "rioxarray": lambda: plain(UTM).rio.write_crs(32633),
    "rioxarray with a transform": lambda: plain(UTM).rio.write_crs(32633).rio.write_transform(),
    "rioxarray under another name": lambda: plain(UTM).rio.write_crs(
        32633, grid_mapping_name="crs"
    ),
    "odc": lambda: plain(UTM).odc.assign_crs("EPSG:32633"),
    "odc under another name": lambda: plain(UTM).odc.assign_crs("EPSG:32633", "albers"),
    "odc zeros": lambda: odc.geo.xr.xr_zeros(UTM),
    "CF without WKT": lambda: with_mapping(
        plain(UTM), "transverse_mercator",
        {key: value for key, value in CRS.to_cf().items() if key != "crs_wkt"},
    ),
    "CF with the mapping in attrs": lambda: plain(
        UTM, attrs={"grid_mapping": "crs"}
    ).assign_coords(crs=xr.Variable((), 0, {"crs_wkt": CRS.to_wkt()})),
    "a scalar coordinate that nothing names": lambda: plain(UTM).assign_coords(
        proj=xr.Variable((), 0, {"spatial_ref": CRS.to_wkt()})
    ),
    "attribute crs": lambda: plain(UTM, attrs={"crs": "EPSG:32633"}),
    "attribute crs of old rasterio": lambda: plain(
        UTM, attrs={"crs": "+init=epsg:32633", "transform": tuple(UTM.affine)[:6], "res": (10, 10)}
    ),
    "attribute crs_wkt": lambda: plain(UTM, attrs={"crs_wkt": CRS.to_wkt()}),
    "proj:code": lambda: plain(UTM, attrs={"proj:code": "EPSG:32633"}),
    "proj and spatial without coordinates": lambda: plain(
        UTM, attrs={"proj:code": "EPSG:32633", "spatial:transform": list(UTM.affine)[:6]}
    ).drop_vars(["y", "x"]),
    "_CRS of GDAL": lambda: plain(UTM, ("Y", "X"), attrs={"_CRS": {"wkt": CRS.to_wkt()}}),
    "a layer": lambda: plain(UTM).assign_coords(coords_of(UTM)),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore:.*proj-string:UserWarning", "ignore:.*init=:FutureWarning")
def test_a_crs_is_found_however_it_is_written(way: str) -> None:
    da = WAYS[way]()
    before = da.copy(deep=True)
    found = adopt(da)
    assert found.dims == ("y", "x")
    assert near(found.geoxr.geobox, UTM)
    assert near(da.geoxr.geobox, UTM)
    assert found.rio.crs.to_epsg() == 32633
    xr.testing.assert_identical(da, before)
    assert np.shares_memory(found.values, da.values)
    assert adopt(found) is found


@pytest.mark.parametrize(
    "names",
    [("latitude", "longitude"), ("lat", "lon"), ("Lat", "Lon"), ("northing", "easting")],
)
def test_dimensions_are_found_by_name(names: tuple[str, str]) -> None:
    da = plain(WGS84, names).rio.set_spatial_dims(names[1], names[0]).rio.write_crs(4326)
    assert near(geobox_of(da), WGS84)
    warped = da.geoxr.reproject("EPSG:3857")
    expected = plain(WGS84).geoxr.write_crs(4326).geoxr.reproject("EPSG:3857")
    xr.testing.assert_identical(warped, expected)
    for like in (da, da.to_dataset()):
        back = gx.reproject_match(warped, like)
        assert near(back.geoxr.geobox, WGS84)
        assert back.dims == ("y", "x")
    ds = gx.merge({"a": da, "b": plain(WGS84).geoxr.write_crs(4326)})
    xr.testing.assert_equal(ds["a"], ds["b"])


def test_a_dataset_of_ones_own_goes_all_the_way(tmp_path: Path) -> None:
    own = plain(WGS84, ("lat", "lon"), attrs={"crs": "EPSG:4326"}).expand_dims(band=["v"])
    ds = xr.Dataset({"image": own, "other": own * 2})
    expected = xr.Dataset({name: adopt(da) for name, da in ds.items()})
    train, _ = gx.split_blocks(ds, (0.5, 0.5), block=0.1, gap=0.01)
    assert train.equals(gx.split_blocks(expected, (0.5, 0.5), block=0.1, gap=0.01)[0])
    plan = ds.geoxr.random_chips(4, 6, aoi=train)
    batch = next(iter(ds.geoxr.to_torch(plan, batch_size=6)))
    known = next(iter(expected.geoxr.to_torch(plan, batch_size=6)))
    np.testing.assert_array_equal(batch["image"], known["image"])
    assert gx.stats(ds, plan).mean == gx.stats(expected, plan).mean
    assert next(ds.geoxr.iter_chips(plan)).sizes == {"band": 1, "y": 4, "x": 4}
    ds.geoxr.to_zarr(tmp_path / "c.zarr")
    np.testing.assert_array_equal(gx.open_zarr(tmp_path / "c.zarr")["other"], ds["other"])
    path = ds["image"].geoxr.to_cog(tmp_path / "c.tif")
    back = gx.open_raster(path, like=ds["image"])
    np.testing.assert_array_equal(back.values, own.values)
    assert near(back.geoxr.geobox, WGS84)


def test_dimensions_are_found_by_what_cf_says() -> None:
    da = plain(WGS84, ("rows", "cols")).rename("a")
    da["rows"].attrs["standard_name"] = "latitude"
    da["cols"].attrs["axis"] = "X"
    assert near(geobox_of(da.assign_attrs(crs="EPSG:4326")), WGS84)
    with pytest.raises(gx.errors.GridError, match=r"da\.rename\(rows='y', columns='x'\)"):
        geobox_of(plain(WGS84, ("rows", "cols")))


def test_a_coordinate_that_has_the_name_of_an_axis_gives_way() -> None:
    da = plain(UTM, ("northing", "easting")).assign_coords(x=3, y=4).geoxr.write_crs(32633)
    assert near(da.geoxr.geobox, UTM)


def test_rows_may_run_south_to_north() -> None:
    da = plain(UTM).rio.write_crs(32633)
    north_up, south_up = da, da.isel(y=slice(None, None, -1))
    assert south_up.geoxr.geobox.affine.e == 10
    first = north_up.geoxr.reproject("EPSG:3035")
    second = gx.reproject_match(south_up, first)
    np.testing.assert_array_equal(first.values, second.values)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_jitter_of_coordinates_changes_no_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    da = plain(UTM).rio.write_crs(32633)
    shaken = da.assign_coords(
        x=da.x.values + rng.uniform(-1e-7, 1e-7, 40), y=da.y.values + rng.uniform(-1e-7, 1e-7, 30)
    )
    ds = gx.merge({"a": da, "b": shaken})
    np.testing.assert_array_equal(ds["a"].values, ds["b"].values)


def test_kilometres_become_metres() -> None:
    da = plain(UTM)
    scaled = da.assign_coords(
        x=("x", da.x.values / 1000, {"units": "km"}), y=("y", da.y.values / 1000, {"units": "km"})
    ).assign_attrs(crs="EPSG:32633")
    assert near(scaled.geoxr.geobox, UTM)


def test_the_crs_that_is_written_last_counts() -> None:
    da = plain(UTM).rio.write_crs(32632, grid_mapping_name="crs")
    fixed = da.geoxr.write_crs("EPSG:32633")
    assert fixed.geoxr.crs.epsg == 32633
    assert fixed.rio.crs.to_epsg() == 32633
    again = fixed.rio.write_crs(32631)
    assert again.geoxr.crs.epsg == 32631


def test_attributes_that_place_an_array_do_not_outlive_it() -> None:
    da = plain(UTM, attrs={"crs": "EPSG:32633", "transform": tuple(UTM.affine)[:6], "units": "K"})
    warped = da.geoxr.reproject("EPSG:3035")
    assert warped.attrs["units"] == "K"
    assert not {"crs", "transform"} & set(warped.attrs)


def test_an_array_without_crs_waits_until_one_is_needed() -> None:
    da = plain(UTM)
    assert da.geoxr.crs is None
    assert da.geoxr.resolution == (10, 10)
    with pytest.raises(gx.errors.MissingCRSError, match="write_crs"):
        da.geoxr.reproject("EPSG:3035")


def test_words_that_name_no_crs_are_no_crs() -> None:
    assert plain(UTM, attrs={"crs": "somewhere"}).geoxr.crs is None


def test_a_dataset_that_left_its_mapping_among_the_variables_has_a_crs() -> None:
    ds = plain(UTM).rio.write_crs(32633).to_dataset(name="a").reset_coords(GRID_MAPPING)
    ds["a"].attrs["grid_mapping"] = GRID_MAPPING
    assert ds.geoxr.crs.epsg == 32633
    assert list(adopt(ds).data_vars) == ["a"]


def test_arrays_without_places_say_what_is_missing() -> None:
    with pytest.raises(gx.errors.GridError, match=r"'x' is missing.*assign_coords\(x="):
        geobox_of(plain(UTM).drop_vars("x"))
    lon, lat = np.meshgrid(np.arange(40.0), np.arange(30.0))
    swath = (
        plain(UTM).drop_vars(["y", "x"]).assign_coords(lat=(("y", "x"), lat), lon=(("y", "x"), lon))
    )
    with pytest.raises(gx.errors.GridError, match="'lat' and 'lon', which have two dimensions"):
        geobox_of(swath)


@pytest.mark.parametrize("words", ["1 2 3", "north", [1.0, np.nan, 0, 0, 1, 0], 5])
def test_transforms_that_are_none_are_left_aside(words: Any) -> None:
    attrs = {"crs": "EPSG:32633", "transform": words}
    assert near(plain(UTM, attrs=attrs).geoxr.geobox, UTM)
    strange = {"GeoTransform": words, "crs_wkt": CRS.to_wkt(), "grid_mapping_name": "x"}
    assert near(with_mapping(plain(UTM), "crs", strange).geoxr.geobox, UTM)


DATA = Path(
    os.environ.get("GEOXR_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data")
)


@pytest.mark.filterwarnings("ignore:.*referenced in bounds")
@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")
@pytest.mark.parametrize(
    ("file", "variable", "crs", "res"),
    [
        ("tricky_rasterio/RGB.nc", "Band1", "UTM zone 18N", (300.0379, 300.0418)),
        ("tricky_rioxarray/MODIS_ARRAY.nc", "__xarray_dataarray_variable__", "unknown",
         (231.6564, 231.6564)),
        ("tricky_rioxarray/PLANET_SCOPE_3D.nc", "blue", "UTM zone 22S", (3, 3)),
        ("tricky_stars/nc/lcc_km.nc", "prcp", "undefined", (1000, 1000)),
        ("tricky_stars/nc/bcsd_obs_1999.nc", "pr", None, (0.125, 0.125)),
        ("tricky_rioxarray/tmmx_20190121.nc", "air_temperature", None, (1 / 24, 1 / 24)),
    ],
)  # fmt: skip
def test_netcdf_files_of_others_are_placed(
    file: str, variable: str, crs: str | None, res: tuple[float, float]
) -> None:
    ds = xr.open_dataset(DATA / file, engine="netcdf4", decode_coords="all")
    da = ds[variable]
    assert da.geoxr.resolution == pytest.approx(res, rel=1e-4)
    assert (da.geoxr.crs is None) == (crs is None)
    da = da if crs else da.geoxr.write_crs(4326)
    assert str(crs or "WGS 84") in da.geoxr.crs.proj.name
    target = "EPSG:4326" if crs else "EPSG:3857"
    da.attrs.pop("nodata", None)  # xarray decoded it: NaN marks what is missing
    lazy, loaded = da.geoxr.reproject(target), da.load().geoxr.reproject(target)
    window = {"y": slice(5, 40), "x": slice(3, 60)}
    np.testing.assert_array_equal(lazy.isel(window).values, loaded.isel(window).values)


def test_changes_of_an_array_are_seen() -> None:
    da = plain(WGS84, ("lat", "lon"))
    assert da.geoxr.crs is None
    da.attrs["crs"] = "EPSG:4326"
    assert da.geoxr.crs.epsg == 4326


def test_several_crs_or_grids_in_one_dataset_are_refused() -> None:
    first = plain(UTM).rio.write_crs(32633, grid_mapping_name="one")
    second = plain(UTM).rename("b").rio.write_crs(32632, grid_mapping_name="two")
    ds = xr.Dataset({"a": first, "b": second})
    with pytest.raises(
        gx.errors.CRSMismatchError, match=r"'one' is EPSG:32633, 'two' is EPSG:32632"
    ):
        ds.geoxr.crs  # noqa: B018
    two = xr.Dataset(
        {"a": plain(WGS84, ("lat", "lon")), "b": plain(WGS84, ("latitude", "longitude"))}
    )
    with pytest.raises(gx.errors.GridError, match=r"\('lat', 'lon'\) of a.*ds\[\['a'\]\]"):
        adopt(two)

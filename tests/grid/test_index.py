"""Pixels of different coordinate reference systems never meet in silence."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.crs import CRS

import geoxr as gx
from geoxr.errors import ArgumentError, CRSMismatchError
from geoxr.grid.index import CRSIndex
from geoxr.testing import write_geotiff

Operation = Callable[[xr.DataArray, xr.DataArray], object]


def layer_in(path: Path, crs: str | None) -> xr.DataArray:
    """Pixels that tell their place, with the same numbers as coordinates in any CRS."""
    pixels = np.arange(3 * 12 * 16, dtype="uint16").reshape(3, 12, 16)
    write_geotiff(path, pixels, crs=crs, transform=Affine(10, 0, 5e5, 0, -10, 5.2e6))
    return gx.open_raster(path)


@pytest.fixture
def zone_33(tmp_path: Path) -> xr.DataArray:
    return layer_in(tmp_path / "33.tif", "EPSG:32633")


@pytest.fixture
def zone_34(tmp_path: Path) -> xr.DataArray:
    return layer_in(tmp_path / "34.tif", "EPSG:32634")


@pytest.fixture
def also_zone_33(tmp_path: Path) -> xr.DataArray:
    """The same CRS, spelled otherwise."""
    wkt = CRS("EPSG:32633").to_wkt().replace("WGS 84 / UTM zone 33N", "my zone")
    return layer_in(tmp_path / "also.tif", wkt)


def named(a: xr.DataArray, b: xr.DataArray) -> list[xr.Dataset]:
    return [a.to_dataset(name="a"), b.to_dataset(name="b")]


#: What asks the indexes of its operands.
ASKED: dict[str, Operation] = {
    "a + b": lambda a, b: a + b,
    "a == b": lambda a, b: a == b,
    "np.add": lambda a, b: np.add(a, b),
    "where": lambda a, b: a.where(b > 5),
    "where with other": lambda a, b: a.where(a > 5, b),
    "xr.where": lambda a, b: xr.where(a > 5, a, b),
    "clip": lambda a, b: a.clip(min=b),
    "fillna": lambda a, b: a.fillna(b),
    "combine_first": lambda a, b: a.combine_first(b),
    "dot": lambda a, b: xr.dot(a, b, dim="band"),
    "xr.corr": lambda a, b: xr.corr(a, b, "band"),
    "weighted": lambda a, b: a.astype(float).weighted(b).mean(),
    "apply_ufunc": lambda a, b: xr.apply_ufunc(np.add, a, b),
    "map_blocks": lambda a, b: xr.map_blocks(
        lambda x, y: x + y, a.chunk(), args=[b.chunk()]
    ).load(),
    "align": lambda a, b: xr.align(a, b)[0],
    "align, outer": lambda a, b: xr.align(a, b, join="outer")[0],
    "align, exact": lambda a, b: xr.align(a, b, join="exact")[0],
    "align, left": lambda a, b: xr.align(a, b, join="left")[0],
    "broadcast_like": lambda a, b: a.broadcast_like(b),
    "reindex_like": lambda a, b: a.reindex_like(b),
    "concat": lambda a, b: xr.concat([a, b], "time"),
    "concat, all coordinates": lambda a, b: xr.concat([a, b], "time", coords="all"),
    "combine_nested": lambda a, b: xr.combine_nested([a, b], "time"),
    "combine_by_coords": lambda a, b: xr.combine_by_coords(
        named(a, b), join="outer", compat="no_conflicts", combine_attrs="override"
    ),
    "xr.merge": lambda a, b: xr.merge(named(a, b), join="inner", compat="equals"),
    "xr.merge, defaults": lambda a, b: xr.merge(named(a, b)),
    "xr.merge, exact": lambda a, b: xr.merge(named(a, b), join="exact"),
    "xr.merge, no conflicts": lambda a, b: xr.merge(
        named(a, b), join="outer", compat="no_conflicts"
    ),
    "Dataset": lambda a, b: xr.Dataset({"a": a, "b": b}),
    "Dataset.merge": lambda a, b: named(a, b)[0].merge(named(a, b)[1], join="inner"),
    "Dataset.update": lambda a, b: (d := named(a, b)[0], d.update(named(a, b)[1]))[0],
    "Dataset + Dataset": lambda a, b: a.to_dataset(name="a") + b.to_dataset(name="a"),
    "assign_coords": lambda a, b: a.assign_coords(other=b.isel(band=0, drop=True)),
    "assign_coords of an axis": lambda a, b: a.assign_coords(x=b.x),
}


#: What asks them too, and raises an error of xarray's own.
ALSO_ASKED: dict[str, Operation] = {
    "a += b": lambda a, b: a.load().__iadd__(b.load()),
    "DataTree": lambda a, b: xr.DataTree.from_dict({"/": named(a, b)[0], "/child": named(a, b)[1]}),
}


@pytest.mark.parametrize("operation", ALSO_ASKED.values(), ids=ALSO_ASKED)
def test_the_error_may_be_that_of_xarray(
    zone_33: xr.DataArray, zone_34: xr.DataArray, operation: Operation
) -> None:
    with pytest.raises(ValueError, match=r"alignment is not supported|EPSG:32634"):
        operation(zone_33, zone_34)


@pytest.mark.parametrize("operation", ASKED.values(), ids=ASKED)
def test_an_operation_across_crs_raises(
    zone_33: xr.DataArray, zone_34: xr.DataArray, operation: Operation
) -> None:
    with pytest.raises(CRSMismatchError, match=r"in EPSG:3263\d, another in EPSG:3263\d"):
        operation(zone_33, zone_34)


@pytest.mark.parametrize("operation", (ASKED | ALSO_ASKED).values(), ids=ASKED | ALSO_ASKED)
def test_the_same_operation_within_one_crs_works_and_stays_guarded(
    zone_33: xr.DataArray, also_zone_33: xr.DataArray, operation: Operation
) -> None:
    result = operation(zone_33, also_zone_33)
    if hasattr(result, "xindexes") and "broadcast" not in str(operation.__code__.co_names):
        assert result.xindexes["spatial_ref"].equals(CRSIndex(CRS("EPSG:32633")))


@pytest.mark.parametrize("name", ["a + b", "xr.merge, defaults", "concat", "align, exact"])
def test_the_crs_is_asked_before_the_labels(
    zone_33: xr.DataArray, zone_34: xr.DataArray, name: str
) -> None:
    """Other labels alone would make xarray warn of its defaults, or give nothing at all."""
    with pytest.raises(CRSMismatchError, match="EPSG:32634"):
        ASKED[name](zone_33, zone_34.isel(x=slice(4, None)))


def test_the_message_names_both_and_says_what_to_do(
    zone_33: xr.DataArray, zone_34: xr.DataArray
) -> None:
    with pytest.raises(
        CRSMismatchError, match=r"EPSG:32633.*EPSG:32634.*a\.geoxr\.reproject_match\(b\)"
    ):
        zone_33 + zone_34


def test_an_unknown_crs_agrees_with_none(zone_33: xr.DataArray, tmp_path: Path) -> None:
    unknown = layer_in(tmp_path / "unknown.tif", None)
    with pytest.raises(CRSMismatchError, match=r"no CRS.*write_crs"):
        zone_33 + unknown
    np.testing.assert_array_equal(zone_33 + unknown.geoxr.write_crs(32633), 2 * zone_33.values)


def test_numbers_and_plain_arrays_have_no_crs_to_ask(zone_33: xr.DataArray) -> None:
    plain = xr.DataArray(np.ones((12, 16), "uint16"), dims=("y", "x"))
    for result in (zone_33 + 1, zone_33 * plain, zone_33 + np.ones((12, 16), "uint16")):
        assert result.geoxr.geobox == zone_33.geoxr.geobox


#: What keeps the index of one layer.
KEPT: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "isel": lambda a: a.isel(y=slice(2, 5), x=slice(None, None, 2)),
    "sel": lambda a: a.sel(x=slice(5e5, 500_100)),
    "one pixel": lambda a: a.isel(y=3, x=4),
    "transpose": lambda a: a.transpose("x", "y", "band"),
    "stack": lambda a: a.stack(pixel=("y", "x")),
    "stack and unstack": lambda a: a.stack(pixel=("y", "x")).unstack("pixel"),
    "rename": lambda a: a.rename(x="lon").rename("other"),
    "drop_vars": lambda a: a.drop_vars("band"),
    "roll": lambda a: a.roll(x=2, roll_coords=True),
    "shift": lambda a: a.shift(x=1),
    "pad": lambda a: a.pad(x=1),
    "rolling": lambda a: a.rolling(x=3).mean(),
    "groupby": lambda a: a.groupby("band").mean(),
    "expand_dims": lambda a: a.expand_dims(time=[np.datetime64("2020-01-01", "ns")]),
    "resample": lambda a: (
        a.expand_dims(time=[np.datetime64("2020-01-01", "ns")]).resample(time="1MS").mean()
    ),
    "copy": lambda a: a.copy(deep=True),
    "deepcopy": copy.deepcopy,
    "pickle": lambda a: pickle.loads(pickle.dumps(a)),
    "load": lambda a: a.load(),
    "chunk and persist": lambda a: a.chunk({"y": 5}).persist(),
    "to_dataset": lambda a: a.to_dataset(name="a")["a"],
    "to_dataset by band": lambda a: a.assign_coords(band=["r", "g", "b"]).to_dataset("band")["g"],
    "mean": lambda a: a.mean("band"),
    "reproject": lambda a: a.geoxr.reproject(resolution=20, resampling="nearest"),
    "valid": lambda a: a.geoxr.valid,
    "write_nodata": lambda a: a.geoxr.write_nodata(0),
    "write_crs": lambda a: a.geoxr.write_crs(32633),
}


@pytest.mark.parametrize("operation", KEPT.values(), ids=KEPT)
def test_what_is_done_to_one_layer_keeps_the_guard(
    zone_33: xr.DataArray, operation: Callable[[xr.DataArray], xr.DataArray]
) -> None:
    result = operation(zone_33)
    assert result.xindexes["spatial_ref"].equals(CRSIndex(CRS("EPSG:32633")))
    assert "CRSIndex" in repr(result)
    assert "CRSIndex" in result._repr_html_()


def test_a_dataset_that_was_written_and_opened_is_guarded(
    zone_33: xr.DataArray, zone_34: xr.DataArray, tmp_path: Path
) -> None:
    ds = gx.merge({"a": zone_33})
    ds.geoxr.to_zarr(tmp_path / "a.zarr")
    again = gx.open_zarr(tmp_path / "a.zarr")
    chip = next(ds.geoxr.iter_chips(ds.geoxr.grid_chips(8)))
    for layer in (ds["a"], again["a"], chip["a"]):
        with pytest.raises(CRSMismatchError, match="EPSG:32634"):
            layer + zone_34


def test_plain_xarray_writes_and_opens_a_layer(zone_33: xr.DataArray, tmp_path: Path) -> None:
    zone_33.to_dataset(name="a").to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    with xr.open_dataset(tmp_path / "a.nc", engine="netcdf4", decode_coords="all") as back:
        assert back["a"].geoxr.geobox == zone_33.geoxr.geobox
        np.testing.assert_array_equal(back["a"], zone_33)
        guarded = back["a"].geoxr.write_crs(back.geoxr.crs)
    assert "spatial_ref" in guarded.xindexes
    zone_33.chunk({"y": 5}).to_dataset(name="a").to_zarr(tmp_path / "b.zarr", zarr_format=2)
    with xr.open_zarr(tmp_path / "b.zarr") as back:
        np.testing.assert_array_equal(back["a"], zone_33)
    frame = zone_33.rename("a").to_dataframe()
    assert len(frame) == zone_33.size


#: What puts pixels of one CRS under the coordinate of another without asking an index.
UNASKED: dict[str, Operation] = {
    "ds[name] = layer": lambda a, b: named(a, b)[0].assign(b=b)["b"],
    "join='override'": lambda a, b: xr.merge(named(a, b), join="override", compat="override")["b"],
    "assign_coords(spatial_ref=...)": lambda a, b: b.assign_coords(spatial_ref=a.spatial_ref),
}


@pytest.mark.parametrize("operation", UNASKED.values(), ids=UNASKED)
def test_what_xarray_lets_pass_every_verb_refuses(
    zone_33: xr.DataArray, zone_34: xr.DataArray, operation: Operation
) -> None:
    mixed = operation(zone_33, zone_34)
    assert isinstance(mixed, xr.DataArray)
    for verb in (
        lambda: mixed.geoxr.valid,
        lambda: mixed.geoxr.reproject("EPSG:3035"),
        lambda: gx.merge({"a": mixed}),
        lambda: mixed.geoxr.write_nodata(3),
    ):
        with pytest.raises(CRSMismatchError, match=r"in EPSG:32634, but .* says EPSG:32633"):
            verb()
    told = mixed.geoxr.write_crs("EPSG:32633")
    np.testing.assert_array_equal(told.geoxr.valid, True)


def test_write_crs_holds_through_slices_and_warps(zone_33: xr.DataArray) -> None:
    for part in (zone_33, zone_33.isel(y=slice(2, 8), x=slice(None, None, -1)), zone_33.T):
        moved = part.geoxr.write_crs("EPSG:32634")
        np.testing.assert_array_equal(moved, part)
        assert moved.geoxr.crs.epsg == 32634
        there = moved.geoxr.reproject("EPSG:3035").geoxr.bounds
        assert there[0] > part.geoxr.reproject("EPSG:3035").geoxr.bounds[0] + 100_000
    assert zone_33.geoxr.crs.epsg == 32633


def test_a_dataset_gets_a_crs_with_all_its_layers(zone_33: xr.DataArray) -> None:
    ds = xr.Dataset({"a": zone_33, "b": zone_33.isel(band=0, drop=True)})
    moved = ds.geoxr.write_crs("EPSG:32634")
    assert moved["b"].geoxr.valid.geoxr.crs.epsg == 32634
    assert moved.xindexes["spatial_ref"].equals(CRSIndex(CRS("EPSG:32634")))


def test_an_index_belongs_to_one_scalar_coordinate(zone_33: xr.DataArray) -> None:
    with pytest.raises(ArgumentError, match="one scalar coordinate"):
        zone_33.drop_indexes("x").set_xindex("x", CRSIndex)
    plain = zone_33.drop_indexes("spatial_ref").set_xindex("spatial_ref", CRSIndex)
    assert plain.xindexes["spatial_ref"].equals(zone_33.xindexes["spatial_ref"])


def test_pandas_sees_the_name_of_the_crs(zone_33: xr.DataArray) -> None:
    assert list(zone_33.indexes["spatial_ref"]) == ["EPSG:32633"]

"""Which scenes meet an area, an interval or another catalog; all together; files that moved."""

import pickle
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

import geoxr as gx
from geoxr.testing import write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)


def table(boxes: list[tuple[float, ...]], starts: list[str], ends: list[str]) -> gx.Catalog:
    """A catalog of files that do not exist."""
    frame = geopandas.GeoDataFrame(
        {
            "path": [f"/{i}.tif" for i in range(len(boxes))],
            "bands": [["1"]] * len(boxes),
            "crs": "EPSG:4326",
            "transform": [(0.1, 0, left, 0, -0.1, top) for left, _, _, top in boxes],
            "shape": [(10, 10)] * len(boxes),
            "dtype": "uint8",
            "start": np.array(starts, "datetime64[ns]"),
            "end": np.array(ends, "datetime64[ns]"),
        },
        geometry=[shapely.box(*box) for box in boxes],
        crs=4326,
    )
    return gx.Catalog(frame)


@st.composite
def catalogs(draw: st.DrawFn) -> gx.Catalog:
    corner = st.tuples(
        st.integers(-20, 20), st.integers(-20, 20), st.integers(1, 8), st.integers(1, 8)
    )
    corners = draw(st.lists(corner, min_size=1, max_size=12))
    boxes = [(x, y, x + width, y + height) for x, y, width, height in corners]
    first = draw(st.lists(st.integers(0, 30), min_size=len(boxes), max_size=len(boxes)))
    long = draw(st.lists(st.integers(-1, 9), min_size=len(boxes), max_size=len(boxes)))
    day = np.datetime64("2021-01-01")
    starts = ["NaT" if d == 0 else str(day + d) for d in first]
    ends = ["NaT" if d == 0 or more < 0 else str(day + d + more)
            for d, more in zip(first, long, strict=True)]  # fmt: skip
    return table(boxes, starts, ends)


def meets(frame: pd.DataFrame, first: pd.Timestamp, last: pd.Timestamp) -> pd.Series:
    end = frame["end"].fillna(frame["start"])
    return (frame["start"] <= last) & (end >= first)


@settings(max_examples=60, deadline=None)
@given(
    catalogs(), st.integers(-22, 22), st.integers(-22, 22), st.integers(0, 32), st.integers(0, 9)
)
def test_queries_equal_a_look_at_every_scene(
    catalog: gx.Catalog, x: int, y: int, day: int, more: int
) -> None:
    frame = catalog.frame
    bounds = (x, y, x + 5, y + 3)
    first = pd.Timestamp("2021-01-01") + pd.Timedelta(days=day)
    last = first + pd.Timedelta(days=more)
    near = frame.geometry.intersects(shapely.box(*bounds))
    round_ = shapely.Point(x, y).buffer(4)
    at_time = meets(frame, first, last + pd.Timedelta(hours=23))
    span = (str(first.date()), str(last.date()))
    for options, expected in (
        ({}, near | True),
        ({"bounds": bounds}, near),
        ({"time": span}, at_time),
        ({"bounds": bounds, "time": span}, near & at_time),
        ({"bounds": bounds, "aoi": round_}, near & frame.geometry.intersects(round_)),
    ):
        np.testing.assert_array_equal(catalog.query(**options), np.flatnonzero(expected))


@settings(max_examples=60, deadline=None)
@given(catalogs(), catalogs())
def test_and_equals_an_overlay_of_geopandas(one: gx.Catalog, other: gx.Catalog) -> None:
    a = one.frame[["start", "end", "geometry"]].reset_index(names="i")
    b = other.frame[["start", "end", "geometry"]]
    pairs = geopandas.overlay(a, b, how="intersection", keep_geom_type=True)
    ends = pairs["end_1"].fillna(pairs["start_1"]), pairs["end_2"].fillna(pairs["start_2"])
    apart = (pairs["start_1"] > ends[1]) | (pairs["start_2"] > ends[0])
    expected = sorted(set(pairs.loc[~apart, "i"]))
    if not expected:
        with pytest.raises(gx.errors.ArgumentError, match="No scene of the first catalog meets"):
            one & other
        return
    both = one & other
    assert both.frame["path"].tolist() == one.frame["path"].iloc[expected].tolist()


def test_scenes_are_chosen_by_a_mask_or_a_function() -> None:
    catalog = table([(0, 0, 1, 1), (2, 0, 3, 1), (4, 0, 5, 1)], ["2021"] * 3, ["2021"] * 3)
    catalog = gx.Catalog(catalog.frame.assign(cloud_cover=[10.0, np.nan, 50.0]))
    assert catalog.filter(where=lambda frame: frame["cloud_cover"] < 20).frame["id"].tolist() == [
        "0"
    ]
    assert catalog.filter(where=[False, True, True], bounds=(2, 0, 3, 1)).frame["id"].tolist() == [
        "1"
    ]
    series = pd.array([True, None, True], dtype="boolean")
    assert len(catalog.filter(where=lambda frame: pd.Series(series))) == 2
    for wrong in ([True], [0, 1, 2], lambda frame: frame["cloud_cover"]):
        with pytest.raises(gx.errors.ArgumentError, match="where must be 3 booleans"):
            catalog.filter(where=wrong)  # type: ignore[arg-type]


def test_scenes_are_sorted_and_layers_follow(tmp_path: Path) -> None:
    for value, name in ((1, "a"), (2, "b"), (3, "c")):
        write_geotiff(
            tmp_path / f"{name}.tif", np.full((4, 4), value, "uint8"), crs=32633, transform=UTM
        )
    days = pd.to_datetime(["2021-01-01", "2021-01-02", "2021-01-03"])
    frame = gx.Catalog.scan(tmp_path).frame.assign(start=days, end=days, cloud=[2.0, np.nan, 1.0])
    catalog = gx.Catalog(frame)
    up, down = catalog.sortby("cloud"), catalog.sortby("cloud", ascending=False)
    assert up.frame["id"].tolist() == ["c", "a", "b"]
    assert down.frame["id"].tolist() == ["a", "c", "b"]
    for chosen, expected in ((catalog, 1), (up, 3), (down, 1), (up.filter(time="2021"), 3)):
        assert np.unique(gx.open_raster(chosen, time="collapse").values).tolist() == [expected]
        assert np.unique(chosen.to_xarray(time="collapse").values).tolist() == [expected]
    with pytest.raises(gx.errors.ArgumentError, match="no column 'clouds'"):
        catalog.sortby("clouds")


def test_or_has_every_scene_once() -> None:
    catalog = table([(0, 0, 1, 1), (2, 0, 3, 1), (4, 0, 5, 1)], ["2021"] * 3, ["2021"] * 3)
    west, east = (
        catalog.take([0, 1]),
        gx.Catalog(catalog.take([1, 2]).frame.assign(cloud=[1.0, 2.0])),
    )
    both = west | east
    assert both.frame["id"].tolist() == ["0", "1", "2"]
    np.testing.assert_array_equal(both.frame["cloud"], [np.nan, np.nan, 2.0])
    assert repr(list(both.table)) == repr(list(catalog.table))
    assert (catalog | catalog).frame.equals(catalog.frame)
    for wrong in (lambda: catalog & 1, lambda: catalog | [catalog]):  # type: ignore[operator]
        with pytest.raises(TypeError, match="unsupported operand"):
            wrong()


def test_files_that_moved_are_found_again(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    ones = np.ones((4, 4), "uint8")
    for band in ("red", "nir"):
        write_geotiff(tmp_path / "old" / f"{band}.tif", ones, crs=32633, transform=UTM)
    write_geotiff(tmp_path / "other.tif", ones, crs=32633, transform=UTM @ Affine.translation(4, 0))
    catalog = gx.Catalog.scan({"red": tmp_path / "old/red.tif", "nir": tmp_path / "old/nir.tif"})
    single = gx.Catalog.scan([tmp_path / "old/red.tif", tmp_path / "other.tif"])
    shutil.copytree(tmp_path / "old", tmp_path / "new", copy_function=shutil.copyfile)
    shutil.rmtree(tmp_path / "old")
    with pytest.raises(gx.errors.MissingFileError, match=r"catalog\.relocate\('.*old', new\)"):
        gx.open_raster(catalog).load()
    moved = catalog.relocate(tmp_path / "old", f"{tmp_path}/new/")
    assert moved.frame["path"][0] == [str(tmp_path / f"new/{band}.tif") for band in ("red", "nir")]
    assert gx.open_raster(moved).values.sum() == 32
    assert single.relocate(tmp_path / "old", tmp_path / "new").to_xarray().values.sum() == 32
    for old in ("elsewhere", str(tmp_path / "ol")):
        with pytest.raises(gx.errors.ArgumentError, match=r"No path .* begins with .*red\.tif"):
            catalog.relocate(old, tmp_path)
    write_geotiff(tmp_path / "old/red.tif", np.ones((5, 5), "uint8"), crs=32633, transform=UTM)
    write_geotiff(tmp_path / "old/nir.tif", np.ones((5, 5), "uint8"), crs=32633, transform=UTM)
    back = moved.relocate(tmp_path / "new", tmp_path / "old")
    with pytest.raises(gx.errors.ReadFailedError, match="was changed after its header was read"):
        gx.open_raster(back).load()


def test_an_index_is_not_pickled() -> None:
    catalog = table([(0, 0, 1, 1)], ["2021"], ["2021"])
    size = len(pickle.dumps(catalog))
    assert catalog.query(bounds=(0, 0, 1, 1)).tolist() == [0]
    assert len(pickle.dumps(catalog)) == size
    assert pickle.loads(pickle.dumps(catalog)).query(time="2022").tolist() == []


@pytest.mark.parametrize("bounds", [(500_000, 5_100_000, 510_000, 5_110_000), (0, 50, 10, 40)])
def test_bounds_that_are_no_degrees_are_refused(bounds: tuple[float, ...]) -> None:
    catalog = table([(0, 40, 10, 50)], ["2020-01-01"], ["2020-01-02"])
    with pytest.raises(gx.errors.ArgumentError, match=r"bounds are .* must be .* in degrees.*aoi="):
        catalog.filter(bounds=bounds)
    with pytest.raises(gx.errors.ArgumentError, match="in degrees"):
        catalog.query(bounds=bounds)
    assert catalog.query(bounds=(-180, -91, 181, 91)).tolist() == [0]

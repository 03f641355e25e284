"""GeoParquet: what other readers find in it, versions, columns that cannot be written."""

import json
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import shapely
from affine import Affine

import geoxr as gx
from geoxr.testing import write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)


@pytest.fixture
def catalog(tmp_path: Path) -> gx.Catalog:
    """A scene of a day, one of a year, and one without CRS and date."""
    for name, crs in (("a", 32633), ("b", 32634), ("c", None)):
        write_geotiff(tmp_path / f"{name}.tif", np.ones((20, 30), "uint8"), crs=crs, transform=UTM)
    frame = gx.Catalog.scan(tmp_path).frame
    ends = ["2021-05-31T10:00", "2021-12-31T23:59:59.999999999", "NaT"]
    frame["start"] = np.array(["2021-05-31T10:00", "2021-01-01", "NaT"], "datetime64[ns]")
    frame["end"] = np.array(ends, "datetime64[ns]")
    return gx.Catalog(frame.assign(cloud_cover=[1.5, np.nan, 3.0], tile=["x", None, "z"]))


def test_a_catalog_comes_back_as_it_was(catalog: gx.Catalog, tmp_path: Path) -> None:
    again = gx.Catalog.from_parquet(catalog.to_parquet(tmp_path / "a.parquet"))
    assert repr(list(again.table)) == repr(list(catalog.table))
    assert again.frame.columns.tolist() == catalog.frame.columns.tolist()
    assert again.frame["start"].equals(catalog.frame["start"])
    assert again.frame["end"].equals(catalog.frame["end"])
    assert again.frame.geometry.geom_equals(catalog.frame.geometry).all()
    assert again.frame["tile"].isna().tolist() == [False, True, False]
    assert again.frame["transform"][0] == tuple(UTM)[:6]
    assert again.frame["shape"][0] == (20, 30)
    twice = gx.Catalog.from_parquet(again.to_parquet(tmp_path / "b.parquet"))
    assert repr(list(twice.table)) == repr(list(catalog.table))


def test_geopandas_reads_columns_of_stac(catalog: gx.Catalog, tmp_path: Path) -> None:
    path = catalog.to_parquet(tmp_path / "a.parquet")
    frame = geopandas.read_parquet(path)
    assert frame.crs.to_epsg() == 4326
    assert frame["id"].tolist() == ["a", "b", "c"]
    assert frame["datetime"][0] == pd.Timestamp("2021-05-31T10:00", tz="UTC")
    assert frame["datetime"].isna().tolist() == [False, True, True]
    assert frame["start_datetime"][1] == pd.Timestamp("2021-01-01", tz="UTC")
    assert frame["end_datetime"][1].date().isoformat() == "2021-12-31"
    assert frame["proj:code"][:2].tolist() == ["EPSG:32633", "EPSG:32634"]
    assert frame["proj:code"].isna().tolist() == [False, False, True]
    assert frame["proj:epsg"][:2].tolist() == [32633, 32634]
    assert frame["proj:shape"][0].tolist() == [20, 30]
    assert frame["proj:transform"][0].tolist() == list(UTM)[:6]
    box = pd.read_parquet(path)["bbox"][0]  # geopandas takes it for its own
    assert (box["xmin"], box["ymin"], box["xmax"], box["ymax"]) == frame.geometry[0].bounds
    assert len(geopandas.read_parquet(path, bbox=tuple(frame.geometry[1].bounds))) == 1
    again = gx.Catalog(frame)  # columns for others do no harm
    assert repr(list(again.table)) == repr(list(catalog.table))
    assert len(gx.Catalog.from_parquet(again.to_parquet(path))) == 3


def test_files_of_geopandas_are_read(catalog: gx.Catalog, tmp_path: Path) -> None:
    frame = catalog.frame.assign(nodata=None)
    frame.rename_geometry("place").to_parquet(tmp_path / "a.parquet")
    again = gx.Catalog.from_parquet(tmp_path / "a.parquet")
    assert repr(list(again.table)) == repr(list(catalog.table))
    assert again.query(bounds=tuple(frame.geometry[1].bounds)).tolist() == [1]


@pytest.mark.parametrize("nodata", [None, np.nan, -9999.0])
def test_no_nodata_and_nan_stay_apart(tmp_path: Path, nodata: float | None) -> None:
    path = write_geotiff(
        tmp_path / "a.tif", np.ones((2, 2), "float32"), crs=32633, transform=UTM, nodata=nodata
    )
    catalog = gx.Catalog.scan(path)
    stored = catalog.to_parquet(tmp_path / "a.parquet")
    for again in (gx.Catalog.from_parquet(stored), gx.Catalog(geopandas.read_parquet(stored))):
        assert repr(again.table.header(0).nodata) == repr(nodata)
    assert repr(gx.Catalog.from_parquet(stored).frame["nodata"].tolist()) == repr([nodata])


def test_nodata_is_a_number_to_ask_for(tmp_path: Path) -> None:
    for name, dtype, nodata in (
        ("a", "uint8", 0),
        ("b", "float32", -9999.5),
        ("c", "uint32", 2**32 - 1),
        ("d", "uint8", None),
    ):
        pixels = np.ones((2, 2), dtype)
        write_geotiff(tmp_path / f"{name}.tif", pixels, crs=32633, transform=UTM, nodata=nodata)
    catalog = gx.Catalog.scan(tmp_path)
    again = gx.Catalog.from_parquet(catalog.to_parquet(tmp_path / "a.parquet"))
    assert catalog.frame["nodata"].tolist() == [0, -9999.5, 2**32 - 1, None]
    assert again.frame["nodata"].tolist() == catalog.frame["nodata"].tolist()
    assert again.filter(where=lambda frame: frame["nodata"] == 0).frame["id"].tolist() == ["a"]


def test_newer_versions_are_refused(catalog: gx.Catalog, tmp_path: Path) -> None:
    path = catalog.to_parquet(tmp_path / "a.parquet")
    table = pyarrow.parquet.read_table(path)
    key = b"geoxr:catalog"
    assert json.loads(table.schema.metadata[key]) == {"version": 1}
    newer = {**table.schema.metadata, key: b'{"version": 2}'}
    pyarrow.parquet.write_table(table.replace_schema_metadata(newer), path)
    with pytest.raises(gx.errors.ArgumentError, match=r"version 2, .* reads version 1 .*upgrade"):
        gx.Catalog.from_parquet(path)


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(gx.errors.MissingFileError, match=r"none\.parquet does not exist"):
        gx.Catalog.from_parquet(tmp_path / "none.parquet")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "plain.parquet")
    with pytest.raises(gx.errors.NotARasterError, match="not a GeoParquet file"):
        gx.Catalog.from_parquet(tmp_path / "plain.parquet")


def test_columns_that_cannot_be_written_are_named(catalog: gx.Catalog, tmp_path: Path) -> None:
    odd = gx.Catalog(catalog.frame.assign(odd=[1, "two", object()]))
    with pytest.raises(gx.errors.ArgumentError, match=r"cannot be written to Parquet.*column odd"):
        odd.to_parquet(tmp_path / "a.parquet")


def test_scenes_without_any_place_are_stored(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", np.ones((2, 2), "uint8"), crs=None, transform=UTM)
    catalog = gx.Catalog.scan(path)
    again = gx.Catalog.from_parquet(catalog.to_parquet(tmp_path / "a.parquet"))
    assert shapely.is_empty(again.frame.geometry[0])


def test_scenes_of_several_files_keep_their_lists(tmp_path: Path) -> None:
    for band in ("red", "nir"):
        write_geotiff(tmp_path / f"{band}.tif", np.ones((2, 2), "uint8"), crs=32633, transform=UTM)
    files = {band: tmp_path / f"{band}.tif" for band in ("red", "nir")}
    one, two = gx.Catalog.scan(files), gx.Catalog.scan(tmp_path / "red.tif")
    for catalog in (one, one | two):
        again = gx.Catalog.from_parquet(catalog.to_parquet(tmp_path / "a.parquet"))
        assert again.frame["path"][0] == [str(path) for path in files.values()]
        assert again.frame["bands"][0] == ["red", "nir"]
        assert repr(list(again.table)) == repr(list(catalog.table))

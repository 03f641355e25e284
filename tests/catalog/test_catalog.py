"""The table of scenes: scanning, footprints, filters, GeoParquet, and frames of other people."""

import pickle
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine

import geoxr as gx
from geoxr.testing import write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two scenes in two zones, one of them with a palette."""
    ones = np.ones((20, 30), "uint8")
    write_geotiff(tmp_path / "a.tif", ones, crs=32633, transform=UTM, nodata=0)
    write_geotiff(tmp_path / "b.tif", ones, crs=32634, transform=UTM, colormap={1: (255, 0, 0)})
    return tmp_path


def test_a_scan_finds_what_headers_say(folder: Path) -> None:
    catalog = gx.Catalog.scan(folder)
    frame = catalog.frame
    assert len(catalog) == 2
    assert frame["path"].tolist() == [str(folder / "a.tif"), str(folder / "b.tif")]
    assert frame["crs"].tolist() == ["EPSG:32633", "EPSG:32634"]
    assert frame["transform"][0] == tuple(UTM)[:6]
    assert frame["shape"][0] == (20, 30)
    assert frame["nodata"].tolist() == [0, None]
    assert frame["kind"].tolist() == ["continuous", "categorical"]
    assert frame["size"].tolist() == [(folder / f"{name}.tif").stat().st_size for name in "ab"]
    assert frame.crs.to_epsg() == 4326
    with rasterio.open(folder / "a.tif") as file:
        change = pyproj.Transformer.from_crs(32633, 4326, always_xy=True)
        expected = change.transform_bounds(*file.bounds, densify_pts=21)
    side = min(expected[2] - expected[0], expected[3] - expected[1])
    np.testing.assert_allclose(frame.geometry[0].bounds, expected, atol=2e-4 * side)
    assert frame["id"].tolist() == ["a", "b"]
    assert pickle.loads(pickle.dumps(catalog)).frame.equals(frame)


def test_a_scan_leaves_out_what_cannot_be_opened_when_asked_to(folder: Path) -> None:
    (folder / "text.tif").write_text("no raster")
    with pytest.raises(gx.errors.NotARasterError, match=r"text\.tif"):
        gx.Catalog.scan(folder)
    with pytest.warns(UserWarning, match=r"1 of 3 scenes were left out: .*text\.tif"):
        assert len(gx.Catalog.scan(folder, errors="skip", workers=2)) == 2
    with pytest.raises(gx.errors.ArgumentError, match=r"errors is 'ignore'"):
        gx.Catalog.scan(folder, errors="ignore")  # type: ignore[arg-type]
    with pytest.raises(gx.errors.ArgumentError, match="workers is 0"):
        gx.Catalog.scan(folder, workers=0)


def test_geoparquet_keeps_every_column(folder: Path, tmp_path: Path) -> None:
    write_geotiff(
        folder / "c.tif", np.ones((2, 2), "float32"), crs=32633, transform=UTM, nodata=np.nan
    )
    catalog = gx.Catalog(gx.Catalog.scan(folder).frame.assign(cloud=[1.5, 2.5, np.nan]))
    again = gx.Catalog.from_parquet(catalog.to_parquet(tmp_path / "scenes.parquet"))
    assert again.frame["cloud"].tolist()[:2] == [1.5, 2.5]
    first, second = catalog.table, again.table
    assert repr(list(first)) == repr(list(second))
    assert [header.nodata for header in second.headers[:2]] == [0, None]
    assert np.isnan(second.headers[2].nodata)  # type: ignore[arg-type]
    path = tmp_path / "text.parquet"
    path.write_text("nothing")
    with pytest.raises(gx.errors.NotARasterError, match="not a GeoParquet file"):
        gx.Catalog.from_parquet(path)


def test_scenes_are_filtered_by_place_and_time(folder: Path) -> None:
    frame = gx.Catalog.scan(folder).frame
    days = np.array(["2021-05-31T10:00", "2021-07-01"], "datetime64[ns]")
    catalog = gx.Catalog(frame.assign(start=days, end=days))

    def left(**options: object) -> list[str]:
        return [Path(path).stem for path in catalog.filter(**options).frame["path"]]  # type: ignore[arg-type]

    assert left(bounds=(14, 46, 16, 48)) == ["a"]
    assert left(bounds=(20, 46, 14, 48)) == ["b"]  # the long way, across 180 degrees
    assert left(aoi=frame.geometry[0].centroid) == ["a"]
    assert left(aoi=geopandas.GeoSeries([shapely.box(4e5, 5.1e6, 6e5, 5.3e6)], crs=32634)) == ["b"]
    assert left(time="2021") == ["a", "b"]
    assert left(time="2021-05") == left(time="2021-05-31") == ["a"]
    assert left(time=("2021-06", "2021-07-01")) == left(time=("2021-06", None)) == ["b"]
    assert left(time=np.datetime64("2021-07-01")) == ["b"]
    assert "2021-05-31 to 2021-07-01" in repr(catalog)
    with pytest.raises(gx.errors.ArgumentError, match="Nothing of this meets"):
        catalog.filter(time="1999")
    with pytest.raises(gx.errors.ArgumentError, match=r"is no time: pass a date"):
        catalog.filter(time="yesterday noon")
    with pytest.raises(gx.errors.ArgumentError, match="no CRS"):
        catalog.filter(aoi=geopandas.GeoSeries([shapely.Point(0, 0)]))
    with pytest.raises(gx.errors.ArgumentError, match="aoi must be"):
        catalog.filter(aoi="Vienna")


def test_frames_without_sense_are_refused(folder: Path) -> None:
    frame = gx.Catalog.scan(folder).frame
    with pytest.raises(gx.errors.ArgumentError, match=r"made from a GeoDataFrame.*Catalog\.scan"):
        gx.Catalog([1, 2])  # type: ignore[arg-type]
    with pytest.raises(gx.errors.ArgumentError, match="no column transform, dtype"):
        gx.Catalog(frame.drop(columns=["transform", "dtype"]))
    with pytest.raises(gx.errors.ArgumentError, match="no rows"):
        gx.Catalog(frame.iloc[:0])
    for column, value, message in (
        ("dtype", "colour", r"a\.tif has dtype 'colour'"),
        ("transform", (1, 0, 0, 0, 0, 0), "which is no grid"),
        ("transform", (1, 2), "transform must hold 6 numbers"),
        ("shape", (0, 4), "which is no grid"),
    ):
        wrong = frame.copy()
        wrong[column] = [value, value]
        with pytest.raises(gx.errors.ArgumentError, match=message):
            gx.open_raster(gx.Catalog(wrong), crs="auto")


def test_a_catalog_needs_only_the_columns_of_a_grid(folder: Path) -> None:
    frame = gx.Catalog.scan(folder / "a.tif").frame
    short = frame[["path", "bands", "crs", "transform", "shape", "dtype", "geometry"]].to_crs(3035)
    layer = gx.open_raster(gx.Catalog(short))
    np.testing.assert_array_equal(layer.values, gx.open_raster(folder / "a.tif").values)
    assert layer.geoxr.nodata is None
    wrong = short.copy()
    wrong["transform"] = [(10, 0, 0, 0, -10, 0)]
    with pytest.raises(gx.errors.ReadFailedError, match=r"a\.tif was changed after"):
        gx.open_raster(gx.Catalog(wrong)).load()


def polar(crs: int, left: float, top: float, size: float) -> tuple[int, Affine]:
    return crs, Affine(size / 50, 0, left, 0, -size / 50, top)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        polar(32601, 300_000, 7_300_000, 400_000),  # across 180 degrees
        polar(32760, 600_000, 7_300_000, 400_000),  # across 180 degrees, south
        polar(3031, -400_000, 400_000, 800_000),  # the south pole
        polar(3413, -500_000, 600_000, 800_000),  # the north pole
        polar(3413, -500_000, -600_000, 800_000),  # near it
        polar(4326, 170, 10, 20),  # longitudes beyond 180
        polar(4326, -180, 90, 180),
        polar(5070, -2_000_000, 3_000_000, 3_000_000),
    ],
)
def test_footprints_hold_just_the_pixels_of_a_scene(
    tmp_path: Path, crs: int, transform: Affine
) -> None:
    path = write_geotiff(
        tmp_path / "a.tif", np.ones((50, 50), "uint8"), crs=crs, transform=transform
    )
    shape = gx.Catalog.scan(path).frame.geometry[0]
    assert shape.is_valid
    left, bottom, right, top = shape.bounds
    assert -180 <= left < right <= 180
    assert -90 <= bottom < top <= 90
    rng = np.random.default_rng(0)
    cols, rows = rng.uniform(-25, 75, (2, 4000))
    x, y = transform @ (cols, rows)
    lon, lat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    fits = np.isfinite(lon) & (np.abs(lat) <= 90)
    if crs == 4326:
        fits &= (cols >= 0) & (cols <= 50)  # elsewhere a longitude may be that of a pixel again
    lon = (lon + 180) % 360 - 180
    inside = (cols >= 0) & (cols <= 50) & (rows >= 0) & (rows <= 50)
    near = np.abs([cols, cols - 50, rows, rows - 50]).min(axis=0) < 0.3
    sure = fits & ~near
    np.testing.assert_array_equal(shapely.contains_xy(shape, lon[sure], lat[sure]), inside[sure])


def test_a_file_without_crs_takes_the_one_given(tmp_path: Path) -> None:
    for col in (0, 4):
        write_geotiff(
            tmp_path / f"{col}.tif", np.ones((4, 4), "uint8"), crs=None,
            transform=UTM @ Affine.translation(col, 0),
        )  # fmt: skip
    layer = gx.open_raster(tmp_path, crs="EPSG:32633")
    assert layer.geoxr.crs.epsg == 32633
    assert layer.values.sum() == 32
    assert gx.Catalog.scan(tmp_path).frame.geometry.is_empty.all()
    with pytest.raises(gx.errors.MissingCRSError, match=r"0\.tif has no coordinate reference"):
        gx.open_raster(tmp_path)


def test_scenes_with_a_start_and_no_end_are_described(utm_image: Path) -> None:
    frame = gx.Catalog.scan(utm_image).frame
    frame["start"] = pd.Timestamp("2016-06-20")
    assert repr(gx.Catalog(frame)).endswith("2016-06-20 to 2016-06-20 (1 day)")

"""Values at points, as rasterio samples them."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr

import geoxr as gx
from geoxr.io.geotiff import GeotiffReader
from geoxr.testing import LandsatCDL


def scattered(rng: np.random.Generator, number: int) -> gpd.GeoSeries:
    """Points around and in the image, in its CRS."""
    x, y = rng.uniform(499_500, 502_500, number), rng.uniform(5_198_000, 5_200_500, number)
    return gpd.GeoSeries.from_xy(x, y, index=np.arange(number) + 10, crs=32633)


@pytest.mark.parametrize("crs", [32633, 4326, 3035])
def test_points_in_any_crs_get_what_rasterio_samples(
    image: xr.DataArray, utm_image: Path, rng: np.random.Generator, crs: int
) -> None:
    points = scattered(rng, 500)
    with rasterio.open(utm_image) as file:
        xy = np.stack([points.x, points.y], axis=1)
        expected = np.array(list(file.sample(xy)))
    found = image.geoxr.sample_points(points.to_crs(crs).to_frame("geometry"))
    assert found.dims == ("point", "band") and found.dtype == "uint16"
    np.testing.assert_array_equal(found.values, expected)
    np.testing.assert_array_equal(found["valid"].values, expected != 0)
    assert found["point"].values.tolist() == points.index.tolist()
    assert found["band"].values.tolist() == ["red", "green", "nir"]
    np.testing.assert_allclose(found["x"], points.x, atol=1e-3)
    assert found.where(found.valid).isnull().sum() == (expected == 0).sum()


def test_dates_and_labels_have_their_own_dimensions(farmland: LandsatCDL) -> None:
    series = gx.open_product("landsat8-l2-sr", farmland.scenes, crs="auto", decode=True)
    values = series.values
    rows, cols = np.array([3, 200, 150, 100]), np.array([400, 30, 150, 220])
    points = gpd.GeoSeries.from_xy(series.x[cols], series.y[rows], crs=series.geoxr.crs.proj)
    found = series.geoxr.sample_points(points)
    assert found.dims == ("point", "time", "band")
    np.testing.assert_array_equal(found.values, values[:, :, rows, cols].transpose(2, 0, 1))
    assert found["wavelength"].dims == ("band",) and found.attrs["units"] == "1"
    label = gx.open_product("cdl", farmland.cdl)
    codes = label.geoxr.sample_points(points)
    assert codes.dims == ("point",) and codes.geoxr.classes == label.geoxr.classes


def test_a_dataset_gives_a_table(
    image: xr.DataArray, unmarked: xr.DataArray, rng: np.random.Generator
) -> None:
    points = scattered(rng, 50)
    ds = gx.merge({"a": image, "b": unmarked.isel(band=0, drop=True)})
    found = ds.geoxr.sample_points(points)
    assert set(found) == {"a", "a_valid", "b", "b_valid"}
    frame = found[["b", "b_valid"]].to_dataframe()
    assert len(frame) == 50 and frame["b_valid"].sum() < 50
    np.testing.assert_array_equal(found["a"].values, image.geoxr.sample_points(points).values)


def test_points_are_read_in_clusters(
    image: xr.DataArray, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, pixels = GeotiffReader.read, []

    def watched(self: GeotiffReader, window: object, *args: object, **kwargs: object) -> None:
        pixels.append(window.height * window.width)  # type: ignore[attr-defined]
        read(self, window, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(GeotiffReader, "read", watched)
    monkeypatch.setattr("geoxr.derive.points._CLUSTER", 32)
    many = image.geoxr.sample_points(scattered(rng, 3000))
    assert len(pixels) <= 5 * 7 and max(pixels) <= 32 * 32
    pixels.clear()
    near = gpd.GeoSeries.from_xy([500_105, 500_125], [5_199_905, 5_199_895], crs=32633)
    image.geoxr.sample_points(near)
    assert pixels == [2 * 3]
    assert many.sizes["point"] == 3000


def test_a_point_on_an_edge_belongs_to_the_right_or_lower_pixel(image: xr.DataArray) -> None:
    x = [500_010, 500_010 - 1e-6, 500_000, 502_000, 499_999.9]
    points = gpd.GeoSeries.from_xy(x, [5_199_990.0] * 5, crs=32633)
    found = image.geoxr.sample_points(points)
    values = image.values
    np.testing.assert_array_equal(found.values[:3], values[:, 1, [1, 1, 0]].T)
    assert not found["valid"].values[3:].any()


def test_floats_are_nan_outside_and_unmarked_integers_say_so(
    image: xr.DataArray, unmarked: xr.DataArray
) -> None:
    outside = gpd.GeoSeries.from_xy([0.0, np.inf], [0.0, 1.0], crs=32633)
    assert np.isnan(image.assign_attrs(scale=0.1).geoxr.decode().geoxr.sample_points(outside)).all()
    found = unmarked.geoxr.sample_points(outside)
    assert found.dtype == "uint8" and not found["valid"].any()


def test_pixels_behind_a_mask_band_are_missing(utm_image: Path) -> None:
    with rasterio.open(utm_image, "r+") as file:
        file.nodata = None
        file.write_mask(np.arange(200)[None] % 2 * np.full((150, 1), 255, "uint8"))
    masked = gx.open_raster(utm_image)
    points = gpd.GeoSeries.from_xy(masked.x[:10], [5_199_995.0] * 10, crs=32633)
    found = masked.geoxr.sample_points(points)
    assert found["valid"].values[:, 0].tolist() == [False, True] * 5
    assert (found.values[::2] == 0).all() and (found.values[1::2] > 0).all()


def test_longitudes_may_count_from_anywhere() -> None:
    grid = {"y": np.arange(4) * -1.0 + 3.5, "x": np.arange(178, 186) + 0.5}
    values = np.arange(32, dtype="uint8").reshape(4, 8)
    layer = xr.DataArray(values, grid, ("y", "x")).geoxr.write_crs(4326)
    points = gpd.GeoSeries.from_xy([179.2, -179.2, 180.8, 0.0], [1.2, 1.2, 1.2, 1.2], crs=4326)
    found = layer.geoxr.sample_points(points)
    assert found.values[:3].tolist() == values[2, [1, 2, 2]].tolist()
    assert found["valid"].values.tolist() == [True, True, True, False]


def test_what_is_no_point_is_refused(image: xr.DataArray) -> None:
    lines = gpd.GeoSeries([shapely.LineString([(0, 0), (1, 1)])], crs=32633)
    with pytest.raises(gx.errors.ArgumentError, match=r"holds LineString.*representative_point"):
        image.geoxr.sample_points(lines)
    with pytest.raises(gx.errors.MissingCRSError, match="set_crs"):
        image.geoxr.sample_points(gpd.GeoSeries.from_xy([1], [2]))
    with pytest.raises(gx.errors.ArgumentError, match="not list"):
        image.geoxr.sample_points([(1, 2)])  # type: ignore[arg-type]
    with pytest.raises(gx.errors.ArgumentError, match="method is 'cubic'"):
        image.geoxr.sample_points(lines, method="cubic")  # type: ignore[arg-type]

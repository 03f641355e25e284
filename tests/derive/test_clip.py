"""Layers cut to areas, as rasterising the whole area says."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize

import geoxr as gx
from geoxr.io.resolve import resolve

#: A star with a hole, and an island, in the UTM coordinates of `image`.
STAR = shapely.union_all([
    shapely.Polygon(
        [
            (500_311.7, 5_199_822.3), (501_503.1, 5_199_401.9),
            (501_113.3, 5_198_807.7), (500_617.9, 5_198_911.1),
        ],
        [[(500_701.3, 5_199_502.9), (500_903.7, 5_199_504.1), (500_803.3, 5_199_207.1)]],
    ),
    shapely.Point(501_700, 5_198_700).buffer(93),
])  # fmt: skip


def burnt(shape: shapely.Geometry, layer: xr.DataArray, *, all_touched: bool = False) -> np.ndarray:
    grid = layer.geoxr.geobox
    return rasterize(
        [(shape, 1)], out_shape=grid.shape, transform=grid.affine, all_touched=all_touched
    ).astype(bool)


@pytest.mark.parametrize("all_touched", [False, True])
def test_a_polygon_keeps_what_rasterising_the_whole_keeps(
    image: xr.DataArray, all_touched: bool
) -> None:
    expected = np.where(burnt(STAR, image, all_touched=all_touched), image.values, 0)
    whole = image.geoxr.clip(STAR, all_touched=all_touched, crop=False)
    np.testing.assert_array_equal(whole.values, expected)
    assert whole.attrs == image.attrs and resolve(whole).slow is None
    cut = image.geoxr.clip(STAR, all_touched=all_touched)
    np.testing.assert_array_equal(cut.values, expected[:, *_box(expected != 0)])
    xr.testing.assert_identical(cut.coords["x"], image.coords["x"].sel(x=cut["x"]))
    np.testing.assert_array_equal(
        cut.isel(y=slice(5, 40), x=slice(9, 70)).values, cut.values[:, 5:40, 9:70]
    )


def _box(kept: np.ndarray) -> tuple[slice, slice]:
    rows, cols = np.nonzero(kept.any(axis=0).any(axis=1))[0], np.nonzero(kept.any(axis=(0, 1)))[0]
    return slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)


def test_bounds_are_pure_slicing(image: xr.DataArray) -> None:
    cut = image.geoxr.clip((500_104, 5_198_996, 500_506, 5_199_494))
    assert cut.geoxr.bounds == (500_100, 5_199_000, 500_510, 5_199_490)
    np.testing.assert_array_equal(cut.values, image.values[:, 51:100, 10:51])
    touched = image.geoxr.clip((500_104, 5_198_996, 500_506, 5_199_494), all_touched=True)
    assert touched.geoxr.bounds == (500_100, 5_198_990, 500_510, 5_199_500)
    outside = image.geoxr.clip((500_104, 5_198_996, 500_506, 5_199_494), crop=False)
    assert outside.shape == image.shape
    np.testing.assert_array_equal(outside.values[:, 51:100, 10:51], cut.values)
    assert (outside.values != 0).sum() == (cut.values != 0).sum()


@settings(max_examples=25, deadline=None)
@given(
    left=st.floats(-50, 2000), bottom=st.floats(-50, 1500),
    width=st.floats(30, 900), height=st.floats(30, 900), all_touched=st.booleans(),
)  # fmt: skip
def test_bounds_and_their_polygon_keep_the_same_pixels(
    left: float, bottom: float, width: float, height: float, all_touched: bool
) -> None:
    grid = {"y": np.arange(149, -1, -1) * 10 + 5.0, "x": np.arange(200) * 10 + 5.0}
    layer = xr.DataArray(np.ones((150, 200), "uint8"), grid, ("y", "x")).geoxr.write_crs(32633)
    # Which centres on a border are burnt is for each to say.
    left, bottom = round(left) + 0.123, round(bottom) + 0.123
    box = (left, bottom, left + round(width), bottom + round(height))
    shape = shapely.box(*box)
    expected = burnt(shape, layer, all_touched=all_touched)
    if not expected.any():
        return
    clipped = layer.geoxr.clip(box, all_touched=all_touched)
    assert clipped.size == expected.sum()
    polygon = layer.geoxr.clip(shape, all_touched=all_touched)
    assert polygon.geoxr.valid.values.all() and polygon.shape == clipped.shape


def test_boxes_side_by_side_share_no_pixel(image: xr.DataArray) -> None:
    left, right = (image.geoxr.clip((x, 5_199_005, x + 100, 5_199_505)) for x in (500_105, 500_205))
    assert left.x.values[-1] == right.x.values[0] - 10
    upper = image.geoxr.clip((500_105, 5_199_505, 500_205, 5_199_605))
    assert upper.y.values[-1] == left.y.values[0] + 10


def test_a_table_in_another_crs_is_bent_like_every_pixel_of_it(image: xr.DataArray) -> None:
    corners = gpd.GeoSeries([shapely.box(500_200, 5_198_700, 501_800, 5_199_800)], crs=32633)
    area = corners.to_crs(3035)
    clipped = image.geoxr.clip(area.to_frame("geometry"), crop=False)
    dense = area.segmentize(1).to_crs(32633)
    np.testing.assert_array_equal(
        clipped.values, np.where(burnt(dense.iloc[0], image), image.values, 0)
    )


def test_long_edges_of_a_table_in_degrees_are_bent() -> None:
    affine = Affine(1000, 0, -2_000_000, 0, -1000, 2_600_000)
    grid = {
        "y": affine.f + (np.arange(900) + 0.5) * affine.e,
        "x": affine.c + (np.arange(1000) + 0.5) * affine.a,
    }
    layer = xr.DataArray(np.ones((900, 1000), "uint8"), grid, ("y", "x")).geoxr.write_crs(5070)
    area = gpd.GeoSeries([shapely.box(-117, 40, -107, 44)], crs=4326)
    clipped = layer.geoxr.clip(area, crop=False)
    dense = area.segmentize(0.001).to_crs(5070).iloc[0]
    wrong = clipped.geoxr.valid.values != burnt(dense, layer)
    assert wrong.sum() <= 3
    straight = area.to_crs(5070).iloc[0]
    assert (burnt(straight, layer) != burnt(dense, layer)).sum() > 3000


def test_what_remains_is_the_footprint(image: xr.DataArray) -> None:
    clipped = image.geoxr.clip(STAR, crop=False)
    assert clipped.geoxr.footprint.equals(STAR)
    ds = clipped.to_dataset(name="image")
    plan = ds.geoxr.random_chips(8, 40, seed=1)
    boxes = plan.to_geodataframe().geometry
    assert boxes.within(STAR.buffer(1e-3)).all()


def test_a_dataset_is_clipped_with_its_validity(
    unmarked: xr.DataArray, image: xr.DataArray
) -> None:
    ds = gx.merge({"a": unmarked, "b": image})
    clipped = ds.geoxr.clip(STAR)
    inside = burnt(STAR, clipped["b"])
    np.testing.assert_array_equal(clipped["a_valid"].values, inside)
    np.testing.assert_array_equal(clipped["a"].values[:, ~inside], 0)
    assert "a_valid" not in ds
    cut = ds.geoxr.clip(STAR.bounds)
    assert set(cut) == {"a", "b"} and cut.sizes == clipped.sizes


def test_areas_without_pixels_raise(image: xr.DataArray) -> None:
    with pytest.raises(gx.errors.NoOverlapError, match=r"No pixel is in the area.*EPSG:4326"):
        image.geoxr.clip((0, 0, 10, 10))
    with pytest.raises(gx.errors.ArgumentError, match=r"The area \(aoi\) is empty"):
        image.geoxr.clip(shapely.Polygon())
    with pytest.raises(gx.errors.ArgumentError, match="aoi must be"):
        image.geoxr.clip("here")  # type: ignore[arg-type]


def test_rotated_grids_are_clipped_too() -> None:
    affine = Affine.translation(500_000, 5_200_000) @ Affine.rotation(30) @ Affine.scale(10, -10)
    cells = {"y": np.arange(80) + 0.5, "x": np.arange(90) + 0.5}
    layer = xr.DataArray(np.ones((80, 90), "uint8"), cells, ("y", "x"))
    layer = layer.assign_coords(spatial_ref=_reference(affine))
    bounds = (500_200, 5_199_700, 500_700, 5_200_100)
    clipped = layer.geoxr.clip(bounds, crop=False)
    np.testing.assert_array_equal(clipped.geoxr.valid.values, burnt(shapely.box(*bounds), layer))
    assert layer.geoxr.clip(bounds).geoxr.valid.values.sum() == clipped.geoxr.valid.values.sum()


def _reference(affine: Affine) -> xr.Variable:
    from odc.geo.crs import CRS

    from geoxr.grid.coords import spatial_ref

    return spatial_ref(CRS(32633), affine)

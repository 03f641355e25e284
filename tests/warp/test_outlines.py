"""Outlines and target grids across 180 degrees, over poles and beyond what a map can show."""

import numpy as np
import pyproj
import pytest
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.grid.coords import coords_of
from geoxr.grid.geobox import bounds
from geoxr.grid.shapes import outline
from geoxr.warp.shapes import project, unbroken
from geoxr.warp.target import projected_grid, target_grid

WORLD = GeoBox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")
#: 200 km across 180 degrees at 52 N.
DATELINE = GeoBox((400, 400), Affine(500, 0, 600_000, 0, -500, 5_850_000), "EPSG:32660")
POLE = GeoBox((448, 304), Affine(25_000, 0, -3_850_000, 0, -25_000, 5_850_000), "EPSG:3413")
DISK = "+proj=geos +h=35785831 +lon_0=-75 +sweep=x +ellps=GRS80 +units=m"


def lonlat(geobox: GeoBox, number: int = 2000):
    """Random places inside a grid, in degrees."""
    rng = np.random.default_rng(0)
    cols, rows = rng.uniform(0, geobox.width, number), rng.uniform(0, geobox.height, number)
    a = geobox.affine
    change = pyproj.Transformer.from_crs(geobox.crs.proj, 4326, always_xy=True)
    return change.transform(a.a * cols + a.c, a.e * rows + a.f)


@pytest.mark.parametrize("left", [170, -190])
def test_an_outline_across_180_degrees_lies_where_the_grid_has_it(left: float) -> None:
    target = GeoBox((200, 200), Affine(0.1, 0, left, 0, -0.1, 60), "EPSG:4326")
    shape = project(outline(DATELINE), DATELINE, target)
    lon, lat = lonlat(DATELINE)
    lon = (lon - left) % 360 + left
    assert shapely.contains_xy(shape.buffer(1e-6), lon, lat).all()
    assert shape.area < 1.1 * np.ptp(lon) * np.ptp(lat)


def test_an_outline_across_180_degrees_comes_in_two_parts_on_a_global_grid() -> None:
    shape = project(outline(DATELINE), DATELINE, WORLD) & outline(WORLD)
    assert len(shapely.get_parts(shape)) == 2
    lon, lat = lonlat(DATELINE)
    assert shapely.contains_xy(shape.buffer(1e-6), lon, lat).all()
    assert shape.area < 1.1 * np.ptp(lon % 360) * np.ptp(lat)


def test_longitudes_to_360_cover_all_of_a_grid_to_180() -> None:
    to_360 = GeoBox((180, 360), Affine(1, 0, 0, 0, -1, 90), "EPSG:4326")
    shape = project(outline(to_360), to_360, WORLD)
    assert shape.covers(outline(WORLD))


def test_an_outline_around_a_pole_reaches_to_it_along_all_longitudes() -> None:
    shape = project(outline(POLE), POLE, WORLD) & outline(WORLD)
    lon, lat = lonlat(POLE)
    assert shapely.contains_xy(shape.buffer(1e-6), lon, lat).all()
    assert shape.covers(shapely.LineString([(-180, 89.9), (180, 89.9)]))
    assert not shape.intersects(shapely.box(-180, -90, 180, 25))


def test_a_grid_in_degrees_across_180_is_in_one_piece() -> None:
    grid = projected_grid(DATELINE, "EPSG:4326")
    lon, lat = lonlat(DATELINE)
    left, bottom, right, top = bounds(grid)
    assert right - left < 5
    assert ((lon - left) % 360 <= right - left).all()
    assert (bottom <= lat.min()) & (lat.max() <= top)


def test_scenes_beside_one_across_180_degrees_are_put_next_to_it() -> None:
    beside = GeoBox((400, 400), Affine(500, 0, 300_000, 0, -500, 5_850_000), "EPSG:32601")
    grid = target_grid([beside, DATELINE], crs=4326, size=0.01, box=None, align="snap")
    assert bounds(grid)[2] - bounds(grid)[0] < 8


@pytest.mark.parametrize(
    ("crs", "extent"),
    [
        ("EPSG:3857", (-20_037_508, -20_048_966, 20_037_508, 20_048_966)),
        ("EPSG:3413", (-3_314_693, -3_314_693, 3_314_693, 3_314_693)),
    ],
)
def test_the_world_is_cut_to_what_a_projection_is_made_for(crs, extent) -> None:
    """Mercator has no poles, a polar map no other hemisphere; both say so in their area of use."""
    grid = projected_grid(WORLD, crs, 50_000)
    np.testing.assert_allclose(bounds(grid), extent, rtol=0.03)


def test_a_disk_seen_from_space_has_a_grid_in_degrees() -> None:
    disk = GeoBox((1359, 1359), Affine(8000, 0, -5_434_894, 0, -8000, 5_434_894), DISK)
    left, bottom, right, top = bounds(projected_grid(disk, "EPSG:4326", 0.1))
    assert -157 < left < -145
    assert -5 < right < 7
    assert -82 < bottom < -70
    assert 70 < top < 82


def test_a_disk_across_180_degrees_stays_in_one_piece() -> None:
    crs = DISK.replace("lon_0=-75", "lon_0=140.7")
    disk = GeoBox((1359, 1359), Affine(8000, 0, -5_434_894, 0, -8000, 5_434_894), crs)
    left, _, right, _ = bounds(projected_grid(disk, "EPSG:4326", 0.1))
    assert 58 < left < 72
    assert 209 < right < 223


def test_a_grid_in_degrees_over_a_pole_goes_from_180_to_180() -> None:
    left, bottom, right, top = bounds(projected_grid(POLE, "EPSG:4326", 0.5))
    assert (left, right, top) == (-180, 180, 90)
    assert 25 < bottom < 35


def test_a_torn_outline_is_told_as_such() -> None:
    """North America across the edge of a map whose middle is Asia."""
    asia = GeoBox((10, 10), Affine(1e6, 0, -5e6, 0, -1e6, 5e6), "+proj=moll +lon_0=90")
    across = GeoBox((40, 60), Affine(1, 0, -120, 0, -1, 60), "EPSG:4326")
    assert unbroken(outline(across), across, asia) is None


@pytest.mark.parametrize("lon", [179.9, -179.9, 0.0])
def test_layers_on_both_sides_of_180_degrees_meet(lon: float) -> None:
    """A false answer that they do not was what these outlines used to give."""
    world = xr.DataArray(
        np.arange(180 * 360.0).reshape(180, 360), dims=("y", "x"), coords=coords_of(WORLD)
    )
    zone = 60 if lon > 100 else 1 if lon < -100 else 30
    x, y = pyproj.Transformer.from_crs(4326, 32600 + zone, always_xy=True).transform(lon, 52.3)
    target = GeoBox((60, 60), Affine(1000, 0, x - 30_000, 0, -1000, y + 30_000), 32600 + zone)
    warped = gx.reproject(world, geobox=target, resampling="nearest")
    rows, cols = np.mgrid[:60, :60] + 0.5
    east, north = target.affine @ (cols, rows)
    lons, lats = pyproj.Transformer.from_crs(32600 + zone, 4326, always_xy=True).transform(
        east, north
    )
    column = np.floor((lons + 180) % 360).astype(int)
    expected = world.values[np.floor(90 - lats).astype(int), column]
    np.testing.assert_array_equal(warped.values, expected)


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "average"])
def test_the_world_from_0_to_360_goes_onto_the_one_from_180(resampling: str) -> None:
    values = np.random.default_rng(0).random((90, 180))
    to_360 = GeoBox((90, 180), Affine(2, 0, 0, 0, -2, 90), "EPSG:4326")
    layer = xr.DataArray(values, dims=("y", "x"), coords=coords_of(to_360))
    target = GeoBox((90, 180), Affine(2, 0, -180, 0, -2, 90), "EPSG:4326")
    warped = gx.reproject(layer, geobox=target, resampling=resampling)
    np.testing.assert_allclose(warped.values, np.roll(values, 90, axis=1), rtol=1e-12)


@pytest.mark.parametrize("start", [-180, 0])
def test_the_whole_world_is_averaged_to_its_last_column(start: int) -> None:
    values = np.random.default_rng(0).random((90, 180))
    box = GeoBox((90, 180), Affine(2, 0, -180, 0, -2, 90), "EPSG:4326")
    layer = xr.DataArray(values, dims=("y", "x"), coords=coords_of(box))
    target = GeoBox((30, 60), Affine(6, 0, start, 0, -6, 90), "EPSG:4326")
    warped = gx.reproject(layer, geobox=target, resampling="average")
    means = values.reshape(30, 3, 60, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(warped.values, np.roll(means, -(start + 180) // 6, axis=1))


@pytest.fixture
def scenes_across_180(tmp_path):
    """Three scenes side by side of 50 km each: in UTM zone 60, and on both sides in zone 1."""
    from geoxr.testing import write_geotiff

    paths = []
    for value, (zone, lon) in enumerate([(60, 179.8), (1, -179.7), (1, -179.2)], start=1):
        x, y = pyproj.Transformer.from_crs(4326, 32600 + zone, always_xy=True).transform(lon, 52)
        transform = Affine(500, 0, x - 25_000, 0, -500, y + 25_000)
        pixels = np.full((100, 100), value, "uint16")
        path = tmp_path / f"{value}.tif"
        paths.append(write_geotiff(path, pixels, crs=32600 + zone, transform=transform, nodata=0))
    return paths


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3832", "EPSG:32660"])
def test_a_mosaic_across_180_degrees_is_in_one_piece(scenes_across_180, crs: str) -> None:
    res = 0.01 if crs == "EPSG:4326" else 1000
    mosaic = gx.open_raster(scenes_across_180, crs=crs, resolution=res, resampling="nearest")
    values = mosaic.values[0]
    assert values.shape[1] < 250
    middle = values[values.shape[0] // 2]
    assert set(middle[middle > 0]) == {1, 2, 3}
    assert (np.diff(middle[middle > 0].astype(int)) >= 0).all()  # from west to east


@pytest.mark.parametrize("join", ["inner", "outer"])
def test_layers_across_180_degrees_merge(scenes_across_180, join: str) -> None:
    first, second = (gx.open_raster(path) for path in scenes_across_180[:2])
    utm = gx.merge({"a": first, "b": second}, join=join)
    degrees = gx.merge(
        {"a": first.geoxr.reproject(4326), "b": second.geoxr.reproject(4326)}, join=join
    )
    for merged in (utm, degrees):
        assert merged.sizes["x"] < (60 if join == "inner" else 300)
        assert (merged["a"].values > 0).any()
        assert (merged["b"].values > 0).any()


# Absurd targets


def test_a_resolution_that_asks_for_too_many_pixels_is_refused_with_the_numbers() -> None:
    with pytest.raises(
        gx.errors.ArgumentError,
        match=r"2,000,\d{3},\d{3} x 2,000,\d{3},\d{3} pixels.*0.0001 x 0.0001.*coarser resolution=",
    ):
        projected_grid(DATELINE, "EPSG:32660", 1e-4)


def test_degrees_taken_for_metres_are_refused() -> None:
    with pytest.raises(gx.errors.ArgumentError, match="At most"):
        projected_grid(GeoBox((10, 10), Affine(1e6, 0, 0, 0, -1e6, 0), 3857), None, 0.0001)


def test_a_grid_as_large_as_a_continent_in_metres_is_fine() -> None:
    whole = GeoBox((100_000, 160_000), Affine(30, 0, -2.4e6, 0, -30, 3.21e6), "EPSG:5070")
    assert projected_grid(whole, None, 30).shape == (100_000, 160_000)


@pytest.mark.parametrize(
    "affine",
    [
        Affine(np.nan, 0, 0, 0, -1, 0),
        Affine(np.inf, 0, 0, 0, -1, 0),
        Affine(1, 0, np.inf, 0, -1, 0),
        Affine(0, 0, 0, 0, -1, 0),
        Affine(1, 1, 0, 1, 1, 0),
    ],
)
def test_transforms_that_place_no_pixels_are_refused(affine: Affine, utm_image) -> None:
    bad = GeoBox((10, 10), affine, "EPSG:32633")
    image = gx.open_raster(utm_image)
    for call in (
        lambda: image.geoxr.reproject(geobox=bad),
        lambda: gx.open_raster(utm_image, like=bad),
        lambda: gx.merge({"image": image}, like=bad),
    ):
        with pytest.raises(gx.errors.GridError, match="no place or no area"):
            call()


def test_a_grid_of_another_kind_is_refused(utm_image) -> None:
    with pytest.raises(gx.errors.ArgumentError, match="a layer or a GeoBox, not a str"):
        gx.open_raster(utm_image, like="EPSG:32633")


@pytest.mark.parametrize("world", [(-180.0, "EPSG:4326"), (0.0, "EPSG:4326"), (-2e7, "EPSG:3857")])
@pytest.mark.parametrize("edge", [(200_000, 8.5e6, "EPSG:32701"), (0, 5.6e6, "EPSG:32633")])
def test_the_world_meets_a_grid_on_its_own_edge(world, edge) -> None:
    """Its left and right edge are one meridian there, and the ring through them encloses nothing."""
    left, crs = world
    if crs == "EPSG:4326":
        source = GeoBox((180, 360), Affine(1, 0, left, 0, -1, 90), crs)
    else:
        source = GeoBox((200, 400), Affine(1e5, 0, left, 0, -1e5, 1e7), crs)
    target = GeoBox((50, 50), Affine(12e3, 0, edge[0], 0, -12e3, edge[1]), edge[2])
    layer = xr.DataArray(
        np.arange(source.height * source.width, dtype="float32").reshape(source.shape),
        dims=("y", "x"),
        coords=coords_of(source),
    )
    found = gx.reproject(layer, geobox=target, resampling="nearest").values
    cols, rows = np.meshgrid(np.arange(50) + 0.5, np.arange(50) + 0.5)
    change = pyproj.Transformer.from_crs(edge[2], crs, always_xy=True)
    x, y = change.transform(*(target.affine @ (cols, rows)))
    x = (x - left) % 360 + left if crs == "EPSG:4326" else x
    col, row = (np.floor(part).astype(int) for part in ~source.affine @ (x, y))
    inside = (col >= 0) & (col < source.width)
    assert inside.mean() > 0.5
    expected = row * source.width + col
    np.testing.assert_array_equal(found[inside], expected[inside])

"""Features burnt in windows: against rasterising the whole with GDAL, and what bad ones get."""

import multiprocessing
import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import dask
import geopandas
import numpy as np
import pyproj
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.grid import change
from geoxr.grid.window import Window
from geoxr.io.reader import read_window
from geoxr.io.resolve import resolve

GRID = GeoBox((150, 200), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")
#: Grids in the plane of EPSG:32633: whole numbers, north up, south up, not square, rotated.
AFFINES = (
    Affine(1, 0, 0, 0, 1, 0),
    Affine(10, 0, 500_000, 0, -10, 5_200_000),
    Affine(10 / 3, 0, 500_000, 0, 10 / 3, 5_200_000),
    Affine(0.7, 0, -3, 0, -2.3, 11),
    Affine(0.5, 0.1, 3, -0.1, 0.6, 9),
    Affine(0, 2, 5, 3, 0, 7),
)


def table(geometries, crs=32633, **columns):
    return geopandas.GeoDataFrame(columns, geometry=list(geometries), crs=crs)


def whole(geometries, values, grid, *, fill=0, all_touched=False):
    """Burn all features at once with GDAL."""
    return rasterio.features.rasterize(
        list(zip(geometries, values, strict=True)), out_shape=grid.shape, transform=grid.affine,
        fill=fill, all_touched=all_touched, dtype="int32",
    )  # fmt: skip


def on_grid(geometries, affine):
    """Geometries given in pixels, in the CRS of the grid."""

    def move(at):
        x, y = at[:, 0], at[:, 1]
        a = affine
        return np.stack([a.a * x + a.b * y + a.c, a.d * x + a.e * y + a.f], axis=1)

    return [shapely.transform(geometry, move) for geometry in geometries]


# Hypothesis draws geometries in pixels: halves hit pixel centres, whole numbers the lines between.

halves = st.integers(-20, 80).map(lambda n: n / 2)
anywhere = st.floats(-15, 50, allow_nan=False).map(lambda x: round(x, 3))
far = st.sampled_from([-1e6, -300.25, 1_000.0, 1e7])
number = st.one_of(halves, halves, anywhere, far)
point = st.tuples(number, number)
polygon = st.lists(point, min_size=3, max_size=7).map(shapely.Polygon)
box = st.tuples(halves, halves, st.integers(1, 30), st.integers(1, 30)).map(
    lambda b: shapely.box(b[0], b[1], b[0] + b[2] / 2, b[1] + b[3] / 2)
)
ring = st.tuples(box, st.integers(1, 4)).map(lambda b: b[0].buffer(b[1]).difference(b[0]))
line = st.lists(point, min_size=2, max_size=6).map(shapely.LineString)
dots = st.lists(point, min_size=1, max_size=4).map(shapely.MultiPoint)
sliver = st.tuples(halves, halves, anywhere).map(
    lambda s: shapely.Polygon([(s[0], s[1]), (s[0] + 25, s[1] + 0.01), (s[2], s[1] + 0.02)])
)
solid = st.lists(polygon, min_size=1, max_size=3).map(
    lambda parts: shapely.from_wkt(  # valid or not, parts may overlap
        f"MULTIPOLYGON ({', '.join(part.wkt.removeprefix('POLYGON ') for part in parts)})"
    )
)
simple = st.one_of(polygon, box, ring, line, dots, sliver, solid, point.map(shapely.Point))
geometry = st.one_of(
    simple, st.lists(simple, min_size=1, max_size=3).map(shapely.GeometryCollection)
).filter(lambda g: not g.is_empty)


@settings(deadline=None, max_examples=150)
@given(
    shapes=st.lists(geometry, min_size=1, max_size=5),
    affine=st.sampled_from(AFFINES),
    all_touched=st.booleans(),
    overlap=st.sampled_from(["first", "last"]),
    corner=st.tuples(st.integers(0, 32), st.integers(0, 39)),
    size=st.tuples(st.integers(1, 33), st.integers(1, 40)),
)
def test_any_window_has_the_pixels_of_the_whole(
    shapes, affine, all_touched, overlap, corner, size
) -> None:
    grid = GeoBox((33, 40), affine, "EPSG:32633")
    shapes = on_grid(shapes, affine)
    values = range(1, len(shapes) + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # invalid shapes, and some outside
        layer = gx.open_vector(
            table(shapes, v=values), like=grid, attribute="v", all_touched=all_touched,
            overlap=overlap,
        )  # fmt: skip
    order = slice(None) if overlap == "last" else slice(None, None, -1)
    expected = whole(shapes[order], list(values)[order], grid, all_touched=all_touched)
    np.testing.assert_array_equal(layer.values, expected)
    rows, cols = (slice(start, start + n) for start, n in zip(corner, size, strict=True))
    np.testing.assert_array_equal(layer.isel(y=rows, x=cols).values, expected[rows, cols])


@settings(deadline=None, max_examples=60)
@given(
    shapes=st.lists(geometry, min_size=1, max_size=4),
    all_touched=st.booleans(),
    step=st.sampled_from([2, 4, 3]),
    at=st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
def test_a_step_burns_into_larger_cells(shapes, all_touched, step, at) -> None:
    grid = GeoBox((33, 40), AFFINES[0], "EPSG:32633")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        layer = gx.open_vector(table(shapes), like=grid, mode="instance", all_touched=all_touched)
    row, col = at
    window = Window(row, col, 33 - row, 40 - col)
    pixels, _ = read_window(resolve(layer).reader, window, step=step)
    # With the same phase a window has the cells of a larger one.
    first = Window(row % step, col % step, 33 - row % step, 40 - col % step)
    everything, _ = read_window(resolve(layer).reader, first, step=step)
    np.testing.assert_array_equal(pixels[0, 0], everything[0, 0, row // step :, col // step :])
    if first.row == first.col == 0 and step != 3:  # a third is no exact number
        coarse = GeoBox(everything.shape[2:], grid.affine @ Affine.scale(step), grid.crs)
        expected = whole(shapes, range(1, len(shapes) + 1), coarse, all_touched=all_touched)
        np.testing.assert_array_equal(everything[0, 0], expected)


@pytest.mark.parametrize("all_touched", [False, True])
def test_long_outlines_are_cut_into_pieces_without_changing_a_pixel(rng, all_touched) -> None:
    turn = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    radius = 900 * (1 + 0.2 * np.sin(7 * turn)) + rng.normal(0, 3, turn.shape)
    land = np.stack([100 + radius * np.cos(turn), 75 + radius * np.sin(turn)], axis=1)
    near = (land - (100, 75)) * 0.08 + (100, 75)
    shapes = [
        shapely.Polygon(land, [near]),
        shapely.LineString(near[::7]),
        shapely.Polygon(near[::2]),
    ]
    shapes = on_grid(shapes, GRID.affine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # noise crosses itself
        layer = gx.open_vector(table(shapes), like=GRID, mode="instance", all_touched=all_touched)
    expected = whole(shapes, [1, 2, 3], GRID, all_touched=all_touched)
    np.testing.assert_array_equal(layer.values, expected)
    for row, col in rng.integers(0, 120, (20, 2)):
        part = layer.isel(y=slice(row, row + 30), x=slice(col, col + 40)).values
        np.testing.assert_array_equal(part, expected[row : row + 30, col : col + 40])


def test_heights_and_measures_are_left_out() -> None:
    flat = shapely.box(500_100, 5_199_000, 500_600, 5_199_700)
    high = shapely.force_3d(flat, 12.5)
    measured = shapely.from_wkt("LINESTRING ZM (500000 5200000 1 2, 501000 5199000 3 4)")
    layer = gx.open_vector(table([high, measured]), like=GRID, mode="instance")
    line = shapely.LineString([(500_000, 5_200_000), (501_000, 5_199_000)])
    np.testing.assert_array_equal(layer.values, whole([flat, line], [1, 2], GRID))


# Another CRS


def densely(geometries, crs, target, points=200):
    """The same shapes in another CRS, with so many vertices that nothing is left to bend."""
    series = geopandas.GeoSeries(list(geometries), crs=crs)
    length = float(np.ptp(series.total_bounds.reshape(2, 2), axis=0).max())
    return series.segmentize(length / points).to_crs(target)


@pytest.mark.parametrize(
    ("grid", "shape"),
    [
        (GRID, shapely.box(14.9, 46.8, 15.02, 46.946)),
        # Pixels of 25 km: an edge along a parallel is an arc.
        (
            GeoBox((300, 300), Affine(25_000, 0, -3_750_000, 0, -25_000, 3_750_000), "EPSG:3413"),
            shapely.box(-150, 60, 10, 75),
        ),
        (
            GeoBox((200, 250), Affine(20_000, 0, 2_000_000, 0, -20_000, 5_000_000), "EPSG:3035"),
            shapely.box(-5, 36, 30, 60),
        ),
    ],
)
def test_edges_are_bent_as_the_projection_bends_them(grid, shape) -> None:
    layer = gx.open_vector(table([shape], 4326), like=grid)
    expected = whole(densely([shape], 4326, grid.crs.proj, 20_000), [1], grid)
    assert expected.any()
    assert (layer.values != expected).mean() < 1e-4


def test_neighbours_that_share_an_edge_leave_no_gap() -> None:
    lines = np.linspace(14.99, 15.03, 23)
    shapes = [
        shapely.box(x, y, x2, y + 0.01) for x, x2 in pairwise(lines) for y in (46.93, 46.94, 46.95)
    ]
    layer = gx.open_vector(table(shapes, 4326), like=GRID)
    assert (layer.values == 1).all()


def test_features_beyond_the_reach_of_a_projection_are_cut() -> None:
    world = table([shapely.box(-180, -90, 180, 90)], 4326, v=[3])
    assert (gx.open_vector(world, like=GRID, attribute="v").values == 3).all()
    # Half of the world: its edge at 15 degrees is the middle of the zone, a column line.
    half = table([shapely.box(15, -90, 180, 90)], 4326)
    expected = np.zeros(GRID.shape, int)
    expected[:, :] = 1
    west = GeoBox(GRID.shape, Affine(10, 0, 499_000, 0, -10, 5_200_000), GRID.crs)
    values = gx.open_vector(half, like=west).values
    assert (values[:, :100] == 0).all() and (values[:, 100:] == 1).all()
    # Overlapping parts stay covered when they are cut.
    parts = shapely.MultiPolygon([shapely.box(-180, -90, 20, 90), shapely.box(10, -90, 180, 90)])
    with pytest.warns(UserWarning, match="1 are invalid"):
        assert gx.open_vector(table([parts], 4326), like=GRID).values.all()


def test_features_across_the_antimeridian_stay_together() -> None:
    # UTM zone 60 reaches over 180 degrees: a box around 180 in geographic coordinates.
    east = GeoBox((120, 200), Affine(0.01, 0, 179, 0, -0.01, -16.4), "EPSG:4326")
    box = shapely.box(750_000, 8_100_000, 900_000, 8_150_000)
    values = gx.open_vector(table([box], 32760), like=east).values
    assert 0 < values.mean() < 1 and values[:, 100:].any()  # east of 180
    # The same place on the other side of a grid that ends at 180.
    west = GeoBox((120, 200), Affine(0.01, 0, -181, 0, -0.01, -16.4), "EPSG:4326")
    np.testing.assert_array_equal(gx.open_vector(table([box], 32760), like=west).values, values)
    # Split at 180 as GeoJSON asks for, or going on beyond it.
    utm = GeoBox((100, 200), Affine(2_000, 0, 700_000, 0, -2_000, 8_200_000), "EPSG:32760")
    split = shapely.MultiPolygon(
        [shapely.box(179, -18, 180, -17), shapely.box(-180, -18, -179, -17)]
    )
    one = shapely.box(179, -18, 181, -17)
    first, second = (gx.open_vector(table([s], 4326), like=utm).values for s in (split, one))
    np.testing.assert_array_equal(first, second)
    assert first.any()


def centres_inside(shape, crs, grid) -> np.ndarray:
    """Pixels whose centre, through PROJ one by one, lies in a shape."""
    height, width = grid.shape
    cols, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    a = grid.affine
    x, y = a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f
    change = pyproj.Transformer.from_crs(grid.crs.proj, crs, always_xy=True)
    lon, lat = change.transform(x, y)
    back = change.transform(lon, lat, direction="INVERSE")
    placed = np.isfinite(lon) & (np.hypot(back[0] - x, back[1] - y) < abs(a.a) / 10)
    return placed & shapely.contains_xy(shape, np.where(placed, lon, 0), np.where(placed, lat, 0))


GLOBE = "+proj=geos +h=35785831 +lon_0=0 +sweep=y +datum=WGS84"


@pytest.mark.parametrize(
    ("crs", "affine", "shape"),
    [
        (GLOBE, Affine(56_000, 0, -5_600_000, 0, -56_000, 5_600_000), (20, -35, 140, 37)),
        (GLOBE, Affine(56_000, 0, -5_600_000, 0, -56_000, 5_600_000), (-180, -90, 180, 90)),
        ("EPSG:3857", Affine(210_000, 0, -21_000_000, 0, -210_000, 21_000_000), (-180, -90, 180, -60)),
        ("EPSG:3832", Affine(200_000, 0, -20_000_000, 0, -200_000, 20_000_000), (-60, -60, 10, 60)),
        ("EPSG:32633", Affine(90_000, 0, -9_000_000, 0, -90_000, 9_000_000), (-180, -90, 180, 90)),
        ("EPSG:3031", Affine(75_000, 0, -7_500_000, 0, -75_000, 7_500_000), (-180, -90, 180, -60)),
    ],
    ids=["limb", "globe", "mercator", "cut", "wide", "pole"],
)  # fmt: skip
def test_parts_that_have_a_place_are_burnt(crs, affine, shape) -> None:
    grid = GeoBox((200, 200), affine, crs)
    expected = centres_inside(shapely.box(*shape), 4326, grid)
    values = gx.open_vector(table([shapely.box(*shape)], 4326), like=grid).values
    assert expected.any()
    assert (values != expected).mean() < 1e-4


def test_a_ring_around_the_pole_is_filled() -> None:
    cap = shapely.Point(0, 0).buffer(2_000_000)
    grid = GeoBox((90, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")
    values = gx.open_vector(table([cap], 3413), like=grid).values
    assert values[:15].all() and not values[25:].any()
    # The same, on longitudes from 0 to 360.
    east = GeoBox((90, 360), Affine(1, 0, 0, 0, -1, 90), "EPSG:4326")
    rolled = gx.open_vector(table([cap], 3413), like=east).values
    assert (rolled != np.roll(values, 180, axis=1)).mean() < 1e-4


def test_a_grid_over_the_pole_shows_all_longitudes() -> None:
    grid = GeoBox((100, 100), Affine(50_000, 0, -2_500_000, 0, -50_000, 2_500_000), "EPSG:3413")
    values = gx.open_vector(table([shapely.box(-180, 75, 180, 90)], 4326), like=grid).values
    rows, cols = np.mgrid[:100, :100] - 49.5
    away = np.hypot(rows, cols) * 50_000
    assert values[away < 1_500_000].all() and not values[away > 1_800_000].any()


# What is burnt


@pytest.fixture
def fields_4326(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Fifty overlapping polygons in EPSG:4326 over `GRID`."""
    points = rng.uniform((15.0, 46.94), (15.026, 46.952), (50, 2))
    shapes = [shapely.Point(p).buffer(rng.uniform(2e-4, 2e-3), quad_segs=3) for p in points]
    frame = table(shapes, 4326, crop=["corn", "soy beans"] * 25, code=[7, 9] * 25)
    frame.to_file(tmp_path / "fields.gpkg")
    return tmp_path / "fields.gpkg"


@pytest.fixture
def squares() -> geopandas.GeoDataFrame:
    """Four squares of 10 x 10 pixels along the upper edge of `GRID`."""
    shapes = [shapely.box(x, 5_199_900, x + 100, 5_200_000) for x in range(500_000, 500_400, 100)]
    return table(shapes, crop=["rye", "oats", "rye", "rape"], code=[4, -2, 4, 9])


def row(layer) -> list[int]:
    """Pixels in the middle of the four squares, and beside them."""
    return layer.values[5, 5:50:10].tolist()


def test_text_becomes_classes_in_alphabetic_order(squares) -> None:
    layer = gx.open_vector(squares, like=GRID, attribute="crop")
    assert layer.geoxr.classes.names == ("background", "oats", "rape", "rye")
    assert row(layer) == [3, 1, 3, 2, 0]
    # The code of the background is left out.
    layer = gx.open_vector(squares, like=GRID, attribute="crop", fill=2)
    assert dict(zip(layer.geoxr.classes.values, layer.geoxr.classes.names, strict=True)) == {
        2: "background", 1: "oats", 3: "rape", 4: "rye",
    }  # fmt: skip
    assert row(layer) == [4, 1, 4, 3, 2]
    named = squares.assign(crop=["rye", "background", "rye", "rape"])
    layer = gx.open_vector(named, like=GRID, attribute="crop")
    assert row(layer) == [2, 0, 2, 1, 0]


def test_classes_are_codes_to_names_or_names_to_codes(squares) -> None:
    layer = gx.open_vector(
        squares, like=GRID, attribute="crop", classes={5: "rye", 300: "oats", 7: "rape"}
    )
    assert row(layer) == [5, 300, 5, 7, 0] and layer.dtype == "uint16"
    assert layer.geoxr.classes.names == ("background", "rye", "oats", "rape")
    layer = gx.open_vector(
        squares, like=GRID, attribute="crop", classes={"rye": 1, "oats": 1, "rape": 2}
    )
    assert row(layer) == [1, 1, 1, 2, 0]
    assert layer.geoxr.classes.names == ("background", "rye/oats", "rape")
    layer = gx.open_vector(squares, like=GRID, classes={0: "land", 6: "field"})
    assert row(layer) == [6, 6, 6, 6, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attribute": "crop", "classes": {5: "rye"}}, r"'oats', 'rape', which classes= does not"),
        ({"attribute": "code", "classes": {4: "a", 9: "b"}}, r"the codes -2, which classes="),
        ({"attribute": "crop", "classes": {"rye": "1"}}, r"neither of codes to names"),
        ({"attribute": "code", "classes": {4: 1, -2: 2, 9: 3}}, r"neither of codes to names"),
        ({"attribute": "crop", "classes": "rye"}, r"Pass a list"),
        (
            {"attribute": "crop", "classes": {1: "rye", 2: "rye", 3: "oats", 4: "rape"}},
            r"gives the name 'rye' to several codes",
        ),
        ({"attribute": "share"}, r"holds fractions"),
        ({"attribute": "gap"}, r"1 of 4 features have no 'gap'"),
        ({"attribute": "blank"}, r"1 of 4 features have no 'blank'"),
        ({"attribute": "large"}, r"do not fit into 32 bits"),
        ({"classes": ["a", "b", "c"], "fill": 1}, r"Without attribute= all features are of one"),
    ],
)
def test_values_that_are_no_codes_are_refused(squares, arguments, message) -> None:
    squares = squares.assign(
        share=[0.5, 1, 2, 3],
        gap=[1, np.nan, 2, 3],
        blank=["a", " ", "b", "c"],
        large=[1, 2**33, 3, 4],
    )
    with pytest.raises(gx.errors.ClassesError, match=message):
        gx.open_vector(squares, like=GRID, **arguments)


@pytest.mark.parametrize(
    "codes",
    [[4, -2, 4, 9], [4.0, -2.0, 4.0, 9.0], np.array([4, -2, 4, 9], object)],
    ids=["int", "float", "object"],
)
def test_numbers_of_any_type_are_codes(squares, codes) -> None:
    layer = gx.open_vector(squares.assign(code=codes), like=GRID, attribute="code")
    assert row(layer) == [4, -2, 4, 9, 0]
    assert layer.dtype == "int8" and layer.geoxr.classes is None


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2, 3, 255], "uint8"), ([1, 2, 3, 256], "uint16"), ([-1, 2, 3, 128], "int16"),
        ([-1, 2, 3, 40_000], "int32"), ([True, True, True, True], "uint8"),
    ],
)  # fmt: skip
def test_the_type_is_the_smallest_that_fits(squares, values, dtype) -> None:
    assert gx.open_vector(squares.assign(v=values), like=GRID, attribute="v").dtype == dtype


def test_without_fill_the_outside_is_invalid(squares) -> None:
    layer = gx.open_vector(squares, like=GRID, attribute="code", fill=None)
    assert layer.geoxr.nodata == 0 and row(layer) == [4, -2, 4, 9, 0]
    assert layer.geoxr.valid.values[5, 5:50:10].tolist() == [True, True, True, True, False]
    # Zero is a code: another number marks the outside.
    codes = squares.assign(code=[0, 1, 2, 255])
    layer = gx.open_vector(codes, like=GRID, attribute="code", fill=None)
    assert row(layer) == [0, 1, 2, 255, layer.geoxr.nodata]
    np.testing.assert_array_equal(layer.geoxr.valid.values, layer.values != layer.geoxr.nodata)
    assert layer.geoxr.footprint.bounds[2] < GRID.boundingbox.right
    named = gx.open_vector(squares, like=GRID, attribute="crop", fill=None)
    assert named.geoxr.classes.names == ("oats", "rape", "rye")
    assert gx.merge({"mask": named})["mask"].geoxr.nodata == named.geoxr.nodata


def test_codes_that_equal_the_background_are_told(squares) -> None:
    with pytest.warns(UserWarning, match=r"vector: Of 4 features, 2 are burnt as 4, as are pixels"):
        gx.open_vector(squares, like=GRID, attribute="code", fill=4)


def test_instances_are_numbered_by_row(squares) -> None:
    rows = [shapely.Polygon(), *squares.geometry, None, squares.geometry[0]]
    with pytest.warns(UserWarning, match="Of 7 features, 2 have no geometry and are left out"):
        layer = gx.open_vector(table(rows), like=GRID, mode="instance")
    assert row(layer) == [7, 3, 4, 5, 0]
    with pytest.warns(UserWarning, match="no geometry"):
        layer = gx.open_vector(table(rows), like=GRID, mode="instance", overlap="first")
    assert row(layer) == [2, 3, 4, 5, 0]


# What could not be burnt


def test_features_that_cannot_be_burnt_are_counted() -> None:
    bow_tie = shapely.Polygon([(500_000, 5_199_900), (500_100, 5_200_000), (500_100, 5_199_900),
                               (500_000, 5_200_000)])  # fmt: skip
    endless = shapely.LineString([(500_000, 5_199_900), (np.inf, 0)])
    with pytest.warns(UserWarning, match="Of 3 features") as caught:
        layer = gx.open_vector(table([bow_tie, None, endless]), like=GRID)
    assert len(caught) == 1
    assert str(caught[0].message).startswith(
        "vector: Of 3 features, 1 have no geometry and are left out; 1 have coordinates that are no "
        "finite numbers and are left out; 1 are invalid"
    )
    np.testing.assert_array_equal(layer.values, whole([bow_tie], [1], GRID))


def test_features_away_from_the_grid_leave_background() -> None:
    away = table([shapely.box(0, 0, 1, 1)], 4326)
    with pytest.warns(UserWarning, match=r"none meets the grid, which covers \(15"):
        layer = gx.open_vector(away, like=GRID)
    assert not layer.values.any() and layer.geoxr.valid.values.all()
    with pytest.warns(UserWarning, match="Of 0 features, none meets the grid"):
        assert not gx.open_vector(table([]), like=GRID).values.any()


def test_features_need_a_crs_if_the_grid_has_one(squares, tmp_path: Path) -> None:
    bare = squares.set_crs(None, allow_override=True)
    with pytest.raises(gx.errors.MissingCRSError, match='crs="EPSG'):
        gx.open_vector(bare, like=GRID)
    squares.to_file(tmp_path / "bare.shp")
    (tmp_path / "bare.prj").unlink()
    with pytest.raises(gx.errors.MissingCRSError, match="The vector layer has no coordinate"):
        gx.open_vector(tmp_path / "bare.shp", like=GRID)
    layer = gx.open_vector(tmp_path / "bare.shp", like=GRID, attribute="code", crs="EPSG:32633")
    assert row(layer) == [4, -2, 4, 9, 0]
    with pytest.raises(gx.errors.CRSMismatchError, match="in EPSG:32633, but crs=EPSG:4326"):
        gx.open_vector(squares, like=GRID, crs=4326)
    moon = GeoBox((5, 5), Affine(0.1, 0, 0, 0, -0.1, 5), "IAU_2015:30100")
    with pytest.raises(gx.errors.CRSMismatchError, match="PROJ knows no way from EPSG:32633"):
        gx.open_vector(squares, like=moon)
    plane = GeoBox(GRID.shape, GRID.affine, None)
    assert row(gx.open_vector(bare, like=plane, attribute="code")) == [4, -2, 4, 9, 0]
    with pytest.raises(gx.errors.MissingCRSError, match="The grid"):
        gx.open_vector(squares, like=plane)


def test_a_missing_grid_file_is_told_for_features_too() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = pyproj.transformer.TransformerGroup("EPSG:27700", "EPSG:4326", always_xy=True)
    if group.best_available:
        pytest.skip("PROJ has the grid here")
    change._change.cache_clear()
    british = table([shapely.box(4e5, 3e5, 5e5, 4e5)], crs="EPSG:27700")
    like = GeoBox((20, 20), Affine(0.1, 0, -2, 0, -0.1, 54), "EPSG:4326")
    with pytest.warns(UserWarning, match="EPSG:27700 to EPSG:4326.*needs uk_os_OSTN15"):
        gx.open_vector(british, like=like).load()


# Files


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp", "a.parquet", "a.fgb"])
def test_all_formats_give_the_same_pixels(squares, tmp_path: Path, name: str) -> None:
    frame = squares.to_crs(4326) if name == "a.geojson" else squares
    path = tmp_path / name
    # FlatGeobuf sorts its features in space.
    options = {"SPATIAL_INDEX": "NO"} if name == "a.fgb" else {}
    frame.to_parquet(path) if name == "a.parquet" else frame.to_file(path, **options)
    layer = gx.open_vector(path, like=GRID, attribute="crop")
    assert layer.name == "a" and row(layer) == [3, 1, 3, 2, 0]
    assert row(gx.open_vector(path, like=GRID, mode="instance")) == [1, 2, 3, 4, 0]
    with pytest.raises(gx.errors.ArgumentError, match=r"no column 'kind'\. It has crop, code"):
        gx.open_vector(path, like=GRID, attribute="kind")


def test_geojson_without_a_crs_is_geographic(tmp_path: Path) -> None:
    ring = [[15, 46.9], [15.02, 46.9], [15.02, 46.95], [15, 46.9]]
    text = '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, '
    text += f'"geometry": {{"type": "Polygon", "coordinates": [{ring}]}}}}]}}'
    (tmp_path / "a.geojson").write_text(text)
    expected = whole(densely([shapely.Polygon(ring)], 4326, 32633), [1], GRID)
    values = gx.open_vector(tmp_path / "a.geojson", like=GRID).values
    assert expected.any() and (values != expected).mean() < 1e-4


def test_a_layer_of_several_is_named(squares, tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    squares.to_file(path, layer="fields")
    squares.iloc[:1].to_file(path, layer="farms")
    with pytest.raises(gx.errors.ArgumentError, match=r"2 layers: fields, farms\. Say which"):
        gx.open_vector(path, like=GRID)
    assert row(gx.open_vector(path, like=GRID, layer="farms")) == [1, 0, 0, 0, 0]
    with pytest.raises(gx.errors.ArgumentError, match=r"no layer 'roads'.*fields, farms"):
        gx.open_vector(path, like=GRID, layer="roads")


def test_a_condition_picks_features(squares, tmp_path: Path) -> None:
    squares.to_file(tmp_path / "a.gpkg")
    layer = gx.open_vector(tmp_path / "a.gpkg", like=GRID, attribute="code", where="code > 3")
    assert row(layer) == [4, 0, 4, 9, 0]
    with pytest.raises(gx.errors.ArgumentError, match="layer= and where= are for files"):
        gx.open_vector(squares, like=GRID, where="code > 3")
    with pytest.raises(gx.errors.ArgumentError, match="cannot be read where 'kind > 3'"):
        gx.open_vector(tmp_path / "a.gpkg", like=GRID, where="kind > 3")
    squares.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(gx.errors.ArgumentError, match="where= is for files that GDAL"):
        gx.open_vector(tmp_path / "a.parquet", like=GRID, where="code > 3")


def test_what_is_no_vector_file_is_said(squares, tmp_path: Path) -> None:
    with pytest.raises(gx.errors.MissingFileError, match=r"none\.gpkg does not exist"):
        gx.open_vector(tmp_path / "none.gpkg", like=GRID)
    (tmp_path / "text.gpkg").write_text("no features")
    with pytest.raises(gx.errors.NotARasterError, match="not a vector file"):
        gx.open_vector(tmp_path / "text.gpkg", like=GRID)
    squares.drop(columns="geometry").to_csv(tmp_path / "plain.csv")
    with pytest.raises(gx.errors.ArgumentError, match="has no column of geometries"):
        gx.open_vector(tmp_path / "plain.csv", like=GRID)
    with pytest.raises(gx.errors.ArgumentError, match="not a list"):
        gx.open_vector([1, 2], like=GRID)  # type: ignore[arg-type]


# Readers


def test_features_of_a_file_are_not_sent_along(fields_4326: Path) -> None:
    layer = gx.open_vector(fields_4326, like=GRID, attribute="crop")
    data = pickle.dumps(layer)
    assert len(data) < 12_000
    np.testing.assert_array_equal(pickle.loads(data).values, layer.values)
    frame = gx.open_vector(geopandas.read_file(fields_4326), like=GRID, attribute="crop")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(frame)).values, layer.values)


def read_there(layer) -> np.ndarray:
    return layer.values


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_other_processes_burn_the_same(fields_4326: Path, start: str) -> None:
    layer = gx.open_vector(fields_4326, like=GRID, mode="instance")
    expected = layer.values
    with multiprocessing.get_context(start).Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(read_there, (layer,)), expected)


def test_threads_burn_the_same(fields_4326: Path) -> None:
    layer = pickle.loads(pickle.dumps(gx.open_vector(fields_4326, like=GRID, mode="instance")))
    expected = gx.open_vector(fields_4326, like=GRID, mode="instance").values
    with ThreadPoolExecutor(8) as pool:
        for values in pool.map(lambda _: layer.values, range(16)):
            np.testing.assert_array_equal(values, expected)


def test_tokens_say_what_is_burnt(fields_4326: Path, squares) -> None:
    def token(source, **arguments):
        reader = resolve(gx.open_vector(source, like=GRID, **arguments)).reader
        assert dask.base.tokenize(reader) == dask.base.tokenize(pickle.loads(pickle.dumps(reader)))
        return dask.base.tokenize(reader)

    first = token(fields_4326, attribute="code")
    assert first == token(fields_4326, attribute="code")
    assert first != token(fields_4326, attribute="crop")
    assert first != token(fields_4326, attribute="code", all_touched=True)
    assert token(squares, attribute="code") == token(squares.copy(), attribute="code")
    assert token(squares, attribute="code") != token(squares.iloc[:3], attribute="code")
    geopandas.read_file(fields_4326).iloc[:40].to_file(fields_4326)
    assert first != token(fields_4326, attribute="code")


def test_a_file_that_changed_is_not_read_again(fields_4326: Path) -> None:
    layer = gx.open_vector(fields_4326, like=GRID, attribute="code", where="code = 7")
    expected = layer.values
    old = resolve(layer).reader
    other = gx.open_vector(fields_4326, like=GRID, attribute="code")
    geopandas.read_file(fields_4326).iloc[:40].to_file(fields_4326)
    np.testing.assert_array_equal(layer.values, expected)
    from geoxr.io import features

    features._kept.clear()
    with pytest.raises(gx.errors.ReadFailedError, match="was changed or removed"):
        pickle.loads(pickle.dumps(other)).values  # noqa: B018
    assert old.source.stamp != resolve(gx.open_vector(fields_4326, like=GRID)).reader.source.stamp


# Real files

SHARED = Path(
    os.environ.get("GEOXR_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data")
)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data")
@pytest.mark.parametrize(
    "name",
    [
        "landsat8_ny_series/nycd.gpkg",
        "rmnp/continental-div-trail.geojson",
        "zion/vector/zion_points.gpkg",
        "deepforest/australia.shp",
        "alexandria_lidar/buildings.geojson",
    ],
)
def test_real_features_have_the_pixels_of_the_whole(name: str, rng: np.random.Generator) -> None:
    frame = geopandas.read_file(SHARED / name)
    left, bottom, right, top = frame.total_bounds
    res = max(right - left, top - bottom) / 600
    affine = Affine(res, 0, left - 5.3 * res, 0, -res, top + 7.1 * res)
    shape = int((top - bottom) / res) + 15, int((right - left) / res) + 15
    grid = GeoBox(shape, affine, frame.crs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # invalid ones
        layer = gx.open_vector(SHARED / name, like=grid, mode="instance")
    expected = whole(frame.geometry, range(1, len(frame) + 1), grid)
    np.testing.assert_array_equal(layer.values, expected)
    for row, col in rng.integers(0, 120, (10, 2)):
        part = layer.isel(y=slice(row, row + 57), x=slice(col, col + 33)).values
        np.testing.assert_array_equal(part, expected[row : row + 57, col : col + 33])


def test_a_table_of_geometries_alone_is_told(utm_image: Path) -> None:
    image = gx.open_raster(utm_image)
    shapes = geopandas.GeoDataFrame(geometry=[image.geoxr.footprint], crs=image.geoxr.crs.to_wkt())
    with pytest.raises(gx.errors.ArgumentError, match=r"no column .crop.*only geometries"):
        gx.open_vector(shapes, like=image, attribute="crop")

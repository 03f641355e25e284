"""Coordinates of the lattice against PROJ at every pixel, for grids of all kinds."""

import numpy as np
import pyproj
import pytest
from affine import Affine
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.grid.window import Window
from geoxr.warp.lattice import TILE, Lattice, lattice

SINUSOIDAL = "+proj=sinu +R=6371007.181 +units=m"
GEOSTATIONARY = "+proj=geos +h=35785831 +lon_0=-75 +sweep=x +ellps=GRS80 +units=m"


def grid(crs, res, left, top, height=600, width=600):
    return GeoBox((height, width), Affine(res, 0, left, 0, -res, top), crs)


def exact(source: GeoBox, target: GeoBox, rows, cols):
    """Source columns and rows through PROJ at each position alone; NaN where it is no place."""
    a, b = target.affine, ~source.affine
    x, y = a.a * (cols + 0.5) + a.c, a.e * (rows + 0.5) + a.f
    change = pyproj.Transformer.from_crs(target.crs.proj, source.crs.proj, always_xy=True)
    east, north = change.transform(x, y)
    again = change.transform(east, north, direction="INVERSE")
    with np.errstate(invalid="ignore"):
        if target.crs.geographic or target.crs.epsg == 3857:
            good = np.isfinite(east)  # these go on beyond a turn
        else:
            good = np.hypot(again[0] - x, again[1] - y) < 1
        if source.crs.geographic:
            middle = source.affine.c + source.affine.a * source.width / 2
            east = east - 360 * np.floor((east - middle) / 360 + 0.5)
        col, row = b.a * east + b.c, b.e * north + b.f
    return np.where(good, col, np.nan), np.where(good, row, np.nan)


def compare(source: GeoBox, target: GeoBox, number: int = 30_000):
    """Largest error where the source is, and the share of nearest pixels that differ."""
    x, y = Lattice(source, target).coordinates(Window(0, 0, *target.shape))
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, target.height, number), rng.integers(0, target.width, number)
    true = np.stack(exact(source, target, rows, cols))
    found = np.stack([x[rows, cols], y[rows, cols]])
    size = np.array([[source.width], [source.height]])
    with np.errstate(invalid="ignore"):
        inside = ((true >= 0) & (true < size)).all(axis=0)
        assert inside.mean() > 0.1, "the case tests nothing"
        nearest = np.floor(np.where(np.isfinite(found), found, -1e9) + 1e-6)
        inside_found = ((nearest >= 0) & (nearest < size)).all(axis=0)
        differs = (nearest != np.floor(true + 1e-6)).any(axis=0) & inside
    assert (inside_found & ~inside).mean() <= 1e-4
    return np.abs(found - true)[:, inside].max(), differs.sum() / inside.sum()


CASES = {
    "UTM": (grid("EPSG:4326", 0.0003, 14, 46.5, 3000, 3000), grid(32633, 30, 450_000, 5_130_000)),
    "UTM at 10 cm": (
        grid("EPSG:4326", 1e-6, 14.2, 46.4, 300_000, 300_000),
        grid(32633, 0.1, 450_000, 5_130_000),
    ),
    "Albers": (
        grid("EPSG:4326", 0.01, -130, 50, 3000, 7000),
        grid(5070, 4000, -2_356_000, 3_172_000, 700, 1100),
    ),
    "LAEA": (
        grid("EPSG:4326", 0.01, -30, 75, 4000, 8000),
        grid(3035, 1000, 2_500_000, 4_500_000),
    ),
    "Web Mercator, the world": (
        grid("EPSG:4326", 0.1, -180, 90, 1800, 3600),
        grid(3857, 40_000, -20_037_508, 20_037_508, 1001, 1001),
    ),
    "from sinusoidal": (
        grid(SINUSOIDAL, 463.3127, -7_783_653.6, 5_559_752.6, 2400, 2400),
        grid(3857, 500, -10_500_000, 6_200_000),
    ),
    "to sinusoidal, the world": (
        grid("EPSG:4326", 0.1, -180, 90, 1800, 3600),
        grid(SINUSOIDAL, 20_000, -20_015_109, 10_007_554, 1001, 2002),
    ),
    "to polar stereographic with the pole": (
        grid("EPSG:4326", 0.25, -180, 90, 720, 1440),
        grid(3413, 25_000, -3_850_000, 5_850_000, 448, 304),
    ),
    "from polar stereographic": (
        grid(3413, 25_000, -3_850_000, 5_850_000, 448, 304),
        grid("EPSG:4326", 0.25, -180, 90, 200, 1440),
    ),
    "from geostationary": (
        grid(GEOSTATIONARY, 8000, -5_434_894, 5_434_894, 1359, 1359),
        grid("EPSG:4326", 0.1, -160, 82, 1640, 1700),
    ),
    "to geostationary": (
        grid("EPSG:4326", 0.1, -180, 90, 1800, 3600),
        grid(GEOSTATIONARY, 8000, -5_434_894, 5_434_894, 1359, 1359),
    ),
    "close to the limb": (
        grid(GEOSTATIONARY, 2000, -5_434_894, 5_434_894, 5435, 5435),
        grid("EPSG:4326", 0.02, -155, 30, 600, 600),
    ),
    "longitudes to 360": (
        grid("EPSG:4326", 0.25, 0, 90, 720, 1440),
        grid(3857, 40_000, -20_037_508, 10_000_000, 500, 1001),
    ),
    "UTM across 180 degrees": (
        grid(32660, 100, 570_585, 5_847_615, 2355, 2325),
        grid("EPSG:4326", 0.002, 178, 53, 1250, 1800),
    ),
    "UTM across -180 degrees": (
        grid(32660, 100, 570_585, 5_847_615, 2355, 2325),
        grid("EPSG:4326", 0.002, -182, 53, 1250, 1800),
    ),
    # PROJ comes back to 0.7 mm from where it was, which is much of a position near (0, 0).
    "around the origin of a map": (
        grid(32615, 30, 740_310, 4_616_160),
        grid("+proj=laea +lat_0=41.6 +lon_0=-90", 5, -1500, 1500),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_coordinates_equal_those_of_proj_at_every_pixel(name: str) -> None:
    error, differs = compare(*CASES[name])
    assert error < 1e-4
    assert differs <= 1e-4


@settings(max_examples=30, deadline=None)
@given(
    # Not Robinson: PROJ computes it from a table, and is off by a metre where entries meet.
    st.sampled_from([32633, 3035, 3857, 3413, SINUSOIDAL, "ESRI:54009", "+proj=gnom +lat_0=50"]),
    st.floats(0.2, 50_000),
    st.floats(-170, 170),
    st.floats(-80, 84),
)
def test_coordinates_are_right_at_any_place_and_resolution(crs, res, lon, lat) -> None:
    place = pyproj.Transformer.from_crs(4326, crs, always_xy=True)
    x, y = place.transform(lon, lat)
    assume(np.isfinite([x, y]).all() and max(abs(x), abs(y)) < 2e7)
    assume(np.allclose(place.transform(x, y, direction="INVERSE"), (lon, lat), atol=1e-6))
    target = grid(crs, res, x, y, 300, 300)
    size = res / 1e5
    source = grid("EPSG:4326", size, lon - 500 * size, lat + 500 * size, 1000, 1000)
    x, y = Lattice(source, target).coordinates(Window(0, 0, 300, 300))
    rows, cols = np.mgrid[:300:7, :300:7]
    true_x, true_y = exact(source, target, rows, cols)
    with np.errstate(invalid="ignore"):
        inside = (true_x >= 0) & (true_y >= 0) & (true_x < 1000) & (true_y < 1000)
    assert np.abs(x[::7, ::7] - true_x)[inside].max(initial=0) < 1e-4
    assert np.abs(y[::7, ::7] - true_y)[inside].max(initial=0) < 1e-4


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 500), st.integers(0, 300), st.integers(1, 300), st.integers(1, 300))
def test_any_window_equals_the_whole_where_some_cells_are_bent(row, col, high, wide) -> None:
    target = grid(3413, 12_500, -3_850_000, 5_850_000, 800, 600)
    shared = lattice(CASES["to polar stereographic with the pole"][0], target)
    whole = shared.coordinates(Window(0, 0, 800, 600))
    part = shared.coordinates(Window(row, col, high, wide))
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_array_equal(a[row : row + high, col : col + wide], b)


def points_through_proj(monkeypatch, one: Lattice, row: int, col: int) -> int:
    """How many positions one tile sends through PROJ."""
    seen = []
    monkeypatch.setattr(
        one, "exact", lambda c, r: seen.append(np.size(c)) or Lattice.exact(one, c, r)
    )
    one._make_tile(row, col)
    return sum(seen)


def test_a_smooth_tile_costs_one_call_of_a_few_hundred_points(monkeypatch) -> None:
    source = grid("EPSG:32615", 30, 400_000, 4_600_000, 3000, 3000)
    target = grid("EPSG:5070", 30, 150_000, 2_000_000, 3000, 3000)
    assert points_through_proj(monkeypatch, Lattice(source, target), 1, 1) == 19**2


def test_a_tile_with_a_few_bent_cells_costs_little_more_than_those(monkeypatch) -> None:
    """Where longitudes begin again there is a jump, and all else is smooth."""
    source = grid("EPSG:4269", 0.25, 0, 90, 720, 1440)
    target = grid("EPSG:4326", 0.25, -20, 60, 300, 300)
    number = points_through_proj(monkeypatch, Lattice(source, target), 0, 0)
    assert number < 4 * 16 * TILE


def test_what_is_far_from_any_place_costs_nothing_per_pixel(monkeypatch) -> None:
    source, target = CASES["to geostationary"]
    target = grid(GEOSTATIONARY, 1000, -5_434_894, 5_434_894, 10_870, 10_870)
    assert points_through_proj(monkeypatch, Lattice(source, target), 0, 0) == 19**2


def test_beside_the_lobes_of_a_map_there_is_nothing() -> None:
    source = grid("EPSG:4326", 1, -180, 90, 180, 360)
    target = grid(SINUSOIDAL, 50_000, -20_015_109, 10_007_554, 400, 800)
    x, _ = Lattice(source, target).coordinates(Window(0, 0, 400, 800))
    rows = target.affine.f + target.affine.e * (np.arange(400) + 0.5)
    half = np.pi * 6371007.181 * np.cos(rows / 6371007.181)
    east = target.affine.c + 50_000 * (np.arange(800) + 0.5)
    np.testing.assert_array_equal(np.isfinite(x), np.abs(east) < half[:, None])


def test_web_mercator_goes_on_beyond_its_edge() -> None:
    """Longitudes of a cylindrical map simply go on, so a grid across 180 degrees is one piece."""
    source = grid("EPSG:4326", 1, -180, 90, 180, 360)
    target = grid(3857, 10_000, 20_000_000, 0, 4, 300)
    x, _ = Lattice(source, target).coordinates(Window(0, 0, 4, 300))
    lon = np.degrees((target.affine.c + 10_000 * (np.arange(300) + 0.5)) / 6378137)
    np.testing.assert_allclose(x[0], (lon + 180) % 360, atol=1e-4)


# Longitudes round the globe


def test_longitudes_to_360_and_to_180_meet_in_one_crs() -> None:
    source, target = grid(4326, 1, 0, 90, 180, 360), grid(4326, 1, -180, 90, 180, 360)
    x, y = Lattice(source, target).coordinates(Window(0, 0, 180, 360))
    np.testing.assert_allclose(x[7], (np.arange(360) + 0.5 - 180) % 360)
    np.testing.assert_allclose(y[:, 7], np.arange(180) + 0.5)


def test_a_pixel_centre_on_the_first_edge_belongs_to_the_first_column() -> None:
    source = grid(4326, 1, 0, 90, 180, 360)
    target = GeoBox((1, 4), Affine(1, 0, -2.5, 0, -1, 10.5), "EPSG:4326")  # centres -2, -1, 0, 1
    x, _ = Lattice(source, target).coordinates(Window(0, 0, 1, 4))
    np.testing.assert_allclose(x[0], [358, 359, 0, 1], atol=1e-9)


# Ways that do not exist, or not at their best


def test_the_moon_is_not_the_earth() -> None:
    moon = grid("+proj=longlat +R=1737400 +no_defs", 0.1, 10, 10)
    with pytest.raises(gx.errors.CRSMismatchError, match=r"different celestial bodies.*write_crs"):
        Lattice(moon, grid("EPSG:32633", 10, 500_000, 0))


def test_a_local_crs_leads_nowhere() -> None:
    wkt = 'LOCAL_CS["a building site",UNIT["metre",1]]'
    with pytest.raises(
        gx.errors.CRSMismatchError, match="no way from a building site to EPSG:4326"
    ):
        Lattice(grid("EPSG:4326", 1, 0, 0), grid(wkt, 1, 0, 0))


def test_a_datum_shift_that_the_crs_brings_is_used() -> None:
    """TOWGS84 in the CRS: the same coordinates 400 m apart."""
    shifted = "+proj=longlat +ellps=airy +towgs84=446.448,-125.157,542.06,0.15,0.247,0.842,-20.489"
    source, target = grid("EPSG:4326", 1e-4, -1.1, 51.1, 2000, 2000), grid(shifted, 1e-4, -1, 51)
    error, differs = compare(source, target)
    assert error < 1e-4
    assert differs <= 1e-4
    x, _ = Lattice(source, target).coordinates(Window(0, 0, 1, 1))
    assert abs(x[0, 0] - 1000.5) > 10

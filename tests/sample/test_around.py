"""Chips around points and polygons."""

from __future__ import annotations

import pickle

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.grid.coords import coords_of

GRID = GeoBox((90, 130), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")


def dataset(dates: list[str] | None = None) -> xr.Dataset:
    data = np.zeros((1, *GRID.shape), "uint8")
    ds = xr.Dataset({"image": (("band", "y", "x"), data)}, coords=coords_of(GRID))
    if dates is None:
        return ds
    return ds.expand_dims(time=np.array(dates, "datetime64[ns]"))


def at(rows: list[float], cols: list[float]) -> geopandas.GeoSeries:
    x, y = 500_000 + 10 * np.array(cols), 5_200_000 - 10 * np.array(rows)
    return geopandas.GeoSeries.from_xy(x, y, crs=32633)


def corners(plan: gx.ChipPlan) -> list[tuple[int, int]]:
    return [(chip.window.row, chip.window.col) for chip in plan]


@settings(max_examples=40, deadline=None)
@given(
    st.floats(20.0, 70.0), st.floats(20.0, 110.0), st.integers(1, 20), st.integers(1, 20)
)  # fmt: skip
def test_a_point_is_in_the_middle_of_its_chip(row: float, col: float, high: int, wide: int) -> None:
    (chip,) = dataset().geoxr.chips_around(at([row], [col]), (high, wide))
    middle = chip.window.row + high / 2, chip.window.col + wide / 2
    assert abs(middle[0] - row) <= 0.5 + 1e-6
    assert abs(middle[1] - col) <= 0.5 + 1e-6
    if high % 2 and wide % 2:  # the middle is a pixel: the one with the point
        assert chip.window.row + high // 2 == np.floor(row + 1e-9)
        assert chip.window.col + wide // 2 == np.floor(col + 1e-9)


def test_geometries_of_another_crs_and_bare_ones_give_the_same_chips() -> None:
    points = at([30.5, 44.5, 60.5], [20.5, 70.5, 100.5])
    ds = dataset()
    plan = ds.geoxr.chips_around(points, 9)
    assert corners(plan) == [(26, 16), (40, 66), (56, 96)]
    assert corners(ds.geoxr.chips_around(points.to_crs(4326), 9)) == corners(plan)
    assert corners(ds.geoxr.chips_around(list(points), 9)) == corners(plan)
    assert corners(ds.geoxr.chips_around(points.to_frame("geometry"), 90, units="crs")) == corners(
        plan
    )


@settings(max_examples=40, deadline=None)
@given(
    st.floats(5, 60), st.floats(5, 90), st.floats(1, 30), st.floats(1, 40), st.integers(2, 16)
)  # fmt: skip
def test_all_of_a_polygon_is_seen(
    row: float, col: float, high: float, wide: float, size: int
) -> None:
    x, y = 500_000 + 10 * col, 5_200_000 - 10 * row
    shape = shapely.Polygon([(x, y), (x + 10 * wide, y - 3 * high), (x + 2 * wide, y - 10 * high)])
    plan = dataset().geoxr.chips_around([shape], size)
    frame = plan.to_geodataframe()
    assert frame.union_all().buffer(1e-3).covers(shape & shapely.box(*dataset().geoxr.bounds))
    assert frame.intersects(shape).all()
    top, left, bottom, right = row, col, row + high, col + wide
    rows, cols = np.ceil(bottom) - np.floor(top), np.ceil(right) - np.floor(left)
    if rows <= size and cols <= size:
        assert len(plan) == 1
    elif bottom < 90 and right < 130:
        windows = np.array(corners(dataset().geoxr.chips_around([shape], size, edge="pad")))
        assert (windows >= np.floor([top, left]) - size / 2).all()
        assert (windows + size <= np.ceil([bottom, right]) + size / 2 + 1).all()


def test_parts_of_a_large_polygon_side_by_side_end_with_it() -> None:
    box = shapely.box(500_100, 5_199_750, 500_350, 5_199_900)  # rows 10 to 25, columns 10 to 35
    plan = dataset().geoxr.chips_around([box], 10)
    assert corners(plan) == [(r, c) for r in (10, 15) for c in (10, 20, 25)]
    bent = shapely.box(500_100, 5_199_860, 500_350, 5_199_900) | shapely.box(
        500_100, 5_199_750, 500_140, 5_199_900
    )
    plan = dataset().geoxr.chips_around([bent], 10)
    assert corners(plan) == [(10, 10), (10, 20), (10, 25), (15, 10)]


def test_edges_shift_pad_or_drop() -> None:
    points = at([2.5, 45.5, 88.5], [3.5, 60.5, 128.5])
    ds = dataset()
    assert corners(ds.geoxr.chips_around(points, 9)) == [(0, 0), (41, 56), (81, 121)]
    pad = ds.geoxr.chips_around(points, 9, edge="pad")
    assert corners(pad) == [(-2, -1), (41, 56), (84, 124)]
    drop = ds.geoxr.chips_around(points, 9, edge="drop")
    assert corners(drop) == [(41, 56)]
    assert [chip.index for chip in drop] == [1]  # the number of its row
    with pytest.raises(gx.errors.ArgumentError, match="edge is 'cut'"):
        ds.geoxr.chips_around(points, 9, edge="cut")
    with pytest.raises(gx.errors.ChipError, match="None of the 1 chips"):
        ds.geoxr.chips_around(points[:1], 9, edge="drop")


def test_rows_outside_of_the_data_are_reported() -> None:
    points = at([10, -50, 20, 500], [10, 10, 20, 10])
    points.index = list("abcd")
    ds = dataset()
    with pytest.warns(UserWarning, match=r"2 of 4 rows lie outside of the data.*: 'b', 'd'\."):
        plan = ds.geoxr.chips_around(points, 8)
    assert [chip.index for chip in plan] == [0, 2]
    assert plan.draw.labels[plan.draw.rows[[chip.index for chip in plan]]].tolist() == ["a", "c"]
    with pytest.raises(gx.errors.NoOverlapError, match="All 2 rows lie outside"):
        ds.geoxr.chips_around(points[1::2], 8)


def test_chips_of_rows_keep_their_labels() -> None:
    large = shapely.box(500_100, 5_199_750, 500_350, 5_199_900)
    frame = geopandas.GeoSeries([at([50], [50])[0], large, at([60], [60])[0]], index=list("xyz"))
    plan = dataset().geoxr.chips_around(frame.set_crs(32633), 10)
    rows = plan.draw.rows[plan.indices(0, len(plan))]
    assert rows.tolist() == [0, 1, 1, 1, 1, 1, 1, 2]


def test_jitter_moves_chips_anew_in_every_epoch_and_keeps_the_point() -> None:
    points = at([45.5] * 3000, [60.5] * 3000)
    plan = dataset().geoxr.chips_around(points, 9, jitter=2, seed=1)
    moved = np.array(corners(plan)) - (41, 56)
    seen = np.histogram2d(moved[:, 0], moved[:, 1], bins=[np.arange(-2.5, 3)] * 2)[0]
    assert ((seen - 120) ** 2 / 120).sum() < 51.2  # 24 degrees of freedom, 0.1 %
    assert seen.sum() == 3000
    assert corners(plan.epoch(1)) != corners(plan)
    assert corners(pickle.loads(pickle.dumps(plan)).epoch(1)) == corners(plan.epoch(1))
    edge = dataset().geoxr.chips_around(at([0.5], [0.5]), 9, jitter=4)
    assert all(min(w) >= 0 for epoch in range(5) for w in corners(edge.epoch(epoch)))
    with pytest.raises(gx.errors.ArgumentError, match="more than half of size"):
        dataset().geoxr.chips_around(points, 9, jitter=5)
    with pytest.raises(gx.errors.ArgumentError, match="jitter must be"):
        dataset().geoxr.chips_around(points, 9, jitter=-1)


def test_chips_lie_in_an_area() -> None:
    points = at([45.5, 45.5, 45.5], [30.5, 60.5, 90.5])
    area = shapely.box(500_500, 5_199_000, 500_800, 5_200_000)
    ds = dataset()
    plan = ds.geoxr.chips_around(points, 9, aoi=area)
    assert [chip.index for chip in plan] == [1]
    narrow = shapely.box(500_560, 5_199_000, 500_655, 5_200_000)
    for epoch in range(5):
        plan = ds.geoxr.chips_around(points, 9, aoi=narrow, jitter=4).epoch(epoch)
        assert plan.to_geodataframe().within(narrow).all()
    centred = ds.geoxr.chips_around(
        points, 9, aoi=shapely.box(500_600, 5_199_500, 500_610, 5_199_600), within="centre"
    )
    assert [chip.index for chip in centred] == [1]


def test_min_valid_leaves_out_empty_places() -> None:
    data = np.ones((1, 90, 130), "float32")
    data[:, :, 50:70] = np.nan
    ds = xr.Dataset({"image": (("band", "y", "x"), data)}, coords=coords_of(GRID))
    plan = ds.geoxr.chips_around(at([45.5] * 3, [30.5, 60.5, 90.5]), 9, min_valid=0.5)
    assert [chip.index for chip in plan] == [0, 2]


DATES = ["2020-01-01", "2020-01-11", "2020-01-21", "2020-03-01", "2020-01-16"]


def test_rows_with_dates_get_the_dates_near_them() -> None:
    ds = dataset(DATES)
    frame = at([20, 40, 60], [20, 40, 60]).to_frame("geometry")
    frame["date"] = pd.to_datetime(["2020-01-12", "2020-02-28", "2020-01-01"])
    plan = ds.geoxr.chips_around(frame, 8, time="date", tolerance="5D")
    assert [chip.times for chip in plan] == [(1, 4), (3, -1), (0, -1)]
    wide = ds.geoxr.chips_around(frame, 8, time="date", tolerance="10D")
    assert [chip.times for chip in wide] == [(1, 2, 4), (3, -1, -1), (0, 1, -1)]
    nearest = ds.geoxr.chips_around(list(frame.geometry), 8, time=list(frame["date"]))
    assert [chip.times for chip in nearest] == [(1,), (3,), (0,)]
    limited = ds.geoxr.chips_around(frame, 8, time="date", toi=("2020-01-15", "2020-02"))
    assert [chip.times for chip in limited] == [(4,), (2,), (4,)]
    all_in = ds.geoxr.chips_around(frame, 8, toi=("2020-01-11", "2020-01-21"))
    assert {chip.times for chip in all_in} == {(1, 2, 4)}
    with pytest.warns(UserWarning, match="1 of 3 rows have no date"):
        exact = ds.geoxr.chips_around(frame, 8, time="date", tolerance="1D")
    assert [(chip.index, chip.times) for chip in exact] == [(0, (1,)), (2, (0,))]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"time": "when"}, gx.errors.ArgumentError, "names the column 'when'"),
        ({"time": ["2020-01-01"]}, gx.errors.ArgumentError, "time has 1 dates"),
        ({"time": ["soon", "later"]}, gx.errors.ArgumentError, "no date"),
        ({"time": ["2020-01-01", None]}, gx.errors.ArgumentError, "1 of them missing"),
        ({"tolerance": "5D"}, gx.errors.ArgumentError, "name them in time="),
        ({"time": ["2020-01-01"] * 2, "tolerance": "soon"}, gx.errors.ArgumentError, "tolerance"),
        ({"time": ["2019-01-01"] * 2, "tolerance": "5D"}, gx.errors.NoOverlapError, "no date of"),
        ({"toi": ("1999", "2000")}, gx.errors.NoOverlapError, "there are 2020-01-01, 2020-01-11"),
        ({"toi": 2020}, gx.errors.ArgumentError, r"toi must be \(start, stop\)"),
    ],
)
def test_dates_that_make_no_sense_say_so(options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        dataset(DATES).geoxr.chips_around(at([20, 40], [20, 40]), 8, **options)


def test_geometries_that_make_no_sense_say_so() -> None:
    ds = dataset()
    points = at([20, 40], [20, 40])
    with pytest.raises(gx.errors.MissingCRSError, match="set_crs"):
        ds.geoxr.chips_around(geopandas.GeoSeries(list(points)), 8)
    with pytest.raises(gx.errors.ArgumentError, match="1 of 2 geometries are missing or empty"):
        ds.geoxr.chips_around(geopandas.GeoSeries([points[0], None], crs=32633), 8)
    for nothing in ([], 5, [(1, 2)], "points"):
        with pytest.raises(gx.errors.ArgumentError, match="geometries must be"):
            ds.geoxr.chips_around(nothing, 8)
    with pytest.raises(gx.errors.ArgumentError, match="no dimension 'time'"):
        ds.geoxr.chips_around(points, 8, time=["2020-01-01"] * 2)
    with pytest.raises(gx.errors.ChipError, match="do not fit into a grid"):
        ds.geoxr.chips_around(points, 100)

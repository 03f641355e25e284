import pickle
import time
from collections.abc import Callable

import geopandas
import numpy as np
import pytest
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.grid.coords import coords_of
from geoxr.sample.area import legal_spans
from geoxr.sample.cells import legal_cells

Make = Callable[..., xr.Dataset]
Corners = Callable[[gx.ChipPlan], np.ndarray]
Check = Callable[[np.ndarray, np.ndarray], None]


def brute_force(
    area: shapely.Geometry, grid: GeoBox, size: tuple[int, int], within: str = "window"
) -> np.ndarray:
    """Whether a chip at each corner of the grid lies in an area in its CRS, one by one."""
    legal = np.zeros(grid.shape, bool)
    for row in range(grid.height - size[0] + 1):
        for col in range(grid.width - size[1] + 1):
            at = [(col, row), (col + size[1], row + size[0])]
            (x0, y0), (x1, y1) = (grid.affine @ corner for corner in at)
            shape = shapely.box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
            if within == "centre":
                shape = shapely.Point((x0 + x1) / 2, (y0 + y1) / 2)
            legal[row, col] = area.covers(shape)
    return legal


def in_pixels(*points: tuple[float, float]) -> shapely.Polygon:
    """Polygon through (column, row) points of the grid of the tests."""
    return shapely.Polygon([(500_000 + 10 * c, 5_200_000 - 10 * r) for c, r in points])


L_SHAPE = in_pixels((2, 3), (60, 3), (60, 21), (20, 21), (20, 80), (2, 80))
TRIANGLE = in_pixels((5.3, 10.2), (90.7, 22.1), (30.2, 70.9))
SCATTERED = shapely.MultiPolygon(
    [in_pixels((c, r), (c + 15, r), (c + 15, r + 15), (c, r + 15)) for c, r in
     ((1, 1), (40, 2), (90.5, 30.5), (10, 70), (100, 70))]
)  # fmt: skip


def test_random_chips_are_uniform_over_all_legal_places(
    whole: Make, corners_of: Corners, check_uniform: Check
) -> None:
    """The last legal offset is as likely as any other."""
    corners = corners_of(whole().geoxr.random_chips((81, 121), 20_000, seed=3))
    assert corners.max(axis=0).tolist() == [9, 9]
    check_uniform(corners, np.ones((10, 10)))


@pytest.mark.parametrize("area", [L_SHAPE, TRIANGLE, SCATTERED])
@pytest.mark.parametrize("within", ["window", "centre"])
def test_chips_are_uniform_over_the_places_in_a_polygon(
    area: shapely.Geometry, within: str, grid: GeoBox, whole: Make, corners_of: Corners,
    check_uniform: Check,
) -> None:  # fmt: skip
    size = (12, 11)
    legal = brute_force(area, grid, size, within)
    number = int(legal.sum()) * 16
    plan = whole().geoxr.random_chips(size, number, aoi=area, within=within, seed=1)
    check_uniform(corners_of(plan), legal.astype(float))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 40), st.integers(3, 40))
def test_cells_hold_every_legal_corner_once_and_sure_ones_no_other(
    seed: int, high: int, wide: int
) -> None:
    rng = np.random.default_rng(seed)
    blobs = shapely.buffer(
        shapely.points(rng.uniform(0, 100, (4, 2))), rng.uniform(4, 40, 4), quad_segs=4
    )
    holes = shapely.buffer(
        shapely.points(rng.uniform(0, 100, (3, 2))), rng.uniform(1, 10, 3), quad_segs=4
    )
    area = shapely.union_all(blobs) - shapely.union_all(holes)
    parts = np.array([part for part in shapely.get_parts(area) if part.area > 1], object)
    grid = GeoBox((100, 110), Affine.identity(), None)
    for within in ("window", "centre"):
        spans = legal_spans(parts, (high, wide), grid, within)
        cells = legal_cells(parts, spans, (high, wide), within)
        times, sure = np.zeros(grid.shape, int), np.zeros(grid.shape, int)
        for at in range(len(cells)):
            window = np.s_[
                cells.row[at] : cells.row[at] + cells.rows[at],
                cells.col[at] : cells.col[at] + cells.cols[at],
            ]
            times[window] += 1
            sure[window] += cells.sure[at]
        legal = np.zeros(grid.shape, bool)
        rows, cols = np.mgrid[: 100 - high + 1, : 110 - wide + 1]
        shapes = shapely.box(cols, rows, cols + wide, rows + high)
        if within == "centre":
            shapes = shapely.points(cols + wide / 2, rows + high / 2)
        legal[rows, cols] = [[any(p.covers(s) for p in parts) for s in line] for line in shapes]
        assert (times[legal] >= 1).all()
        assert (sure <= legal).all()
        assert times.sum() <= max(1.6 * legal.sum(), legal.sum() + 40)


def test_places_on_the_edge_between_cells_are_not_drawn_twice_as_often(
    grid: GeoBox, whole: Make, corners_of: Corners, check_uniform: Check
) -> None:
    strip = in_pixels((0, 0), (14, 0), (130, 76), (130, 90), (116, 90), (0, 14))
    legal = brute_force(strip, grid, (9, 9))
    plan = whole().geoxr.random_chips(9, int(legal.sum()) * 20, aoi=strip, seed=5)
    assert len(plan.draw.terms.pool.cells) > 20
    check_uniform(corners_of(plan), legal.astype(float))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), size=st.integers(5, 30))
def test_random_chips_lie_wholly_in_the_area(whole: Make, seed: int, size: int) -> None:
    area = in_pixels((0, 0), (130, 20), (90, 90), (0, 70))
    plan = whole().geoxr.random_chips(size, 20, aoi=area, seed=seed)
    assert len(plan) == 20
    assert shapely.covers(area.buffer(1e-4), plan.to_geodataframe().geometry.to_numpy()).all()


def test_centres_in_the_area_are_enough_if_asked_for(whole: Make, corners_of: Corners) -> None:
    sliver = in_pixels((0, 0), (130, 0), (130, 1), (0, 1))
    with pytest.raises(gx.errors.ChipError, match=r'130 pixels from edge.*within="centre"'):
        whole().geoxr.random_chips(20, 5, aoi=sliver)
    # In the grid the whole window is: no centre of a chip of 20 is that far up.
    with pytest.raises(gx.errors.ChipError, match="with its centre where the data is valid"):
        whole().geoxr.random_chips(20, 5, aoi=sliver, within="centre")
    lower = shapely.transform(sliver, lambda xy: xy - [0, 400])
    corners = corners_of(whole().geoxr.random_chips(20, 50, aoi=lower, within="centre"))
    assert set(corners[:, 0]) == {30, 31}
    assert corners[:, 1].min() >= 0
    assert corners[:, 1].max() <= 110


def test_one_seed_fixes_the_draws_and_epochs_differ(whole: Make) -> None:
    ds = whole()

    def places(plan: gx.ChipPlan) -> list[tuple[int, int]]:
        return [(chip.window.row, chip.window.col) for chip in plan]

    plan, again = (ds.geoxr.random_chips(16, 30, seed=7) for _ in range(2))
    assert places(plan) == places(again) == places(pickle.loads(pickle.dumps(plan)))
    assert places(plan) != places(ds.geoxr.random_chips(16, 30, seed=8))
    assert places(plan.epoch(1)) == places(again.epoch(1)) != places(plan)
    assert places(plan.epoch(0)) == places(plan) == places(plan.epoch(1).epoch(0))
    generators = [np.random.default_rng(3) for _ in range(2)]
    first, second = (ds.geoxr.random_chips(16, 30, seed=rng) for rng in generators)
    assert (
        places(first) == places(second) != places(ds.geoxr.random_chips(16, 30, seed=generators[0]))
    )


def test_a_density_says_how_likely_places_are(
    grid: GeoBox, whole: Make, corners_of: Corners, check_uniform: Check
) -> None:
    """The density lies askew, in pixels of another size, and is 0 in places."""
    coarse = GeoBox((6, 7), Affine(200, 0, 499_950, 0, -170, 5_200_030), "EPSG:32633")
    values = np.random.default_rng(0).integers(0, 4, coarse.shape).astype(float)
    weights = xr.DataArray(values, dims=("y", "x"), coords=coords_of(coarse))
    size = (71, 101)
    chance = np.zeros((20, 30))
    for row in range(20):
        for col in range(30):
            x, y = grid.affine @ (col + size[1] / 2, row + size[0] / 2)
            c, r = ~coarse.affine @ (x, y)
            chance[row, col] = values[int(r), int(c)]
    plan = whole().geoxr.random_chips(size, 30_000, weights=weights, seed=2)
    check_uniform(corners_of(plan), chance)


def test_a_density_in_another_crs_is_looked_up_where_chips_are(
    grid: GeoBox, whole: Make, corners_of: Corners
) -> None:
    frame = geopandas.GeoSeries([in_pixels((30, 20), (70, 20), (70, 60), (30, 60))], crs=32633)
    left, _, _, top = frame.to_crs(3035).total_bounds
    fine = GeoBox((500, 500), Affine(5, 0, left - 800, 0, -5, top + 800), "EPSG:3035")
    from rasterio.features import rasterize

    burnt = rasterize(frame.to_crs(3035), fine.shape, transform=fine.affine).astype("uint8")
    weights = xr.DataArray(burnt, dims=("y", "x"), coords=coords_of(fine))
    corners = corners_of(whole().geoxr.random_chips(8, 3000, weights=weights, seed=0)) + 4
    assert corners.min(axis=0).tolist() == pytest.approx([20, 30], abs=1)
    assert corners.max(axis=0).tolist() == pytest.approx([60, 70], abs=1)
    counts = np.histogram2d(*corners.T, bins=[4, 4], range=[[20, 60], [30, 70]])[0]
    assert counts.min() > 120
    assert counts.max() < 260


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), crs=st.sampled_from([32633, 3035, 4326]), res=st.floats(3, 300))
def test_no_weight_in_a_cell_is_above_its_bound(
    whole: Make, seed: int, crs: int, res: float
) -> None:
    ds = whole()
    left, bottom, right, top = (
        geopandas.GeoSeries([shapely.box(*ds.geoxr.bounds)], crs=32633).to_crs(crs).total_bounds
    )
    step = res / 100_000 if crs == 4326 else res
    shape = (int((top - bottom) / step) + 1, int((right - left) / step) + 1)
    fine = GeoBox(shape, Affine(step, 0, left, 0, -step, top), crs)
    values = np.random.default_rng(seed).random(shape)
    weights = xr.DataArray(values, dims=("y", "x"), coords=coords_of(fine))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoxr.sample.weights._CELLS", 20)  # cells of many corners
        terms = ds.geoxr.random_chips((11, 20), 5, weights=weights).draw.terms
    pool, density = terms._weighed
    cells = pool.cells
    for at in np.random.default_rng(seed).integers(0, len(cells), 50):
        row, col = np.mgrid[: cells.rows[at], : cells.cols[at]]
        places = np.stack(
            [(cells.row[at] + row).ravel() + 5.5, (cells.col[at] + col).ravel() + 10], 1
        )
        assert density.at(ds.geoxr.geobox, places).max() <= density.bounds[at]


def test_a_density_without_data_is_zero(whole: Make, grid: GeoBox, corners_of: Corners) -> None:
    values = np.ones(grid.shape, "float32")
    values[:, :100] = np.nan
    weights = xr.DataArray(values, dims=("y", "x"), coords=coords_of(grid))
    corners = corners_of(whole().geoxr.random_chips(8, 200, weights=weights))
    assert corners[:, 1].min() + 4 >= 100


def test_a_density_of_a_few_pixels_far_apart_is_drawn_fast(corners_of: Corners) -> None:
    large = GeoBox((40_000, 50_000), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")
    import dask.array

    data = dask.array.zeros(tuple(large.shape), chunks=5000, dtype="uint8")
    ds = xr.Dataset({"image": (("y", "x"), data)}, coords=coords_of(large))
    coarse = GeoBox((400, 500), large.affine @ Affine.scale(100), large.crs)
    values = np.zeros(coarse.shape, "float32")
    values[10, 10], values[390, 480] = 1, 3
    weights = xr.DataArray(values, dims=("y", "x"), coords=coords_of(coarse))
    begin = time.process_time()
    corners = corners_of(ds.geoxr.random_chips(200, 4000, weights=weights))
    assert time.process_time() - begin < 3
    cells = (corners + 100) // 100
    assert {tuple(cell) for cell in cells.tolist()} == {(10, 10), (390, 480)}
    assert (cells[:, 0] == 390).mean() == pytest.approx(0.75, abs=0.04)


def test_numbers_deal_chips_over_the_rows_of_an_area(
    whole: Make, grid: GeoBox, corners_of: Corners, check_uniform: Check
) -> None:
    rows = [
        in_pixels((0, 0), (30, 0), (30, 30), (0, 30)),
        in_pixels((20, 10), (40, 10), (40, 40), (20, 40)),  # overlaps the first
        in_pixels((70, 50), (120, 50), (95, 89)),
        in_pixels((0, 80), (1, 80), (1, 81)),  # too small, and of no weight
    ]
    frame = geopandas.GeoSeries(rows, crs=32633).to_crs(4326)
    share = [0.5, 0.2, 0.3, 0]
    chance = np.zeros(grid.shape)
    for row, part in zip(rows[:3], share[:3], strict=True):
        legal = brute_force(row, grid, (15, 15))
        chance += part * legal / legal.sum()
    plan = whole().geoxr.random_chips(15, 20_000, aoi=geopandas.GeoSeries(rows, crs=32633),
                                      weights=[5, 2, 3, 0], seed=4)  # fmt: skip
    check_uniform(corners_of(plan), chance)
    bent = corners_of(whole().geoxr.random_chips(15, 300, aoi=frame, weights=[0, 0, 1, 0]))
    assert (bent >= [49, 69]).all()


def test_weights_that_make_no_sense_are_told(whole: Make, grid: GeoBox) -> None:
    ds = whole()
    box = in_pixels((0, 0), (30, 0), (30, 30), (0, 30))
    frame = geopandas.GeoSeries([box, box.buffer(-149)], crs=32633)
    layer = ds["image"].isel(band=0, drop=True)
    for weights, aoi, message in (
        ([1, 2], box, "must be a GeoSeries or GeoDataFrame then, not Polygon"),
        ([1, 2, 3], frame, r"shape \(3,\), but aoi has 2 rows"),
        ([1, -2], frame, "not negative"),
        ([0, 0], frame, "above 0 somewhere"),
        ("many", frame, "must be a DataArray or numbers, not str"),
        (layer * -1.0, None, "A density is not negative"),
        (layer.expand_dims(time=[np.datetime64("2020-01-01"), np.datetime64("2021-01-01")]), None,
         "Pick one band and date"),
    ):  # fmt: skip
        with pytest.raises(gx.errors.ArgumentError, match=message):
            ds.geoxr.random_chips(16, 5, aoi=aoi, weights=weights)
    with pytest.raises(
        gx.errors.ChipError, match=r"1 of the 2 rows of aoi with a weight \(rows \[1\]"
    ):
        ds.geoxr.random_chips(16, 5, aoi=frame, weights=[1, 1])
    elsewhere = GeoBox((9, 9), Affine(10, 0, 900_000, 0, -10, 5_200_000), "EPSG:32633")
    away = xr.DataArray(np.ones((9, 9)), dims=("y", "x"), coords=coords_of(elsewhere))
    with pytest.raises(gx.errors.ChipError, match="weights is 0 wherever a chip fits"):
        ds.geoxr.random_chips(16, 5, weights=away)
    with (
        gx.options.set(max_read=100),
        pytest.raises(gx.errors.TooLargeError, match="coarser density"),
    ):
        ds.geoxr.random_chips(16, 5, weights=layer)


def test_thin_and_scattered_areas_are_drawn_from_fast(whole: Make) -> None:
    """In the bounding box of the strip one corner in 4,000 is legal."""
    large = GeoBox((20_000, 20_000), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")
    import dask.array

    data = dask.array.zeros(tuple(large.shape), chunks=5000, dtype="uint8")
    ds = xr.Dataset({"image": (("y", "x"), data)}, coords=coords_of(large))
    strip = shapely.LineString([(500_000, 5_200_000), (700_000, 5_000_000)]).buffer(1600)
    begin = time.process_time()
    plan = ds.geoxr.random_chips(224, 4000, aoi=strip)
    assert shapely.covers(strip.buffer(0.1), plan.to_geodataframe().geometry.to_numpy()).all()
    rng = np.random.default_rng(0)
    spots = shapely.points(rng.uniform([502_000, 5_002_000], [698_000, 5_198_000], (1000, 2)))
    many = geopandas.GeoSeries(shapely.buffer(spots, 300, quad_segs=4), crs=32633)
    plan = ds.geoxr.random_chips(32, 4000, aoi=many)
    shapes = plan.to_geodataframe().geometry.to_numpy()
    assert shapely.covers(many.union_all().buffer(0.1), shapes).all()
    assert time.process_time() - begin < 6


def test_min_valid_of_one_means_every_pixel(masked: Make) -> None:
    valid = np.ones((90, 130), bool)
    valid[:, 60:63] = False
    plan = masked(valid).geoxr.random_chips(32, 200, min_valid=1.0, seed=1)
    assert all(valid[chip.window.slices].all() for chip in plan)


def test_the_best_share_of_valid_pixels_is_told(masked: Make) -> None:
    stripes = np.zeros((90, 130), bool)
    stripes[::2] = True
    with pytest.raises(gx.errors.ChipError, match=r"none has 90% valid.*The best .* has 5\d\.\d%"):
        masked(stripes).geoxr.random_chips(17, 5, min_valid=0.9)


def test_nonsense_is_told_when_the_plan_is_made(whole: Make) -> None:
    ds = whole()
    chips = ds.geoxr.random_chips
    for error, message, call in (
        (gx.errors.ChipError, "200 x 200 pixels do not fit into a grid of 90 x 130",
         lambda: chips(200, 1)),
        (gx.errors.ChipError, "positive whole number of pixels, not 0", lambda: chips(0, 1)),
        (gx.errors.ChipError, "positive whole number of pixels, not -4", lambda: chips(-4, 1)),
        (gx.errors.ChipError, "not nan", lambda: chips(float("nan"), 1)),
        (gx.errors.ChipError, r"one number or", lambda: chips((8, 8, 8), 5)),
        (gx.errors.ChipError, r"size = 3 metres is no pixel: these are 10 x 10",
         lambda: chips(3, 1, units="crs")),
        (gx.errors.ArgumentError, 'units is "?.feet', lambda: chips(8, 1, units="feet")),
        (gx.errors.ArgumentError, "length must be a positive", lambda: chips(8, 0)),
        (gx.errors.ArgumentError, "length must be a positive", lambda: chips(8, 2.5)),
        (gx.errors.ArgumentError, "seed must be", lambda: chips(8, 5, seed=-1)),
        (gx.errors.ArgumentError, "share from 0 to 1", lambda: chips(8, 5, min_valid=90)),
        (gx.errors.ArgumentError, 'must be "window" or "centre"',
         lambda: chips(8, 5, within="center")),
        (gx.errors.NoOverlapError, "does not meet the data",
         lambda: chips(8, 5, aoi=shapely.box(0, 0, 1, 1))),
        (gx.errors.ArgumentError, "area .aoi. is empty",
         lambda: chips(8, 5, aoi=shapely.Polygon())),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            call()
    bow_tie = in_pixels((0, 0), (130, 90), (130, 0), (0, 90))
    assert len(chips(8, 5, aoi=bow_tie)) == 5
    assert chips((80, 160), 3, units="crs").size == (8, 16)


def test_a_plan_without_min_valid_does_not_hold_the_data(whole: Make) -> None:
    assert len(pickle.dumps(whole().geoxr.random_chips(8, 5000))) < 4000


def test_an_area_may_be_in_another_crs(whole: Make) -> None:
    box = in_pixels((0, 0), (60, 0), (60, 50), (0, 50))
    frame = geopandas.GeoSeries([box], crs=32633).to_crs(4326)
    plan = whole().geoxr.random_chips(16, 50, aoi=frame, seed=0)
    assert all(box.buffer(0.5).covers(shape) for shape in plan.to_geodataframe().geometry)

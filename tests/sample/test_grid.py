from collections.abc import Callable

import geopandas
import numpy as np
import pytest
import shapely
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.sample.grid import grid_chips
from geoxr.testing import LandsatCDL

Make = Callable[..., xr.Dataset]


def covered(plan: gx.ChipPlan) -> np.ndarray:
    """How many chips each pixel of the grid is in."""
    seen = np.zeros(plan.geobox.shape, int)
    for chip in plan:
        seen[chip.window.slices] += 1
    return seen


def area(*windows: tuple[int, int, int, int]) -> shapely.Geometry:
    """Area of windows (row, column, row after, column after) of the grid of the tests."""
    return shapely.union_all(
        [
            shapely.box(
                500_000 + 10 * c, 5_200_000 - 10 * r2, 500_000 + 10 * c2, 5_200_000 - 10 * r
            )
            for r, c, r2, c2 in windows
        ]
    )


edges = st.sampled_from(["shift", "pad", "drop"])


@settings(max_examples=40, deadline=None)
@given(high=st.integers(1, 60), wide=st.integers(1, 60), y=st.integers(1, 60), x=st.integers(1, 60),
       edge=edges)  # fmt: skip
def test_a_grid_covers_every_pixel_and_stays_inside(
    whole: Make, high: int, wide: int, y: int, x: int, edge: str
) -> None:
    y, x = min(y, high), min(x, wide)
    plan = whole().geoxr.grid_chips((high, wide), stride=(y, x), edge=edge)
    windows = [chip.window for chip in plan]
    assert len(windows) == len(plan)
    assert len(set(windows)) == len(windows)
    inside = all(
        w.row >= 0 and w.col >= 0 and w.stop[0] <= 90 and w.stop[1] <= 130 for w in windows
    )
    assert inside or edge == "pad"
    seen = covered(plan)
    if edge == "drop":
        rows, cols = (90 - high) // y * y + high, (130 - wide) // x * x + wide
        assert (seen[:rows, :cols] >= 1).all()
        assert not seen[rows:].any()
        assert not seen[:, cols:].any()
    else:
        assert seen.min() >= 1
    if edge == "pad":  # no chip starts beyond the last pixel, nor where the one before ends with it
        assert all(w.row < 90 and w.col < 130 for w in windows)
        assert all(w.row == 0 or w.row - y + high < 90 for w in windows)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), edge=edges, size=st.integers(2, 20))
def test_a_grid_covers_every_pixel_of_boxes_and_nothing_else(
    whole: Make, data: st.DataObject, edge: str, size: int
) -> None:
    """Boxes that do not touch; whole windows lie in them."""
    boxes = []
    for left in (0, 50, 95):
        row, high = data.draw(st.integers(0, 60)), data.draw(st.integers(size, 30))
        wide = data.draw(st.integers(size, 35))
        boxes.append((row, left, row + high, left + wide))
    plan = whole().geoxr.grid_chips(size, edge=edge, aoi=area(*boxes))
    wanted = np.zeros((90, 130), bool)
    for r, c, r2, c2 in boxes:
        wanted[r:r2, c:c2] = True
    seen = covered(plan)
    assert not seen[~wanted].any()
    if edge == "shift":
        assert (seen[wanted] >= 1).all()
    for r, c, r2, c2 in boxes:
        # A box that ends with the grid is padded, so that all of it is covered.
        high = r2 - r if edge == "pad" and r2 == 90 else (r2 - r) // size * size
        wide = c2 - c if edge == "pad" and c2 == 130 else (c2 - c) // size * size
        assert (seen[r : r + high, c : c + wide] >= 1).all()


def test_padding_covers_an_area_at_the_end_of_the_grid(whole: Make) -> None:
    plan = whole().geoxr.grid_chips(20, edge="pad", aoi=area((0, 0, 90, 130)))
    same = whole().geoxr.grid_chips(20, edge="pad")
    assert {chip.window for chip in plan} == {chip.window for chip in same}
    corner = whole().geoxr.grid_chips(20, edge="pad", aoi=area((85, 120, 90, 130)))
    assert [chip.window.row for chip in corner] == [85]
    with pytest.raises(gx.errors.ChipError, match="No chip of 20 x 20 pixels on the grid"):
        whole().geoxr.grid_chips(20, edge="pad", aoi=area((5, 120, 10, 130)))


def test_a_stride_above_the_size_leaves_pixels_out(whole: Make) -> None:
    seen = covered(whole().geoxr.grid_chips(10, stride=40, edge="drop"))
    assert seen.sum() == 3 * 4 * 100
    assert seen[:10, :10].all()
    assert not seen[10:40].any()


def test_chips_with_their_centre_in_the_area_cover_it(whole: Make) -> None:
    part = area((3, 4, 55, 61), (70, 100, 75, 104))
    plan = whole().geoxr.grid_chips(16, aoi=part, within="centre")
    seen = covered(plan)
    assert seen[3:55, 4:61].min() >= 1
    assert seen[70:75, 100:104].min() >= 1
    middles = [
        shapely.Point((c.bounds[0] + c.bounds[2]) / 2, (c.bounds[1] + c.bounds[3]) / 2)
        for c in plan
    ]
    assert part.buffer(1e-3).covers(shapely.MultiPoint(middles))
    assert sum(chip.window.row > 60 for chip in plan) == 1  # one around the small part
    with pytest.raises(gx.errors.ChipError, match="lies in the area"):
        whole().geoxr.grid_chips(16, aoi=area((70, 100, 75, 104)))


def test_thousands_of_areas_are_laid_out_at_once(whole: Make) -> None:
    large = GeoBox((30_000, 30_000), whole().geoxr.geobox.affine, "EPSG:32633")
    import dask.array

    from geoxr.grid.coords import coords_of

    data = dask.array.zeros(tuple(large.shape), chunks=5000, dtype="uint8")
    ds = xr.Dataset({"image": (("y", "x"), data)}, coords=coords_of(large))
    rows, cols = (at.ravel() for at in np.mgrid[:40, :40] * 700)
    boxes = shapely.box(
        500_000 + 10 * cols,
        5_200_000 - 10 * (rows + 96),
        500_000 + 10 * (cols + 96),
        5_200_000 - 10 * rows,
    )
    plan = ds.geoxr.grid_chips(32, aoi=geopandas.GeoSeries(boxes, crs=32633))
    assert len(plan) == 1600 * 9


@pytest.mark.parametrize("verb", ["random", "grid"])
def test_min_valid_leaves_out_empty_chips(farmland: LandsatCDL, verb: str) -> None:
    image = gx.open_product("landsat8-l2-sr", farmland.scenes, time="collapse", crs="auto")
    ds = gx.merge({"image": image})
    valid = ds["image"].geoxr.valid.values
    everywhere = np.array([valid[c.window.slices].mean() for c in ds.geoxr.grid_chips(32)])
    assert everywhere.min() < 0.5
    if verb == "random":
        plan = ds.geoxr.random_chips(32, 60, min_valid=0.9)
    else:
        plan = ds.geoxr.grid_chips(32, min_valid=0.9)
        assert len(plan) == pytest.approx((everywhere >= 0.9).sum(), abs=3)
    share = np.array([valid[chip.window.slices].mean() for chip in plan])
    assert share.min() > 0.9 - 0.1


def test_the_best_share_of_valid_pixels_is_told(masked: Make) -> None:
    valid = np.zeros((90, 130), bool)
    valid[:32, :16] = True
    with pytest.raises(gx.errors.ChipError, match=r"None of the 15 chips .* The best has 50\.0%"):
        masked(valid).geoxr.grid_chips(32, min_valid=0.9)
    assert len(masked(valid).geoxr.grid_chips(32, min_valid=0.5)) == 1


def test_nonsense_is_told(whole: Make) -> None:
    chips = whole().geoxr.grid_chips
    for error, message, call in (
        (gx.errors.ChipError, "stride must be a positive whole number", lambda: chips(8, stride=0)),
        (gx.errors.ChipError, r"stride must be .* not \(4, 0\)", lambda: chips(8, stride=(4, 0))),
        (gx.errors.ChipError, "do not fit into a grid of 90 x 130", lambda: chips((91, 8))),
        (gx.errors.ChipError, r"positive whole number of pixels, not 0\.5", lambda: chips(0.5)),
        (gx.errors.ArgumentError, "edge is 'cut'", lambda: chips(8, edge="cut")),
        (gx.errors.ArgumentError, "share from 0 to 1", lambda: chips(8, min_valid=-0.1)),
        (gx.errors.ArgumentError, "within is 'middle'", lambda: chips(8, within="middle")),
        (gx.errors.ArgumentError, "time_stride goes with steps", lambda: chips(8, time_stride=2)),
        (gx.errors.NoOverlapError, "does not meet the data",
         lambda: chips(16, aoi=shapely.box(0, 0, 1, 1))),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            call()
    with pytest.raises(gx.errors.ArgumentError, match="planned on a Dataset or a DataTree"):
        grid_chips(whole()["image"], 8)  # type: ignore[arg-type]

from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.sample.chip import Fixed, Grid, Spots

Make = Callable[..., xr.Dataset]


def plans(whole: Make, masked: Make) -> dict[str, tuple[gx.ChipPlan, xr.Dataset]]:
    """Plans of all kinds, with what they were made for."""
    ds = whole()
    affine = Affine.translation(5e5, 5.2e6) @ Affine.rotation(20) @ Affine.scale(10, -10)
    turned = GeoBox((60, 70), affine, "EPSG:32633")
    dated = masked(np.ones((5, 90, 130), bool))
    rng = np.random.default_rng(0)
    triplets = Spots(rng.integers(0, 60, (30, 2)))
    grid = Grid(ds.geoxr.geobox)
    return {
        "grid": (ds.geoxr.grid_chips(30, stride=20), ds),
        "padded": (ds.geoxr.grid_chips(40, edge="pad"), ds),
        "random, some": (ds.geoxr.random_chips((8, 12), 40, seed=2)[30:3:-2], ds),
        "shuffled, epoch 3": (ds.geoxr.random_chips(8, 40, seed=2).epoch(3).shuffle(1), ds),
        "near": (ds.geoxr.random_batch_chips(8, 40, batch_size=10), ds),
        "turned": (whole(turned).geoxr.random_chips(8, 20), whole(turned)),
        "dates": (dated.geoxr.grid_chips(40, steps=2, edge="pad"), dated),
        "triplets": (gx.ChipPlan((grid,), (8, 8), Fixed(triplets), group=3)[[4, 1, 1, 9]], ds),
        "sum": (ds.geoxr.grid_chips(30) + ds.geoxr.grid_chips(30, stride=11)[5:9], ds),
    }


NAMES = ("grid", "padded", "random, some", "shuffled, epoch 3", "near", "turned", "dates", "triplets",
         "sum")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_tables_and_files_hold_all_of_a_plan(
    name: str, whole: Make, masked: Make, tmp_path: Path
) -> None:
    plan, ds = plans(whole, masked)[name]
    path = plan.to_parquet(tmp_path / "plan.parquet")
    for back in (
        gx.ChipPlan.from_geodataframe(plan.to_geodataframe(), ds),
        gx.ChipPlan.from_parquet(path, ds),
    ):
        assert list(back) == list(plan)
        assert (back.size, back.group, back.together) == (plan.size, plan.group, plan.together)
        assert back.grids == plan.grids
        assert list(back[1:]) == list(plan[1:])
        assert list(back.epoch(5)) == list(plan)  # chips of a table are drawn already


def test_the_table_says_where_chips_are(whole: Make) -> None:
    frame = whole().geoxr.grid_chips(30)[3:].to_geodataframe()
    assert frame.columns.tolist() == ["index", "node", "row", "col", "height", "width", "geometry"]
    assert frame.crs.to_epsg() == 32633
    assert frame.iloc[0].drop("geometry").tolist() == [3, "", 0, 90, 30, 30]
    assert frame.geometry.iloc[0].equals(shapely.box(500_900, 5_199_700, 501_200, 5_200_000))
    assert geopandas.read_file(frame.to_json()).geometry.is_valid.all()


def test_outlines_alone_make_a_plan(whole: Make) -> None:
    ds = whole()
    plan = ds.geoxr.grid_chips(30)
    bare = plan.to_geodataframe()[["geometry"]]
    assert list(gx.ChipPlan.from_geodataframe(bare, ds)) == list(plan)
    elsewhere = plan.to_geodataframe().to_crs(3035)
    assert list(gx.ChipPlan.from_geodataframe(elsewhere, ds)) == list(plan)
    with pytest.raises(gx.errors.ArgumentError, match=r"in another CRS .*frame\.to_crs"):
        gx.ChipPlan.from_geodataframe(bare.to_crs(3035), ds)


def test_tables_of_another_grid_are_refused(whole: Make, tmp_path: Path) -> None:
    ds = whole()
    plan = ds.geoxr.random_chips(16, 20, seed=1)
    path = plan.to_parquet(tmp_path / "plan.parquet")
    shifted = GeoBox((90, 130), Affine(10, 0, 500_100, 0, -10, 5_200_000), "EPSG:32633")
    coarser = GeoBox((45, 65), Affine(20, 0, 500_000, 0, -20, 5_200_000), "EPSG:32633")
    between = GeoBox((90, 130), Affine(10, 0, 500_003, 0, -10, 5_200_000), "EPSG:32633")
    other = GeoBox((90, 130), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32634")
    for grid in (shifted, coarser, between, other):
        with pytest.raises(gx.errors.GridError, match="made for another grid"):
            gx.ChipPlan.from_parquet(path, whole(grid))
    outlines = plan.to_geodataframe()[["geometry"]]
    for grid in (between, coarser):
        with pytest.raises(gx.errors.GridError, match="made for another grid"):
            gx.ChipPlan.from_geodataframe(outlines, whole(grid))
    tree = xr.DataTree.from_dict({"a": ds})
    with pytest.raises(gx.errors.GridError, match=r"chips in '', but the data has \['a'\]"):
        gx.ChipPlan.from_parquet(path, tree)
    moved = outlines.translate(5000)
    with pytest.raises(gx.errors.GridError, match="made for another grid"):
        gx.ChipPlan.from_geodataframe(moved.to_frame("geometry"), ds)


def test_tables_that_contradict_themselves_are_refused(
    whole: Make, masked: Make, tmp_path: Path
) -> None:
    ds, dated = whole(), masked(np.ones((3, 90, 130), bool))
    frame = ds.geoxr.grid_chips(30).to_geodataframe()
    read = gx.ChipPlan.from_geodataframe
    with pytest.raises(gx.errors.GridError, match="not rows 1-31"):
        read(frame.assign(row=frame.row + 1), ds)
    sizes = ds.geoxr.grid_chips(20).to_geodataframe()
    import pandas as pd

    with pytest.raises(
        gx.errors.ArgumentError, match=r"different sizes \(20 x 20, 30 x 30 pixels\)"
    ):
        read(pd.concat([frame, sizes]), ds)
    with pytest.raises(gx.errors.ArgumentError, match="same 'index' but are not the same"):
        read(frame.assign(index=3), ds)
    with pytest.raises(gx.errors.ArgumentError, match="'index' must be a number from 0 up"):
        read(frame.assign(index=-1), ds)
    with pytest.raises(gx.errors.ArgumentError, match="'together' must be one positive number"):
        read(frame.assign(together=range(len(frame))), ds)
    with pytest.raises(gx.errors.ArgumentError, match=r"'group' must be .* divide them"):
        read(frame.assign(group=4), ds)
    with pytest.raises(gx.errors.ArgumentError, match="not from one without rows"):
        read(frame.iloc[:0], ds)
    with pytest.raises(gx.errors.ArgumentError, match="not from list"):
        read([1, 2], ds)  # type: ignore[arg-type]
    times = dated.geoxr.grid_chips(30, steps=2).to_geodataframe()
    with pytest.raises(gx.errors.GridError, match="the data has 2 dates"):
        read(times, dated.isel(time=slice(2)))
    with pytest.raises(gx.errors.MissingFileError, match="no file"):
        gx.ChipPlan.from_parquet(tmp_path / "none.parquet", ds)
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(gx.errors.ArgumentError, match="not a GeoParquet file"):
        gx.ChipPlan.from_parquet(tmp_path / "text.parquet", ds)

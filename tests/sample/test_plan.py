import pickle
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable

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
from geoxr.sample.chip import Chip, Fixed, Grid, Spots
from geoxr.sample.cover import coverage

Make = Callable[..., xr.Dataset]
Corners = Callable[[gx.ChipPlan], np.ndarray]


def share_of(plan: gx.ChipPlan) -> float:
    """Share of the grid in a chip, pixel by pixel."""
    seen = np.zeros(plan.geobox.shape, bool)
    for chip in plan.chips():
        rows, cols = chip.window.slices
        seen[max(rows.start, 0) : rows.stop, max(cols.start, 0) : cols.stop] = True
    return seen.mean()


def test_plans_slice_add_shuffle_and_list(whole: Make) -> None:
    plan = whole().geoxr.grid_chips(30)
    assert len(plan) == 15
    assert [chip.index for chip in plan[3:6]] == [3, 4, 5]
    assert plan[-1].window == plan[14].window
    for outside in ([15], [-16]):
        with pytest.raises(IndexError, match="15 chips has none at position"):
            plan[outside]
    assert len(plan[:3] + plan[10:]) == 8
    shuffled = plan.shuffle(1)
    assert sorted(chip.index for chip in shuffled) == list(range(15))
    assert [chip.index for chip in shuffled] != list(range(15))
    frame = plan.to_geodataframe()
    assert frame.union_all().equals(shapely.box(500_000, 5_199_100, 501_300, 5_200_000))
    assert plan[0].bounds == (500_000, 5_199_700, 500_300, 5_200_000)


def test_a_grid_of_a_hundred_million_chips_costs_no_memory() -> None:
    grid = GeoBox((100_000, 100_000), Affine(10, 0, 0, 0, -10, 0), "EPSG:32633")
    import dask.array

    data = dask.array.zeros(tuple(grid.shape), chunks=20_000, dtype="uint8")
    ds = xr.Dataset({"image": (("y", "x"), data)}, coords=coords_of(grid))
    tracemalloc.start()
    begin = time.process_time()
    plan = ds.geoxr.grid_chips(10)
    assert len(plan) == 10**8
    assert plan[12_345_678].window.row == 12_340
    assert len(plan[5:90_000_000:3].epoch(4)[::2]) == 15_000_000
    assert next(iter(plan[99_999_990:])).index == 99_999_990
    assert [chip.index for chip in plan[[3, -1]]] == [3, 10**8 - 1]
    twice = plan + plan
    assert twice[[5, -1]][1].window.stop == (100_000, 100_000)
    assert "100000000 chips of 10 x 10 pixels" in repr(plan)
    assert "100% covered" in repr(plan)
    assert len(pickle.dumps(plan[7:])) < 3000
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
    assert time.process_time() - begin < 3


def test_plans_work_in_a_spawned_process(
    whole: Make, tmp_path: object, corners_of: Corners
) -> None:
    plan = whole().geoxr.random_batch_chips(8, 40, batch_size=10, seed=5)
    code = (
        "import pickle, sys; plan = pickle.load(sys.stdin.buffer);"
        "print([(c.window.row, c.window.col) for c in plan.epoch(3)], 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(plan), capture_output=True, check=True
    )
    expected = [tuple(corner) for corner in corners_of(plan.epoch(3)).tolist()]
    assert done.stdout.decode().strip() == f"{expected} False"


# What a plan says of itself


@settings(max_examples=20, deadline=None)
@given(
    size=st.integers(1, 70),
    stride=st.integers(1, 90),
    edge=st.sampled_from(["shift", "pad", "drop"]),
)
def test_the_share_that_a_grid_covers_is_exact(
    whole: Make, size: int, stride: int, edge: str
) -> None:
    plan = whole().geoxr.grid_chips(size, stride=stride, edge=edge)
    assert coverage(plan) == (pytest.approx(share_of(plan)), True)
    some = plan[::2]
    assert coverage(some) == (pytest.approx(share_of(some)), True)


def test_the_share_is_close_where_the_grid_is_large(whole: Make) -> None:
    grid = GeoBox((2500, 3700), Affine(10, 0, 0, 0, -10, 0), "EPSG:32633")
    plan = whole(grid).geoxr.random_chips(100, 400, seed=0)
    assert coverage(plan)[0] == pytest.approx(share_of(plan), abs=0.005)


def test_a_plan_prints_what_it_covers(whole: Make, masked: Make) -> None:
    ds = whole()
    assert repr(ds.geoxr.grid_chips(30)[:3]) == (
        "ChipPlan(3 chips of 30 x 30 pixels on 90 x 130 EPSG:32633, 23.1% covered, epoch 0)"
    )
    assert repr(ds.geoxr.random_batch_chips(90, 64, batch_size=32).epoch(2)).endswith(
        "epoch 2, batches of 32 near each other)"
    )
    dated = masked(np.ones((4, 90, 130), bool))
    assert "epoch 0, 3 dates)" in repr(dated.geoxr.grid_chips(30, steps=3))
    grid = Grid(ds.geoxr.geobox)
    triplets = gx.ChipPlan((grid,), (8, 8), Fixed(Spots(np.zeros((6, 2), "int64"))), group=3)
    assert repr(triplets).startswith("ChipPlan(2 triplets of 8 x 8 pixels on 90 x 130")
    assert "0% covered" in repr(triplets[:0])
    assert "less than 0.1%" in repr(ds.geoxr.grid_chips(1)[:3])
    tree = xr.DataTree.from_dict(
        {"a": ds, "b": whole(GeoBox((90, 130), ds.geoxr.geobox.affine, "EPSG:32634"))}
    )
    assert "on 2 grids in EPSG:32633, EPSG:32634, 100% covered" in repr(tree.geoxr.grid_chips(30))


@pytest.mark.parametrize("number", [30, 3000])
def test_plans_draw_themselves(whole: Make, masked: Make, number: int) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    valid = np.ones((90, 130), bool)
    valid[:40, :50] = False
    turned = Affine.translation(5e5, 5.2e6) @ Affine.rotation(20) @ Affine.scale(10, -10)
    tree = xr.DataTree.from_dict(
        {"a": whole(), "b": whole(GeoBox((90, 130), whole().geoxr.geobox.affine, "EPSG:32634"))}
    )
    for ds in (masked(valid), whole(GeoBox((60, 70), turned, "EPSG:32633")), tree):
        plan = ds.geoxr.random_chips(8, number)
        ax = plan.plot()
        ax.figure.canvas.draw()
        assert ax.get_title() == f"{number:,} chips of 8 x 8 pixels"
        frame = plan.to_geodataframe()
        left, bottom, right, top = frame.total_bounds
        assert ax.get_xlim()[0] <= left < right <= ax.get_xlim()[1]
        assert ax.get_ylim()[0] <= bottom < top <= ax.get_ylim()[1]
        counts = [mesh for mesh in ax.collections if mesh.get_array() is not None]
        if number > 2000 and ds is not tree:
            assert counts[0].get_array().max() > 3
        else:
            assert not counts
            drawn = ax.collections[-1].get_paths()
            assert min(number, 1500) <= len(drawn) <= number
            assert shapely.Polygon(drawn[0].vertices).equals(frame.geometry.iloc[0])
        plt.close(ax.figure)
    own = plt.subplots()[1]
    assert whole().geoxr.grid_chips(30).plot(own) is own
    plt.close(own.figure)


# Some of the chips


def test_filters_keep_what_meets_all_of_them(masked: Make) -> None:
    valid = np.ones((90, 130), bool)
    valid[:45] = False
    ds = masked(valid)
    plan = ds.geoxr.grid_chips(10)
    box = shapely.box(500_000, 5_199_100, 500_500, 5_200_000)
    kept = plan.filter(lambda chip: chip.window.row % 20 == 0, ds=ds, min_valid=0.4, aoi=box)
    expected = [
        chip for chip in plan
        if chip.window.row % 20 == 0 and valid[chip.window.slices].mean() >= 0.4
        and box.covers(shapely.box(*chip.bounds))
    ]  # fmt: skip
    assert list(kept) == expected
    assert [chip.index for chip in kept] == [chip.index for chip in expected]
    edge = shapely.box(500_000, 5_199_100, 500_545, 5_200_000)
    assert len(plan.filter(aoi=edge)) == 9 * 5
    assert len(plan.filter(aoi=edge.buffer(6), within="centre")) == 9 * 6


def test_a_filtered_plan_keeps_its_chips_in_all_epochs(whole: Make) -> None:
    plan = whole().geoxr.random_batch_chips(8, 60, batch_size=10).epoch(2)
    kept = plan.filter(lambda chip: chip.window.row < 40)
    assert 0 < len(kept) < 60
    assert list(kept) == [chip for chip in plan if chip.window.row < 40]
    assert list(kept.epoch(7)) == list(kept)
    assert kept.together == 1


def test_groups_stay_whole(whole: Make) -> None:
    corners = np.random.default_rng(0).integers(0, 80, (60, 2))
    plan = gx.ChipPlan((Grid(whole().geoxr.geobox),), (8, 8), Fixed(Spots(corners)), group=3)
    box = shapely.box(500_000, 5_199_100, 500_700, 5_200_000)
    kept = plan.filter(aoi=box)
    assert list(kept) == [
        item for item in plan if all(box.covers(shapely.box(*c.bounds)) for c in item)
    ]

    def apart(item: tuple[Chip, ...]) -> bool:
        return abs(item[0].window.row - item[2].window.row) > 30

    assert list(plan.filter(apart)) == [item for item in plan if apart(item)]


def test_filters_that_leave_nothing_or_lack_data_say_so(whole: Make, masked: Make) -> None:
    ds = masked(np.kron([[True, False]], np.ones((90, 65), bool)).astype(bool))
    plan = ds.geoxr.grid_chips((90, 130))
    with pytest.raises(gx.errors.ChipError, match=r"None of the 1 chips .* The best has 5\d"):
        plan.filter(ds=ds, min_valid=0.9)
    with pytest.raises(gx.errors.ArgumentError, match=r"plan\.filter\(min_valid=\.\.\., ds=ds\)"):
        plan.filter(min_valid=0.9)
    with pytest.raises(gx.errors.ArgumentError, match="takes a function of a chip, not list"):
        plan.filter([True])  # type: ignore[arg-type]
    with pytest.raises(gx.errors.GridError, match=r"grid of 90 x 130 pixels, the Dataset has 50"):
        plan.filter(ds=ds.isel(y=slice(50)), min_valid=0.1)
    tree = xr.DataTree.from_dict({"a": ds})
    with pytest.raises(gx.errors.GridError, match="Pass the DataTree it was made for"):
        tree.geoxr.grid_chips(30).filter(ds=ds, min_valid=0.1)
    with pytest.raises(gx.errors.ArgumentError, match="share from 0 to 1"):
        plan.filter(ds=ds, min_valid=7)

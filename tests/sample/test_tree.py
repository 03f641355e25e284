import pickle
from collections.abc import Callable

import geopandas
import numpy as np
import pytest
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.sample.nodes import ground_area

Make = Callable[..., xr.Dataset]

pytestmark = pytest.mark.filterwarnings("ignore:.* nodes are smaller than a chip")

WEST = GeoBox((60, 80), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")
EAST = GeoBox((120, 100), Affine(5, 0, 300_000, 0, -5, 5_200_000), "EPSG:32634")


@pytest.fixture
def zones(whole: Make) -> xr.DataTree:
    """Two zones of UTM at 10 m and 5 m, and a node too small for most chips."""
    small = GeoBox((6, 6), Affine(10, 0, 600_000, 0, -10, 5_200_000), "EPSG:32633")
    return xr.DataTree.from_dict(
        {"west": whole(WEST), "zones/east": whole(EAST), "small": whole(small)}
    )


def test_every_chip_lies_on_the_grid_of_its_node(zones: xr.DataTree) -> None:
    for plan in (
        zones.geoxr.random_chips(16, 200, seed=1),
        zones.geoxr.grid_chips(16),
        zones.geoxr.random_batch_chips(16, 200, batch_size=20),
    ):
        assert [grid.node for grid in plan.grids] == ["west", "zones/east"]
        nodes = set()
        for chip in plan:
            geobox = {"west": WEST, "zones/east": EAST}[chip.node]
            assert chip.window.stop[0] <= geobox.height
            assert chip.window.stop[1] <= geobox.width
            assert chip.geobox.crs == geobox.crs
            origin = geobox.affine @ (chip.window.col, chip.window.row)
            assert (chip.bounds[0], chip.bounds[3]) == pytest.approx(origin)
            assert zones[chip.node].to_dataset().geoxr.geobox == geobox
            nodes.add(chip.node)
        assert nodes == {"west", "zones/east"}
        again = pickle.loads(pickle.dumps(plan))
        assert [(c.node, c.window) for c in again] == [(c.node, c.window) for c in plan]


def test_nodes_smaller_than_a_chip_are_named(zones: xr.DataTree) -> None:
    for make in (zones.geoxr.grid_chips, lambda size: zones.geoxr.random_chips(size, 5)):
        with pytest.warns(UserWarning, match=r"1 of 3 nodes .* 16 x 16 .* left out: 'small'\."):
            make(16)
    with pytest.warns(UserWarning, match=r"2 of 3 nodes .*: 'west', 'small'\."):
        zones.geoxr.grid_chips(90)


def test_plans_of_other_nodes_are_not_added(zones: xr.DataTree) -> None:
    few, all_of_them = zones.geoxr.grid_chips(16), zones.geoxr.grid_chips(6)
    with pytest.raises(
        gx.errors.ArgumentError, match=r"chips of \(16, 16\) and of \(6, 6\) pixels"
    ):
        few + all_of_them
    west = geopandas.GeoSeries([shapely.box(*zones["west"].to_dataset().geoxr.bounds)], crs=32633)
    with pytest.raises(gx.errors.ArgumentError, match=r"in different nodes: .*\['zones/east'\]"):
        few + zones.geoxr.grid_chips(16, aoi=west)


def test_a_grid_covers_all_nodes(zones: xr.DataTree) -> None:
    plan = zones.geoxr.grid_chips(16)
    for number, geobox in enumerate((WEST, EAST)):
        seen = np.zeros(geobox.shape, int)
        for chip in plan:
            if chip.node == plan.grids[number].node:
                seen[chip.window.slices] += 1
        assert seen.min() == 1
    assert len(plan) == 4 * 5 + 8 * 7


def test_nodes_have_chips_by_their_ground_area(zones: xr.DataTree) -> None:
    plan = zones.geoxr.random_chips(16, 6000, seed=3)
    west = sum(chip.node == "west" for chip in plan) / 6000
    areas = 45 * 65 * 100, 105 * 85 * 25
    assert west == pytest.approx(areas[0] / sum(areas), abs=0.025)
    degrees = GeoBox((100, 100), Affine(1e-3, 0, 15, 0, -1e-3, 60.05), "EPSG:4326")
    metres = geopandas.GeoSeries([shapely.box(15, 59.999, 15.001, 60)], crs=4326).to_crs(6933)
    assert ground_area(degrees) == pytest.approx(float(metres.area.iloc[0]), rel=0.01)
    feet = GeoBox((9, 9), Affine(10, 0, 0, 0, -10, 0), "EPSG:2263")
    assert ground_area(feet) == pytest.approx(100 * 0.3048006096**2, rel=1e-6)


def test_chips_of_nodes_are_read_and_fed(zones: xr.DataTree) -> None:
    plan = zones.geoxr.random_chips(16, 12, seed=1)
    for chip, part in zip(plan, zones.geoxr.iter_chips(plan), strict=True):
        source = zones[chip.node].to_dataset()["image"].values[:, *chip.window.slices]
        np.testing.assert_array_equal(part["image"], source)
        assert part.geoxr.bounds == pytest.approx(chip.bounds)
    [batch] = zones.geoxr.to_torch(plan, batch_size=12, threads=0)
    for at, chip in enumerate(plan):
        source = zones[chip.node].to_dataset()["image"].values[:, *chip.window.slices]
        np.testing.assert_array_equal(batch["image"][at], source)
        np.testing.assert_allclose(batch["bounds"][at], chip.bounds)


def test_batches_stay_on_one_node(zones: xr.DataTree) -> None:
    plan = zones.geoxr.random_batch_chips(16, 400, batch_size=20, spread=20)
    for at in range(0, 400, 20):
        chips = list(plan[at : at + 20])
        assert len({chip.node for chip in chips}) == 1
        assert np.ptp([chip.window.row for chip in chips]) < 20


def test_areas_with_a_crs_hold_on_all_nodes(zones: xr.DataTree) -> None:
    box = geopandas.GeoSeries([shapely.box(500_000, 5_199_500, 500_400, 5_200_000)], crs=32633)
    for plan in (
        zones.geoxr.random_chips(16, 20, aoi=box.to_crs(4326)),
        zones.geoxr.grid_chips(16, aoi=box),
    ):
        assert [grid.node for grid in plan.grids] == ["west"]
        assert plan.geobox == WEST
    with pytest.raises(
        gx.errors.ArgumentError, match=r"several CRSs .EPSG:32633, EPSG:32634., so an area"
    ):
        zones.geoxr.random_chips(16, 20, aoi=shapely.box(0, 0, 1, 1))
    away = geopandas.GeoSeries([shapely.box(0, 0, 1, 1)], crs=4326)
    with pytest.raises(gx.errors.NoOverlapError, match="does not meet the data"):
        zones.geoxr.grid_chips(16, aoi=away)


def test_what_cannot_be_is_told(zones: xr.DataTree, whole: Make) -> None:
    with pytest.raises(gx.errors.ChipError, match=r"16 x 16 in 'west', 32 x 32 in 'zones/east'"):
        zones.geoxr.random_chips(160, 5, units="crs")
    with pytest.raises(
        gx.errors.ChipError, match="do not fit into any node; the largest has 120 x 100"
    ):
        zones.geoxr.grid_chips(500)
    with pytest.raises(gx.errors.ArgumentError, match="No node of the DataTree has"):
        xr.DataTree.from_dict({"a": xr.Dataset({"n": 3})}).geoxr.grid_chips(8)
    plan = zones.geoxr.grid_chips(16)
    with pytest.raises(gx.errors.ArgumentError, match="lies on 2 grids"):
        _ = plan.geobox


def test_tables_of_several_crss_are_in_degrees(zones: xr.DataTree) -> None:
    plan = zones.geoxr.random_chips(16, 50, seed=1)
    frame = plan.to_geodataframe()
    assert frame.crs.to_epsg() == 4326
    for name, geobox in (("west", WEST), ("zones/east", EAST)):
        mine = frame[frame.node == name].to_crs(geobox.crs.proj)
        exact = [shapely.box(*chip.bounds) for chip in plan if chip.node == name]
        off = shapely.hausdorff_distance(mine.geometry.to_numpy(), exact)
        assert off.max() < 1e-2
    back = gx.ChipPlan.from_geodataframe(frame, zones)
    assert list(back) == list(plan)


def test_dates_of_nodes_may_differ(masked: Make) -> None:
    tree = xr.DataTree.from_dict(
        {
            "a": masked(np.ones((5, 60, 80), bool), WEST),
            "b": masked(np.ones((3, 120, 100), bool), EAST),
        }
    )
    plan = tree.geoxr.random_chips(16, 300, steps=2, seed=0)
    for chip in plan:
        first, second = chip.times
        assert second == first + 1 <= {"a": 4, "b": 2}[chip.node]
    whole_time = tree.geoxr.grid_chips(30, toi=("2020", "2020"))
    assert {(chip.node, chip.times) for chip in whole_time} == {
        ("a", (0, 1, 2, 3, 4)), ("b", (0, 1, 2, -1, -1))
    }  # fmt: skip
    late = tree.geoxr.grid_chips(30, toi=("2020-02-05", None))
    assert {chip.node for chip in late} == {"a"}

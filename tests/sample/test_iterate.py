"""Chips as Datasets: with their dates, in groups, and each in the grid of its node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.grid.coords import coords_of
from geoxr.sample.chip import Fixed, Grid, Spots
from geoxr.sample.iterate import iter_chips
from geoxr.testing import write_geotiff

GRID = GeoBox((90, 130), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")
OTHER = GeoBox((50, 60), Affine(30, 0, 300_000, 0, -30, 5_300_000), "EPSG:32634")
DATES = np.array(["2020-01-01", "2020-02-01", "2020-03-01"], "datetime64[ns]")


@pytest.fixture
def series(tmp_path: Path, rng: np.random.Generator) -> xr.Dataset:
    """Three dates of two bands, with holes, beside a label without dates."""
    paths = []
    for number in range(3):
        pixels = rng.integers(0, 50, (2, *GRID.shape)).astype("uint16")
        paths.append(
            write_geotiff(
                tmp_path / f"{number}.tif", pixels, crs=32633, transform=GRID.affine, nodata=0
            )
        )
    layers = [gx.open_raster(path) for path in paths]
    stack = xr.concat([layer.load() for layer in layers], "time").assign_coords(time=DATES)
    lazy = gx.open_raster(paths[0]).isel(band=0, drop=True)
    return gx.merge({"image": stack.geoxr.write_nodata(0), "mask": lazy}).assign_coords(
        sun=("time", [30.0, 40.0, 50.0])
    )


ON = (Grid(GRID),)


def plan_of(corners, times=None, grids=None, on=ON, group=1) -> gx.ChipPlan:
    spots = Spots(
        np.array(corners, "int64"),
        None if grids is None else np.array(grids),
        None if times is None else np.array(times),
    )
    return gx.ChipPlan(tuple(on), (16, 20), Fixed(spots), group=group)


def test_chips_have_their_own_dates(series: xr.Dataset) -> None:
    plan = plan_of([(0, 0), (10, 40), (70, 100)], times=[[0, 2], [1, -1], [2, 1]])
    chips = list(series.geoxr.iter_chips(plan))
    wanted = [[0, 2], [1], [2, 1]]
    for chip, planned, dates in zip(chips, plan, wanted, strict=True):
        rows, cols = planned.window.slices
        same = series.isel(time=dates, y=rows, x=cols).load()
        np.testing.assert_array_equal(chip["time"], DATES[dates])
        np.testing.assert_array_equal(chip["image"], same["image"])
        np.testing.assert_array_equal(chip["image"].geoxr.valid, (same["image"] != 0).all("band"))
        np.testing.assert_array_equal(chip["mask"], same["mask"])
        np.testing.assert_array_equal(chip["sun"], same["sun"])
        assert chip["mask"].dims == ("y", "x")
        assert chip.geoxr.geobox == planned.geobox


def test_a_chip_without_dates_is_empty(series: xr.Dataset) -> None:
    (chip,) = series.geoxr.iter_chips(plan_of([(5, 5)], times=[[-1, -1]]))
    assert chip["image"].sizes == {"time": 0, "band": 2, "y": 16, "x": 20}


def test_padded_chips_have_dates_too(series: xr.Dataset) -> None:
    (chip,) = series.geoxr.iter_chips(plan_of([(-4, 120)], times=[[1, -1]]))
    assert chip["image"].sizes["time"] == 1
    inside = series["image"].isel(time=[1], y=slice(0, 12), x=slice(120, 130))
    np.testing.assert_array_equal(chip["image"][..., 4:, :10], inside)
    assert (chip["image"][..., :4, :] == 0).all()


def test_chips_of_groups_know_their_place(series: xr.Dataset) -> None:
    plan = plan_of([(r, 3) for r in range(6)], group=3)
    chips = list(series.geoxr.iter_chips(plan[[1, 0]]))
    assert [(int(c["chip"]), int(c["member"])) for c in chips] == [
        (1, 0), (1, 1), (1, 2), (0, 0), (0, 1), (0, 2),
    ]  # fmt: skip
    tops = [float(c["y"][0]) for c in chips]
    assert tops == [5_200_000 - 5 - 10 * row for row in (3, 4, 5, 0, 1, 2)]


def test_chips_of_a_tree_lie_in_the_grids_of_their_nodes(rng: np.random.Generator) -> None:
    parts = {}
    for name, geobox in {"/west": GRID, "/east/upper": OTHER}.items():
        data = rng.normal(size=(1, *geobox.shape)).astype("float32")
        parts[name] = xr.Dataset({"image": (("band", "y", "x"), data)}, coords=coords_of(geobox))
    tree = xr.DataTree.from_dict(parts)
    on = (Grid(GRID, "/west"), Grid(OTHER, "/east/upper"))
    plan = plan_of([(1, 2), (3, 4), (40, 50)], grids=[0, 1, 1], on=on)
    for chip, planned in zip(iter_chips(tree, plan), plan, strict=True):
        ds = parts[planned.node]
        assert str(chip["node"].values) == planned.node
        assert chip.geoxr.crs == planned.geobox.crs
        assert chip.geoxr.geobox == planned.geobox
        rows, cols = planned.window.slices
        inside = ds["image"].isel(y=rows, x=cols)
        seen = chip["image"].isel(y=slice(inside.sizes["y"]), x=slice(inside.sizes["x"]))
        np.testing.assert_array_equal(seen, inside)


def test_plans_of_other_grids_nodes_and_dates_say_so(series: xr.Dataset) -> None:
    tree = xr.DataTree.from_dict({"/west": series})
    lost = plan_of([(0, 0)], on=(Grid(GRID, "/north"),))
    with pytest.raises(gx.errors.GridError, match="node '/north', but the nodes are /, /west"):
        next(iter_chips(tree, lost))
    with pytest.raises(gx.errors.GridError, match="Pass the DataTree"):
        next(series.geoxr.iter_chips(lost))
    with pytest.raises(gx.errors.GridError, match="in the node '/west'"):
        next(iter_chips(tree, plan_of([(0, 0)], on=(Grid(OTHER, "/west"),))))
    with pytest.raises(gx.errors.GridError, match="at the 8th of 3 dates"):
        next(series.geoxr.iter_chips(plan_of([(0, 0)], times=[[7]])))

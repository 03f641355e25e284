"""How chips become arrays: what is read together, dates, nodes, groups, and what fails."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.errors import ArgumentError, ChipReadError, GridError
from geoxr.grid.window import Window
from geoxr.load.batch import Arrays, Recipe
from geoxr.load.memory import carve, plain_bytes, size_of
from geoxr.load.patches import Sweep, patches_of
from geoxr.load.recipe import make_recipe
from geoxr.sample.chip import ChipPlan, Fixed, Grid, Spots
from geoxr.testing import write_geotiff

GRID = GeoBox((500, 600), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")


def plan_of(corners: object, size: tuple[int, int] = (40, 50), **more: object) -> ChipPlan:
    spots = Spots(np.asarray(corners, "int64"), **{k: v for k, v in more.items() if k != "group"})
    return ChipPlan((Grid(GRID),), size, Fixed(spots), group=int(more.get("group", 1)))  # type: ignore[call-overload]


def batch_of(ds: xr.Dataset | xr.DataTree, plan: ChipPlan, **options: object) -> Arrays:
    settings = {"concat": None, "dtype": "float32", "fill": -1.0, "ignore_index": -100} | options
    recipe, _ = make_recipe(ds, plan, **settings)  # type: ignore[arg-type]
    arrays = new_arrays(recipe, plan, len(plan))
    recipe.fill_batch(arrays, plan, plan.indices(0, len(plan)))
    return recipe.finish(arrays, plan, len(plan))


def new_arrays(recipe: Recipe, plan: ChipPlan, number: int) -> Arrays:
    shapes = recipe.shapes(plan, number)
    return carve(plain_bytes(size_of(shapes)), shapes)


def image(
    shape: tuple[int, ...], dtype: str = "uint16", *, times: int | None = None
) -> xr.DataArray:
    """Pixels that are their own number; every seventh is missing."""
    full = (*(() if times is None else (times,)), *shape)
    pixels = np.arange(np.prod(full)).reshape(full).astype(dtype)
    pixels[..., ::7] = 0
    dims = ("band", "y", "x") if times is None else ("time", "band", "y", "x")
    x = GRID.affine.c + 10 * (np.arange(shape[-1]) + 0.5)
    y = GRID.affine.f - 10 * (np.arange(shape[-2]) + 0.5)
    layer = xr.DataArray(pixels, dims=dims, coords={"y": y, "x": x})
    if times is not None:
        days = np.arange(times).astype("timedelta64[D]")
        layer = layer.assign_coords(time=np.datetime64("2020-01-01", "ns") + days)
    return layer.geoxr.write_crs("EPSG:32633").geoxr.write_nodata(0)


# What is read together

corner = st.tuples(st.integers(-60, 490), st.integers(-60, 590))


@given(
    corners=st.lists(corner, min_size=1, max_size=40),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    near=st.integers(1, 40),
    sides=st.none() | st.tuples(st.integers(30, 300), st.integers(30, 300)),
)
@settings(max_examples=60, deadline=None)
def test_patches_hold_every_pixel_of_every_chip_once(
    corners: list[tuple[int, int]],
    size: tuple[int, int],
    near: int,
    sides: tuple[int, int] | None,
) -> None:
    spots = Spots(np.array(corners, "int64") // near)
    plan = ChipPlan((Grid(GRID),), size, Fixed(spots))
    seen = np.zeros((len(corners), *size), int)
    sweep = None if sides is None else Sweep(sides, 0)
    for patch in patches_of(plan, spots, sweep):
        if sides is not None:
            window = patch.window
            assert (window.height, window.width) == sides
            assert window.row % sides[0] == 0
            assert window.col % sides[1] == 0
        for chip, window in patch.chips:
            assert (window.row, window.col) == tuple(spots.corners[chip])
            part = patch.window & window
            assert not part.empty
            rows, cols = part.inside(window)
            seen[chip, rows, cols] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("dtype", ["float32", "native"])
def test_overlapping_chips_are_what_each_of_them_is_alone(dtype: str) -> None:
    ds = image((3, 500, 600)).to_dataset(name="image")
    ds["mask"] = image((1, 500, 600), "uint8")[0].assign_attrs(kind="categorical")
    rng = np.random.default_rng(0)
    corners = rng.integers((-20, -20), (100, 100), (24, 2))
    plan = plan_of(corners)
    assert len(list(patches_of(plan, plan.spots(plan.indices(0, 24))))) < 24
    together = batch_of(ds, plan, dtype=dtype)
    for at in range(24):
        alone = batch_of(ds, plan[at : at + 1], dtype=dtype)
        for name, array in alone.items():
            np.testing.assert_array_equal(together[name][at], array[0], err_msg=name)


def test_overlapping_chips_take_less_reading() -> None:
    plan = image((1, 500, 600)).to_dataset(name="image").geoxr.grid_chips(64, stride=16)
    some = plan[: 12 * 4]
    patches = list(patches_of(some, some.spots(some.indices(0, len(some)))))
    read = sum(patch.window.height * patch.window.width for patch in patches)
    assert read < len(some) * 64 * 64 / 3


# Dates


def test_chips_with_dates_of_their_own_are_padded_and_say_which_they_are() -> None:
    layer = image((2, 500, 600), "float32", times=5)
    ds = layer.to_dataset(name="image")
    times = np.array([[0, 3, 4], [2, -1, -1]])
    batch = batch_of(ds, plan_of([(0, 0), (7, 21)], times=times))
    pixels = layer.values
    assert batch["image"].shape == (2, 3, 2, 40, 50)
    assert batch["valid_image"].shape == (2, 3, 40, 50)
    assert batch["valid"].shape == (2, 40, 50)
    first = pixels[[0, 3, 4], :, :40, :50]
    good = (first != 0).all(axis=1)
    np.testing.assert_array_equal(batch["valid_image"][0], good)
    np.testing.assert_array_equal(batch["image"][0], np.where(good[:, None], first, -1))
    np.testing.assert_array_equal(batch["valid"][0], good.all(axis=0))
    second = pixels[2, :, 7:47, 21:71]
    good = (second != 0).all(axis=0)
    np.testing.assert_array_equal(batch["image"][1, 0], np.where(good, second, -1))
    assert (batch["image"][1, 1:] == -1).all()
    assert not batch["valid_image"][1, 1:].any()
    np.testing.assert_array_equal(batch["valid"][1], good)
    dates = batch["time"].view("datetime64[ns]")
    np.testing.assert_array_equal(dates[0], layer["time"].values[[0, 3, 4]])
    assert dates[1, 0] == layer["time"].values[2]
    assert np.isnat(dates[1, 1:]).all()


def test_layers_without_dates_stay_flat_beside_those_with() -> None:
    ds = image((2, 500, 600), times=3).to_dataset(name="image")
    ds["height"] = image((1, 500, 600), "float32")[0]
    batch = batch_of(ds, plan_of([(0, 0)], times=np.array([[1]])))
    assert batch["image"].shape == (1, 1, 2, 40, 50)
    assert batch["height"].shape == (1, 40, 50)
    assert batch["valid_height"].shape == (1, 40, 50)


# Nodes and groups


def two_nodes() -> tuple[xr.DataTree, ChipPlan]:
    first = image((2, 500, 600)).to_dataset(name="image")
    tree = xr.DataTree.from_dict(
        {"/north": first, "/south": first.isel(y=slice(100, 400)), "/empty": xr.Dataset()}
    )
    grids = tuple(Grid(tree[node].to_dataset().geoxr.geobox, node) for node in ("/north", "/south"))
    spots = Spots(np.array([[0, 0], [200, 10], [5, 5]]), np.array([0, 1, 1]))
    return tree, ChipPlan(grids, (40, 50), Fixed(spots))


def test_chips_of_nodes_come_with_their_grids() -> None:
    tree, plan = two_nodes()
    batch = batch_of(tree, plan)
    pixels = tree["/north/image"].values.astype("float32")
    for at, (row, col) in enumerate([(0, 0), (300, 10), (105, 5)]):
        part = pixels[:, row : row + 40, col : col + 50]
        good = (part != 0).all(axis=0)
        np.testing.assert_array_equal(batch["image"][at], np.where(good, part, -1))
        left, top = GRID.affine @ (col, row)
        assert batch["bounds"][at].tolist() == [left, top - 400, left + 500, top]
        assert batch["transform"][at].tolist() == [10, 0, left, 0, -10, top]
    assert batch["node"].tolist() == [0, 1, 1]


def test_nodes_must_have_the_same_bands() -> None:
    tree, plan = two_nodes()
    tree["/south"] = tree["/south"].to_dataset().isel(band=[0])
    with pytest.raises(GridError, match=r"'image' has the bands .* in node '/south'"):
        batch_of(tree, plan)
    tree["/south"] = xr.Dataset({"other": tree["/north/image"]})
    with pytest.raises(ArgumentError, match=r"Node '/south' has no variable 'image'"):
        batch_of(tree, plan)


def test_groups_get_an_axis_of_their_own() -> None:
    ds = image((2, 500, 600)).to_dataset(name="image")
    corners = np.random.default_rng(1).integers(0, 400, (6, 2))
    batch = batch_of(ds, plan_of(corners, group=3))
    flat = batch_of(ds, plan_of(corners))
    assert batch["image"].shape == (2, 3, 2, 40, 50)
    for name in ("image", "valid", "bounds"):
        np.testing.assert_array_equal(batch[name].reshape(flat[name].shape), flat[name])
    assert batch["index"].tolist() == [0, 1]


# What fails


def test_the_chip_and_the_file_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.tif"
    pixels = np.random.default_rng(0).integers(1, 9, (1, 512, 512), dtype="uint8")
    write_geotiff(path, pixels, crs=32633, transform=GRID.affine, compress="deflate")
    ds = gx.open_raster(path).to_dataset(name="image")
    content = path.read_bytes()
    stat = path.stat()
    with path.open("r+b") as file:  # same size and time, so that only reading finds out
        file.seek(len(content) - 200)
        file.write(b"\xff" * 200)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    spots = Spots(np.array([[0, 0], [400, 400]]))
    plan = ChipPlan((Grid(ds.geoxr.geobox),), (64, 64), Fixed(spots))
    with pytest.raises(ChipReadError, match=r"chip 1 \(row 400, column 400.*broken\.tif") as failed:
        batch_of(ds, plan)
    assert failed.value.number == 1


def test_a_chip_that_fails_is_replaced(tmp_path: Path) -> None:
    ds = image((1, 500, 600)).to_dataset(name="image")
    plan = plan_of([(0, 0), (10, 10), (99, 99)])
    recipe, _ = make_recipe(ds, plan, concat=None, dtype="float32", fill=0, ignore_index=-1)
    source = recipe.outputs["image"][0]
    broken = replace(source, readers=(Failing(source.readers[0]),))
    recipe = replace(recipe, outputs={"image": (broken,)})
    arrays = new_arrays(recipe, plan, 2)
    asked = []

    def redraw(error: ChipReadError, number: int, attempt: int) -> tuple[ChipPlan, int]:
        asked.append((error.number, number, attempt))
        return plan, 2

    recipe.fill_batch(arrays, plan, np.array([0, 1]), redraw)
    assert asked == [(1, 1, 1)]
    assert arrays["index"].tolist() == [0, 2]
    expected = batch_of(ds, plan[[0, 2]], fill=0.0)
    np.testing.assert_array_equal(arrays["image"][:, 0], expected["image"])
    np.testing.assert_array_equal(arrays["bounds"], expected["bounds"])


class Failing:
    """A reader that cannot read the pixel (45, 55)."""

    def __init__(self, source: object) -> None:
        self.source = source

    def __getattr__(self, name: str) -> object:
        return getattr(self.source, name)

    def read(self, window: Window, *args: object, **options: object) -> None:
        if not (window & Window(45, 55, 1, 1)).empty:
            raise OSError("the disk is gone")
        self.source.read(window, *args, **options)  # type: ignore[attr-defined]


def test_a_joined_output_hides_no_variable() -> None:
    ds = gx.merge({"image": image((2, 60, 60)), "radar": image((1, 60, 60))})
    plan = ds.geoxr.grid_chips(20)
    with pytest.raises(ArgumentError, match="makes 'radar', but the Dataset has a variable"):
        batch_of(ds, plan, concat={"radar": ["image"]})
    assert batch_of(ds, plan, concat={"radar": ["image", "radar"]})["radar"].shape[1] == 3
    for wrong in ("image", []):
        with pytest.raises(ArgumentError, match="must list the variables to join"):
            batch_of(ds, plan, concat={"x": wrong})


@pytest.mark.parametrize(
    ("name", "value"), [("fill", "a"), ("ignore_index", 1.5), ("ignore_index", None)]
)
def test_values_of_invalid_pixels_are_numbers_that_fit(name: str, value: object) -> None:
    ds = gx.merge({"image": image((1, 60, 60))})
    with pytest.raises(ArgumentError, match=name):
        batch_of(ds, ds.geoxr.grid_chips(20), **{name: value})


def test_a_plan_of_another_epoch_is_delivered_from_that_epoch_on() -> None:
    ds = gx.merge({"image": image((1, 60, 60)).isel(x=slice(1, 7))})
    plan = ds.geoxr.random_chips(5, 6, seed=1)
    loader = ds.geoxr.to_torch(plan.epoch(2), batch_size=6)
    for number in (2, 3):
        (batch,) = loader
        expected = [chip.bounds for chip in plan.epoch(number)]
        np.testing.assert_allclose(batch["bounds"], expected)


def test_complex_numbers_do_not_lose_their_imaginary_part(tmp_path: Path) -> None:
    pixels = np.array([[[3 + 4j, 1j], [2, -1j]]], "complex64")
    path = tmp_path / "slc.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=2, height=2, count=1, dtype="complex64", crs="EPSG:32633",
        transform=GRID.affine,
    ) as file:  # fmt: skip
        file.write(pixels)
    layer = gx.open_raster(path)
    ds = gx.merge({"image": layer})
    plan = ds.geoxr.grid_chips(2)
    with pytest.raises(ArgumentError, match="'image' has complex numbers"):
        batch_of(ds, plan)
    np.testing.assert_array_equal(batch_of(ds, plan, dtype="native")["image"][0], pixels)
    real = gx.merge({"image": gx.map(np.abs, layer, dtype="float32")})
    np.testing.assert_array_equal(batch_of(real, plan)["image"][0], np.abs(pixels))

"""Batches in the shape of xbatcher's, which they equal where sizes divide evenly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.grid.coords import coords_of

GRID = GeoBox((12, 16), Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633")


def dataset(geobox: GeoBox = GRID, dates: int = 4) -> xr.Dataset:
    rng = np.random.default_rng(0)
    time = np.datetime64("2020-01-01", "ns") + np.arange(dates) * np.timedelta64(1, "D")
    return xr.Dataset(
        {
            "image": (("time", "band", "y", "x"), rng.normal(size=(dates, 2, *geobox.shape))),
            "mask": (("y", "x"), rng.integers(0, 3, geobox.shape)),
        },
        coords={**coords_of(geobox), "time": time, "band": ["red", "nir"]},
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"input_dims": {"y": 4, "x": 4}},
        {"input_dims": {"x": 4, "y": 6}},
        {"input_dims": {"y": 6, "x": 8}, "input_overlap": {"y": 4, "x": 4}},
        {"input_dims": {"y": 4, "x": 4}, "batch_dims": {"time": 2}},
        {"input_dims": {"time": 2, "y": 4, "x": 16}},
        {"input_dims": {"x": 4}},
        {"input_dims": {"y": 4, "x": 4}, "concat_input_dims": True},
        {"input_dims": {"y": 4, "x": 4}, "batch_dims": {"time": 2}, "concat_input_dims": True},
        {"input_dims": {"y": 4, "x": 4}, "preload_batch": False},
    ],
)
@pytest.mark.parametrize("pick", ["dataset", "one date", "labels", "array"])
def test_batches_are_those_of_xbatcher_where_sizes_divide_evenly(
    arguments: dict, pick: str
) -> None:
    xbatcher = pytest.importorskip("xbatcher")
    ds = dataset()
    obj = {
        "dataset": ds, "one date": ds.isel(time=0), "labels": ds[["mask"]], "array": ds["image"],
    }[pick]  # fmt: skip
    timeless = "time" in str(arguments) and "time" not in obj.dims
    # xbatcher aligns the pieces of a DataArray, which leaves mostly NaN.
    if timeless or (pick == "array" and arguments.get("concat_input_dims")):
        return
    ours = obj.geoxr.batch_generator(**arguments)
    theirs = xbatcher.BatchGenerator(obj, **arguments)
    assert len(ours) == len(theirs)
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        xr.testing.assert_identical(mine, other)
        xr.testing.assert_identical(ours[number], other)
    xr.testing.assert_identical(ours[-1], mine)


def test_pieces_of_an_array_lie_side_by_side() -> None:
    array = dataset()["mask"]
    (batch,) = array.geoxr.batch_generator({"y": 4, "x": 8}, concat_input_dims=True)
    assert batch.sizes == {"input_batch": 6, "y_input": 4, "x_input": 8}
    pieces = array.values.reshape(3, 4, 2, 8).swapaxes(1, 2).reshape(6, 4, 8)
    np.testing.assert_array_equal(batch, pieces)
    np.testing.assert_array_equal(batch["x"][1], array["x"][8:])


@settings(max_examples=15, deadline=None)
@given(
    st.integers(3, 12), st.integers(3, 16), st.integers(0, 11), st.integers(0, 15),
    st.integers(1, 4),
)  # fmt: skip
def test_pieces_cover_everything_to_the_edge(
    high: int, wide: int, over_y: int, over_x: int, dates: int
) -> None:
    numbers = np.arange(4 * 12 * 16).reshape(4, 12, 16)
    ds = dataset()[["mask"]].assign(number=(("time", "y", "x"), numbers))
    over_y, over_x = min(over_y, high // 2), min(over_x, wide // 2)
    batches = ds.geoxr.batch_generator(
        {"y": high, "x": wide, "time": dates}, input_overlap={"y": over_y, "x": over_x}
    )
    seen = np.zeros(numbers.size, int)
    for batch in batches:
        assert dict(batch.sizes) == {"time": dates, "y": high, "x": wide}
        np.add.at(seen, batch["number"].values.ravel(), 1)
    assert seen.min() >= 1
    cuts = [(12, high, over_y), (16, wide, over_x), (4, dates, 0)]
    assert len(batches) == np.prod([-(-(n - size) // (size - o)) + 1 for n, size, o in cuts])


def test_the_last_piece_is_shifted_back() -> None:
    ds = dataset().isel(time=0)
    batches = ds.geoxr.batch_generator({"y": 12, "x": 7})
    assert [float(batch["x"][0]) for batch in batches] == [500_005, 500_075, 500_095]


def test_many_pieces_cost_no_memory() -> None:
    wide = xr.Dataset({"a": (("y", "x"), np.broadcast_to(np.uint8(1), (20_000, 20_000)))})
    batches = wide.geoxr.batch_generator({"y": 2, "x": 2}, input_overlap={"y": 1, "x": 1})
    assert len(batches) == 19_999**2
    assert batches[-1].sizes == {"y": 2, "x": 2}


def test_batches_of_lazy_layers_are_layers_and_leave_them_lazy(utm_image: Path) -> None:
    ds = gx.merge({"image": gx.open_raster(utm_image)})
    for batch in ds.geoxr.batch_generator({"y": 64, "x": 64}):
        expected = (batch["image"] != 0).all("band")
        np.testing.assert_array_equal(batch["image"].geoxr.valid, expected)
        assert batch.geoxr.geobox.shape == (64, 64)
        assert batch.geoxr.crs.epsg == 32633
    assert not ds["image"].variable._in_memory
    (whole,) = ds.geoxr.batch_generator({"band": 3})
    utm_image.unlink()
    np.testing.assert_array_equal(batch["image"].geoxr.valid, expected)  # it is in memory
    assert whole["image"].values.any()
    lazy = ds.geoxr.batch_generator({"y": 64, "x": 64}, preload_batch=False)[0]
    assert not lazy["image"].variable._in_memory


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"input_dims": {}}, gx.errors.ArgumentError, "names no dimension"),
        ({"input_dims": {"z": 4}}, gx.errors.ArgumentError, "no dimension 'z' here; there are"),
        ({"input_dims": {"y": 0}}, gx.errors.ChipError, "have the size 0"),
        ({"input_dims": {"y": 2.5}}, gx.errors.ChipError, "have the size 2.5"),
        ({"input_dims": {"y": 13}}, gx.errors.ChipError, "longer than the dimension, which has 12"),
        (
            {"input_dims": {"y": 4}, "input_overlap": {"y": 4}}, gx.errors.ChipError,
            "share 4. Both are whole",
        ),
        (
            {"input_dims": {"y": 4}, "input_overlap": {"x": 1}}, gx.errors.ArgumentError,
            "'x' in input_dims to overlap along",
        ),
        (
            {"input_dims": {"y": 4}, "batch_dims": {"y": 8}}, gx.errors.ArgumentError,
            "y is in input_dims and in batch_dims",
        ),
    ],
)  # fmt: skip
def test_nonsense_is_told(arguments: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        dataset().geoxr.batch_generator(**arguments)


def test_batches_are_asked_for_by_number() -> None:
    batches = dataset().geoxr.batch_generator({"y": 4, "x": 4})
    with pytest.raises(IndexError, match="There are 12 batches; number 12"):
        batches[12]
    with pytest.raises(TypeError, match="by number"):
        batches["first"]
    assert repr(batches) == "BatchGenerator(12 batches of y: 4, x: 4)"

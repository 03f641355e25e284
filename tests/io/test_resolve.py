"""Whatever is selected from a layer, its reader gives the same pixels and the same validity."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.errors import GridError, ValidityError
from geoxr.grid.coords import coords_of
from geoxr.grid.window import Window
from geoxr.io.array import ArrayReader, InMemory
from geoxr.io.layer import as_layer
from geoxr.io.picks import Picked
from geoxr.io.reader import everything, read_window
from geoxr.io.resolve import resolve
from geoxr.testing import write_geotiff

GRID = GeoBox((70, 90), Affine(30, 0, 600_000, 0, -30, 5_000_000), "EPSG:32633")
DATES = tuple(np.array(["2020-01-05", "2020-02-07"], "datetime64[ns]"))


def masked_layer() -> tuple[xr.DataArray, np.ndarray, np.ndarray]:
    """A layer whose missing pixels only a mask knows, with its pixels and its mask."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 250, (2, 3, *GRID.shape), dtype="uint8")
    good = rng.random((2, *GRID.shape)) > 0.3
    reader = ArrayReader(
        InMemory(pixels), GRID, ("a", "b", "c"), DATES, None, InMemory(good[:, None])
    )
    return as_layer(reader, name="masked"), pixels, good


LAYER, PIXELS, GOOD = masked_layer()


@st.composite
def even_picks(draw: st.DrawFn, size: int) -> Any:
    """A slice with any step, or the same as a list; at least two positions."""
    step = draw(st.sampled_from([1, 1, 2, 3, 7, -1, -4]))
    start, stop = sorted(draw(st.lists(st.integers(0, size), min_size=2, max_size=2)))
    span = range(start, stop, step) if step > 0 else range(stop - 1, start - 1, step)
    if len(span) < 2:
        span = range(0, size, abs(step))
    if draw(st.booleans()):
        return list(span)
    return slice(span.start, span.stop if span.stop >= 0 else None, span.step)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_selection_reads_what_numpy_selects(data: st.DataObject) -> None:
    rows, cols = data.draw(even_picks(70)), data.draw(even_picks(90))
    bands = data.draw(st.sampled_from([slice(None), [2, 0], 1, slice(1, 3)]))
    times = data.draw(st.sampled_from([slice(None), [1, 0], [1], 0]))
    picked = LAYER.isel(y=rows, x=cols).isel(band=bands).isel(time=times)
    order = data.draw(st.permutations(picked.dims))
    resolved = resolve(picked.transpose(*order))
    assert resolved.slow is None
    reader = resolved.reader
    pixels, valid = read_window(reader, Window(0, 0, *reader.geobox.shape))
    one_time, one_band = np.atleast_1d(np.arange(2)[times]), np.atleast_1d(np.arange(3)[bands])
    expected = PIXELS[one_time][:, one_band][:, :, rows][..., cols]
    np.testing.assert_array_equal(pixels, expected)
    mask = GOOD[one_time][:, rows][..., cols]
    np.testing.assert_array_equal(valid, np.broadcast_to(mask[:, None], valid.shape))
    assert (reader.times is None) == isinstance(times, int)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_window_of_a_selection_is_that_of_the_whole(data: st.DataObject) -> None:
    rows, cols = data.draw(even_picks(70)), data.draw(even_picks(90))
    reader = resolve(LAYER.isel(y=rows, x=cols)).reader
    height, width = reader.geobox.shape
    row, col = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    window = Window(
        row, col, data.draw(st.integers(1, height - row)), data.draw(st.integers(1, width - col))
    )
    whole, whole_valid = read_window(reader, Window(0, 0, height, width))
    part, valid = read_window(reader, window)
    np.testing.assert_array_equal(part, whole[..., window.slices[0], window.slices[1]])
    np.testing.assert_array_equal(valid, whole_valid[..., window.slices[0], window.slices[1]])


def test_a_decimated_read_of_steps_takes_every_so_many_pixel() -> None:
    reader = Picked(LAYER.variable._data.array.reader, GRID, range(60, 0, -3), range(5, 85, 2))
    bands, times = everything(reader)
    out, valid = np.empty((2, 3, 5, 10), "uint8"), np.empty((2, 1, 5, 10), bool)
    reader.read(Window(1, 0, 19, 40), out, valid, bands=bands, times=times, step=4)
    np.testing.assert_array_equal(out, PIXELS[:, :, 57:0:-12, 5:85:8])
    np.testing.assert_array_equal(valid[:, 0], GOOD[:, 57:0:-12, 5:85:8])


def test_validity_is_joint_where_one_band_of_it_is_asked_for() -> None:
    reader = resolve(LAYER.isel(x=slice(None, None, -2))).reader
    bands, times = everything(reader)
    shape = reader.geobox.shape
    out, valid = np.empty((2, 3, *shape), "uint8"), np.empty((2, 1, *shape), bool)
    reader.read(Window(0, 0, *shape), out, valid, bands=bands, times=times)
    np.testing.assert_array_equal(valid[:, 0], GOOD[:, :, ::-2])


def test_axes_that_were_exchanged_by_renaming_are_read_by_name(utm_image: Path) -> None:
    layer = gx.open_raster(utm_image).isel(y=slice(0, 50), x=slice(0, 50))
    swapped = layer.rename(x="lon", y="x").rename(lon="y")
    found = resolve(swapped)
    assert found.slow is not None
    pixels, _ = read_window(found.reader, Window(0, 0, 50, 50))
    np.testing.assert_array_equal(pixels[0], swapped.transpose("band", "y", "x").values)


def test_a_foreign_dimension_is_told(utm_image: Path) -> None:
    windows = gx.open_raster(utm_image).rolling(x=3).construct("window")
    del windows.attrs["nodata"]
    with pytest.raises(GridError, match=r"dimension 'window'.*isel\(window=0\)"):
        windows.geoxr.reproject(resolution=20)


@pytest.mark.parametrize("rows", [slice(None), slice(10, 40)])
def test_one_pixel_after_steps_has_no_size(rows: slice) -> None:
    stepped = LAYER.isel(x=slice(None, None, 2), y=rows)
    assert stepped.isel(y=slice(0, 2)).geoxr.resolution == (60, 30)
    with pytest.raises(GridError, match="One pixel along 'y' has no size of its own"):
        _ = stepped.isel(y=slice(0, 1)).geoxr.geobox
    assert LAYER.isel(x=slice(3, 4), y=slice(3, 4)).geoxr.resolution == (30, 30)


def test_one_coarsened_pixel_has_no_size() -> None:
    data = xr.DataArray(np.zeros(GRID.shape), dims=("y", "x"), coords=coords_of(GRID))
    with pytest.raises(GridError, match="lies between the pixels of the file"):
        _ = data.coarsen(x=2, y=2).mean().isel(x=[0], y=[0]).geoxr.geobox


def test_dropped_attributes_of_the_grid_are_told() -> None:
    with pytest.raises(GridError, match=r"drop_attrs\(deep=False\)"):
        _ = LAYER.drop_attrs().geoxr.geobox
    assert LAYER.drop_attrs(deep=False).geoxr.geobox == GRID


@pytest.mark.parametrize(
    "operation",
    [
        lambda da: da.copy().load(),
        lambda da: da.compute(),
        lambda da: da.geoxr.chunk(16),
        lambda da: da + 1,
        lambda da: da.astype("float32"),
        lambda da: da.transpose("x", "y", "band", "time").compute(),
    ],
    ids=["load", "compute", "chunk", "add", "astype", "transpose and compute"],
)
def test_a_mask_that_was_left_behind_is_not_forgotten(operation: Any) -> None:
    assert LAYER.attrs["validity"] == "mask"
    without = operation(LAYER)
    with pytest.raises(ValidityError, match="leaves behind the mask"):
        without.geoxr.valid  # noqa: B018
    everywhere = without.drop_attrs(deep=False).assign_attrs(kind="continuous")
    assert everywhere.geoxr.valid.values.all()
    in_dataset = gx.merge({"a": LAYER}).compute()
    assert (in_dataset.geoxr.valid.values == GOOD).all()
    assert "validity" not in LAYER.geoxr.write_nodata(255).attrs


def test_chunks_of_a_layer_keep_its_nodata_until_numbers_change(tmp_path: Path) -> None:
    pixels = np.arange(1200, dtype="uint16").reshape(30, 40)
    write_geotiff(tmp_path / "a.tif", pixels, crs="EPSG:32633", transform=GRID.affine, nodata=7)
    layer = gx.open_raster(tmp_path / "a.tif")
    for chunked in (
        layer.geoxr.chunk(16),
        layer.chunk({"x": 9}),
        layer.geoxr.chunk(16)[:, 2:, ::2],
    ):
        part = chunked.isel(y=slice(0, 20))
        expected = layer.sel(y=part.y, x=part.x).values[0] != 7
        np.testing.assert_array_equal(part.geoxr.valid.values, expected)
        assert part.geoxr.nodata == 7
    for changed in (layer.geoxr.chunk(16) + 1, (layer + 1).chunk({"x": 9})):
        with pytest.raises(ValidityError, match="may no longer mark missing pixels"):
            changed.geoxr.valid  # noqa: B018

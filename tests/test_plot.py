"""Pictures of layers: drawn from lazy, loaded and computed data alike."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from affine import Affine

import geoxr as gx

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture
def image(utm_image: Path) -> xr.DataArray:
    layer = gx.open_raster(utm_image)
    return layer.assign_coords(common_name=("band", ["red", "green", "nir"]))


@pytest.fixture
def ds(image: xr.DataArray, label_3035: Path) -> xr.Dataset:
    label = gx.open_raster(label_3035, kind="categorical")
    label = label.isel(band=0, drop=True).geoxr.write_classes(
        {i: f"class {i}" for i in range(1, 6)}
    )
    return gx.merge({"image": image, "mask": label})


def drawn(ax: "plt.Axes") -> np.ndarray:
    return np.ma.getdata(ax.images[0].get_array())


def test_one_band_with_a_common_name_is_drawn(image: xr.DataArray) -> None:
    np.testing.assert_array_equal(
        drawn(image.sel(band="nir").geoxr.plot()), image.sel(band="nir").values
    )


def test_bands_are_picked_by_name_common_name_or_number(image: xr.DataArray) -> None:
    named = image.assign_coords(band=["B4", "B3", "B5"])
    for band in ("nir", "B5", 3):
        np.testing.assert_array_equal(drawn(named.geoxr.plot(bands=[band])), image.values[2])
    with pytest.raises(gx.errors.ArgumentError, match="no band 'blue'"):
        named.geoxr.plot(bands=["blue"])


def test_north_is_up_where_the_first_row_is_the_southernmost(image: xr.DataArray) -> None:
    pictures = []
    for layer in (image, image.isel(y=slice(None, None, -1))):
        figure, ax = plt.subplots()
        layer.geoxr.plot(ax=ax, bands=["nir"])
        figure.canvas.draw()
        pictures.append(np.asarray(figure.canvas.buffer_rgba()).astype(float))
    first, second = pictures
    assert np.abs(first - second).mean() < 1 < np.abs(first - second[::-1]).mean()


@pytest.mark.parametrize(
    "operation",
    [
        lambda a: a.load(),
        lambda a: a.compute() - 3,
        lambda a: a.astype("float32") / 2,
        lambda a: a > 500,
        lambda a: a.chunk({"y": 50}),
        lambda a: a.isel(x=slice(None, None, 3)),
        lambda a: a.where(a > 400),
    ],
    ids=["loaded", "integers", "floats", "a comparison", "dask", "steps", "where"],
)
def test_computed_layers_are_drawn_as_they_are(
    ds: xr.Dataset, operation: Callable[[xr.DataArray], xr.DataArray]
) -> None:
    one = operation(ds["image"].isel(band=0))
    picture = drawn(one.geoxr.plot())
    assert picture.shape[:2] == one.shape
    if one.dtype != bool:
        there = np.isfinite(one.values)
        np.testing.assert_array_equal(picture[there], one.values[there])
    assert operation(ds["mask"]).geoxr.plot() is not None


def test_nodata_of_a_lazy_layer_is_left_out_of_the_picture(image: xr.DataArray) -> None:
    ax = image.isel(band=0).geoxr.plot()
    left_out = np.ma.getmaskarray(ax.images[0].get_array())
    np.testing.assert_array_equal(left_out, ~image.isel(band=0).geoxr.valid.values)
    assert left_out.any()


def test_a_dataset_is_drawn_layer_by_layer(ds: xr.Dataset) -> None:
    axes = ds.geoxr.plot(legend=False)
    assert [ax.get_title() for ax in axes] == ["image", "mask"]
    with pytest.raises(gx.errors.ArgumentError, match="no variable"):
        xr.Dataset().geoxr.plot()


def test_a_chip_is_drawn_with_its_holes(ds: xr.Dataset) -> None:
    chips = list(ds.geoxr.iter_chips(ds.geoxr.grid_chips(100, edge="pad")))
    assert [len(chip.geoxr.plot()) for chip in chips] == [2] * len(chips)
    outside = chips[-1]["image"].isel(band=0).geoxr.plot()
    assert np.ma.getmaskarray(outside.images[0].get_array())[-1, -1]


def test_a_saved_picture_has_its_whole_legend(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(2, dtype="uint8"), 50).reshape(10, 10)
    path = gx.testing.write_geotiff(
        tmp_path / "a.tif", labels, crs=32633, transform=Affine(10, 0, 500_000, 0, -10, 5_200_000)
    )
    layer = gx.open_raster(path, kind="categorical").geoxr.write_classes(
        {0: "a name of many letters", 1: "another name of many letters"}
    )
    ax = layer.geoxr.plot()
    figure = ax.figure
    figure.canvas.draw()
    box = ax.get_legend().get_window_extent()
    assert box.x1 <= figure.bbox.x1
    assert box.x0 >= ax.get_window_extent().x1

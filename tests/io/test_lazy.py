"""Nothing is read before it is needed, and never more at once than allowed."""

import pickle
from functools import lru_cache
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

import geoxr as gx
from geoxr.grid.window import Window
from geoxr.io import stacks
from geoxr.io.gdal import GdalReader
from geoxr.io.geotiff import GeotiffReader
from geoxr.io.layer import LayerArray
from geoxr.io.reader import WindowReader
from geoxr.sample import footprint
from geoxr.testing import LandsatCDL


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make any read of pixels from a file fail."""

    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("pixels were read")

    for reader in (GdalReader, GeotiffReader):
        monkeypatch.setattr(reader, "read", fail)
    monkeypatch.setattr(stacks, "read_together", fail)


def aligned(farmland: LandsatCDL) -> xr.Dataset:
    image = gx.open_product("landsat8-l2-sr", farmland.scenes, time="collapse", crs="auto")
    return gx.merge({"image": image, "mask": gx.open_product("cdl", farmland.cdl)}, like="mask")


@pytest.mark.usefixtures("no_reading")
def test_opening_aligning_and_planning_read_no_pixels(farmland: LandsatCDL) -> None:
    ds = aligned(farmland)
    assert len(ds.geoxr.grid_chips(32)) > 10
    with pytest.raises(AssertionError, match="pixels were read"):
        ds["mask"].values.sum()
    with pytest.raises(AssertionError, match="pixels were read"):
        ds["image"].values.sum()


def test_splitting_and_drawing_take_one_bounded_look(
    farmland: LandsatCDL, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = aligned(farmland)
    looks = []
    original = footprint._seen

    def watched(reader: WindowReader, window: Window, step: int) -> np.ndarray:
        looks.append(window.height * window.width / step**2)
        return original(reader, window, step)

    monkeypatch.setattr(footprint, "_LOOKS", 1000)
    monkeypatch.setattr(footprint, "_FEWER", 1000)
    monkeypatch.setattr(footprint, "_remembered", lru_cache(watched))
    train, _ = gx.split_blocks(ds, (0.5, 0.5), block=2000, gap=200)
    for seed in range(3):
        assert len(ds.geoxr.random_chips(32, 10, aoi=train, seed=seed)) == 10
    assert len(looks) == 2 * 2  # two layers, in all and in the area
    assert max(looks) <= 1000


@pytest.mark.usefixtures("no_reading")
@pytest.mark.parametrize(
    "operation",
    [
        lambda ds: ds.isel(y=slice(5, 50), x=slice(None, None, 2)),
        lambda ds: ds.isel(x=slice(None, None, -1)),
        lambda ds: ds.isel(band=[2, 0]),
        lambda ds: ds.sel(band="SR_B4"),
        lambda ds: ds.sel(x=slice(*ds.x.values[[3, 9]])),
        lambda ds: ds.transpose("x", "y", "band"),
        lambda ds: ds.isel(band=slice(1)).squeeze(),
        lambda ds: ds.rename(image="a"),
        lambda ds: ds.copy(),
        lambda ds: ds.copy(deep=True),
        lambda ds: pickle.loads(pickle.dumps(ds)),
        lambda ds: xr.Dataset({"b": ds["image"]}),
        lambda ds: xr.merge([ds[["image"]], ds[["mask"]]], join="inner", compat="equals"),
        lambda ds: ds.chunk({"y": 64, "x": 64}),
        lambda ds: ds.geoxr.chunk(64),
        lambda ds: ds.geoxr.reproject("EPSG:32615"),
        repr,
        lambda ds: ds._repr_html_(),
    ],
)
def test_xarray_operations_that_stay_lazy(farmland: LandsatCDL, operation: object) -> None:
    assert operation(aligned(farmland)) is not None  # type: ignore[operator]


def test_a_read_above_the_limit_raises_with_its_size(farmland: LandsatCDL) -> None:
    ds = aligned(farmland)
    with gx.options.set(max_read=100_000):
        with pytest.raises(
            gx.errors.TooLargeError, match=r"1\.7 MiB.*97\.7 KiB.*geoxr\.chunk\(64\)"
        ):
            ds["image"] + 1
        with pytest.raises(gx.errors.TooLargeError, match=r"MiB"):
            ds.compute()
        assert ds["image"].isel(y=slice(0, 20), x=slice(0, 20)).values.shape == (7, 20, 20)
        pieces = ds["mask"].chunk({"y": 64, "x": 64}).compute()
    np.testing.assert_array_equal(pieces.values, ds["mask"].values)


def test_chunk_and_compute_give_the_pixels(farmland: LandsatCDL) -> None:
    ds = aligned(farmland)
    now = ds.compute()
    for chunked in (ds.chunk({"y": 128, "x": 100}), ds.geoxr.chunk(77)):
        xr.testing.assert_identical(chunked.compute(), now)
    assert len(ds.geoxr.chunk(100)["mask"].__dask_graph__()) <= 2 * 5 * 5 + 2


def test_equal_layers_have_equal_dask_tokens(farmland: LandsatCDL) -> None:
    first, second = (
        dask.base.tokenize(aligned(farmland)["image"].variable._data) for _ in range(2)
    )
    assert first == second


def test_a_pickled_dataset_is_small_and_reads_the_same(farmland: LandsatCDL) -> None:
    ds = aligned(farmland)
    data = pickle.dumps(ds)
    assert len(data) <= 2 * sum(coord.nbytes for coord in ds.coords.values()) + 20_000
    xr.testing.assert_identical(pickle.loads(data).compute(), ds.compute())


@pytest.mark.parametrize(
    "key",
    [
        {"y": slice(None, None, 3), "x": slice(50, 10, -2)},
        {"y": [7, 3, 99], "x": [0, 50]},
        {"y": 5},
        {"band": [6, 0, 0], "y": slice(10, 0, -1)},
        {"band": 2, "x": -1},
        {"y": slice(3, 3)},
        {"y": xr.DataArray([1, 5, 9], dims="p"), "x": xr.DataArray([4, 4, 0], dims="p")},
    ],
)
def test_indexing_gives_what_numpy_gives(farmland: LandsatCDL, key: dict[str, object]) -> None:
    image = aligned(farmland)["image"]
    np.testing.assert_array_equal(image.isel(key).values, image.compute().isel(key).values)


def test_assignment_is_refused(farmland: LandsatCDL) -> None:
    ds = aligned(farmland)
    with pytest.raises(gx.errors.ReadOnlyError, match="cannot be assigned to"):
        ds["mask"][0, 0] = 1


def test_operands_are_not_changed(farmland: LandsatCDL) -> None:
    image = gx.open_product("landsat8-l2-sr", farmland.scenes, time="collapse", crs="auto")
    label = gx.open_product("cdl", farmland.cdl)
    before = dict(image.attrs), dict(label.attrs), image.geoxr.geobox
    gx.merge({"image": image, "mask": label}, like="mask")
    assert (dict(image.attrs), dict(label.attrs), image.geoxr.geobox) == before
    assert isinstance(image.variable._data.array, LayerArray)


def test_a_layer_works_with_rioxarray(utm_image: Path) -> None:
    import rioxarray  # noqa: F401

    layer = gx.open_raster(utm_image)
    assert layer.rio.crs.to_epsg() == 32633
    assert layer.rio.transform() == layer.geoxr.geobox.affine


def test_bands_and_dates_are_called_what_the_coordinates_say(utm_image: Path) -> None:
    layer = gx.open_raster(utm_image).assign_coords(band=["B4", "B3", "B8"])
    there = layer.geoxr.reproject(resolution=20, resampling="nearest")
    assert list(there["band"].values) == ["B4", "B3", "B8"]
    assert list(layer.isel(band=[2, 0]).geoxr.write_nodata(7)["band"].values) == ["B8", "B4"]

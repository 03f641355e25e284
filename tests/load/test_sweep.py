"""Blocks that batches of an overlapping grid share with the next ones."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from affine import Affine

import geoxr as gx
from geoxr.io.blocks import sharing, tiles
from geoxr.io.bytes import bytes_read
from geoxr.load.kept import Blocks
from geoxr.testing import write_geotiff

SHAPE = 400, 500
SIZE = 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    image = rng.integers(1, 60_000, (3, *SHAPE)).astype("uint16")
    image[:, ::9] = 0
    image[:, 150:210, 170:300] = 0
    label = rng.integers(0, 5, (1, *SHAPE)).astype("uint8")
    here = {"crs": 32633, "transform": Affine(10, 0, 500_000, 0, -10, 5_200_000)}
    write_geotiff(tmp_path / "image.tif", image, nodata=0, **here)
    write_geotiff(tmp_path / "label.tif", label, **here)
    write_geotiff(tmp_path / "packed.tif", image, nodata=0, compress="deflate", **here)
    return tmp_path


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the blocks that were kept, in the order of reading."""
    sizes: list[int] = []
    read = Blocks.read

    def noted(self: Blocks, *args: object) -> object:
        result = read(self, *args)
        sizes.append(self.nbytes)
        return result

    monkeypatch.setattr(Blocks, "read", noted)
    tiles.clear()
    return sizes


def opened(folder: Path, name: str = "image.tif") -> xr.Dataset:
    label = gx.open_raster(folder / "label.tif", kind="categorical").isel(band=0, drop=True)
    layers = {"image": gx.open_raster(folder / name), "mask": label}
    return xr.Dataset(
        {n: layer.geoxr.reproject("EPSG:32633", resolution=12.5) for n, layer in layers.items()}
    )


def delivered(ds: xr.Dataset, plan: gx.ChipPlan, **options: object) -> list[dict]:
    return list(ds.geoxr.to_torch(plan, batch_size=5, **options))


def same(ours: list[dict], theirs: list[dict]) -> bool:
    assert len(ours) == len(theirs)
    return all(
        torch.equal(a[name], b[name]) for a, b in zip(ours, theirs, strict=True) for name in b
    )


@pytest.mark.parametrize("edge", ["shift", "pad", "drop"])
@pytest.mark.parametrize("stride", [32, 17, (64, 20)])
@pytest.mark.parametrize("threads", [0, 3])
def test_chips_from_kept_blocks_are_those_read_alone(
    folder: Path, kept: list[int], edge: str, stride: object, threads: int
) -> None:
    ds = opened(folder)
    plan = ds.geoxr.grid_chips(SIZE, stride=stride, edge=edge)
    ours = delivered(ds, plan, threads=threads)
    assert max(kept) > 0
    alone = ds.geoxr.to_torch(plan)
    for batch in ours:
        for at, number in enumerate(batch["index"].tolist()):
            for name, expected in alone[number].items():
                assert torch.equal(batch[name][at], expected), (number, name)


def test_each_pixel_is_read_once(folder: Path) -> None:
    ds = opened(folder)
    loader = ds.geoxr.to_torch(ds.geoxr.grid_chips(SIZE, stride=16), batch_size=5)
    size = sum((folder / name).stat().st_size for name in ("image.tif", "label.tif"))
    before = bytes_read.value
    for _ in loader:
        pass
    first = bytes_read.value - before
    assert 0.9 * size < first < 1.3 * size
    assert loader._recipe._blocks.nbytes == 0  # at the end of an epoch nothing is
    assert not tiles.nbytes


def test_nothing_is_kept_where_chips_do_not_meet_again(folder: Path, kept: list[int]) -> None:
    ds = opened(folder)
    grid = ds.geoxr.grid_chips(SIZE, stride=16)
    for plan, options in (
        (ds.geoxr.grid_chips(SIZE), {}),
        (ds.geoxr.random_chips(SIZE, 40, seed=0), {}),
        (grid.shuffle(0), {}),
        (grid, {"shuffle": True}),
        (grid, {"cache": None}),
        (grid, {"cache": "disk"}),
    ):
        delivered(ds, plan, **options)
        assert not kept


def test_parts_of_a_grid_and_layers_in_memory(folder: Path, kept: list[int]) -> None:
    ds = opened(folder)
    plan = ds.geoxr.grid_chips(SIZE, stride=16)
    part = plan[37:101]
    assert same(delivered(ds, part), delivered(ds, part, cache=None))
    assert max(kept) > 0
    kept.clear()
    expected = delivered(ds, part, cache=None)
    loaded = ds.load()
    loaded["image"] = loaded["image"].geoxr.write_nodata(0)
    assert same(delivered(loaded, part), expected)
    assert not kept


def test_blocks_leave_the_cache_to_decoded_tiles(folder: Path, kept: list[int]) -> None:
    raw, packed = opened(folder), opened(folder, "packed.tif")
    plan = packed.geoxr.grid_chips(SIZE, stride=16)
    expected = delivered(raw, plan, cache=None)
    assert not kept
    loader = packed.geoxr.to_torch(plan, batch_size=5, threads=0)
    batches = iter(loader)
    ours = [next(batches), next(batches)]
    assert kept  # the blocks that told
    assert loader._recipe._blocks.nbytes == 0
    number = len(kept)
    ours += batches
    assert len(kept) == number
    assert same(ours, expected)
    assert tiles.nbytes > 0


def test_blocks_and_tiles_share_one_bound(folder: Path) -> None:
    ds, packed = opened(folder), opened(folder, "packed.tif")
    loader = ds.geoxr.to_torch(ds.geoxr.grid_chips(SIZE, stride=16), batch_size=5, threads=0)
    batches = iter(loader)
    next(batches)
    assert loader._recipe._blocks.nbytes > 0
    taken = sum(cache.nbytes for cache in list(sharing))
    with gx.options.set(tile_cache=taken + (1 << 20)):
        delivered(packed, packed.geoxr.random_chips(SIZE, 30, seed=0))
        assert 0 < tiles.nbytes <= 1 << 20
    batches.close()


def test_the_cache_stays_in_its_bounds(folder: Path, kept: list[int]) -> None:
    ds = opened(folder)
    plan = ds.geoxr.grid_chips(SIZE, stride=16)
    expected = delivered(ds, plan, cache=None)
    for limit in (1_000, 1 << 20, 3 << 20, 30 << 20):
        kept.clear()
        with gx.options.set(tile_cache=limit):
            assert same(delivered(ds, plan, threads=2), expected)
        assert max(kept, default=0) <= limit
    assert kept


def test_dates_and_native_types(folder: Path, kept: list[int]) -> None:
    ds = opened(folder)
    pixels = np.random.default_rng(1).integers(0, 9, (3, 2, *SHAPE)).astype("uint16")
    days = np.datetime64("2020-01-01", "ns") + np.arange(3).astype("timedelta64[D]")
    x, y = 500_005 + 10 * np.arange(SHAPE[1]), 5_199_995 - 10 * np.arange(SHAPE[0])
    coords = {"time": days, "x": x, "y": y}
    layer = xr.DataArray(pixels, coords, ("time", "band", "y", "x")).geoxr.write_crs(32633)
    layer = layer.geoxr.write_nodata(0).geoxr.reproject("EPSG:32633", resolution=12.5)
    timed = layer.to_dataset(name="image")
    plan = timed.geoxr.grid_chips(SIZE, stride=32, steps=2, time_stride=1)
    assert same(delivered(timed, plan), delivered(timed, plan, cache=None))
    assert max(kept) > 0
    plan = ds.geoxr.grid_chips(SIZE, stride=32)
    assert same(
        delivered(ds, plan, dtype="native"), delivered(ds, plan, dtype="native", cache=None)
    )


def test_a_file_that_breaks_costs_the_chips_over_it(folder: Path) -> None:
    ds = opened(folder)
    plan = ds.geoxr.grid_chips(SIZE, stride=32)
    expected = delivered(ds, plan, cache=None)
    size = (folder / "image.tif").stat()
    with (folder / "image.tif").open("r+b") as file:
        file.truncate(size.st_size * 2 // 3)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        ours = delivered(gx.merge({"image": opened(folder)["image"]}), plan, on_error="skip")
    assert any("could not be read and were replaced" in str(w.message) for w in said)
    good = 0
    for batch, other in zip(ours, expected, strict=True):
        for at in np.flatnonzero(batch["index"].numpy() == other["index"].numpy()):
            assert torch.equal(batch["image"][at], other["image"][at])
            good += 1
    assert 0 < good < len(plan)

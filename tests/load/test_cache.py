"""Loaders with a scratch on disk deliver what they deliver without one."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import xarray as xr

import geoxr as gx
from geoxr.io.geotiff import GeotiffReader
from geoxr.testing import LandsatCDL


@pytest.fixture(scope="module")
def ds(farmland: LandsatCDL) -> xr.Dataset:
    image = gx.open_product("landsat8-l2-sr", farmland.scenes, time="collapse", crs="auto")
    return gx.merge({"image": image, "mask": gx.open_product("cdl", farmland.cdl)}, like="mask")


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path) -> Iterator[Path]:
    with gx.options.set(scratch_dir=tmp_path):
        yield tmp_path


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.mark.parametrize("threads", [0, 2])
def test_epochs_of_fresh_draws_are_those_without_a_cache(ds: xr.Dataset, threads: int) -> None:
    plan = ds.geoxr.random_chips(48, 20, seed=2)
    plain = ds.geoxr.to_torch(plan, batch_size=6, threads=0)
    cached = ds.geoxr.to_torch(plan, batch_size=6, threads=threads, cache="disk")
    seen = set()
    for _ in range(3):
        for expected, batch in zip(plain, cached, strict=True):
            assert_same(expected, batch)
            seen |= {tuple(bounds) for bounds in batch["bounds"].tolist()}
    assert len(seen) > 50


def test_a_second_epoch_reads_no_file(ds: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = ds.geoxr.to_torch(
        ds.geoxr.grid_chips(64, stride=32), batch_size=8, threads=0, cache="disk"
    )
    first = list(loader)

    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("a file was read")

    monkeypatch.setattr(GeotiffReader, "read", fail)
    for before, now in zip(first, loader, strict=True):
        assert_same(before, now)


def test_a_folder_keeps_blocks_for_the_next_loader(
    ds: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = ds.geoxr.grid_chips(64)
    first = list(ds.geoxr.to_torch(plan, batch_size=8, threads=2, cache=tmp_path / "kept"))
    gc.collect()

    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("a file was read")

    monkeypatch.setattr(GeotiffReader, "read", fail)
    for before, now in zip(
        first, ds.geoxr.to_torch(plan, batch_size=8, cache=tmp_path / "kept"), strict=True
    ):
        assert_same(before, now)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_share_the_scratch(ds: xr.Dataset, method: str, tmp_path: Path) -> None:
    plan = ds.geoxr.random_chips(48, 6, seed=1)
    plain = ds.geoxr.to_torch(plan)
    dataset = ds.geoxr.to_torch(plan, cache="disk")
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=1, multiprocessing_context=method
    )
    for expected, chip in zip((plain[i] for i in range(len(plain))), loader, strict=True):
        assert_same(expected, chip)
    assert not list(tmp_path.iterdir())


def test_a_cache_that_is_none_is_named(ds: xr.Dataset) -> None:
    plan = ds.geoxr.grid_chips(64)
    with pytest.raises(gx.errors.ArgumentError, match=r"cache is 'memory', but must be.*Path"):
        ds.geoxr.to_torch(plan, batch_size=2, cache="memory")

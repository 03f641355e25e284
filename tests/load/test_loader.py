"""Loaders: memory that is used again, threads that end, resuming, chips that fail, and what is told."""

import contextlib
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from affine import Affine

import geoxr as gx
from geoxr.errors import ArgumentError, ChipReadError, GridError
from geoxr.grid.window import Window
from geoxr.io.blocks import tiles
from geoxr.load.loader import Batch, ChipLoader
from geoxr.load.memory import Pool
from geoxr.testing import write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """Two bands with holes, and labels, in DEFLATE."""
    folder = tmp_path_factory.mktemp("loader")
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 5000, (2, 300, 400), dtype="uint16")
    pixels[:, rng.random((300, 400)) < 0.1] = 0
    codes = rng.integers(1, 4, (300, 400), dtype="uint8")
    for name, array in (("image", pixels), ("mask", codes)):
        path = folder / f"{name}.tif"
        write_geotiff(path, array, crs=32633, transform=UTM, nodata=0, compress="deflate")
    image = gx.open_raster(folder / "image.tif")
    mask = gx.open_raster(folder / "mask.tif", kind="categorical")
    return gx.merge({"image": image, "mask": mask.geoxr.write_classes({1: "a", 2: "b", 3: "c"})})


def same(first: list[Batch], second: list[Batch]) -> bool:
    if [sorted(batch) for batch in first] != [sorted(batch) for batch in second]:
        return False
    return all(
        torch.equal(a[name], b[name]) for a, b in zip(first, second, strict=True) for name in a
    )


def copied(batches: Iterator[Batch] | ChipLoader) -> list[Batch]:
    return [{name: tensor.clone() for name, tensor in batch.items()} for batch in batches]


def loading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("geoxr-load")]


# Memory


def test_memory_is_taken_again_only_when_nothing_looks_at_it() -> None:
    pool = Pool({"a": ((4, 5), np.dtype("float32")), "b": ((3,), np.dtype(bool))}, keep=2)
    arrays = pool.take()
    place = arrays["a"].ctypes.data
    view = torch.from_numpy(arrays["a"])[1:].detach().numpy()[0]
    view[...] = 7
    del arrays
    gc.collect()
    other = pool.take()
    assert other["a"].ctypes.data != place
    other["a"][...] = 0
    assert (view == 7).all()
    del view
    assert pool.take()["a"].ctypes.data == place


def test_memory_beyond_the_bound_is_given_up() -> None:
    pool = Pool({"a": ((4,), np.dtype("float32"))}, keep=2)
    made = [pool.take() for _ in range(5)]
    del made
    assert len(pool._free) == 2


@pytest.mark.parametrize("threads", [0, 1, 2, 8])
def test_kept_batches_are_not_written_over(ds: xr.Dataset, threads: int) -> None:
    plan = ds.geoxr.random_chips(48, 50, seed=1)
    loader = ds.geoxr.to_torch(plan, batch_size=7, threads=threads, prefetch=1)
    expected = copied(loader)
    loader.set_epoch(0)
    kept = list(loader)
    assert same(kept, expected)
    assert len(kept[-1]["index"]) == 50 % 7
    loader.set_epoch(0)
    images = [batch["image"][2:].numpy() for batch in loader]  # views of views
    for image, batch in zip(images, expected, strict=True):
        np.testing.assert_array_equal(image, batch["image"][2:].numpy())


def test_batches_share_few_places_in_memory_when_none_is_kept(ds: xr.Dataset) -> None:
    plan = ds.geoxr.random_chips(48, 200, seed=1)
    loader = ds.geoxr.to_torch(plan, batch_size=5, threads=2, prefetch=2)
    places = {batch["image"].data_ptr() for batch in loader}
    assert len(places) <= 2 + 2 + 1


def test_a_long_run_takes_no_more_memory_than_its_batches(tmp_path: Path) -> None:
    """Judge: anonymous memory of a process of its own after many batches, and after few."""
    pixels = np.ones((4, 600, 600), "float32")
    write_geotiff(tmp_path / "a.tif", pixels, crs=32633, transform=UTM)
    script = f"""
import geoxr as gx
def anonymous():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon"))
ds = gx.open_raster({str(tmp_path / "a.tif")!r}).to_dataset(name="image")
plan = ds.geoxr.random_chips(256, 16 * 60, seed=0)
loader = ds.geoxr.to_torch(plan, batch_size=16, threads=2, prefetch=2)
batch = 16 * (4 * 4 + 1) * 256 * 256 / 1024
most = first = None
for i, _ in enumerate(loader):
    if i == 0:
        before = anonymous()
    most = max(most or 0, anonymous())
print(before, most, batch)
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("reads /proc")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    before, most, batch = map(float, done.stdout.split())
    assert most - before <= 5 * batch + 2 * 2048 + 8192


# Threads


def test_no_thread_is_left_however_an_epoch_ends(ds: xr.Dataset) -> None:
    loader = ds.geoxr.to_torch(ds.geoxr.random_chips(32, 60), batch_size=2, threads=3)
    assert len(list(loader)) == 30
    assert not loading_threads()
    for _ in loader:
        break
    gc.collect()
    assert not loading_threads()
    with contextlib.suppress(ZeroDivisionError):
        for _ in loader:
            raise ZeroDivisionError
    gc.collect()
    assert not loading_threads()
    dropped = iter(loader)
    next(dropped)
    del dropped
    gc.collect()
    assert not loading_threads()


def test_two_epochs_run_side_by_side(ds: xr.Dataset) -> None:
    loader = ds.geoxr.to_torch(ds.geoxr.random_chips(32, 20, seed=3), batch_size=4, threads=2)
    expected = copied(loader) + copied(loader)
    loader.set_epoch(0)
    pairs = list(zip(iter(loader), iter(loader), strict=True))
    assert same([a for a, _ in pairs] + [b for _, b in pairs], expected)


def test_a_loader_goes_with_its_memory(ds: xr.Dataset) -> None:
    loader = ds.geoxr.to_torch(ds.geoxr.random_chips(32, 20), batch_size=4, threads=2)
    next(iter(loader))
    pool = weakref.ref(loader._pool)
    del loader
    gc.collect()
    assert pool() is None


def test_an_interrupt_ends_a_loader_at_once(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "a.tif", np.ones((1, 500, 500), "uint8"), crs=32633, transform=UTM)
    script = f"""
import threading, time
import geoxr as gx
ds = gx.open_raster({str(tmp_path / "a.tif")!r}).to_dataset(name="image")
loader = ds.geoxr.to_torch(ds.geoxr.random_chips(32, 10_000_00), batch_size=8, threads=2)
try:
    for i, _ in enumerate(loader):
        if i == 3:
            print("ready", flush=True)
        time.sleep(0.01)
except KeyboardInterrupt:
    del _
print([t.name for t in threading.enumerate() if t.name.startswith("geoxr")], flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        run.send_signal(signal.SIGINT)
        rest, _ = run.communicate(timeout=20)
    assert rest == "[]\n"
    assert run.returncode == 0


# Going on in mid-epoch


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("after", [0, 1, 4, 8])
def test_a_loader_goes_on_with_the_very_next_batch(
    ds: xr.Dataset, after: int, shuffle: bool
) -> None:
    def made() -> ChipLoader:
        plan = ds.geoxr.random_chips(32, 30, seed=5)
        return ds.geoxr.to_torch(plan, batch_size=4, threads=2, shuffle=shuffle, seed=9)

    whole = made()
    copied(whole)
    expected = copied(whole) + copied(whole)
    loader = made()
    copied(loader)
    if after == 0:
        state = loader.state_dict()
    for i, _ in enumerate(loader):
        if i + 1 == after:
            state = loader.state_dict()
            break
    state = pickle.loads(pickle.dumps(state))
    resumed = made()
    resumed.load_state_dict(state)
    rest = copied(resumed) + copied(resumed)
    # After the last batch of an epoch, as after 0 of none, the next epoch begins.
    left = expected[after:]
    assert same(rest[: len(left)], left)


def test_a_state_of_another_loader_is_refused(ds: xr.Dataset) -> None:
    plan = ds.geoxr.random_chips(32, 30, seed=5)
    state = ds.geoxr.to_torch(plan, batch_size=4).state_dict()
    for other in (
        ds.geoxr.to_torch(plan, batch_size=5),
        ds.geoxr.to_torch(plan, batch_size=4, shuffle=True),
        ds.geoxr.to_torch(ds.geoxr.random_chips(32, 30, seed=6), batch_size=4),
    ):
        with pytest.raises(ArgumentError, match="state is that of a loader with"):
            other.load_state_dict(state)
    with pytest.raises(ArgumentError, match="That is no state of a loader"):
        other.load_state_dict({})


def test_a_transform_that_returns_nothing_is_told(ds: xr.Dataset) -> None:
    plan = ds.geoxr.grid_chips(50)
    with pytest.raises(ArgumentError, match="transform returned None"):
        next(iter(ds.geoxr.to_torch(plan, batch_size=2, transform=lambda batch: None)))
    with pytest.raises(ArgumentError, match="transform returned None"):
        ds.geoxr.to_torch(plan, transform=lambda batch: None)[0]


def test_a_dataset_is_asked_for_one_chip_by_its_number(ds: xr.Dataset) -> None:
    chips = ds.geoxr.to_torch(ds.geoxr.grid_chips(50))
    assert torch.equal(chips[np.int64(1)]["bounds"], chips[1]["bounds"])
    assert torch.equal(chips[-1]["bounds"], chips[len(chips) - 1]["bounds"])
    for index in (slice(3), 1.5, "1"):
        with pytest.raises(ArgumentError, match="asked for one chip by its number"):
            chips[index]
    for index in (len(chips), -len(chips) - 1):
        with pytest.raises(IndexError, match="out of range"):
            chips[index]


def test_a_state_after_set_epoch_is_that_of_the_epoch(ds: xr.Dataset) -> None:
    plan = ds.geoxr.random_chips(32, 8, seed=0)
    loader, other = (ds.geoxr.to_torch(plan, batch_size=2) for _ in range(2))
    next(iter(loader))
    loader.set_epoch(5)
    other.load_state_dict(loader.state_dict())
    loader, expected = other, ds.geoxr.to_torch(plan.epoch(5), batch_size=2)
    assert torch.equal(next(iter(loader))["bounds"], next(iter(expected))["bounds"])


def test_without_a_bar_no_thread_of_one_is_started(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "a.tif", np.ones((1, 90, 90), "uint8"), crs=32633, transform=UTM)
    script = f"""
import threading
import numpy
import geoxr as gx
ds = gx.open_raster({str(tmp_path / "a.tif")!r}).to_dataset(name="image")
list(ds.geoxr.to_torch(ds.geoxr.grid_chips(32), batch_size=numpy.int64(2)))
print([thread.name for thread in threading.enumerate()])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "['MainThread']\n"


def test_a_killed_process_is_resumed_by_another(ds: xr.Dataset, tmp_path: Path) -> None:
    (tmp_path / "ds.pkl").write_bytes(pickle.dumps(ds))
    script = """
import os, pickle, signal, sys, time
import torch
folder, kill = sys.argv[1], int(sys.argv[2])
ds = pickle.load(open(folder + "/ds.pkl", "rb"))
loader = ds.geoxr.to_torch(ds.geoxr.random_chips(32, 40, seed=2), batch_size=4, threads=2)
if os.path.exists(folder + "/state.pkl"):
    loader.load_state_dict(pickle.load(open(folder + "/state.pkl", "rb")))
for i, batch in enumerate(loader):
    print(batch["bounds"][:, 0].tolist(), flush=True)
    pickle.dump(loader.state_dict(), open(folder + "/new.pkl", "wb"))
    os.replace(folder + "/new.pkl", folder + "/state.pkl")
    if i == kill:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    seen = ""
    for kill in (3, -1):
        arguments = [sys.executable, "-c", script, str(tmp_path), str(kill)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert done.returncode == (-signal.SIGKILL if kill >= 0 else 0), done.stderr
        seen += done.stdout
    loader = ds.geoxr.to_torch(ds.geoxr.random_chips(32, 40, seed=2), batch_size=4)
    assert seen.splitlines() == [str(batch["bounds"][:, 0].tolist()) for batch in loader]


# Chips that cannot be read


class Broken:
    """A reader in which the pixels of some rows cannot be read."""

    def __init__(self, source: object, rows: range) -> None:
        self.source, self.rows = source, rows

    def __getattr__(self, name: str) -> object:
        return getattr(self.source, name)

    def read(self, window: Window, *args: object, **options: object) -> None:
        if window.row < self.rows.stop and window.stop[0] > self.rows.start:
            raise OSError("disk.tif has no more rows")
        self.source.read(window, *args, **options)  # type: ignore[attr-defined]


def breaking(loader: ChipLoader, rows: range) -> ChipLoader:
    recipe = loader._recipe
    source = recipe.outputs["image"][0]
    broken = replace(source, readers=(Broken(source.readers[0], rows),))
    loader._recipe = replace(recipe, outputs={**recipe.outputs, "image": (broken,)})
    return loader


def test_a_chip_that_cannot_be_read_ends_the_epoch_and_is_named(ds: xr.Dataset) -> None:
    loader = ds.geoxr.to_torch(ds.geoxr.grid_chips(100), batch_size=3, threads=2)
    loader = breaking(loader, range(150, 160))
    batches = iter(loader)
    next(batches)
    with pytest.raises(ChipReadError, match=r"chip 4 \(row 100, column 0.*disk\.tif") as failed:
        next(batches)
    assert failed.value.number == 4
    assert not loading_threads()


def test_chips_that_cannot_be_read_are_replaced_alike_by_any_threads(ds: xr.Dataset) -> None:
    for plan in (ds.geoxr.grid_chips(20), ds.geoxr.random_chips(20, 100, seed=4)):
        runs = []
        for threads in (0, 1, 2, 8):
            loader = ds.geoxr.to_torch(plan, batch_size=9, threads=threads, on_error="skip")
            loader = breaking(loader, range(150, 160))
            with pytest.warns(UserWarning, match=r"chips of epoch 0 could not be read.*disk\.tif"):
                runs.append(copied(loader))
            bad = [c for c in plan.chips() if c.window.row < 160 and c.window.stop[0] > 150]
            assert loader.stats().skipped >= len(bad) > 0
            assert loader.stats().chips == len(plan)
        assert all(same(runs[0], run) for run in runs[1:])
        bounds = torch.cat([batch["bounds"] for batch in runs[0]])
        rows = (5_200_000 - bounds[:, 3]) / 10
        assert not ((rows < 160) & (rows + 20 > 150)).any()
        index = torch.cat([batch["index"] for batch in runs[0]])
        fixed = plan.epoch(1).spots(plan.indices(0, 9)).corners
        random = not np.array_equal(fixed, plan.spots(plan.indices(0, 9)).corners)
        assert int((index == -1).sum()) == (len(bad) if random else 0)


def test_a_plan_of_which_nothing_can_be_read_ends(ds: xr.Dataset) -> None:
    loader = ds.geoxr.to_torch(ds.geoxr.grid_chips(100), batch_size=3, on_error="skip")
    with pytest.raises(ChipReadError, match=r"disk\.tif"):
        list(breaking(loader, range(300)))


# What is told


def test_stats_count_what_was_delivered(ds: xr.Dataset) -> None:
    tiles.clear()
    plan = ds.geoxr.random_chips(64, 30, seed=2)
    loader = ds.geoxr.to_torch(plan, batch_size=4, threads=1)
    batches = copied(loader)
    stats = loader.stats()
    valid = torch.cat([batch["valid"] for batch in batches])
    assert (stats.epoch, stats.batches, stats.chips, stats.skipped) == (0, 8, 30, 0)
    assert stats.invalid == pytest.approx(float((~valid).float().mean()))
    assert 0 < stats.waiting <= stats.seconds
    assert stats.chips_per_second == pytest.approx(30 / stats.seconds)
    assert stats.tile_misses > 0
    assert stats.nbytes > 0
    copied(loader)
    second = loader.stats()
    assert second.epoch == 1
    assert second.tile_hits > 0
    assert (second.tile_misses, second.nbytes) == (0, 0)
    assert "30 chips in 8 batches" in str(stats)


def test_without_a_cache_no_tile_is_kept_or_used(ds: xr.Dataset) -> None:
    plan = ds.geoxr.random_chips(64, 30, seed=2)
    expected = copied(ds.geoxr.to_torch(plan, batch_size=4))
    tiles.clear()
    for threads in (0, 2):
        loader = ds.geoxr.to_torch(plan, batch_size=4, threads=threads, cache=None)
        assert same(copied(loader), expected)
        assert tiles.nbytes == 0
    assert loader.stats().nbytes > 0


def test_a_progress_bar_counts_batches(ds: xr.Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    plan = ds.geoxr.random_chips(64, 30, seed=2)
    list(ds.geoxr.to_torch(plan, batch_size=4, progress=True))
    assert "8/8" in capsys.readouterr().err


# Arguments


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number from 1 up"),
        ({"batch_size": 2, "threads": -1}, "threads must be a whole number from 0 up"),
        ({"batch_size": 2, "prefetch": 1.5}, "prefetch must be a whole number"),
        ({"batch_size": 2, "device": "gpu"}, "device is 'gpu', which torch does not know"),
        ({"batch_size": 2, "on_error": "ignore"}, "on_error is 'ignore'"),
        ({"batch_size": 2, "cache": "ram"}, "cache is 'ram', but must be"),
        ({"batch_size": 2, "transform": 5}, "transform must be callable"),
        ({"shuffle": True}, "shuffle says how batches are read ahead"),
        ({"threads": 2, "device": "cpu"}, "threads, device says"),
    ],
)
def test_arguments_that_make_no_sense_are_named(
    ds: xr.Dataset, given: dict[str, object], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        ds.geoxr.to_torch(ds.geoxr.grid_chips(50), **given)


def test_transforms_see_batches_on_their_device(ds: xr.Dataset) -> None:
    seen = []

    def double(batch: Batch) -> Batch:
        seen.append(batch["image"].shape)
        return {**batch, "image": batch["image"] * 2}

    plan = ds.geoxr.grid_chips(100)
    plain = copied(ds.geoxr.to_torch(plan, batch_size=5))
    doubled = ds.geoxr.to_torch(plan, batch_size=5, transform=double, device="cpu")
    for a, b in zip(plain, doubled, strict=True):
        assert torch.equal(a["image"] * 2, b["image"])
    assert seen[0] == (5, 2, 100, 100)


def test_native_batches_are_as_stored(ds: xr.Dataset) -> None:
    plan = ds.geoxr.random_chips(50, 9, seed=7)
    now = ds.compute()
    for batch in ds.geoxr.to_torch(plan, batch_size=4, dtype="native"):
        assert (batch["image"].dtype, batch["mask"].dtype) == (torch.uint16, torch.uint8)
        for k, index in enumerate(batch["index"].tolist()):
            rows, cols = plan[index].window.slices
            np.testing.assert_array_equal(batch["image"][k].numpy(), now["image"][:, rows, cols])
            np.testing.assert_array_equal(batch["mask"][k].numpy(), now["mask"][0, rows, cols])


def test_waiting_is_not_for_ever(ds: xr.Dataset) -> None:
    """An abandoned epoch stops in the middle of a batch."""
    loader = ds.geoxr.to_torch(ds.geoxr.random_chips(150, 4000), batch_size=1000, threads=2)
    source = loader._recipe.outputs["image"][0]

    class Slow(Broken):
        def read(self, window: Window, *args: object, **options: object) -> None:
            time.sleep(0.5)
            self.source.read(window, *args, **options)  # type: ignore[attr-defined]

    slow = replace(source, readers=(Slow(source.readers[0], range(0)),))
    loader._recipe = replace(loader._recipe, outputs={"image": (slow,)})
    loader._pool = Pool(loader._recipe.shapes(loader.plan, 1000), 3)
    batches = iter(loader)
    stop = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    begun = time.perf_counter()
    stop.start()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT011
        next(batches)
    assert time.perf_counter() - begun < 3
    assert not loading_threads()


# Plans of several epochs and dates


def dated() -> xr.Dataset:
    """Six dates; the first three rows of blocks are valid at fewer of them."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 99, (6, 1, 120, 120)).astype("uint16")
    for date in range(6):
        pixels[date, :, : 20 * date] = 0
    layer = xr.DataArray(
        pixels,
        dims=("time", "band", "y", "x"),
        coords={
            "time": np.datetime64("2020-01-01", "ns") + np.arange(6).astype("timedelta64[D]"),
            "y": 5_200_000 - 10 * (np.arange(120) + 0.5),
            "x": 500_000 + 10 * (np.arange(120) + 0.5),
        },
    )
    return layer.geoxr.write_crs(32633).geoxr.write_nodata(0).to_dataset(name="image")


def test_epochs_may_have_more_dates_than_the_first() -> None:
    ds = dated()
    plan = ds.geoxr.random_chips(10, 3, seed=0, ragged=True)
    loader = ds.geoxr.to_torch(plan, batch_size=2, threads=2)
    widths = set()
    for epoch in range(12):
        spots = plan.epoch(epoch).spots(np.arange(3))
        batches = list(loader)
        times = torch.cat([batch["time"] for batch in batches])
        assert times.shape == spots.times.shape  # type: ignore[union-attr]
        assert ((times.numpy() > 0) == (spots.times >= 0)).all()
        widths.add(times.shape[1])
    assert len(widths) > 1


def test_a_plan_of_a_later_epoch_stays_that(ds: xr.Dataset) -> None:
    plan = ds.geoxr.random_chips(32, 8, seed=1)
    loader = ds.geoxr.to_torch(plan.epoch(3), batch_size=8)
    for epoch in (3, 4):
        (batch,) = list(loader)
        assert batch["bounds"][:, 0].tolist() == [c.bounds[0] for c in plan.epoch(epoch).chips()]


def test_a_plan_that_counts_other_dates_is_refused() -> None:
    ds = dated()
    plan = ds.geoxr.grid_chips(40, steps=2)
    assert len(ds.geoxr.to_torch(plan, batch_size=8)) > 0
    for other in (ds.isel(time=slice(None, None, -1)), ds.isel(time=slice(1, None))):
        with pytest.raises(GridError, match=r"counts 6 dates from 2020-01-01|of 5 dates"):
            other.geoxr.to_torch(plan, batch_size=8)
    every = ds.geoxr.grid_chips(40)
    assert len(ds.isel(time=slice(1, None)).geoxr.to_torch(every, batch_size=8)) > 0

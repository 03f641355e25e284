"""Blocks made once and read from a file: the same pixels, whoever reads, and nothing left behind."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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
from geoxr.catalog.mosaic import Mosaic
from geoxr.errors import (
    ArgumentError,
    DiskFullError,
    MissingFileError,
    OutputExistsError,
    ReadFailedError,
)
from geoxr.grid.window import Window
from geoxr.io import slots as slots_module
from geoxr.io.array import ArrayReader, Indexed, InMemory
from geoxr.io.dataset import layer_reader
from geoxr.io.reader import View, WindowReader, everything, read_window
from geoxr.io.scratch import open_scratch, scratched
from geoxr.io.scratched import Scratched
from geoxr.io.slots import Slots
from geoxr.testing import LandsatCDL, write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)
DATES = tuple(np.array(["2020-01-01", "2020-02-01", "2020-03-01"], "datetime64[ns]"))
HEIGHT, WIDTH, BLOCK = 70, 90, 32


@dataclass(frozen=True, eq=False)
class Watched(View):
    """A reader that remembers what it was asked for."""

    source: WindowReader
    asked: list[Window] = field(default_factory=list)
    pause: float = 0.0

    @property
    def geobox(self) -> GeoBox:
        return self.source.geobox

    def read(self, window: Window, out: np.ndarray, valid: np.ndarray | None, **rest: Any) -> None:
        self.asked.append(window)
        time.sleep(self.pause)
        self.source.read(window, out, valid, **rest)


@dataclass(frozen=True)
class Case:
    dtype: str
    bands: int
    nodata: float | None = None
    masked: bool = False
    dates: int = 0


CASES = (
    Case("uint16", 7, nodata=0),
    Case("uint16", 7, nodata=0, dates=3),
    Case("uint8", 1, nodata=255),
    Case("uint8", 1, masked=True),
    Case("uint8", 3),
    Case("float32", 2, dates=2),
    Case("float64", 8, nodata=-1.0),
    Case("int16", 10, masked=True, dates=2),
    Case("complex128", 2),
    Case("float16", 1),
    Case("bool", 1, masked=True),
)


def made(case: Case) -> Watched:
    """Pixels of which every band and date has holes of its own."""
    rng = np.random.default_rng(3)
    shape = max(case.dates, 1), case.bands, HEIGHT, WIDTH
    values = rng.integers(1, 200, shape)
    pixels = values.astype(case.dtype) if case.dtype != "bool" else values > 100
    hole = rng.random(shape) < 0.05
    if case.nodata is not None:
        pixels[hole] = case.nodata
    elif pixels.dtype.kind in "fc":
        pixels[hole] = np.nan
    box = GeoBox((HEIGHT, WIDTH), UTM, "EPSG:32633")
    good = InMemory(~hole) if case.masked else None
    names = tuple(map(str, range(case.bands)))
    dates = DATES[: case.dates] or None
    return Watched(ArrayReader(InMemory(pixels), box, names, dates, case.nodata, good))


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of scratches without a name, which must be empty after every test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    with gx.options.set(scratch_dir=folder):
        yield folder
    gc.collect()
    assert not list(folder.iterdir())


def read(
    reader: WindowReader,
    window: Window,
    bands: tuple[int, ...],
    times: tuple[int, ...],
    planes: int | None,
    step: int = 1,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Read into memory that holds something else before, with as many planes of validity."""
    height, width = -(-window.height // step), -(-window.width // step)
    out = np.full((len(times), len(bands), height, width), 77).astype(reader.dtype)
    valid = None
    if planes is not None:
        valid = np.random.default_rng(0).random((len(times), planes, height, width)) < 0.5
    reader.read(window, out, valid, bands=bands, times=times, step=step)
    return out, valid


def slots_of(reader: WindowReader) -> Slots:
    slots: Slots = reader.table.slots  # type: ignore[attr-defined]
    return slots


# The same pixels


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_every_window_has_the_pixels_and_the_validity_of_the_source(
    case: Case, data: st.DataObject
) -> None:
    source = made(case)
    reader = scratched(source, "a", open_scratch(), block=BLOCK)
    for _ in range(3):
        row = data.draw(st.integers(0, HEIGHT - 1))
        col = data.draw(st.integers(0, WIDTH - 1))
        height = data.draw(st.integers(1, HEIGHT - row))
        width = data.draw(st.integers(1, WIDTH - col))
        band, date = st.integers(0, case.bands - 1), st.integers(0, max(case.dates, 1) - 1)
        bands = tuple(data.draw(st.lists(band, min_size=1, max_size=case.bands)))
        times = tuple(data.draw(st.lists(date, min_size=1, max_size=3)))
        planes = data.draw(st.sampled_from([None, 1, len(bands)]))
        window, step = Window(row, col, height, width), data.draw(st.sampled_from([1, 1, 1, 3]))
        expected = read(source.source, window, bands, times, planes, step)
        for _ in range(2):
            pixels, valid = read(reader, window, bands, times, planes, step)
            assert pixels.tobytes() == expected[0].tobytes()
            np.testing.assert_array_equal(valid, expected[1])


def test_a_scratch_of_warped_scenes_equals_them(farmland: LandsatCDL) -> None:
    image = gx.open_product("landsat8-l2-sr", farmland.scenes, time="collapse", crs="auto")
    ds = gx.merge({"image": image, "mask": gx.open_product("cdl", farmland.cdl)}, like="mask")
    scratch = open_scratch()
    for name in ("image", "mask"):
        source = layer_reader(ds, name)
        assert isinstance(source, Mosaic) or name == "mask"
        reader = scratched(source, name, scratch)
        pixels, valid = read_window(reader, Window(-20, 30, 300, 200))
        expected = read_window(source, Window(-20, 30, 300, 200))
        np.testing.assert_array_equal(pixels, expected[0])
        np.testing.assert_array_equal(valid, expected[1])
        assert (reader.dtype, reader.bands, reader.nodata, reader.masked, reader.geobox) == (
            source.dtype, source.bands, source.nodata, source.masked, source.geobox
        )  # fmt: skip
        assert reader.footprint.equals(source.footprint)


def test_arrays_in_memory_are_not_copied_to_disk() -> None:
    reader = made(CASES[0]).source
    assert scratched(reader, "a", open_scratch()) is reader


# Made once


def test_only_blocks_that_are_met_are_made_and_only_once() -> None:
    source = made(CASES[0])
    scratch = open_scratch()
    reader = scratched(source, "a", scratch, block=BLOCK)
    for _ in range(3):
        read(reader, Window(0, 0, 20, 40), *everything(reader), 1)
    assert source.asked == [Window(0, 0, 32, 64)]
    read(reader, Window(10, 60, 60, 30), *everything(reader), 1)
    blocks = {(r // BLOCK, c // BLOCK) for w in source.asked for r in range(w.row, w.stop[0], 32)
              for c in range(w.col, w.stop[1], 32)}  # fmt: skip
    assert blocks == {(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)}
    assert sum(-(-w.height // 32) * -(-w.width // 32) for w in source.asked) == 7
    stats = scratch.stats()
    assert (stats.made, stats.hits, stats.through) == (7, 2 * 3 + 6 - 7, 0)


def test_a_block_that_many_threads_ask_for_is_made_once() -> None:
    source = made(CASES[7])
    slow = Watched(source.source, pause=0.02)
    reader = scratched(slow, "a", open_scratch(), block=BLOCK)
    windows = [Window(r, c, 30, 30) for r in (0, 5, 40) for c in (0, 10, 55)] * 4
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda w: read(reader, w, *everything(reader), 10), windows))
    for window, (pixels, valid) in zip(windows, found, strict=True):
        expected = read(source, window, *everything(source), 10)
        np.testing.assert_array_equal(pixels, expected[0])
        np.testing.assert_array_equal(valid, expected[1])
    assert sum(-(-w.height // 32) * -(-w.width // 32) for w in slow.asked) == 2 * 9


def test_an_error_of_the_source_reaches_all_who_wait_and_is_not_kept() -> None:
    @dataclass(frozen=True, eq=False)
    class Failing(Watched):
        broken: list[bool] = field(default_factory=lambda: [True])

        def read(self, *args: Any, **rest: Any) -> None:
            time.sleep(0.02)
            if self.broken:
                raise ReadFailedError("no tile")
            super().read(*args, **rest)

    source = Failing(made(CASES[0]).source)
    reader = scratched(source, "a", open_scratch(), block=BLOCK)

    def attempt(_: int) -> str:
        try:
            read(reader, Window(0, 0, 9, 9), *everything(reader), 1)
        except ReadFailedError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(attempt, range(4))) == {"no tile"}
    source.broken.clear()
    assert attempt(0) == ""


def test_what_could_not_be_read_for_now_is_not_kept(tmp_path: Path) -> None:
    pixels = np.arange(1, 64 * 64 + 1, dtype="uint16").reshape(64, 64)
    path = write_geotiff(
        tmp_path / "a.tif", pixels, crs=32633, transform=UTM, nodata=0, tiled=False, blockysize=8,
        compress="deflate",
    )  # fmt: skip
    os.truncate(path, path.stat().st_size // 2)
    layer = gx.open_raster(path, errors="skip")
    scratch, window = open_scratch(), Window(0, 0, 64, 64)
    reader = scratched(layer_reader(gx.merge({"a": layer}), "a"), "a", scratch, block=16)
    with pytest.warns(UserWarning, match="cannot be read and left out"):
        _, valid = read_window(reader, window)
    assert valid[0, 0, :16].all() and not valid[0, 0, 32:].any()
    stats = scratch.stats()
    assert (stats.made, stats.through) == (4, 12)
    with pytest.warns(UserWarning, match="cannot be read and left out"):
        _, again = read_window(reader, window)
    np.testing.assert_array_equal(again, valid)


# Bounds


def test_a_scratch_keeps_its_bound_and_reads_the_rest_through() -> None:
    source = made(Case("uint16", 7, nodata=0))
    slot = 32 * (7 * 2 + 1) * 32
    assert slot % 4096 != 0  # rounded up
    with gx.options.set(scratch_size=4096 * 2 + 4 * 16384):
        scratch = open_scratch()
    reader = scratched(source, "a", scratch, block=BLOCK)
    expected = read_window(source.source, Window(0, 0, HEIGHT, WIDTH))
    for _ in range(2):
        pixels, valid = read_window(reader, Window(0, 0, HEIGHT, WIDTH))
        np.testing.assert_array_equal(pixels, expected[0])
        np.testing.assert_array_equal(valid, expected[1])
    stats = scratch.stats()
    assert stats.made == 4
    assert (stats.hits, stats.through) == (4, 2 * 5)
    assert stats.nbytes == stats.limit
    assert os.fstat(slots_of(reader)._file.number).st_blocks * 512 <= stats.limit


def test_layers_of_one_scratch_share_its_bound() -> None:
    with gx.options.set(scratch_size=200_000):
        scratch = open_scratch()
    readers = [scratched(made(CASES[i]), str(i), scratch, block=BLOCK) for i in (0, 2, 7)]
    for reader in readers:
        read_window(reader, Window(0, 0, HEIGHT, WIDTH))
    assert os.fstat(slots_of(readers[0])._file.number).st_blocks * 512 <= 200_000
    assert scratch.stats().through > 0


def test_a_disk_that_fills_up_is_said_once_and_read_around(monkeypatch: pytest.MonkeyPatch) -> None:
    source = made(CASES[0])
    scratch = open_scratch()
    reader = scratched(source, "a", scratch, block=BLOCK)
    expected = read_window(source.source, Window(0, 0, HEIGHT, WIDTH))
    real, written = os.pwrite, [0]

    def nearly_full(file: int, data: Any, offset: int) -> int:
        written[0] += len(data)
        if written[0] > 40_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data[: max(len(data) // 2, 1)], offset)  # in parts, as the system may

    monkeypatch.setattr(os, "pwrite", nearly_full)
    with pytest.warns(UserWarning, match="takes no more after .*No space left on device"):
        pixels, valid = read_window(reader, Window(0, 0, HEIGHT, WIDTH))
    monkeypatch.undo()
    np.testing.assert_array_equal(pixels, expected[0])
    np.testing.assert_array_equal(valid, expected[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again, _ = read_window(reader, Window(0, 0, HEIGHT, WIDTH))
    np.testing.assert_array_equal(again, expected[0])
    assert 0 < scratch.stats().made < 9


def test_a_limit_of_the_system_on_files_is_met_like_a_full_disk() -> None:
    """Judge: the system itself, which refuses to let a file grow."""
    source = made(CASES[0])
    scratch = open_scratch()
    reader = scratched(source, "a", scratch, block=BLOCK)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.warns(UserWarning, match="takes no more after .*File too large"):
            pixels, _ = read_window(reader, Window(0, 0, HEIGHT, WIDTH))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    expected, _ = read_window(source.source, Window(0, 0, HEIGHT, WIDTH))
    np.testing.assert_array_equal(pixels, expected)
    assert scratch.stats().made == 3


def test_a_scratch_too_small_for_its_list_of_blocks_says_so() -> None:
    with gx.options.set(scratch_size=5000):
        scratch = open_scratch()
    with pytest.raises(ArgumentError, match=r"4\.9 KiB cannot even hold.*options\.scratch_size"):
        scratched(made(CASES[0]), "a", scratch)


def test_no_room_at_all_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(DiskFullError, match=r"No space left on device.*options\.scratch_dir"):
        open_scratch()


def test_options_of_a_scratch_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="scratch_dir must be a folder that exists"):
        gx.options.scratch_dir = tmp_path / "missing"
    with pytest.raises(ArgumentError, match="scratch_size must be a positive integer"):
        gx.options.scratch_size = 0


# Nothing left


def test_a_killed_process_leaves_nothing(temporary_folder: Path, tmp_path: Path) -> None:
    lazy(tmp_path)
    code = f"""
        import os, signal
        import geoxr as gx
        from geoxr.io.dataset import layer_reader
        from geoxr.io.reader import read_window
        from geoxr.io.scratch import open_scratch, scratched
        gx.options.scratch_dir = {str(temporary_folder)!r}
        ds = gx.merge({{"a": gx.open_raster({str(tmp_path / "source.tif")!r})}})
        scratch = open_scratch()
        reader = scratched(layer_reader(ds, "a"), "a", scratch)
        read_window(reader, gx.grid.geobox.extent(ds.geoxr.geobox))
        assert scratch.stats().made == 1
        os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not list(temporary_folder.iterdir())


def test_space_is_given_back_with_the_last_reader() -> None:
    def files() -> int:
        return sum(
            "geoxr-" in os.readlink(f"/proc/self/fd/{name}")
            for name in os.listdir("/proc/self/fd")
            if os.path.lexists(f"/proc/self/fd/{name}")
        )

    gc.collect()
    before = files()
    reader = scratched(made(CASES[0]), "a", open_scratch(), block=BLOCK)
    read_window(reader, Window(0, 0, HEIGHT, WIDTH))
    assert files() == before + 1
    del reader
    assert files() == before


# Processes


def lazy(folder: Path, seed: int = 0) -> WindowReader:
    """A reader of a file, which other processes can open."""
    rng = np.random.default_rng(seed)
    path = folder / "source.tif"
    if not path.exists() or seed:
        pixels = rng.integers(0, 9, (3, HEIGHT, WIDTH), dtype="uint16")
        write_geotiff(path, pixels, crs=32633, transform=UTM, nodata=0)
    return layer_reader(gx.merge({"a": gx.open_raster(path)}), "a")


def checksum(reader: WindowReader) -> tuple[bytes, int]:
    """Pixels of everything, and how many blocks this process made for that."""
    pixels, valid = read_window(reader, Window(0, 0, HEIGHT, WIDTH))
    table = reader.table  # type: ignore[attr-defined]
    return pixels.tobytes() + valid.tobytes(), table.made


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_share_a_scratch_without_a_name(method: str, tmp_path: Path) -> None:
    source = lazy(tmp_path)
    reader = scratched(source, "a", open_scratch(), block=BLOCK)
    half = Window(0, 0, HEIGHT, 40)
    read_window(reader, half)
    context = multiprocessing.get_context(method)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads
        with context.Pool(1) as pool:
            found, made_there = pool.apply(checksum, (reader,))
    assert made_there == 3
    pixels, valid = read_window(source, Window(0, 0, HEIGHT, WIDTH))
    assert found == pixels.tobytes() + valid.tobytes()
    assert checksum(reader) == (found, 6)


def test_two_processes_fill_one_scratch_at_the_same_time(tmp_path: Path) -> None:
    source = lazy(tmp_path)
    reader = scratched(source, "a", open_scratch(tmp_path / "kept"), block=8)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(checksum, [reader] * 2, chunksize=1)
    pixels, valid = read_window(source, Window(0, 0, HEIGHT, WIDTH))
    assert {one for one, _ in found} == {pixels.tobytes() + valid.tobytes()}
    number = -(-HEIGHT // 8) * -(-WIDTH // 8)
    assert checksum(reader)[1] == 0
    assert slots_of(reader).nbytes == 4096 * (1 + 1 + number)


def test_a_reader_is_small_in_a_pickle_and_the_same_in_its_process(tmp_path: Path) -> None:
    reader = scratched(lazy(tmp_path), "a", open_scratch(), block=BLOCK)
    checksum(reader)
    sent = pickle.dumps(reader)
    assert len(sent) < len(pickle.dumps(lazy(tmp_path))) + 1000
    assert pickle.loads(sent).table is reader.table  # type: ignore[attr-defined]


def test_a_scratch_that_is_gone_is_named(tmp_path: Path) -> None:
    reader = scratched(lazy(tmp_path), "a", open_scratch(), block=BLOCK)
    sent = pickle.dumps(reader)
    del reader
    gc.collect()
    with pytest.raises(ReadFailedError, match=r"cannot be opened.*one without a name is gone"):
        pickle.loads(sent)
    another = open_scratch()  # the system gives it the number of the one that was closed
    with pytest.raises(ReadFailedError, match="has gone, and something else is there"):
        pickle.loads(sent)
    assert another.stats().nbytes == 4096


def test_a_fork_while_a_thread_writes_does_not_hang() -> None:
    source = Watched(made(CASES[0]).source, pause=0.3)
    reader = scratched(source, "a", open_scratch(), block=BLOCK)
    worker = threading.Thread(target=read_window, args=(reader, Window(0, 0, 30, 30)))
    worker.start()
    time.sleep(0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.alarm(20)
        read_window(reader, Window(0, 0, 30, 30))
        os._exit(7)
    worker.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_child_waits_while_its_parent_writes() -> None:
    slots = slots_of(scratched(made(CASES[0]), "a", open_scratch(), block=BLOCK))
    ours, theirs = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with slots.locked():
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                with slots.locked():
                    os.write(theirs, b"x")
                os._exit(7)
            os.set_blocking(ours, False)
            time.sleep(0.2)
            with pytest.raises(BlockingIOError, match="unavailable"):
                os.read(ours, 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert os.read(ours, 1) == b"x"
    os.close(ours)
    os.close(theirs)


# Kept


def test_a_kept_scratch_is_used_again_without_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = lazy(tmp_path)
    first = checksum(scratched(source, "a", open_scratch(tmp_path / "kept"), block=BLOCK))
    gc.collect()
    again = Watched(source)
    monkeypatch.setattr("geoxr.io.scratch.fingerprint", fingerprint_of(source))
    scratch = open_scratch(tmp_path / "kept")
    assert checksum(scratched(again, "a", scratch, block=BLOCK)) == (first[0], 0)
    assert not again.asked
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"blocks.raw", "manifest.json"}


def fingerprint_of(reader: WindowReader) -> Any:
    from geoxr.io.tokens import fingerprint

    return lambda parts, *, instead: fingerprint(reader, instead=instead)


def test_blocks_of_a_file_that_changed_are_refused(tmp_path: Path) -> None:
    where = tmp_path / "kept"
    checksum(scratched(lazy(tmp_path), "a", open_scratch(where), block=BLOCK))
    changed = lazy(tmp_path, seed=5)
    with pytest.raises(
        OutputExistsError, match=r"another 'a': its files were changed.*remove this"
    ):
        scratched(changed, "a", open_scratch(where), block=BLOCK)
    assert checksum(scratched(changed, "b", open_scratch(where), block=BLOCK))[1] == 9


def test_blocks_of_another_grid_are_refused_and_the_grid_named(tmp_path: Path) -> None:
    where = tmp_path / "kept"
    scratched(lazy(tmp_path), "a", open_scratch(where), block=BLOCK)
    layer = gx.open_raster(tmp_path / "source.tif")
    for change, what in (
        (layer.isel(x=slice(0, 50)), r"grid was 70 x 90 EPSG:32633 .* and is 70 x 50"),
        (layer.isel(band=[2, 0]), r"bands was \['1', '2', '3'\] and is \['3', '1'\]"),
        (layer.geoxr.write_nodata(3), r"nodata was 0 and is 3"),
    ):
        reader = layer_reader(gx.merge({"a": change}), "a")
        with pytest.raises(OutputExistsError, match=what):
            scratched(reader, "a", open_scratch(where), block=BLOCK)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="holds something else"):
        open_scratch(other)
    (other / "notes.txt").rename(other / "blocks.raw")
    with pytest.raises(OutputExistsError, match="no scratch of this version"):
        open_scratch(other)
    assert (other / "blocks.raw").read_text() == "mine"
    with pytest.raises(MissingFileError, match="does not exist; make it"):
        open_scratch(tmp_path / "missing" / "kept")


def test_what_a_power_failure_may_have_lost_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine goes down after the list of blocks was written, and some of the blocks were not."""
    where, source = tmp_path / "kept", lazy(tmp_path)
    reader = scratched(source, "a", open_scratch(where), block=BLOCK)
    read_window(reader, Window(0, 0, HEIGHT, 40))
    del reader  # sealed: on the disk
    gc.collect()
    reader = scratched(source, "a", open_scratch(where), block=BLOCK)
    sealed = slots_of(reader).nbytes
    read_window(reader, Window(0, 0, HEIGHT, WIDTH))
    end = slots_of(reader).nbytes
    assert sealed < end
    with open(where / "blocks.raw", "r+b") as file:
        file.seek(sealed)
        file.write(bytes(end - sealed))
    monkeypatch.setattr(slots_module, "_seal", lambda file: None)
    del reader
    gc.collect()
    monkeypatch.undo()
    monkeypatch.setattr(slots_module, "_BOOT", b"another run of the machine")
    reader = scratched(source, "a", open_scratch(where), block=BLOCK)
    assert slots_of(reader).nbytes == sealed
    pixels, valid = read_window(source, Window(0, 0, HEIGHT, WIDTH))
    assert checksum(reader) == (pixels.tobytes() + valid.tobytes(), 3)


def test_a_file_cut_from_outside_is_named(tmp_path: Path) -> None:
    reader = scratched(lazy(tmp_path), "a", open_scratch(tmp_path / "kept"), block=BLOCK)
    checksum(reader)
    os.truncate(tmp_path / "kept" / "blocks.raw", 9000)
    with pytest.raises(ReadFailedError, match="ends too early"):
        checksum(reader)


class Odd:
    """Something that dask has no token for."""

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return pixels

    def __reduce__(self) -> Any:
        raise TypeError("it does not pickle")


def test_layers_that_cannot_be_recognised_are_not_kept(tmp_path: Path) -> None:
    source = Watched(lazy(tmp_path), asked=[Odd()])  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match=r'could not be recognised.*cache="disk"'):
        scratched(source, "a", open_scratch(tmp_path / "kept"))
    assert isinstance(scratched(source, "a", open_scratch()), Scratched)


def test_dask_arrays_are_computed_once(tmp_path: Path) -> None:
    lazy(tmp_path)
    layer = gx.open_raster(tmp_path / "source.tif").chunk(x=40, y=40)
    source = layer_reader(xr.Dataset({"a": layer}), "a")
    assert isinstance(source, ArrayReader) and isinstance(source.pixels, Indexed)
    scratch = open_scratch()
    reader = scratched(source, "a", scratch, block=BLOCK)
    assert checksum(reader) == checksum(reader)
    assert scratch.stats().made == 9

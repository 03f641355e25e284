"""Pieces of one read in several threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.errors import ReadFailedError
from geoxr.grid.window import Window
from geoxr.io.parallel import SQUARE, read_in_threads, run_all

GRID = GeoBox((SQUARE + 300, SQUARE + 500), Affine(10, 0, 5e5, 0, -10, 5.2e6), "EPSG:32633")


@dataclass
class Counting:
    """Pixels count themselves; notes which thread read what."""

    geobox: GeoBox = GRID
    fail: bool = False
    threads: list[str] = field(default_factory=list)

    def read(self, window, out, valid, *, bands, times, step=1):
        self.threads.append(threading.current_thread().name)
        if self.fail:
            raise ReadFailedError("broken")
        rows, cols = np.ogrid[window.slices]
        out[...] = rows * self.geobox.width + cols
        if valid is not None:
            valid[...] = cols % 2 == 0


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_reads_the_same(threads: int) -> None:
    reader, window = Counting(), Window(100, 200, SQUARE + 150, SQUARE + 250)
    shape = 1, 1, window.height, window.width
    out, valid = np.zeros(shape, "int64"), np.zeros(shape, bool)
    with gx.options.set(threads=threads):
        read_in_threads(reader, window, out, valid, bands=(0,), times=(0,))
    rows, cols = np.ogrid[window.slices]
    np.testing.assert_array_equal(out[0, 0], rows * GRID.width + cols)
    np.testing.assert_array_equal(valid[0, 0], np.broadcast_to(cols % 2 == 0, out[0, 0].shape))
    assert len(reader.threads) == (1 if threads == 1 else 4)
    assert len(set(reader.threads)) <= threads
    assert {name for name in reader.threads if "geoxr-read" not in name} <= {"MainThread"}


def test_threads_of_others_are_not_multiplied() -> None:
    reader, window = Counting(), Window(0, 0, *GRID.shape)
    out = np.zeros((1, 1, *GRID.shape), "int64")
    other = threading.Thread(
        target=lambda: read_in_threads(reader, window, out, None, bands=(0,), times=(0,)),
        name="other",
    )
    other.start()
    other.join()
    assert reader.threads == ["other"]
    assert out[0, 0, -1, -1] == GRID.height * GRID.width - 1


def test_an_error_in_a_thread_reaches_the_caller_and_ends_the_read() -> None:
    reader, grid = Counting(fail=True), GeoBox((20 * SQUARE, 10), GRID.affine, GRID.crs)
    out = np.broadcast_to(np.int64(0), (1, 1, *grid.shape))
    with gx.options.set(threads=2), pytest.raises(ReadFailedError, match="broken"):
        read_in_threads(reader, Window(0, 0, *grid.shape), out, None, bands=(0,), times=(0,))
    assert len(reader.threads) <= 2


def test_a_layer_is_the_same_for_any_number_of_threads(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 1000, GRID.shape).astype("uint16")
    path = tmp_path / "a.tif"
    gx.testing.write_geotiff(path, pixels, crs="EPSG:32633", transform=GRID.affine)
    layer = gx.open_raster(path, crs="EPSG:3035", resampling="bilinear")
    with gx.options.set(threads=1):
        expected = layer.values
    with gx.options.set(threads=4):
        np.testing.assert_array_equal(layer.values, expected)


def test_the_main_thread_gets_help_and_others_do_not_need_it() -> None:
    done: list[tuple[int, int]] = []

    def job(number: int) -> None:
        done.append((number, threading.get_ident()))
        time.sleep(0.001)

    with gx.options.set(threads=3):
        run_all(job, range(50))
        assert sorted(number for number, _ in done) == list(range(50))
        assert 1 < len({thread for _, thread in done}) <= 3
        done.clear()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(run_all, job, range(50)).result()
        assert len({thread for _, thread in done}) == 1
    run_all(job, [])


def test_the_first_error_ends_the_work() -> None:
    def fail(number: int) -> None:
        raise ValueError(f"tile {number}")

    with pytest.raises(ValueError, match="tile"):
        run_all(fail, range(1000))


def test_a_part_of_what_is_helped_with_gets_no_more_help() -> None:
    threads: set[int] = set()

    def part(number: int) -> None:
        threads.add(threading.get_ident())
        time.sleep(0.001)

    with gx.options.set(threads=3):
        run_all(lambda _: run_all(part, range(20)), range(20))
    assert 1 < len(threads) <= 3

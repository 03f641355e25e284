"""Large reads in several threads."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.errors import ReadFailedError
from geoxr.grid.window import Window
from geoxr.io.parallel import SQUARE, read_in_threads

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
    assert all(("geoxr-read" in name) == (threads > 1) for name in reader.threads)


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


def test_an_error_in_a_thread_reaches_the_caller_and_leaves_none_behind() -> None:
    out = np.zeros((1, 1, *GRID.shape), "int64")
    with gx.options.set(threads=2), pytest.raises(ReadFailedError, match="broken"):
        read_in_threads(
            Counting(fail=True), Window(0, 0, *GRID.shape), out, None, bands=(0,), times=(0,)
        )
    assert not [t for t in threading.enumerate() if t.name.startswith("geoxr-read")]


def test_a_layer_is_the_same_for_any_number_of_threads(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 1000, GRID.shape).astype("uint16")
    path = tmp_path / "a.tif"
    gx.testing.write_geotiff(path, pixels, crs="EPSG:32633", transform=GRID.affine)
    layer = gx.open_raster(path, crs="EPSG:3035", resampling="bilinear")
    with gx.options.set(threads=1):
        expected = layer.values
    with gx.options.set(threads=4):
        np.testing.assert_array_equal(layer.values, expected)

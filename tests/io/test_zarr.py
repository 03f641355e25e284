"""Zarr arrays through tensorstore and zarr-python."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import geoxr as gx
from geoxr.grid.window import Window
from geoxr.io import zarr as module
from geoxr.io.zarr import Axis, StoredArray

AXES = (Axis("band", (0, 1, 2)), Axis("y", 0), Axis("x", 0))
BANDS = (0, 1, 2)


@pytest.fixture(params=["tensorstore", "zarr-python"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Read through each of the two; arrays that are open are forgotten."""
    monkeypatch.setattr(module, "_processes", {})
    if request.param == "zarr-python":
        monkeypatch.setattr(module, "_has_tensorstore", lambda: False)
    yield request.param
    opened = [type(array).__name__ for table in module._processes.values()
              for array in table.arrays.values()]  # fmt: skip
    expected = "_Tensorstore" if request.param == "tensorstore" else "_Zarr"
    assert set(opened) <= {expected}


def pixels(dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (3, 70, 90)).astype(dtype) * np.arange(
        90, dtype="uint8"
    ).astype(dtype)


def written(path: Path, array: np.ndarray, **options: Any) -> StoredArray:
    options = {"chunks": (3, 16, 16), "zarr_format": 3, "fill_value": 0, **options}
    store = zarr.create_array(path, shape=array.shape, dtype=array.dtype, **options)
    store[...] = array
    return StoredArray.at(str(path), options["zarr_format"], AXES, array.dtype)


@pytest.mark.parametrize(("dtype", "options"), [
    ("uint16", {}),
    ("bool", {}),
    ("float32", {"shards": (3, 32, 48)}),
    ("int16", {"zarr_format": 2}),
    ("float64", {"zarr_format": 2, "order": "F"}),
    ("uint64", {"compressors": (zarr.codecs.GzipCodec(),)}),
    ("uint8", {"compressors": None}),
])  # fmt: skip
def test_parts_are_those_of_numpy(
    tmp_path: Path, engine: str, dtype: str, options: dict[str, Any]
) -> None:
    array = pixels(dtype)
    stored = written(tmp_path / "a.zarr", array, **options)
    part = stored.take(Window(3, 5, 40, 60), BANDS, (0,), 1)
    assert part.shape == (1, 3, 40, 60)
    assert part.dtype == dtype
    np.testing.assert_array_equal(part[0], array[:, 3:43, 5:65])
    part = stored.take(Window(10, 11, 41, 53), (2, 0, 2), (0,), 3)
    np.testing.assert_array_equal(part[0], array[[2, 0, 2], 10:51:3, 11:64:3])


def test_axes_may_be_picked_and_moved(tmp_path: Path, engine: str) -> None:
    array = np.arange(2 * 5 * 20 * 30, dtype="int32").reshape(20, 2, 30, 5)
    written(tmp_path / "a.zarr", array, chunks=(8, 1, 8, 2))
    axes = (Axis("x", 4), Axis(None, 1), Axis("y", 7), Axis("time", (3, 0)))
    stored = StoredArray.at(str(tmp_path / "a.zarr"), 3, axes, array.dtype)
    part = stored.take(Window(1, 2, 6, 5), (0,), (1, 0), 1)
    expected = array[6:11, 1, 8:14][..., [0, 3]].transpose(2, 1, 0)
    np.testing.assert_array_equal(part[:, 0], expected)


def test_chunks_never_written_hold_the_fill_value(tmp_path: Path, engine: str) -> None:
    store = zarr.create_array(
        tmp_path / "a.zarr", shape=(3, 70, 90), chunks=(3, 16, 16), dtype="int16", fill_value=-7
    )
    store[:, :16, :16] = 1
    stored = StoredArray.at(str(tmp_path / "a.zarr"), 3, AXES, np.dtype("int16"))
    part = stored.take(Window(10, 10, 10, 10), (0,), (0,), 1)
    assert part[0, 0, :6, :6].min() == 1
    assert (part[0, 0, 6:] == -7).all()


@pytest.mark.parametrize("shards", [None, (3, 32, 48)])
def test_a_damaged_chunk_names_file_and_window(
    tmp_path: Path, engine: str, shards: tuple[int, ...] | None
) -> None:
    stored = written(tmp_path / "a.zarr", pixels(), shards=shards)
    chunk = tmp_path / "a.zarr" / "c" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(gx.errors.ReadFailedError, match=r"a\.zarr: rows 2-12, columns 4-9"):
        stored.take(Window(2, 4, 10, 5), BANDS, (0,), 1)


@pytest.mark.parametrize("before", [False, True])
def test_a_store_that_is_gone_or_made_anew_is_told(
    tmp_path: Path, engine: str, before: bool
) -> None:
    stored = written(tmp_path / "a.zarr", pixels())
    if before:
        stored.take(Window(0, 0, 2, 2), BANDS, (0,), 1)
    shutil.rmtree(tmp_path / "a.zarr")
    with pytest.raises(gx.errors.ReadFailedError, match=r"a\.zarr was changed or removed"):
        stored.take(Window(0, 0, 2, 2), BANDS, (0,), 1)
    again = written(tmp_path / "a.zarr", pixels()[:, :60] + 1)
    with pytest.raises(gx.errors.ReadFailedError, match=r"a\.zarr was changed or removed"):
        stored.take(Window(0, 0, 2, 2), BANDS, (0,), 1)
    np.testing.assert_array_equal(again.take(Window(0, 0, 9, 9), BANDS, (0,), 1)[0],
                                  pixels()[:, :9, :9] + 1)  # fmt: skip


def test_chunks_written_after_a_read_are_seen(tmp_path: Path, engine: str) -> None:
    stored = written(tmp_path / "a.zarr", pixels())
    stored.take(Window(0, 0, 9, 9), BANDS, (0,), 1)
    zarr.open_array(tmp_path / "a.zarr", mode="r+")[...] = 77
    assert (stored.take(Window(0, 0, 9, 9), BANDS, (0,), 1) == 77).all()


def test_codecs_that_tensorstore_lacks_go_through_zarr_python(tmp_path: Path) -> None:
    import numcodecs

    array = pixels("int16")
    stored = written(
        tmp_path / "a.zarr", array, zarr_format=2, filters=[numcodecs.Delta("int16")]
    )  # fmt: skip
    part = stored.take(Window(3, 5, 40, 60), BANDS, (0,), 1)
    np.testing.assert_array_equal(part[0], array[:, 3:43, 5:65])


def test_threads_share_one_array(tmp_path: Path, engine: str) -> None:
    array = pixels()
    stored = written(tmp_path / "a.zarr", array)
    wrong: list[Window] = []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(10):
            row, col = (int(n) for n in rng.integers(0, 50, 2))
            part = stored.take(Window(row, col, 20, 30), BANDS, (0,), 1)
            if not np.array_equal(part[0], array[:, row : row + 20, col : col + 30]):
                wrong.append(Window(row, col, 20, 30))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sum(len(table.arrays) for table in module._processes.values()) == 1


def test_no_more_arrays_are_kept_open_than_allowed(tmp_path: Path, engine: str) -> None:
    stored = [written(tmp_path / f"{i}.zarr", pixels() + i) for i in range(5)]
    with gx.options.set(open_files=2):
        for _ in range(2):
            for i, array in enumerate(stored):
                part = array.take(Window(0, 1, 1, 1), (0,), (0,), 1)
                assert part.item() == pixels()[0, 0, 1] + i
    assert sum(len(table.arrays) for table in module._processes.values()) == 2


def test_an_array_pickles_small(tmp_path: Path, engine: str) -> None:
    stored = written(tmp_path / "a.zarr", pixels())
    stored.take(Window(0, 0, 2, 2), BANDS, (0,), 1)
    data = pickle.dumps(stored)
    assert len(data) < 1000
    assert pickle.loads(data) == stored


def _sum(stored: StoredArray, answers: Any) -> None:
    answers.put(int(stored.take(Window(3, 5, 40, 60), BANDS, (0,), 1).sum()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
def test_arrays_are_read_after_fork_and_spawn(tmp_path: Path, method: str) -> None:
    array = pixels()
    stored = written(tmp_path / "a.zarr", array)
    expected = array[:, 3:43, 5:65].sum()
    assert stored.take(Window(3, 5, 40, 60), BANDS, (0,), 1).sum() == expected
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    children = [context.Process(target=_sum, args=(stored, answers)) for _ in range(2)]
    for child in children:
        child.start()
    found = [answers.get(timeout=60) for _ in children]
    for child in children:
        child.join(timeout=60)
    assert found == [expected] * 2
    assert [child.exitcode for child in children] == [0, 0]
    assert stored.take(Window(3, 5, 40, 60), BANDS, (0,), 1).sum() == expected

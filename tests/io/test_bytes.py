"""Positional reads of local files."""

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import geoxr as gx
from geoxr.io.bytes import LocalFile, open_local, stamp_of


def test_bytes_are_those_at_their_position(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10
    (tmp_path / "a").write_bytes(data)
    file = LocalFile(str(tmp_path / "a"))
    assert file.read(300, 20) == data[300:320]
    memory = np.zeros(40, "uint16")
    file.read_into(7, memory[3:33])
    assert memory[3:33].tobytes() == data[7:67]
    assert not memory[:3].any()
    for read in (lambda: file.read(2550, 11), lambda: file.read_into(2550, np.empty(11, "uint8"))):
        with pytest.raises(OSError, match="the file ends at byte 2560 of 2561"):
            read()


def open_descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors")
def test_few_files_stay_open_and_none_is_closed_while_it_is_read(tmp_path: Path) -> None:
    paths = [str(tmp_path / str(i)) for i in range(50)]
    for i, path in enumerate(paths):
        Path(path).write_bytes(bytes([i]) * 1000)
    stamps = [stamp_of(path) for path in paths]

    def check(i: int) -> bool:
        file = open_local(paths[i % 50], stamps[i % 50])
        return all(file.read(at, 10) == bytes([i % 50]) * 10 for at in range(0, 990, 50))

    with gx.options.set(open_files=3):
        check(0)
        before = open_descriptors()
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(check, range(2000)))
        assert open_descriptors() <= before + 3


def test_another_file_under_the_name_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    Path(path).write_bytes(b"one")
    stamp = stamp_of(path)
    assert open_local(path, stamp).read(0, 3) == b"one"
    Path(path).unlink()
    with pytest.raises(
        gx.errors.ReadFailedError, match="was changed or removed after it was opened"
    ):
        open_local(path, stamp)
    Path(path).write_bytes(b"three")
    assert open_local(path, stamp_of(path)).read(0, 5) == b"three"

"""A few options that hold for the whole process.

Examples
--------
>>> import geoxr as gx
>>> with gx.options.set(max_read=2_000_000):
...     gx.options.max_read
2000000
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from geoxr.errors import ArgumentError


def _available_memory() -> int:
    """Memory that can be had without swapping [bytes]."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 8 << 30


@dataclass
class Options:
    """Options of the process; set them as attributes or for a while with `set`.

    Attributes
    ----------
    max_read : int or None [bytes]
        Largest single read that xarray may trigger on a lazy layer. None stands for half of the
        memory that is available at the time of the read.
    lattice_cache : int [bytes]
        Memory for the coordinates of warped grids.
    threads : int or None
        Threads that a large read of a lazy layer is split over. None stands for all cores.
    tile_cache : int [bytes]
        Memory for decoded tiles of compressed files, and for blocks that chips of an overlapping
        grid share, for all threads.
    chunk_cache : int [bytes]
        Memory for decoded chunks of Zarr stores; counts for stores that are opened afterwards.
    open_files : int
        Files the process keeps open for positional reads, and each thread through GDAL.
    scratch_size : int or None [bytes]
        What a scratch on disk may grow to. None stands for half of the space that is free where it
        is made.
    scratch_dir : str, path or None
        Folder for a scratch without a name. None stands for that of temporary files: the environment
        variable TMPDIR, else /tmp. On some systems that is a tmpfs, which takes memory; choose a
        folder on a disk there.
    """

    max_read: int | None = None
    lattice_cache: int = 64 << 20
    threads: int | None = None
    tile_cache: int = 256 << 20
    chunk_cache: int = 256 << 20
    open_files: int = 64
    scratch_size: int | None = None
    scratch_dir: str | os.PathLike[str] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        names = [field.name for field in fields(self)]
        if name not in names:
            raise ArgumentError(f"There is no option {name!r}. The options are {', '.join(names)}.")
        if name == "scratch_dir":
            if value is not None and not os.path.isdir(value):
                raise ArgumentError(
                    f"Option scratch_dir must be a folder that exists, not {value!r}."
                )
        elif not (value is None and name in ("max_read", "threads", "scratch_size")) and not (
            isinstance(value, int) and not isinstance(value, bool) and value > 0
        ):
            raise ArgumentError(f"Option {name} must be a positive integer, not {value!r}.")
        super().__setattr__(name, value)

    @contextmanager
    def set(self, **values: int | str | os.PathLike[str] | None) -> Iterator[Options]:
        """Set options inside a ``with`` block and restore them afterwards."""
        before = {name: getattr(self, name, None) for name in values}
        try:
            for name, value in values.items():
                setattr(self, name, value)
            yield self
        finally:
            for name, value in before.items():
                if hasattr(self, name):
                    setattr(self, name, value)

    def thread_count(self) -> int:
        """Threads for a large read."""
        return self.threads or len(os.sched_getaffinity(0))

    def read_limit(self) -> int:
        """Largest single read at this moment [bytes]."""
        return _available_memory() // 2 if self.max_read is None else self.max_read


def format_bytes(size: int) -> str:
    """Write a number of bytes in a unit that suits it.

    Examples
    --------
    >>> format_bytes(1_500_000), format_bytes(12), format_bytes(3 << 40)
    ('1.4 MiB', '12 bytes', '3,072.0 GiB')
    """
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}"
    return f"{size} bytes"


options = Options()

"""Positional reads of files: what a reader of bytes offers, and local files behind it.

Nothing here knows about rasters. Another store, such as one reached by network, needs the two methods
of `ReadAt`.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeAlias

import numpy as np

from geoxr.errors import ReadFailedError
from geoxr.options import options

#: When a file was written [ns since 1970] and its size [bytes]; zeros where nobody knows.
Stamp: TypeAlias = tuple[int, int]

#: Whether this system can read at a position without moving a file pointer that threads share.
POSITIONAL = hasattr(os, "preadv")


class Total:
    """A number that threads add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def add(self, number: int) -> None:
        """Count on."""
        with self._lock:
            self.value += number


#: Bytes this process has read from files by position; what GDAL reads is not among them.
bytes_read = Total()


class ReadAt(Protocol):
    """Bytes of one file by their position; safe under threads."""

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on.

        Raises
        ------
        OSError
            If they are not all there.
        """
        ...

    def read_into(self, offset: int, memory: np.ndarray) -> None:
        """Fill contiguous `memory` with the bytes from `offset` on.

        Raises
        ------
        OSError
            If they are not all there.
        """
        ...


class LocalFile:
    """A local file that stays open as long as somebody holds this object."""

    __slots__ = ("_close", "descriptor")

    def __init__(self, path: str) -> None:
        self._close = os.close  # the module may be gone when the interpreter ends
        #: Number of the open file, for compiled reads.
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            self._close(self.descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on."""
        data = os.pread(self.descriptor, size, offset)
        if len(data) == size:
            bytes_read.add(size)
            return data
        memory = np.empty(size, "uint8")
        self.read_into(offset, memory)
        return memory.tobytes()

    def read_into(self, offset: int, memory: np.ndarray) -> None:
        """Fill contiguous `memory` with the bytes from `offset` on."""
        size = memory.nbytes
        bytes_read.add(size)
        done = os.preadv(self.descriptor, [memory], offset)  # type: ignore[list-item]
        if done == size:
            return
        left = memory.reshape(-1).view("uint8")
        while done < size:  # the kernel hands out at most 2 GiB at once
            rest = left[done:]
            count = os.preadv(self.descriptor, [rest], offset + done)  # type: ignore[list-item]
            if count == 0:
                raise OSError(f"the file ends at byte {offset + done} of {offset + size}")
            done += count


def stamp_of(path: str) -> Stamp:
    """When a local file was written, and its size; zeros if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


#: Files that were found unchanged, where looking once is enough.
_unchanged: ContextVar[set[tuple[str, Stamp]] | None] = ContextVar("unchanged", default=None)


@contextmanager
def looking_once() -> Iterator[None]:
    """Look once whether a file is the one that was opened, not at every read in this context."""
    token = _unchanged.set(set())
    try:
        yield
    finally:
        _unchanged.reset(token)


def check_unchanged(path: str, stamp: Stamp) -> None:
    """Raise if a file is not the one that was opened.

    Raises
    ------
    ReadFailedError
        If it has gone, or was written since.
    """
    seen = _unchanged.get()
    if seen is not None and (path, stamp) in seen:
        return
    if stamp_of(path) != stamp:
        raise ReadFailedError(
            f"{path} was changed or removed after it was opened. Open the layer again."
        )
    if seen is not None:
        seen.add((path, stamp))


class _OpenFiles:
    """Local files of this process, the least recently used dropped first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.files: OrderedDict[tuple[str, Stamp], LocalFile] = OrderedDict()

    def get(self, path: str, stamp: Stamp) -> LocalFile:
        key = path, stamp
        with self.lock:
            file = self.files.get(key)
            if file is not None:
                self.files.move_to_end(key)
                return file
        file = LocalFile(path)
        with self.lock:
            self.files[key] = file
            while len(self.files) > options.open_files:
                # A thread that reads from it keeps it open until it is done.
                self.files.popitem(last=False)
        return file


_open_files = _OpenFiles()


def open_local(path: str, stamp: Stamp) -> ReadAt:
    """Return a local file that is the one `stamp` was taken of.

    Raises
    ------
    ReadFailedError
        If it has gone, was written since, or cannot be opened.
    """
    check_unchanged(path, stamp)
    try:
        return _open_files.get(path, stamp)
    except OSError as error:
        raise ReadFailedError(f"{path} cannot be opened ({error.strerror}).") from error


def _after_fork() -> None:
    # Another thread of the parent may have held the lock. Descriptors are shared with the parent
    # without harm, since positional reads move no file pointer.
    _open_files.lock = threading.Lock()
    bytes_read.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

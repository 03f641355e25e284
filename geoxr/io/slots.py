"""A file that grows by slots, which threads and processes fill and read at the same time.

All that is written is written under a lock of the file, in an order that leaves nothing half said:
first the bytes of a slot, then the end of the file, then the entry of a table that leads there. Who
finds an entry may read its slot without a lock, since a slot never changes.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import tempfile
import threading
import warnings
import weakref
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from geoxr.errors import ArgumentError, OutputExistsError, ReadFailedError
from geoxr.io.bytes import POSITIONAL
from geoxr.options import format_bytes

if sys.platform != "win32":
    import fcntl

#: Slots start at multiples of this [bytes].
_PAGE = 4096
#: What the first page begins with.
_HEADER = struct.Struct("<8s16sqqq36s")
_MAGIC = b"geoxrsl1"
#: What a table begins with: the table before it (0: none) and the number of its entries.
_TABLE = struct.Struct("<qq")
#: One entry: where the slot is, 0 where there is none yet.
_ENTRY = struct.Struct("<q")


class _Header(NamedTuple):
    """Which file, end of the last slot, end of what survives a power failure, last table, boot."""

    identity: bytes
    end: int
    sealed: int
    tables: int
    boot: bytes


class _File:
    """A file descriptor that is closed with the last object that holds it."""

    __slots__ = ("_close", "number")

    def __init__(self, number: int) -> None:
        self._close = os.close  # the module may be gone when the interpreter ends
        self.number = number

    def __del__(self) -> None:
        self._close(self.number)


class Slots:
    """One such file; `create` makes one without a name, `keep` one that stays.

    Sent to another process it is the same file there. A file without a name is gone with the last
    process that has it open, however that ends.

    Parameters
    ----------
    path : str
        Where any process of this machine finds it while it is open here.
    file : int
        Its descriptor, which is taken over.
    limit : int [bytes]
        What this process lets it grow to.
    kept : bool
        Whether it has a name.
    """

    def __init__(self, path: str, file: int, limit: int, *, kept: bool) -> None:
        self.path, self.limit, self._kept = path, limit, kept
        self._file = _File(file)
        self._reset()
        #: Whether nothing more fits, so that nobody need try.
        self.full = False

    def _reset(self) -> None:
        self._thread_lock = threading.Lock()
        self._lock_file = self._file

    @classmethod
    def create(cls, folder: str, limit: int) -> Slots:
        """Make a file that has no name in `folder`.

        Raises
        ------
        ArgumentError
            If this system lacks what it takes.
        OSError
            If it cannot be made there.
        """
        check_system()
        file, name = tempfile.mkstemp(prefix="geoxr-", suffix=".scratch", dir=folder)
        if os.path.isdir("/proc/self/fd"):
            os.unlink(name)
            path = f"/proc/{os.getpid()}/fd/{file}"
        else:
            path = name
        slots = cls(path, file, limit, kept=False)
        if path == name:
            weakref.finalize(slots, _remove, name, os.getpid())
        with slots.locked():
            slots._start()
        return _registered(slots)

    @classmethod
    def keep(cls, path: str, limit: int) -> Slots:
        """Open a file by its name, or make it.

        What was written shortly before the machine went down, and may not be on the disk, is
        forgotten.

        Raises
        ------
        ArgumentError
            If this system lacks what it takes.
        OutputExistsError
            If the file is something else.
        OSError
            If it cannot be opened or made.
        """
        check_system()
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        slots = cls(path, file, limit, kept=True)
        with slots.locked():
            if os.fstat(file).st_size == 0:
                slots._start()
            elif slots._header().boot != _BOOT.ljust(36, b"\0"):
                slots._rewind()
        known = _registered(slots)
        if known is slots:
            weakref.finalize(slots, _seal_quietly, slots._file, path)
        known.limit = limit
        return known

    @cached_property
    def identity(self) -> bytes:
        """What tells this file from others, also from later ones in the same place."""
        return self._header().identity

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.identity, self.limit, self._kept)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all other threads and processes from writing."""
        with self._thread_lock:
            number = self._lock_file.number
            try:
                fcntl.flock(number, fcntl.LOCK_EX)
                yield
            finally:
                fcntl.flock(number, fcntl.LOCK_UN)

    @property
    def nbytes(self) -> int:
        """Size of all slots and tables so far [bytes]."""
        return self._header().end

    @property
    def empty(self) -> bool:
        """Whether there is no table yet."""
        return self._header().tables == 0

    def _start(self) -> None:
        self._put(_Header(os.urandom(16), _PAGE, _PAGE, 0, _BOOT))

    def _header(self) -> _Header:
        data = os.pread(self._file.number, _HEADER.size, 0)
        magic = data[:8]
        if magic != _MAGIC or len(data) < _HEADER.size:
            raise OutputExistsError(
                f"{self.path} is no scratch of this version of geoxr. Remove it, or choose another "
                f"place."
            )
        return _Header(*_HEADER.unpack(data)[1:])

    def _put(self, header: _Header) -> None:
        _write(self._file.number, _HEADER.pack(_MAGIC, *header), 0)

    def _rewind(self) -> None:
        """Forget what was not sealed when the machine went down."""
        header, number = self._header(), self._file.number
        table = header.tables
        while table:
            before, size = _TABLE.unpack(os.pread(number, _TABLE.size, table))
            start = table + _TABLE.size
            entries = np.frombuffer(_read(number, size * _ENTRY.size, start), "<i8").copy()
            entries[entries >= header.sealed] = 0
            _write(number, entries, start)
            table = before
        os.ftruncate(number, header.sealed)
        self._put(header._replace(end=header.sealed, boot=_BOOT))

    def reserve(self, size: int) -> int:
        """Make a table of `size` empty entries and return where it is; under the lock.

        Raises
        ------
        ArgumentError
            If it does not fit into the limit.
        OSError
            If the disk is full.
        """
        header, number = self._header(), self._file.number
        end = header.end + _whole(_TABLE.size + size * _ENTRY.size)
        if end > self.limit:
            raise ArgumentError(
                f"A scratch of {format_bytes(self.limit)} cannot even hold the list of its blocks "
                f"({format_bytes(end)}). Give it more: gx.options.scratch_size = ..."
            )
        # A writer that was killed may have left something there.
        os.ftruncate(number, header.end)
        os.ftruncate(number, end)
        _write(number, _TABLE.pack(header.tables, size), header.end)
        self._put(header._replace(end=end, tables=header.end))
        if self._kept:
            _seal(number)
        return header.end

    def add(self, table: int, number: int, record: np.ndarray) -> int:
        """Write a slot, unless another process did, and return where it is; 0 if it does not fit.

        Parameters
        ----------
        table : int
            From `reserve`.
        number : int
            Of the entry in the table.
        record : uint8 array, contiguous
        """
        entry, file = _place(table, number), self._file.number
        with self.locked():
            there = self._entry(entry)
            if there or self.full:
                return there
            header = self._header()
            end = header.end + _whole(record.nbytes)
            if end > self.limit:
                self.full = True
                return 0
            try:
                _write(file, record, header.end)
                if self._kept and not _BOOT:
                    os.fsync(file)
                self._put(header._replace(end=end))
                _write(file, _ENTRY.pack(header.end), entry)
            except OSError as error:
                self.full = True
                warnings.warn(
                    f"The scratch {self.path} takes no more after {format_bytes(header.end)} "
                    f"({error.strerror}). What is not in it is read from its source each time.",
                    stacklevel=2,
                )
                return 0
            return header.end

    def find(self, table: int, numbers: Sequence[int]) -> list[int]:
        """Where the slots with these numbers are; 0 where there is none."""
        with self.locked():
            return [self._entry(_place(table, number)) for number in numbers]

    def _entry(self, place: int) -> int:
        return int(_ENTRY.unpack(_read(self._file.number, _ENTRY.size, place))[0])

    def read_into(self, offset: int, memory: np.ndarray) -> None:
        """Fill contiguous uint8 `memory` from a slot.

        Raises
        ------
        ReadFailedError
            If the file was cut or the disk fails.
        """
        try:
            done = os.preadv(self._file.number, [memory], offset)  # type: ignore[list-item]
        except OSError as error:
            raise ReadFailedError(f"{self.path} cannot be read ({error.strerror}).") from error
        if done != memory.nbytes:
            raise ReadFailedError(
                f"{self.path} ends too early: it was changed from outside. Remove it and start again."
            )


def check_system() -> None:
    """Raise if files cannot be locked and read at a position.

    Raises
    ------
    ArgumentError
        On Windows.
    """
    if not POSITIONAL or sys.platform == "win32":
        raise ArgumentError(
            "A scratch on disk needs positional reads and locks of files, which this system does not "
            "have. Write the aligned layers to a store instead: ds.geoxr.cache(path)."
        )


def _whole(size: int) -> int:
    return -(-size // _PAGE) * _PAGE


def _place(table: int, number: int) -> int:
    return table + _TABLE.size + number * _ENTRY.size


def _write(file: int, data: bytes | np.ndarray, offset: int) -> None:
    left = memoryview(data).cast("B")  # type: ignore[arg-type]
    while left:
        done = os.pwrite(file, left, offset)
        left, offset = left[done:], offset + done


def _read(file: int, size: int, offset: int) -> bytes:
    data = os.pread(file, size, offset)
    if len(data) != size:
        raise ReadFailedError("A scratch was cut from outside. Remove it and start again.")
    return data


def _boot() -> bytes:
    """What tells this run of the machine from others; empty where that is not known."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read(36)
    except OSError:
        return b""


#: Where it is not known, every slot goes to the disk at once.
_BOOT = _boot()


def _seal(file: int) -> None:
    """Bring all slots to the disk, and note how far that is true; under the lock."""
    magic, identity, end, sealed, *rest = _HEADER.unpack(_read(file, _HEADER.size, 0))
    if sealed < end:
        os.fsync(file)
        _write(file, _HEADER.pack(magic, identity, end, end, *rest), 0)


def _seal_quietly(file: _File, path: str) -> None:
    """Seal a file that nobody here uses any more, unless somebody writes to it right now."""
    with contextlib.suppress(OSError, ReadFailedError):
        lock = _File(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        fcntl.flock(lock.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _seal(file.number)


def _remove(path: str, owner: int) -> None:
    if os.getpid() == owner:
        with contextlib.suppress(OSError):
            os.unlink(path)


#: Files of this process: two objects for one would not share what they know.
_open: weakref.WeakValueDictionary[bytes, Slots] = weakref.WeakValueDictionary()
_opening = threading.Lock()


def _registered(slots: Slots) -> Slots:
    with _opening:
        return _open.setdefault(slots.identity, slots)


def _reopen(path: str, identity: bytes, limit: int, kept: bool) -> Slots:
    """Open the file of another process.

    Raises
    ------
    ReadFailedError
        If it is not there any more.
    """
    with _opening:
        found = _open.get(identity)
    if found is not None:
        return found
    try:
        slots = Slots(path, os.open(path, os.O_RDWR | os.O_CLOEXEC), limit, kept=kept)
        there = slots.identity
    except OutputExistsError:
        there = b""
    except OSError as error:
        raise ReadFailedError(
            f"The scratch {path} cannot be opened ({error.strerror}): one without a name is gone with "
            f"the process that made it. Name a folder to keep it: cache=pathlib.Path(...)."
        ) from error
    if there != identity:
        raise ReadFailedError(
            f"The scratch {path} has gone, and something else is there. Make the loader again."
        )
    return _registered(slots)


def _after_fork() -> None:
    # Threads stay with the parent, whatever lock they held. A lock of a file belongs to whoever
    # opened it, parent and child together, so a child opens the file again for its own.
    global _opening
    _opening = threading.Lock()
    for slots in list(_open.values()):
        slots._reset()
        again = f"/proc/self/fd/{slots._file.number}"
        path = again if os.path.exists(again) else slots.path
        try:
            slots._lock_file = _File(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        except OSError:  # without a lock of its own it writes nothing
            slots.full = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

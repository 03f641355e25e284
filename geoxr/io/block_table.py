"""Which blocks of a layer are stored, and which of them a thread is making."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

import numpy as np

from geoxr.io.slots import Slots


class Table:
    """Where the blocks of one layer are, and which of them a thread is making.

    Parameters
    ----------
    slots : Slots
    start : int
        Of the table in the file.
    shape : (int, int, int)
        Number of blocks along time, rows and columns.
    """

    def __init__(self, slots: Slots, start: int, shape: tuple[int, int, int]) -> None:
        self.slots, self.start, self.shape = slots, start, shape
        self.known = np.zeros(shape, "int64")
        self._reset()

    def _reset(self) -> None:
        #: Blocks that windows met; of those, made here, and read from the source since they did not fit.
        self.met = self.made = self.through = 0
        self._lock = threading.Lock()
        self._making: dict[int, threading.Event] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return table_at, (self.slots, self.start, self.shape)

    def count(self, met: int, through: int) -> None:
        """Count the blocks of a window."""
        with self._lock:
            self.met += met
            self.through += through

    def claim(self, numbers: list[int]) -> tuple[list[int], list[threading.Event]]:
        """Return which blocks the caller has to make, and what to wait for of the others."""
        mine, others = [], []
        with self._lock:
            for number in numbers:
                if number in self._making:
                    others.append(self._making[number])
                elif not self.known.flat[number]:
                    self._making[number] = threading.Event()
                    mine.append(number)
        return mine, others

    def release(self, numbers: list[int]) -> None:
        """Let those go on who wait for blocks that were claimed."""
        with self._lock:
            for number in numbers:
                self._making.pop(number).set()

    def look(self, numbers: list[int]) -> list[int]:
        """Look for blocks that other processes made; return those that are not there."""
        for number, slot in zip(numbers, self.slots.find(self.start, numbers), strict=True):
            self.known.flat[number] = slot
        return [number for number in numbers if not self.known.flat[number]]

    def add(self, number: int, record: np.ndarray) -> None:
        """Store a block, if it fits."""
        slot = self.slots.add(self.start, number, record)
        self.known.flat[number] = slot
        if slot:
            with self._lock:
                self.made += 1


#: Tables of this process by file and place, so that threads know of each other.
_tables: weakref.WeakValueDictionary[tuple[Slots, int], Table] = weakref.WeakValueDictionary()
_opening = threading.Lock()


def table_at(slots: Slots, start: int, shape: tuple[int, int, int]) -> Table:
    """Return the table at a place of a file, the same object for all who ask."""
    with _opening:
        found = _tables.get((slots, start))
        if found is None:
            found = _tables[slots, start] = Table(slots, start, shape)
        return found


def _after_fork() -> None:
    # Threads stay with the parent, whatever they held or were making.
    global _opening
    _opening = threading.Lock()
    for table in list(_tables.values()):
        table._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

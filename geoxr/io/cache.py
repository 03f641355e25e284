"""Caches that all threads of the process share, each bounded in bytes."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Anything that knows the memory it takes."""

    @property
    def nbytes(self) -> int:
        """Size [bytes]."""
        ...


ValueT = TypeVar("ValueT", bound=Sized)


_caches: weakref.WeakSet[SharedCache] = weakref.WeakSet()


class SharedCache(Generic[ValueT]):
    """What was used last, within a number of bytes; made once however many threads ask.

    The lock is held for bookkeeping only. A thread that asks for what another one is making waits
    for that; others go on.

    Parameters
    ----------
    limit : callable
        Returns the largest number of bytes to keep, at the time it is asked.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self.clear()
        _caches.add(self)

    def clear(self) -> None:
        """Forget everything, also that threads of a forked parent were at work."""
        self._lock = threading.Lock()
        self._mine = threading.local()
        self._values: OrderedDict[Hashable, ValueT] = OrderedDict()
        self._making: dict[Hashable, threading.Event] = {}
        self.nbytes = 0
        #: How often a value was there, and was not.
        self.hits = self.misses = 0

    @property
    def asked(self) -> int:
        """How often this thread asked for a value."""
        return getattr(self._mine, "asked", 0)

    def find(self, key: Hashable) -> ValueT | None:
        """Return a value that is there."""
        self._mine.asked = self.asked + 1
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
                self.hits += 1
            return value

    def get(self, key: Hashable, make: Callable[[], ValueT]) -> ValueT:
        """Return a value that is there, or make it. An error of `make` is raised and not kept."""
        self._mine.asked = self.asked + 1
        while True:
            with self._lock:
                value = self._values.get(key)
                if value is not None:
                    self._values.move_to_end(key)
                    self.hits += 1
                    return value
                other = self._making.get(key)
                if other is None:
                    self.misses += 1
                    mine = self._making[key] = threading.Event()
            if other is None:
                break
            other.wait()
        try:
            value = make()
            self._keep(key, value)
            return value
        finally:
            with self._lock:
                self._making.pop(key, None)
            mine.set()

    def shrink(self, room: int = 0) -> None:
        """Drop what was used longest ago until `room` bytes are free within the limit."""
        limit = self._limit()
        if self.nbytes + room <= limit:
            return
        with self._lock:
            while self._values and self.nbytes + room > limit:
                self.nbytes -= self._values.popitem(last=False)[1].nbytes

    def _keep(self, key: Hashable, value: ValueT) -> None:
        size, limit = value.nbytes, self._limit()
        self.shrink(size)
        with self._lock:
            if size <= limit and key not in self._values:
                self._values[key] = value
                self.nbytes += size


def _after_fork() -> None:
    # Threads stay with the parent, whatever lock they held, and so does its memory.
    for cache in list(_caches):
        cache.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

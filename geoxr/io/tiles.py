"""Decoded tiles that all threads of the process share, and the threads that decode them."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

import numpy as np

from geoxr.options import options


class Sized(Protocol):
    """Anything that knows the memory it takes."""

    @property
    def nbytes(self) -> int:
        """Size [bytes]."""
        ...


ValueT = TypeVar("ValueT", bound=Sized)
JobT = TypeVar("JobT")


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
        self._values: OrderedDict[Hashable, ValueT] = OrderedDict()
        self._making: dict[Hashable, threading.Event] = {}
        self.nbytes = 0

    def find(self, key: Hashable) -> ValueT | None:
        """Return a value that is there."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def get(self, key: Hashable, make: Callable[[], ValueT]) -> ValueT:
        """Return a value that is there, or make it. An error of `make` is raised and not kept."""
        while True:
            with self._lock:
                value = self._values.get(key)
                if value is not None:
                    self._values.move_to_end(key)
                    return value
                other = self._making.get(key)
                if other is None:
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

    def _keep(self, key: Hashable, value: ValueT) -> None:
        size, limit = value.nbytes, self._limit()
        with self._lock:
            while self._values and self.nbytes + size > limit:
                self.nbytes -= self._values.popitem(last=False)[1].nbytes
            if size <= limit and key not in self._values:
                self._values[key] = value
                self.nbytes += size


#: Decoded tiles of this process.
tiles: SharedCache[np.ndarray] = SharedCache(lambda: options.tile_cache)


#: Threads that decode beside the one that asks.
_MOST_HELPERS = 15


class _Helpers:
    """Threads that help whoever has several tiles to decode."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pool: ThreadPoolExecutor | None = None

    def submit(self, work: Callable[[], None], number: int) -> list[Future[None]]:
        number = min(number, options.thread_count() - 1, _MOST_HELPERS)
        with self.lock:
            if self.pool is None and number > 0:
                self.pool = ThreadPoolExecutor(_MOST_HELPERS, thread_name_prefix="geoxr-tiles")
            return [self.pool.submit(work) for _ in range(number)] if self.pool else []


_helpers = _Helpers()


def run_all(job: Callable[[JobT], None], items: Iterable[JobT]) -> None:
    """Call `job` with every item, several at once; the calling thread works too.

    Only the main thread gets help: whoever reads from threads of its own keeps its cores busy
    already. It does not wait for a helper that has not begun. The first error is raised when what
    has begun is done.
    """
    waiting = deque(items)
    errors: list[BaseException] = []

    def work() -> None:
        while True:
            try:
                item = waiting.popleft()
            except IndexError:
                return
            try:
                job(item)
            except BaseException as error:
                errors.append(error)
                waiting.clear()

    helped = len(waiting) > 1 and threading.current_thread() is threading.main_thread()
    begun = _helpers.submit(work, len(waiting) - 1) if helped else []
    work()
    for helper in begun:
        if not helper.cancel():
            helper.result()
    if errors:
        raise errors[0]


def _after_fork() -> None:
    # Threads and whatever lock they held stay with the parent, and so does its memory.
    for cache in list(_caches):
        cache.clear()
    _helpers.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

"""Work in several threads: pieces of one read."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

import numpy as np

from geoxr.grid.window import Window
from geoxr.io.reader import WindowReader
from geoxr.options import options

#: Side of the squares that large windows are cut into [pixel].
SQUARE = 1024
#: Threads that work beside the one that asks, whatever ``options.threads`` is.
_MOST_HELPERS = 63

JobT = TypeVar("JobT")


class _Helpers:
    """Threads that help the main thread, started when they are first needed."""

    def __init__(self) -> None:
        self.pool: ThreadPoolExecutor | None = None
        #: Whether they are at work: what the main thread asks for meanwhile is a part of that.
        self.busy = False

    def submit(self, work: Callable[[], None], number: int) -> list[Future[None]]:
        if self.pool is None:
            self.pool = ThreadPoolExecutor(_MOST_HELPERS, thread_name_prefix="geoxr-read")
        return [self.pool.submit(copy_context().run, work) for _ in range(number)]


_helpers = _Helpers()


def run_all(job: Callable[[JobT], None], items: Iterable[JobT]) -> None:
    """Call `job` with every item, over ``options.threads`` threads; the calling one works too.

    Only the main thread gets help, and not for parts of what it is helped with: whoever reads from
    threads of its own, as loaders and dask do, keeps its cores busy already. It does not wait for a
    helper that has not begun. The first error is raised when what has begun is done.
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

    number = min(len(waiting), options.thread_count(), _MOST_HELPERS + 1) - 1
    alone = threading.current_thread() is not threading.main_thread() or _helpers.busy
    if number < 1 or alone:
        work()
    else:
        _helpers.busy = True
        try:
            begun = _helpers.submit(work, number)
            work()
            for helper in begun:
                if not helper.cancel():
                    helper.result()
        finally:
            waiting.clear()  # after an interrupt helpers end as well
            _helpers.busy = False
    if errors:
        raise errors[0]


def read_in_threads(
    reader: WindowReader,
    window: Window,
    out: np.ndarray,
    valid: np.ndarray | None,
    *,
    bands: tuple[int, ...],
    times: tuple[int, ...],
) -> None:
    """`WindowReader.read`, in squares over several threads where that helps; see `run_all`."""
    small = window.height * window.width <= SQUARE**2
    main = threading.current_thread() is threading.main_thread()
    if small or options.thread_count() == 1 or not main:
        reader.read(window, out, valid, bands=bands, times=times)
        return

    def read(part: Window) -> None:
        rows, cols = part.inside(window)
        good = None if valid is None else valid[..., rows, cols]
        reader.read(part, out[..., rows, cols], good, bands=bands, times=times)

    run_all(read, window.tiles(SQUARE))


if hasattr(os, "register_at_fork"):
    # Threads stay with the parent.
    os.register_at_fork(after_in_child=_helpers.__init__)  # type: ignore[misc]

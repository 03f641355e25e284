"""Work that threads do ahead of who needs it, in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def read_ahead(
    work: Callable[[ItemT, Callable[[], bool]], ResultT],
    items: Iterable[ItemT],
    *,
    threads: int,
    prefetch: int,
) -> Iterator[ResultT]:
    """Yield the result of every item in order, with at most ``threads + prefetch`` of them under way.

    However it ends, no thread is left: not after an error, an interrupt, or when the iterator is
    dropped half way.

    Parameters
    ----------
    work : callable
        Called with an item and with a function that says whether to stop half way.
    threads : int
        0 works in the calling thread, when a result is asked for.
    """
    if threads == 0:
        for item in items:
            yield work(item, bool)
        return
    dropped = threading.Event()
    waiting: deque[Future[ResultT]] = deque()
    with ThreadPoolExecutor(threads, "geoxr-load") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item, dropped.is_set))
                if len(waiting) >= threads + prefetch:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            dropped.set()
            for future in waiting:
                future.cancel()

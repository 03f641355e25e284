"""Memory for what caches keep, which is used again when nobody looks at it any more."""

from __future__ import annotations

import mmap
from collections import deque
from typing import Any

import numpy as np

#: Memory from this size on has pages of its own [bytes].
_OWN = 1 << 17
#: Memory of one size that is kept for the next who wants it [bytes].
_IDLE = 4 << 20
#: Sizes of which some is kept.
_SIZES = 8
#: Pages that belong to this process alone. Windows knows no others.
_PRIVATE: dict[str, int] = (
    {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
)
#: Memory that waits, by its size. Taken from and put into without a lock: a lease may end in the
#: middle of anything.
_idle: dict[int, deque[np.ndarray]] = {}


class Lease:
    """What all views of some memory hold on to; the memory waits again when it is gone."""

    def __init__(self, memory: np.ndarray, free: deque[np.ndarray]) -> None:
        self._memory, self._free = memory, free
        self.__array_interface__: dict[str, Any] = memory.__array_interface__

    def __del__(self) -> None:
        self._free.append(self._memory)


def own_pages(size: int) -> np.ndarray:
    """Return memory with pages of its own.

    Among what comes and goes in between, things that are kept for a while leave gaps that add up to
    more than half of a cache. New pages take the system long, so some wait to be used again.

    Parameters
    ----------
    size : int [bytes]

    Returns
    -------
    uint8 array (size,)
        With anything in it.
    """
    if size < _OWN:
        return np.empty(size, "uint8")
    free = _idle.get(size)
    if free is None:
        if len(_idle) >= _SIZES:
            _idle.clear()
        free = _idle.setdefault(size, deque(maxlen=max(_IDLE // size, 1)))
    try:
        memory = free.pop()
    except IndexError:
        memory = np.ndarray(size, "uint8", mmap.mmap(-1, size, **_PRIVATE))
    return np.asarray(Lease(memory, free))

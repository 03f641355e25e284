"""Memory for what caches keep."""

from __future__ import annotations

import mmap

import numpy as np

#: Memory from this size on has pages of its own [bytes].
_OWN = 1 << 17
#: Pages that belong to this process alone. Windows knows no others.
_PRIVATE: dict[str, int] = (
    {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
)


def own_pages(size: int) -> np.ndarray:
    """Return memory that the system gets back when it is given up.

    Among what comes and goes in between, things that are kept for a while leave gaps that add up to
    more than half of a cache.

    Parameters
    ----------
    size : int [bytes]

    Returns
    -------
    uint8 array (size,)
    """
    if size < _OWN:
        return np.empty(size, "uint8")
    return np.ndarray(size, "uint8", mmap.mmap(-1, size, **_PRIVATE))

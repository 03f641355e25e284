"""Memory for batches that is used again when nobody looks at it any more."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from geoxr.io.pages import Lease

#: Shape and type of every array of a batch.
Shapes: TypeAlias = Mapping[str, tuple[tuple[int, ...], np.dtype]]
#: Makes so many bytes.
Bytes: TypeAlias = Callable[[int], np.ndarray]

#: Arrays start at whole multiples of this [bytes].
_ALIGN = 64


def plain_bytes(size: int) -> np.ndarray:
    """Return bytes of pageable memory."""
    return np.empty(size, "uint8")


def carve(memory: np.ndarray, shapes: Shapes) -> dict[str, np.ndarray]:
    """Cut bytes into arrays."""
    arrays, start = {}, 0
    for name, (shape, dtype) in shapes.items():
        size = math.prod(shape) * dtype.itemsize
        arrays[name] = memory[start : start + size].view(dtype).reshape(shape)
        start += -(-size // _ALIGN) * _ALIGN
    return arrays


def size_of(shapes: Shapes) -> int:
    """Bytes that `carve` needs."""
    sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in shapes.values()]
    return sum(-(-size // _ALIGN) * _ALIGN for size in sizes)


class Pool:
    """Memory of batches of one shape.

    What `take` returns goes back when the last array or tensor that looks at it is gone, wherever
    that happens; nothing needs to be handed back, and what is kept is never written over.

    Parameters
    ----------
    shapes : mapping
    keep : int
        Batches whose memory is kept for later; that of others is given up.
    make : callable
        Makes the bytes: pageable or pinned.
    """

    def __init__(self, shapes: Shapes, keep: int, make: Bytes = plain_bytes) -> None:
        self._shapes, self._make, self._size = shapes, make, size_of(shapes)
        # Taken from and put into without a lock: a lease may end in the middle of anything.
        self._free: deque[np.ndarray] = deque(maxlen=keep)

    def shaped(self, shapes: Shapes) -> Pool:
        """Return a pool for batches of a shape: this one, if it is that."""
        if shapes == self._shapes:
            return self
        return Pool(shapes, self._free.maxlen or 0, self._make)

    def take(self) -> dict[str, np.ndarray]:
        """Return arrays to fill."""
        try:
            memory = self._free.pop()
        except IndexError:
            memory = self._make(self._size)
        return carve(np.asarray(Lease(memory, self._free)), self._shapes)

"""Blocks of aligned layers that batches of a grid share with the next ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from geoxr.grid.window import Window
from geoxr.io.blocks import sharing, tiles
from geoxr.io.cache import SharedCache
from geoxr.io.pages import own_pages
from geoxr.io.reader import WindowReader, everything, read_padded
from geoxr.load.memory import carve, size_of
from geoxr.options import options

#: Share of the cache of tiles that blocks may take.
_SHARE = 0.75


@dataclass(frozen=True, eq=False)
class _Block:
    """Pixels (T, C, h, w) and validity (T, 1, h, w) of a block."""

    arrays: Mapping[str, np.ndarray]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())


class Blocks:
    """Blocks that were read once, as far as there is room for them beside decoded tiles.

    Attributes
    ----------
    decoded : set of str
        Variables whose files have decoded tiles, to which blocks leave the room.
    """

    def __init__(self) -> None:
        self.decoded: set[str] = set()
        self._room = 0
        self._cache: SharedCache[_Block] = SharedCache(lambda: self._room)
        sharing.add(self._cache)

    @property
    def nbytes(self) -> int:
        """Memory of all blocks."""
        return self._cache.nbytes

    def make_room(self, size: int) -> bool:
        """Say how many bytes of blocks are met again; False if they do not fit."""
        fits = size <= _SHARE * options.tile_cache
        self._room = size if fits else 0
        self._cache.shrink()
        return fits

    def forget(self) -> None:
        """Give up all blocks."""
        self.make_room(0)

    def read(
        self, name: str, reader: WindowReader, grid: int, dates: tuple[int, ...], window: Window
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return pixels (T, C, h, w) and validity (T, 1, h, w) of a block of a variable."""

        def read() -> _Block:
            arrays, before = _memory(reader, len(dates), window), tiles.asked
            bands, _ = everything(reader)
            read_padded(reader, window, arrays["pixels"], arrays["valid"], bands=bands, times=dates)
            if tiles.asked != before:
                self.decoded.add(name)
            return _Block(arrays)

        arrays = self._cache.get((name, grid, dates, window), read).arrays
        tiles.shrink()
        return arrays["pixels"], arrays["valid"]


def _memory(reader: WindowReader, dates: int, window: Window) -> dict[str, np.ndarray]:
    size = window.height, window.width
    shapes = {
        "pixels": ((dates, len(reader.bands), *size), reader.dtype),
        "valid": ((dates, 1, *size), np.dtype(bool)),
    }
    return carve(own_pages(size_of(shapes)), shapes)

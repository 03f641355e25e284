"""A reader whose pixels are made once, block by block, and then copied from a file of slots."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from odc.geo.geobox import GeoBox

from geoxr.grid.geobox import extent
from geoxr.grid.window import Window
from geoxr.io.array import as_slice
from geoxr.io.block_table import Table
from geoxr.io.holes import holes_met
from geoxr.io.reader import View, WindowReader, everything, has_holes, mark_valid

#: Side of a block [pixel]. Smaller ones cost more calls for every chip, larger ones more pixels around
#: chips that lie alone.
BLOCK = 256
#: Pixels that are asked of the source at once, more than one block of them at most [bytes].
_AT_ONCE = 2 << 20
#: Bytes of a block that are read at once, so that they stay in the processor's cache.
_MEMORY = 1 << 19


@dataclass(frozen=True)
class Layout:
    """How a block of a layer is stored: row by row, in each all bands and then their validity.

    Validity is a bit for each band, 1 where it may be used; eight bands share a plane, and bits that
    stand for no band are 1. There is none where all pixels are valid, or where one band tells by
    itself.

    Attributes
    ----------
    dtype : str
        Of the pixels.
    bands : int
    planes : int
        Bytes of validity for each pixel.
    block : int [pixel]
    """

    dtype: str
    bands: int
    planes: int
    block: int

    @classmethod
    def of(cls, reader: WindowReader, block: int) -> Layout:
        """Layout for the pixels of a reader."""
        bands = len(reader.bands)
        tells = not has_holes(reader) or (bands == 1 and not reader.masked)
        return cls(np.dtype(reader.dtype).str, bands, 0 if tells else -(-bands // 8), block)

    @property
    def pixels(self) -> int:
        """Pixels of a row of a block [bytes]."""
        return self.bands * self.block * np.dtype(self.dtype).itemsize

    @property
    def row(self) -> int:
        """A row of a block [bytes]."""
        return self.pixels + self.planes * self.block

    def record(self, pixels: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        """Bytes (block, row) of a block.

        Parameters
        ----------
        pixels, valid : array (band, height, width)
            At the edge of the grid smaller than a block.
        """
        height, width = pixels.shape[1:]
        rows = np.zeros((self.block, self.row), "uint8")
        stored, bits = self.view(rows)
        stored[:height, :, :width] = pixels.transpose(1, 0, 2)
        if valid is not None:
            packed = np.packbits(valid, axis=0, bitorder="little")
            packed[-1] |= 0xFF & (0xFF << ((self.bands - 1) % 8 + 1))
            bits[:height, :, :width] = packed.transpose(1, 0, 2)
        return rows

    def view(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (row, band, column) and validity (row, plane, column) in rows of a block."""
        number = len(rows)
        pixels = rows[:, : self.pixels].view(self.dtype).reshape(number, self.bands, self.block)
        return pixels, rows[:, self.pixels :].reshape(number, self.planes, self.block)


@dataclass(frozen=True)
class Scratched(View):
    """Blocks of a reader, each made once; see `WindowReader`.

    Blocks that do not fit, and those in which something could not be read and was left out, come
    from the source each time.

    Parameters
    ----------
    source : WindowReader
    table : Table
    layout : Layout
    """

    source: WindowReader
    table: Table
    layout: Layout

    @property
    def geobox(self) -> GeoBox:
        """Grid of the source."""
        return self.source.geobox

    def read(
        self,
        window: Window,
        out: np.ndarray,
        valid: np.ndarray | None,
        *,
        bands: tuple[int, ...],
        times: tuple[int, ...],
        step: int = 1,
    ) -> None:
        """Read a window; see `WindowReader.read`. Previews come from the source."""
        if step > 1:
            self.source.read(window, out, valid, bands=bands, times=times, step=step)
            return
        block = self.layout.block
        top, left = window.row // block, window.col // block
        bottom, right = (window.stop[0] - 1) // block + 1, (window.stop[1] - 1) // block + 1
        for i, time in enumerate(times):
            slots = self.table.known[time, top:bottom, left:right]
            if not slots.all():
                self._make(time, top, left, slots)
            good = None if valid is None else valid[i]
            stored = slots.copy()
            through = np.argwhere(stored == 0) + (top, left)
            if len(through):
                self._read_through(window, out[i], good, bands, time, through)
            self.table.count(stored.size, len(through))
            for row, line in enumerate(stored.tolist(), top):
                for col, slot in enumerate(line, left):
                    if slot:
                        self._copy(
                            slot,
                            Window(row * block, col * block, block, block),
                            window,
                            out[i],
                            good,
                            bands,
                        )

    def _copy(
        self,
        slot: int,
        block: Window,
        window: Window,
        out: np.ndarray,
        valid: np.ndarray | None,
        bands: tuple[int, ...],
    ) -> None:
        """Copy what a block has of a window."""
        part = block & window
        rows, cols = part.inside(block)
        ys, xs = part.inside(window)
        line = self.layout.row
        at_once = max(_MEMORY // line, 1)
        for row in range(rows.start, rows.stop, at_once):
            number = min(at_once, rows.stop - row)
            memory = _memory.lines(number * line)
            self.table.slots.read_into(slot + row * line, memory)
            pixels, bits = self.layout.view(memory.reshape(number, line))
            top = ys.start + row - rows.start
            target = out[:, top : top + number, xs]
            target[...] = pixels[:, as_slice(bands), cols].transpose(1, 0, 2)
            if valid is not None:
                self._validity(target, bits[..., cols], valid[:, top : top + number, xs], bands)

    def _validity(
        self, pixels: np.ndarray, bits: np.ndarray, valid: np.ndarray, bands: tuple[int, ...]
    ) -> None:
        """Fill `valid` (band or 1, height, width) of `pixels` from `bits` (height, plane, width)."""
        if not self.layout.planes:
            mark_valid(pixels[None], self.nodata, valid[None])
            return
        if len(valid) == len(bands):
            for band, good in zip(bands, valid, strict=True):
                np.not_equal(bits[:, band // 8] & (1 << band % 8), 0, out=good)
            return
        if len(set(bands)) == self.layout.bands:
            np.equal(bits[:, 0], 0xFF, out=valid[0])
            for plane in range(1, self.layout.planes):
                valid[0] &= bits[:, plane] == 0xFF
            return
        valid[...] = True
        for band in bands:
            valid[0] &= bits[:, band // 8] & (1 << band % 8) != 0

    def _make(self, time: int, top: int, left: int, slots: np.ndarray) -> None:
        """Make the blocks of a window that are missing; `slots` is where they show up."""
        across, each = self.table.shape[2], self.table.shape[1] * self.table.shape[2]
        tried: set[int] = set()
        while True:
            numbers = [
                int(time * each + (top + row) * across + left + col)
                for row, col in np.argwhere(slots == 0)
            ]
            mine, others = self.table.claim([n for n in numbers if n not in tried])
            try:
                missing = self.table.look(mine) if mine else []
                if not self.table.slots.full:
                    for part in _rectangles(missing, across, self._most):
                        self._make_part(part)
            finally:
                self.table.release(mine)
            tried.update(mine)
            if not others:
                return
            for event in others:
                event.wait()

    @property
    def _most(self) -> int:
        """Blocks that are asked of the source at once."""
        return max(_AT_ONCE // (self.layout.pixels * self.layout.block), 1)

    def _make_part(self, numbers: np.ndarray) -> None:
        """Read a rectangle (rows, columns) of blocks from the source and store them."""
        block = self.layout.block
        time, row, col = np.unravel_index(int(numbers[0, 0]), self.table.shape)
        down, across = numbers.shape
        window = Window(int(row) * block, int(col) * block, down * block, across * block)
        window &= extent(self.geobox)
        bands = everything(self.source)[0]
        pixels = np.empty((1, len(bands), window.height, window.width), self.dtype)
        valid = np.empty(pixels.shape, bool) if self.layout.planes else None
        before = holes_met()
        self.source.read(window, pixels, valid, bands=bands, times=(int(time),))
        if holes_met() != before:  # what could not be read now may be there next time
            for number in numbers.ravel() if numbers.size > 1 else ():
                self._make_part(np.array([[number]]))
            return
        for i in range(down):
            for j in range(across):
                cells = np.s_[0, :, i * block : (i + 1) * block, j * block : (j + 1) * block]
                good = None if valid is None else valid[cells]
                self.table.add(int(numbers[i, j]), self.layout.record(pixels[cells], good))

    def _read_through(
        self,
        window: Window,
        out: np.ndarray,
        valid: np.ndarray | None,
        bands: tuple[int, ...],
        time: int,
        missing: np.ndarray,
    ) -> None:
        """Read the part of a window that holds all missing blocks (n, 2) from the source."""
        block = self.layout.block
        first, last = missing.min(axis=0).tolist(), (missing.max(axis=0) + 1).tolist()
        size = (last[0] - first[0]) * block, (last[1] - first[1]) * block
        part = Window(first[0] * block, first[1] * block, *size) & window
        ys, xs = part.inside(window)
        good = None if valid is None else valid[None, :, ys, xs]
        self.source.read(part, out[None, :, ys, xs], good, bands=bands, times=(time,))


def _rectangles(numbers: list[int], across: int, most: int) -> Iterator[np.ndarray]:
    """Cut blocks, by number and in order, into rectangles (rows, columns) of at most so many."""
    runs: list[list[int]] = []
    for number in numbers:
        follows = runs and number == runs[-1][-1] + 1 and number % across
        if follows and len(runs[-1]) < most:
            runs[-1].append(number)
        else:
            runs.append([number])
    while runs:
        rows = [runs.pop(0)]
        below = [number + across for number in rows[0]]
        while below in runs and (len(rows) + 1) * len(below) <= most:
            runs.remove(below)
            rows.append(below)
            below = [number + across for number in below]
        yield np.array(rows)


class _Memory(threading.local):
    """Memory of a thread between reading and copying."""

    def __init__(self) -> None:
        self.bytes = np.empty(0, "uint8")

    def lines(self, size: int) -> np.ndarray:
        if self.bytes.size < size:
            self.bytes = np.empty(size, "uint8")
        return self.bytes[:size]


_memory = _Memory()

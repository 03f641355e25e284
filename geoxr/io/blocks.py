"""The blocks of a TIFF image that a window meets, and how their pixels get into it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from geoxr.grid.window import Window
from geoxr.io.bytes import ReadAt, Stamp
from geoxr.io.cache import SharedCache
from geoxr.io.codecs import decode
from geoxr.io.tiff import RAW, TiffImage
from geoxr.options import options

#: Bytes that are read and thrown away rather than read around: a call costs as much.
_GAP = 1 << 14
#: Bytes that are read at once, so that they stay in the processor's cache until they are copied.
_SCRATCH = 1 << 19
#: Caches that take room from that of tiles.
sharing: weakref.WeakSet[SharedCache[Any]] = weakref.WeakSet()
#: Decoded tiles of this process.
tiles: SharedCache[np.ndarray] = SharedCache(
    lambda: max(options.tile_cache - sum(cache.nbytes for cache in list(sharing)), 0)
)
#: Whether reads of this context keep decoded tiles and use those that are kept.
keeping: ContextVar[bool] = ContextVar("keeping", default=True)


class Level(NamedTuple):
    """An image of a file, or an overview of it, and where it is stored."""

    path: str
    stamp: Stamp
    position: int
    image: TiffImage


class Piece(NamedTuple):
    """What one block has of a window.

    `rows` and `cols` are counted in the block: slices, or arrays where a step leaves some out.
    `target` (band, row, column) is the part of the output at `bands`, `ys` and `xs`.
    """

    block: int
    rows: slice | np.ndarray
    cols: slice | np.ndarray
    samples: tuple[int, ...]
    target: np.ndarray
    bands: slice
    ys: slice
    xs: slice


def cut_window(
    image: TiffImage, window: Window, out: np.ndarray, samples: tuple[int, ...]
) -> Iterator[Piece]:
    """Cut a window along the blocks of an image."""
    height, width = image.block
    across, plane = image.across, image.plane
    row, col = window.row, window.col
    last_row, last_col = row + window.height, col + window.width
    for down in range(row // height, (last_row - 1) // height + 1):
        top = down * height
        start, stop = max(row, top), min(last_row, top + height)
        rows, ys = slice(start - top, stop - top), slice(start - row, stop - row)
        for right in range(col // width, (last_col - 1) // width + 1):
            left = right * width
            start, stop = max(col, left), min(last_col, left + width)
            cols, xs = slice(start - left, stop - left), slice(start - col, stop - col)
            block = down * across + right
            yield from _by_band(block, rows, cols, samples, out, ys, xs, plane, image.separate)


def pick_cells(
    image: TiffImage,
    main: TiffImage,
    window: Window,
    out: np.ndarray,
    samples: tuple[int, ...],
    step: int,
) -> Iterator[Piece]:
    """Take from an overview the pixel at the centre of each cell of a window."""
    height, width = image.block
    rows = _centres(window.row, window.height, step, main.height, image.height)
    cols = _centres(window.col, window.width, step, main.width, image.width)
    for ys in _runs(rows // height):
        for xs in _runs(cols // width):
            down, right = int(rows[ys.start]) // height, int(cols[xs.start]) // width
            inside = rows[ys] - down * height, cols[xs] - right * width
            block = down * image.across + right
            yield from _by_band(block, *inside, samples, out, ys, xs, image.plane, image.separate)


def _centres(start: int, size: int, step: int, full: int, reduced: int) -> np.ndarray:
    """Pixels of an overview at the centres of cells; the last cell may be smaller."""
    at = start + np.arange(-(-size // step)) * step
    middle = (at + np.minimum(at + step, start + size)) / 2
    return np.minimum((middle * (reduced / full)).astype("int64"), reduced - 1)


def _runs(blocks: np.ndarray) -> list[slice]:
    cuts = [0, *(np.flatnonzero(np.diff(blocks)) + 1).tolist(), len(blocks)]
    return [slice(a, b) for a, b in pairwise(cuts)]


def _by_band(
    block: int,
    rows: slice | np.ndarray,
    cols: slice | np.ndarray,
    samples: tuple[int, ...],
    out: np.ndarray,
    ys: slice,
    xs: slice,
    plane: int,
    separate: bool,
) -> Iterator[Piece]:
    if not separate:
        yield Piece(block, rows, cols, samples, out[:, ys, xs], slice(None), ys, xs)
        return
    for i, sample in enumerate(samples):
        one = slice(i, i + 1)
        yield Piece(block + sample * plane, rows, cols, (0,), out[one, ys, xs], one, ys, xs)


def place_of(piece: Piece, window: Window, step: int) -> Window:
    """Window of the grid that a piece stands for."""
    top, left = piece.ys.start * step, piece.xs.start * step
    bottom = min(piece.ys.stop * step, window.height)
    right = min(piece.xs.stop * step, window.width)
    return Window(window.row + top, window.col + left, bottom - top, right - left)


def _key(level: Level, block: int) -> tuple[str, Stamp, int, int]:
    return level.path, level.stamp, level.position, block


def copy_cached(level: Level, piece: Piece) -> bool:
    """Fill a piece from a decoded tile; False where it is not in the cache."""
    tile = tiles.find(_key(level, piece.block)) if keeping.get() else None
    if tile is not None:
        _copy(tile, piece)
    return tile is not None


def _copy(tile: np.ndarray, piece: Piece) -> None:
    for target, sample in zip(piece.target, piece.samples, strict=True):
        part = tile[..., sample]
        if isinstance(piece.rows, slice):
            target[...] = part[piece.rows, piece.cols]
        else:
            target[...] = part[piece.rows[:, None], piece.cols]


def read_piece(file: ReadAt, level: Level, piece: Piece) -> None:
    """Fill a piece.

    Raises
    ------
    OSError, ValueError
        If its block cannot be read or decoded.
    """
    image = level.image
    if not image.counts[piece.block]:
        piece.target[...] = image.fill
    elif image.compression != RAW:
        if keeping.get():
            key = _key(level, piece.block)
            tile = tiles.get(key, lambda: _decoded(file, level, piece.block))
        else:
            tile = _decoded(file, level, piece.block)
        _copy(tile, piece)
    elif isinstance(piece.rows, slice) and isinstance(piece.cols, slice):
        _read_rows(file, level, piece, piece.rows, piece.cols)
    else:
        _read_picked(file, level, piece)


def _decoded(file: ReadAt, level: Level, block: int) -> np.ndarray:
    offset, count = int(level.image.offsets[block]), int(level.image.counts[block])
    _check_end(level, offset + count)
    return decode(level.image, block, file.read(offset, count))


def _check_end(level: Level, end: int) -> None:
    if end > level.stamp[1]:
        raise ValueError(f"the file ends at byte {level.stamp[1]} of {end}")


def _raw_start(level: Level, block: int) -> int:
    """Place of an uncompressed block that is there in full."""
    image = level.image
    offset = int(image.offsets[block])
    rows = min(image.block[0], image.height - block % image.plane // image.across * image.block[0])
    _check_end(level, offset + rows * image.block[1] * image.depth * image.dtype.itemsize)
    return offset


def _read_rows(file: ReadAt, level: Level, piece: Piece, rows: slice, cols: slice) -> None:
    """Copy a rectangle of an uncompressed block."""
    image, target = level.image, piece.target
    pixel = image.dtype.itemsize * image.depth
    line, width = image.block[1] * pixel, cols.stop - cols.start
    start = _raw_start(level, piece.block) + rows.start * line + cols.start * pixel
    height = rows.stop - rows.start
    direct = image.depth == 1 and image.dtype.isnative
    if line - width * pixel > _GAP:
        at_once = 1
    elif direct and line == width * pixel and target.flags.c_contiguous:
        file.read_into(start, target)
        return
    else:
        at_once = max(_SCRATCH // line, 1)
    for row in range(0, height, at_once):
        number = min(at_once, height - row)
        if at_once == 1 and direct and target.strides[2] == pixel:
            file.read_into(start + row * line, target[0, row])
            continue
        part = _scratch(file, start + row * line, number, width, image)
        for i, sample in enumerate(piece.samples):
            target[i, row : row + number] = part[..., sample]


def _read_picked(file: ReadAt, level: Level, piece: Piece) -> None:
    """Copy some rows and columns of an uncompressed block."""
    image, target = level.image, piece.target
    rows, cols = np.asarray(piece.rows), np.asarray(piece.cols)
    pixel = image.dtype.itemsize * image.depth
    line, first, width = image.block[1] * pixel, int(cols[0]), int(cols[-1] - cols[0]) + 1
    start = _raw_start(level, piece.block) + first * pixel
    apart = -(-int(rows[-1] - rows[0] + 1) // len(rows)) * line
    at_once = 1 if apart - width * pixel > _GAP else max(_SCRATCH // apart, 1)
    for i in range(0, len(rows), at_once):
        some = rows[i : i + at_once]
        top, number = int(some[0]), int(some[-1] - some[0]) + 1
        part = _scratch(file, start + top * line, number, width, image)
        for k, sample in enumerate(piece.samples):
            target[k, i : i + len(some)] = part[(some - top)[:, None], cols - first, sample]


class _Memory(threading.local):
    """Memory of a thread between reading and copying."""

    def __init__(self) -> None:
        self.bytes = np.empty(_SCRATCH, "uint8")


_memory = _Memory()


def _scratch(file: ReadAt, start: int, height: int, width: int, image: TiffImage) -> np.ndarray:
    """Read rows of an uncompressed block; the next call in this thread overwrites them.

    Returns
    -------
    array (row, column, sample)
        In the byte order of the file.
    """
    pixel = image.dtype.itemsize * image.depth
    line = image.block[1] * pixel
    size = (height - 1) * line + width * pixel
    memory = _memory.bytes
    if memory.size < size:
        memory = np.empty(size, "uint8")
    file.read_into(start, memory[:size])
    strides = line, pixel, image.dtype.itemsize
    return np.ndarray((height, width, image.depth), image.dtype, memory, strides=strides)

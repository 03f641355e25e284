"""GeoTIFF and COG by positional reads and decoded tiles, without GDAL.

GDAL says what a file means when it is opened. Its pixels are read here: of uncompressed blocks the
rows that are needed, of compressed ones the whole block, which stays in the shared cache.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from odc.geo.geobox import GeoBox

from geoxr.errors import ReadFailedError
from geoxr.grid.window import Window
from geoxr.io.bytes import POSITIONAL, ReadAt, Stamp, open_local, stamp_of
from geoxr.io.codecs import decode, handles
from geoxr.io.holes import read_failed, warn_skipped
from geoxr.io.reader import View, WindowReader, fill_of
from geoxr.io.tiff import RAW, NotHandledError, TiffImage, coalesced, parse
from geoxr.io.tiles import SharedCache, run_all, tiles

if TYPE_CHECKING:
    import rasterio

#: Bytes that are read and thrown away rather than read around: a call costs as much.
_GAP = 1 << 14
#: Bytes that are read at once, so that they stay in the processor's cache until they are copied.
_SCRATCH = 1 << 19
#: Headers that are kept parsed [bytes].
_HEADERS = 64 << 20


class FileReader(WindowReader, Protocol):
    """What this module needs of the reader that knows the rest of a file."""

    @property
    def path(self) -> str:
        """Absolute path."""
        ...

    @property
    def indexes(self) -> tuple[int, ...]:
        """Numbers of the bands in the file, from 1."""
        ...

    @property
    def stamp(self) -> Stamp:
        """When the file was written, and its size."""
        ...

    @property
    def skip(self) -> bool:
        """Whether tiles that cannot be read are holes instead of errors."""
        ...

    @property
    def mask_band(self) -> bool:
        """Whether a mask that is no band of the file says what is valid."""
        ...

    @property
    def alpha(self) -> int:
        """Number of the band that is a mask of the others, from 1; 0 where there is none."""
        ...

    def judge(
        self,
        window: Window,
        pixels: np.ndarray,
        valid: np.ndarray,
        bands: tuple[int, ...],
        alpha: np.ndarray | None,
    ) -> None:
        """Write into `valid` (band or 1, height, width) which `pixels` may be used."""
        ...


class Level(NamedTuple):
    """An image of a file, or an overview of it, and where it is stored."""

    path: str
    stamp: Stamp
    position: int
    image: TiffImage


@dataclass(frozen=True, eq=False)
class Header:
    """The images of a file that are read here.

    Attributes
    ----------
    levels : tuple of Level
        The image itself, and its overviews from fine to coarse.
    complete : bool
        Whether all overviews are among them.
    """

    levels: tuple[Level, ...]
    complete: bool

    @property
    def nbytes(self) -> int:
        """Memory it takes, roughly."""
        return sum(level.image.nbytes for level in self.levels)


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


#: Headers of this process: they are not sent along with readers.
_headers: SharedCache[Header] = SharedCache(lambda: _HEADERS)


@dataclass(frozen=True)
class GeotiffReader(View):
    """Some bands of one GeoTIFF; see `WindowReader`.

    Parameters
    ----------
    source : FileReader
        Reads what is not handled here: mask bands, and overviews in other compressions.
    overviews : (int, int)
        Stamp of the file of overviews beside it, zeros if there is none.
    """

    source: FileReader
    overviews: Stamp

    @property
    def geobox(self) -> GeoBox:
        """Grid of the file."""
        return self.source.geobox

    @property
    def path(self) -> str:
        """Absolute path of the file."""
        return self.source.path

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
        """Read a window; see `WindowReader.read`."""
        source = self.source
        try:
            header = header_of(source.path, source.stamp, self.overviews)
        except ReadFailedError:
            header = None
        if header is None or (step > 1 and not (header.complete and not source.mask_band)):
            # It names what is wrong with a file that has gone, or leaves a hole.
            source.read(window, out, valid, bands=bands, times=times, step=step)
            return
        samples = tuple([source.indexes[band] - 1 for band in bands])
        holes = self._fill(header, window, out[0], samples, step)
        if valid is not None:
            alpha = None
            if source.alpha and source.alpha - 1 not in samples:
                alpha = np.empty((1, *out.shape[2:]), out.dtype)
                holes += self._fill(header, window, alpha, (source.alpha - 1,), step)
            source.judge(window, out[0], valid[0], bands, alpha)
            for piece, _ in holes:
                where = piece.bands if len(valid[0]) == len(bands) else slice(None)
                valid[0, where, piece.ys, piece.xs] = False
        if holes:
            named = [(_place(piece, window, step), reason) for piece, reason in holes]
            warn_skipped(source.path, named)
        for time in range(1, len(times)):
            out[time] = out[0]
            if valid is not None:
                valid[time] = valid[0]

    def _fill(
        self,
        header: Header,
        window: Window,
        out: np.ndarray,
        samples: tuple[int, ...],
        step: int,
    ) -> list[tuple[Piece, str]]:
        """Fill pixels (band, height, width); return what could not be read, if that is allowed."""
        level = header.levels[0] if step == 1 else _level_for(header, step)
        file = open_local(level.path, level.stamp)
        holes: list[tuple[Piece, str]] = []

        def attempt(piece: Piece) -> None:
            try:
                _read_piece(file, level, piece)
            except (OSError, ValueError) as error:
                if not self.source.skip:
                    hole = _place(piece, window, step), str(error)
                    raise read_failed(level.path, hole) from error
                piece.target[...] = fill_of(self.source)
                holes.append((piece, str(error)))

        if step == 1:
            pieces = _pieces(level.image, window, out, samples)
        else:
            pieces = _picks(level.image, header.levels[0].image, window, out, samples, step)
        if level.image.compression == RAW:
            for piece in pieces:
                attempt(piece)
        else:
            run_all(attempt, [piece for piece in pieces if not _copy_cached(level, piece)])
        return holes


def own_reader(source: FileReader, file: rasterio.DatasetReader) -> GeotiffReader | None:
    """Return a reader that needs no GDAL, or None for a file that does."""
    if not (POSITIONAL and file.driver == "GTiff" and any(source.stamp)):
        return None
    overviews = stamp_of(f"{source.path}.ovr")
    try:
        header = header_of(source.path, source.stamp, overviews)
    except ReadFailedError:
        return None
    if header is None:
        return None
    image = header.levels[0].image
    same = (
        (image.height, image.width) == file.shape
        and image.samples == file.count
        and {np.dtype(name) for name in file.dtypes} == {image.dtype.newbyteorder("=")}
        and _same_number(image.nodata, file.nodatavals[0])
    )
    return GeotiffReader(source, overviews) if same else None


def _same_number(text: str | None, value: float | None) -> bool:
    if text is None or value is None:
        return text is value
    try:
        number = float(text)
    except ValueError:
        return False
    return number == value or number != number


def header_of(path: str, stamp: Stamp, overviews: Stamp) -> Header | None:
    """Return the images of a file, from the cache or from the file; None if GDAL must read it.

    Raises
    ------
    ReadFailedError
        If the file is not the one that was opened.
    """
    try:
        return _headers.get((path, stamp, overviews), lambda: _parsed(path, stamp, overviews))
    except NotHandledError:
        return None


def _parsed(path: str, stamp: Stamp, overviews: Stamp) -> Header:
    images = parse(open_local(path, stamp))
    main = images[0] if images else None
    if main is None or not handles(main):
        raise NotHandledError("the image itself is left to GDAL")
    reduced = [
        (path, stamp, i, image) for i, image in enumerate(images) if image is None or image.reduced
    ]
    if not reduced and any(overviews):
        beside = f"{path}.ovr"
        found = parse(open_local(beside, overviews))
        reduced = [(beside, overviews, i, image) for i, image in enumerate(found)]
    levels = [Level(path, stamp, 0, _joined(main, stamp))]
    for place, written, i, image in reduced:
        if image is not None and handles(image) and _alike(image, main):
            levels.append(Level(place, written, i, _joined(image, written)))
    levels[1:] = sorted(levels[1:], key=lambda level: -level.image.width)
    return Header(tuple(levels), complete=len(levels) == len(reduced) + 1)


def _joined(image: TiffImage, stamp: Stamp) -> TiffImage:
    """Join strips, unless the file has lost some of them: then each is there or not."""
    ends = image.offsets + image.counts
    return coalesced(image) if ends.size and int(ends.max()) <= stamp[1] else image


def _alike(image: TiffImage, main: TiffImage) -> bool:
    same_pixels = image.samples == main.samples and image.dtype == main.dtype
    return same_pixels and image.width <= main.width and image.height <= main.height


def _level_for(header: Header, step: int) -> Level:
    """Return the coarsest level that has a pixel for every ``step x step`` cell."""
    main = header.levels[0].image
    fine = [
        level
        for level in header.levels
        if max(main.width / level.image.width, main.height / level.image.height) <= step * 1.01
    ]
    return min(fine, key=lambda level: level.image.width)


def _pieces(
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


def _picks(
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


def _place(piece: Piece, window: Window, step: int) -> Window:
    """Window of the grid that a piece stands for."""
    top, left = piece.ys.start * step, piece.xs.start * step
    bottom = min(piece.ys.stop * step, window.height)
    right = min(piece.xs.stop * step, window.width)
    return Window(window.row + top, window.col + left, bottom - top, right - left)


def _key(level: Level, block: int) -> tuple[str, Stamp, int, int]:
    return level.path, level.stamp, level.position, block


def _copy_cached(level: Level, piece: Piece) -> bool:
    tile = tiles.find(_key(level, piece.block))
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


def _read_piece(file: ReadAt, level: Level, piece: Piece) -> None:
    image = level.image
    if not image.counts[piece.block]:
        piece.target[...] = image.fill
    elif image.compression != RAW:
        key = _key(level, piece.block)
        _copy(tiles.get(key, lambda: _decoded(file, level, piece.block)), piece)
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

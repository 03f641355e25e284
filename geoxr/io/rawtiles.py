"""Uncompressed blocks of a TIFF image, read and cut in one compiled call that holds no lock.

A window meets several blocks of each of several files. Going through Python for each of them costs
more than the bytes, and threads would wait for each other.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numba
import numpy as np
from numba import types

from geoxr.grid.window import Window
from geoxr.io.bytes import bytes_read
from geoxr.io.tiff import RAW, TiffImage

#: Bytes that are read and thrown away rather than read around: a call costs as much.
_GAP = 1 << 14
#: Bytes that are read at once, so that they stay in the processor's cache until they are copied.
_AT_ONCE = 1 << 19

#: ``ssize_t pread(int, void *, size_t, off_t)`` of POSIX; found in the process when it is compiled.
_pread = types.ExternalFunction(
    "pread", types.int64(types.int32, types.voidptr, types.uint64, types.int64)
)


class _Memory(threading.local):
    """Memory of a thread between reading and copying."""

    def __init__(self) -> None:
        self.bytes = np.empty(_AT_ONCE, "uint8")


_memory = _Memory()


class RawBand(NamedTuple):
    """A band of a file.

    Attributes
    ----------
    size : int [bytes]
        Of the file. A block that it does not hold in full is not read in part.
    sample : int
        Position of the band in `image`.
    """

    size: int
    image: TiffImage
    sample: int


@dataclass(frozen=True, eq=False)
class RawBlocks:
    """Where uncompressed blocks of some bands lie, in one file or in several alike.

    Attributes
    ----------
    image : TiffImage
        Of the first band.
    samples : int64 array (band,)
        Positions of the bands in a pixel.
    offsets : uint64 array (file, block)
        Empty where bands cannot be read together; the one file of interleaved bands is one row.
    there : bool array (block,)
        Whether all files hold a block in full.
    """

    image: TiffImage
    samples: np.ndarray
    offsets: np.ndarray
    there: np.ndarray

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return self.samples.nbytes + self.offsets.nbytes + self.there.nbytes

    @cached_property
    def whole(self) -> bool:
        """Whether no block is missing."""
        return bool(self.there.all())


def raw_blocks(bands: Sequence[RawBand]) -> RawBlocks:
    """Find the blocks of bands that are read together."""
    image = bands[0].image
    samples = np.array([band.sample for band in bands])
    height, width = image.block
    line = width * image.depth * image.dtype.itemsize
    if not _handled(bands, line):
        return RawBlocks(image, samples, np.empty((0, 0), "uint64"), np.empty(0, bool))
    files = bands if image.depth == 1 else bands[:1]
    starts = [band.sample * image.plane if image.depth == 1 else 0 for band in files]
    spans = [slice(start, start + image.plane) for start in starts]
    offsets = np.array(
        [b.image.offsets[span] for b, span in zip(files, spans, strict=True)], "uint64"
    )
    counts = np.array([b.image.counts[span] for b, span in zip(files, spans, strict=True)])
    rows = np.minimum(height, image.height - np.arange(image.plane) // image.across * height)
    ends = offsets + (rows * line).astype("uint64")
    sizes = np.array([[band.size] for band in files], "uint64")
    return RawBlocks(image, samples, offsets, (counts.astype(bool) & (ends <= sizes)).all(axis=0))


def _handled(bands: Sequence[RawBand], line: int) -> bool:
    """Whether bands are stored alike, in a way that is read here."""
    image = bands[0].image
    kind = image.dtype.kind in "iuf" and image.dtype != np.float16 and image.dtype.isnative
    if image.compression != RAW or not kind or line > _AT_ONCE:
        return False
    if image.depth > 1:
        return all(band.image is image for band in bands)
    layout = _layout(image)
    return all(band.image is image or _layout(band.image) == layout for band in bands)


def read_raw(
    raw: RawBlocks, descriptors: Sequence[int | None], window: Window, out: np.ndarray
) -> bool:
    """Fill the pixels of a window.

    Parameters
    ----------
    descriptors : sequence of int or None
        Of the open files, one for each row of ``raw.offsets``.
    out : array (band, height, width)

    Returns
    -------
    bool
        False if that is not for this function, or failed: then `out` holds anything, and whoever
        reads block by block finds out why.
    """
    image = raw.image
    if not raw.offsets.size or image.dtype != out.dtype or None in descriptors:
        return False
    height, width = image.block
    down = np.arange(window.row // height, (window.row + window.height - 1) // height + 1)
    across = np.arange(window.col // width, (window.col + window.width - 1) // width + 1)
    blocks = (down[:, None] * image.across + across).ravel()
    if not raw.whole and not raw.there[blocks].all():
        return False
    number = int(
        _read(
            np.array(descriptors),
            raw.offsets[:, blocks],
            (height, width, image.depth),
            (window.row, window.col, window.height, window.width),
            raw.samples,
            _memory.bytes.view(image.dtype),
            out,
        )
    )
    bytes_read.add(max(number, 0))
    return number >= 0


def _layout(image: TiffImage) -> tuple[object, ...]:
    """Everything about how an image is stored but where."""
    return (
        image.height, image.width, image.block, image.depth, image.compression, image.dtype,
    )  # fmt: skip


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _read(descriptors, places, layout, window, samples, memory, out):  # type: ignore[no-untyped-def]
    """Return the number of bytes that were read, or -1."""
    height, width, depth = layout
    row, col, rows, cols = window
    size, line, total = memory.itemsize, width * depth, 0
    first_down, first_across = row // height, col // width
    for band in range(descriptors.size):
        block = 0
        for down in range(first_down, (row + rows - 1) // height + 1):
            top, stop = max(row, down * height), min(row + rows, (down + 1) * height)
            for right in range(first_across, (col + cols - 1) // width + 1):
                left, end = max(col, right * width), min(col + cols, (right + 1) * width)
                wide = (end - left) * depth
                at_once = memory.size // line if (line - wide) * size <= _GAP else 1
                place = places[band, block] + np.uint64(
                    ((top - down * height) * line + (left - right * width) * depth) * size
                )
                block += 1
                for start in range(top, stop, at_once):
                    number = min(at_once, stop - start)
                    wanted = ((number - 1) * line + wide) * size
                    at = place + np.uint64((start - top) * line * size)
                    if _pread(descriptors[band], memory.ctypes, wanted, at) != wanted:
                        return -1
                    total += wanted
                    for i in range(number):
                        y, x, k = start - row + i, left - col, i * line
                        if depth == 1:
                            to = out[band, y, x : x + wide]
                            for j in range(wide):
                                to[j] = memory[np.uintp(k + j)]
                            continue
                        for s in range(samples.size):
                            to = out[s, y, x : x + end - left]
                            for j in range(end - left):
                                to[j] = memory[np.uintp(k + j * depth + samples[s])]
    return total

"""Uncompressed blocks of a TIFF image, read and cut in one compiled call that holds no lock.

A window meets several blocks of each of several files. Going through Python for each of them costs
more than the bytes, and threads would wait for each other.
"""

from __future__ import annotations

import threading

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


def read_raw(
    descriptor: int | None,
    size: int,
    image: TiffImage,
    window: Window,
    samples: tuple[int, ...],
    out: np.ndarray,
) -> bool:
    """Fill the pixels of a window from uncompressed blocks.

    Parameters
    ----------
    descriptor : int or None
        Of the open file, if it has one.
    size : int [bytes]
        Of the file. A block that it does not hold in full is not read in part.
    samples : tuple of int
        Bands to read.
    out : array (band, height, width)

    Returns
    -------
    bool
        False if that is not for this function, or failed: then `out` holds anything, and whoever
        reads block by block finds out why.
    """
    if (
        descriptor is None
        or image.compression != RAW
        or not image.dtype.isnative
        or image.dtype != out.dtype
    ):
        return False
    height, width = image.block
    line = width * image.depth * image.dtype.itemsize
    if line > _AT_ONCE or out.dtype.kind not in "iuf" or out.dtype == np.float16:
        return False
    number = int(
        _read(
            descriptor,
            image.offsets,
            image.counts,
            (height, width, image.across, image.plane, image.depth, image.height, size),
            (window.row, window.col, window.height, window.width),
            np.array(samples),
            _memory.bytes.view(image.dtype),
            out,
        )
    )
    bytes_read.add(max(number, 0))
    return number >= 0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _read(descriptor, offsets, counts, layout, window, samples, memory, out):  # type: ignore[no-untyped-def]
    """Return the number of bytes that were read, or -1."""
    height, width, across, plane, depth, full_height, file_size = layout
    row, col, rows, cols = window
    size, total = memory.itemsize, 0
    for band in range(samples.size if depth == 1 else 1):
        first = samples[band] * plane if depth == 1 else 0
        for down in range(row // height, (row + rows - 1) // height + 1):
            top = max(row, down * height)
            stop = min(row + rows, (down + 1) * height)
            for right in range(col // width, (col + cols - 1) // width + 1):
                left = max(col, right * width)
                end = min(col + cols, (right + 1) * width)
                block = first + down * across + right
                wide, line = (end - left) * depth, width * depth
                there = min(height, full_height - down * height) * line * size
                if counts[block] == 0 or offsets[block] + there > file_size:
                    return -1
                at_once = memory.size // line if (line - wide) * size <= _GAP else 1
                place = (
                    offsets[block]
                    + ((top - down * height) * line + (left - right * width) * depth) * size
                )
                for start in range(top, stop, at_once):
                    number = min(at_once, stop - start)
                    bytes_ = ((number - 1) * line + wide) * size
                    done = _pread(
                        descriptor, memory.ctypes, bytes_, place + (start - top) * line * size
                    )
                    if done != bytes_:
                        return -1
                    total += bytes_
                    for i in range(number):
                        y, x, k = start - row + i, left - col, i * line
                        if depth == 1:
                            to = out[band, y, x : x + wide]
                            for j in range(wide):
                                to[j] = memory[np.uintp(k + j)]
                        else:
                            for s in range(samples.size):
                                to = out[s, y, x : x + end - left]
                                for j in range(end - left):
                                    to[j] = memory[np.uintp(k + j * depth + samples[s])]
    return total

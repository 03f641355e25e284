"""Decoding of compressed blocks of TIFF files, outside the GIL."""

from __future__ import annotations

import math

import numpy as np

from geoxr.io.pages import own_pages
from geoxr.io.tiff import RAW, TiffImage

#: TIFF compression -> decoder in imagecodecs. 8 and 32946 are both Deflate.
_DECODERS = {
    5: "lzw_decode",
    8: "deflate_decode",
    32773: "packbits_decode",
    32946: "deflate_decode",
    34925: "lzma_decode",
    50000: "zstd_decode",
}
#: Predictors: none, differences of integers, of the bytes of floating-point numbers.
_NONE, _INTEGER, _FLOAT = 1, 2, 3


def handles(image: TiffImage) -> bool:
    """Whether the blocks of an image can be read without GDAL."""
    if image.compression == RAW:
        return True
    if image.compression not in _DECODERS:
        return False
    kind, size = image.dtype.kind, image.dtype.itemsize
    if image.predictor == _INTEGER:
        return kind in "iuf" and size <= 8
    return image.predictor == _NONE or (image.predictor == _FLOAT and kind == "f")


def decode(image: TiffImage, number: int, data: bytes) -> np.ndarray:
    """Return the pixels of a compressed block.

    Parameters
    ----------
    number : int
        Position of the block in the tables of the image.
    data : bytes
        What the file holds.

    Returns
    -------
    array (row, column, sample)
        In the byte order of the machine. One sample where each band has blocks of its own.

    Raises
    ------
    ValueError
        If the bytes are no block of this size.
    """
    import imagecodecs

    shape = (image.rows_of(number), image.block[1], image.depth)
    memory = own_pages(math.prod(shape) * image.dtype.itemsize).view(image.dtype).reshape(shape)
    flat = memory.reshape(-1).view("uint8")
    decoder = getattr(imagecodecs, _DECODERS[image.compression])
    try:
        got = decoder(data, out=flat)
    except RuntimeError as error:  # the base of all errors of imagecodecs
        raise ValueError(str(error)) from error
    if len(got) != flat.size:
        raise ValueError(f"it holds {len(got)} of {flat.size} bytes")
    if image.predictor == _FLOAT:
        return _native(imagecodecs.floatpred_decode(memory, axis=1))
    pixels = _native(memory)
    if image.predictor == _INTEGER:
        # Floating-point numbers too are differences of the integers with the same bits.
        numbers = pixels.view(f"u{pixels.dtype.itemsize}")
        imagecodecs.delta_decode(numbers, axis=1, out=numbers)
    return pixels


def _native(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype.isnative:
        return pixels
    return pixels.byteswap(inplace=True).view(pixels.dtype.newbyteorder("="))

"""Headers of TIFF files, classic and BigTIFF, as values; no pixel is touched.

References
----------
TIFF 6.0 (Adobe, 1992), sections 2, 8 and 15; Supplements 1 and 2 for the predictor and Deflate; TIFF
Technical Note 3 for the predictor of floating-point numbers; BigTIFF as in libtiff 4; ``GDAL_NODATA``
(42113) as in GDAL's GTiff driver.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from geoxr.io.bytes import ReadAt

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_FILL_ORDER, _STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _STRIP_ROWS, _STRIP_COUNTS = (
    266, 273, 274, 277, 278, 279,
)  # fmt: skip
_PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = (
    284, 317, 322, 323, 324, 325,
)  # fmt: skip
_SAMPLE_FORMAT, _NODATA = 339, 42113
_USED = {
    _SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _STRIP_OFFSETS,
    _ORIENTATION, _SAMPLES, _STRIP_ROWS, _STRIP_COUNTS, _PLANAR, _PREDICTOR, _TILE_WIDTH,
    _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS, _SAMPLE_FORMAT, _NODATA,
}  # fmt: skip

#: Formats of numbers in a header: TIFF type -> NumPy type without byte order.
_TYPES = {1: "u1", 2: "u1", 3: "u2", 4: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 13: "u4", 16: "u8",
          17: "i8", 18: "u8"}  # fmt: skip
#: Kinds of samples: unsigned, signed, floating point, complex.
_KINDS = {1: "u", 2: "i", 3: "f", 6: "c"}
#: Gray from white or black, RGB, palette: what is stored is what GDAL gives.
_PLAIN = (0, 1, 2, 3)

#: Bits of the subfile type: an overview, a mask of another image.
_REDUCED, _MASK = 1, 4
#: Uncompressed.
RAW = 1
#: Images in one file; a chain of more is a loop or no TIFF.
_MOST_IMAGES = 4096


class NotHandledError(ValueError):
    """A TIFF that is broken, or has what this module leaves to GDAL."""


@dataclass(frozen=True, eq=False)
class TiffImage:
    """One image of a TIFF file.

    Attributes
    ----------
    height, width : int [pixel]
    block : (rows, columns) [pixel]
        Size of a tile; a strip is as wide as the image.
    tiled : bool
        Tiles are stored in full, strips end with the image.
    samples : int
        Bands.
    separate : bool
        Whether each band has blocks of its own, or a pixel holds all bands.
    dtype : numpy.dtype
        With the byte order of the file.
    compression, predictor : int
        Numbers of the TIFF tags.
    reduced : bool
        Whether it is an overview.
    fill : number
        Value of the pixels of a block that is left out.
    offsets, counts : array of uint64
        Place and size of each block [bytes]; those of a band are row by row, then the next band.
    """

    height: int
    width: int
    block: tuple[int, int]
    tiled: bool
    samples: int
    separate: bool
    dtype: np.dtype
    compression: int
    predictor: int
    reduced: bool
    fill: float | int
    offsets: np.ndarray
    counts: np.ndarray

    @property
    def across(self) -> int:
        """Blocks in a row of blocks."""
        return -(-self.width // self.block[1])

    @property
    def plane(self) -> int:
        """Blocks of one band, or of all where a pixel holds all bands."""
        return self.across * -(-self.height // self.block[0])

    @property
    def depth(self) -> int:
        """Numbers that a pixel of a block holds."""
        return 1 if self.separate else self.samples

    def rows_of(self, number: int) -> int:
        """Rows that are stored in a block: the last strip may be shorter."""
        if self.tiled:
            return self.block[0]
        return min(self.block[0], self.height - number % self.plane * self.block[0])

    @property
    def nbytes(self) -> int:
        """Memory of the tables."""
        return self.offsets.nbytes + self.counts.nbytes + 512


def parse(file: ReadAt) -> tuple[TiffImage | None, ...]:
    """Read the images of a TIFF file, in order; None for one that is left to GDAL.

    Images that say where another one is valid are left out.

    Raises
    ------
    NotHandledError
        If it is no TIFF, or the chain of its images is broken.
    """
    try:
        return _parse(file)
    except (OSError, struct.error) as error:
        raise NotHandledError(f"the header is broken ({error})") from error


def _parse(file: ReadAt) -> tuple[TiffImage | None, ...]:
    head = file.read(0, 8)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None:
        raise NotHandledError("the file does not begin as a TIFF does")
    version = struct.unpack(order + "H", head[2:4])[0]
    if version not in (42, 43):
        raise NotHandledError(f"version {version} is neither TIFF nor BigTIFF")
    big = version == 43
    position = _number(file, 8, order + "Q") if big else struct.unpack(order + "I", head[4:])[0]
    images: list[TiffImage | None] = []
    seen: set[int] = set()
    while position:
        if position in seen or len(seen) == _MOST_IMAGES:
            raise NotHandledError("the images of the file are chained in a loop")
        seen.add(position)
        tags, position = _directory(file, position, order, big)
        if _SUBFILE in tags and tags[_SUBFILE].any() and int(tags[_SUBFILE][0]) & _MASK:
            continue
        try:
            images.append(_image(tags, order))
        except NotHandledError:
            images.append(None)
    return tuple(images)


def _number(file: ReadAt, offset: int, form: str) -> int:
    return int(struct.unpack(form, file.read(offset, struct.calcsize(form)))[0])


def _directory(
    file: ReadAt, position: int, order: str, big: bool
) -> tuple[dict[int, np.ndarray], int]:
    """Tags of one image, and the place of the next."""
    count_form, entry, pointer = ("Q", 20, "Q") if big else ("H", 12, "I")
    number = _number(file, position, order + count_form)
    if number > 4096:
        raise NotHandledError(f"an image has {number} tags")
    start, inline = position + struct.calcsize(count_form), struct.calcsize(pointer)
    table = file.read(start, number * entry + inline)
    tags: dict[int, np.ndarray] = {}
    for at in range(0, number * entry, entry):
        tag, kind, count = struct.unpack_from(f"{order}HH{pointer}", table, at)
        if tag not in _USED or kind not in _TYPES:
            continue
        dtype = np.dtype(order + _TYPES[kind])
        size, value = count * dtype.itemsize, at + 4 + inline
        if size <= inline:
            data = table[value : value + size]
        else:
            data = file.read(struct.unpack_from(order + pointer, table, value)[0], size)
        tags[tag] = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
    return tags, struct.unpack_from(order + pointer, table, number * entry)[0]


def _image(tags: Mapping[int, np.ndarray], order: str) -> TiffImage:
    def one(tag: int, default: int) -> int:
        return int(tags[tag][0]) if tag in tags and tags[tag].size else default

    height, width, samples = one(_HEIGHT, 0), one(_WIDTH, 0), one(_SAMPLES, 1)
    tiled = _TILE_OFFSETS in tags
    if tiled:
        block, offsets, counts = (
            (one(_TILE_HEIGHT, 0), one(_TILE_WIDTH, 0)),
            _TILE_OFFSETS,
            _TILE_COUNTS,
        )
    else:
        block, offsets, counts = (
            (min(one(_STRIP_ROWS, height), height), width),
            _STRIP_OFFSETS,
            _STRIP_COUNTS,
        )
    if offsets not in tags or min(height, width, samples, *block) < 1:
        raise NotHandledError("an image has no size or no blocks")
    if one(_FILL_ORDER, 1) != 1 or one(_ORIENTATION, 1) != 1 or one(_PHOTOMETRIC, 1) not in _PLAIN:
        raise NotHandledError("an image is turned or has colours that must be converted")
    nodata = tags[_NODATA].tobytes().decode("ascii", "replace") if _NODATA in tags else ""
    dtype = _dtype(tags, samples, order)
    image = TiffImage(
        height=height,
        width=width,
        block=block,
        tiled=tiled,
        samples=samples,
        separate=one(_PLANAR, 1) == 2 or samples == 1,
        dtype=dtype,
        compression=one(_COMPRESSION, RAW),
        predictor=one(_PREDICTOR, 1),
        reduced=bool(one(_SUBFILE, 0) & _REDUCED),
        fill=fill_value(_as_number(nodata.strip("\0 ")), dtype),
        offsets=tags[offsets].astype("uint64"),
        counts=tags[counts].astype("uint64") if counts in tags else np.zeros(0, "uint64"),
    )
    blocks = image.plane * (samples if image.separate else 1)
    if image.offsets.size != blocks or image.counts.size != blocks:
        raise NotHandledError("the tables of blocks do not fit the size of the image")
    return image


def _dtype(tags: Mapping[int, np.ndarray], samples: int, order: str) -> np.dtype:
    bits = set(tags[_BITS].tolist()) if _BITS in tags else {1}
    kinds = set(tags[_SAMPLE_FORMAT].tolist()) if _SAMPLE_FORMAT in tags else {1}
    if len(bits) > 1 or len(kinds) > 1:
        raise NotHandledError("bands have different types")
    kind, size = _KINDS.get(kinds.pop()), bits.pop()
    if kind is None or size % 8:
        raise NotHandledError("pixels are not whole bytes")
    try:
        return np.dtype(f"{order}{kind}{size // 8}")
    except TypeError as error:
        raise NotHandledError(f"there is no type {kind}{size // 8}") from error


def _as_number(text: str) -> float | int | None:
    try:
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        return None


def fill_value(nodata: float | None, dtype: np.dtype) -> float | int:
    """Value of the pixels of a block that is left out: nodata as near as they can have it, else 0."""
    if dtype.kind not in "iu":
        return 0.0 if nodata is None else float(dtype.type(nodata).real)
    if nodata is None or nodata != nodata:
        return 0
    info = np.iinfo(dtype)
    return int(min(max(nodata, info.min), info.max))


def coalesced(image: TiffImage) -> TiffImage:
    """Join uncompressed strips that follow each other in the file to one block per band."""
    if image.tiled or image.compression != RAW or image.block[0] >= image.height:
        return image
    row = image.width * image.depth * image.dtype.itemsize
    offsets = image.offsets.reshape(-1, image.plane)
    steps = offsets[:, 1:] - offsets[:, :-1]
    if not offsets.all() or not (steps == image.block[0] * row).all():
        return image
    sizes = np.full(len(offsets), image.height * row, "uint64")
    block = image.height, image.width
    return replace(image, block=block, offsets=offsets[:, 0].copy(), counts=sizes)

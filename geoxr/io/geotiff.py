"""GeoTIFF and COG by positional reads and decoded tiles, without GDAL.

GDAL says what a file means when it is opened. Its pixels are read here: of uncompressed blocks the
rows that are needed, of compressed ones the whole block, which stays in the shared cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from odc.geo.geobox import GeoBox

from geoxr.errors import ReadFailedError
from geoxr.grid.window import Window
from geoxr.io.blocks import (
    Level,
    Piece,
    copy_cached,
    cut_window,
    pick_cells,
    place_of,
    read_piece,
)
from geoxr.io.bytes import POSITIONAL, ReadAt, Stamp, open_local, stamp_of
from geoxr.io.cache import SharedCache
from geoxr.io.codecs import handles
from geoxr.io.holes import read_failed, warn_skipped
from geoxr.io.parallel import run_all
from geoxr.io.rawtiles import RawBand, RawBlocks, raw_blocks, read_raw
from geoxr.io.reader import View, WindowReader, fill_of
from geoxr.io.tiff import RAW, NotHandledError, TiffImage, coalesced, fill_value, parse

if TYPE_CHECKING:
    import rasterio

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
        """Write into `valid` (band or 1, height, width) which `pixels` may be used.

        Raises
        ------
        ReadFailedError
            If the mask cannot be read.
        """
        ...


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


#: Headers of this process: they are not sent along with readers.
_headers: SharedCache[Header] = SharedCache(lambda: _HEADERS)
#: Where uncompressed blocks of bands that are read together lie.
_raw: SharedCache[RawBlocks] = SharedCache(lambda: _HEADERS // 4)


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

    @property
    def stamp(self) -> Stamp:
        """When the file was written, and its size."""
        return self.source.stamp

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
        opened = self._open(step)
        if opened is None:
            source.read(window, out, valid, bands=bands, times=times, step=step)
            return
        samples = tuple([source.indexes[band] - 1 for band in bands])
        holes = self._fill(opened, window, out[0], samples, step)
        if valid is not None:
            alpha = None
            if source.alpha and source.alpha - 1 not in samples:
                alpha = np.empty((1, *out.shape[2:]), out.dtype)
                lost = self._fill(opened, window, alpha, (source.alpha - 1,), step)
                holes += [(piece._replace(bands=slice(None)), reason) for piece, reason in lost]
            try:
                source.judge(window, out[0], valid[0], bands, alpha)
            except ReadFailedError:  # of the mask
                source.read(window, out, valid, bands=bands, times=times, step=step)
                return
            for piece, _ in holes:
                where = piece.bands if len(valid[0]) == len(bands) else slice(None)
                valid[0, where, piece.ys, piece.xs] = False
        if holes:
            named = [(place_of(piece, window, step), reason) for piece, reason in holes]
            warn_skipped(source.path, named)
        for time in range(1, len(times)):
            out[time] = out[0]
            if valid is not None:
                valid[time] = valid[0]

    def _open(self, step: int) -> tuple[ReadAt, Level, TiffImage] | None:
        """Open the image that is read, beside the image at full size; None leaves it to `source`.

        That names what is wrong with a file that has gone, or leaves a hole.
        """
        source = self.source
        try:
            header = header_of(source.path, source.stamp, self.overviews)
            if header is None or (step > 1 and (source.mask_band or not header.complete)):
                return None
            full = header.levels[0]
            file = open_local(full.path, full.stamp)
            level = full if step == 1 else _level_for(header, step)
            if level.path != full.path:
                file = open_local(level.path, level.stamp)
        except ReadFailedError:
            return None
        return file, level, full.image

    def _fill(
        self,
        opened: tuple[ReadAt, Level, TiffImage],
        window: Window,
        out: np.ndarray,
        samples: tuple[int, ...],
        step: int,
    ) -> list[tuple[Piece, str]]:
        """Fill pixels (band, height, width); return what could not be read, if that is allowed."""
        file, level, full = opened
        if step == 1 and level.image.compression == RAW:
            raw = _raw_of([level], [samples])
            if read_raw(raw, [_descriptor(file)] * len(raw.offsets), window, out):
                return []
        holes: list[tuple[Piece, str]] = []

        def attempt(piece: Piece) -> None:
            try:
                read_piece(file, level, piece)
            except (OSError, ValueError) as error:
                if not self.source.skip:
                    hole = place_of(piece, window, step), str(error)
                    raise read_failed(level.path, hole) from error
                piece.target[...] = fill_of(self.source)
                holes.append((piece, str(error)))

        if step == 1:
            pieces = cut_window(level.image, window, out, samples)
        else:
            pieces = pick_cells(level.image, full, window, out, samples, step)
        if level.image.compression == RAW:
            for piece in pieces:
                attempt(piece)
        else:
            run_all(attempt, [piece for piece in pieces if not copy_cached(level, piece)])
        return holes


def read_together(readers: Sequence[GeotiffReader], window: Window, out: np.ndarray) -> bool:
    """Fill pixels (band, height, width) from the first bands of uncompressed files that are alike.

    False where they are not, or where one of them cannot be read; reading them one by one tells.
    """
    levels, samples, descriptors = [], [], []
    for reader in readers:
        opened = reader._open(1)
        if opened is None:
            return False
        file, level, _ = opened
        if level.image.compression != RAW:
            return False
        levels.append(level)
        samples.append((reader.source.indexes[0] - 1,))
        descriptors.append(_descriptor(file))
    return read_raw(_raw_of(levels, samples), descriptors, window, out)


def _raw_of(levels: Sequence[Level], samples: Sequence[tuple[int, ...]]) -> RawBlocks:
    """Where the blocks of some bands of some files lie, from the cache or from their headers."""
    key = tuple(
        [
            (level.path, level.stamp, level.position, some)
            for level, some in zip(levels, samples, strict=True)
        ]
    )
    return _raw.get(
        key,
        lambda: raw_blocks(
            [
                RawBand(level.stamp[1], level.image, sample)
                for level, some in zip(levels, samples, strict=True)
                for sample in some
            ]
        ),
    )


def _descriptor(file: ReadAt) -> int | None:
    return getattr(file, "descriptor", None)


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
        and (not image.tiled or image.block == file.block_shapes[0])
        and {np.dtype(name) for name in file.dtypes} == {image.dtype.newbyteorder("=")}
        and _same_number(image.fill, fill_value(file.nodatavals[0], image.dtype))
    )
    return GeotiffReader(source, overviews) if same else None


def _same_number(first: float, second: float) -> bool:
    return first == second or (first != first and second != second)


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

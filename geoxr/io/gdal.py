"""Files through GDAL: whatever rasterio opens, one handle per thread and process."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import rasterio
import rasterio.windows
import shapely
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError

from geoxr.errors import ArgumentError, MissingFileError, NotARasterError, ReadFailedError
from geoxr.grid.classes import Classes
from geoxr.grid.control_points import Placement
from geoxr.grid.crs import parse_crs
from geoxr.grid.geobox import check_grid
from geoxr.grid.quiet import quiet
from geoxr.grid.shapes import outline
from geoxr.grid.window import Window
from geoxr.io.bytes import Stamp, check_unchanged, stamp_of
from geoxr.io.control_points import read_placement
from geoxr.io.facts import BandFacts, band_names, classes_in, palette_of, storable
from geoxr.io.geotiff import GeotiffReader, own_reader
from geoxr.io.holes import Hole, read_failed, warn_skipped
from geoxr.io.reader import fill_of, mark_valid, reduce_valid
from geoxr.options import options
from geoxr.typing import PathLike

#: Types that GDAL has and NumPy has not, and those rasterio reads them into.
_IN_MEMORY = {"complex_int16": "complex64", "complex_int32": "complex128"}
#: Rasters inside a file that a message names.
_MOST_PARTS = 8


@dataclass(frozen=True)
class GdalReader:
    """Some bands of one file; see `WindowReader`.

    Parameters
    ----------
    indexes : tuple of int
        Numbers of the bands in the file, from 1.
    stamp : (int, int)
        When the file was written, and its size.
    marks : tuple, optional
        Nodata of each band, where bands have different ones.
    mask_band : bool
        Whether a mask that is no band of the file says what is valid.
    alpha : int
        Number of the band that is a mask of the others, from 1; 0 where there is none. Where it is
        read like any other band it is taken for data: aerial images have near infrared there.
    skip : bool
        Whether blocks that cannot be read are holes instead of errors.
    """

    path: str
    indexes: tuple[int, ...]
    geobox: GeoBox
    dtype: np.dtype
    bands: tuple[str, ...]
    nodata: float | int | None
    stamp: Stamp
    marks: tuple[float | int | None, ...] | None = None
    mask_band: bool = False
    alpha: int = 0
    skip: bool = False

    times = None

    @property
    def masked(self) -> bool:
        """Whether pixels alone do not tell validity."""
        marked = self.nodata is not None or self.dtype.kind in "fc"
        unmarked_holes = self.skip and not marked
        return self.mask_band or self.alpha > 0 or self.marks is not None or unmarked_holes

    @property
    def footprint(self) -> shapely.Geometry:
        """Outline of the file, valid or not."""
        return outline(self.geobox)

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
        good = None if valid is None else valid[0]
        try:
            self._read(window, out[0], good, bands)
        except (RasterioError, ReadFailedError) as error:
            if not self.skip:
                if isinstance(error, ReadFailedError):
                    raise
                raise read_failed(self.path, (window, _reason(error))) from error
            self._read_blocks(window, out[0], good, bands, step)
        for time in range(1, len(times)):
            out[time] = out[0]
            if valid is not None:
                valid[time] = valid[0]

    def _read(
        self, window: Window, out: np.ndarray, valid: np.ndarray | None, bands: tuple[int, ...]
    ) -> None:
        """Fill pixels and validity, (band, height, width) each."""
        indexes = [self.indexes[band] for band in bands]
        file, area = _handle(self.path, self.stamp), _area(window)
        if out.dtype == self.dtype and out.flags.c_contiguous:
            file.read(indexes, window=area, out=out)
        else:
            out[...] = file.read(indexes, window=area, out_shape=out.shape)
        if valid is None:
            return
        alpha = None
        if self.alpha and self.alpha not in indexes:
            alpha = file.read([self.alpha], window=area, out_shape=(1, *out.shape[1:]))
        self.judge(window, out, valid, bands, alpha)

    def judge(
        self,
        window: Window,
        pixels: np.ndarray,
        valid: np.ndarray,
        bands: tuple[int, ...],
        alpha: np.ndarray | None,
    ) -> None:
        """Write into `valid` (band or 1, height, width) which `pixels` may be used.

        Parameters
        ----------
        alpha : array (1, height, width), optional
            Pixels of the alpha band, unless it is one of the bands read.

        Raises
        ------
        ReadFailedError
            If the mask cannot be read.
        """
        if self.marks is not None and not self.mask_band:
            good = np.empty(pixels.shape, bool)
            for i, band in enumerate(bands):
                mark_valid(pixels[None, i : i + 1], self.marks[band], good[None, i : i + 1])
            reduce_valid(good, valid)
            return
        mark_valid(pixels[None], None if self.masked else self.nodata, valid[None])
        if alpha is not None:
            valid &= alpha != 0
        if self.mask_band:
            good = np.empty(valid.shape, bool)
            indexes = [self.indexes[band] for band in bands]
            try:
                file = _handle(self.path, self.stamp)
                mask = file.read_masks(indexes, window=_area(window), out_shape=pixels.shape)
            except RasterioError as error:
                raise read_failed(self.path, (window, f"its mask: {_reason(error)}")) from error
            reduce_valid(mask != 0, good)
            valid &= good

    def _read_blocks(
        self,
        window: Window,
        out: np.ndarray,
        valid: np.ndarray | None,
        bands: tuple[int, ...],
        step: int,
    ) -> None:
        """Read block by block and leave holes where that fails."""
        holes: list[Hole] = []
        for part, ys, xs in self._blocks(window, step):
            good = None if valid is None else valid[:, ys, xs]
            try:
                self._read(part, out[:, ys, xs], good, bands)
            except (RasterioError, ReadFailedError) as error:
                out[:, ys, xs] = fill_of(self)
                if good is not None:
                    good[...] = False
                holes.append((part, _reason(error)))
        if holes:
            warn_skipped(self.path, holes)

    def _blocks(self, window: Window, step: int) -> Iterator[tuple[Window, slice, slice]]:
        """Cut a window along the blocks of the file, or into groups of cells where there is a step."""
        try:
            height, width = _handle(self.path, self.stamp).block_shapes[0]
        except (RasterioError, ReadFailedError):
            height, width = window.stop
        if step > 1:
            height, width = max(height // step, 1), max(width // step, 1)
            shape = -(-window.height // step), -(-window.width // step)
            cells = _cut(0, shape[0], height), _cut(0, shape[1], width)
        else:
            cells = (
                _cut(window.row, window.stop[0], height),
                _cut(window.col, window.stop[1], width),
            )
        for ys in cells[0]:
            for xs in cells[1]:
                top, left = ys.start * step, xs.start * step
                bottom = min(ys.stop * step, window.height)
                right = min(xs.stop * step, window.width)
                yield (
                    Window(window.row + top, window.col + left, bottom - top, right - left),
                    ys,
                    xs,
                )


def _reason(error: Exception) -> str:
    """Return what GDAL says: rasterio's own words are "see previous exception"."""
    return str(error.__cause__ or error)


def _cut(start: int, stop: int, size: int) -> list[slice]:
    """Cut positions along multiples of `size`, and count them from `start`."""
    edges = [start, *range((start // size + 1) * size, stop, size), stop]
    return [slice(a - start, b - start) for a, b in pairwise(edges)]


def _area(window: Window) -> rasterio.windows.Window:
    return rasterio.windows.Window(window.col, window.row, window.width, window.height)


#: Names under which metadata keep the date of acquisition, in lower case.
_ACQUIRED = (
    "acquisitiondatetime", "acquisition_datetime", "acquisition_date", "date_acquired", "sensing_time",
)  # fmt: skip


@dataclass(frozen=True)
class FileInfo:
    """A reader with what else its file says.

    `units`, `scale` and `offset` are those of the first band, `facts` those of each, and `acquired`
    is the date of acquisition as it is written in the metadata.

    Where there is a `placement`, the reader delivers the image as it is, without CRS, and
    `geoxr.warp.control_points.place` puts it on a regular grid.
    """

    reader: GdalReader | GeotiffReader
    classes: Classes | None
    palette: tuple[str, ...]
    units: str | None
    scale: float
    offset: float
    facts: tuple[BandFacts, ...]
    placement: Placement | None = None
    acquired: str = ""


def open_file(
    path: PathLike, *, crs: CRS | None = None, nodata: float | None = None, skip: bool = False
) -> FileInfo:
    """Look into the header of a file.

    Parameters
    ----------
    crs : CRS, optional
        Instead of the CRS that the file names.
    nodata : float, optional
        Instead of the nodata value that the file names.
    skip : bool
        Whether blocks that cannot be read are holes instead of errors.

    Raises
    ------
    MissingFileError
        If there is no such file.
    NotARasterError
        If GDAL cannot open it.
    GridError
        If its transform or its control points place no pixels.
    """
    name = os.fspath(path)
    local = "://" not in name and not name.startswith("/vsi") and ":" not in name[2:]
    if local and not Path(name).exists():
        raise MissingFileError(f"{name} does not exist (looked in {Path.cwd()}).")
    # Readers are sent elsewhere, and the working directory may change.
    name = os.path.abspath(name) if local else name
    try:
        with quiet(NotGeoreferencedWarning), rasterio.open(name, sharing=False) as file:
            return _inspect(name, file, crs, nodata, skip)
    except RasterioIOError as error:
        raise NotARasterError(
            f"{name} is not a raster that GDAL can open ({error}). geoxr reads GeoTIFF, COG, "
            f"JPEG 2000, NetCDF, VRT and what else rasterio opens; vectors open with gx.open_vector."
        ) from error


def _parts(name: str, parts: Sequence[str]) -> str:
    """Say which rasters are inside a file that is none itself."""
    if not parts:
        return f"{name} has no bands. gx.open_vector opens vectors, xr.open_dataset other arrays."
    calls = [f"gx.open_raster({part!r})" for part in parts[:_MOST_PARTS]]
    more = f", and {len(parts) - _MOST_PARTS} more" if len(parts) > _MOST_PARTS else ""
    return (
        f"{name} has no bands of its own but {len(parts)} rasters inside. Open one of them: "
        f"{', '.join(calls)}{more}."
    )


def _inspect(
    name: str, file: rasterio.DatasetReader, crs: CRS | None, nodata: float | None, skip: bool
) -> FileInfo:
    if file.count == 0:
        raise NotARasterError(_parts(name, file.subdatasets))
    placement = read_placement(name, file, crs)
    if placement is not None:
        crs = None  # of the map, not of the image
    elif crs is None and file.crs is not None:
        crs = parse_crs(file.crs)
    dtype = np.result_type(*(_IN_MEMORY.get(name, name) for name in file.dtypes))
    if nodata is not None and storable(nodata, dtype) is None:
        raise ArgumentError(f"nodata is {nodata!r}, but no pixel of type {dtype} can have it.")
    given = nodata is not None
    marks = tuple(storable(nodata if given else mark, dtype) for mark in file.nodatavals)
    palette = palette_of(file)
    differ = len(set(map(repr, marks))) > 1
    flags = {flag for band in file.mask_flag_enums for flag in band}
    alpha = 0
    if MaskFlags.alpha in flags and ColorInterp.alpha in file.colorinterp:
        alpha = file.colorinterp.index(ColorInterp.alpha) + 1
    reader = GdalReader(
        path=name,
        indexes=tuple(file.indexes),
        geobox=check_grid(GeoBox(file.shape, file.transform, crs), name),
        dtype=dtype,
        bands=band_names(file.descriptions),
        nodata=None if differ else marks[0],
        stamp=stamp_of(name),
        marks=marks if differ else None,
        mask_band=not given and MaskFlags.per_dataset in flags and not alpha,
        alpha=0 if given else alpha,
        skip=skip,
    )
    best: GdalReader | GeotiffReader = own_reader(reader, file) or reader
    facts = tuple(
        BandFacts(units or "DN", scale, offset, mark)
        for units, scale, offset, mark in zip(
            file.units, file.scales, file.offsets, marks, strict=True
        )
    )
    classes = classes_in(file, palette)
    units, scale, offset = file.units[0], file.scales[0], file.offsets[0]
    return FileInfo(best, classes, palette, units, scale, offset, facts, placement, _acquired(file))


def _acquired(file: rasterio.DatasetReader) -> str:
    """Date of acquisition in the metadata. TIFFTAG_DATETIME tells when a file was written."""
    tags = {**file.tags(), **file.tags(ns="IMAGERY")}
    found = {name.lower(): text for name, text in tags.items()}
    return next((found[name] for name in _ACQUIRED if found.get(name)), "")


class _Handles(threading.local):
    """Open files of one thread, the least recently used closed first."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.files: OrderedDict[tuple[str, Stamp], rasterio.DatasetReader] = OrderedDict()


_handles = _Handles()


def _handle(path: str, stamp: Stamp) -> rasterio.DatasetReader:
    if _handles.process != os.getpid():
        # Forked: the parent owns these handles, and closing them here would close its files.
        _handles.process, _handles.files = os.getpid(), OrderedDict()
    check_unchanged(path, stamp)
    files = _handles.files
    file = files.pop((path, stamp), None)
    if file is None:
        with quiet(NotGeoreferencedWarning):
            file = rasterio.open(path, sharing=False)
        while len(files) >= options.open_files:
            files.popitem(last=False)[1].close()
    files[path, stamp] = file
    return file

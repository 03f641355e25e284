"""Files through GDAL: whatever rasterio opens, one handle per thread and process."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import rasterio.windows
import shapely
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError

from geoxr.errors import ArgumentError, MissingFileError, NotARasterError, ReadFailedError
from geoxr.grid.classes import Classes
from geoxr.grid.geobox import check_grid, parse_crs
from geoxr.grid.placement import Placement
from geoxr.grid.shapes import outline
from geoxr.grid.window import Window
from geoxr.io.placement import read_placement
from geoxr.io.reader import mark_valid, reduce_valid
from geoxr.options import options
from geoxr.typing import PathLike

#: Types that GDAL has and NumPy has not, and those rasterio reads them into.
_IN_MEMORY = {"complex_int16": "complex64", "complex_int32": "complex128"}


@dataclass(frozen=True)
class GdalReader:
    """Some bands of one file; see `WindowReader`."""

    path: str
    indexes: tuple[int, ...]
    geobox: GeoBox
    dtype: np.dtype
    bands: tuple[str, ...]
    nodata: float | int | None
    masked: bool
    stamp: tuple[int, int]

    times = None

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
        indexes = [self.indexes[band] for band in bands]
        area = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        shape = (len(bands), *out.shape[2:])
        try:
            file = _handle(self.path, self.stamp)
            for time in range(len(times)):
                if out[time].dtype == self.dtype and out[time].flags.c_contiguous:
                    file.read(indexes, window=area, out=out[time])
                else:
                    out[time] = file.read(indexes, window=area, out_shape=shape)
                if valid is not None and self.masked:
                    mask = file.read_masks(indexes, window=area, out_shape=shape) != 0
                    if self.dtype.kind in "fc":
                        mask &= np.isfinite(out[time])
                    reduce_valid(mask, valid[time])
        except RasterioError as error:
            raise ReadFailedError(
                f"{self.path}: rows {window.row}-{window.stop[0]}, columns {window.col}-"
                f"{window.stop[1]} cannot be read ({error}). The file may be truncated."
            ) from error
        if valid is not None and not self.masked:
            mark_valid(out, self.nodata, valid)


@dataclass(frozen=True)
class FileInfo:
    """A reader with what else its file says.

    Where there is a `placement`, the reader delivers the image as it is, without CRS, and
    `geoxr.warp.placed.place` puts it on a regular grid.
    """

    reader: GdalReader
    classes: Classes | None
    palette: tuple[str, ...]
    units: str | None
    scale: float
    offset: float
    placement: Placement | None = None


def open_file(path: PathLike, *, crs: CRS | None = None, nodata: float | None = None) -> FileInfo:
    """Look into the header of a file.

    Parameters
    ----------
    crs : CRS, optional
        Instead of the CRS that the file names.
    nodata : float, optional
        Instead of the nodata value that the file names.

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
        with _quiet(), rasterio.open(name, sharing=False) as file:
            return _inspect(name, file, crs, nodata)
    except RasterioIOError as error:
        raise NotARasterError(
            f"{name} is not a raster that GDAL can open ({error}). geoxr reads GeoTIFF, COG, "
            f"JPEG 2000, NetCDF, VRT and what else rasterio opens; vectors open with gx.open_vector."
        ) from error


def _inspect(
    name: str, file: rasterio.DatasetReader, crs: CRS | None, nodata: float | None
) -> FileInfo:
    if file.count == 0:
        inside = ", ".join(file.subdatasets[:3]) or "nothing"
        raise NotARasterError(f"{name} has no bands of its own. Open one of its parts: {inside}.")
    placement = read_placement(name, file, crs)
    if placement is not None:
        crs = None  # of the map, not of the image
    elif crs is None and file.crs is not None:
        crs = parse_crs(file.crs)
    dtype = np.result_type(*(_IN_MEMORY.get(name, name) for name in file.dtypes))
    marks = file.nodatavals
    palette = _palette(file)
    given = nodata is not None
    if nodata is not None and storable(nodata, dtype) is None:
        raise ArgumentError(f"nodata is {nodata!r}, but no pixel of type {dtype} can have it.")
    nodata = nodata if given else marks[0]
    flags = {flag for band in file.mask_flag_enums for flag in band}
    masked = not given and (
        MaskFlags.per_dataset in flags or MaskFlags.alpha in flags or len(set(map(str, marks))) > 1
    )
    reader = GdalReader(
        path=name,
        indexes=tuple(file.indexes),
        geobox=check_grid(GeoBox(file.shape, file.transform, crs), name),
        dtype=dtype,
        bands=_band_names(file.descriptions),
        nodata=storable(nodata, dtype),
        masked=masked,
        stamp=_stamp(name),
    )
    return FileInfo(
        reader, _classes(file), palette, file.units[0], file.scales[0], file.offsets[0], placement
    )


def _band_names(descriptions: tuple[str | None, ...]) -> tuple[str, ...]:
    names = [text or str(i) for i, text in enumerate(descriptions, 1)]
    distinct = len(set(names)) == len(names)
    return tuple(names if distinct else map(str, range(1, len(names) + 1)))


def storable(nodata: float | None, dtype: np.dtype) -> float | int | None:
    """Return a nodata value as a number of `dtype`; None if no pixel can have it."""
    if nodata is None:
        return None
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        whole = nodata == nodata and float(nodata).is_integer() and info.min <= nodata <= info.max
        return int(nodata) if whole else None
    return float(dtype.type(nodata).real) if dtype.kind in "fc" else None


def _palette(file: rasterio.DatasetReader) -> tuple[str, ...]:
    """Colours of the values 0, 1, ... as "#rrggbb"; empty if the file has none."""
    try:
        table = file.colormap(1)
    except ValueError:
        return ()
    last = max((value for value, color in table.items() if any(color[:3])), default=-1)
    black = (0, 0, 0)
    return tuple("#{:02x}{:02x}{:02x}".format(*table.get(v, black)[:3]) for v in range(last + 1))


def _classes(file: rasterio.DatasetReader) -> Classes | None:
    """Classes that the file names in its tags, as `to_cog` writes them."""
    tags = file.tags(1)
    if "flag_values" not in tags or "flag_meanings" not in tags:
        return None
    values = [int(value) for value in tags["flag_values"].split()]
    return Classes.from_attrs({**tags, "flag_values": values})


#: Path of a file and when it was written, with its size: another file may come under its name.
_Key = tuple[str, tuple[int, int]]


def _stamp(path: str) -> tuple[int, int]:
    """When a local file was written [ns], and its size [bytes]; zeros elsewhere."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


class _Handles(threading.local):
    """Open files of one thread, the least recently used closed first."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.files: OrderedDict[_Key, rasterio.DatasetReader] = OrderedDict()


_handles = _Handles()
_opening = threading.Lock()


def _handle(path: str, stamp: tuple[int, int]) -> rasterio.DatasetReader:
    if _handles.process != os.getpid():
        # Forked: the parent owns these handles, and closing them here would close its files.
        _handles.process, _handles.files = os.getpid(), OrderedDict()
    files = _handles.files
    file = files.pop((path, stamp), None)
    if file is None:
        if stamp != _stamp(path):
            raise ReadFailedError(
                f"{path} was changed or removed after it was opened. Open the layer again."
            )
        with _quiet():
            file = rasterio.open(path, sharing=False)
        while len(files) >= options.open_files:
            files.popitem(last=False)[1].close()
    files[path, stamp] = file
    return file


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Files without a CRS are allowed until one is needed, so GDAL need not warn.

    Warning filters belong to the whole process, so one thread at a time may swap them.
    """
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield

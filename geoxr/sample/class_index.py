"""Where the classes of a label raster are: their pixels in coarse cells, counted once and stored."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely
import xarray as xr
from dask.base import tokenize

from geoxr.errors import ArgumentError, ClassesError
from geoxr.grid.shapes import covered
from geoxr.grid.window import Window
from geoxr.io.dataset import layer_names, layer_reader, validity_of
from geoxr.io.parallel import run_all
from geoxr.io.reader import WindowReader
from geoxr.typing import PathLike

#: Side of a cell [pixel].
CELL = 128
#: Side of the squares that labels are read in, a multiple of `CELL` [pixel].
_BLOCK = 1024
#: More distinct values than this are not classes.
_MOST_CLASSES = 1024
#: Arrays of a stored index; a file without them is something else.
_ARRAYS = ("codes", "starts", "cells", "counts")
#: What reading a file of another kind raises.
_NO_INDEX = (
    OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, zipfile.BadZipFile
)  # fmt: skip
#: Indexes that the process keeps.
_KEPT = 4
_built: OrderedDict[str, ClassIndex] = OrderedDict()


@dataclass(frozen=True, eq=False)
class ClassIndex:
    """Pixels of each class in each coarse cell of a label raster; sparse.

    Attributes
    ----------
    token : str
        Of the labels that were counted: their source and grid.
    shape : (int, int)
        Rows and columns of cells. Cells of several dates are numbered one date after the other.
    codes : int64 array (class,)
        Values that occur, ascending.
    starts : int64 array (class + 1,)
        Entries ``starts[k] : starts[k + 1]`` are those of class k.
    cells : int64 array (entry,)
        Numbers of cells, row by row.
    counts : int32 array (entry,)
        Valid pixels of the class in the cell.
    """

    token: str
    shape: tuple[int, int]
    codes: np.ndarray
    starts: np.ndarray
    cells: np.ndarray
    counts: np.ndarray

    def totals(self) -> dict[int, int]:
        """Valid pixels of each class, by code."""
        sums = np.add.reduceat(np.append(self.counts, 0).astype("int64"), self.starts[:-1])
        sums = np.where(np.diff(self.starts) > 0, sums, 0)
        return {int(code): int(total) for code, total in zip(self.codes, sums, strict=True)}

    def window(self, cell: int) -> tuple[int, Window]:
        """Date and window of a cell, which may reach over the end of the grid."""
        date, place = divmod(cell, self.shape[0] * self.shape[1])
        row, col = divmod(place, self.shape[1])
        return date, Window(row * CELL, col * CELL, CELL, CELL)

    def entries(self, code: int) -> tuple[np.ndarray, np.ndarray]:
        """Cells that hold a class, and the number of its pixels in each."""
        at = int(np.searchsorted(self.codes, code))
        if at == len(self.codes) or self.codes[at] != code:
            return self.cells[:0], self.counts[:0]
        part = slice(self.starts[at], self.starts[at + 1])
        return self.cells[part], self.counts[part]

    def take(self, keep: np.ndarray) -> ClassIndex:
        """Keep some entries, told by a boolean array (entry,)."""
        ends = np.concatenate([[0], np.cumsum(keep)])[self.starts]
        return replace(self, starts=ends, cells=self.cells[keep], counts=self.counts[keep])

    def meeting(self, parts: tuple[shapely.Geometry, ...]) -> ClassIndex:
        """Keep the cells that meet an area, given in pixels of the grid."""
        places, which = np.unique(self.cells % (self.shape[0] * self.shape[1]), return_inverse=True)
        row, col = np.divmod(places, self.shape[1])
        boxes = shapely.box(col * CELL, row * CELL, (col + 1) * CELL, (row + 1) * CELL)
        meets = np.zeros(len(places), bool)
        meets[np.unique(shapely.STRtree(boxes).query(list(parts), predicate="intersects")[1])] = (
            True
        )
        return self.take(meets[which])

    def at_dates(self, dates: tuple[int, ...]) -> ClassIndex:
        """Keep the cells of some dates."""
        return self.take(np.isin(self.cells // (self.shape[0] * self.shape[1]), dates))


def label_reader(ds: xr.Dataset, by: str) -> WindowReader:
    """Return the reader of a label raster.

    Raises
    ------
    ArgumentError
        If there is no such layer.
    ClassesError
        If it has fractions or several bands: then it is no label raster.
    """
    names = layer_names(ds)
    if by not in names:
        raise ArgumentError(f"by is {by!r}, but the layers are {', '.join(names)}.")
    reader = layer_reader(ds, by)
    if reader.dtype.kind not in "iub":
        raise ClassesError(f"{by!r} is {reader.dtype}; class codes are whole numbers.")
    if len(reader.bands) > 1:
        raise ClassesError(f"{by!r} has {len(reader.bands)} bands; a label raster has one.")
    return reader


def class_index(ds: xr.Dataset, by: str = "mask", *, path: PathLike | None = None) -> ClassIndex:
    """Count the valid pixels of each class in cells of 128 pixels.

    The label raster is read once, in blocks, by ``options.threads`` threads. The process remembers the
    last few indexes.

    Parameters
    ----------
    ds : Dataset
    by : str
        Name of the label raster.
    path : path, optional
        File (``.npz``) to keep the index in. An index of the same labels is taken from there. One of
        other labels, or of a file that was changed, is counted again and replaced, with a warning.

    Returns
    -------
    ClassIndex

    Raises
    ------
    ClassesError
        If the layer is no label raster, or has no valid pixel.
    ArgumentError
        If `path` is a file of another kind.
    """
    reader = label_reader(ds, by)
    partner = validity_of(ds, by)
    token = tokenize(ds[by].variable, None if partner is None else partner.variable, reader.geobox)
    if path is not None and Path(path).exists():
        stored = _load(Path(path))
        if stored.token == token:
            return stored
        warnings.warn(
            f"The class index in {path} is of other labels, or the file of {by!r} was changed. It is "
            f"counted again.",
            stacklevel=2,
        )
    index = _built.get(token)
    if index is None:
        index = _count(reader, by, token)
        _built[token] = index
        while len(_built) > _KEPT:
            _built.popitem(last=False)
    if path is not None:
        _save(index, Path(path))
    return index


def _count(reader: WindowReader, by: str, token: str) -> ClassIndex:
    height, width = reader.geobox.shape
    shape = -(-height // CELL), -(-width // CELL)
    dates = range(1 if reader.times is None else len(reader.times))
    found: list[np.ndarray] = []

    def count(job: tuple[int, Window]) -> None:
        date, window = job
        pixels = np.empty((1, 1, window.height, window.width), reader.dtype)
        good = np.empty(pixels.shape, bool)
        reader.read(window, pixels, good, bands=(0,), times=(date,))
        table = _cell_counts(pixels[0, 0], good[0, 0], by)
        rows, cols = window.row // CELL + table[1], window.col // CELL + table[2]
        cells = (date * shape[0] + rows) * shape[1] + cols
        found.append(np.stack([table[0], cells, table[3]]))

    run_all(count, [(date, window) for date in dates for window in _windows(reader)])
    codes, cells, counts = np.hstack([*found, np.empty((3, 0), "int64")])
    values, starts = np.unique(np.sort(codes), return_index=True)
    if not len(values):
        raise ClassesError(f"{by!r} has no valid pixel, so no class occurs in it.")
    _check_number(values, by)
    order = np.lexsort((cells, codes))
    starts = np.append(starts, len(codes)).astype("int64")
    return ClassIndex(token, shape, values, starts, cells[order], counts[order].astype("int32"))


def _windows(reader: WindowReader) -> list[Window]:
    """Blocks that hold all pixels of a footprint, each once."""
    height, width = reader.geobox.shape
    blocks: set[tuple[int, int]] = set()
    for part in shapely.get_parts(reader.footprint):
        tiles = covered(part, reader.geobox).tiles(_BLOCK)
        blocks.update((tile.row // _BLOCK, tile.col // _BLOCK) for tile in tiles)
    whole = Window(0, 0, height, width)
    return [Window(r * _BLOCK, c * _BLOCK, _BLOCK, _BLOCK) & whole for r, c in sorted(blocks)]


def _cell_counts(pixels: np.ndarray, good: np.ndarray, by: str) -> np.ndarray:
    """Code, row and column of the cell, and number of pixels, as int64 (4, entry)."""
    rows, cols = (np.arange(side) // CELL for side in pixels.shape)
    wide = int(cols[-1]) + 1
    values = pixels[good]
    if values.dtype == bool or values.dtype == np.uint8:
        codes, which = np.arange(256), values.astype("int64")
    else:
        codes, which = np.unique(values, return_inverse=True)
        _check_number(codes, by)
    if not len(values):
        return np.empty((4, 0), "int64")
    cell = (rows[:, None] * wide + cols)[good]
    number = np.bincount(cell * len(codes) + which)
    entries = np.flatnonzero(number)
    place, code = np.divmod(entries, len(codes))
    row, col = np.divmod(place, wide)
    return np.stack([codes[code].astype("int64"), row, col, number[entries]])


def _check_number(codes: np.ndarray, by: str) -> None:
    if len(codes) > _MOST_CLASSES:
        raise ClassesError(
            f"{by!r} has {len(codes)} different values or more, so it is hardly a label raster."
        )


def _save(index: ClassIndex, path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            np.savez_compressed(
                file, token=np.array(index.token), shape=np.array(index.shape),
                **{name: getattr(index, name) for name in _ARRAYS},
            )  # fmt: skip
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _load(path: Path) -> ClassIndex:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _ARRAYS}
            shape = int(file["shape"][0]), int(file["shape"][1])
            return ClassIndex(str(file["token"]), shape, **arrays)
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
    ) as error:
        raise ArgumentError(
            f"{path} is no class index of labels ({error}). Give another path, or delete it."
        ) from error

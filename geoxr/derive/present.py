"""Which classes occur in a label raster."""

from __future__ import annotations

import numpy as np
import shapely
import xarray as xr

from geoxr.errors import ClassesError
from geoxr.grid.classes import Classes, default_colors
from geoxr.grid.meaning import classes_of
from geoxr.grid.shapes import covered
from geoxr.grid.window import Window
from geoxr.io.reader import WindowReader, read_window
from geoxr.io.resolve import resolve

#: More distinct values than this are not classes.
_MOST_CLASSES = 1024


def present_classes(da: xr.DataArray) -> Classes:
    """Read a label raster window by window and return the classes that occur in it.

    Known names and colours are kept; a code without a name is named by its number, and takes its
    colour from the palette of the file if there is one.

    Raises
    ------
    ClassesError
        If there are fractions, or more than 1024 values: then it is no label raster.
    """
    reader = resolve(da).reader
    if reader.dtype.kind not in "iub":
        raise ClassesError(f"{da.name!r} is {reader.dtype}; class codes are whole numbers.")
    found: set[int] = set()
    for window in _windows(reader):
        pixels, good = read_window(reader, window)
        found.update(int(value) for value in np.unique(pixels[good]))
        if len(found) > _MOST_CLASSES:
            raise ClassesError(
                f"{da.name!r} has more than {_MOST_CLASSES} different values, so it is hardly a "
                f"label raster."
            )
    if not found:
        raise ClassesError(f"{da.name!r} has no valid pixel, so no class occurs in it.")
    values = tuple(sorted(found))
    return Classes(values, *_looks(da, values))


def _windows(reader: WindowReader) -> list[Window]:
    """Windows that hold all pixels of a footprint, which may be scattered over a huge grid."""
    grid, windows = reader.geobox, []
    for part in shapely.get_parts(reader.footprint):
        windows.extend(covered(part, grid).tiles(2048))
    return windows


def _looks(da: xr.DataArray, values: tuple[int, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and colours of codes, as far as the layer knows them."""
    known = classes_of(da)
    names, colors = {}, {}
    if known is not None:
        names = dict(zip(known.values, known.names, strict=True))
        colors = dict(zip(known.values, known.colors, strict=True))
    palette = str(da.attrs.get("palette", "")).split()
    made_up = default_colors(len(values))
    return (
        tuple(names.get(value, str(value)) for value in values),
        tuple(
            colors.get(value) or (palette[value] if 0 <= value < len(palette) else made_up[i])
            for i, value in enumerate(values)
        ),
    )

"""The polygon of what is valid, from one coarse look at the data."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
import xarray as xr

from geoxr.errors import ChipError
from geoxr.grid.adopt import adopt
from geoxr.grid.geobox import geobox_of
from geoxr.grid.mask_outline import mask_outline
from geoxr.grid.shapes import covered, from_pixels, outline
from geoxr.grid.window import Window
from geoxr.io.array import ArrayReader, InMemory
from geoxr.io.dataset import layer_names, layer_reader
from geoxr.io.reader import WindowReader, has_holes
from geoxr.sample.area import footprint

#: Pixels that are looked at in a layer of one date, and at each of many dates.
_LOOKS, _FEWER = 1_000_000, 62_500
#: So many are looked at as at one of many dates where a layer is larger than this: without overviews
#: every look may cost a tile of its own [pixel].
_LARGE = 1 << 31
#: Layers that xarray or dask would have to compute are looked at up to this size [pixel].
_COMPUTED = 1 << 26


def valid_footprint(
    ds: xr.Dataset | xr.DataArray,
    *,
    within: shapely.Geometry | None = None,
    hole: float = 0.0,
    gap: float = 0.0,
) -> shapely.Geometry:
    """Polygon of what is valid in all layers, at any of their dates, in the CRS of the grid.

    It comes from one look at evenly spaced pixels of the first band of every layer and follows their
    edges. They are at most about a million, and 62,500 where the layer has more than two billion.
    Layers that cannot have invalid pixels are not read, and where all that was looked at is valid, it
    is the outline of the data. Looks are remembered.

    Parameters
    ----------
    ds : Dataset or DataArray
    within : geometry, optional
        Part of the grid to look at, in its CRS; the smaller, the closer the look.
    hole : float [pixel²]
        Holes smaller than that are filled.
    gap : float [pixel]
        Holes, cracks and notches into which no square of that side fits are closed.

    Returns
    -------
    shapely.Geometry
        Empty where nothing is valid. Layers of more than 67 million pixels whose pixels dask would
        have to compute count as valid all over.
    """
    ds = adopt(ds if isinstance(ds, xr.Dataset) else ds.to_dataset(name=ds.name or "layer"))
    geobox = geobox_of(ds)
    shape = footprint(ds) & outline(geobox)
    if within is not None:
        shape = shape & within
    readers = tuple(
        reader
        for reader in (layer_reader(ds, name) for name in layer_names(ds))
        if has_holes(reader) and not _costly(reader)
    )
    window = covered(shape, geobox, margin=0)
    if not readers or window.empty:
        return shape
    mask, step = _look(readers, window)
    if mask.all():
        return shape
    return shape & from_pixels(mask_outline(mask, step, window, hole=hole, gap=gap), geobox)


def check_some(shape: shapely.Geometry, ds: xr.Dataset, where: str) -> shapely.Geometry:
    """Raise `ChipError` if a valid footprint is empty; `where` says in what it was looked for."""
    if shape.is_empty:
        raise ChipError(
            f"No valid pixel of {', '.join(map(repr, layer_names(ds)))} was found in {where}: all that "
            f"was looked at is nodata, or where one layer is valid another is not. Look at the layers "
            f"with ds.geoxr.plot(), and choose another area: aoi=..."
        )
    return shape


def _costly(reader: WindowReader) -> bool:
    """Whether xarray or dask would have to compute more pixels than a look is worth."""
    if isinstance(reader, ArrayReader) and not isinstance(reader.pixels, InMemory):
        height, width = reader.geobox.shape
        return height * width * len(reader.times or (0,)) > _COMPUTED
    return any(map(_costly, _sources(reader)))


def _sources(reader: Any) -> tuple[WindowReader, ...]:
    """Readers that a reader reads from."""
    if hasattr(reader, "source"):
        return (reader.source,)
    return tuple(getattr(reader, "sources", ()))


def _of_files(reader: WindowReader) -> bool:
    """Whether what a reader reads stays as it is, so that a look may be remembered."""
    if isinstance(reader, ArrayReader) or type(reader).__hash__ is None:
        return False
    return all(map(_of_files, _sources(reader)))


def _look(readers: tuple[WindowReader, ...], window: Window) -> tuple[np.ndarray, int]:
    """Where all readers are valid at any of their dates, one look for each ``step x step`` cell."""
    dates = max(len(reader.times or (0,)) for reader in readers)
    size = window.height * window.width
    looks = max(_LOOKS // dates, _FEWER) if size <= _LARGE else _FEWER
    step = max(int(np.ceil(np.sqrt(size / looks))), 1)
    mask = np.ones((-(-window.height // step), -(-window.width // step)), bool)
    for reader in readers:
        look: Callable[..., np.ndarray] = _remembered if _of_files(reader) else _seen
        mask &= look(reader, window, step)
    return mask, step


def _seen(reader: WindowReader, window: Window, step: int) -> np.ndarray:
    """Where a reader is valid at any of its dates."""
    shape = (1, 1, -(-window.height // step), -(-window.width // step))
    pixels, good = np.empty(shape, reader.dtype), np.empty(shape, bool)
    mask = np.zeros(shape[2:], bool)
    for time in range(len(reader.times or (0,))):
        reader.read(window, pixels, good, bands=(0,), times=(time,), step=step)
        mask |= good[0, 0]
        if mask.all():
            break
    mask.setflags(write=False)
    return mask


_remembered = lru_cache(maxsize=32)(_seen)

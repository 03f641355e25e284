"""`reproject` and `reproject_match`: the same layer on another grid, lazily."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, get_args, runtime_checkable

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError, NoOverlapError
from geoxr.grid.adopt import adopt
from geoxr.grid.crs import crs_name, full_turn, require_crs
from geoxr.grid.geobox import describe_bounds, geobox_of, grid_like, lattice_offset
from geoxr.grid.meaning import kind_of
from geoxr.grid.shapes import outline
from geoxr.io.layer import grid_coords, layer_like
from geoxr.io.reader import WindowReader
from geoxr.io.resolve import resolve
from geoxr.io.stacks import TimeStack
from geoxr.io.views import Cropped, Labelled
from geoxr.typing import CRSLike, Kind, Resampling
from geoxr.warp.control_points import Placed
from geoxr.warp.lattice import Lattice
from geoxr.warp.shapes import project
from geoxr.warp.target import projected_grid
from geoxr.warp.warped import Warped

#: Above this ratio of pixel sizes nearest and bilinear leave out source pixels.
_COARSER = 1.5
_RESAMPLINGS = get_args(Resampling)


def onto(reader: WindowReader, geobox: GeoBox, resampling: Resampling) -> WindowReader:
    """Put a reader on a grid: pure slicing on the same lattice, else a warp."""
    offset = lattice_offset(reader.geobox, geobox)
    if offset is not None and not goes_round(reader.geobox, geobox, offset[1]):
        if offset == (0, 0) and reader.geobox.shape == geobox.shape:
            return reader
        return Cropped(reader, geobox, *offset)
    if reader.geobox.crs is not None or geobox.crs is not None:
        require_crs(reader.geobox, "The layer")
        require_crs(geobox, "The target grid")
    check_complex(reader.dtype, resampling)
    once = _from_behind(reader, geobox, resampling)
    if once is not None:
        return once
    if isinstance(reader, Placed):  # its pixels as stored, not those resampled already
        return replace(reader, geobox=geobox, resampling=resampling)
    return Warped(reader, geobox, resampling)


@runtime_checkable
class Regridded(Protocol):
    """A reader that resamples what is behind it onto a grid that may be nobody's wish."""

    def onto(self, geobox: GeoBox, resampling: Resampling) -> WindowReader | None:
        """Return it on another grid from what is behind it; None where its own grid was asked for."""
        ...


def _from_behind(
    reader: WindowReader, geobox: GeoBox, resampling: Resampling
) -> WindowReader | None:
    """Resample once what would be resampled twice; None for readers with a grid of their own."""
    if isinstance(reader, Regridded):
        return reader.onto(geobox, resampling)
    if isinstance(reader, TimeStack):
        dates = [_from_behind(source, geobox, resampling) for source in reader.sources]
        found = tuple(date for date in dates if date is not None)
        return replace(reader, sources=found) if len(found) == len(dates) else None
    if isinstance(reader, Labelled):
        source = _from_behind(reader.source, geobox, resampling)
        return None if source is None else replace(reader, source=source)
    if isinstance(reader, Cropped) and reader.geobox == reader.source.geobox:  # some bands
        source = _from_behind(reader.source, geobox, resampling)
        return None if source is None else replace(reader, source=source, geobox=geobox)
    return None


def check_complex(dtype: np.dtype, resampling: Resampling) -> None:
    """Raise where complex pixels would be blended."""
    if dtype.kind == "c" and resampling != "nearest":
        raise ArgumentError(
            f"Complex pixels cannot be resampled by {resampling!r}; pass resampling='nearest', or "
            f"take amplitude and phase apart first."
        )


def goes_round(source: GeoBox, target: GeoBox, col: int) -> bool:
    """Whether a target on the same lattice, `col` pixels along, meets the source a turn further on."""
    turn = full_turn(source.crs) / abs(source.affine.a or 1.0)
    if not turn or (col >= 0 and col + target.width <= source.width):
        return False
    return any(
        col + k * turn < source.width - 0.5 and col + k * turn + target.width > 0.5
        for k in (-2, -1, 1, 2)
    )


def pick_resampling(
    resampling: Resampling | None, kind: Kind, source: GeoBox, target: GeoBox
) -> Resampling:
    """Check the resampling asked for, or choose by kind and ratio of pixel sizes.

    Codes take the nearest, or the most common one where target pixels are more than 1.5 times as
    large; quantities are bilinear, or averaged where they are.
    """
    check_resampling(resampling)
    if resampling is not None:
        return resampling
    coarser = _coarsening(source, target) > _COARSER
    if kind == "categorical":
        return "mode" if coarser else "nearest"
    return "average" if coarser else "bilinear"


def check_resampling(resampling: str | None) -> None:
    """Raise unless it is None or the name of a kernel."""
    if resampling is not None and resampling not in _RESAMPLINGS:
        raise ArgumentError(
            f"resampling is {resampling!r}, but must be one of {', '.join(_RESAMPLINGS)}."
        )


def _coarsening(source: GeoBox, target: GeoBox) -> float:
    """Source pixels along the longer edge of the target pixel in the middle."""
    col, row = target.width / 2, target.height / 2
    cols, rows = np.array([col, col + 1, col]), np.array([row, row, row + 1])
    points = Lattice(source, target).exact(cols, rows)
    legs = np.hypot(*(points[:, 1:] - points[:, :1]))
    return float(legs.max()) if np.isfinite(legs).all() else 1.0


def reproject(
    obj: xr.DataArray | xr.Dataset,
    crs: CRSLike | None = None,
    *,
    resolution: float | tuple[float, float] | None = None,
    geobox: GeoBox | None = None,
    resampling: Resampling | None = None,
) -> xr.DataArray | xr.Dataset:
    """Put a layer, or all layers of a Dataset, on another grid. Reads no pixel.

    Parameters
    ----------
    obj : DataArray or Dataset
    crs : CRS-like, optional
        Of the target; the own one if left out.
    resolution : float or (x, y) [CRS units], optional
        Of the target; about the own one if left out.
    geobox : GeoBox, optional
        The target itself, instead of `crs` and `resolution`.
    resampling : str, optional
        "nearest", "bilinear" or "cubic" at the middle of target pixels; "average", "mode", "min",
        "max", "sum" or "median" of the source pixels under them, each weighted by its overlap.
        Default: nearest for categorical layers, bilinear for continuous ones; mode and average where
        target pixels are more than 1.5 times as large.

    Returns
    -------
    DataArray or Dataset
        Lazy, on the new grid. Pixels that the layer does not cover are invalid.

    Raises
    ------
    NoOverlapError
        If the layer does not meet the target.
    """
    obj = adopt(obj)
    if geobox is None:
        geobox = projected_grid(geobox_of(obj), crs, resolution)
    elif crs is not None or resolution is not None:
        raise ArgumentError("Give either geobox, or crs and resolution, not both.")
    else:
        geobox = grid_like(geobox)
    return _map_layers(obj, geobox, None, resampling)


def reproject_match(
    obj: xr.DataArray | xr.Dataset,
    other: xr.DataArray | xr.Dataset,
    *,
    resampling: Resampling | None = None,
) -> xr.DataArray | xr.Dataset:
    """Put a layer on the grid of another. Reads no pixel.

    The coordinate variables of `other` are taken over as they are, so ``xr.merge(join="exact")``
    of both works.

    Parameters
    ----------
    obj, other : DataArray or Dataset
    resampling : str, optional
        "nearest", "bilinear" or "cubic" at the middle of target pixels; "average", "mode", "min",
        "max", "sum" or "median" of the source pixels under them, each weighted by its overlap.
        Default: nearest for categorical layers, bilinear for continuous ones; mode and average where
        target pixels are more than 1.5 times as large.

    Raises
    ------
    NoOverlapError
        If the two do not meet; the message has both bounds in EPSG:4326.
    """
    return _map_layers(adopt(obj), geobox_of(other), grid_coords(other), resampling)


def _map_layers(
    obj: xr.DataArray | xr.Dataset,
    geobox: GeoBox,
    coords: Mapping[Any, Any] | None,
    resampling: Resampling | None,
) -> xr.DataArray | xr.Dataset:
    if isinstance(obj, xr.DataArray):
        return warp_layer(obj, geobox, coords=coords, resampling=resampling)
    layers = {
        name: warp_layer(obj[name], geobox, coords=coords, resampling=resampling)
        for name in obj.data_vars
        if {"y", "x"} <= set(obj[name].dims)
    }
    return xr.Dataset(layers, attrs=obj.attrs)


def warp_layer(
    array: xr.DataArray,
    geobox: GeoBox,
    *,
    coords: Mapping[Any, Any] | None = None,
    resampling: Resampling | None = None,
) -> xr.DataArray:
    """Put one layer on a grid; see `reproject_match`."""
    check_resampling(resampling)
    source = resolve(array).reader
    name = str(array.name or "layer")
    kind = kind_of(array)
    if lattice_offset(source.geobox, geobox) is None:
        resampling = pick_resampling(resampling, kind, source.geobox, geobox)
    check_overlap(source, geobox, name)
    reader = onto(source, geobox, resampling or "nearest")
    return layer_like(array, reader, coords=coords)


def check_overlap(reader: WindowReader, geobox: GeoBox, name: str) -> None:
    """Raise `NoOverlapError` if a layer does not meet a grid."""
    if reader.geobox.crs is None or geobox.crs is None:
        return
    if project(reader.footprint, reader.geobox, geobox).intersects(outline(geobox)):
        return
    raise NoOverlapError(
        f"{name!r} does not meet the target grid: it covers {describe_bounds(reader.geobox)} "
        f"({crs_name(reader.geobox.crs)}), the target {describe_bounds(geobox)} "
        f"({crs_name(geobox.crs)}). Check that both CRSs are right and that the layers show the "
        f"same place."
    )

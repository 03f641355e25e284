"""Layers into one Dataset on one grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.catalog.distinct import distinct
from geoxr.errors import ArgumentError, NoOverlapError
from geoxr.grid.adopt import adopt
from geoxr.grid.crs import crs_name, require_crs
from geoxr.grid.geobox import (
    crop,
    describe_bounds,
    extent,
    geobox_of,
    grid_like,
    lattice_offset,
    same_grid,
)
from geoxr.grid.shapes import covered, outline
from geoxr.grid.window import Window
from geoxr.io.dataset import with_validity
from geoxr.io.layer import grid_coords
from geoxr.io.reader import WindowReader
from geoxr.io.resolve import resolve
from geoxr.typing import Resampling
from geoxr.warp.reproject import warp_layer
from geoxr.warp.shapes import moved_whole, project


def merge(
    layers: Mapping[str, xr.DataArray],
    *,
    like: str | xr.DataArray | xr.Dataset | GeoBox | None = None,
    join: Literal["inner", "outer"] = "inner",
    resampling: Resampling | None = None,
) -> xr.Dataset:
    """Align layers on one grid and merge them. Reads no pixel; the layers are not changed.

    Parameters
    ----------
    layers : mapping of str to DataArray
        Names become variables of the Dataset.
    like : str, DataArray, Dataset or GeoBox, optional
        The grid: that of a layer by its name, of another object, or a GeoBox, which is taken as it
        is. Default: the first layer.
    join : {"inner", "outer"}
        Cover what all layers share, or what any layer covers, on the lattice of `like`.
    resampling : str, optional
        As for `geoxr.reproject`.

    Returns
    -------
    Dataset
        A layer whose missing pixels no number marks comes with a boolean ``<name>_valid``. Bands
        and coordinates that belong to one layer alone are called ``band_<name>``, ``scale_<name>``
        and so on; `decode` finds them.

    Raises
    ------
    NoOverlapError
        If layers do not meet; the message has both bounds in EPSG:4326.
    MissingCRSError
        If a layer has no CRS.
    """
    if not layers:
        raise ArgumentError('There is nothing to merge. Pass layers by name: {"image": image}.')
    if join not in ("inner", "outer"):
        raise ArgumentError(f'join is {join!r}, but must be "inner" or "outer".')
    readers = {}
    for name, layer in layers.items():
        if not isinstance(layer, xr.DataArray):
            raise ArgumentError(f"Layer {name!r} is a {type(layer).__name__}, not a DataArray.")
    layers = {name: adopt(layer) for name, layer in layers.items()}
    for name, layer in layers.items():
        readers[name] = resolve(layer).reader
        require_crs(readers[name].geobox, f"Layer {name!r}")
    dated = {name: reader.times for name, reader in readers.items() if reader.times is not None}
    if len(set(dated.values())) > 1:
        listed = ", ".join(f"{name!r} has {len(times)}" for name, times in dated.items())
        raise ArgumentError(
            f"Layers have different dates: {listed}. One Dataset has one time axis: pick the same "
            f"dates, or collapse them when opening with time='collapse'."
        )
    if isinstance(like, GeoBox):
        target, coords = grid_like(like), None
    else:
        base = _base(layers, like)
        full = geobox_of(base)
        target = joined(full, readers, join)
        coords = grid_coords(base) if same_grid(full, target) else None
    if join == "inner":
        _check_overlaps(readers, target)
    shared = coords
    layers = distinct(layers)
    variables: dict[str, xr.DataArray] = {}
    for name, layer in layers.items():
        variable = warp_layer(layer.rename(name), target, coords=shared, resampling=resampling)
        shared = shared or grid_coords(variable)
        variables |= with_validity(variable, name)
    return xr.Dataset(variables)


def _base(
    layers: Mapping[str, xr.DataArray], like: str | xr.DataArray | xr.Dataset | None
) -> xr.DataArray | xr.Dataset:
    if like is None:
        return next(iter(layers.values()))
    if isinstance(like, str):
        if like not in layers:
            raise ArgumentError(f"like={like!r} is none of the layers {', '.join(layers)}.")
        return layers[like]
    if isinstance(like, xr.DataArray | xr.Dataset):
        return like
    raise ArgumentError(f"like must be a name, a layer or a GeoBox, not {type(like).__name__}.")


def joined(
    full: GeoBox, readers: Mapping[str, WindowReader], join: Literal["inner", "outer"]
) -> GeoBox:
    """Cut or grow a grid, on its own lattice, to what the layers cover."""
    window = extent(full)
    for name, reader in readers.items():
        part = _window_in(reader, full, clip=join == "inner")
        window = window & part if join == "inner" else _around(window, part)
        if window.empty:
            others = [r for n, r in readers.items() if n != name] or [reader]
            raise NoOverlapError(_no_overlap(name, reader, full, others[0]))
    return full if window == extent(full) else crop(full, window)


def _window_in(reader: WindowReader, full: GeoBox, *, clip: bool) -> Window:
    """Window of `full` that a layer covers."""
    offset = lattice_offset(full, reader.geobox)
    if offset is not None:
        window = extent(reader.geobox).shift(*offset)
        return window & extent(full) if clip else window
    if clip:
        shape = project(reader.footprint, reader.geobox, full)
        return covered(shape & outline(full), full, margin=0)
    shape = moved_whole(reader.footprint, reader.geobox, full)
    if shape is None:
        raise ArgumentError(
            f'A layer reaches where {crs_name(full.crs)} ends, so join="outer" has no bounds. Pass a '
            f"GeoBox as like=, or join='inner'."
        )
    inverse = ~full.affine
    corners = np.array([inverse @ point for point in shapely.get_coordinates(shape)])
    left, top = np.floor(corners.min(axis=0)).astype(int)
    right, bottom = np.ceil(corners.max(axis=0)).astype(int)
    return Window(int(top), int(left), int(bottom - top), int(right - left))


def _around(first: Window, second: Window) -> Window:
    row, col = min(first.row, second.row), min(first.col, second.col)
    stop_row, stop_col = max(first.stop[0], second.stop[0]), max(first.stop[1], second.stop[1])
    return Window(row, col, stop_row - row, stop_col - col)


def _check_overlaps(readers: Mapping[str, WindowReader], target: GeoBox) -> None:
    """Every layer must meet the target, and all layers one another somewhere in it."""
    shared = outline(target)
    for name, reader in readers.items():
        shared = shared & project(reader.footprint, reader.geobox, target)
        if shared.is_empty or shared.area == 0:
            others = [r for n, r in readers.items() if n != name]
            raise NoOverlapError(_no_overlap(name, reader, target, others[0] if others else None))


def _no_overlap(name: str, reader: WindowReader, target: GeoBox, other: WindowReader | None) -> str:
    against = target if other is None else other.geobox
    return (
        f"Layer {name!r} and the others have no common ground: it covers "
        f"{describe_bounds(reader.geobox)} ({crs_name(reader.geobox.crs)}), they cover "
        f"{describe_bounds(against)} ({crs_name(against.crs)}). Check that the CRSs are right and "
        f"that the files show the same place."
    )

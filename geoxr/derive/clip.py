"""`clip`: cut a layer to an area."""

from __future__ import annotations

import numpy as np
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.derive.mask import Keep
from geoxr.errors import ArgumentError, NoOverlapError
from geoxr.grid.affine import rotated
from geoxr.grid.area import area_geometry
from geoxr.grid.geobox import describe_bounds, extent, geobox_of
from geoxr.grid.shapes import outline, to_pixels
from geoxr.grid.window import Window
from geoxr.io.dataset import map_dataset
from geoxr.io.layer import grid_coords, layer_like
from geoxr.io.mapped import Mapped
from geoxr.io.pieces import paths_of, pieces_of
from geoxr.io.reader import WindowReader
from geoxr.io.resolve import resolve
from geoxr.io.vector import VectorReader
from geoxr.typing import Area, XarrayT

#: Borders this close to one of a pixel count as on it [pixel].
_SLACK = 1e-6


def clip(obj: XarrayT, aoi: Area, *, all_touched: bool = False, crop: bool = True) -> XarrayT:
    """Keep the pixels of a layer in an area; those outside become invalid, lazily.

    Parameters
    ----------
    obj : DataArray or Dataset
    aoi : geometry, (left, bottom, right, top), GeoSeries or GeoDataFrame
        Geometries and bounds are in the CRS of the layer; tables in any.
    all_touched : bool
        Keep every pixel that the area touches, not only those whose centre it covers.
    crop : bool
        Cut the grid to the area as well, in whole pixels of its own lattice.

    Returns
    -------
    DataArray or Dataset
        Bounds are cut out by pure slicing. A polygon is rasterised window by window, as
        ``rasterio.features.rasterize`` does for the whole.

    Raises
    ------
    NoOverlapError
        If no pixel is in the area.
    """
    grid = geobox_of(obj)
    if aoi is None:
        raise ArgumentError("clip needs an area: a geometry, bounds, or a GeoDataFrame.")
    shape = area_geometry(aoi, grid)
    assert shape is not None
    window = _window(shape, grid, all_touched)
    if window.empty:
        raise NoOverlapError(
            f"No pixel is in the area (aoi) with bounds {tuple(round(v, 5) for v in shape.bounds)}; "
            f"the layer covers {describe_bounds(grid)}. Is the area in the CRS of the layer? A "
            f"GeoDataFrame knows its own."
        )
    box = isinstance(aoi, tuple | list) and not rotated(grid.affine)
    if not (box and crop):
        inside = _burnt(shape, grid, all_touched)
        if isinstance(obj, xr.Dataset):
            obj = map_dataset(obj, lambda da: _masked(da, inside, shape))
        else:
            obj = _masked(obj, inside, shape)
    rows, cols = window.slices
    return obj.isel(y=rows, x=cols) if crop else obj


def _window(shape: shapely.Geometry, grid: GeoBox, all_touched: bool) -> Window:
    """Pixels whose centre is within the bounds of a shape, or that these touch."""
    left, top, right, bottom = shapely.bounds(to_pixels(shape, grid))
    if all_touched:
        row, col = (int(np.floor(edge + _SLACK)) for edge in (top, left))
        stop_row, stop_col = (int(np.ceil(edge - _SLACK)) for edge in (bottom, right))
    else:
        # A centre on the border is in at the upper and at the right one only, so that boxes side by
        # side share no pixel.
        row, stop_row = (int(np.ceil(edge - 0.5)) for edge in (top, bottom))
        col, stop_col = (int(np.floor(edge + 0.5)) for edge in (left, right))
    return Window(row, col, stop_row - row, stop_col - col) & extent(grid)


def _burnt(shape: shapely.Geometry, grid: GeoBox, all_touched: bool) -> VectorReader:
    """Return a layer that is 1 in an area and 0 outside."""
    pieces = pieces_of(paths_of(np.array([shape])), np.array([1]), grid)
    return VectorReader(grid, pieces, 0, None, all_touched, np.dtype("uint8"))


def _masked(da: xr.DataArray, inside: WindowReader, shape: shapely.Geometry) -> xr.DataArray:
    source = resolve(da).reader
    within = shapely.to_wkb(shape & outline(source.geobox))
    reader = Mapped(
        (source, inside), Keep(), source.dtype, source.nodata, source.bands, source.times,
        within=within,
    )  # fmt: skip
    return layer_like(da, reader, coords=grid_coords(da))

"""`sample_points`: the values of layers at points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError, MissingCRSError
from geoxr.grid.affine import map_points
from geoxr.grid.change import change_between
from geoxr.grid.coords import GRID_MAPPING
from geoxr.grid.crs import full_turn, parse_crs, require_crs, same_crs
from geoxr.grid.geobox import bounds, geobox_of
from geoxr.grid.index import guarded
from geoxr.grid.meaning import band_dim
from geoxr.grid.window import Window
from geoxr.io.dataset import layer_names, validity_of
from geoxr.io.reader import WindowReader, everything, fill_of
from geoxr.io.resolve import resolve
from geoxr.typing import XarrayT

if TYPE_CHECKING:
    import geopandas

#: Points are read together in squares of this size [pixel].
_CLUSTER = 256
#: A position this close to the edge between two pixels belongs to the right or lower one [pixel].
_EDGE = 1e-6


def sample_points(
    obj: XarrayT,
    points: geopandas.GeoDataFrame | geopandas.GeoSeries,
    *,
    method: Literal["nearest"] = "nearest",
) -> XarrayT:
    """Read the pixels that points lie in.

    Points that are near each other are read together, so that neither every point nor the whole
    layer is read.

    Parameters
    ----------
    obj : DataArray or Dataset
    points : GeoDataFrame or GeoSeries
        Of points, in any CRS; each is transformed through PROJ.
    method : {"nearest"}
        The pixel whose cell a point lies in. A point within 10⁻⁶ pixel of the edge between two
        belongs to the right or lower one.

    Returns
    -------
    DataArray or Dataset
        In memory, of the type of the layer, with the dimensions ``(point, time, band)`` as far as
        the layer has them. The coordinate ``point`` is the index of `points`; ``x`` and ``y`` are
        the points in the CRS of the layer. The boolean coordinate ``valid`` (in a Dataset the
        variable ``<name>_valid``) is False where a value is missing or a point outside; the value
        is nodata there, else NaN, else 0.

    Raises
    ------
    ArgumentError
        If there are other geometries than points.
    MissingCRSError
        If the points or the layer have no CRS.
    """
    if method != "nearest":
        raise ArgumentError(f'method is {method!r}, but must be "nearest".')
    grid = geobox_of(obj)
    x, y = _places(points, grid)
    cols, rows = (
        np.floor(np.nan_to_num(v + _EDGE, nan=-1.0, posinf=-1.0, neginf=-1.0))
        for v in map_points(~grid.affine, x, y)
    )
    at = np.stack([rows, cols])
    labels = {
        "point": xr.Variable("point", np.asarray(points.index)),
        "x": xr.Variable("point", x, obj["x"].attrs),
        "y": xr.Variable("point", y, obj["y"].attrs),
    }
    if isinstance(obj, xr.DataArray):
        return _sampled(obj, resolve(obj).reader, at, labels)
    variables: dict[str, xr.DataArray] = {}
    for name in layer_names(obj):
        one = _sampled(obj[name], resolve(obj[name], validity_of(obj, name)).reader, at, labels)
        variables[name] = one.drop_vars("valid")
        variables[f"{name}_valid"] = one["valid"].drop_vars("valid")
    return xr.Dataset(variables, attrs=obj.attrs)


def _places(points: geopandas.GeoDataFrame, grid: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """X and y of points in the CRS of a grid."""
    if not hasattr(points, "geometry"):
        raise ArgumentError(
            f"points must be a GeoDataFrame or GeoSeries of points, not {type(points).__name__}. Make "
            f"one: gpd.GeoSeries.from_xy(x, y, crs=...)."
        )
    shapes = points.geometry.to_numpy()
    kinds = sorted({str(kind) for kind in points.geometry.geom_type.dropna()} - {"Point"})
    if kinds or len(shapes) == 0:
        raise ArgumentError(
            f"points holds {', '.join(kinds) or 'nothing'}; every geometry must be one point. Take "
            f"the middle of others: gdf.representative_point(), or the parts: gdf.explode()."
        )
    target = require_crs(grid, "The layer")
    if points.crs is None:
        raise MissingCRSError(
            "The points have no coordinate reference system. Set it with points.set_crs(...)."
        )
    source = parse_crs(points.crs)
    x, y = shapely.get_x(shapes), shapely.get_y(shapes)
    if not same_crs(source, target):
        x, y = change_between(source, target).forward(x, y)
    turn = full_turn(target)
    if turn:
        # Longitudes count from anywhere: a grid may run from 0 to 360 or across 180 degrees.
        left, _, right, _ = bounds(grid)
        with np.errstate(invalid="ignore"):
            x = x - np.floor((x - (left + right) / 2) / turn + 0.5) * turn
    return x, y


def _sampled(
    da: xr.DataArray, reader: WindowReader, at: np.ndarray, labels: dict[str, xr.Variable]
) -> xr.DataArray:
    """Return values and validity at rows and columns (2, n) of a layer."""
    bands, times = everything(reader)
    shape = (at.shape[1], len(times), len(bands))
    values, good = np.full(shape, fill_of(reader), reader.dtype), np.zeros(shape, bool)
    for window, hits in _clusters(at, reader.geobox):
        size = (len(times), len(bands), window.height, window.width)
        pixels, valid = np.empty(size, reader.dtype), np.empty(size, bool)
        reader.read(window, pixels, valid, bands=bands, times=times)
        rows, cols = at[:, hits].astype(int) - [[window.row], [window.col]]
        values[hits] = pixels[:, :, rows, cols].transpose(2, 0, 1)
        good[hits] = valid[:, :, rows, cols].transpose(2, 0, 1)
    values[~good] = fill_of(reader)
    dims = ["point", *(["time"] if "time" in da.dims else [])]
    band = band_dim(da.dims)
    dims += [] if band is None else [band]
    kept = tuple(axis for axis, dim in ((1, "time"), (2, band)) if dim not in dims)
    extra = {
        name: coord.variable
        for name, coord in da.coords.items()
        if name not in labels and not {"y", "x"} & set(coord.dims)
    }
    attrs = {key: value for key, value in da.attrs.items() if key != "ancillary_variables"}
    extra["valid"] = xr.Variable(dims, good.squeeze(kept))
    coords = guarded({**labels, **extra})
    sampled = xr.DataArray(values.squeeze(kept), coords, dims, da.name, attrs)
    sampled.encoding = {
        "grid_mapping": GRID_MAPPING
    }  # these are numbers of the layer, as they were
    return sampled


def _clusters(at: np.ndarray, grid: GeoBox) -> Iterator[tuple[Window, np.ndarray]]:
    """Windows, row of squares by row, each with the points in it."""
    rows, cols = at
    inside = (rows >= 0) & (cols >= 0) & (rows < grid.height) & (cols < grid.width)
    hits = np.flatnonzero(inside)
    if not hits.size:
        return
    across = -(-grid.width // _CLUSTER)
    square = (rows[hits] // _CLUSTER) * across + cols[hits] // _CLUSTER
    order = np.argsort(square, kind="stable")
    starts = np.flatnonzero(np.diff(square[order])) + 1
    for members in np.split(hits[order], starts):
        top, left = int(rows[members].min()), int(cols[members].min())
        bottom, right = int(rows[members].max()), int(cols[members].max())
        yield Window(top, left, bottom - top + 1, right - left + 1), members

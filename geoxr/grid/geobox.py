"""Grids of layers, and what follows from a grid: its size, its bounds, a window of it."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
import pyproj
import xarray as xr
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError, GridError
from geoxr.grid.adopt import adopt
from geoxr.grid.affine import rotated
from geoxr.grid.coords import GRID_MAPPING, read_crs
from geoxr.grid.crs import same_crs
from geoxr.grid.window import Window
from geoxr.typing import Bounds

#: Steps between coordinates may differ by this much [pixel]; float32 coordinates need it.
_UNIFORM = 1e-3
#: Grids whose pixels are this close to each other are on one lattice [pixel].
SAME_LATTICE = 1e-4


def resolution(geobox: GeoBox) -> tuple[float, float]:
    """Pixel size (x, y), positive [CRS units]."""
    a = geobox.affine
    return float(np.hypot(a.a, a.d)), float(np.hypot(a.b, a.e))


def bounds(geobox: GeoBox) -> Bounds:
    """(left, bottom, right, top) [CRS units]."""
    corners = [geobox.affine @ (c, r) for c in (0, geobox.width) for r in (0, geobox.height)]
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def describe_bounds(geobox: GeoBox) -> str:
    """Bounds in EPSG:4326 for messages; in the CRS of the grid where that is not possible."""
    if geobox.crs is None:
        return "({:.6g}, {:.6g}, {:.6g}, {:.6g}) without CRS".format(*bounds(geobox))
    try:
        to_wgs84 = pyproj.Transformer.from_crs(geobox.crs.proj, "EPSG:4326", always_xy=True)
        box = to_wgs84.transform_bounds(*bounds(geobox), densify_pts=21)
    except pyproj.exceptions.ProjError:  # another celestial body, or beyond the projection
        box = (np.nan,) * 4
    if not np.isfinite(box).all():
        return "({:.6g}, {:.6g}, {:.6g}, {:.6g}) in its own CRS".format(*bounds(geobox))
    return "({:.5f}, {:.5f}, {:.5f}, {:.5f}) in EPSG:4326".format(*box)


def check_grid(geobox: GeoBox, what: str) -> GeoBox:
    """Return `geobox`, or raise `GridError` if its transform places no pixels.

    Examples
    --------
    >>> check_grid(GeoBox((2, 2), Affine.scale(0), None), "The layer")
    Traceback (most recent call last):
        ...
    geoxr.errors.GridError: The layer has the transform (0.0, 0.0, 0.0, 0.0, 0.0, 0.0), ...
    """
    a = geobox.affine
    numbers = tuple(float(number) for number in a[:6])
    area, sides = abs(a.a * a.e - a.b * a.d), np.hypot(a.a, a.d) * np.hypot(a.b, a.e)
    # A comparison with NaN is False.
    if not np.isfinite(numbers).all() or not area > 1e-9 * sides > 0:
        raise GridError(
            f"{what} has the transform {numbers}, which gives its pixels no place or no area. A "
            f"transform (a, b, c, d, e, f) has finite numbers, and columns and rows run in different "
            f"directions. Repair the file, for example with gdal_edit.py -a_ullr."
        )
    return geobox


def extent(geobox: GeoBox) -> Window:
    """Return the window of the whole grid."""
    return Window(0, 0, geobox.height, geobox.width)


def crop(geobox: GeoBox, window: Window) -> GeoBox:
    """Return the grid of a window, which may reach outside."""
    affine = geobox.affine @ Affine.translation(window.col, window.row)
    return GeoBox((window.height, window.width), affine, geobox.crs)


def lattice_offset(source: GeoBox, target: GeoBox) -> tuple[int, int] | None:
    """Rows and columns from `source` to `target` if both are windows of one lattice, else None.

    Examples
    --------
    >>> grid = GeoBox((10, 10), Affine(30, 0, 600_000, 0, -30, 5_000_000), "EPSG:32633")
    >>> lattice_offset(grid, crop(grid, Window(2, 3, 4, 4)))
    (2, 3)
    >>> lattice_offset(grid, GeoBox((10, 10), grid.affine, "EPSG:32632"))
    """
    if not same_crs(source.crs, target.crs):
        return None
    step = ~source.affine @ target.affine
    drift = max(
        (abs(step.a - 1) + abs(step.d)) * target.width,
        (abs(step.e - 1) + abs(step.b)) * target.height,
    )
    row, col = round(step.f), round(step.c)
    if drift + max(abs(step.f - row), abs(step.c - col)) > SAME_LATTICE:
        return None
    return row, col


def same_grid(first: GeoBox, second: GeoBox) -> bool:
    """Whether two grids have the same pixels."""
    return first.shape == second.shape and lattice_offset(first, second) == (0, 0)


def _stored(obj: xr.DataArray | xr.Dataset) -> tuple[CRS | None, Affine | None]:
    """CRS and lattice as written in ``spatial_ref``."""
    reference = obj.coords.get(GRID_MAPPING)
    if reference is None:
        return None, None
    numbers = reference.attrs.get("GeoTransform")
    values = [float(value) for value in numbers.split()] if isinstance(numbers, str) else numbers
    affine = Affine.from_gdal(*values) if values is not None else None
    return read_crs(reference), affine


def crs_of(obj: xr.DataArray | xr.Dataset) -> CRS | None:
    """CRS of a layer, or None."""
    return _stored(adopt(obj))[0]


def geobox_of(obj: xr.DataArray | xr.Dataset) -> GeoBox:
    """Shape, affine and CRS of a layer, derived from its coordinates.

    Raises
    ------
    GridError
        If the coordinates are missing, irregular, or a single pixel of unknown size.
    """
    obj = adopt(obj)
    for dim in ("y", "x"):
        if dim not in obj.dims or dim not in obj.coords:
            raise GridError(_no_axis(obj, dim))
    if GRID_MAPPING in obj.coords and not obj.coords[GRID_MAPPING].attrs:
        raise GridError(
            "The attributes of spatial_ref were dropped, and with them the CRS and the transform. "
            "Keep them: da.drop_attrs(deep=False)."
        )
    crs, base = _stored(obj)
    turned = base is not None and rotated(base)
    if base is None or turned:
        lattice_x: tuple[float, float] | None = (0.0, 1.0) if turned else None
        lattice_y = lattice_x
    else:
        lattice_x, lattice_y = (base.c, base.a), (base.f, base.e)
    xs, ys = (_numbers(obj, dim) for dim in ("x", "y"))
    x0, dx = _axis(xs, "x", lattice_x)
    y0, dy = _axis(ys, "y", lattice_y)
    for dim, size, step, lattice in (("x", xs.size, dy, lattice_y), ("y", ys.size, dx, lattice_x)):
        if size == 1 and lattice is not None and abs(abs(step / lattice[1]) - 1) > _UNIFORM:
            _raise_one_pixel(
                dim, "the other axis has steps that its pixels did not have in the file"
            )
    affine = Affine(dx, 0.0, x0, 0.0, dy, y0)
    if turned and base is not None:
        affine = base @ affine
    return GeoBox((obj.sizes["y"], obj.sizes["x"]), affine, crs)


def _numbers(obj: xr.DataArray | xr.Dataset, dim: str) -> np.ndarray:
    labels = obj[dim].values
    if labels.dtype.kind not in "iuf":
        raise GridError(
            f"The coordinate {dim!r} holds {type(labels.flat[0]).__name__}, not the numbers of a grid. "
            f"Give it the centres of pixels: da.assign_coords({dim}=...)."
        )
    return labels.astype("float64")


def _no_axis(obj: xr.DataArray | xr.Dataset, dim: str) -> str:
    """Say what is missing of an axis and how to add it."""
    curved = [str(name) for name, coord in obj.coords.items() if coord.ndim == 2]
    if curved:
        return (
            f"The places of pixels are in {' and '.join(map(repr, curved))}, which have two "
            f"dimensions: a curvilinear grid or a swath. A layer has a regular grid, with the "
            f"coordinates 'y' and 'x' along its axes. Resample it first, as with pyresample, or give "
            f"it the 'y' and 'x' of its projection."
        )
    if dim in obj.dims:
        return (
            f"The coordinate {dim!r} is missing, so nobody knows where the pixels are. Give it their "
            f"centres: da.assign_coords({dim}=...)."
        )
    return (
        f"A layer has the dimensions and coordinates 'y' and 'x'; here {dim!r} is missing from "
        f"{tuple(map(str, obj.dims))}. Rename your dimensions, as in "
        f"da.rename(rows='y', columns='x'), and give them coordinates."
    )


def _axis(values: np.ndarray, dim: str, lattice: tuple[float, float] | None) -> tuple[float, float]:
    """Outer edge of the first pixel and signed step between pixels along one axis."""
    size = values.size
    if size == 0:
        raise GridError(f"The layer has no pixels along {dim!r}.")
    if size == 1:
        if lattice is None:
            _raise_one_pixel(dim, "the layer carries no GeoTransform")
        start, step = lattice
        place = (values[0] - start) / step - 0.5
        if not np.isfinite(place) or abs(place - round(place)) > _UNIFORM:
            _raise_one_pixel(dim, "it lies between the pixels of the file")
    else:
        step = float(values[-1] - values[0]) / (size - 1)
        even = values[0] + step * np.arange(size)
        if step == 0 or not np.max(np.abs(values - even)) <= _UNIFORM * abs(step):
            raise GridError(
                f"The coordinates along {dim!r} are not evenly spaced, so they are no pixel grid. "
                f"Select with slices, not with single positions."
            )
    if lattice is not None:
        start, cell = lattice
        first, stride = (values[0] - start) / cell - 0.5, step / cell
        if abs(first - round(first)) < _UNIFORM and abs(stride - round(stride)) < _UNIFORM / size:
            stride = round(stride)
            return start + (round(first) + 0.5 - stride / 2) * cell, stride * cell
    return float(values[0]) - step / 2, step


def grid_like(like: xr.DataArray | xr.Dataset | GeoBox) -> GeoBox:
    """Return the grid of a layer, or a GeoBox that places pixels as it is.

    Raises
    ------
    GridError
        If there is no regular grid, or its transform is degenerate.
    """
    if isinstance(like, GeoBox):
        return check_grid(like, "The GeoBox")
    if isinstance(like, xr.DataArray | xr.Dataset):
        return geobox_of(like)
    raise ArgumentError(
        f"A grid is a layer or a GeoBox, not a {type(like).__name__}. Pass one of them."
    )


def _raise_one_pixel(dim: str, why: str) -> NoReturn:
    raise GridError(
        f"One pixel along {dim!r} has no size of its own, and {why}. Keep at least two pixels, or "
        f"select the one before steps and coarsening."
    )

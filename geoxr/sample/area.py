"""Where chips may lie: footprints and areas of interest in pixels of the grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError, ChipError, NoOverlapError
from geoxr.grid.area import area_geometry
from geoxr.grid.crs import parse_crs, require_crs
from geoxr.grid.geobox import describe_bounds, geobox_of, resolution
from geoxr.grid.shapes import outline, to_pixels
from geoxr.io.dataset import layer_names, layer_reader
from geoxr.typing import Area

#: What of a chip lies in the area: its whole window, or its centre.
Within = Literal["window", "centre"]
#: What sizes are given in.
Units = Literal["pixels", "crs"]

#: Areas are taken this much larger, so that a border on a pixel edge counts as reached [pixel].
_SLACK = 1e-6


def footprint(ds: xr.Dataset | xr.DataArray) -> shapely.Geometry:
    """Outline of what all layers cover, in the CRS of the grid."""
    if isinstance(ds, xr.DataArray):
        ds = ds.to_dataset(name=ds.name or "layer")
    names = layer_names(ds)
    if not names:
        raise ArgumentError("The Dataset has no variable with the dimensions y and x.")
    return shapely.intersection_all([layer_reader(ds, name).footprint for name in names])


def chip_area(ds: xr.Dataset, aoi: Area | None) -> list[shapely.Polygon]:
    """Polygons that chips must lie in, in pixels (x = column, y = row) of the grid.

    Raises
    ------
    NoOverlapError
        If the area of interest does not meet the data.
    """
    geobox = geobox_of(ds)
    shape = footprint(ds) & outline(geobox)
    wanted = area_geometry(aoi, geobox)
    if wanted is not None:
        shape = meet(shape, wanted, geobox)
    return pixel_parts(shape, geobox)


def meet(shape: shapely.Geometry, wanted: shapely.Geometry, geobox: GeoBox) -> shapely.Geometry:
    """Return what an area of interest has of the data, both in the CRS of the grid.

    Raises
    ------
    NoOverlapError
        If that is nothing.
    """
    met = shape & wanted
    if met.is_empty:
        raise NoOverlapError(
            f"The area (aoi) with bounds {tuple(round(v, 5) for v in wanted.bounds)} does not "
            f"meet the data, which covers {describe_bounds(geobox)}. Is it in the CRS of the "
            f"Dataset? A GeoDataFrame knows its own."
        )
    return met


def pixel_parts(shape: shapely.Geometry, geobox: GeoBox) -> list[shapely.Polygon]:
    """Polygons of a geometry in the CRS of a grid, in pixels (x = column, y = row) of it.

    No two of them have a chip in common; what is smaller than a pixel is left out.
    """
    return list(owned_parts(np.array([shape], object), geobox)[0])


def owned_parts(shapes: np.ndarray, geobox: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """Polygons of many geometries as `pixel_parts`, and the position of each one's geometry."""
    pixels = shapely.buffer(to_pixels(shapes, geobox), _SLACK, join_style="mitre")
    parts, owners = shapely.get_parts(pixels, return_index=True)
    large = shapely.area(parts) > 1
    return parts[large], owners[large]


def check_within(within: Within) -> None:
    """Raise unless it says what of a chip lies in the area."""
    if within not in ("window", "centre"):
        raise ArgumentError(f'within is {within!r}, but must be "window" or "centre".')


def chip_size(
    size: float | tuple[float, float], units: str, geobox: GeoBox, what: str = "size"
) -> tuple[int, int]:
    """Return a size as (height, width) in whole pixels.

    Raises
    ------
    ChipError
        If the size is not positive, or chips are larger than the grid.
    """
    height, width = whole_pixels(size, units, geobox, what)
    if what == "size" and (height > geobox.height or width > geobox.width):
        raise ChipError(
            f"Chips of {height} x {width} pixels do not fit into a grid of {geobox.height} x "
            f"{geobox.width}. Make size smaller, or the grid larger."
        )
    return height, width


def whole_pixels(
    size: float | tuple[float, float], units: str, geobox: GeoBox, what: str
) -> tuple[int, int]:
    """Return one length or (height, width) in whole pixels.

    Raises
    ------
    ChipError
        If it is not positive.
    """
    pair = (size, size) if isinstance(size, int | float | np.number) else size
    try:
        height, width = (float(side) for side in pair)
    except (TypeError, ValueError) as error:
        raise ChipError(f"{what} must be one number or (height, width), not {size!r}.") from error
    if units not in ("pixels", "crs"):
        raise ArgumentError(f'units is {units!r}, but must be "pixels" or "crs".')
    x, y = resolution(geobox) if units == "crs" else (1.0, 1.0)
    sides = np.array([height / y, width / x])
    whole = np.rint(sides) if np.isfinite(sides).all() else np.zeros(2)
    if whole.min() < 1 or (units == "pixels" and (whole != sides).any()):
        raise ChipError(
            f"{what} must be a positive whole number of pixels, not {size!r}."
            if units == "pixels"
            else f"{what} = {size!r} {crs_units(geobox)} is no pixel: these are {x:g} x {y:g}."
        )
    return int(whole[0]), int(whole[1])


def inside(
    parts: Sequence[shapely.Polygon],
    corners: np.ndarray,
    size: tuple[int, int],
    within: Within = "window",
) -> np.ndarray:
    """Tell which chips (n, 2) lie in one of the polygons: their whole windows, or their centres."""
    shapes = _shapes(corners, size, within)
    polygons = np.array(parts, object)
    shapely.prepare(polygons)
    result = np.zeros(len(corners), bool)
    if not len(polygons):
        return result
    if len(polygons) == 1:
        return shapely.covers(polygons[0], shapes)
    chip, part = shapely.STRtree(polygons).query(shapes)
    result[chip[shapely.covers(polygons[part], shapes[chip])]] = True
    return result


def inside_own(
    parts: np.ndarray, corners: np.ndarray, size: tuple[int, int], within: Within
) -> np.ndarray:
    """Tell which chips (n, 2) lie in the polygon beside them (n,), which should be prepared."""
    return shapely.covers(parts, _shapes(corners, size, within))


def _shapes(corners: np.ndarray, size: tuple[int, int], within: Within) -> np.ndarray:
    height, width = size
    rows, cols = corners[:, 0], corners[:, 1]
    if within == "centre":
        return shapely.points(cols + width / 2, rows + height / 2)
    return shapely.box(cols, rows, cols + width, rows + height)


def legal_spans(
    parts: Sequence[shapely.Polygon], size: tuple[int, int], geobox: GeoBox, within: Within
) -> np.ndarray:
    """First row, first column, and how many rows and columns a chip in each polygon can start at.

    Returns
    -------
    int64 array (part, 4)
    """
    left, top, right, bottom = shapely.bounds(np.array(parts, object)).reshape(-1, 4).T
    sides, room = np.array(size), np.array(geobox.shape) - size
    before, after = (sides / 2, sides / 2) if within == "centre" else (0, sides)
    first = np.maximum(np.ceil(np.stack([top, left], axis=1) - before), 0)
    last = np.minimum(np.floor(np.stack([bottom, right], axis=1) - after), room)
    return np.hstack([first, np.maximum(last - first + 1, 0)]).astype("int64")


def crs_units(geobox: GeoBox) -> str:
    """Name of the units of the CRS, for messages."""
    crs = parse_crs(require_crs(geobox, "The Dataset"))
    return "degrees" if crs.geographic else "metres"

"""Where chips may lie: footprints and areas of interest in pixels of the grid."""

from __future__ import annotations

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
        shape = shape & wanted
        if shape.is_empty:
            raise NoOverlapError(
                f"The area (aoi) with bounds {tuple(round(v, 5) for v in wanted.bounds)} does not "
                f"meet the data, which covers {describe_bounds(geobox)}. Is it in the CRS of the "
                f"Dataset? A GeoDataFrame knows its own."
            )
    pixels = to_pixels(shape, geobox).buffer(_SLACK, join_style="mitre")
    return [part for part in shapely.get_parts(pixels) if part.area > 1]


def chip_size(
    size: float | tuple[float, float], units: str, geobox: GeoBox, what: str = "size"
) -> tuple[int, int]:
    """Return a size as (height, width) in whole pixels.

    Raises
    ------
    ChipError
        If the size is not positive, or chips are larger than the grid.
    """
    pair = (size, size) if isinstance(size, int | float | np.number) else tuple(size)
    if units == "crs" and len(pair) == 2:
        x, y = resolution(geobox)
        pair = (pair[0] / y, pair[1] / x)
    elif units not in ("pixels", "crs"):
        raise ArgumentError(f'units is {units!r}, but must be "pixels" or "crs".')
    try:
        height, width = (round(float(side)) for side in pair)
    except (TypeError, ValueError, OverflowError) as error:
        raise ChipError(f"{what} must be one number or (height, width), not {size!r}.") from error
    if height < 1 or width < 1 or (units == "pixels" and (height, width) != pair):
        raise ChipError(f"{what} must be a positive whole number of pixels, not {size!r}.")
    if what == "size" and (height > geobox.height or width > geobox.width):
        raise ChipError(
            f"Chips of {height} x {width} pixels do not fit into a grid of {geobox.height} x "
            f"{geobox.width}. Make size smaller, or the grid larger."
        )
    return height, width


def inside(parts: list[shapely.Polygon], corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Tell which chips (n, 2) lie in one of the polygons with their whole window."""
    height, width = size
    rows, cols = corners[:, 0], corners[:, 1]
    boxes = shapely.box(cols, rows, cols + width, rows + height)
    result = np.zeros(len(corners), bool)
    for part in parts:
        shapely.prepare(part)
        result |= shapely.covers(part, boxes)
    return result


def legal_corners(part: shapely.Polygon, size: tuple[int, int], geobox: GeoBox) -> tuple[int, ...]:
    """First row, first column, and how many rows and columns a chip in a polygon can start at."""
    left, top, right, bottom = part.bounds
    row, col = max(int(np.ceil(top)), 0), max(int(np.ceil(left)), 0)
    stop_row, stop_col = min(int(np.floor(bottom)), geobox.height), min(int(right), geobox.width)
    return row, col, max(stop_row - row - size[0] + 1, 0), max(stop_col - col - size[1] + 1, 0)


def crs_units(geobox: GeoBox) -> str:
    """Name of the units of the CRS, for messages."""
    crs = parse_crs(require_crs(geobox, "The Dataset"))
    return "degrees" if crs.geographic else "metres"

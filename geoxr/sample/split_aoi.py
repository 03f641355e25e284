"""Areas of one's own for training, validation and test, checked to be apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, overload

import shapely
import xarray as xr

from geoxr.errors import ArgumentError, NoOverlapError
from geoxr.grid.adopt import adopt
from geoxr.grid.area import area_geometry
from geoxr.grid.geobox import describe_bounds, geobox_of
from geoxr.sample.deal import apart, as_series, check_gap, least_gap, valid_area
from geoxr.typing import Area

if TYPE_CHECKING:
    import geopandas

#: Overlaps below this share of the smaller area come from drawing borders twice.
_SLIVER = 0.01


@overload
def split_aoi(
    ds: xr.Dataset, areas: Mapping[str, Area], *, gap: float = 0.0
) -> dict[str, geopandas.GeoSeries]: ...
@overload
def split_aoi(
    ds: xr.Dataset, areas: Sequence[Area], *, gap: float = 0.0
) -> tuple[geopandas.GeoSeries, ...]: ...
def split_aoi(
    ds: xr.Dataset, areas: Mapping[str, Area] | Sequence[Area], *, gap: float = 0.0
) -> dict[str, geopandas.GeoSeries] | tuple[geopandas.GeoSeries, ...]:
    """Take areas of one's own as splits: bring them onto the grid and keep them apart.

    Parameters
    ----------
    ds : Dataset
    areas : mapping of str to area, or sequence of areas
        Geometries and bounds are in the CRS of `ds`; GeoSeries and GeoDataFrames know their own.
    gap : float [CRS units]
        Smallest distance between two of them; half of it is cut off both where they are nearer. With
        0 it is a thousandth of a pixel, so that a pixel or more lies between chips.

    Returns
    -------
    dict or tuple of GeoSeries
        As `areas`: what of each lies in the valid area, in the CRS of `ds`.

    Raises
    ------
    ArgumentError
        If two areas share more than a hundredth of the smaller one: they are no splits. Less is a
        border that was drawn twice, and is cut off both.
    NoOverlapError
        If an area does not meet the data, or the gap leaves nothing of it.
    """
    ds = adopt(ds)
    check_gap(gap)
    named = isinstance(areas, Mapping)
    listed = (
        dict(areas)
        if isinstance(areas, Mapping)
        else {f"area {number}": area for number, area in enumerate(areas)}
    )
    if not listed:
        raise ArgumentError("There are no areas to split by.")
    geobox = geobox_of(ds)
    data = valid_area(ds)
    shapes = {}
    for name, area in listed.items():
        shape = area_geometry(area, geobox)
        if shape is None:
            raise ArgumentError(f"{name!r} is None, not an area.")
        shapes[name] = shape & data
        if shapes[name].area == 0:
            raise NoOverlapError(
                f"{name!r} with bounds {tuple(round(v, 5) for v in shape.bounds)} does not meet the "
                f"data, which covers {describe_bounds(geobox)}. Is it in the CRS of the Dataset? A "
                f"GeoDataFrame knows its own."
            )
    _check_overlaps(shapes)
    distance = least_gap(gap, geobox)
    left = dict(zip(shapes, apart(list(shapes.values()), distance), strict=True))
    for name, shape in left.items():
        if shape.area == 0:
            raise NoOverlapError(
                f"A gap of {gap:g} to the other areas leaves nothing of {name!r}. Make the gap "
                f"smaller or the area larger."
            )
    series = {name: as_series(shape, geobox) for name, shape in left.items()}
    return series if named else tuple(series.values())


def _check_overlaps(shapes: Mapping[str, shapely.Geometry]) -> None:
    names = list(shapes)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            shared = (shapes[first] & shapes[second]).area
            smaller = min(first, second, key=lambda name: shapes[name].area)
            share = shared / shapes[smaller].area
            if share > _SLIVER:
                raise ArgumentError(
                    f"{first!r} and {second!r} share {share:.1%} of {smaller!r}, so a model would be "
                    f"judged by what it has seen. Subtract one from the other first: "
                    f'train.overlay(test, how="difference").'
                )

"""Chips on a regular grid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError, ChipError
from geoxr.sample.area import Units, Within, check_within, chip_area, inside_own
from geoxr.sample.chip import Chain, ChipPlan, CornerGrid, Draw, Fixed, Spots
from geoxr.sample.nodes import Layers, Node, check_area, nodes_of, on_each, size_on
from geoxr.sample.room import check_length
from geoxr.sample.times import Dates, chip_dates, compact
from geoxr.sample.validity import check_min_valid, valid_share
from geoxr.typing import Area

Edge = Literal["shift", "pad", "drop"]

#: Corners looked at together.
_AT_ONCE = 1 << 18


def grid_chips(
    ds: Layers,
    size: float | tuple[float, float],
    *,
    stride: float | tuple[float, float] | None = None,
    edge: Edge = "shift",
    aoi: Area | None = None,
    toi: Any = None,
    steps: int | None = None,
    time_stride: int | None = None,
    ragged: bool = False,
    min_valid: float = 0.0,
    within: Within = "window",
    units: Units = "pixels",
) -> ChipPlan:
    """Lay chips over the grid, row by row.

    Parameters
    ----------
    ds : Dataset or DataTree
        Every node of a DataTree gets a grid of its own, one after the other.
    size : int or (height, width) [pixel]
        Of a chip, or in CRS units with ``units="crs"``.
    stride : int or (y, x) [pixel], optional
        From chip to chip. Default: `size`, so that they touch. Above `size`, pixels between chips are
        left out.
    edge : {"shift", "pad", "drop"}
        The last chip of a row or column is shifted back to end with the grid, reaches over its end
        (invalid pixels), or is left out. So are the last ones along time.
    aoi : geometry, GeoSeries, GeoDataFrame or bounds, optional
        Only chips in it. Every part of it gets a grid of its own, from its own corner, so that small
        areas are covered too. Chips do not reach over the end of a part, but with ``"pad"`` over that
        of the grid.
    toi : (start, stop), optional
        Only these dates, both ends included, as ``ds.sel(time=slice(start, stop))``.
    steps : int, optional
        Consecutive dates of a chip. The grid is laid out again for the next ones. Default: all in
        `toi`.
    time_stride : int, optional
        Dates from one to the next. Default: `steps`.
    ragged : bool
        A chip only has those of its dates on which some of it is valid, as far as `min_valid` looks.
        Those with fewer than the longest are padded, and those with none left out.
    min_valid : float
        Smallest share of pixels, over all dates of a chip, that are valid in all layers. It is
        estimated from every eighth pixel, more of small chips; 1 looks at all pixels.
    within : {"window", "centre"}
        Whether the whole window of a chip lies in the area, or its centre. With "centre" the chips
        over a part that is narrower than they are lie around its middle.
    units : {"pixels", "crs"}

    Raises
    ------
    ChipError
        If chips are larger than the grid, none is left, or `steps` is more than there are dates.
    NoOverlapError
        If the area does not meet the data, or no date lies in `toi`.
    """
    nodes = nodes_of(ds)
    check_area([node.geobox for node in nodes], aoi)
    sides, nodes = size_on(nodes, size, units)
    pace = sides if stride is None else size_on(nodes, stride, units, "stride")[0]
    check_min_valid(min_valid)
    check_within(within)
    if edge not in ("shift", "pad", "drop"):
        raise ArgumentError(f'edge is {edge!r}, but must be "shift", "pad" or "drop".')
    if time_stride is not None and steps is None:
        raise ArgumentError("time_stride goes with steps, the number of dates of a chip.")
    pace_in_time = None if time_stride is None else check_length(time_stride, "time_stride")

    def lay(node: Node) -> CornerGrid | Spots:
        dates = chip_dates(node.ds, toi, steps, ragged=ragged)
        windows = None if dates is None else dates.windows(pace_in_time or dates.steps, edge)
        if aoi is None:
            places: CornerGrid | Spots = _over(node.geobox, sides, pace, edge, windows)
        else:
            parts = np.array(chip_area(node.ds, aoi), object)
            corners = _in_parts(parts, node.geobox, sides, pace, edge, within)
            if not len(corners):
                raise ChipError(
                    f"No chip of {sides[0]} x {sides[1]} pixels on the grid lies in the area. Make "
                    f'size smaller, the area larger, or let only centres be in it: within="centre".'
                )
            places = _at_dates(corners, windows)
        return _valid(node, places, sides, dates, min_valid)

    kept, found = on_each(nodes, lay)
    draws = tuple(_on_grid(places, number) for number, places in enumerate(found))
    draw = draws[0] if len(draws) == 1 else Chain(draws)
    return ChipPlan(tuple(node.grid for node in kept), sides, draw)


def _over(
    geobox: GeoBox,
    size: tuple[int, int],
    stride: tuple[int, int],
    edge: Edge,
    dates: tuple[tuple[int, ...], ...] | None,
) -> CornerGrid:
    """Lay a grid over the whole of another."""
    shape, last = [], []
    for length, side, step in zip(geobox.shape, size, stride, strict=True):
        room = length - side
        number = room // step + 1 if edge == "drop" else -(-room // step) + 1
        shape.append(number)
        last.append(room if edge == "shift" else (number - 1) * step)
    return CornerGrid((0, 0), stride, (shape[0], shape[1]), (last[0], last[1]), dates=dates)


def _in_parts(
    parts: np.ndarray,
    geobox: GeoBox,
    size: tuple[int, int],
    stride: tuple[int, int],
    edge: Edge,
    within: Within,
) -> np.ndarray:
    """Corners (n, 2) of the grids of all parts of an area, those that lie in it."""
    left, top, right, bottom = shapely.bounds(parts).reshape(-1, 4).T
    rows = _axis(top, bottom, geobox.height, size[0], stride[0], edge, within)
    cols = _axis(left, right, geobox.width, size[1], stride[1], edge, within)
    number = rows[1] * cols[1]
    ends = np.cumsum(number)
    shapely.prepare(parts)
    found = [np.empty((0, 2), "int64")]
    for begin in range(0, int(number.sum()), _AT_ONCE):
        at = np.arange(begin, min(begin + _AT_ONCE, ends[-1]))
        part = np.searchsorted(ends, at, side="right")
        i, j = np.divmod(at - (ends - number)[part], cols[1][part])
        row = np.minimum(rows[0][part] + i * stride[0], rows[2][part])
        col = np.minimum(cols[0][part] + j * stride[1], cols[2][part])
        corners = np.stack([row, col], axis=1)
        found.append(corners[_lie_in(parts[part], corners, geobox, size, within)])
    return np.concatenate(found)


def _axis(
    start: np.ndarray,
    stop: np.ndarray,
    length: int,
    side: int,
    step: int,
    edge: Edge,
    within: Within,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First corner, number of chips, and last corner along an axis, for each part (n,)."""
    first = np.maximum(np.ceil(start), 0).astype("int64")
    last = np.minimum(np.floor(stop), length).astype("int64")
    reach = last - first - side
    # Only over the end of the grid can a chip reach and still lie in the area.
    pads = (edge == "pad") & (last == length)
    narrow = (reach < 0) & ~pads
    if within == "centre":
        middle = np.rint((start + stop - side) / 2).astype("int64")
        first = np.where(narrow, np.clip(middle, 0, length - side), first)
        reach = np.where(narrow, 0, reach)
        narrow = np.zeros(len(reach), bool)
    room = np.maximum(reach, 0)
    whole = (edge == "drop") | ((edge == "pad") & ~pads)
    number = np.where(whole, room // step, -(-room // step)) + 1
    end = first + (room if edge == "shift" else (number - 1) * step)
    return first, np.where(narrow, 0, number), end


def _lie_in(
    parts: np.ndarray, corners: np.ndarray, geobox: GeoBox, size: tuple[int, int], within: Within
) -> np.ndarray:
    """Tell which chips lie in the part beside them, but for what reaches over the end of the grid."""
    if within == "centre":
        return inside_own(parts, corners, size, within)
    stops = np.minimum(corners + size, geobox.shape)
    boxes = shapely.box(corners[:, 1], corners[:, 0], stops[:, 1], stops[:, 0])
    return shapely.covers(parts, boxes)


def _at_dates(corners: np.ndarray, dates: tuple[tuple[int, ...], ...] | None) -> Spots:
    """All corners with the first dates, then all with the second ..."""
    if dates is None:
        return Spots(corners)
    times = np.repeat(np.array(dates, "int64"), len(corners), axis=0)
    return Spots(np.tile(corners, (len(dates), 1)), None, times)


def _on_grid(places: CornerGrid | Spots, number: int) -> Draw:
    """Places on the grid of this number in the plan."""
    if isinstance(places, CornerGrid):
        return replace(places, grid=number)
    grids = np.full(len(places), number) if number else None
    return Fixed(Spots(places.corners, grids, places.times))


def _valid(
    node: Node,
    places: CornerGrid | Spots,
    size: tuple[int, int],
    dates: Dates | None,
    min_valid: float,
) -> CornerGrid | Spots:
    """Keep the chips that are valid enough, and of ragged ones the dates with anything valid."""
    ragged = dates is not None and dates.ragged
    if min_valid == 0 and not ragged:
        return places
    found, best = [], 0.0
    for begin in range(0, len(places), _AT_ONCE):
        spots = places.take(np.arange(begin, min(begin + _AT_ONCE, len(places))))
        share, times = valid_share(
            node.ds, spots.corners, size, spots.times, exact=min_valid == 1, ragged=ragged
        )
        best = max(best, float(share.max()))
        keep = share >= max(min_valid, 1e-12)
        found.append(Spots(spots.corners[keep], None, None if times is None else times[keep]))
    spots = Spots.join(found)
    if not len(spots):
        raise ChipError(
            f"None of the {len(places)} chips of {size[0]} x {size[1]} pixels has "
            f"{min_valid:.0%} valid pixels. The best has {best:.1%}. Make min_valid or size smaller, or "
            f"choose another area."
        )
    if ragged and spots.times is not None:
        spots = Spots(spots.corners, None, compact(spots.times, spots.times >= 0))
    return spots

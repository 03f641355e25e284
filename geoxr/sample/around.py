"""Chips around points and polygons."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError, ChipError, MissingCRSError, NoOverlapError
from geoxr.grid.area import table_geometries
from geoxr.grid.geobox import describe_bounds
from geoxr.grid.shapes import outline, to_pixels
from geoxr.sample.area import Units, Within, chip_size, footprint
from geoxr.sample.chip import ChipPlan, CornerGrid, Grid, Spots
from geoxr.sample.grid import Edge
from geoxr.sample.room import Room, seed_number
from geoxr.sample.times import as_dates, dates_in
from geoxr.typing import Area, Seed

if TYPE_CHECKING:
    import geopandas

#: Shifts tried for a chip that has to lie in an area, before it stays where it is.
_TRIES = 16
#: A window that a polygon enters by less does not show it [pixel].
_TOUCH = 1e-6


def chips_around(
    ds: xr.Dataset,
    geometries: geopandas.GeoDataFrame | geopandas.GeoSeries | Sequence[shapely.Geometry],
    size: float | tuple[float, float],
    *,
    jitter: float = 0,
    time: str | Sequence[Any] | None = None,
    tolerance: Any = None,
    edge: Edge = "shift",
    aoi: Area | None = None,
    toi: Any = None,
    seed: Seed = 0,
    min_valid: float = 0.0,
    within: Within = "window",
    units: Units = "pixels",
) -> ChipPlan:
    """Put a chip around each point or polygon.

    A point is in the middle of its chip. A geometry that fits into a chip lies in it with all its
    pixels, its bounds in the middle. A larger one is covered by chips side by side, the last ones
    shifted back to end with its bounds; chips that do not show it are left out.

    Parameters
    ----------
    ds : Dataset
    geometries : GeoDataFrame, GeoSeries or sequence of geometries
        Tables may be in any CRS; bare geometries are in that of `ds`.
    size : int or (height, width) [pixel]
        Of a chip, or in CRS units with ``units="crs"``.
    jitter : int [pixel]
        Chips are moved by up to so many pixels along both axes at random, anew in every epoch; at
        most half of `size`. In CRS units with ``units="crs"``. Those that cover a large geometry are
        moved too.
    time : str or sequence of dates, optional
        Column of the table, or dates, one for each row: a chip has the dates of `ds` near it.
    tolerance : timedelta, optional
        How far dates may be from `time`, as pandas understands it: ``"10D"``. All such dates count;
        chips that have fewer than others are padded. Without it the one nearest date does.
    edge : {"shift", "pad", "drop"}
        Chips that reach over the edge of the grid are moved into it, keep their place (with invalid
        pixels), or are left out.
    aoi : geometry, GeoSeries, GeoDataFrame or bounds, optional
        Only chips in it.
    toi : (start, stop), optional
        Only these dates.
    seed : int or numpy.random.Generator
        Fixes `jitter`.
    min_valid : float
        Smallest share of pixels that are valid in all layers.
    within : {"window", "centre"}
        Whether the whole window of a chip lies in the area, or its centre.
    units : {"pixels", "crs"}

    Returns
    -------
    ChipPlan
        In the order of the rows. If each has one chip, ``chip.index`` is the number of its row, also
        where others were left out. ``plan.draw.rows[chip.index]`` is the number of the row, and
        ``plan.draw.labels`` are the labels of all rows.

    Warns
    -----
    UserWarning
        If rows lie outside of the data or have no date, with their number.

    Raises
    ------
    NoOverlapError
        If all rows lie outside of the data.
    ChipError
        If no chip is left.
    MissingCRSError
        If a table has no CRS.
    ArgumentError
        If a geometry is missing or empty, or an argument makes no sense.
    """
    places = Room.of(ds, size, aoi=aoi, within=within, min_valid=min_valid, units=units, look=False)
    geobox, sides = places.geobox, places.size
    if edge not in ("shift", "pad", "drop"):
        raise ArgumentError(f'edge is {edge!r}, but must be "shift", "pad" or "drop".')
    shift = _jitter(jitter, units, geobox, sides)
    labels, shapes = _rows_of(geometries, geobox)
    near = _near_dates(ds, _row_dates(geometries, time, len(shapes)), tolerance, toi)
    met = shapely.intersects(footprint(ds) & outline(geobox), shapes)
    _report(met, labels, f"lie outside of the data, which covers {describe_bounds(geobox)}")
    dated = np.ones(len(shapes), bool) if near is None else (near >= 0).any(axis=1)
    _report(
        dated | ~met, labels, f"have no date of the Dataset near theirs (tolerance={tolerance})"
    )
    corners, rows = _corners(to_pixels(shapes, geobox), sides, met)
    room = np.array(geobox.shape) - sides
    kept = (met & dated)[rows]
    if edge == "shift":
        corners = np.clip(corners, 0, room)
    elif edge == "drop":
        kept &= ((corners >= 0) & (corners <= room)).all(axis=1)
    limited = aoi is not None or min_valid > 0
    if limited:
        kept[kept] = places.hold(corners[kept])
    if not kept.any():
        raise ChipError(
            f"None of the {len(rows)} chips of {sides[0]} x {sides[1]} pixels around "
            f"{len(shapes)} rows is left: they reach over the edge of the grid or the area, have no "
            f"date, or less than {min_valid:.0%} valid pixels."
        )
    if near is None:
        dates = dates_in(ds, toi)
        times = None if dates is None else np.tile(dates, (len(rows), 1))
    else:
        times = near[rows]
    # Chips that are left out keep their number, so that numbers are those of the rows.
    draw = AroundDraw(
        Spots(corners, None, times), rows, labels, shift, seed_number(seed),
        None if edge == "pad" else (int(room[0]), int(room[1])), places if limited else None,
    )  # fmt: skip
    picked = None if kept.all() else np.flatnonzero(kept)
    return ChipPlan((Grid.of(ds),), sides, draw, picked=picked)


@dataclass(frozen=True, eq=False)
class AroundDraw:
    """Chips around geometries, moved a little at random in every epoch.

    Attributes
    ----------
    spots : Spots
        Where they are without that.
    rows : int64 array (n,)
        Number of the row that a chip is for.
    labels : array (row,)
        Label of each row.
    jitter : (int, int) [pixel]
    room : (int, int) or None
        Last corner in the grid, where chips stay in it.
    where : Room, optional
        Where they have to lie.
    """

    spots: Spots
    rows: np.ndarray
    labels: np.ndarray
    jitter: tuple[int, int]
    seed: int
    room: tuple[int, int] | None
    where: Room | None

    def places(self, epoch: int) -> Spots:
        """Return the places of an epoch."""
        return self.spots if self.jitter == (0, 0) else _moved(self, epoch)


@lru_cache(maxsize=8)
def _moved(draw: AroundDraw, epoch: int) -> Spots:
    rng = np.random.default_rng([draw.seed, epoch])
    base = draw.spots.corners
    corners, open_ = base.copy(), np.arange(len(base))
    most = np.array(draw.jitter)
    for _ in range(_TRIES):
        moved = base[open_] + rng.integers(-most, most + 1, (len(open_), 2))
        if draw.room is not None:
            moved = np.clip(moved, 0, draw.room)
        good = np.ones(len(open_), bool) if draw.where is None else draw.where.hold(moved)
        corners[open_[good]] = moved[good]
        open_ = open_[~good]
        if not len(open_):
            break
    return Spots(corners, None, draw.spots.times)


def _jitter(jitter: float, units: Units, geobox: GeoBox, size: tuple[int, int]) -> tuple[int, int]:
    if jitter == 0:
        return 0, 0
    try:
        most = chip_size(jitter, units, geobox, "jitter")
    except ChipError as error:
        raise ArgumentError(str(error)) from error
    if most[0] > size[0] / 2 or most[1] > size[1] / 2:
        raise ArgumentError(
            f"jitter of {most[0]} x {most[1]} pixels is more than half of size = {size}, so that "
            f"chips would miss what they are around."
        )
    return most


def _rows_of(geometries: Any, geobox: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """Labels and geometries of rows, in the CRS of the grid."""
    if hasattr(geometries, "geometry") and hasattr(geometries, "to_crs"):
        if geometries.crs is None and geobox.crs is not None:
            raise MissingCRSError(
                "The table of geometries has no coordinate reference system. Set it with "
                "gdf.set_crs(...)."
            )
        labels, given = np.asarray(geometries.index), np.asarray(geometries.geometry)
    else:
        listed = [geometries] if isinstance(geometries, shapely.Geometry) else geometries
        try:
            given = np.empty(len(listed), object)
            given[:] = list(listed)
        except TypeError as error:
            raise ArgumentError(_no_geometries(geometries)) from error
        labels = np.arange(len(given))
    if not len(given) or not all(one is None or isinstance(one, shapely.Geometry) for one in given):
        raise ArgumentError(_no_geometries(geometries))
    empty = np.flatnonzero(shapely.is_missing(given) | shapely.is_empty(given))
    if len(empty):
        raise ArgumentError(
            f"{len(empty)} of {len(given)} geometries are missing or empty, the first in row "
            f"{labels[empty].tolist()[0]!r}. Leave them out: gdf[~(gdf.geometry.isna() | gdf.is_empty)]."
        )
    if hasattr(geometries, "to_crs"):
        return labels, table_geometries(geometries, geobox)
    return labels, given


def _no_geometries(given: Any) -> str:
    return (
        f"geometries must be a GeoDataFrame, a GeoSeries or a sequence of shapely geometries in the "
        f"CRS of the Dataset, one at least, not {type(given).__name__}."
    )


def _report(good: np.ndarray, labels: np.ndarray, what: str) -> None:
    """Warn of rows that cannot have chips; raise if none can."""
    bad = labels[~good]
    if not len(bad):
        return
    if len(bad) == len(labels):
        raise NoOverlapError(f"All {len(labels)} rows {what}.")
    named = ", ".join(repr(one) for one in bad[:5].tolist()) + (", ..." if len(bad) > 5 else "")
    warnings.warn(
        f"{len(bad)} of {len(labels)} rows {what}; they have no chips: {named}.", stacklevel=4
    )


def _corners(
    shapes: np.ndarray, size: tuple[int, int], met: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Corners (n, 2) of the chips around geometries given in pixels, and the rows they are for."""
    sides = np.array(size)
    bounds = np.nan_to_num(shapely.bounds(shapes), posinf=0, neginf=0)
    low, high = bounds[:, [1, 0]], bounds[:, [3, 2]]
    first, stop = np.floor(low + _TOUCH).astype("int64"), np.ceil(high - _TOUCH).astype("int64")
    # The middle of a chip is as near as pixels allow; what fits into whole pixels of it stays in it.
    one = np.floor((low + high) / 2 - sides / 2 + 0.5).astype("int64")
    large = met & (stop - first > sides).any(axis=1)
    corners, rows = [one[~large]], [np.flatnonzero(~large)]
    for row in np.flatnonzero(large):
        extent = np.maximum(stop[row] - first[row], sides)
        start = np.where(stop[row] - first[row] > sides, first[row], one[row])
        number = -(-(extent - sides) // sides) + 1
        last = start + extent - sides
        grid = CornerGrid(
            (int(start[0]), int(start[1])), size, (int(number[0]), int(number[1])),
            (int(last[0]), int(last[1])),
        )  # fmt: skip
        tiles = grid.take(np.arange(len(grid))).corners
        top, left = (tiles + _TOUCH).T
        bottom, right = (tiles + sides - _TOUCH).T
        tiles = tiles[shapely.intersects(shapes[row], shapely.box(left, top, right, bottom))]
        corners.append(tiles)
        rows.append(np.full(len(tiles), row))
    order = np.argsort(np.concatenate(rows), kind="stable")
    return np.concatenate(corners)[order], np.concatenate(rows)[order]


def _row_dates(geometries: Any, time: Any, number: int) -> pd.DatetimeIndex | None:
    """Date of each row, or None."""
    if time is None:
        return None
    if isinstance(time, str):
        if time not in getattr(geometries, "columns", ()):
            raise ArgumentError(
                f"time names the column {time!r}, but the columns are "
                f"{', '.join(map(str, getattr(geometries, 'columns', ['none'])))}."
            )
        time = geometries[time]
    dates = as_dates(time, "time")
    if len(dates) != number or dates.hasnans:
        raise ArgumentError(
            f"time has {len(dates)} dates, {int(dates.isna().sum())} of them missing, for {number} "
            f"rows. Give one for each."
        )
    return dates


def _near_dates(
    ds: xr.Dataset, rows: pd.DatetimeIndex | None, tolerance: Any, toi: Any
) -> np.ndarray | None:
    """Positions (row, steps) of the dates of a Dataset near those of rows, padded with -1."""
    if rows is None:
        if tolerance is not None:
            raise ArgumentError("tolerance is for dates near those of rows: name them in time=.")
        return None
    if "time" not in ds.dims:
        raise ArgumentError("time asks for dates, but the Dataset has no dimension 'time'.")
    allowed = np.array(dates_in(ds, toi) or range(ds.sizes["time"]))
    apart = np.abs(
        rows.to_numpy("datetime64[ns]")[:, None]
        - ds["time"].values.astype("datetime64[ns]")[allowed]
    )
    if tolerance is None:
        return allowed[apart.argmin(axis=1)][:, None]
    try:
        most = pd.Timedelta(tolerance)
    except ValueError as error:
        raise ArgumentError(
            f'tolerance must be a length of time such as "10D", not {tolerance!r}.'
        ) from error
    close = apart <= most.to_timedelta64()
    steps = np.full((len(rows), max(int(close.sum(axis=1).max()), 1)), -1)
    row, at = np.nonzero(close)
    place = np.arange(len(row)) - np.searchsorted(row, row)
    steps[row, place] = allowed[at]
    return steps

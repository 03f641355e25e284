"""Pieces of ground dealt out to splits by area, and kept apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError, NoOverlapError
from geoxr.grid.geobox import resolution
from geoxr.sample.footprint import valid_footprint

if TYPE_CHECKING:
    import geopandas

#: Areas that are to be apart are at least this far apart. Chips consist of whole pixels, so one pixel
#: or more is left between those of two areas [pixel].
_LEAST = 1e-3
#: Shares this close to what was asked for are not improved any more.
_CLOSE = 2e-3
#: How often pieces are dealt out again with what the gaps took made up for.
_ROUNDS = 16


def valid_area(ds: xr.Dataset | xr.DataArray) -> shapely.Geometry:
    """Return what is divided among splits, in the CRS of the grid: where data is valid, holes filled.

    Raises
    ------
    NoOverlapError
        If there is nothing.
    """
    parts = [p for p in shapely.get_parts(valid_footprint(ds)) if isinstance(p, shapely.Polygon)]
    data = shapely.union_all([shapely.Polygon(part.exterior) for part in parts])
    if data.is_empty:
        raise NoOverlapError(
            "The layers of the Dataset have no place in common where they are valid, so there is "
            "nothing to split."
        )
    return data


def least_gap(gap: float, geobox: GeoBox) -> float:
    """Return a gap that leaves a pixel between chips, even where none is asked for [CRS units]."""
    return max(gap, _LEAST * max(resolution(geobox)))


def check_gap(gap: float, most: float = np.inf) -> None:
    """Raise unless a gap is a distance below `most`."""
    if not 0 <= gap < most:
        below = "" if most == np.inf else f" and smaller than the blocks ({most:g})"
        raise ArgumentError(f"gap must be 0 or a distance in CRS units{below}, not {gap!r}.")


def check_fractions(fractions: Sequence[float]) -> np.ndarray:
    """Return shares as an array.

    Raises
    ------
    ArgumentError
        If they are not positive or do not add up to 1.
    """
    try:
        shares = np.asarray(fractions, dtype=float)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"fractions must be numbers, not {fractions!r}.") from error
    if shares.ndim != 1 or not len(shares) or not (shares > 0).all():
        raise ArgumentError(
            f"fractions must be positive, one for each split, as in (0.7, 0.15, 0.15), not "
            f"{fractions!r}."
        )
    if abs(shares.sum() - 1) > 1e-6:
        raise ArgumentError(
            f"fractions must be positive and add up to 1, but {tuple(fractions)} add up to "
            f"{shares.sum():g}."
        )
    return shares


def deal(areas: np.ndarray, shares: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Give each piece, in this order, to the split that lacks most of its share.

    Returns
    -------
    int array (n,)
        The split of each piece; each split gets one at least if there are enough.
    """
    owner = np.empty(len(areas), int)
    held = np.zeros(len(shares))
    for number, at in enumerate(order):
        empty = np.flatnonzero(held == 0)
        last_chance = len(empty) >= len(order) - number
        lack = shares * areas.sum() - held
        split = int(empty[0]) if last_chance and len(empty) else int(np.argmax(lack))
        owner[at] = split
        held[split] += areas[at]
    return owner


def random_order(areas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Order of pieces at random, but large ones before small ones, which even shares out."""
    order = rng.permutation(len(areas))
    classes = np.round(4 * areas[order] / areas.max())
    return order[np.argsort(-classes, kind="stable")]


def deal_apart(
    pieces: np.ndarray,
    data: shapely.Geometry,
    shares: np.ndarray,
    gap: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, list[shapely.Geometry]]:
    """Deal pieces of ground out by the area that is left of them when splits are apart.

    What gaps take depends on who got which piece, so pieces are dealt out several times, and the
    shares that come closest are taken.

    Parameters
    ----------
    pieces : object array (n,) of shapely.Geometry
    data : shapely.Geometry
        What counts of them.
    gap : float [CRS units]

    Returns
    -------
    owner : int array (n,)
    areas : list of shapely.Geometry
        One for each split: its pieces without the gaps.

    Raises
    ------
    NoOverlapError
        If the gap swallows a split.
    """
    sizes = shapely.area(shapely.intersection(pieces, data))
    order = random_order(sizes, rng)
    target = shares
    best: tuple[float, np.ndarray, list[shapely.Geometry]] | None = None
    for _ in range(_ROUNDS):
        owner = deal(sizes, target, order)
        areas = [shapely.union_all(pieces[owner == split]) for split in range(len(shares))]
        areas = [part & data for part in apart(areas, gap)]
        held = shapely.area(areas)
        got = held / max(held.sum(), np.finfo(float).tiny)
        off = float(np.abs(got - shares).max()) + (held == 0).sum()
        if best is None or off < best[0]:
            best = off, owner, areas
        if off < _CLOSE:
            break
        target = target * shares / np.maximum(got, shares / 4)
        target = target / target.sum()
    assert best is not None
    check_left(best[2], gap)
    return best[1], best[2]


def apart(areas: Sequence[shapely.Geometry], gap: float) -> list[shapely.Geometry]:
    """Cut half the gap off each area wherever it comes near another."""
    left = []
    for split, area in enumerate(areas):
        others = shapely.union_all([other for i, other in enumerate(areas) if i != split])
        left.append(without(area, others, gap / 2))
    return left


def without(area: shapely.Geometry, other: shapely.Geometry, distance: float) -> shapely.Geometry:
    """Cut what is nearer to another area than a distance off an area."""
    # Corners stay sharp, so that blocks leave blocks.
    return area - other.buffer(distance, join_style="mitre")


def check_left(areas: Sequence[shapely.Geometry], gap: float) -> None:
    """Raise if nothing is left of one of the areas."""
    for split, area in enumerate(areas):
        if area.area == 0:
            raise NoOverlapError(
                f"A gap of {gap:g} leaves nothing of split {split}. Make the gap smaller or the "
                f"blocks larger."
            )


def as_series(
    shapes: shapely.Geometry | Sequence[shapely.Geometry], geobox: GeoBox, **columns: object
) -> geopandas.GeoSeries:
    """Return geometries as a GeoSeries in the CRS of a grid."""
    import geopandas

    crs = None if geobox.crs is None else geobox.crs.proj
    listed = [shapes] if isinstance(shapes, shapely.Geometry) else list(shapes)
    return geopandas.GeoSeries(listed, crs=crs, **columns)

"""Triplets of chips: one, a neighbour and a distant one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr

from geoxr.errors import ArgumentError, ChipError
from geoxr.grid.geobox import resolution
from geoxr.sample.area import Units, Within, crs_units
from geoxr.sample.chip import ChipPlan, Grid, Spots
from geoxr.sample.room import Room, check_length, seed_number
from geoxr.sample.times import dates_in
from geoxr.typing import Area, Seed

#: Neighbours and distant chips drawn for an anchor before it is drawn again.
_TRIES = 64
#: Anchors in a row that found nothing before giving up.
_PATIENCE = 100_000


def triplet_chips(
    ds: xr.Dataset,
    size: float | tuple[float, float],
    length: int,
    *,
    near: float,
    far: float,
    aoi: Area | None = None,
    toi: Any = None,
    seed: Seed = 0,
    min_valid: float = 0.0,
    within: Within = "window",
    units: Units = "pixels",
) -> ChipPlan:
    """Draw triplets of chips for learning from what is near: an anchor, a neighbour, a distant chip.

    The anchor is uniform over all places that have both, the neighbour over the other places within
    `near` of it, and the distant one over the places further than `far`. Distances are those of the
    centres, in the plane of the CRS.

    Parameters
    ----------
    ds : Dataset
    size : int or (height, width) [pixel]
        Of a chip, or in CRS units with ``units="crs"``.
    length : int
        Number of triplets.
    near, far : float [CRS units]
        Largest distance of the neighbour, smallest of the distant chip; `near` is not above `far`.
    aoi : geometry, GeoSeries, GeoDataFrame or bounds, optional
        Only chips in it.
    toi : (start, stop), optional
        Only these dates.
    seed : int or numpy.random.Generator
        Fixes all chips of all epochs. A Generator is drawn from once.
    min_valid : float
        Smallest share of pixels that are valid in all layers.
    within : {"window", "centre"}
        Whether the whole window of a chip lies in the area, or its centre.
    units : {"pixels", "crs"}

    Returns
    -------
    ChipPlan
        Of groups of three: ``anchor, neighbour, distant = plan[0]``. ``plan.epoch(k)`` gives fresh
        draws.

    Raises
    ------
    ArgumentError
        If `near` is smaller than a pixel or above `far`.
    ChipError
        If no place is further than `far` from another, or (almost) no anchor has both others.

    References
    ----------
    Jean, Wang, Samar, Azzari, Lobell and Ermon, "Tile2Vec: Unsupervised representation learning for
    spatially distributed data", AAAI 2019, doi:10.1609/aaai.v33i01.33013967.
    """
    places = Room.of(ds, size, aoi=aoi, within=within, min_valid=min_valid, units=units)
    geobox = places.geobox
    if not min(resolution(geobox)) <= near <= far < np.inf:
        raise ArgumentError(
            f"near must be a pixel ({min(resolution(geobox)):g} {crs_units(geobox)}) or more and far "
            f"not below it, not near={near!r}, far={far!r}. Are they in CRS units?"
        )
    widest = _widest(places)
    if widest <= far:
        raise ChipError(
            f"No chip is further than far = {far:g} from another: at most {widest:g} "
            f"{crs_units(geobox)} lie between their centres. Make far smaller, or the area larger."
        )
    draw = TripletDraw(
        places, check_length(length), float(near), float(far), seed_number(seed), dates_in(ds, toi)
    )
    draw.places(0)
    return ChipPlan((Grid.of(ds),), places.size, draw, group=3)


@dataclass(frozen=True, eq=False)
class TripletDraw:
    """Draws of anchors, neighbours and distant chips, anew for every epoch."""

    where: Room
    length: int
    near: float
    far: float
    seed: int
    dates: tuple[int, ...] | None

    def places(self, epoch: int) -> Spots:
        """Return the places of an epoch, those of one triplet one after the other."""
        return _drawn(self, epoch)


@lru_cache(maxsize=8)
def _drawn(draw: TripletDraw, epoch: int) -> Spots:
    rng = np.random.default_rng([draw.seed, epoch])
    found: list[np.ndarray] = []
    missing, refused = draw.length, 0
    while missing > 0:
        anchors = draw.where.draw(rng, max(missing, 256))
        near, has_near = _partners(draw, anchors, rng, _neighbours)
        far, has_far = _partners(draw, anchors, rng, _distant)
        whole = has_near & has_far
        found.append(np.stack([anchors, near, far], axis=1)[whole][:missing])
        missing -= len(found[-1])
        refused = 0 if whole.any() else refused + len(anchors) * _TRIES
        if refused > _PATIENCE:
            lacking = "within near" if has_far.any() else "further than far"
            raise ChipError(
                f"Only {draw.length - missing} of {draw.length} triplets were found: for (almost) "
                f"all chips none is {lacking} (near = {draw.near:g}, far = {draw.far:g}). Make near "
                f"larger or far smaller, or the area larger."
            )
    corners = np.concatenate(found).reshape(-1, 2)
    times = None if draw.dates is None else np.tile(draw.dates, (len(corners), 1))
    return Spots(corners, None, times)


def _partners(
    draw: TripletDraw, anchors: np.ndarray, rng: np.random.Generator, propose: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a partner for each anchor; returns corners (n, 2) and whether there is one (n,)."""
    partners, found = anchors.copy(), np.zeros(len(anchors), bool)
    for _ in range(_TRIES):
        open_ = np.flatnonzero(~found)
        if not len(open_):
            break
        drawn, good = propose(draw, anchors[open_], rng)
        good[good] = draw.where.hold(drawn[good])
        partners[open_[good]] = drawn[good]
        found[open_[good]] = True
    return partners, found


def _neighbours(
    draw: TripletDraw, anchors: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Propose places uniformly within `near` of anchors."""
    a = draw.where.geobox.affine
    # A disc that holds the cells of all places within near, so that each is as likely as another.
    radius = draw.near + sum(resolution(draw.where.geobox))
    angle = rng.uniform(0, 2 * np.pi, len(anchors))
    length = radius * np.sqrt(rng.uniform(0, 1, len(anchors)))
    x, y = length * np.cos(angle), length * np.sin(angle)
    area = a.a * a.e - a.b * a.d
    steps = np.stack([(a.a * y - a.d * x) / area, (a.e * x - a.b * y) / area], axis=1)
    drawn = anchors + np.rint(steps).astype("int64")
    apart = _distance(draw.where, anchors, drawn)
    return drawn, (apart <= draw.near) & (apart > 0)


def _distant(
    draw: TripletDraw, anchors: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Propose places uniformly over those that are further than `far` from anchors."""
    drawn = draw.where.propose(rng, len(anchors))
    good = np.arange(len(anchors)) < len(drawn)
    drawn = np.concatenate([drawn, anchors[len(drawn) :]])
    return drawn, good & (_distance(draw.where, anchors, drawn) > draw.far)


def _distance(where: Room, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Distance between chips given by their corners (n, 2) [CRS units]."""
    a = where.geobox.affine
    rows, cols = (second - first).T
    return np.hypot(a.a * cols + a.b * rows, a.d * cols + a.e * rows)


def _widest(where: Room) -> float:
    """No two places are further apart than this [CRS units]."""
    spans = where.spans()
    spans = spans[(spans[:, 2:] > 0).all(axis=1)]
    if not len(spans):
        return 0.0
    first, last = spans[:, :2].min(axis=0), (spans[:, :2] + spans[:, 2:] - 1).max(axis=0)
    ends = np.array([first, [first[0], last[1]]]), np.array([last, [last[0], first[1]]])
    return float(_distance(where, *ends).max())

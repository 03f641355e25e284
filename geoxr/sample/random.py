"""Chips drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError, ChipError
from geoxr.grid.geobox import geobox_of
from geoxr.sample.area import chip_area, chip_size, inside, legal_corners
from geoxr.sample.chip import ChipPlan, Grid, Spots
from geoxr.sample.validity import check_min_valid, valid_fraction
from geoxr.typing import Area, Seed

#: Windows drawn and refused in a row before giving up.
_PATIENCE = 200_000


def random_chips(
    ds: xr.Dataset,
    size: float | tuple[float, float],
    length: int,
    *,
    aoi: Area | None = None,
    seed: Seed = 0,
    min_valid: float = 0.0,
    units: Literal["pixels", "crs"] = "pixels",
) -> ChipPlan:
    """Draw chips uniformly over all places where a chip lies wholly in footprint and area.

    Parameters
    ----------
    ds : Dataset
    size : int or (height, width) [pixel]
        Of a chip, or in CRS units with ``units="crs"``.
    length : int
        Number of chips.
    aoi : geometry, GeoSeries, GeoDataFrame or bounds, optional
        Only chips whose whole window is inside.
    seed : int or numpy.random.Generator
        Fixes all chips of all epochs. A Generator is drawn from once.
    min_valid : float
        Smallest share of pixels that are valid in all layers. It is estimated from every eighth
        pixel, more of small chips; 1 looks at all pixels.
    units : {"pixels", "crs"}

    Returns
    -------
    ChipPlan
        ``plan.epoch(k)`` gives fresh draws.

    Raises
    ------
    ChipError
        If chips are larger than the grid, or (almost) none fits into the area.
    """
    geobox = geobox_of(ds)
    sides = chip_size(size, units, geobox)
    check_min_valid(min_valid)
    if not isinstance(length, int | np.integer) or length < 1:
        raise ArgumentError(f"length must be a positive number of chips, not {length!r}.")
    if isinstance(seed, np.random.Generator):
        seed = int(seed.integers(2**63))
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError(f"seed must be a whole number from 0 up or a Generator, not {seed!r}.")
    parts = tuple(chip_area(ds, aoi))
    draw = RandomDraw(
        geobox, sides, int(length), parts, int(seed), min_valid, ds if min_valid > 0 else None
    )
    draw.places(0)
    return ChipPlan((Grid(geobox),), sides, draw)


@dataclass(frozen=True, eq=False)
class RandomDraw:
    """Uniform draws over the legal corners in some polygons (in pixels), anew for every epoch."""

    geobox: GeoBox
    size: tuple[int, int]
    length: int
    parts: tuple[shapely.Polygon, ...]
    seed: int
    min_valid: float
    ds: xr.Dataset | None

    def places(self, epoch: int) -> Spots:
        """Return the places of an epoch."""
        return _drawn(self, epoch)


@lru_cache(maxsize=8)
def _drawn(draw: RandomDraw, epoch: int) -> Spots:
    rng = np.random.default_rng([draw.seed, epoch])
    legal = np.array([legal_corners(part, draw.size, draw.geobox) for part in draw.parts])
    room = (legal[:, 2] * legal[:, 3]).astype(float) if len(legal) else np.zeros(0)
    if room.sum() == 0:
        raise _too_few(draw, 0)
    found: list[np.ndarray] = []
    missing, refused = draw.length, 0
    while missing > 0:
        tries = max(2 * missing, 256)
        chosen = rng.choice(len(legal), tries, p=room / room.sum())
        corners = np.stack(
            [legal[chosen, axis] + rng.integers(0, legal[chosen, axis + 2]) for axis in (0, 1)],
            axis=1,
        )
        keep = np.zeros(tries, bool)
        for i, part in enumerate(draw.parts):
            mine = chosen == i
            keep[mine] = inside([part], corners[mine], draw.size)
        corners = corners[keep]
        if draw.ds is not None:
            share = valid_fraction(draw.ds, corners, draw.size, exact=draw.min_valid == 1)
            corners = corners[share >= draw.min_valid]
        found.append(corners[:missing])
        missing -= len(found[-1])
        refused = 0 if len(corners) else refused + tries
        if refused > _PATIENCE:
            raise _too_few(draw, draw.length - missing)
    return Spots(np.concatenate(found))


def _too_few(draw: RandomDraw, number: int) -> ChipError:
    height, width = draw.size
    return ChipError(
        f"Only {number} of {draw.length} chips of {height} x {width} pixels with at least "
        f"{draw.min_valid:.0%} valid pixels were found: (almost) none lies wholly in the footprint "
        f"and the area. Make size or min_valid smaller, or the area larger."
    )

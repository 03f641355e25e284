"""Where chips of one size may lie on a grid: tests and uniform draws for whatever draws chips."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError, ChipError, NoOverlapError
from geoxr.grid.geobox import geobox_of
from geoxr.sample.area import chip_area, chip_size, inside, legal_corners
from geoxr.sample.validity import check_min_valid, valid_fraction
from geoxr.typing import Area, Seed

Within = Literal["window", "centre"]
Units = Literal["pixels", "crs"]


@dataclass(frozen=True, eq=False)
class Places:
    """The corners that chips of one size may have.

    Attributes
    ----------
    geobox : GeoBox
    size : (int, int) [pixel]
    parts : tuple of shapely.Polygon [pixel]
        Areas that chips lie in.
    within : {"window", "centre"}
        Whether their whole windows or their centres do.
    min_valid : float
        Smallest share of valid pixels.
    ds : Dataset, optional
        What has to be valid; None if nothing has.
    """

    geobox: GeoBox
    size: tuple[int, int]
    parts: tuple[shapely.Polygon, ...]
    within: Within
    min_valid: float
    ds: xr.Dataset | None

    @classmethod
    def of(
        cls,
        ds: xr.Dataset,
        size: float | tuple[float, float],
        *,
        aoi: Area | None,
        within: Within,
        min_valid: float,
        units: Units,
    ) -> Places:
        """Check what a user asks for.

        Raises
        ------
        ArgumentError
            If `ds` has several grids.
        ChipError
            If chips do not fit into the grid.
        NoOverlapError
            If the area does not meet the data.
        """
        if isinstance(ds, xr.DataTree):
            raise ArgumentError(
                "These chips are planned on one grid, but a DataTree has one for each node. Plan them on "
                "a node: tree['name'].to_dataset(). grid_chips, random_chips and random_batch_chips "
                "take the whole tree."
            )
        geobox = geobox_of(ds)
        sides = chip_size(size, units, geobox)
        check_min_valid(min_valid)
        if within not in ("window", "centre"):
            raise ArgumentError(f'within is {within!r}, but must be "window" or "centre".')
        parts = tuple(chip_area(ds, aoi))
        return cls(geobox, sides, parts, within, min_valid, ds if min_valid > 0 else None)

    def lie_inside(self, corners: np.ndarray) -> np.ndarray:
        """Tell which chips (n, 2) lie in the grid and in the area."""
        ends = corners + np.array(self.size)
        fits = np.all((corners >= 0) & (ends <= np.array(self.geobox.shape)), axis=1)
        mine = corners[fits]
        if self.within == "window":
            fits[fits] = inside(list(self.parts), mine, self.size)
            return fits
        middles = shapely.points(mine[:, 1] + self.size[1] / 2, mine[:, 0] + self.size[0] / 2)
        held = np.zeros(len(mine), bool)
        for part in self.parts:
            shapely.prepare(part)
            held |= shapely.covers(part, middles)
        fits[fits] = held
        return fits

    def hold(self, corners: np.ndarray) -> np.ndarray:
        """Tell which chips (n, 2) lie in grid and area, and are valid enough."""
        good = self.lie_inside(corners)
        if self.ds is not None and good.any():
            share = valid_fraction(self.ds, corners[good], self.size, exact=self.min_valid == 1)
            good[good] = share >= self.min_valid
        return good

    def spans(self) -> np.ndarray:
        """First row, first column, and how many rows and columns chips of each part may start at.

        Returns
        -------
        int64 array (part, 4)
        """
        if self.within == "window":
            found = [legal_corners(part, self.size, self.geobox) for part in self.parts]
            return np.array(found, "int64").reshape(-1, 4)
        left, top, right, bottom = shapely.bounds(np.array(self.parts, object)).reshape(-1, 4).T
        half, room = np.array(self.size) / 2, np.array(self.geobox.shape) - self.size
        first = np.ceil(np.stack([top, left], axis=1) - half).clip(0)
        last = np.minimum(np.floor(np.stack([bottom, right], axis=1) - half), room)
        return np.hstack([first, (last - first + 1).clip(0)]).astype("int64")

    def propose(self, rng: np.random.Generator, number: int) -> np.ndarray:
        """Draw corners in the bounds of the parts; those that `hold` are uniform over all legal ones.

        Returns
        -------
        int64 array (m, 2)
            At most `number`.

        Raises
        ------
        ChipError
            If no chip fits into any part.
        """
        spans = self.spans()
        room = (spans[:, 2] * spans[:, 3]).astype(float)
        if room.sum() == 0:
            raise ChipError(
                f"No chip of {self.size[0]} x {self.size[1]} pixels fits into the area. Make size "
                f"smaller, or the area larger."
            )
        chosen = rng.choice(len(spans), number, p=room / room.sum())
        drawn = [spans[chosen, a] + rng.integers(0, spans[chosen, a + 2]) for a in (0, 1)]
        corners = np.stack(drawn, axis=1)
        keep = np.zeros(number, bool)
        for i, part in enumerate(self.parts):  # in the part it was drawn for, not in another one
            mine = np.flatnonzero(chosen == i)
            if len(mine):
                one = Places(self.geobox, self.size, (part,), self.within, 0.0, None)
                keep[mine] = one.lie_inside(corners[mine])
        return corners[keep]

    def draw(self, rng: np.random.Generator, number: int, patience: int = 200_000) -> np.ndarray:
        """Draw corners (n, 2) uniformly over all legal places.

        Raises
        ------
        ChipError
            If (almost) nothing is legal.
        """
        found: list[np.ndarray] = []
        missing, refused = number, 0
        while missing > 0:
            tries = max(2 * missing, 256)
            corners = self.propose(rng, tries)
            corners = corners[self.hold(corners)][:missing]
            found.append(corners)
            missing -= len(corners)
            refused = 0 if len(corners) else refused + tries
            if refused > patience:
                raise ChipError(
                    f"Only {number - missing} of {number} chips of {self.size[0]} x "
                    f"{self.size[1]} pixels with at least {self.min_valid:.0%} valid pixels were "
                    f"found in the area. Make size or min_valid smaller, or the area larger."
                )
        return np.concatenate([*found, np.empty((0, 2), "int64")])


def seed_number(seed: Seed) -> int:
    """Return the number that fixes all draws; a Generator is drawn from once."""
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**63))
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError(f"seed must be a whole number from 0 up or a Generator, not {seed!r}.")
    return int(seed)


def check_length(length: int) -> int:
    """Return a number of chips."""
    if not isinstance(length, int | np.integer) or length < 1:
        raise ArgumentError(f"length must be a positive number of chips, not {length!r}.")
    return int(length)


def as_dates(values: Iterable[Any], what: str) -> pd.DatetimeIndex:
    """Read dates in any form pandas knows, as UTC without zone; text as ISO 8601.

    Raises
    ------
    ArgumentError
        If one is no date.
    """
    try:
        return pd.to_datetime(list(values), utc=True, format="ISO8601").tz_localize(None)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{what} holds something that is no date: {error}.") from error


def dates_in(ds: xr.Dataset, toi: Any) -> tuple[int, ...] | None:
    """Positions of the dates in an interval, both ends included; None for all.

    Raises
    ------
    ArgumentError
        If there is no time, or the interval is none.
    NoOverlapError
        If no date is in it.
    """
    if toi is None:
        return None
    if "time" not in ds.dims:
        raise ArgumentError("toi asks for dates, but the Dataset has no dimension 'time'.")
    dates = pd.DatetimeIndex(ds["time"].values)
    try:
        start, stop = toi
        found = pd.Series(range(len(dates)), dates).sort_index()[start:stop]
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f'toi must be (start, stop), as in ("2020-04", "2020-09-30"), not {toi!r}.'
        ) from error
    if found.empty:
        raise NoOverlapError(
            f"No date lies in toi = {toi!r}: there are {len(dates)}, from {dates.min()} to "
            f"{dates.max()}."
        )
    return tuple(sorted(int(at) for at in found))

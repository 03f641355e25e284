"""Chips for many requests at once: drawn, tested, and drawn again where they were refused."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from geoxr.errors import ChipError
from geoxr.sample.cells import Cells
from geoxr.sample.chip import Spots
from geoxr.sample.nodes import ground_area
from geoxr.sample.pool import Pool, Proposal
from geoxr.sample.room import Room, no_room
from geoxr.sample.times import Dates, compact
from geoxr.sample.validity import valid_share
from geoxr.sample.weights import Density

#: Chips refused in a row before giving up; fewer where each of them is looked at.
_PATIENCE, _LOOKED_AT = 2_000_000, 20_000
#: Chips drawn at once at most.
_AT_ONCE = 1 << 17


@dataclass(frozen=True, eq=False)
class Terms:
    """What chips have to meet to be taken.

    Attributes
    ----------
    rooms : tuple of Room
        One for each grid of the plan.
    dates : tuple of Dates or None
        Those that chips on each grid have; None for all.
    density : Density, optional
        How likely a chip is, by its centre.
    shares : float array (row,), optional
        Probability of each row of a table of areas.
    """

    rooms: tuple[Room, ...]
    dates: tuple[Dates | None, ...]
    density: Density | None = None
    shares: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        # The pool follows from the rest.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def _weighed(self) -> tuple[Pool, Density | None]:
        cells = [room.cells for room in self.rooms]
        numbers = [len(one) for one in cells]
        if not sum(numbers):
            raise no_room(self.rooms)
        owners = np.concatenate([_rows(room) for room in self.rooms])
        grounds = [ground_area(room.geobox) for room in self.rooms]
        weight = np.repeat(np.array(grounds) / max(grounds), numbers)
        room = np.repeat(np.arange(len(cells)), numbers)
        pool = Pool.of(Cells.join(*cells), room, owners, weight)
        if self.density is None:
            return pool, None
        return self.density.weighing(pool, [(room.geobox, room.size) for room in self.rooms])

    @property
    def pool(self) -> Pool:
        """Cells of all grids, weighed by the ground they cover; the key is the row of the areas."""
        return self._weighed[0]

    def keys(self, rng: np.random.Generator, number: int) -> np.ndarray:
        """Draw the rows of the areas that chips lie in; 0 where these are one."""
        if self.shares is None:
            return np.zeros(number, "int64")
        return rng.choice(len(self.shares), number, p=self.shares)

    @property
    def steps(self) -> int | None:
        """Number of dates of a chip, the most of all grids; None if they have all."""
        known = [dates.steps for dates in self.dates if dates is not None]
        return max(known) if known else None


def _rows(room: Room) -> np.ndarray:
    """Row of the table of areas of each cell."""
    none = np.zeros(len(room.cells), "int64")
    return none if room.owners is None else np.array(room.owners, "int64")[room.cells.part]


def fill(
    terms: Terms,
    pool: Pool,
    keys: np.ndarray,
    rng: np.random.Generator,
    when: np.ndarray | None = None,
) -> Spots:
    """Draw one chip for each of the keys (n,) of a pool, uniformly over those that meet the terms.

    Parameters
    ----------
    when : float array (n,), optional
        Where in the dates that a chip may start at it does, from 0 to 1; default: drawn.

    Raises
    ------
    ChipError
        If (almost) none meets them.
    """
    number, steps = len(keys), terms.steps
    corners, rooms = np.zeros((number, 2), "int64"), np.zeros(number, "int64")
    times = None if steps is None else np.full((number, steps), -1)
    open_ = np.arange(number)
    tried = taken = refused = 0
    best = 0.0
    looked_at = any(room.ds is not None for room in terms.rooms)
    while len(open_):
        # Each asks for as many as it has taken so far to find one, and takes the first that is good.
        each = min(-(-(tried + 1) // (taken + 1)), 64 if looked_at else 4096)
        asked = np.repeat(open_, max(min(each, _AT_ONCE // len(open_)), 1))
        drawn = pool.propose(rng, keys[asked])
        good, dates, share = _tested(terms, drawn, rng, None if when is None else when[asked])
        best = max(best, share)
        at = np.flatnonzero(good)
        mine, first = np.unique(asked[at], return_index=True)
        at = at[first]
        corners[mine], rooms[mine] = drawn.corners[at], drawn.room[at]
        if times is not None and dates is not None:
            times[mine] = dates[at]
        tried, taken = tried + len(asked), taken + len(mine)
        refused = 0 if len(mine) else refused + len(asked)
        open_ = np.setdiff1d(open_, mine, assume_unique=True)
        if refused > (_LOOKED_AT if looked_at else _PATIENCE):
            raise _too_few(terms, number - len(open_), number, best)
    if times is not None and any(dates is not None and dates.ragged for dates in terms.dates):
        times = compact(times, times >= 0)
    return Spots(corners, rooms if len(terms.rooms) > 1 else None, times)


def _tested(
    terms: Terms, drawn: Proposal, rng: np.random.Generator, when: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None, float]:
    """Which chips meet the terms (n,), their dates (n, steps), and the largest share of valid pixels."""
    number, steps, density = len(drawn.corners), terms.steps, terms._weighed[1]
    good = np.ones(number, bool)
    luck = None if density is None else rng.random(number)
    times = None if steps is None else np.full((number, steps), -1)
    if times is not None and when is None:
        when = rng.random(number)
    best = 0.0
    for at, (room, dates) in enumerate(zip(terms.rooms, terms.dates, strict=True)):
        mine = np.flatnonzero(drawn.room == at)
        if luck is not None and density is not None:
            wanted = density.at(room.geobox, drawn.corners[mine] + np.array(room.size) / 2)
            good[mine] = luck[mine] * density.bounds[drawn.cell[mine]] < wanted
            mine = mine[good[mine]]
        doubtful = mine[~drawn.sure[mine]]
        good[doubtful] = room.lie_in(drawn.corners[doubtful], drawn.part[doubtful])
        mine = mine[good[mine]]
        if times is not None and dates is not None and when is not None:
            start = np.minimum((when[mine] * dates.starts).astype("int64"), dates.starts - 1)
            times[mine, : dates.steps] = dates.at(start)
        if room.ds is not None and len(mine):
            own = None if times is None or dates is None else times[mine, : dates.steps]
            share, own = valid_share(
                room.ds, drawn.corners[mine], room.size, own, exact=room.min_valid == 1,
                ragged=dates is not None and dates.ragged,
            )  # fmt: skip
            best = max(best, float(share.max()))
            good[mine] = share >= max(room.min_valid, 1e-12)
            if own is not None and times is not None:
                times[mine, : own.shape[1]] = own
    return good, times, best


def _too_few(terms: Terms, found: int, wanted: int, best: float) -> ChipError:
    room = terms.rooms[0]
    height, width = room.size
    said = f"Only {found} of {wanted} chips of {height} x {width} pixels were found: "
    if any(one.ds is not None for one in terms.rooms):
        return ChipError(
            f"{said}(almost) none has {room.min_valid:.0%} valid pixels. The best of those looked at "
            f"has {best:.1%}. Make min_valid or size smaller, or choose another area."
        )
    if terms.density is not None:
        return ChipError(
            f"{said}(almost) no place where a chip fits has a weight. Make size smaller, or check "
            f"that weights lie where the data is."
        )
    return ChipError(
        f"{said}(almost) none lies wholly where the data is valid and in the area. Make size smaller, "
        f"or the area larger."
    )

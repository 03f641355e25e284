"""Chips drawn at random, those of a batch near each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from geoxr.errors import ArgumentError, ChipError
from geoxr.grid.geobox import resolution
from geoxr.sample.area import Units, Within, crs_units
from geoxr.sample.chip import ChipPlan, Spots
from geoxr.sample.fill import Terms, fill
from geoxr.sample.nodes import Layers
from geoxr.sample.random import terms_of
from geoxr.sample.redraw import Redrawn
from geoxr.sample.room import check_length, seed_number
from geoxr.typing import Area, Seed

#: Default of `spread` [sides of a chip].
_SPREAD = 4


def random_batch_chips(
    ds: Layers,
    size: float | tuple[float, float],
    length: int,
    *,
    batch_size: int,
    spread: float | None = None,
    aoi: Area | None = None,
    toi: Any = None,
    steps: int | None = None,
    ragged: bool = False,
    seed: Seed = 0,
    min_valid: float = 0.0,
    within: Within = "window",
    units: Units = "pixels",
) -> ChipPlan:
    """Draw batches of chips that are near each other, so that they share what is read.

    The corners of the chips of a batch lie in one square of side `spread`. Squares are laid side by
    side over the grid, from another origin in every epoch. A square is drawn by drawing one place
    uniformly, and the other chips of the batch are drawn uniformly from the places in it. So each chip
    is as likely to lie here as there, just as with `random_chips`; only together they are not
    independent.

    Parameters
    ----------
    ds : Dataset or DataTree
    size : int or (height, width) [pixel]
        Of a chip, or in CRS units with ``units="crs"``.
    length : int
        Number of chips. The last batch may have fewer than `batch_size`.
    batch_size : int
        Chips near each other; give the same to ``to_torch``, which keeps them together when it
        shuffles.
    spread : float [pixel]
        Side of a square, or in CRS units with ``units="crs"``. Small: chips of a batch overlap, and
        little is read for each, but a step of training sees one place only. Large: they are as
        independent as those of `random_chips`, and as slow. Default: four times the longer side of a
        chip, so that a batch reads 25 chips' worth of pixels at most.
    aoi, toi, steps, ragged, seed, min_valid, within, units
        See `random_chips`. Chips of a batch have the same dates, but for those that are left out with
        `ragged`.

    Returns
    -------
    ChipPlan
        With ``plan.together == batch_size``. ``plan.epoch(k)`` gives fresh draws.

    Raises
    ------
    ChipError, NoOverlapError
        As `random_chips`, and if `spread` is less than a pixel.
    """
    length, number = check_length(length), seed_number(seed)
    together = check_length(batch_size, "batch_size")
    grids, terms = terms_of(
        ds, size, aoi=aoi, toi=toi, steps=steps, ragged=ragged, min_valid=min_valid,
        within=within, units=units,
    )  # fmt: skip
    sides = tuple(_squares(terms, spread, units))
    draw = BatchDraw(terms, length, number, together, sides)
    draw.places(0)
    return ChipPlan(grids, terms.rooms[0].size, draw, together=together)


def _squares(terms: Terms, spread: float | None, units: Units) -> list[tuple[int, int]]:
    """Sides (rows, columns) of a square on each grid."""
    if isinstance(spread, bool) or not isinstance(spread, int | float | np.number | None):
        raise ArgumentError(f"spread is a number of pixels or CRS units, not {spread!r}.")
    found = []
    for room in terms.rooms:
        x, y = resolution(room.geobox) if units == "crs" and spread is not None else (1.0, 1.0)
        side = _SPREAD * max(room.size) if spread is None else spread
        rows, cols = side / y, side / x
        if not 1 <= min(rows, cols) <= max(rows, cols) < np.inf:
            what = "pixels" if units == "pixels" else crs_units(room.geobox)
            raise ChipError(
                f"spread is the side of the square that corners of a batch lie in, a pixel or more, "
                f"not {spread!r} {what}."
            )
        limit = max(room.geobox.shape)
        found.append((min(int(rows), limit), min(int(cols), limit)))
    return found


@dataclass(frozen=True, eq=False)
class BatchDraw(Redrawn):
    """Draws of batches in squares, anew for every epoch.

    Attributes
    ----------
    together : int
        Chips of a batch.
    sides : tuple of (int, int) [pixel]
        Of a square on each grid.
    """

    terms: Terms
    length: int
    seed: int
    together: int
    sides: tuple[tuple[int, int], ...]

    def draw(self, rng: np.random.Generator) -> Spots:
        """Draw all chips, batch by batch."""
        number = -(-self.length // self.together)
        when = rng.random(number)
        first = fill(self.terms, self.terms.pool, np.zeros(number, "int64"), rng, when)
        grids = np.zeros(number, "int64") if first.grids is None else first.grids
        side = np.array(self.sides, "int64")
        shift = np.floor(rng.random(side.shape) * side).astype("int64")
        start = (first.corners + shift[grids]) // side[grids] * side[grids] - shift[grids]
        near = self.terms.pool.clipped(grids, start, start + side[grids])
        batch = np.arange(self.length) // self.together
        leads = np.arange(self.length) % self.together == 0
        others = fill(self.terms, near, batch[~leads], rng, when[batch[~leads]])
        order = np.empty(self.length, "int64")
        order[leads] = np.arange(number)
        order[~leads] = number + np.arange(self.length - number)
        return Spots.join([first, others]).take(order)

"""Chips drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from geoxr.errors import ChipError
from geoxr.sample.area import Units, Within, check_within
from geoxr.sample.chip import ChipPlan, Grid, Spots
from geoxr.sample.fill import Terms, fill
from geoxr.sample.nodes import Layers, Node, check_area, nodes_of, on_each, size_on
from geoxr.sample.redraw import Redrawn
from geoxr.sample.room import Room, check_length, seed_number
from geoxr.sample.times import Dates, chip_dates
from geoxr.sample.validity import check_min_valid
from geoxr.sample.weights import Density, row_weights
from geoxr.typing import Area, Seed


def random_chips(
    ds: Layers,
    size: float | tuple[float, float],
    length: int,
    *,
    weights: xr.DataArray | Sequence[float] | None = None,
    aoi: Area | None = None,
    toi: Any = None,
    steps: int | None = None,
    ragged: bool = False,
    seed: Seed = 0,
    min_valid: float = 0.0,
    within: Within = "window",
    units: Units = "pixels",
) -> ChipPlan:
    """Draw chips uniformly over all places where a chip lies wholly in valid footprint and area.

    The footprint is the polygon of what is valid at any date, from one coarse look at the data; gaps
    too narrow for a chip count as valid. See `geoxr.sample.footprint.valid_footprint`.

    Parameters
    ----------
    ds : Dataset or DataTree
        Chips on the nodes of a DataTree each lie on the grid of their node. A node has as many of them
        as it has area for them on the ground.
    size : int or (height, width) [pixel]
        Of a chip, or in CRS units with ``units="crs"``.
    length : int
        Number of chips.
    weights : DataArray or sequence of float, optional
        A density on any grid, without band and time: a chip is as likely as the value at its centre.
        Or a number for each row of the table `aoi`: chips are dealt over the rows in that proportion,
        and uniform within one.
    aoi : geometry, GeoSeries, GeoDataFrame or bounds, optional
        Only chips in it.
    toi : (start, stop), optional
        Only these dates, both ends included, as ``ds.sel(time=slice(start, stop))``.
    steps : int, optional
        Consecutive dates of a chip, drawn uniformly. Default: all in `toi`.
    ragged : bool
        A chip only has those of its dates on which some of it is valid, as far as `min_valid` looks.
        Those with fewer than the longest are padded.
    seed : int or numpy.random.Generator
        Fixes all chips of all epochs. A Generator is drawn from once.
    min_valid : float
        Smallest share of pixels, over all dates of a chip, that are valid in all layers. It is
        estimated from every eighth pixel, more of small chips; 1 looks at all pixels.
    within : {"window", "centre"}
        Whether the whole window of a chip lies in footprint and area, or its centre; in the grid the
        whole window does.
    units : {"pixels", "crs"}

    Returns
    -------
    ChipPlan
        ``plan.epoch(k)`` gives fresh draws.

    Raises
    ------
    ChipError
        If nothing is valid, chips are larger than the area, (almost) none has enough valid pixels, or
        `steps` is more than there are dates.
    NoOverlapError
        If the area does not meet the data, or no date lies in `toi`.
    """
    length, number = check_length(length), seed_number(seed)
    grids, terms = terms_of(
        ds, size, weights=weights, aoi=aoi, toi=toi, steps=steps, ragged=ragged,
        min_valid=min_valid, within=within, units=units,
    )  # fmt: skip
    draw = RandomDraw(terms, length, number)
    draw.places(0)
    return ChipPlan(grids, terms.rooms[0].size, draw)


@dataclass(frozen=True, eq=False)
class RandomDraw(Redrawn):
    """Draws over all places that meet some terms, anew for every epoch."""

    terms: Terms
    length: int
    seed: int

    def draw(self, rng: np.random.Generator) -> Spots:
        """Draw all chips."""
        keys = self.terms.keys(rng, self.length)
        return fill(self.terms, self.terms.pool, keys, rng)


def terms_of(
    ds: Layers,
    size: float | tuple[float, float],
    *,
    weights: xr.DataArray | Sequence[float] | None = None,
    aoi: Area | None,
    toi: Any,
    steps: int | None,
    ragged: bool,
    min_valid: float,
    within: Within,
    units: Units,
) -> tuple[tuple[Grid, ...], Terms]:
    """Return the grids that chips lie on and what the chips have to meet; see `random_chips`.

    Nodes of a DataTree on which there is no place for any are left out.
    """
    nodes = nodes_of(ds)
    check_area([node.geobox for node in nodes], aoi)
    check_min_valid(min_valid)
    check_within(within)
    density = Density.of(weights) if isinstance(weights, xr.DataArray) else None
    shares = None if weights is None or density is not None else row_weights(weights, aoi)
    sides, nodes = size_on(nodes, size, units)

    def look(node: Node) -> tuple[Room, Dates | None]:
        dates = chip_dates(node.ds, toi, steps, ragged=ragged)
        room = Room.around(
            node.ds, sides, aoi, within=within, min_valid=min_valid, apart=shares is not None
        )
        return replace(room, ds=node.ds if min_valid > 0 or ragged else None), dates

    kept, found = on_each(nodes, look)
    rooms, dates = zip(*found, strict=True)
    terms = Terms(rooms, dates, density, shares)
    _check_rows(terms)
    return tuple(node.grid for node in kept), terms


def _check_rows(terms: Terms) -> None:
    """Raise if a row that chips are to lie in has no place for one."""
    if terms.shares is None:
        return
    wanted = np.flatnonzero(terms.shares > 0)
    missing = wanted[~terms.pool.has(wanted)]
    if len(missing):
        height, width = terms.rooms[0].size
        raise ChipError(
            f"No chip of {height} x {width} pixels fits into {len(missing)} of the {len(wanted)} rows "
            f"of aoi with a weight (rows {missing[:10].tolist()}{', ...' if len(missing) > 10 else ''}, "
            f"counted from 0). Set their weights to 0, make size smaller, or let only centres be in "
            f'them: within="centre".'
        )

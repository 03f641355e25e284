"""Areas for training, validation and test that do not touch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import shapely
import xarray as xr

from geoxr.errors import ArgumentError, NoOverlapError
from geoxr.grid.adopt import adopt
from geoxr.grid.crs import require_crs
from geoxr.grid.geobox import geobox_of, resolution
from geoxr.grid.shapes import outline
from geoxr.sample.area import crs_units, footprint
from geoxr.typing import Seed

if TYPE_CHECKING:
    import geopandas


def split_blocks(
    ds: xr.Dataset,
    fractions: Sequence[float],
    *,
    block: float,
    gap: float = 0.0,
    seed: Seed = 0,
) -> tuple[geopandas.GeoSeries, ...]:
    """Deal square blocks out to splits at random, by area, and keep a gap between splits.

    Parameters
    ----------
    ds : Dataset
    fractions : sequence of float
        Share of each split, positive; together 1.
    block : float [CRS units]
        Edge of a block.
    gap : float [CRS units]
        Smallest distance between areas of different splits.
    seed : int or numpy.random.Generator

    Returns
    -------
    tuple of GeoSeries
        One per split, in the CRS of `ds`: pass it as `aoi`. Blocks of one split that touch are one
        area; chips may lie across their border.

    Raises
    ------
    NoOverlapError
        If there are fewer blocks than splits, or the gap swallows a split.
    """
    import geopandas

    ds = adopt(ds)
    geobox = geobox_of(ds)
    crs = require_crs(geobox, "The Dataset")
    shares = np.asarray(fractions, dtype=float)
    if shares.ndim != 1 or len(shares) < 1 or (shares <= 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise ArgumentError(
            f"fractions must be positive and add up to 1, but {tuple(fractions)} add up to "
            f"{shares.sum():g}."
        )
    if not block > 0 or not 0 <= gap < block:
        raise ArgumentError(
            f"block must be positive and gap from 0 to below block [{crs_units(geobox)}], not "
            f"block={block!r}, gap={gap!r}."
        )
    if block < max(resolution(geobox)):
        raise ArgumentError(
            f"A block of {block:g} {crs_units(geobox)} is smaller than a pixel. Is it in CRS units?"
        )
    data = footprint(ds) & outline(geobox)
    blocks = _blocks(data, block)
    if len(blocks) < len(shares):
        raise NoOverlapError(
            f"{len(blocks)} blocks of {block:g} {crs_units(geobox)} are too few for {len(shares)} "
            f"splits. Make block smaller."
        )
    owner = _deal(
        shapely.area(shapely.intersection(blocks, data)), shares, np.random.default_rng(seed)
    )
    areas = [shapely.union_all(blocks[owner == split]) for split in range(len(shares))]
    return tuple(
        geopandas.GeoSeries(_apart(areas, split, gap) & data, crs=crs.proj)
        for split in range(len(shares))
    )


def _blocks(data: shapely.Geometry, block: float) -> np.ndarray:
    """Blocks, counted from the corner of the data, that hold some of it."""
    left, _, _, top = data.bounds
    cells: set[tuple[int, int]] = set()
    for part in shapely.get_parts(data):
        x0, y0, x1, y1 = part.bounds
        cols = range(int((x0 - left) // block), int(np.ceil((x1 - left) / block)))
        rows = range(int((top - y1) // block), int(np.ceil((top - y0) / block)))
        cells.update((row, col) for row in rows for col in cols)
    at = np.array(sorted(cells), dtype=float)
    x, y = left + at[:, 1] * block, top - at[:, 0] * block
    boxes = shapely.box(x, y - block, x + block, y)
    return boxes[shapely.area(shapely.intersection(boxes, data)) > 1e-6 * block**2]


def _deal(areas: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give each block, in random order, to the split that lacks most of its share."""
    owner = np.empty(len(areas), int)
    held = np.zeros(len(shares))
    order = rng.permutation(len(areas))
    for number, at in enumerate(order):
        empty = np.flatnonzero(held == 0)
        last_chance = len(empty) >= len(order) - number
        lack = shares * areas.sum() - held
        split = int(empty[0]) if last_chance else int(np.argmax(lack))
        owner[at] = split
        held[split] += areas[at]
    return owner


def _apart(areas: list[shapely.Geometry], split: int, gap: float) -> shapely.Geometry:
    """Cut half the gap off a split wherever it meets another."""
    others = [area for i, area in enumerate(areas) if i != split]
    if gap == 0 or not others:
        return areas[split]
    grown = shapely.union_all(others).buffer(gap / 2, join_style="mitre")
    left = areas[split] - grown
    if left.is_empty:
        raise NoOverlapError(
            f"A gap of {gap:g} leaves nothing of split {split}. Make the gap smaller or the blocks "
            f"larger."
        )
    return left

"""Areas for training, validation and test that do not touch, made of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError, NoOverlapError
from geoxr.grid.adopt import adopt
from geoxr.grid.crs import require_crs
from geoxr.grid.geobox import geobox_of, resolution
from geoxr.sample.area import crs_units
from geoxr.sample.deal import (
    as_series,
    check_fractions,
    check_gap,
    check_left,
    deal,
    deal_apart,
    least_gap,
    random_order,
    valid_area,
    without,
)
from geoxr.sample.room import seed_number
from geoxr.typing import Seed

if TYPE_CHECKING:
    import geopandas

#: More blocks than this are a mistake in the units.
_MOST = 1_000_000


def split_blocks(
    ds: xr.Dataset,
    fractions: Sequence[float],
    *,
    block: float,
    gap: float = 0.0,
    seed: Seed = 0,
) -> tuple[geopandas.GeoSeries, ...]:
    """Deal square blocks out to splits at random, by area, and keep a gap between splits.

    Chips whose windows lie wholly in the areas of two splits never share a pixel, and one pixel or
    more lies between them, without a gap too. (With ``within="centre"`` chips reach over the border
    of their area: give a gap of at least the diagonal of a chip.)

    Parameters
    ----------
    ds : Dataset
    fractions : sequence of float
        Share of each split in the valid area without the gaps, positive; together 1. It is met as
        far as the size of the blocks allows.
    block : float [CRS units]
        Edge of a block.
    gap : float [CRS units]
        Smallest distance between areas of different splits. With 0 it is a thousandth of a pixel.
    seed : int or numpy.random.Generator

    Returns
    -------
    tuple of GeoSeries
        One per split, in the CRS of `ds`: pass it as `aoi`. Blocks of one split that touch are one
        area; chips may lie across their border.

    Raises
    ------
    ArgumentError
        If fractions do not add up to 1, or block and gap are no lengths.
    NoOverlapError
        If there are fewer blocks than splits, or the gap swallows a split.
    """
    ds = adopt(ds)
    shares = check_fractions(fractions)
    geobox, data, blocks = _blocks_of(ds, block, gap, len(shares))
    rng = np.random.default_rng(seed_number(seed))
    _, areas = deal_apart(blocks, data, shares, least_gap(gap, geobox), rng)
    return tuple(as_series(area, geobox) for area in areas)


def k_fold_blocks(
    ds: xr.Dataset, k: int, *, block: float, gap: float = 0.0, seed: Seed = 0
) -> list[tuple[geopandas.GeoSeries, geopandas.GeoSeries]]:
    """Divide the valid area into `k` folds of blocks, each to be left out once.

    Parameters
    ----------
    ds : Dataset
    k : int
        Number of folds, from 2 up; of equal area as far as the size of the blocks allows.
    block : float [CRS units]
        Edge of a block.
    gap : float [CRS units]
        Smallest distance between the two areas of a pair, cut off the area for training. With 0 it
        is a thousandth of a pixel, so that a pixel or more lies between chips of the two.
    seed : int or numpy.random.Generator

    Returns
    -------
    list of (train, val)
        Two GeoSeries in the CRS of `ds` for each fold. The areas for validation together are all
        that is valid, and share nothing.

    Raises
    ------
    ArgumentError
        If `k` is no number of folds, or block and gap are no lengths.
    NoOverlapError
        If there are fewer blocks than folds, or the gap leaves nothing for training.
    """
    ds = adopt(ds)
    if not isinstance(k, int | np.integer) or k < 2:
        raise ArgumentError(f"k must be a whole number of folds from 2 up, not {k!r}.")
    geobox, data, blocks = _blocks_of(ds, block, gap, int(k))
    sizes = shapely.area(shapely.intersection(blocks, data))
    order = random_order(sizes, np.random.default_rng(seed_number(seed)))
    owner = deal(sizes, np.full(k, 1 / k), order)
    pairs = []
    for fold in range(k):
        out = shapely.union_all(blocks[owner == fold])
        rest = without(shapely.union_all(blocks[owner != fold]), out, least_gap(gap, geobox))
        pair = rest & data, out & data
        check_left(pair, gap)
        pairs.append((as_series(pair[0], geobox), as_series(pair[1], geobox)))
    return pairs


def _blocks_of(
    ds: xr.Dataset, block: float, gap: float, number: int
) -> tuple[GeoBox, shapely.Geometry, np.ndarray]:
    """Grid, valid area and blocks of a Dataset, at least as many as asked for."""
    geobox = geobox_of(ds)
    require_crs(geobox, "The Dataset")
    if not 0 < block < np.inf:
        raise ArgumentError(f"block must be a length [{crs_units(geobox)}], not {block!r}.")
    check_gap(gap, block)
    if block < max(resolution(geobox)):
        raise ArgumentError(
            f"A block of {block:g} {crs_units(geobox)} is smaller than a pixel. Is it in CRS units?"
        )
    data = valid_area(ds)
    blocks = _blocks(data, block)
    if len(blocks) < number:
        raise NoOverlapError(
            f"{len(blocks)} blocks of {block:g} {crs_units(geobox)} are too few for {number} "
            f"splits. Make block smaller."
        )
    return geobox, data, blocks


def _blocks(data: shapely.Geometry, block: float) -> np.ndarray:
    """Blocks, counted from the corner of the data, that hold some of it."""
    parts = shapely.get_parts(data)
    left, _, _, top = data.bounds
    x0, y0, x1, y1 = shapely.bounds(parts).T
    cells = np.stack([(top - y1) // block, (x0 - left) // block], axis=1).astype("int64")
    stops = np.ceil(np.stack([(top - y0) / block, (x1 - left) / block], axis=1)).astype("int64")
    if (stops - cells).prod(axis=1).sum() > _MOST:
        raise ArgumentError(
            f"Blocks of {block:g} make more than {_MOST:,} pieces of the data, which is "
            f"{x1.max() - left:g} x {top - y0.min():g} large. Make block larger."
        )
    spans = [
        np.stack(np.meshgrid(*map(np.arange, start, stop), indexing="ij"), axis=-1).reshape(-1, 2)
        for start, stop in zip(cells, stops, strict=True)
    ]
    at = np.unique(np.concatenate(spans), axis=0)
    x, y = left + at[:, 1] * block, top - at[:, 0] * block
    boxes = shapely.box(x, y - block, x + block, y)
    shapely.prepare(data)
    boxes = boxes[shapely.intersects(data, boxes)]
    return boxes[shapely.area(shapely.intersection(boxes, data)) > 1e-6 * block**2]

"""Which chips a loader is asked for, as plans of geoxr."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

import geoxr as gx
from benchmarks.race.case import CHIP, STRIDE, Case
from geoxr.sample.chip import Fixed, Grid, Spots


def plan_chips(
    ds: xr.Dataset, case: Case, number: int, seed: int, queries: Path | None, size: int = CHIP
) -> gx.ChipPlan:
    """Plan the chips of a case.

    Parameters
    ----------
    number : int
        Of chips.
    seed : int
        Number of the round: each has draws of its own.
    queries : path, optional
        What TorchGeo asked for, where a case takes the places of that.
    """
    if case.places == "peer":
        assert queries is not None
        return asked_for(ds, queries, case.order, size)[:number]
    if case.order == "random":
        return ds.geoxr.random_chips(size, number, seed=seed)
    if case.order == "batch":
        return near_each_other(ds, case.batch_size, number, seed, size)
    plan = ds.geoxr.grid_chips(size, stride=STRIDE * size // CHIP)
    # Like TorchGeo's, the grid begins at a row of chips in the middle, not in an empty corner.
    start = min(len(plan) // 3, max(len(plan) - number, 0))
    return plan[start : start + number]


def near_each_other(
    ds: xr.Dataset, batch_size: int, number: int, seed: int, size: int
) -> gx.ChipPlan:
    """Batches of chips within 2,048 pixels of each other."""
    reach = 2048
    rng = np.random.default_rng(seed)
    middles = ds.geoxr.random_chips(size, -(-number // batch_size), seed=seed)
    corners = np.array([[chip.window.row, chip.window.col] for chip in middles])
    corners = np.repeat(corners, batch_size, axis=0)[:number]
    corners += rng.integers(-reach // 2, reach // 2, corners.shape)
    return fixed_plan(ds, corners, size)


def asked_for(ds: xr.Dataset, queries: Path, order: str, size: int) -> gx.ChipPlan:
    """Return the chips that TorchGeo asked for, moved to the nearest whole pixels."""
    rows = [json.loads(line) for line in queries.read_text(encoding="utf-8").splitlines()]
    bounds = np.array([row["bounds"] for row in rows if row["sampler"] == order])
    cols, lines = ~ds.geoxr.geobox.affine * (bounds[:, 0], bounds[:, 3])
    return fixed_plan(ds, np.round([lines, cols]).astype("int64").T, size)


def fixed_plan(ds: xr.Dataset, corners: np.ndarray | Sequence, size: int) -> gx.ChipPlan:
    """Plan chips at given rows and columns (n, 2), moved inside the grid."""
    geobox = ds.geoxr.geobox
    last = np.array(geobox.shape) - size
    inside = np.clip(np.asarray(corners, "int64"), 0, last)
    return gx.ChipPlan((Grid(geobox),), (size, size), Fixed(Spots(inside)))

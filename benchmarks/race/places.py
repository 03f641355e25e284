"""Which chips a loader is asked for, as plans of geoxr."""

from __future__ import annotations

import json
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
        return ds.geoxr.random_batch_chips(size, number, batch_size=case.batch_size, seed=seed)
    plan = ds.geoxr.grid_chips(size, stride=STRIDE * size // CHIP)
    # Like TorchGeo's, the grid begins at a row of chips in the middle, not in an empty corner.
    start = min(len(plan) // 3, max(len(plan) - number, 0))
    return plan[start : start + number]


def asked_for(ds: xr.Dataset, queries: Path, order: str, size: int) -> gx.ChipPlan:
    """Return the chips that TorchGeo asked for, moved to whole pixels and into the grid."""
    rows = [json.loads(line) for line in queries.read_text(encoding="utf-8").splitlines()]
    bounds = np.array([row["bounds"] for row in rows if row["sampler"] == order])
    cols, lines = ~ds.geoxr.geobox.affine * (bounds[:, 0], bounds[:, 3])
    geobox = ds.geoxr.geobox
    corners = np.round([lines, cols]).astype("int64").T
    inside = np.clip(corners, 0, np.array(geobox.shape) - size)
    return gx.ChipPlan((Grid(geobox),), (size, size), Fixed(Spots(inside)))

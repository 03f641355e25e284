"""Mean and standard deviation of bands over a plan of chips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import xarray as xr

from geoxr.errors import ArgumentError
from geoxr.grid.adopt import adopt
from geoxr.load.torch import to_torch
from geoxr.sample.chip import ChipPlan
from geoxr.transforms.normalize import Stats, stats_of_batches


def stats(
    ds: xr.Dataset,
    plan: ChipPlan,
    *,
    key: str = "image",
    concat: Mapping[str, Sequence[str]] | None = None,
    batch_size: int = 16,
) -> Stats:
    """Compute the mean and standard deviation of every band over the valid pixels of chips.

    Parameters
    ----------
    ds : Dataset
    plan : ChipPlan
        Training chips; a few hundred are plenty.
    key : str
        Variable (or output of `concat`) to look at.
    concat : mapping of str to names, optional
        As for `to_torch`.

    Returns
    -------
    Stats
        For ``SemanticSegmentationTask(normalize=...)``.
    """
    ds = adopt(ds)
    parts = list(concat[key]) if concat and key in concat else [key]
    if not set(parts) <= set(ds.data_vars):
        raise ArgumentError(f"The Dataset has no variables {parts}; it has {list(ds.data_vars)}.")
    names = [name for name in ds.data_vars if str(name).removesuffix("_valid") in parts]
    return stats_of_batches(
        to_torch(ds[names], plan, batch_size=batch_size, concat={key: parts}, shard=False), key=key
    )

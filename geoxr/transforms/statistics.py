"""Mean and standard deviation of bands over a plan of chips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import xarray as xr

from geoxr.errors import ArgumentError
from geoxr.grid.adopt import adopt
from geoxr.grid.meaning import band_dim
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
        Variable (or output of `concat`) to look at. One without bands is one band.
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
    loader = to_torch(ds[names], plan, batch_size=batch_size, concat={key: parts}, shard=False)
    if len(parts) == 1 and band_dim(ds[parts[0]].dims) is None:
        return stats_of_batches(({**b, key: b[key].unsqueeze(-3)} for b in loader), key=key)
    return stats_of_batches(loader, key=key)

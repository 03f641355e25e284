"""`to_torch`: chips of a Dataset as batches of tensors, or as a map-style dataset."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import numpy as np
import torch
import xarray as xr

from geoxr.errors import ArgumentError
from geoxr.load.cache import Cache, open_cache
from geoxr.load.dataset import ChipDataset
from geoxr.load.loader import Batch, ChipLoader, OnError, Settings
from geoxr.load.recipe import make_recipe
from geoxr.sample.chip import ChipPlan
from geoxr.sample.iterate import check_plan

__all__ = ["Batch", "ChipDataset", "ChipLoader", "to_torch"]


@overload
def to_torch(
    ds: xr.Dataset | xr.DataTree,
    plan: ChipPlan,
    *,
    batch_size: int,
    shuffle: bool = False,
    seed: int = 0,
    transform: Callable[[Batch], Batch] | None = None,
    concat: Mapping[str, Sequence[str]] | None = None,
    threads: int | None = None,
    prefetch: int = 2,
    device: str | torch.device | None = None,
    cache: Cache = "tiles",
    dtype: str = "float32",
    fill: float = 0.0,
    ignore_index: int = -100,
    on_error: OnError = "raise",
    progress: bool = False,
    shard: bool = True,
) -> ChipLoader: ...
@overload
def to_torch(
    ds: xr.Dataset | xr.DataTree,
    plan: ChipPlan,
    *,
    batch_size: None = None,
    shuffle: bool = False,
    seed: int = 0,
    transform: Callable[[Batch], Batch] | None = None,
    concat: Mapping[str, Sequence[str]] | None = None,
    threads: int | None = None,
    prefetch: int = 2,
    device: str | torch.device | None = None,
    cache: Cache = "tiles",
    dtype: str = "float32",
    fill: float = 0.0,
    ignore_index: int = -100,
    on_error: OnError = "raise",
    progress: bool = False,
    shard: bool = True,
) -> ChipDataset: ...
def to_torch(
    ds: xr.Dataset | xr.DataTree,
    plan: ChipPlan,
    *,
    batch_size: int | None = None,
    shuffle: bool = False,
    seed: int = 0,
    transform: Callable[[Batch], Batch] | None = None,
    concat: Mapping[str, Sequence[str]] | None = None,
    threads: int | None = None,
    prefetch: int = 2,
    device: str | torch.device | None = None,
    cache: Cache = "tiles",
    dtype: str = "float32",
    fill: float = 0.0,
    ignore_index: int = -100,
    on_error: OnError = "raise",
    progress: bool = False,
    shard: bool = True,
) -> ChipLoader | ChipDataset:
    """Feed chips to a model. No dask graph is built and no xarray object is touched per chip.

    Parameters
    ----------
    ds : Dataset or DataTree
        Layers on one grid, or on one for each node; each variable becomes a tensor of its name.
    plan : ChipPlan
        Made for the grid of `ds`, or for those of its nodes.
    batch_size : int, optional
        Chips in a batch. Without it the result is a map-style ``torch.utils.data.Dataset``.
    shuffle : bool
        Deal the chips out in a new order in every epoch, fixed by `seed`.
    transform : callable, optional
        Batch -> batch, run on the device.
    concat : mapping of str to names, optional
        Join variables on the channel axis: ``{"image": ["optical", "radar"]}``.
    threads : int, optional
        Threads that read ahead; 0 reads in the calling thread. Default: one per core, up to 8.
        Batches are the same for any number.
    prefetch : int
        Batches kept ready beyond those being read.
    device : str or torch.device, optional
        Where batches are delivered. Copies to a GPU go from pinned memory, beside the computing.
    cache : {"tiles", "disk"}, pathlib.Path or None
        "tiles" keeps decoded tiles of compressed files in memory, and of other layers the blocks
        that chips of an overlapping grid share, within ``options.tile_cache``.
        "disk" keeps aligned blocks of the layers in a file, from which later epochs are copied,
        whatever is drawn; it is gone with the loader. A path is a folder where that file is kept,
        for other processes and later runs. Both grow to at most ``options.scratch_size``. None
        keeps nothing.
    dtype : {"float32", "native"}
        Images float32 and labels int64; or everything as stored, codes and nodata too, to be sent
        to the device small and cast there by `transform`.
    fill : float
        Value of invalid image pixels.
    ignore_index : int
        Value of invalid label pixels.
    on_error : {"raise", "skip"}
        What happens to a chip that cannot be read: an error that names it and the file, or another
        chip in its place, fixed by `seed`, counted in ``loader.stats()`` and warned of at the end.
    progress : bool
        Show a progress bar.
    shard : bool
        Under ``torch.distributed``, give every rank chips of its own instead of all.

    Returns
    -------
    ChipLoader or ChipDataset
        Batches are dicts of tensors:

        - images (B, [T,] C, H, W) and labels (B, [T,] H, W), whose codes are 0..K-1 in the order of
          ``.geoxr.classes``;
        - ``valid`` bool (B, H, W), True where all variables are valid (at all dates);
          ``valid_<name>`` (B, [T,] H, W) for each, where there are several or dates;
        - ``bounds`` float64 (B, 4) as left, bottom, right, top; ``index`` int64 (B,), the number of
          the chip in the plan, -1 for one drawn in the place of another;
        - ``time`` int64 (B, T), nanoseconds since 1970, the smallest number where a chip has fewer
          dates; for turned grids and the nodes of a DataTree ``transform`` float64 (B, 6), the
          affine coefficients a to f of the chip; for nodes ``node`` int64 (B,), their position in
          ``plan.grids``.

        Plans of triplets put an axis of 3 behind B.

    Raises
    ------
    GridError
        If the plan was made for another grid.
    ArgumentError
        If an argument makes no sense, or only makes sense with `batch_size`.
    OutputExistsError
        If the folder of `cache` has blocks of other layers, or of files that were changed.
    ChipReadError
        While reading, if a chip cannot be read.
    ClassesError
        While reading, if a label has a code that is none of its classes.
    """
    check_plan(ds, plan)
    if on_error not in ("raise", "skip"):
        raise ArgumentError(f'on_error is {on_error!r}, but must be "raise" or "skip".')
    if transform is not None and not callable(transform):
        raise ArgumentError(f"transform must be callable with a batch, not {transform!r}.")
    wrap, scratch = open_cache(cache)
    recipe, slow = make_recipe(
        ds, plan, concat=concat, dtype=dtype, fill=fill, ignore_index=ignore_index, wrap=wrap
    )
    for name, reason in slow.items():
        warnings.warn(
            f"{name!r} is read through xarray chip by chip, which is slow, because {reason}.",
            stacklevel=3,
        )
    if batch_size is None:
        _check_unused(
            shuffle=shuffle, seed=seed != 0, threads=threads is not None, prefetch=prefetch != 2,
            device=device is not None, on_error=on_error != "raise", progress=progress,
            shard=not shard, cache=cache is None,
        )  # fmt: skip
        return ChipDataset(recipe, plan, transform)
    if threads is None:
        threads = min(os.cpu_count() or 1, 8)
    settings = Settings(
        _whole("batch_size", batch_size, 1), shuffle, seed, transform, _whole("threads", threads, 0),
        _whole("prefetch", prefetch, 0), _device(device), cache is not None, on_error, progress, shard,
    )  # fmt: skip
    return ChipLoader(recipe, plan, settings, scratch)


def _whole(name: str, number: Any, least: int) -> int:
    """Return a whole number from `least` up."""
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < least:
        raise ArgumentError(f"{name} must be a whole number from {least} up, not {number!r}.")
    return int(number)


def _check_unused(**given: bool) -> None:
    """Raise for arguments that say how batches are made, where none are made."""
    names = [name for name, is_given in given.items() if is_given]
    if names:
        raise ArgumentError(
            f"{', '.join(names)} says how batches are read ahead, but without batch_size there are "
            f"only single chips, and torch.utils.data.DataLoader makes batches of them. Pass "
            f"batch_size=, or leave {'it' if len(names) == 1 else 'them'} out."
        )


def _device(device: str | torch.device | None) -> torch.device | None:
    if device is None:
        return None
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ArgumentError(f"device is {device!r}, which torch does not know: {error}") from error
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise ArgumentError(f"device is {device!r}, but torch finds no CUDA device here.")
    return wanted

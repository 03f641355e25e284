"""`to_torch`: chips of a Dataset as batches of tensors, or as a map-style dataset."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import overload

import numpy as np
import torch
import xarray as xr

from geoxr.errors import ArgumentError
from geoxr.load.batch import Arrays, Recipe
from geoxr.load.cache import Cache, open_cache
from geoxr.load.recipe import make_recipe
from geoxr.sample.chip import ChipPlan
from geoxr.sample.iterate import check_plan

#: A batch of tensors by name.
Batch = dict[str, torch.Tensor]


@overload
def to_torch(
    ds: xr.Dataset,
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
    shard: bool = True,
) -> ChipLoader: ...
@overload
def to_torch(
    ds: xr.Dataset,
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
    shard: bool = True,
) -> ChipDataset: ...
def to_torch(
    ds: xr.Dataset,
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
    shard: bool = True,
) -> ChipLoader | ChipDataset:
    """Feed chips to a model. No dask graph is built and no xarray object is touched per chip.

    Parameters
    ----------
    ds : Dataset
        Layers on one grid; each variable becomes a tensor of its name.
    plan : ChipPlan
        Made for the grid of `ds`.
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
        Where batches are delivered.
    cache : {"tiles", "disk"} or pathlib.Path
        "tiles" keeps decoded tiles of compressed files in memory, within ``options.tile_cache``.
        "disk" keeps aligned blocks of the layers in a file, from which later epochs are copied,
        whatever is drawn; it is gone with the loader. A path is a folder where that file is kept,
        for other processes and later runs. Both grow to at most ``options.scratch_size``.
    dtype : {"float32", "native"}
        Images float32 and labels int64, or everything in the type of the files.
    fill : float
        Value of invalid image pixels.
    ignore_index : int
        Value of invalid label pixels.
    shard : bool
        Under ``torch.distributed``, give every rank chips of its own instead of all.

    Returns
    -------
    ChipLoader or ChipDataset
        Batches are dicts: images (B, [T,] C, H, W); labels (B, H, W), whose codes are 0..K-1 in the
        order of ``.geoxr.classes``; ``valid`` bool (B, H, W), True where all variables are valid, and
        ``valid_<name>`` for each; ``bounds`` float64 (B, 4) as left, bottom, right, top; ``index``
        int64 (B,), the number of the chip in the plan.

    Raises
    ------
    GridError
        If the plan was made for another grid.
    ClassesError
        While reading, if a label has a code that is none of its classes.
    OutputExistsError
        If the folder of `cache` has blocks of other layers, or of files that were changed.
    """
    check_plan(ds, plan)
    wrap, _ = open_cache(cache)
    recipe, slow = make_recipe(
        ds, plan, concat=concat, dtype=dtype, fill=fill, ignore_index=ignore_index, wrap=wrap
    )
    for name, reason in slow.items():
        warnings.warn(
            f"{name!r} is read through xarray chip by chip, which is slow, because {reason}.",
            stacklevel=3,
        )
    if batch_size is None:
        return ChipDataset(recipe, plan, transform)
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ArgumentError(f"batch_size must be a positive whole number, not {batch_size!r}.")
    if threads is None:
        threads = min(os.cpu_count() or 1, 8)
    if threads < 0 or prefetch < 0:
        raise ArgumentError(f"threads and prefetch must not be negative: {threads}, {prefetch}.")
    return ChipLoader(
        recipe, plan, batch_size, shuffle=shuffle, seed=seed, transform=transform, threads=threads,
        prefetch=prefetch, device=device, shard=shard,
    )  # fmt: skip


class ChipLoader:
    """Batches of chips in the order of the plan, read ahead by threads.

    Iterating again starts the next epoch: fresh draws of a random plan, a new order with `shuffle`,
    the same chips of a grid. Under ``torch.distributed`` every rank gets its own chips, equally many.
    Lightning takes it as a dataloader.
    """

    def __init__(
        self,
        recipe: Recipe,
        plan: ChipPlan,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int,
        transform: Callable[[Batch], Batch] | None,
        threads: int,
        prefetch: int,
        device: str | torch.device | None,
        shard: bool,
    ) -> None:
        self.shard = shard
        self.plan, self.batch_size, self.shuffle, self.seed = plan, batch_size, shuffle, seed
        self.transform, self.threads, self.prefetch, self.device = (
            transform,
            threads,
            prefetch,
            device,
        )
        self._recipe, self._epoch = recipe, 0

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of a certain epoch, counted from 0."""
        self._epoch = int(epoch)

    def __len__(self) -> int:
        chips = -(-len(self.plan) // _world()[1]) if self.shard else len(self.plan)
        return -(-chips // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        epoch, self._epoch = self._epoch, self._epoch + 1
        plan = self.plan.epoch(epoch)
        if self.shuffle:
            plan = plan[np.random.default_rng([self.seed, epoch]).permutation(len(plan))]
        return self._batches(_share(plan) if self.shard else plan)

    def _batches(self, plan: ChipPlan) -> Iterator[Batch]:
        starts = range(0, len(plan), self.batch_size)
        if self.threads == 0:
            for start in starts:
                yield self._deliver(self._read(plan, start))
            return
        with ThreadPoolExecutor(self.threads, "geoxr-load") as pool:
            waiting: deque[Future[Arrays]] = deque()
            try:
                for start in starts:
                    waiting.append(pool.submit(self._read, plan, start))
                    if len(waiting) >= self.threads + self.prefetch:
                        yield self._deliver(waiting.popleft().result())
                while waiting:
                    yield self._deliver(waiting.popleft().result())
            finally:
                for future in waiting:
                    future.cancel()

    def _read(self, plan: ChipPlan, start: int) -> Arrays:
        return _filled(self._recipe, plan, start, start + self.batch_size)

    def _deliver(self, arrays: Arrays) -> Batch:
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if self.device is not None:
            batch = {name: tensor.to(self.device) for name, tensor in batch.items()}
        return batch if self.transform is None else self.transform(batch)


class ChipDataset(torch.utils.data.Dataset):
    """Map-style dataset of chips: each a dict of tensors without the batch axis."""

    def __init__(
        self, recipe: Recipe, plan: ChipPlan, transform: Callable[[Batch], Batch] | None
    ) -> None:
        self.plan, self.transform, self._recipe = plan, transform, recipe

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> Batch:
        at = range(len(self.plan))[index]
        arrays = _filled(self._recipe, self.plan, at, at + 1)
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if self.transform is not None:
            batch = self.transform(batch)
        return {name: tensor[0] for name, tensor in batch.items()}


def _filled(recipe: Recipe, plan: ChipPlan, start: int, stop: int) -> Arrays:
    index = plan.indices(start, stop)
    arrays = recipe.allocate(plan, len(index))
    recipe.fill_batch(arrays, plan, index)
    return recipe.finish(arrays, plan, len(index))


def _world() -> tuple[int, int]:
    """Rank and number of processes that train together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _share(plan: ChipPlan) -> ChipPlan:
    """Chips of this process; the first ones fill up the last round so that all have as many."""
    rank, world = _world()
    if world == 1:
        return plan
    each = -(-len(plan) // world)
    return plan[(np.arange(each) * world + rank) % len(plan)]

"""Batches of chips, read ahead by threads into memory that is used again."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import torch

from geoxr.errors import ArgumentError, ChipReadError
from geoxr.io.blocks import keeping
from geoxr.load.ahead import read_ahead
from geoxr.load.batch import Arrays, Recipe, Redraw
from geoxr.load.memory import Pool, plain_bytes
from geoxr.load.order import ordered, other_chip, share_size
from geoxr.load.stats import Counters, LoaderStats
from geoxr.sample.chip import ChipPlan

#: A batch of tensors by name.
Batch: TypeAlias = dict[str, torch.Tensor]
#: What happens to chips that cannot be read.
OnError: TypeAlias = Literal["raise", "skip"]

#: Chips tried in the place of one that cannot be read, before giving up.
_ATTEMPTS = 100


@dataclass(frozen=True)
class Settings:
    """How a loader makes batches; see `geoxr.load.torch.to_torch`."""

    batch_size: int
    shuffle: bool = False
    seed: int = 0
    transform: Callable[[Batch], Batch] | None = None
    threads: int = 0
    prefetch: int = 2
    device: torch.device | None = None
    keep_tiles: bool = True
    on_error: OnError = "raise"
    progress: bool = False
    shard: bool = True


@dataclass
class _Run:
    """Where one iteration is: the batch that is delivered next, and what was done so far."""

    epoch: int
    position: int
    stats: LoaderStats
    last_error: str = ""


@dataclass
class _Skipped:
    """How many chips of a batch were replaced, and why the last one was."""

    number: int = 0
    error: str = ""


class ChipLoader:
    """Batches of chips in the order of the plan, read ahead by threads.

    Iterating again starts the next epoch: fresh draws of a random plan, a new order with `shuffle`,
    the same chips of a grid. Under ``torch.distributed`` every rank gets its own chips, equally many.
    Lightning takes it as a dataloader. Tensors may be kept for as long as you like: their memory is
    used again only when nothing looks at it any more.
    """

    def __init__(
        self, recipe: Recipe, plan: ChipPlan, settings: Settings, scratch: Any = None
    ) -> None:
        self.plan = plan
        self.batch_size = settings.batch_size
        self._recipe, self._settings, self._scratch = recipe, settings, scratch
        pinned = settings.device is not None and settings.device.type == "cuda"
        keep = settings.threads + settings.prefetch + 1
        shapes = recipe.shapes(plan, settings.batch_size)
        self._pool = Pool(shapes, keep, _pinned_bytes if pinned else plain_bytes)
        self._epoch = self._first = 0
        self._run = _Run(0, 0, LoaderStats(0))

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of a certain epoch, counted from 0."""
        self._go_to(int(epoch), 0)

    def __len__(self) -> int:
        chips = share_size(self.plan) if self._settings.shard else len(self.plan)
        return -(-chips // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        # An epoch is begun when its first batch is asked for: Lightning makes iterators only to see
        # whether it can.
        run = _Run(self._epoch, self._first, LoaderStats(self._epoch))
        self._epoch, self._first, self._run = self._epoch + 1, 0, run
        yield from self._batches(run)

    def _go_to(self, epoch: int, batch: int) -> None:
        self._epoch, self._first = epoch, batch
        self._run = _Run(epoch, batch, LoaderStats(epoch))

    def stats(self) -> LoaderStats:
        """What the epoch that was begun last delivered so far, and what it took.

        Returns
        -------
        LoaderStats
            Print it to read it.
        """
        return replace(self._run.stats)

    def state_dict(self) -> dict[str, Any]:
        """Where the epoch that was begun last is: the very next batch, not what was read ahead."""
        run = self._run
        return {"epoch": run.epoch, "batch": run.position, "of": self._fingerprint()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration go on with the batch after the last one delivered.

        Raises
        ------
        ArgumentError
            If the state is that of another plan, seed, batch size or number of processes.
        """
        if not {"epoch", "batch", "of"} <= set(state):
            raise ArgumentError(
                f"That is no state of a loader: it has {sorted(state)}, not epoch, batch and of. Pass what "
                f"loader.state_dict() returned."
            )
        mine, theirs = self._fingerprint(), dict(state["of"])
        for name, value in mine.items():
            if theirs.get(name) != value:
                raise ArgumentError(
                    f"The state is that of a loader with {name} = {theirs.get(name)!r}, this one has "
                    f"{value!r}, so it has other batches. Make the loader as it was."
                )
        done = int(state["batch"]) >= len(self)
        self._go_to(int(state["epoch"]) + done, 0 if done else int(state["batch"]))

    def _fingerprint(self) -> dict[str, Any]:
        """What decides which chips are in which batch."""
        plan, some = self.plan, min(len(self.plan), 64)
        corners = plan.epoch(0).spots(plan.indices(0, some)).corners
        return {
            "chips": len(plan),
            "size": list(plan.size),
            "first chips": corners.ravel().tolist(),
            "batch_size": self.batch_size,
            "shuffle": self._settings.shuffle,
            "seed": self._settings.seed,
            "batches": len(self),
        }

    def _batches(self, run: _Run) -> Iterator[Batch]:
        settings = self._settings
        plan = ordered(
            self.plan, run.epoch,
            shuffle=settings.shuffle, seed=settings.seed, shard=settings.shard,
        )  # fmt: skip
        starts = range(run.position * self.batch_size, len(plan), self.batch_size)
        pool = self._pool = self._pool.shaped(self._recipe.shapes(plan, self.batch_size))

        def read(start: int, halted: Callable[[], bool]) -> tuple[Arrays, _Skipped]:
            arrays, index = pool.take(), plan.indices(start, start + self.batch_size)
            skipped = _Skipped()
            redraw = self._redraw(plan, skipped) if settings.on_error == "skip" else None
            with _tiles(keep=settings.keep_tiles):
                self._recipe.fill_batch(arrays, plan, index, redraw, halted)
            return self._recipe.finish(arrays, plan, len(index)), skipped

        deliver = _Delivery(settings.device)
        begun, counters = time.perf_counter(), Counters.now()
        arrays_ahead = read_ahead(
            read, starts, threads=settings.threads, prefetch=settings.prefetch
        )
        try:
            with _bar(self, run) as bar:
                while True:
                    asked = time.perf_counter()
                    done = next(arrays_ahead, None)
                    if done is None:
                        break
                    arrays, skipped = done
                    self._count(run, arrays, asked, begun, counters)
                    run.stats.skipped += skipped.number
                    run.last_error = skipped.error or run.last_error
                    batch = deliver(arrays)
                    del arrays, done
                    batch = transformed(batch, settings.transform)
                    run.position += 1
                    if bar is not None:
                        bar.update()
                    yield batch
                    del batch
        finally:
            arrays_ahead.close()  # type: ignore[attr-defined]
            self._recipe.forget()
        _report(run)

    def _redraw(self, plan: ChipPlan, skipped: _Skipped) -> Redraw:
        """Return what finds another chip for one that cannot be read, the same on every run."""

        def redraw(error: ChipReadError, number: int, attempt: int) -> tuple[ChipPlan, int]:
            if attempt > _ATTEMPTS:
                raise error
            skipped.number += attempt == 1
            skipped.error = str(error)
            return other_chip(plan, self._settings.seed, number, attempt)

        return redraw

    def _count(
        self, run: _Run, arrays: Arrays, asked: float, begun: float, before: Counters
    ) -> None:
        stats, now, counters = run.stats, time.perf_counter(), Counters.now()
        valid = arrays["valid"]
        chips = stats.chips + len(arrays["index"])
        share = 1 - np.count_nonzero(valid) / max(valid.size, 1)
        stats.invalid += (share - stats.invalid) * len(arrays["index"]) / chips
        stats.batches, stats.chips = stats.batches + 1, chips
        stats.waiting += now - asked
        stats.seconds = now - begun
        stats.tile_hits = counters.hits - before.hits
        stats.tile_misses = counters.misses - before.misses
        stats.nbytes = counters.nbytes - before.nbytes


class _Delivery:
    """Turns arrays into tensors, on their device."""

    def __init__(self, device: torch.device | None) -> None:
        self._device = device
        #: Copies under way with the memory they come from, which must wait for them.
        self._copies: deque[tuple[torch.cuda.Event, Arrays]] = deque()

    def __call__(self, arrays: Arrays) -> Batch:
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if self._device is None:
            return batch
        if self._device.type != "cuda":
            return {name: tensor.to(self._device) for name, tensor in batch.items()}
        batch = {name: tensor.to(self._device, non_blocking=True) for name, tensor in batch.items()}
        done = torch.cuda.Event()
        done.record()
        self._copies.append((done, arrays))
        while len(self._copies) > 1 or (self._copies and self._copies[0][0].query()):
            self._copies[0][0].synchronize()
            self._copies.popleft()
        return batch


def _pinned_bytes(size: int) -> np.ndarray:
    """Return bytes that a GPU can copy from by itself."""
    return torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy()


@contextmanager
def _tiles(*, keep: bool) -> Iterator[None]:
    token = keeping.set(keep)
    try:
        yield
    finally:
        keeping.reset(token)


def transformed(batch: Batch, transform: Callable[[Batch], Batch] | None) -> Batch:
    """Apply a transform, which must return a batch."""
    if transform is None:
        return batch
    result = transform(batch)
    if result is None:
        raise ArgumentError(
            "transform returned None. It must return the batch that it was given, changed."
        )
    return result


def _bar(loader: ChipLoader, run: _Run) -> Any:
    """Return a progress bar, if one is wanted: tqdm leaves a thread behind even where it shows none."""
    if not loader._settings.progress:
        return nullcontext()
    from tqdm.auto import tqdm

    return tqdm(total=len(loader), initial=run.position, desc=f"epoch {run.epoch}", unit="batch")


def _report(run: _Run) -> None:
    if run.stats.skipped:
        warnings.warn(
            f"{run.stats.skipped} chips of epoch {run.epoch} could not be read and were replaced by "
            f"others. The last: {run.last_error}",
            stacklevel=3,
        )

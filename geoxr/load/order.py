"""Which chips a process reads in an epoch, and in which order."""

from __future__ import annotations

import numpy as np
import torch

from geoxr.sample.chip import ChipPlan

#: Draws for chips that cannot be read are those of an epoch this much later.
_APART = 2**32


def world() -> tuple[int, int]:
    """Rank and number of processes that train together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def share_size(plan: ChipPlan) -> int:
    """Items that each process gets."""
    together = plan.together
    blocks = -(-len(plan) // together)
    ranks = world()[1]
    return len(plan) if ranks == 1 else -(-blocks // ranks) * together


def ordered(plan: ChipPlan, epoch: int, *, shuffle: bool, seed: int, shard: bool) -> ChipPlan:
    """Return the plan of an epoch for this process, counted on from that of the plan.

    Shuffling and dealing out keep chips together that were drawn as a batch. So that all processes
    get equally many, the first chips are dealt out again at the end.
    """
    plan = plan.epoch(plan.number + epoch)  # the plan may be that of a later epoch
    if shuffle:
        plan = plan.shuffle(_mixed(seed, epoch))
    rank, ranks = world()
    if not shard or ranks == 1:
        return plan
    together = plan.together
    blocks = np.arange(share_size(plan) // together) * ranks + rank
    items = (blocks[:, None] * together + np.arange(together)).ravel()
    return plan[items % len(plan)]


def other_chip(plan: ChipPlan, seed: int, number: int, attempt: int) -> tuple[ChipPlan, int]:
    """Return what to read instead of an item that cannot be read, fixed by seed and number.

    That is a fresh draw where the plan draws anew in every epoch, else another item.
    """
    rng = np.random.default_rng([seed, plan.number, number, attempt])
    at = int(rng.integers(len(plan)))
    index, fresh = plan.indices(at, at + 1), plan.epoch(plan.number + _APART)
    same = np.array_equal(plan.spots(index).corners, fresh.spots(index).corners)
    return (plan if same else fresh), int(index[0])


def _mixed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, "uint64")[0])

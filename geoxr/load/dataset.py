"""Chips one by one, for loaders of torch."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

import numpy as np
import torch

from geoxr.errors import ArgumentError
from geoxr.load.batch import Recipe
from geoxr.load.loader import Batch, transformed
from geoxr.load.memory import carve, plain_bytes, size_of
from geoxr.sample.chip import ChipPlan


class ChipDataset(torch.utils.data.Dataset):
    """Map-style dataset of chips: each a dict of tensors without the batch axis.

    It is small when it is pickled and works in any worker process of ``torch.utils.data.DataLoader``,
    which fetches all chips of a batch at once, so that neighbours share what is read.
    """

    def __init__(
        self, recipe: Recipe, plan: ChipPlan, transform: Callable[[Batch], Batch] | None
    ) -> None:
        self.plan, self.transform, self._recipe = plan, transform, recipe

    def set_epoch(self, epoch: int) -> None:
        """Draw the chips of a certain epoch, counted from 0."""
        self.plan = self.plan.epoch(int(epoch))

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Batch]:
        """Return several chips; `transform` sees them as one batch."""
        some = self.plan[np.array([self._position(index) for index in indices], "int64")]
        shapes = self._recipe.shapes(some, len(some))
        arrays = carve(plain_bytes(size_of(shapes)), shapes)
        self._recipe.fill_batch(arrays, some, some.indices(0, len(some)))
        finished = self._recipe.finish(arrays, some, len(some))
        batch = {name: torch.from_numpy(array) for name, array in finished.items()}
        batch = transformed(batch, self.transform)
        return [{name: tensor[i] for name, tensor in batch.items()} for i in range(len(some))]

    def _position(self, index: object) -> int:
        try:
            number = operator.index(index)  # type: ignore[arg-type]
        except TypeError as error:
            raise ArgumentError(
                f"A dataset of chips is asked for one chip by its number, not for {index!r}. For some "
                f"of them make it of a part of the plan: ds.geoxr.to_torch(plan[:100])."
            ) from error
        if not -len(self) <= number < len(self):
            raise IndexError(f"Chip {number} is out of range: the plan has {len(self)}.")
        return number

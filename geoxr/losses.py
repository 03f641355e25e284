"""Losses over pixels. Each leaves `ignore_index` out, and is 0 where nothing is left."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoxr._torchvision import heal
from geoxr.errors import ArgumentError

#: Names that :func:`create_loss` knows.
LOSSES = ("ce", "focal", "dice", "ce+dice")


class FocalLoss(nn.Module):
    """Cross entropy in which pixels count less the surer they are right: -(1 - p)^gamma log p.

    The mean is over pixels, weighted by the class of the label; `gamma` 0 is the cross entropy.
    Without any pixel to count the loss is 0 (the mean of torch would be NaN).

    Parameters
    ----------
    gamma : float
        0 or more.
    ignore_index : int
        Label of pixels that are left out.
    class_weights : sequence of float, optional
        One per class.

    References
    ----------
    Lin et al.: "Focal Loss for Dense Object Detection", 2017, arXiv:1708.02002, equation 4, with
    the softmax probability of the label for p.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        gamma: float = 2.0,
        *,
        ignore_index: int = -100,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.ignore_index = ignore_index
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits (B, K, H, W) against labels int64 (B, H, W)."""
        loss = functional.cross_entropy(
            logits.float(), target, ignore_index=self.ignore_index, reduction="none"
        )
        if self.gamma:
            loss = (-torch.expm1(-loss)) ** self.gamma * loss
        counts = target != self.ignore_index
        weight = counts.float()
        if self.class_weights is not None:
            weight = self.class_weights[target.where(counts, 0)] * weight
        return (weight * loss).sum() / weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)


class SumLoss(nn.Module):
    """The sum of several losses."""

    def __init__(self, *losses: nn.Module) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits (B, K, H, W) against labels int64 (B, H, W)."""
        return torch.stack([loss(logits, target) for loss in self.losses]).sum()


def create_loss(
    name: str,
    *,
    num_classes: int,
    ignore_index: int = -100,
    class_weights: Sequence[float] | None = None,
) -> nn.Module:
    """Build a loss by name, for logits (B, K, H, W) and labels int64 (B, H, W).

    Parameters
    ----------
    name : {"ce", "focal", "dice", "ce+dice"}
        Cross entropy; focal loss (gamma 2); 1 - Dice, the mean over classes, of whole batches, in
        which classes that a batch has no label of count 0; the sum of the first and the third.
    num_classes : int
        How many classes there are, K.
    ignore_index : int
        Label of pixels that are left out.
    class_weights : sequence of float, optional
        One per class, not negative.

    Raises
    ------
    ArgumentError
        If there is no such loss or the weights don't fit the classes.

    References
    ----------
    Dice: Milletari et al.: "V-Net", 2016, arXiv:1606.04797, in segmentation_models_pytorch.
    """
    if name not in LOSSES:
        raise ArgumentError(f"There is no loss {name!r}. All names: {', '.join(LOSSES)}.")
    weights = _check_weights(class_weights, num_classes)
    losses = [_LOSS[part](ignore_index, weights) for part in name.split("+")]
    return losses[0] if len(losses) == 1 else SumLoss(*losses)


def _cross_entropy(ignore_index: int, weights: list[float] | None) -> nn.Module:
    return FocalLoss(0.0, ignore_index=ignore_index, class_weights=weights)


def _focal(ignore_index: int, weights: list[float] | None) -> nn.Module:
    return FocalLoss(ignore_index=ignore_index, class_weights=weights)


def _dice(ignore_index: int, weights: list[float] | None) -> nn.Module:
    heal()
    from segmentation_models_pytorch.losses import DiceLoss

    return DiceLoss("multiclass", ignore_index=ignore_index, class_weights=weights)


_LOSS = {"ce": _cross_entropy, "focal": _focal, "dice": _dice}


def _check_weights(weights: Sequence[float] | None, num_classes: int) -> list[float] | None:
    if weights is None:
        return None
    weights = [float(weight) for weight in weights]
    if len(weights) != num_classes:
        raise ArgumentError(
            f"{len(weights)} class_weights for {num_classes} classes; give one per class."
        )
    if not all(isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise ArgumentError(f"class_weights must be 0 or more, and one above 0, not {weights}.")
    return weights

"""Scores of a segmentation: statistic -> sum -> value.

A confusion matrix is the statistic. Matrices of chips, batches or machines add up, and
:func:`scores` turns the sum into numbers, so however pixels are divided the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from geoxr.errors import ArgumentError, ClassesError
from geoxr.transforms.normalize import valid_of


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix says; NaN where a number is undefined.

    Parameters
    ----------
    accuracy : float [0..1]
        Share of pixels that are right.
    iou : tuple of float [0..1]
        Intersection over union of each class; NaN for a class that is neither in the labels nor in
        the prediction.
    mean_iou : float [0..1]
        Mean of the `iou` that are not NaN.
    support : tuple of int [pixel]
        Labelled pixels of each class.
    """

    accuracy: float
    iou: tuple[float, ...]
    mean_iou: float
    support: tuple[int, ...]

    def to_dict(self, names: Sequence[str] | None = None) -> dict[str, Any]:
        """Return plain types that JSON can hold: None for NaN, `iou` and `support` by class name.

        Examples
        --------
        >>> scores(torch.tensor([[3, 1], [0, 0]])).to_dict(["field", "road"])["iou"]
        {'field': 0.75, 'road': 0.0}
        """
        keys = [str(i) for i in range(len(self.iou))] if names is None else list(names)
        if len(keys) != len(self.iou):
            raise ArgumentError(f"{len(keys)} names for scores of {len(self.iou)} classes.")
        return {
            "accuracy": _number(self.accuracy),
            "mean_iou": _number(self.mean_iou),
            "iou": dict(zip(keys, map(_number, self.iou), strict=True)),
            "support": dict(zip(keys, self.support, strict=True)),
        }


def confusion(pred: Tensor, target: Tensor, num_classes: int, ignore_index: int = -100) -> Tensor:
    """Count pixels by label and predicted class.

    Parameters
    ----------
    pred, target : int tensor of one shape
        Classes 0..K-1.
    num_classes : int
        How many classes there are, K.
    ignore_index : int
        Pixels with this label are left out.

    Returns
    -------
    int64 (K, K)
        Rows are labels, columns predictions.

    Raises
    ------
    ArgumentError
        If the shapes differ.
    ClassesError
        If a label or a prediction that counts is outside 0..K-1.

    Examples
    --------
    >>> confusion(torch.tensor([0, 1, 1]), torch.tensor([0, 0, -100]), 2).tolist()
    [[1, 1], [0, 0]]
    """
    if pred.shape != target.shape:
        raise ArgumentError(
            f"Predictions have shape {tuple(pred.shape)}, labels {tuple(target.shape)}; "
            "both must be class numbers of one shape. Of logits, take logits.argmax(1)."
        )
    counts = target != ignore_index
    pred, target = pred[counts].long(), target[counts].long()
    for what, values in (("Labels", target), ("Predictions", pred)):
        check_classes(values, num_classes, ignore_index, what)
    pairs = torch.bincount(target * num_classes + pred, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def check_classes(
    labels: Tensor, num_classes: int, ignore_index: int, what: str = "Labels"
) -> None:
    """Raise ClassesError if there are labels other than 0..K-1 and `ignore_index`."""
    bad = ((labels < 0) | (labels >= num_classes)) & (labels != ignore_index)
    if not bool(bad.any()):
        return
    found = torch.unique(labels[bad]).tolist()
    listed = ", ".join(map(str, found[:10])) + (", ..." if len(found) > 10 else "")
    raise ClassesError(
        f"{what} hold {listed}, but with {num_classes} classes they must be 0..{num_classes - 1}, "
        f"or {ignore_index} where they are to be ignored. If these are codes of a label raster, "
        "attach its classes to the layer, so that loaders count them from 0; "
        "if it has more classes, raise num_classes."
    )


def scores(matrix: Tensor) -> Scores:
    """Turn a confusion matrix, int (K, K) with labels as rows, into numbers.

    References
    ----------
    Everingham et al.: "The Pascal Visual Object Classes Challenge: A Retrospective", IJCV 2015,
    section 2.4 (intersection over union per class, and its mean).
    """
    counts = matrix.double().cpu()
    right, support = counts.diagonal(), counts.sum(dim=1)
    iou = right / (support + counts.sum(dim=0) - right)
    return Scores(
        accuracy=float(right.sum() / counts.sum()),
        iou=tuple(iou.tolist()),
        mean_iou=float(iou.nanmean()),
        support=tuple(int(n) for n in support.tolist()),
    )


def labels_of(
    batch: Mapping[str, Tensor], *, mask_key: str = "mask", ignore_index: int = -100
) -> Tensor:
    """Labels of a batch, int64 (B, H, W), with `ignore_index` wherever anything is invalid."""
    labels = batch[mask_key].long()
    valid = batch.get("valid")
    return labels if valid is None else labels.masked_fill(~valid, ignore_index)


def evaluate(
    predictor: Callable[[Tensor, Tensor | None], Tensor],
    batches: Iterable[Mapping[str, Tensor]],
    num_classes: int,
    ignore_index: int = -100,
    *,
    image_key: str = "image",
    mask_key: str = "mask",
) -> Scores:
    """Score anything that predicts on batches: a task, a baseline, a function.

    Parameters
    ----------
    predictor : callable
        Called with the image, float (B, C, H, W), and where it is valid, bool (B, H, W) or None.
        Returns logits or probabilities (B, K, H, W), or classes (B, H, W). A module is put in
        evaluation mode meanwhile, and gets batches on its own device.
    batches : iterable of mapping
        As loaders give them.
    num_classes : int
        How many classes there are, K.
    ignore_index : int
        Label of pixels that are left out, as are those where ``valid`` is False.
    image_key, mask_key : str
        Names in the batch.

    Raises
    ------
    ClassesError
        If a label or a prediction is outside 0..K-1.
    """
    matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    with torch.no_grad(), evaluating(predictor) as device:
        for batch in batches:
            image, valid = batch[image_key], valid_of(batch, image_key)
            if device is not None:
                image, valid = image.to(device), None if valid is None else valid.to(device)
            out = predictor(image, valid)
            pred = out.argmax(dim=1) if out.ndim == image.ndim else out
            target = labels_of(batch, mask_key=mask_key, ignore_index=ignore_index)
            matrix += confusion(pred, target.to(pred.device), num_classes, ignore_index).cpu()
    return scores(matrix)


@contextmanager
def evaluating(predictor: object) -> Iterator[torch.device | None]:
    """Put a module in evaluation mode for a while, and say where its parameters are."""
    if not isinstance(predictor, nn.Module):
        yield None
        return
    # One by one, since some modules may be in evaluation mode on purpose, such as frozen norms.
    training = [(module, module.training) for module in predictor.modules()]
    predictor.eval()
    try:
        yield next((p.device for p in predictor.parameters()), None)
    finally:
        for module, flag in training:
            module.training = flag


def _number(value: float) -> float | None:
    return None if value != value else value

"""What a network has to beat: the most frequent class, and a linear classifier of single pixels.

Both are values that are called like a task, ``baseline(image, valid)``, so that
:func:`geoxr.metrics.evaluate` serves all three. They run on the device of the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from geoxr.errors import ArgumentError
from geoxr.metrics import check_classes, labels_of
from geoxr.transforms.normalize import Stats, stats_of_batches


@dataclass(frozen=True)
class MajorityBaseline:
    """Says the same class everywhere.

    Parameters
    ----------
    index : int
        That class.
    counts : tuple of int [pixel]
        Labelled pixels of each class that it was chosen by.
    """

    index: int
    counts: tuple[int, ...]

    @classmethod
    def fit(
        cls,
        batches: Iterable[Mapping[str, Tensor]],
        num_classes: int,
        *,
        ignore_index: int = -100,
        mask_key: str = "mask",
    ) -> MajorityBaseline:
        """Choose the class that most valid pixels of the batches have; the first of equals.

        Raises
        ------
        ArgumentError
            If no pixel has a label.
        ClassesError
            If a label is outside 0..K-1.
        """
        counts = torch.zeros(num_classes, dtype=torch.int64)
        for batch in batches:
            labels = labels_of(batch, mask_key=mask_key, ignore_index=ignore_index)
            labels = labels[labels != ignore_index]
            check_classes(labels, num_classes, ignore_index)
            counts += torch.bincount(labels, minlength=num_classes).cpu()
        if not counts.any():
            raise _nothing_to_learn()
        return cls(int(counts.argmax()), tuple(counts.tolist()))

    def __call__(self, image: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return classes int64 (B, H, W) for an image (B, C, H, W)."""
        shape = (len(image), *image.shape[-2:])
        return torch.full(shape, self.index, dtype=torch.int64, device=image.device)


@dataclass(frozen=True, eq=False)  # tensors have no single ==
class LinearPixelBaseline:
    """Multinomial logistic regression on the bands of one pixel: no texture, no context.

    Parameters
    ----------
    weight : float64 (K, C)
        Of normalised bands.
    bias : float64 (K,)
    stats : Stats
        What bands are normalised with.
    """

    weight: Tensor
    bias: Tensor
    stats: Stats

    @classmethod
    def fit(
        cls,
        batches: Iterable[Mapping[str, Tensor]],
        num_classes: int,
        *,
        max_pixels: int = 200_000,
        seed: int = 0,
        l2: float = 1.0,
        ignore_index: int = -100,
        image_key: str = "image",
        mask_key: str = "mask",
    ) -> LinearPixelBaseline:
        """Fit to a random sample of the valid pixels of all batches, in one pass over them.

        Minimises the summed cross entropy + ``l2 / 2`` x the squared weights (not the bias), with
        L-BFGS in float64: scikit-learn's LogisticRegression with C = 1 / l2, on the sample
        normalised with its own mean and standard deviation.

        Parameters
        ----------
        batches : iterable of mapping
            As loaders give them.
        num_classes : int
            How many classes there are, K.
        max_pixels : int [pixel]
            Size of the sample; every valid pixel is as likely to be in it.
        seed : int
            Of the sample.
        l2 : float
            Strength of the penalty.
        ignore_index : int
            Label of pixels that are left out, as are those where ``valid`` is False.
        image_key, mask_key : str
            Names in the batch.

        Raises
        ------
        ArgumentError
            If no pixel has a label, or an image pixel that is marked valid is NaN or infinite.
        ClassesError
            If a label is outside 0..K-1.
        """
        pixels = _pixels(batches, ignore_index, image_key, mask_key)
        bands, labels = _sample(pixels, max_pixels, seed)
        check_classes(labels, num_classes, ignore_index)
        stats = stats_of_batches([{"image": bands.T[None, :, :, None]}])
        features = (bands.double() - torch.tensor(stats.mean).double()) / torch.tensor(stats.std)
        weight, bias = _logistic_regression(features, labels, num_classes, l2)
        return cls(weight, bias, stats)

    def __call__(self, image: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return logits (B, K, H, W) for an image (B, C, H, W) of the same bands.

        Raises
        ------
        ArgumentError
            If the image has another number of bands.
        """
        if image.shape[1] != len(self.stats.mean):
            raise ArgumentError(
                f"The image has {image.shape[1]} bands, but the baseline was fitted to "
                f"{len(self.stats.mean)}."
            )
        mean, std = (image.new_tensor(x)[:, None, None] for x in (self.stats.mean, self.stats.std))
        logits = torch.einsum("kc,bchw->bkhw", self.weight.to(image), (image - mean) / std)
        return logits + self.bias.to(image)[:, None, None]


def _pixels(
    batches: Iterable[Mapping[str, Tensor]], ignore_index: int, image_key: str, mask_key: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Bands (n, C) and labels (n,) of the pixels of each batch that are labelled and valid."""
    for batch in batches:
        labels = labels_of(batch, mask_key=mask_key, ignore_index=ignore_index)
        keep = labels != ignore_index
        yield batch[image_key].detach().movedim(1, -1)[keep].cpu(), labels[keep].cpu()


def _sample(pixels: Iterable[tuple[Tensor, Tensor]], size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw pixels without replacement from a stream: those with the smallest random keys."""
    generator = torch.Generator().manual_seed(seed)
    keys = torch.empty(0, dtype=torch.float64)
    bands, labels = torch.empty(0), torch.empty(0)
    for new_bands, new_labels in pixels:
        new = torch.rand(len(new_labels), generator=generator, dtype=torch.float64)
        keys = torch.cat([keys, new])
        bands = torch.cat([bands, new_bands]) if len(bands) else new_bands
        labels = torch.cat([labels, new_labels]) if len(labels) else new_labels
        smallest = keys.argsort()[:size]
        keys, bands, labels = keys[smallest], bands[smallest], labels[smallest]
    if not len(labels):
        raise _nothing_to_learn()
    return bands, labels


def _logistic_regression(
    features: Tensor, labels: Tensor, num_classes: int, l2: float
) -> tuple[Tensor, Tensor]:
    """Weight (K, C) and bias (K,) that minimise the penalised cross entropy; convex, so from 0.

    Bands are alike, which makes descent slow, so it runs on uncorrelated mixtures of them: the
    curvature is then nearly the same along all.
    """
    number = len(labels)
    spread, axes = torch.linalg.eigh(features.T @ features / number)
    spread = spread.clamp(min=0) + l2 / number
    mixture = axes / spread.clamp(min=1e-12 * float(spread.max())).sqrt()
    mixed = features @ mixture
    weight = features.new_zeros(num_classes, features.shape[1], requires_grad=True)
    bias = features.new_zeros(num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=500,
        tolerance_grad=1e-8,
        tolerance_change=1e-12,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        penalty = 0.5 * l2 * (weight @ mixture.T).square().sum() / number
        loss = functional.cross_entropy(torch.addmm(bias, mixed, weight.T), labels) + penalty
        loss.backward()
        return loss

    optimizer.step(closure)
    return (weight @ mixture.T).detach(), bias.detach()


def _nothing_to_learn() -> ArgumentError:
    return ArgumentError(
        "No pixel of the batches is valid and has a label, so there is nothing to fit a baseline "
        "to. Draw other chips, or chips with min_valid above 0."
    )

"""Semantic segmentation: a class for every pixel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from geoxr._torchvision import heal

heal()  # before lightning and torchmetrics, which import torchvision

import lightning as L  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torchmetrics import Metric  # noqa: E402
from torchmetrics.classification import MulticlassConfusionMatrix  # noqa: E402

from geoxr.errors import ArgumentError  # noqa: E402
from geoxr.grid.classes import Classes  # noqa: E402
from geoxr.losses import create_loss  # noqa: E402
from geoxr.metrics import check_classes, labels_of, scores  # noqa: E402
from geoxr.models import create_model  # noqa: E402
from geoxr.transforms import Normalize, Stats, valid_of  # noqa: E402

Batch = Mapping[str, Tensor]


class SemanticSegmentationTask(L.LightningModule):
    """Train, score and apply a model that gives every pixel a class.

    Batches are mappings as loaders give them: `image_key` float (B, C, H, W), `mask_key` int64
    (B, H, W) with 0..K-1 or `ignore_index`, and, where pixels can be invalid, ``valid`` and
    ``valid_<image_key>`` bool (B, H, W). Pixels that are invalid in any variable, or whose label is
    `ignore_index`, count neither for the loss nor for a score. What an invalid image pixel holds is
    never seen: it is 0 after normalisation.

    Logged: ``train_loss``; ``val_loss``, ``val_accuracy``, ``val_mean_iou`` and ``val_iou_<class>``
    of each class that occurs; the same with ``test_``. Scores are of the whole epoch (one confusion
    matrix, summed over batches and ranks), and the losses of batches count by their pixels.

    Parameters
    ----------
    model : str or Module
        A name from :func:`geoxr.models.list_models`, or a module that takes (B, C, H, W) and
        returns logits (B, K, H, W).
    backbone, decoder_channels
        As in :func:`geoxr.models.create_model`; only for a model by name.
    in_channels : int
        Bands of the image.
    classes : Classes, mapping from code to name, or list of names, optional
        Of the labels, in the order in which labels count them.
    num_classes : int, optional
        Where there are no names.
    loss : {"ce", "focal", "dice", "ce+dice"}
        As in :func:`geoxr.losses.create_loss`.
    class_weights : sequence of float, optional
        One per class, for the loss.
    lr : float
        Highest learning rate of AdamW: it rises and falls once over the training (OneCycleLR), or
        is constant where nobody knows how long the training will be.
    weight_decay : float
        Of AdamW.
    ignore_index : int
        Label of pixels that are left out.
    normalize : Stats, optional
        Applied inside `forward`, so that prediction needs nothing else. None changes nothing.
    freeze_backbone : bool
        Train the decoder and the head only.
    image_key, mask_key : str
        Names in the batch.

    Raises
    ------
    ArgumentError
        If an argument makes no sense, or two don't agree.
    ClassesError
        From the hooks of Lightning, if a batch has labels that are none of the classes.

    References
    ----------
    AdamW: Loshchilov and Hutter 2019, arXiv:1711.05101. One cycle: Smith and Topin 2018,
    arXiv:1708.07120.

    Examples
    --------
    >>> task = SemanticSegmentationTask(
    ...     "unet", backbone="resnet10t", in_channels=7, classes=["field", "road"]
    ... )
    >>> task(torch.zeros(2, 7, 40, 50)).shape
    torch.Size([2, 2, 40, 50])
    """

    def __init__(
        self,
        model: str | nn.Module = "unet",
        *,
        backbone: str | None = "resnet18",
        in_channels: int,
        classes: Classes | Mapping[Any, Any] | Sequence[str] | None = None,
        num_classes: int | None = None,
        loss: str = "ce",
        class_weights: Sequence[float] | None = None,
        lr: float = 1e-3,
        weight_decay: float = 1e-2,
        ignore_index: int = -100,
        normalize: Stats | Mapping[str, Any] | None = None,
        decoder_channels: int | Sequence[int] | None = None,
        freeze_backbone: bool = False,
        image_key: str = "image",
        mask_key: str = "mask",
    ) -> None:
        super().__init__()
        self.classes = _as_classes(classes, num_classes)
        stats = _as_stats(normalize, in_channels)
        class_weights = None if class_weights is None else [float(w) for w in class_weights]
        if isinstance(decoder_channels, Sequence):
            decoder_channels = [int(channels) for channels in decoder_channels]
        # Plain types only, so that torch.load(weights_only=True) reads the checkpoint.
        self.save_hyperparameters(
            {
                "model": model if isinstance(model, str) else None,
                "backbone": backbone,
                "in_channels": int(in_channels),
                "classes": _classes_to_dict(self.classes),
                "loss": loss,
                "class_weights": class_weights,
                "lr": float(lr),
                "weight_decay": float(weight_decay),
                "ignore_index": int(ignore_index),
                "normalize": stats.to_dict(),
                "decoder_channels": decoder_channels,
                "freeze_backbone": bool(freeze_backbone),
                "image_key": image_key,
                "mask_key": mask_key,
            }
        )
        self.in_channels = int(in_channels)
        self.num_classes = len(self.classes)
        self.ignore_index = int(ignore_index)
        self.image_key, self.mask_key = image_key, mask_key
        self.normalize = Normalize(stats)
        if isinstance(model, str):
            model = create_model(
                model,
                in_channels=self.in_channels,
                num_classes=self.num_classes,
                backbone=backbone,
                decoder_channels=decoder_channels,
            )
        self.model = _check_module(model)
        if freeze_backbone:
            _freeze_backbone(self.model)
        self.loss = create_loss(
            loss,
            num_classes=self.num_classes,
            ignore_index=self.ignore_index,
            class_weights=class_weights,
        )
        self.val_confusion = self._new_confusion()
        self.test_confusion = self._new_confusion()

    def forward(self, image: Tensor, valid: Tensor | None = None) -> Tensor:
        """Map an image as the loader gives it to logits.

        Parameters
        ----------
        image : float (B, C, H, W)
            In its own units; normalised here.
        valid : bool (B, H, W), optional
            Where the image is valid.

        Returns
        -------
        float (B, K, H, W)

        Raises
        ------
        ArgumentError
            If the image has not `in_channels` bands, or a model of your own returns another shape.
        """
        logits = self.model(self.normalize(image, valid))
        expected = (len(image), self.num_classes, *image.shape[-2:])
        if tuple(logits.shape) != expected:
            raise ArgumentError(
                f"The model returned shape {tuple(logits.shape)}, but logits (B, K, H, W) = "
                f"{expected} are expected for {self.num_classes} classes."
            )
        return logits

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Check names and labels before anything is copied or computed."""
        predicting = self._trainer is not None and self.trainer.predicting
        needed = [self.image_key] if predicting else [self.image_key, self.mask_key]
        missing = [key for key in needed if not isinstance(batch, Mapping) or key not in batch]
        if missing:
            found = sorted(map(str, batch)) if isinstance(batch, Mapping) else type(batch).__name__
            raise ArgumentError(
                f"A batch has no {' and no '.join(map(repr, missing))}, only {found}. Rename the "
                "variable of the Dataset, or give the task image_key= and mask_key=."
            )
        if not predicting:
            what = f"Labels in {self.mask_key!r}"
            check_classes(batch[self.mask_key], self.num_classes, self.ignore_index, what)
        return batch

    def on_fit_start(self) -> None:
        """Train a task that was loaded: load_task returns it in evaluation mode."""
        if not self.training:
            self.train()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss = self.loss(self._logits(batch), self._labels(batch))
        size = len(batch[self.image_key])
        self.log("train_loss", loss, on_step=False, on_epoch=True, sync_dist=True, batch_size=size)
        self.log("loss", loss.detach(), prog_bar=True, logger=False, batch_size=size)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count a batch for the scores of the epoch."""
        self._score(batch, "val", self.val_confusion)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count a batch for the scores of the epoch."""
        self._score(batch, "test", self.test_confusion)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return class probabilities, float (B, K, H, W)."""
        return self._logits(batch).softmax(dim=1)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the epoch."""
        self._log_scores("val", self.val_confusion)

    def on_test_epoch_end(self) -> None:
        """Log the scores of the epoch."""
        self._log_scores("test", self.test_confusion)

    def configure_optimizers(self) -> Any:
        """Return AdamW, and a one-cycle schedule if the number of steps is known."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        lr, weight_decay = self.hparams["lr"], self.hparams["weight_decay"]
        optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=weight_decay)
        steps = -1 if self._trainer is None else self.trainer.estimated_stepping_batches
        if not isfinite(steps) or steps < 1:
            return optimizer
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=int(steps))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note which task this is, for load_task."""
        checkpoint["geoxr_task"] = type(self).__name__

    def _new_confusion(self) -> Metric:
        return MulticlassConfusionMatrix(
            self.num_classes, ignore_index=self.ignore_index, validate_args=False
        )

    def _logits(self, batch: Batch) -> Tensor:
        return self(batch[self.image_key], valid_of(batch, self.image_key))

    def _labels(self, batch: Batch) -> Tensor:
        return labels_of(batch, mask_key=self.mask_key, ignore_index=self.ignore_index)

    def _score(self, batch: Batch, stage: str, confusion: Metric) -> None:
        logits, labels = self._logits(batch), self._labels(batch)
        confusion.update(logits.argmax(dim=1), labels)
        pixels = int((labels != self.ignore_index).sum())
        loss = self.loss(logits, labels)
        self.log(f"{stage}_loss", loss, sync_dist=True, prog_bar=True, batch_size=max(pixels, 1))

    def _log_scores(self, stage: str, confusion: Metric) -> None:
        result = scores(confusion.compute())
        confusion.reset()
        values = {"accuracy": result.accuracy, "mean_iou": result.mean_iou}
        for name, iou in zip(_log_names(self.classes), result.iou, strict=True):
            if iou == iou:
                values[f"iou_{name}"] = iou
        for name, value in values.items():
            shown = name == "mean_iou"
            self.log(f"{stage}_{name}", value, prog_bar=shown, sync_dist=True)


def _as_classes(classes: Any, num_classes: int | None) -> Classes:
    """Classes of what people have, or of what a checkpoint has: a dict of the three tuples."""
    given = num_classes if classes is None else classes
    if given is None:
        raise ArgumentError(
            "Give the task classes= (for example label.geoxr.classes) or num_classes=."
        )
    if isinstance(given, Mapping) and "values" in given:
        given = Classes(**{key: tuple(value) for key, value in given.items()})
    classes = Classes.of(given)
    if num_classes is not None and num_classes != len(classes):
        raise ArgumentError(f"num_classes={num_classes}, but there are {len(classes)} classes.")
    if len(classes) < 2:
        raise ArgumentError(
            "Segmentation needs at least 2 classes. For one thing against the rest, make the rest "
            'a class: classes=["background", "building"].'
        )
    return classes


def _classes_to_dict(classes: Classes) -> dict[str, list[Any]]:
    return {
        "values": [int(value) for value in classes.values],
        "names": [str(name) for name in classes.names],
        "colors": list(classes.colors),
    }


def _as_stats(normalize: Stats | Mapping[str, Any] | None, in_channels: int) -> Stats:
    if isinstance(normalize, Mapping):
        normalize = Stats.from_dict(normalize)
    stats = normalize or Stats.identity(in_channels)
    if len(stats.mean) != in_channels:
        raise ArgumentError(
            f"normalize= has statistics of {len(stats.mean)} bands, but in_channels={in_channels}. "
            "Compute them on the same layer: gx.stats(ds, plan)."
        )
    return stats


def _check_module(model: Any) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise ArgumentError(
            f"model={model!r} is neither a name nor a torch.nn.Module. If this comes from a "
            "checkpoint, its task was made with a module of your own, which no checkpoint holds: "
            "gx.load_task(path, model=module)."
        )
    return model


def _freeze_backbone(model: nn.Module) -> None:
    freeze = getattr(model, "freeze_encoder", None)
    if freeze is None:
        raise ArgumentError(
            f"freeze_backbone=True, but {type(model).__name__} has no freeze_encoder(). "
            "Freeze the parameters of your own module yourself: parameter.requires_grad = False."
        )
    freeze()


def _log_names(classes: Classes) -> list[str]:
    """Names of classes that loggers and file names can take; numbered where not unique."""
    names = ["".join(c if c.isalnum() else "_" for c in name.lower()) for name in classes.names]
    many = Counter(names)
    return [f"{name}_{i}" if many[name] > 1 else name for i, name in enumerate(names)]

"""Training, scoring and prediction of the demo; torch starts here."""

from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path
from typing import Any

from geoxr._torchvision import heal

heal()  # before lightning, which imports torchvision

import lightning as L  # noqa: E402
import torch  # noqa: E402
import xarray as xr  # noqa: E402

from geoxr.demo.inputs import Layers  # noqa: E402
from geoxr.demo.plan import Plans, loader, shifted  # noqa: E402
from geoxr.demo.settings import Settings  # noqa: E402
from geoxr.errors import ClassesError  # noqa: E402
from geoxr.export.cog import to_cog  # noqa: E402
from geoxr.export.zarr import to_zarr  # noqa: E402
from geoxr.grid.classes import Classes  # noqa: E402
from geoxr.grid.meaning import classes_of  # noqa: E402
from geoxr.metrics import evaluate  # noqa: E402
from geoxr.predict.run import predict  # noqa: E402
from geoxr.tasks import SemanticSegmentationTask  # noqa: E402
from geoxr.tasks.baselines import LinearPixelBaseline, MajorityBaseline  # noqa: E402
from geoxr.transforms.normalize import Stats, stats_of_batches  # noqa: E402

#: Context around every predicted square, and its edge [pixel].
HALO, SQUARE = 32, 256


def statistics(layers: Layers, plans: Plans, settings: Settings) -> tuple[Stats, float]:
    """Statistics of the bands over one epoch of chips, and how many chips a second were read."""
    batches = loader(layers.ds, plans.train, layers, settings.batch_size)
    start = time.perf_counter()
    stats = stats_of_batches(batches, key="image")
    return stats, len(plans.train) / (time.perf_counter() - start)


def train(
    layers: Layers, plans: Plans, stats: Stats, settings: Settings
) -> SemanticSegmentationTask:
    """Fit a U-Net with Lightning; fresh chips in every epoch."""
    L.seed_everything(settings.seed, verbose=False)
    task = SemanticSegmentationTask(
        "unet",
        backbone=settings.backbone,
        decoder_channels=settings.decoder_channels,
        in_channels=layers.channels,
        classes=_classes(layers),
        lr=settings.lr,
        normalize=stats,
    )
    # Lightning sets its own level when it is imported; which devices there are is no news here.
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    # On a CPU convolutions are faster with the channels last.
    task.to(memory_format=torch.channels_last)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice of Lightning about workers and logging
        trainer = L.Trainer(
            max_epochs=settings.epochs,
            accelerator="auto",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=settings.progress,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )
        trainer.fit(task, loader(layers.ds, plans.train, layers, settings.batch_size))
    return task


def _classes(layers: Layers) -> Classes:
    classes = classes_of(layers.ds["mask"])
    assert classes is not None
    return classes


def score(layers: Layers, plans: Plans, task: Any, settings: Settings) -> dict[str, Any]:
    """Score model and baselines on the validation chips, and the model against shifted labels.

    Raises
    ------
    ClassesError
        If no validation pixel has a label.
    """
    classes = _classes(layers)
    number = len(classes)
    seen = loader(layers.ds, plans.train, layers, settings.batch_size)
    unseen = loader(layers.ds, plans.validation, layers, settings.batch_size)
    predictors = {
        "model": task,
        "per-pixel linear": LinearPixelBaseline.fit(seen, number, seed=settings.seed),
        "majority class": MajorityBaseline.fit(seen, number),
    }
    scores = {name: evaluate(one, unseen, number) for name, one in predictors.items()}
    if not any(scores["model"].support):
        raise ClassesError("No validation chip has a valid label, so there is nothing to score.")
    moved = loader(shifted(layers.ds, 1), plans.validation, layers, settings.batch_size)
    control = evaluate(task, moved, number)
    return {
        "classes": dict(zip(map(str, classes.values), classes.names, strict=True)),
        "scores": {name: value.to_dict(classes.names) for name, value in scores.items()},
        "negative_control": {
            "what": "the model against labels shifted by one pixel along both axes",
            **control.to_dict(classes.names),
        },
    }


def predicted(ds: xr.Dataset, layers: Layers, task: Any, settings: Settings) -> xr.Dataset:
    """Return a Dataset with the prediction for all of it as another layer."""
    pred = predict(
        ds, task, size=SQUARE, halo=HALO, batch_size=4, concat=layers.concat,
        progress=settings.progress,
    )  # fmt: skip
    return ds.assign(prediction=pred["mask"])


def write(ds: xr.Dataset, work: Path, tail: str) -> None:
    """Write the aligned layers and the map."""
    to_cog(ds["prediction"], work / f"prediction{tail}.tif")
    to_zarr(ds.drop_vars("prediction"), work / f"cube{tail}.zarr", shards=1024)

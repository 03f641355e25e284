"""The task learns, ignores what is invalid, and comes back from a checkpoint as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from geoxr._torchvision import heal

heal()

import lightning as L  # noqa: E402

from geoxr.errors import ArgumentError, ClassesError, MissingFileError  # noqa: E402
from geoxr.grid.classes import Classes  # noqa: E402
from geoxr.losses import LOSSES, create_loss  # noqa: E402
from geoxr.metrics import evaluate  # noqa: E402
from geoxr.tasks import (  # noqa: E402
    LinearPixelBaseline,
    MajorityBaseline,
    SemanticSegmentationTask,
    load_task,
)
from geoxr.transforms import Stats, stats_of_batches  # noqa: E402

Batch = dict[str, Tensor]
NAMES = ["bare soil", "stripes along x", "stripes along y"]
TINY: dict[str, Any] = {"backbone": "resnet10t", "decoder_channels": (16, 8, 8)}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """OpenMP threads that wait for each other are 100 times slower on a machine that is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Batches:
    """A loader; in a list of batches Lightning sees many loaders of one tensor each."""

    def __init__(self, *batches: Any) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def make_task(model: Any = "unet", **options: Any) -> SemanticSegmentationTask:
    torch.manual_seed(0)
    if "classes" not in options and "num_classes" not in options:
        options["classes"] = NAMES
    return SemanticSegmentationTask(model, **{**TINY, "in_channels": 2, **options})


def textured_batch(seed: int, n: int = 8, size: int = 32) -> Batch:
    """Fields whose class is in the direction of their stripes: every class has the same pixels."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, 3, (n, 2, 2), generator=generator)
    mask = mask.repeat_interleave(size // 2, 1).repeat_interleave(size // 2, 2)
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    checks, along_x, along_y = (x + y) % 2, (y // 2) % 2, (x // 2) % 2
    pattern = torch.stack([checks, along_x, along_y])[mask, y, x].float()
    image = 1000 + 200 * torch.stack([pattern, 1 - pattern], dim=1)
    image += 40 * torch.randn(image.shape, generator=generator)
    valid_image = torch.rand(n, size, size, generator=generator) < 0.95
    valid_mask = torch.rand(n, size, size, generator=generator) < 0.95
    return {
        "image": image * valid_image[:, None],
        "mask": mask.where(valid_mask, -100),
        "valid": valid_image & valid_mask,
        "valid_image": valid_image,
        "valid_mask": valid_mask,
        "bounds": torch.zeros(n, 4, dtype=torch.float64),
        "index": torch.arange(n),
    }


def make_trainer(path: Path, **options: Any) -> L.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return L.Trainer(
        accelerator="cpu",
        default_root_dir=path,
        log_every_n_steps=1,
        **{**quiet, "enable_checkpointing": False, **options},
    )


def gradients(task: SemanticSegmentationTask, batch: Batch) -> tuple[float, list[Tensor]]:
    task.zero_grad()
    loss = task.loss(task._logits(batch), task._labels(batch))
    loss.backward()
    return float(loss.detach()), [p.grad.clone() for p in task.parameters() if p.grad is not None]


# Losses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 3.0]])
def test_ce_equals_torch(weights: list[float] | None) -> None:
    logits, target = torch.randn(2, 3, 8, 8), textured_batch(0, 2, 8)["mask"]
    ours = create_loss("ce", num_classes=3, class_weights=weights)(logits, target)
    weight = None if weights is None else torch.tensor(weights)
    torch.testing.assert_close(ours, functional.cross_entropy(logits, target, weight=weight))


def test_focal_equals_its_formula() -> None:
    logits, target = torch.randn(2, 3, 8, 8), textured_batch(0, 2, 8)["mask"]
    ours = create_loss("focal", num_classes=3)(logits, target)
    probabilities = logits.double().softmax(1).numpy()
    keep = target.numpy() != -100
    p = np.moveaxis(probabilities, 1, -1)[keep][np.arange(keep.sum()), target.numpy()[keep]]
    assert float(ours) == pytest.approx(np.mean(-((1 - p) ** 2) * np.log(p)), rel=1e-5)


def test_dice_equals_its_formula() -> None:
    logits, target = torch.randn(2, 3, 8, 8), textured_batch(0, 2, 8)["mask"]
    ours = create_loss("dice", num_classes=3)(logits, target)
    keep = target.numpy() != -100
    p = np.moveaxis(logits.double().softmax(1).numpy(), 1, -1)[keep]
    t = np.eye(3)[target.numpy()[keep]]
    # |p - t| summed over pixels is the form that segmentation_models_pytorch 0.5 and later use.
    both = (p.sum(0) + t.sum(0) - np.abs(p - t).sum(0)) / 2
    expected = 1 - 2 * both / (p.sum(0) + t.sum(0))
    assert float(ours) == pytest.approx(expected.mean(), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 3.0]])
def test_a_batch_without_labels_has_loss_zero_and_gradient_zero(
    name: str, weights: list[float] | None
) -> None:
    batch = textured_batch(0)
    batch["valid"] = torch.zeros_like(batch["valid"])
    loss, grads = gradients(make_task(loss=name, class_weights=weights), batch)
    assert loss == 0.0
    assert grads
    assert all((grad == 0).all() for grad in grads)


@pytest.mark.parametrize("name", LOSSES)
def test_what_invalid_pixels_hold_changes_no_gradient(name: str) -> None:
    batch = textured_batch(0)
    task = make_task(loss=name, normalize=stats_of_batches([batch]))
    expected = gradients(task, batch)
    image = batch["image"].masked_fill(~batch["valid_image"][:, None], float("nan"))
    mask = batch["mask"].where(batch["valid_image"], 2).where(batch["valid"], 1)
    loss, grads = gradients(task, {**batch, "image": image, "mask": mask})
    assert loss == expected[0]
    assert all(torch.equal(*pair) for pair in zip(grads, expected[1], strict=True))
    changed = {**batch, "mask": (batch["mask"] + 1).clamp(0, 2)}
    assert gradients(task, changed)[0] != expected[0], "labels that count do count"


def test_pixels_without_a_label_are_still_context() -> None:
    batch, task = textured_batch(0), make_task().eval()
    brighter = batch["image"] + 500 * (batch["valid_image"] & ~batch["valid_mask"])[:, None]
    assert not torch.equal(task._logits(batch), task._logits({**batch, "image": brighter}))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"name": "lovász"}, "no loss 'lovász'. All names: ce, focal, dice"),
        ({"class_weights": [1.0]}, "1 class_weights for 3 classes"),
        ({"class_weights": [1.0, -1.0, 1.0]}, "0 or more"),
        ({"class_weights": [0.0, 0.0, 0.0]}, "one above 0"),
    ],
)
def test_losses_that_cannot_be_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        create_loss(**{"name": "ce", "num_classes": 3, **options})


# Training ------------------------------------------------------------------------------------


def test_unet_learns_what_no_single_pixel_shows(tmp_path: Path) -> None:
    train = Batches(*(textured_batch(i) for i in range(6)))
    val = Batches(*(textured_batch(100 + i) for i in range(2)))
    task = make_task(normalize=stats_of_batches(train), lr=1e-2)
    before = evaluate(task, val, 3)
    trainer = make_trainer(tmp_path, max_epochs=6)
    trainer.fit(task, train, val)
    after = evaluate(task, val, 3)
    linear = evaluate(LinearPixelBaseline.fit(train, 3), val, 3)
    majority = evaluate(MajorityBaseline.fit(train, 3), val, 3)
    assert after.accuracy > max(before.accuracy, linear.accuracy, majority.accuracy) + 0.3
    # What Lightning logged of the last epoch is what evaluate says.
    logged = trainer.callback_metrics
    assert float(logged["val_accuracy"]) == pytest.approx(after.accuracy, abs=1e-6)
    assert float(logged["val_mean_iou"]) == pytest.approx(after.mean_iou, abs=1e-6)
    ious = [float(logged["val_iou_" + name.replace(" ", "_")]) for name in NAMES]
    assert ious == pytest.approx(after.iou, abs=1e-6)
    assert float(logged["train_loss"]) < np.log(3) / 2
    (result,) = trainer.test(task, val, verbose=False)
    assert result["test_mean_iou"] == pytest.approx(after.mean_iou, abs=1e-6)
    probabilities: Any = trainer.predict(task, val)
    torch.testing.assert_close(probabilities[0].sum(1), torch.ones(8, 32, 32))


def test_scores_and_loss_of_an_epoch_do_not_depend_on_its_batches(tmp_path: Path) -> None:
    whole = textured_batch(0)
    whole["valid"][0] = False
    pieces = [{k: v[i:j] for k, v in whole.items()} for i, j in [(0, 1), (1, 3), (3, 8)]]
    task, trainer = make_task(), make_trainer(tmp_path)
    (one,) = trainer.validate(task, Batches(whole), verbose=False)
    (many,) = trainer.validate(task, Batches(*pieces), verbose=False)
    # The batch without a label counts as one pixel.
    assert many == pytest.approx(one, rel=1e-3)
    (again,) = trainer.validate(task, Batches(*pieces), verbose=False)
    assert again == many, "an epoch starts from nothing"


def test_learning_rate_rises_and_falls_over_the_whole_training(tmp_path: Path) -> None:
    rates = []

    class Note(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    batches = Batches(*[textured_batch(0, 2)] * 5)
    task = make_task(lr=0.01)
    make_trainer(tmp_path, max_epochs=4, callbacks=[Note()]).fit(task, batches, batches)
    assert len(rates) == 20
    assert max(rates) == pytest.approx(0.01, rel=0.02)
    assert rates[0] == pytest.approx(0.01 / 25)
    assert rates[-1] < 1e-4


def test_learning_rate_is_constant_where_the_end_is_unknown() -> None:
    optimizer = make_task(lr=0.5, weight_decay=0.25).configure_optimizers()
    assert isinstance(optimizer, torch.optim.AdamW)
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.5, 0.25)


def test_a_frozen_backbone_is_not_trained() -> None:
    task = make_task(freeze_backbone=True).train()
    encoder = [p for n, p in task.named_parameters() if ".encoder." in n]
    _, grads = gradients(task, textured_batch(0, 2))
    assert encoder
    assert all(p.grad is None for p in encoder)
    assert len(grads) == len(list(task.parameters())) - len(encoder)
    trained = task.configure_optimizers().param_groups[0]["params"]
    assert len(trained) == len(grads)
    norms = [
        m for n, m in task.named_modules() if ".encoder." in n and "BatchNorm" in repr(type(m))
    ]
    assert norms
    assert not any(norm.training for norm in norms)


# Bad batches ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_labels_outside_the_classes_are_named(tmp_path: Path, stage: str) -> None:
    batch = textured_batch(0, 2)
    batch["mask"][0, 0, :2] = torch.tensor([255, 3])
    run = getattr(make_trainer(tmp_path, max_epochs=1, limit_val_batches=1), stage)
    match = r"Labels in 'mask' hold 3, 255, but with 3 classes they must be 0..2, or -100"
    loaders = [Batches(batch)] * (2 if stage == "fit" else 1)
    with pytest.raises(ClassesError, match=match):
        run(make_task(), *loaders)


def test_a_batch_without_the_variables_says_what_it_has(tmp_path: Path) -> None:
    batch = textured_batch(0, 2)
    trainer = make_trainer(tmp_path, max_epochs=1)
    with pytest.raises(ArgumentError, match=r"no 'label', only \['bounds', 'image'.*mask_key="):
        trainer.validate(make_task(mask_key="label"), Batches(batch))
    with pytest.raises(ArgumentError, match="no 'image' and no 'mask', only list"):
        trainer.validate(make_task(), Batches(list(batch.values())))
    without_labels = {key: batch[key] for key in ("image", "valid_image")}
    assert trainer.predict(make_task(), Batches(without_labels))


def test_an_image_of_other_bands_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"shape \(1, 3, 32, 32\), but \(B, 2, H, W\)"):
        make_task()(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_classes": None}, "classes=.*or num_classes="),
        ({"classes": NAMES, "num_classes": 4}, "num_classes=4, but there are 3 classes"),
        ({"num_classes": 1}, "at least 2 classes"),
        ({"normalize": Stats.identity(5)}, "statistics of 5 bands, but in_channels=2"),
        ({"model": 3}, "neither a name nor a torch.nn.Module"),
        ({"model": "unett"}, "Did you mean 'unet'"),
        ({"model": nn.Conv2d(2, 3, 1), "freeze_backbone": True}, "has no freeze_encoder"),
    ],
)
def test_arguments_that_do_not_agree_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        make_task(**options)


def test_a_module_of_another_shape_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"shape \(1, 4, 8, 8\).*\(1, 3, 8, 8\) are expected"):
        make_task(nn.Conv2d(2, 4, 1))(torch.zeros(1, 2, 8, 8))


# Classes and checkpoints ---------------------------------------------------------------------


def test_classes_come_in_many_forms() -> None:
    classes = Classes.of({5: "Corn", 24: "Winter Wheat"})
    assert make_task(classes=classes).classes == classes
    assert make_task(classes={5: "Corn", 24: "Winter Wheat"}).classes == classes
    assert make_task(classes=["a", "b"]).classes.values == (0, 1)
    task = make_task(num_classes=4)
    assert (task.num_classes, task.ignore_index, task.in_channels) == (4, -100, 2)
    assert task.classes.names == ("0", "1", "2", "3")


@pytest.fixture
def trained(tmp_path: Path) -> tuple[SemanticSegmentationTask, Path]:
    batches = Batches(textured_batch(0))
    classes = Classes((1, 5, 24), ("Corn", "Soy", "Corn"), ("#ff0000", "#00ff00", "#0000ff"))
    task = make_task(
        classes=classes,
        normalize=stats_of_batches(batches),
        class_weights=np.array([1.0, 2.0, 0.5]),
        ignore_index=-100,
    )
    trainer = make_trainer(tmp_path, max_epochs=1)
    trainer.fit(task, batches, batches)
    assert {"val_iou_corn_0", "val_iou_soy", "val_iou_corn_2"} <= trainer.callback_metrics.keys()
    trainer.save_checkpoint(tmp_path / "checkpoint.ckpt")
    return task.eval(), tmp_path / "checkpoint.ckpt"


def test_checkpoint_gives_the_same_task(trained: tuple[SemanticSegmentationTask, Path]) -> None:
    task, path = trained
    for loaded in (load_task(path), SemanticSegmentationTask.load_from_checkpoint(path).eval()):
        assert type(loaded) is SemanticSegmentationTask
        assert not loaded.training
        assert (loaded.classes, loaded.num_classes) == (task.classes, 3)
        assert dict(loaded.hparams) == dict(task.hparams)
        stats = stats_of_batches([textured_batch(0)])
        assert Stats.from_dict(loaded.hparams["normalize"]) == stats
        image, valid = textured_batch(1)["image"], textured_batch(1)["valid_image"]
        assert torch.equal(loaded(image, valid), task(image, valid))
        batch = textured_batch(2)
        assert torch.equal(
            loaded.loss(loaded._logits(batch), batch["mask"]),
            task.loss(task._logits(batch), batch["mask"]),
        )


def test_a_loaded_task_can_be_trained_on(
    trained: tuple[SemanticSegmentationTask, Path], tmp_path: Path
) -> None:
    task = load_task(trained[1])
    before = {n: b.clone() for n, b in task.named_buffers() if "running_mean" in n}
    batches = Batches(textured_batch(3))
    make_trainer(tmp_path, max_epochs=1).fit(task, batches, batches)
    assert all(not torch.equal(b, before[n]) for n, b in task.named_buffers() if n in before)


def test_a_module_of_your_own_needs_to_be_given_again(tmp_path: Path) -> None:
    task = make_task(nn.Conv2d(2, 3, 3, padding=1)).eval()
    path = tmp_path / "own.ckpt"
    trainer = make_trainer(tmp_path)
    trainer.validate(task, Batches(textured_batch(0)), verbose=False)
    trainer.save_checkpoint(path)
    with pytest.raises(ArgumentError, match=r"gx.load_task\(path, model=module\)"):
        load_task(path)
    loaded = load_task(path, model=nn.Conv2d(2, 3, 3, padding=1))
    image = textured_batch(1)["image"]
    assert torch.equal(loaded(image), task(image))
    with pytest.raises(ArgumentError, match=r"do not fit the model.*size mismatch"):
        load_task(path, model=nn.Conv2d(2, 3, 5, padding=2))


def test_files_that_are_no_checkpoint_are_refused(
    trained: tuple[SemanticSegmentationTask, Path], tmp_path: Path
) -> None:
    with pytest.raises(MissingFileError, match=r"no checkpoint .*nowhere.ckpt"):
        load_task(tmp_path / "nowhere.ckpt")
    whole = trained[1].read_bytes()
    bad = tmp_path / "bad.ckpt"
    for content in (b"", b"text", whole[: len(whole) // 2], b"\x80\x02" + bytes(100)):
        bad.write_bytes(content)
        with pytest.raises(ArgumentError, match=r"is not a checkpoint \("):
            load_task(bad)
    with pytest.raises(ArgumentError, match="is not a checkpoint"):
        load_task(tmp_path)
    torch.save({"state_dict": {}}, bad)
    with pytest.raises(ArgumentError, match="not by a geoxr task"):
        load_task(bad)
    torch.save({"geoxr_task": "Mine", "hyper_parameters": {}, "state_dict": {}}, bad)
    with pytest.raises(ArgumentError, match="checkpoint of Mine"):
        load_task(bad)
    with pytest.raises(ArgumentError, match="its model by name: 'unet'"):
        load_task(trained[1], model=nn.Conv2d(2, 3, 1))

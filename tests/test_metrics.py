"""Scores against scikit-learn and torchmetrics."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from geoxr._torchvision import heal
from geoxr.errors import ArgumentError, ClassesError
from geoxr.metrics import confusion, evaluate, labels_of, scores


def make_pair(seed: int, shape: tuple[int, ...], k: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pred = torch.randint(0, k, shape, generator=generator)
    target = torch.randint(-1, k, shape, generator=generator)
    return pred, target.where(target >= 0, -100)


@pytest.mark.parametrize("k", [2, 5])
def test_confusion_equals_scikit_learn(k: int) -> None:
    pred, target = make_pair(k, (3, 20, 20), k)
    keep = target != -100
    expected = sk.confusion_matrix(target[keep], pred[keep], labels=range(k))
    assert np.array_equal(confusion(pred, target, k).numpy(), expected)


def test_scores_equal_scikit_learn_and_torchmetrics() -> None:
    heal()
    from torchmetrics.functional.classification import multiclass_jaccard_index

    pred, target = make_pair(1, (4, 30, 30), 4)
    keep = target != -100
    result = scores(confusion(pred, target, 4))
    assert result.accuracy == pytest.approx(sk.accuracy_score(target[keep], pred[keep]))
    iou = sk.jaccard_score(target[keep], pred[keep], average=None)
    np.testing.assert_allclose(result.iou, iou)
    judge = multiclass_jaccard_index(pred, target, 4, average="macro", ignore_index=-100)
    assert result.mean_iou == pytest.approx(float(judge), abs=1e-6)
    assert result.support == tuple(int((target == i).sum()) for i in range(4))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.integers(2, 6), st.integers(1, 7))
def test_pieces_add_up_to_the_whole(seed: int, k: int, cut: int) -> None:
    pred, target = make_pair(seed, (8, 5), k)
    pieces = confusion(pred[:cut], target[:cut], k) + confusion(pred[cut:], target[cut:], k)
    assert torch.equal(pieces, confusion(pred, target, k))


def test_a_class_that_is_nowhere_does_not_pull_the_mean() -> None:
    result = scores(torch.tensor([[4, 0, 0], [2, 2, 0], [0, 0, 0]]))
    assert result.iou[:2] == (4 / 6, 2 / 4)
    assert math.isnan(result.iou[2])
    assert result.mean_iou == pytest.approx((4 / 6 + 2 / 4) / 2)
    assert result.support == (4, 4, 0)


def test_a_class_only_in_the_prediction_counts_as_zero() -> None:
    assert scores(torch.tensor([[3, 1], [0, 0]])).iou == (0.75, 0.0)


def test_scores_of_nothing_are_nan_and_null_in_json() -> None:
    result = scores(torch.zeros(2, 2, dtype=torch.int64))
    assert math.isnan(result.accuracy)
    assert math.isnan(result.mean_iou)
    text = json.dumps(result.to_dict(["a", "b"]), allow_nan=False)
    assert json.loads(text) == {
        "accuracy": None,
        "mean_iou": None,
        "iou": {"a": None, "b": None},
        "support": {"a": 0, "b": 0},
    }
    with pytest.raises(ArgumentError, match="3 names for scores of 2 classes"):
        result.to_dict(["a", "b", "c"])


def test_bad_input_is_refused() -> None:
    zeros = torch.zeros(2, 3, dtype=torch.int64)
    with pytest.raises(ArgumentError, match=r"\(2, 3\), labels \(3, 2\)"):
        confusion(zeros, zeros.T, 2)
    with pytest.raises(ClassesError, match=r"Labels hold 2, 7, but with 2 classes"):
        confusion(zeros, torch.tensor([[0, 2, 7], [1, 1, -100]]), 2)
    with pytest.raises(ClassesError, match="Predictions hold -1"):
        confusion(zeros - 1, zeros, 2)
    assert confusion(zeros + 9, zeros - 100, 2).sum() == 0, "ignored pixels may hold anything"


def test_labels_are_ignored_wherever_anything_is_invalid() -> None:
    batch = {
        "mask": torch.tensor([[[0, 1, -100]]]),
        "valid": torch.tensor([[[True, False, False]]]),
    }
    assert labels_of(batch).tolist() == [[[0, -100, -100]]]
    assert labels_of(batch, ignore_index=-1).tolist() == [[[0, -1, -1]]]
    assert labels_of({"mask": batch["mask"]}).tolist() == [[[0, 1, -100]]]


@pytest.mark.parametrize("form", ["logits", "classes"])
def test_evaluate_sums_over_batches_and_skips_invalid_pixels(form: str) -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [
        {
            "image": torch.randn(n, 3, 6, 5, generator=generator),
            "mask": torch.randint(0, 3, (n, 6, 5), generator=generator),
            "valid": torch.rand(n, 6, 5, generator=generator) < 0.8,
        }
        for n in (2, 1, 3)
    ]

    def predictor(image: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
        assert valid is not None
        return image if form == "logits" else image.argmax(1)

    keep = torch.cat([b["valid"].flatten() for b in batches])
    target = torch.cat([b["mask"].flatten() for b in batches])[keep]
    pred = torch.cat([b["image"].argmax(1).flatten() for b in batches])[keep]
    result = evaluate(predictor, batches, 3)
    assert result.accuracy == pytest.approx(sk.accuracy_score(target, pred))
    np.testing.assert_allclose(result.iou, sk.jaccard_score(target, pred, average=None))


def test_evaluate_runs_modules_in_evaluation_mode_and_puts_them_back() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(2, 2, 1)

        def forward(self, image: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
            assert not self.training
            assert not torch.is_grad_enabled()
            return self.layer(image)

    net = Net()
    batch = {"image": torch.zeros(1, 2, 4, 4), "mask": torch.zeros(1, 4, 4, dtype=torch.int64)}
    evaluate(net, [batch], 2)
    assert net.training

"""Baselines against counting and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from geoxr.errors import ArgumentError, ClassesError
from geoxr.metrics import evaluate
from geoxr.tasks.baselines import LinearPixelBaseline, MajorityBaseline

Batches = list[dict[str, torch.Tensor]]


@pytest.fixture
def three_overlapping_clouds() -> Batches:
    """Pixels of three classes as overlapping clouds in band space, some invalid and then absurd."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[100.0, 0.1], [130.0, 0.4], [90.0, 0.5]])
    batches = []
    for n in (3, 5, 2):
        mask = torch.randint(0, 3, (n, 12, 10), generator=generator)
        mask[:, :3] = 1
        noise = torch.randn(n, 12, 10, 2, generator=generator) * torch.tensor([20.0, 0.15])
        image = (centres[mask] + noise).movedim(-1, 1).contiguous()
        valid = torch.rand(n, 12, 10, generator=generator) < 0.8
        image.movedim(1, -1)[~valid] = 1e9
        mask[~valid] = 0
        batches.append({"image": image, "mask": mask, "valid": valid})
    return batches


def pixels_of(batches: Batches) -> tuple[np.ndarray, np.ndarray]:
    features = [b["image"].movedim(1, -1)[b["valid"]] for b in batches]
    return torch.cat(features).numpy(), torch.cat([b["mask"][b["valid"]] for b in batches]).numpy()


def test_majority_is_the_most_frequent_valid_label(three_overlapping_clouds: Batches) -> None:
    baseline = MajorityBaseline.fit(three_overlapping_clouds, 3)
    _, labels = pixels_of(three_overlapping_clouds)
    assert baseline.counts == tuple(np.bincount(labels, minlength=3))
    assert baseline.index == 1
    out = baseline(three_overlapping_clouds[0]["image"])
    assert out.shape == (3, 12, 10)
    assert (out == 1).all()
    accuracy = evaluate(baseline, three_overlapping_clouds, 3).accuracy
    assert accuracy == pytest.approx((labels == 1).mean())


@pytest.mark.parametrize("l2", [1.0, 50.0])
def test_linear_baseline_equals_scikit_learn(three_overlapping_clouds: Batches, l2: float) -> None:
    baseline = LinearPixelBaseline.fit(three_overlapping_clouds, 3, l2=l2)
    features, labels = pixels_of(three_overlapping_clouds)
    features = features.astype("float64")
    mean, std = features.mean(0), features.std(0)
    np.testing.assert_allclose(baseline.stats.mean, mean, rtol=1e-10)
    judge = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=5000)
    judge.fit((features - mean) / std, labels)
    np.testing.assert_allclose(baseline.weight.numpy(), judge.coef_, atol=1e-5)
    # Adding one number to all biases changes nothing, so they are compared around their mean.
    centred = [b - b.mean() for b in (baseline.bias.numpy(), judge.intercept_)]
    np.testing.assert_allclose(centred[0], centred[1], atol=1e-5)
    image = three_overlapping_clouds[0]["image"]
    expected = judge.predict_proba(
        (image.movedim(1, -1).reshape(-1, 2).numpy().astype("float64") - mean) / std
    )
    probabilities = baseline(image).softmax(1).movedim(1, -1).reshape(-1, 3).numpy()
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)


def test_sample_is_of_the_size_asked_seeded_and_spread_over_batches(
    three_overlapping_clouds: Batches,
) -> None:
    def fit(seed: int) -> LinearPixelBaseline:
        return LinearPixelBaseline.fit(three_overlapping_clouds, 3, max_pixels=300, seed=seed)

    one, again, other = fit(1), fit(1), fit(2)
    assert one.stats.count == 300
    assert torch.equal(one.weight, again.weight)
    assert not torch.equal(one.weight, other.weight)
    whole = LinearPixelBaseline.fit(three_overlapping_clouds, 3)
    np.testing.assert_allclose(one.stats.mean, whole.stats.mean, rtol=0.1)


def test_sample_takes_pixels_of_early_and_late_batches_alike() -> None:
    batches = [
        {"image": torch.full((1, 1, 50, 50), float(i)), "mask": torch.full((1, 50, 50), i % 2)}
        for i in range(4)
    ]
    mean = LinearPixelBaseline.fit(batches, 2, max_pixels=2000).stats.mean[0]
    # The mean of 2000 draws of 0..3 has a standard deviation of 0.025.
    assert mean == pytest.approx(1.5, abs=0.1)


def test_linear_baseline_beats_majority(three_overlapping_clouds: Batches) -> None:
    linear = evaluate(
        LinearPixelBaseline.fit(three_overlapping_clouds, 3), three_overlapping_clouds, 3
    )
    majority = evaluate(
        MajorityBaseline.fit(three_overlapping_clouds, 3), three_overlapping_clouds, 3
    )
    assert linear.mean_iou > majority.mean_iou + 0.2


def test_a_class_without_pixels_is_never_predicted(three_overlapping_clouds: Batches) -> None:
    baseline = LinearPixelBaseline.fit(three_overlapping_clouds, 4)
    for batch in three_overlapping_clouds:
        assert (baseline(batch["image"]).argmax(1)[batch["valid"]] != 3).all()


def test_bad_input_is_refused(three_overlapping_clouds: Batches) -> None:
    nothing = [{**b, "valid": torch.zeros_like(b["valid"])} for b in three_overlapping_clouds]
    for baseline in (MajorityBaseline, LinearPixelBaseline):
        with pytest.raises(ArgumentError, match="nothing to fit"):
            baseline.fit(nothing, 3)
        with pytest.raises(ArgumentError, match="nothing to fit"):
            baseline.fit([], 3)
        with pytest.raises(ClassesError, match="Labels hold 2, but with 2 classes"):
            baseline.fit(three_overlapping_clouds, 2)
    fitted = LinearPixelBaseline.fit(three_overlapping_clouds, 3)
    with pytest.raises(ArgumentError, match="3 bands, but the baseline was fitted to 2"):
        fitted(torch.zeros(1, 3, 4, 4))

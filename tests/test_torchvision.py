import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from geoxr import _torchvision

ROOT = Path(__file__).parents[1]
OUTCOME = _torchvision.heal()

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")


def in_fresh_python(*parts):
    """Run code in an interpreter of its own and return the words of the last line it prints."""
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        "\n".join(textwrap.dedent(part) for part in parts),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


def greedy_nms(boxes, scores, threshold):
    """Greedy suppression box by box, in the precision of the boxes."""
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        for j in kept:
            width = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
            height = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
            inter = max(width, boxes.dtype.type(0)) * max(height, boxes.dtype.type(0))
            area = [(boxes[k, 2] - boxes[k, 0]) * (boxes[k, 3] - boxes[k, 1]) for k in (j, i)]
            if float(inter / (area[0] + area[1] - inter)) > threshold:
                break
        else:
            kept.append(i)
    return np.array(kept, dtype=np.int64)


def random_boxes(count, dtype, *, whole, seed=0):
    """Overlapping boxes; `whole` numbers make equal boxes and an IoU at the threshold likely."""
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 30, (count, 2)), rng.uniform(1, 12, (count, 2))
    if whole:
        corner, size = corner.astype(int) // 2, 1 + size.astype(int) // 3
    return np.concatenate([corner, corner + size], axis=1).astype(dtype)


# Libraries import


def test_libraries_on_torchvision_import_after_heal():
    assert in_fresh_python("""
        from geoxr._torchvision import heal
        outcome = heal()
        import timm, torchmetrics, lightning, segmentation_models_pytorch
        print(outcome)
    """) == [OUTCOME]  # fmt: skip


HEAL_AND_RUN_NMS = """
    from geoxr._torchvision import heal
    outcome = heal()
    import torch, torchvision
    boxes = torch.tensor([[0, 0, 2, 2], [0, 0, 2, 1.5], [5, 5, 6, 6]])
    print(outcome, *torchvision.ops.nms(boxes, torch.tensor([0.1, 0.2, 0.3]), 0.5).tolist())
"""
FAILED_IMPORT = """
    try:
        import torchvision
    except RuntimeError:
        pass
"""
FOREIGN_SCHEMA = """
    from torch.library import Library
    foreign = Library("torchvision", "DEF")
    foreign.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
INTERRUPTED_HEAL = """
    from geoxr import _torchvision
    _torchvision.heal()
    _torchvision._outcome = None
"""


@pytest.mark.skipif(OUTCOME == "matching", reason="the operators of this wheel load")
@pytest.mark.parametrize("before", [FAILED_IMPORT, FOREIGN_SCHEMA, INTERRUPTED_HEAL])
def test_heal_works_after_earlier_attempts(before):
    assert in_fresh_python(before, HEAL_AND_RUN_NMS) == ["healed", "2", "1"]


def test_matching_wheel_is_left_alone():
    outcome, asked, *changed = in_fresh_python("""
        import sys, torch
        asked = []
        torch.ops.load_library = asked.append
        from geoxr import _torchvision
        outcome = _torchvision.heal()
        changed = [_torchvision._library is not None, hasattr(torch.ops.torchvision, "nms"),
                   any(name.startswith("torchvision") for name in sys.modules)]
        print(outcome, *asked, *changed)
    """)
    assert outcome == "matching"
    assert Path(asked).parent == Path(torchvision.__file__).parent
    assert Path(asked).name.startswith("_C.")
    assert changed == ["False", "False", "False"]


@pytest.mark.parametrize("missing", ["torch", "torchvision"])
def test_nothing_happens_without_torchvision(missing):
    outcome, *imported = in_fresh_python(f"""
        import sys
        sys.modules[{missing!r}] = None
        from geoxr import _torchvision
        print(_torchvision.heal(), *[n for n in ("torch", "torchvision") if sys.modules.get(n)])
    """)
    assert outcome == "absent"
    assert imported == []


def test_threads_heal_once(monkeypatch):
    calls = []

    def slow_heal():
        calls.append(1)
        time.sleep(0.05)
        return "healed"

    monkeypatch.setattr(_torchvision, "_outcome", None)
    monkeypatch.setattr(_torchvision, "_heal", slow_heal)
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: _torchvision.heal(), range(8)))
    assert outcomes == ["healed"] * 8
    assert len(calls) == 1


# The operators compute what they should


@pytest.fixture(params=["torchvision", "ours"])
def nms(request):
    return torchvision.ops.nms if request.param == "torchvision" else _torchvision._nms


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nms_is_greedy_suppression(nms, dtype, whole, threshold):
    boxes = random_boxes(600, dtype, whole=whole)
    scores = np.random.default_rng(1).integers(0, 40, 600).astype(dtype)  # with ties
    kept = nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)
    assert kept.dtype == torch.int64
    np.testing.assert_array_equal(kept.numpy(), greedy_nms(boxes, scores, threshold))


def test_nms_keeps_a_box_whose_iou_is_the_threshold(nms):
    boxes = torch.tensor([[0.0, 0, 1, 2], [0, 0, 1, 1]])
    assert nms(boxes, torch.tensor([1.0, 0.5]), 0.5).tolist() == [0, 1]
    assert nms(boxes, torch.tensor([1.0, 0.5]), 0.49).tolist() == [0]


def test_nms_compares_the_iou_in_float64(nms):
    boxes = torch.tensor([[0.0, 0, 1, 10], [0, 0, 1, 3]])  # float32(0.3) is above 0.3
    assert nms(boxes, torch.tensor([1.0, 0.5]), 0.3).tolist() == [0]


def test_nms_keeps_the_precision_of_float64(nms):
    boxes = torch.tensor([[0, 0, 2, 1], [0.5, 0, 2.5, 1]], dtype=torch.float64) + 1e8
    assert nms(boxes, torch.tensor([1.0, 0.5], dtype=torch.float64), 0.5).tolist() == [0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nms_of_no_boxes_is_empty(nms, dtype):
    kept = nms(torch.empty((0, 4), dtype=dtype), torch.empty(0, dtype=dtype), 0.5)
    assert kept.shape == (0,)
    assert kept.dtype == torch.int64


@pytest.mark.parametrize("count", [0, 300, 1100])  # torchvision takes another way above 1,000
def test_batched_nms_suppresses_within_a_class_only(count):
    rng = np.random.default_rng(2)
    boxes = random_boxes(count, "float32", whole=True)
    scores, classes = rng.permutation(count).astype("float32"), rng.integers(0, 3, count)
    each = [np.flatnonzero(classes == k) for k in range(3)]
    kept = np.concatenate([rows[greedy_nms(boxes[rows], scores[rows], 0.4)] for rows in each])
    result = torchvision.ops.batched_nms(*map(torch.from_numpy, (boxes, scores, classes)), 0.4)
    np.testing.assert_array_equal(result.numpy(), kept[np.argsort(-scores[kept])])


@pytest.fixture(params=["torchvision", "ours", "ours-in-pieces"])
def roi_align(request, monkeypatch):
    if request.param == "torchvision":
        monkeypatch.setattr(torch, "compile", None)  # not the way that needs a compiler
        return lambda features, regions, scale, height, width, *rest: torchvision.ops.roi_align(
            features, regions, (height, width), scale, *rest
        )
    if request.param == "ours-in-pieces":
        monkeypatch.setattr(_torchvision, "_ROI_BLOCK", 1)
    return _torchvision._roi_align


@pytest.fixture
def features():
    values = torch.randn((2, 3, 20, 30), generator=torch.Generator().manual_seed(3))
    return values.double().requires_grad_()


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("sampling_ratio", [-1, 1, 2])
def test_roi_align_and_its_gradient_are_those_of_torchvisions_reference(
    roi_align, features, sampling_ratio, aligned
):
    boxes = random_boxes(9, "float64", whole=False) + 1
    boxes = np.minimum(boxes, [50, 38, 50, 38])
    regions = torch.from_numpy(np.c_[np.arange(9) % 2, boxes])
    options = (0.5, 7, 5, sampling_ratio, aligned)
    reference = import_module("torchvision.ops.roi_align")._roi_align.__wrapped__
    expected = reference(features, regions, *options)
    result = roi_align(features, regions, *options)
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-10)
    gradients = [torch.autograd.grad(out.square().sum(), features)[0] for out in (result, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


def test_roi_align_is_zero_outside_of_the_image(roi_align, features):
    regions = torch.tensor([[0.0, 40, 25, 50, 35], [0, -20, 0, -10, 9]], dtype=torch.float64)
    assert not roi_align(features, regions, 1.0, 2, 2, 2, True).any()


def test_roi_align_of_no_regions_is_empty(roi_align, features):
    pooled = roi_align(features, features.new_zeros((0, 5)), 1.0, 7, 5, -1, True)
    assert pooled.shape == (0, 3, 7, 5)


def test_detection_model_trains_and_predicts():
    model = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=3, min_size=64, max_size=64
    )
    images = [torch.rand((3, 64, 64), generator=torch.Generator().manual_seed(4))]
    target = {"boxes": torch.tensor([[8.0, 8, 40, 50]]), "labels": torch.tensor([1])}
    losses = model.train()(images, [target])
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert {"boxes", "labels", "scores"} == set(model.eval()(images)[0])


@pytest.mark.parametrize(
    "first", ["lightning", "timm", "torchvision", "segmentation_models_pytorch"]
)
def test_after_import_geoxr_others_import_in_any_order(first):
    words = in_fresh_python(
        f"""
        import sys
        import geoxr
        assert "torch" not in sys.modules
        import {first}
        import torch, torchvision
        boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [1.0, 0.0, 9.0, 9.0], [20.0, 20.0, 30.0, 30.0]])
        kept = torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5)
        assert torchvision.__spec__.loader is torchvision.__loader__
        from geoxr import _torchvision
        _torchvision.heal()
        print(*kept.tolist(), torchvision.__name__)
        """
    )
    assert words == ["1", "2", "torchvision"]

"""Make torchvision import beside a torch that its wheel was not built for.

The wheel of torchvision is built for CUDA. Beside a CPU-only torch its C++ operators cannot load,
and ``import torchvision`` ends in "operator torchvision::nms does not exist"; timm, torchmetrics,
lightning and segmentation_models_pytorch, which import it, fail with it. :func:`heal` registers the
operators that these imports and detection models need, written in torch:

- ``nms``: what the C++ operator computes, on any device;
- ``roi_align``: likewise, with gradients (torchvision would compile one of its own at the first
  call, which takes half a minute and a C++ compiler);
- ``qnms``: the schema alone, since ``import torchvision`` looks for it.

``roi_pool``, ``ps_roi_align``, ``ps_roi_pool``, ``deform_conv2d``, rotated IoU and everything
quantised stay without an operator and raise when called.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

#: What :func:`heal` found: no torchvision, one that works as it is, or one that it repaired.
Outcome: TypeAlias = Literal["absent", "matching", "healed"]

_lock = Lock()
_outcome: Outcome | None = None
_library: Any = None  # the operators vanish when their Library is collected

#: Boxes compared with all later ones at a time; bounds the memory of nms.
_NMS_BLOCK = 256
#: Values gathered at a time; bounds the memory of roi_align.
_ROI_BLOCK = 1 << 24


def watch() -> None:
    """Heal torchvision when somebody first imports it, without importing torch before that.

    ``import geoxr`` calls this, so that ``import lightning`` works after it.
    """
    if not any(isinstance(finder, _Watch) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watch())


class _Watch(MetaPathFinder):
    """Sees the import of torchvision coming, once."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Register what is missing, and relax torchvision when it has run."""
        if fullname != "torchvision":
            return None
        _stop_watching()
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.origin is None or importlib.util.find_spec("torch") is None:
            return spec
        if not _operators_load(Path(spec.origin).parent):
            _register()
            spec.loader = _Relaxing(spec)
        return spec


class _Relaxing(Loader):
    """Runs a module as its own loader does, then relaxes torchvision."""

    def __init__(self, spec: ModuleSpec) -> None:
        assert spec.loader is not None
        self._spec, self._loader = spec, spec.loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave it to the own loader."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module under its own loader, as if nothing had happened."""
        self._spec.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _relax()


def _stop_watching() -> None:
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Watch)]


def heal() -> Outcome:
    """Let ``import torchvision`` and what builds on it work; call it before importing any of them.

    The first call decides and later ones return its answer, from whatever thread.

    Returns
    -------
    {"absent", "matching", "healed"}
        "absent": torch or torchvision is not installed. "matching": the operators of torchvision
        load, nothing was changed. "healed": operators were registered and torchvision was imported.
    """
    global _outcome
    with _lock:
        if _outcome is None:
            _outcome = _heal()
        return _outcome


def _heal() -> Outcome:
    _stop_watching()
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or importlib.util.find_spec("torch") is None:
        return "absent"
    if _operators_load(Path(spec.origin).parent):
        return "matching"
    _register()
    _relax()
    return "healed"


def _operators_load(folder: Path) -> bool:
    """Load the C++ operators as ``import torchvision`` does, without importing it."""
    import torch

    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = folder / f"_C{suffix}"
        if path.exists():
            try:
                torch.ops.load_library(str(path))
            except OSError:
                return False
            return True
    return False


def _register() -> None:
    """Register what is missing; an earlier call or somebody else may have mended a part of it."""
    import torch

    global _library
    _library = _library or torch.library.Library("torchvision", "FRAGMENT")
    boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    regions = (
        "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
        "SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor"
    )
    for name, schema in {"nms": boxes, "qnms": boxes, "roi_align": regions}.items():
        if not hasattr(torch.ops.torchvision, name):
            _library.define(name + schema)
    # Tracing sees nms as one operator, but goes through roi_align, as gradients do.
    kernels: dict[str, tuple[Callable[..., Tensor], str]] = {
        "nms": (_nms, "CompositeExplicitAutograd"),
        "roi_align": (_roi_align, "CompositeImplicitAutograd"),
    }
    has_kernel = torch._C._dispatch_has_computed_kernel_for_dispatch_key
    for name, (kernel, key) in kernels.items():
        if not has_kernel(f"torchvision::{name}", "CPU"):
            _library.impl(name, kernel, key)


def _relax() -> None:
    """Let the functions whose operators are registered pass their check for the C++ library."""
    boxes: Any = importlib.import_module("torchvision.ops.boxes")
    boxes._assert_has_ops = _pass
    roi_align: Any = importlib.import_module("torchvision.ops.roi_align")
    roi_align._assert_has_ops = _pass
    roi_align._has_ops = _yes


def _pass() -> None:
    return None


def _yes() -> bool:
    return True


def _nms(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes (N, 4) that greedy suppression keeps, from the highest score down.

    Of equal scores the first box goes first. A box falls if its IoU with a kept one is above the
    threshold; the IoU has the precision of the boxes and is compared as float64, as in
    torchvision/csrc/ops/cpu/nms_kernel.cpp.
    """
    import torch

    order = scores.argsort(descending=True, stable=True)
    boxes = dets.detach().to(torch.promote_types(dets.dtype, torch.float32))[order]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    fallen = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    for start in range(0, len(boxes), _NMS_BLOCK):
        rows = start + (~fallen[start : start + _NMS_BLOCK]).nonzero().squeeze(1)
        low = boxes[rows, None, :2].maximum(boxes[None, start:, :2])
        high = boxes[rows, None, 2:].minimum(boxes[None, start:, 2:])
        inter = (high - low).clamp(min=0).prod(dim=2)
        over = (inter / (area[rows, None] + area[None, start:] - inter)).double() > iou_threshold
        for row, beaten in zip(rows.tolist(), over, strict=True):
            if not fallen[row]:
                fallen[row + 1 :] |= beaten[row + 1 - start :]
    return order[~fallen]


def _roi_align(
    input: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Pool regions (K, 5: image, x1, y1, x2, y2) of (N, C, H, W) to (K, C, pooled height, width).

    Each bin is the mean of bilinear samples (He et al. 2017, Mask R-CNN, section 3), with the rules
    for borders and for the number of samples of torchvision/csrc/ops/cpu/roi_align_kernel.cpp.
    """
    import torch

    pixels = input.to(torch.promote_types(input.dtype, torch.float32))
    boxes = rois.detach().to(pixels.dtype)
    left, top, right, bottom = (boxes[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)).unbind(1)
    width, height = right - left, bottom - top
    if not aligned:
        width, height = width.clamp(min=1), height.clamp(min=1)
    rows = _samples(top, height, pooled_height, pixels.shape[2], sampling_ratio)
    cols = _samples(left, width, pooled_width, pixels.shape[3], sampling_ratio)
    image = boxes[:, 0].long()[:, None, None, None, None]

    a_region = input.shape[1] * rows[0][0].shape[1:].numel() * cols[0][0].shape[1:].numel()
    step = max(_ROI_BLOCK // max(a_region, 1), 1)
    parts = [input.new_zeros((0, input.shape[1], pooled_height, pooled_width))]
    for part in (slice(start, start + step) for start in range(0, len(boxes), step)):
        pooled: Any = 0
        for row, row_weight in rows:
            for col, col_weight in cols:
                y, y_weight = row[part, :, :, None, None], row_weight[part, :, :, None, None, None]
                x, x_weight = col[part, None, None], col_weight[part, None, None, :, :, None]
                pooled = pooled + (pixels[image[part], :, y, x] * (y_weight * x_weight)).sum((2, 4))
        parts.append(pooled.movedim(-1, 1).to(input.dtype))
    return torch.cat(parts)


def _samples(
    start: Tensor, extent: Tensor, bins: int, length: int, sampling_ratio: int
) -> list[tuple[Tensor, Tensor]]:
    """Sample K regions along one axis: the cells before, and those after, with their weights.

    Cells and weights have the shape (K, bins, samples).
    """
    import torch

    start, extent = start[:, None, None], extent[:, None, None]
    if sampling_ratio > 0:
        most, count = sampling_ratio, torch.full_like(extent, sampling_ratio)
    else:
        count = (extent / bins).ceil()
        most = max(int(count.max()), 1) if len(count) else 1
    sample = torch.arange(most, device=start.device)
    used = sample < count
    count = count.clamp(min=1)
    bin_ = torch.arange(bins, device=start.device)[:, None]
    at = start + bin_ * (extent / bins) + (sample + 0.5) * (extent / bins / count)
    share = (used & (at >= -1) & (at <= length)) / count
    at = at.clamp(0, length - 1)
    before = at.floor()
    after = (before + 1).clamp(max=length - 1)
    return [(before.long(), (1 - at + before) * share), (after.long(), (at - before) * share)]

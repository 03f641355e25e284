"""The loaders: each yields batches of tensors for the chips of a case."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rioxarray
import torch
import xarray as xr
from rioxarray import exceptions

import geoxr as gx
from benchmarks.race.case import CHIP, STRIDE, Case
from benchmarks.race.layers import in_order, open_layers
from benchmarks.race.places import plan_chips

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Setup:
    """What all measurements of a run share.

    Attributes
    ----------
    root : path
        Folder of the variants.
    chips : int
        Chips of a measurement.
    size : int [pixel]
        Side of a chip.
    seed : int
        Number of the round.
    queries : path, optional
        Chips that TorchGeo asked for in that round.
    tile_cache : int, optional [MB]
        Memory of geoxr for decoded tiles; its default where None.
    """

    root: Path
    chips: int
    size: int = CHIP
    seed: int = 0
    queries: Path | None = None
    tile_cache: int | None = None


def batches_of(case: Case, setup: Setup) -> Callable[[], Iterator[Batch]]:
    """Return what yields the batches; everything that is done once per training is done before."""
    if setup.tile_cache is not None:
        gx.options.tile_cache = setup.tile_cache << 20
    ds = open_layers(setup.root, case.data, case.resampling)
    plan = plan_chips(ds, case, setup.chips, setup.seed, setup.queries, setup.size)
    if case.system == "geoxr":
        return _geoxr(ds, plan, case)
    makers = {"rioxarray": _rioxarray, "xbatcher": _xbatcher, "memory": _memory}
    return makers[case.system](ds, plan, case, setup)


def _geoxr(ds: xr.Dataset, plan: gx.ChipPlan, case: Case) -> Callable[[], Iterator[Batch]]:
    # "on" is what a user gets who does not ask.
    cache = {} if case.cache == "on" else {"cache": {"off": None}.get(case.cache, case.cache)}
    loader = ds.geoxr.to_torch(plan, batch_size=case.batch_size, threads=case.workers, **cache)
    next(iter(ds.geoxr.to_torch(plan[:1], batch_size=1, cache=None)))  # loads compiled code
    for _ in range(case.epoch):
        for _ in loader:
            pass
    return functools.partial(iter, loader)


def _rioxarray(
    ds: xr.Dataset, plan: gx.ChipPlan, case: Case, setup: Setup
) -> Callable[[], Iterator[Batch]]:
    """Clip and reproject_match every scene for every chip, then lay the first over the second."""
    folders = in_order((setup.root / case.data / "landsat").iterdir())
    scenes = [
        [rioxarray.open_rasterio(path) for path in sorted(folder.iterdir())] for folder in folders
    ]
    label = rioxarray.open_rasterio(next((setup.root / case.data / "cdl").iterdir()))

    def chip_of(chip: gx.Chip) -> tuple[np.ndarray, np.ndarray]:
        target = label.rio.clip_box(*chip.bounds)
        image = np.zeros((7, *target.shape[1:]), "uint16")
        for scene in scenes:
            left, bottom, right, top = target.rio.transform_bounds(scene[0].rio.crs)
            around = left - 60, bottom - 60, right + 60, top + 60
            try:
                bands = [band.rio.clip_box(*around) for band in scene]
            except (exceptions.NoDataInBounds, exceptions.OneDimensionalRaster):
                continue
            part = xr.concat(bands, "band").rio.reproject_match(target)
            image = np.where(image == 0, part.values, image)
        return image, target.values[0]

    def run() -> Iterator[Batch]:
        chips = list(plan)
        for start in range(0, len(chips), case.batch_size):
            read = [chip_of(chip) for chip in chips[start : start + case.batch_size]]
            image = np.stack([image for image, _ in read]).astype("float32")
            mask = np.stack([mask for _, mask in read]).astype("int64")
            yield {"image": torch.from_numpy(image), "mask": torch.from_numpy(mask)}

    return run


def _xbatcher(
    ds: xr.Dataset, plan: gx.ChipPlan, case: Case, setup: Setup
) -> Callable[[], Iterator[Batch]]:
    """Let xbatcher cut a Dataset that is in memory, warped and all."""
    import xbatcher

    sides = {"y": setup.size, "x": setup.size}
    overlap = dict.fromkeys(sides, setup.size - STRIDE * setup.size // CHIP)
    chips = xbatcher.BatchGenerator(
        _loaded(ds), input_dims=sides, input_overlap=overlap, preload_batch=False
    )

    def run() -> Iterator[Batch]:
        number = min(setup.chips, len(chips))
        for start in range(0, number, case.batch_size):
            some = [chips[i] for i in range(start, min(start + case.batch_size, number))]
            image = np.stack([chip["image"].values for chip in some]).astype("float32")
            mask = np.stack([chip["mask"].values for chip in some]).astype("int64")
            yield {"image": torch.from_numpy(image), "mask": torch.from_numpy(mask)}

    return run


def _memory(
    ds: xr.Dataset, plan: gx.ChipPlan, case: Case, setup: Setup
) -> Callable[[], Iterator[Batch]]:
    """Copy slices of arrays in memory into a batch that is used again: the limit."""
    held = _loaded(ds)
    image, mask = held["image"].values, held["mask"].values
    shape = (case.batch_size, len(image), *plan.size)
    images, masks = np.empty(shape, "float32"), np.empty((shape[0], *plan.size), "int64")
    images[...], masks[...] = 0, 0  # memory is given when it is written to first

    def run() -> Iterator[Batch]:
        for start in range(0, len(plan), case.batch_size):
            index = plan.indices(start, start + case.batch_size)
            for at, (row, col) in enumerate(plan.spots(index).corners.tolist()):
                rows, cols = slice(row, row + setup.size), slice(col, col + setup.size)
                np.copyto(images[at], image[:, rows, cols], casting="unsafe")
                np.copyto(masks[at], mask[rows, cols])
            number = len(index)
            yield {
                "image": torch.from_numpy(images[:number]),
                "mask": torch.from_numpy(masks[:number]),
            }

    return run


def _loaded(ds: xr.Dataset) -> xr.Dataset:
    with gx.options.set(max_read=1 << 62):
        return ds.compute()

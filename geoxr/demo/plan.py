"""Chips of the demo: where to train and where to validate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import xarray as xr

from geoxr.demo.inputs import Layers, sites
from geoxr.demo.settings import Settings
from geoxr.errors import ChipError
from geoxr.grid.geobox import geobox_of, resolution
from geoxr.io.layer import grid_coords, layer_like
from geoxr.io.resolve import resolve
from geoxr.io.views import Cropped
from geoxr.load.torch import ChipLoader, to_torch
from geoxr.sample.chip import ChipPlan
from geoxr.sample.grid import grid_chips
from geoxr.sample.random import random_chips
from geoxr.sample.split import split_blocks

#: Share of the blocks that is trained on.
TRAIN = 0.7
#: Smallest share of valid pixels in a chip.
MIN_VALID = 0.5


@dataclass(frozen=True)
class Plans:
    """Chips for training, drawn at random, and for validation, on a grid of other blocks."""

    train: ChipPlan
    validation: ChipPlan
    block: float
    gap: float

    def describe(self) -> dict[str, Any]:
        """Numbers for the report."""
        return {
            "train": len(self.train),
            "validation": len(self.validation),
            "size": list(self.train.size),
            "block": self.block,
            "gap": self.gap,
        }


def plan_chips(ds: xr.Dataset, settings: Settings) -> Plans:
    """Split the ground into blocks and plan chips in them.

    Raises
    ------
    ChipError
        If the chips do not fit.
    """
    geobox = geobox_of(ds)
    side = min(min(piece.sizes["y"], piece.sizes["x"]) for piece in sites(ds))
    chip = settings.chip or 1 << max(min((side // 4).bit_length() - 1, 7), 5)
    if chip > side:
        raise ChipError(
            f"Chips of {chip} pixels do not fit into a grid of {side} pixels. Pass a smaller --chip."
        )
    pixel = max(resolution(geobox))
    block = pixel * max(min(2 * chip, side // 3), chip + 8)
    gap = pixel * min(8, chip // 8)
    areas = split_blocks(ds, (TRAIN, 1 - TRAIN), block=block, gap=gap, seed=settings.seed)
    seen = random_chips(
        ds, chip, settings.chips, aoi=areas[0], seed=settings.seed, min_valid=MIN_VALID
    )
    return Plans(seen, grid_chips(ds, chip, aoi=areas[1], min_valid=MIN_VALID), block, gap)


def shifted(ds: xr.Dataset, pixels: int) -> xr.Dataset:
    """Return the Dataset with its labels moved up and left by whole pixels (negative control)."""
    array = ds["mask"]
    reader = Cropped(resolve(array).reader, geobox_of(ds), pixels, pixels)
    moved = layer_like(array, reader, coords=grid_coords(ds))
    return ds.assign(mask=moved)


def loader(ds: xr.Dataset, plan: ChipPlan, layers: Layers, batch_size: int) -> ChipLoader:
    """Batches of chips with all images joined."""
    return to_torch(ds, plan, batch_size=batch_size, concat=layers.concat)

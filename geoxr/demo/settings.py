"""What a demo run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geoxr.errors import ArgumentError


@dataclass(frozen=True)
class Settings:
    """Arguments of ``geoxr demo``.

    Attributes
    ----------
    out : Path
        Directory for everything that is written.
    images, masks : tuple of Path
        Real input; empty: data is made.
    size : int [pixel]
        Side of the scenes that are made.
    chip : int or None [pixel]
        Side of a chip; None: 128, or less on a small grid.
    epochs, chips, batch_size : int
        Length of the training.
    """

    out: Path
    images: tuple[Path, ...] = ()
    masks: tuple[Path, ...] = ()
    mask_nodata: float | None = None
    num_classes: int | None = None
    size: int = 1024
    chip: int | None = None
    epochs: int = 5
    chips: int = 384
    batch_size: int = 8
    lr: float = 3e-3
    backbone: str = "resnet10t"
    decoder_channels: tuple[int, ...] = (64, 48, 32, 24, 16)
    seed: int = 0
    overwrite: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        if bool(self.images) != bool(self.masks):
            given, missing = ("--image", "--mask") if self.images else ("--mask", "--image")
            raise ArgumentError(
                f"{given} was given without {missing}. Training needs both: images and labels of the "
                f"same place. Leave out both to run on made-up data."
            )
        for name in ("size", "epochs", "chips", "batch_size"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"--{name.replace('_', '-')} must be positive.")
        if self.chip is not None and self.chip < 32:
            raise ArgumentError(f"--chip must be at least 32 pixels, not {self.chip}.")
        if self.num_classes is not None and self.num_classes < 2:
            raise ArgumentError(f"--num-classes must be at least 2, not {self.num_classes}.")

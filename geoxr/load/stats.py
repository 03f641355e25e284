"""What a loader did."""

from __future__ import annotations

from dataclasses import dataclass

from geoxr.io.blocks import tiles
from geoxr.io.bytes import bytes_read
from geoxr.options import format_bytes


@dataclass
class LoaderStats:
    """What one epoch of a loader delivered so far, and what it took.

    Attributes
    ----------
    epoch : int
        Counted from 0.
    batches, chips : int
        Delivered.
    skipped : int
        Chips that could not be read and were replaced, with ``on_error="skip"``.
    seconds : float
        Since the first batch was asked for.
    waiting : float [s]
        How much of it the consumer waited for data.
    invalid : float
        Share of the delivered pixels that are not valid in all variables.
    tile_hits, tile_misses : int
        Decoded tiles that were in the cache, and that were not. These two and `nbytes` count for the
        whole process, whoever reads.
    nbytes : int [bytes]
        Read from files by position; what GDAL reads is not counted.
    """

    epoch: int
    batches: int = 0
    chips: int = 0
    skipped: int = 0
    seconds: float = 0.0
    waiting: float = 0.0
    invalid: float = 0.0
    tile_hits: int = 0
    tile_misses: int = 0
    nbytes: int = 0

    @property
    def chips_per_second(self) -> float:
        """Delivered chips by the time it took, that of the consumer included."""
        return self.chips / self.seconds if self.seconds else 0.0

    @property
    def waiting_ms(self) -> float:
        """Time the consumer waited for a batch [ms]."""
        return 1000 * self.waiting / self.batches if self.batches else 0.0

    def __str__(self) -> str:
        lookups = self.tile_hits + self.tile_misses
        lines = [
            f"epoch {self.epoch}: {self.chips:,} chips in {self.batches:,} batches and "
            f"{self.seconds:.2f} s, {self.chips_per_second:,.0f} chips/s",
            f"waited {self.waiting_ms:.1f} ms for a batch",
            f"invalid pixels: {self.invalid:.1%}; chips replaced: {self.skipped:,}",
            f"read {format_bytes(self.nbytes)}; tiles in the cache: "
            f"{self.tile_hits:,} of {lookups:,}",
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class Counters:
    """Where the counters of the process stand."""

    hits: int
    misses: int
    nbytes: int

    @classmethod
    def now(cls) -> Counters:
        """Read them."""
        return cls(tiles.hits, tiles.misses, bytes_read.value)

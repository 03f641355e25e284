"""Measuring a stream of batches in a process of its own: rate, CPU time and memory."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Figures:
    """What one run of a loader took.

    Attributes
    ----------
    seconds, rate : float
        From building the iterator to the last batch; chips a second.
    first_batch_s, rate_steady : float
        Time to the first batch, which opens files and starts workers; chips a second after it (the
        rate, if there is only one).
    cpu_ms_per_chip : float
        User and system time of all threads and workers, everything included.
    first_batch_cpu_s : float
        Part of it that went by until the first batch.
    peak_anon_mb, start_anon_mb : int
        Memory that no file stands behind: at most, and before the first batch.
    batch_mb : float
        Size of a batch.
    """

    chips: int
    seconds: float
    rate: float
    first_batch_s: float
    rate_steady: float
    cpu_ms_per_chip: float
    first_batch_cpu_s: float
    peak_anon_mb: int
    start_anon_mb: int
    batch_mb: float
    checksum: int

    def row(self) -> dict[str, Any]:
        """Return them by name, rounded."""
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def measure(batches: Iterable[dict[str, torch.Tensor]]) -> Figures:
    """Take every batch once and look at its labels, as the script for TorchGeo does."""
    checksum = chips = size = head = 0
    first = first_cpu = 0.0
    begin = anonymous_kb()
    with _Peak() as memory:
        cpu, start = cpu_seconds(), time.perf_counter()
        for batch in batches:
            if not chips:
                first, first_cpu = time.perf_counter() - start, cpu_seconds() - cpu
                head = len(batch["mask"])
                size = sum(tensor.nbytes for tensor in batch.values())
            checksum += int(batch["mask"][..., ::32, ::32].sum())
            chips += len(batch["mask"])
        seconds = time.perf_counter() - start
        cpu = cpu_seconds() - cpu
    return Figures(
        chips=chips,
        seconds=seconds,
        rate=chips / seconds,
        first_batch_s=first,
        rate_steady=(chips - head) / (seconds - first) if chips > head else chips / seconds,
        cpu_ms_per_chip=1000 * cpu / chips,
        first_batch_cpu_s=first_cpu,
        peak_anon_mb=memory.peak >> 10,
        start_anon_mb=begin >> 10,
        batch_mb=size / 2**20,
        checksum=checksum,
    )


def cpu_seconds() -> float:
    """CPU time of this process and of its finished children [s]."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def anonymous_kb() -> int:
    """Memory of this process that no file stands behind [kB]."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1])
    return 0


def warm_page_cache(paths: Sequence[Path]) -> None:
    """Read every file once, so that no run waits for the disk."""
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 22):
                pass


class _Peak:
    """Most anonymous memory [kB], looked at ten times a second."""

    def __enter__(self) -> _Peak:
        self.peak = anonymous_kb()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()
        return self

    def _poll(self) -> None:
        while not self._stop.wait(0.1):
            self.peak = max(self.peak, anonymous_kb())

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self.peak = max(self.peak, anonymous_kb())

"""What the runs say: medians, ranges, ratios to TorchGeo, and the ratios that are required."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.race.case import Case

#: Figures of the rounds of each case, one mapping per round; None where a round failed.
Runs = Mapping[Case, Sequence[Mapping[str, Any] | None]]

#: Batches that geoxr keeps ready beyond those being read, unless asked otherwise.
PREFETCH = 2

#: Least ratio of the steady rate, in one thread, to that of TorchGeo.
WALL = {
    ("raw", "random"): 35, ("raw", "batch"): 45, ("raw", "grid"): 25,
    ("pre", "random"): 14, ("pre", "batch"): 18, ("pre", "grid"): 20,
    ("deflate", "random"): 4, ("deflate", "batch"): 3.8, ("deflate", "grid"): 10,
    ("zarr", "random"): 6, ("zarr", "grid"): 12,
}  # fmt: skip
#: Least ratio of CPU time, two threads to two processes.
CPU = {
    ("raw", "random"): 25, ("raw", "batch"): 28, ("raw", "grid"): 14,
    ("pre", "random"): 12, ("pre", "batch"): 12, ("pre", "grid"): 12,
}  # fmt: skip
#: ... of the steady rate of the second epoch with a scratch on disk.
DISK = {("deflate", "random"): 40}
#: Most CPU time of bilinear, in that of nearest.
BILINEAR = 2.5

NOTES = """
How to read it. A rate is chips a second; "steady" leaves out the time to the first batch, and is what
ratios of one thread are taken of. CPU ms is user and system time of all threads and workers, everything
included, and is what ratios of two threads are taken of. Ratios are taken within a round, whose runs
follow each other, each in a process of its own; files are in the page cache. torch has one thread.

What differs. geoxr warps each pixel from the exact place of its centre; TorchGeo warps onto a grid of
GDAL's choice (nearest) and resamples that (bilinear). geoxr lays all scenes over each other, so a chip
shows whatever scene is valid; TorchGeo reads the one scene that it drew. geoxr delivers validity and
class positions as well. TorchGeo draws in the bounding boxes of scenes, empty corners included, at any
offset, while it runs; geoxr where there is data, at whole pixels, before the clock starts. The chips of a
random batch lie anywhere in a scene for TorchGeo, in a square of four chips' side for geoxr, which shares
more of what is read. "peer" are geoxr's figures for the chips that TorchGeo asked for, moved to whole
pixels. geoxr keeps decoded tiles of compressed files up to `geoxr.options.tile_cache` (--tile-cache),
TorchGeo blocks in the cache of GDAL, 64 MB unless its script is told otherwise.
"""


def values(runs: Runs, case: Case, name: str) -> list[float]:
    """Figures of all rounds that did not fail."""
    return [float(row[name]) for row in runs.get(case, ()) if row is not None]


def ratios(runs: Runs, case: Case, other: Case, ratio: Callable[[Any, Any], float]) -> list[float]:
    """Ratios of two cases within each round that both finished."""
    pairs = zip(runs.get(case, ()), runs.get(other, ()), strict=False)
    return [ratio(a, b) for a, b in pairs if a is not None and b is not None]


def faster(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    """How many times the steady rate."""
    return float(ours["rate_steady"] / theirs["rate_steady"])


def cheaper(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    """How many times less CPU time."""
    return float(theirs["cpu_ms_per_chip"] / ours["cpu_ms_per_chip"])


def span(numbers: Sequence[float], digits: int = 0) -> str:
    """Median and range."""
    if not numbers:
        return "-"
    low, high = min(numbers), max(numbers)
    return f"{statistics.median(numbers):.{digits}f} [{low:.{digits}f}-{high:.{digits}f}]"


def table(runs: Runs) -> str:
    """Return a row for each case, with its ratios to TorchGeo under the same condition."""
    head = (
        f"{'data':<11}{'sampler':<8}{'w':>2}{'batch':>6}  {'loader':<24}{'rate, steady':>21}"
        f"{'CPU ms/chip':>22}{'MB':>6}{'faster':>20}{'less CPU':>20}"
    )
    lines = [head]
    for case in runs:
        against = case.peer
        mine = case.system == "geoxr"
        fast = ratios(runs, case, against, faster) if mine else []
        cheap = ratios(runs, case, against, cheaper) if mine else []
        memory = values(runs, case, "peak_anon_mb")
        lines.append(
            f"{case.data:<11}{case.order:<8}{case.workers:>2}{case.batch_size:>6}  "
            f"{_loader(case):<24}{span(values(runs, case, 'rate_steady')):>21}"
            f"{span(values(runs, case, 'cpu_ms_per_chip'), 2):>22}"
            f"{max(memory, default=0):>6.0f}{span(fast, 1):>20}{span(cheap, 1):>20}"
            f"{'' if all(runs[case]) else '  FAILED'}"
        )
    return "\n".join(lines)


def _loader(case: Case) -> str:
    said = [case.system]
    if case.cache != "on":
        said.append("cache off" if case.cache == "off" else f"{case.cache}, epoch {case.epoch + 1}")
    if case.places == "peer":
        said.append("peer")
    if case.resampling != "nearest":
        said.append(case.resampling)
    return ", ".join(said)


def verdicts(runs: Runs, cache_mb: float) -> str:
    """Return each required figure beside the measured one."""
    lines = [f"{'required':<52}{'measured':>22}{'floor':>8}"]
    for what, measured, floor in [*_ratio_rows(runs), *_bilinear_rows(runs)]:
        good = "pass" if floor[1](statistics.median(measured), floor[0]) else "MISS"
        lines.append(f"{what:<52}{span(measured, 2):>22}{floor[0]:>8}  {good}")
    return "\n".join((*lines, *_memory_lines(runs, cache_mb)))


def _memory_lines(runs: Runs, cache_mb: float) -> list[str]:
    """Runs that took more memory than promised; where there are none, one line that says so."""
    misses = [
        f"memory: {_loader(case)}, {case.data} {case.order}, w{case.workers}, batch "
        f"{case.batch_size}: {row['peak_anon_mb']} MB, bound "
        f"{memory_bound(case, row, cache_mb):.0f}  MISS"
        for case in runs if case.system == "geoxr" for row in runs[case]
        if row is not None and row["peak_anon_mb"] > memory_bound(case, row, cache_mb)
    ]  # fmt: skip
    return misses or ["memory: every run of geoxr stays within its bound  pass"]


def memory_bound(case: Case, row: Mapping[str, Any], cache_mb: float) -> float:
    """Imports, batches being read, ready and in use, the cache, and 2 MB per thread [MB]."""
    batches = case.workers + PREFETCH + 1
    return float(
        row["start_anon_mb"] + batches * row["batch_mb"] + cache_mb + 2 * max(case.workers, 1)
    )


def _ratio_rows(runs: Runs) -> Iterable[tuple[str, list[float], Any]]:
    def at_least(a: float, b: float) -> bool:
        return a >= b

    for floors, ratio, workers, changes, said in (
        (WALL, faster, 0, {}, "w0, wall"),
        (WALL, faster, 0, {"places": "peer"}, "w0, wall, TorchGeo's chips"),
        (CPU, cheaper, 2, {}, "w2, CPU"),
        (DISK, faster, 0, {"cache": "disk", "epoch": 1}, "w0, wall, disk, second epoch"),
    ):
        for (data, order), floor in floors.items():
            case = replace(Case(data=data, order=order, workers=workers), **changes)
            found = ratios(runs, case, case.peer, ratio)
            if found:
                yield f"{data} {order}: {said}", found, (floor, at_least)


def _bilinear_rows(runs: Runs) -> Iterable[tuple[str, list[float], Any]]:
    def at_most(a: float, b: float) -> bool:
        return a <= b

    for case in runs:
        if case.resampling == "bilinear":
            plain = replace(case, resampling="nearest")
            found = ratios(runs, plain, case, cheaper)
            if found:
                yield f"{case.data} {case.order}: bilinear, CPU", found, (BILINEAR, at_most)

"""The figure: rates over batch sizes, as in Figure 3 of the paper of TorchGeo."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.race.case import ORDERS, Case
from benchmarks.race.report import Runs, values

_COLORS = {"random": "C0", "batch": "C1", "grid": "C2"}
_SAMPLERS = {"random": "random", "batch": "random batch", "grid": "grid"}
_STYLES = {"geoxr": "-", "torchgeo": ":"}


def draw(runs: Runs, path: Path, workers: int = 0) -> None:
    """Draw both panels, medians as lines and ranges as bands, and write them as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5), sharey=True)
    for system, style in _STYLES.items():
        for order in ORDERS:
            cases = (
                case
                for case in runs
                if (case.system, case.order, case.data, case.workers) == (system, order, "raw", workers)
                and _plain(case) and case.cache == "on"
            )  # fmt: skip
            label = f"{system}, {_SAMPLERS[order]}"
            _line(left, runs, cases, label, color=_COLORS[order], linestyle=style)
        for number, (data, cache) in enumerate(product(("pre", "raw"), ("on", "off"))):
            cases = (
                case
                for case in runs
                if (case.system, case.order, case.data, case.cache) == (system, "random", data, cache)
                and _plain(case) and case.workers == workers
            )  # fmt: skip
            label = f"{system}, {'preprocessed' if data == 'pre' else 'raw'}, cache {cache}"
            _line(right, runs, cases, label, color=f"C{number}", linestyle=style)
    left.set_title("a. Samplers, warped on the fly")
    right.set_title("b. Preprocessing and caching, random")
    left.set_ylabel("chips / s")
    for axes in (left, right):
        axes.set(xlabel="batch size", xscale="log", yscale="log")
        sizes = sorted({case.batch_size for case in runs})
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _plain(case: Case) -> bool:
    return (case.places, case.resampling, case.epoch) == ("own", "nearest", 0)


def _line(axes: Any, runs: Runs, cases: Iterable[Case], label: str, **style: Any) -> None:
    points = sorted((case.batch_size, values(runs, case, "rate_steady")) for case in cases)
    points = [(size, rates) for size, rates in points if rates]
    if not points:
        return
    sizes = [size for size, _ in points]
    axes.plot(
        sizes, [statistics.median(r) for _, r in points], marker="o", ms=3, label=label, **style
    )
    low, high = ([pick(r) for _, r in points] for pick in (min, max))
    axes.fill_between(sizes, low, high, color=style["color"], alpha=0.15, linewidth=0)

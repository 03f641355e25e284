"""Chips a second: geoxr beside TorchGeo, rioxarray, xbatcher and a memory copy.

Figure 3 of the paper of TorchGeo (Stewart et al. 2022, https://doi.org/10.1145/3557915.3560953): Landsat
scenes in two UTM zones under a crop map in EPSG:5070, chips of 224 pixels, half of them shared in the
grid. Every measurement has a process of its own; those of a group run in turns, in both orders.

    python -m benchmarks.loading                       # small data that it makes, minutes
    python -m benchmarks.loading --data DIR --full \
        --peer-python VENV/bin/python --peer-script peer_torchgeo.py --out RESULTS
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.race.case import (
    CHIP,
    Case,
    Group,
    caching,
    others,
    required,
    sizes_and_orders,
    without,
)
from benchmarks.race.figure import draw
from benchmarks.race.layers import cube_of, make_data, write_cube
from benchmarks.race.peer import Peer
from benchmarks.race.report import NOTES, table, verdicts
from geoxr.options import options

#: Chips of a loader that takes a tenth of a second for each.
SLOW = {"rioxarray": 64}
PACKAGES = (
    "geoxr", "numpy", "numba", "rasterio", "rioxarray", "torch", "xarray", "xbatcher", "zarr",
)  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """A run of the benchmark.

    Attributes
    ----------
    peer : Peer or None
        TorchGeo, where there is one.
    out : path
        Folder of the results and of the chips that TorchGeo asked for.
    """

    root: Path
    peer: Peer | None
    chips: int
    peer_chips: int
    size: int
    out: Path
    tile_cache: int

    def measure(self, case: Case, seed: int) -> dict[str, Any]:
        """Run a case once, in a process of its own."""
        if case.system == "torchgeo":
            assert self.peer is not None
            return self.peer.measure(case, self.root, self.peer_chips, self.size, seed)
        setup = {
            "root": str(self.root),
            "chips": SLOW.get(case.system, self.chips),
            "size": self.size,
            "seed": seed,
            "tile_cache": self.tile_cache,
            "queries": str(self._queries(case, seed)) if case.places == "peer" else None,
        }
        asked = json.dumps({"case": asdict(case), "setup": setup})
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.race", asked],
            capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def _queries(self, case: Case, seed: int) -> Path:
        """File of the chips that TorchGeo asks for in a round."""
        path = self.out / f"chips_{case.data}_{case.order}_{case.batch_size}_{seed}.jsonl"
        if not path.exists():
            assert self.peer is not None
            self.peer.write_queries(path, case.peer, self.root, self.chips, self.size, seed)
        return path


def run(bench: Bench, groups: Sequence[Group], rounds: int, log: Path) -> None:
    """Run all groups in turns, as often as asked; a line for each measurement goes into `log`."""
    done = {(row["case"], row["round"]) for row in _lines(log)}
    for number in range(rounds):
        for group in groups:
            for case in group if number % 2 == 0 else group[::-1]:
                if (case, number) in done:
                    continue
                row: dict[str, Any] = {"case": asdict(case), "round": number}
                try:
                    row["figures"] = bench.measure(case, number)
                except RuntimeError as error:
                    row["error"] = str(error)
                with log.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(row) + "\n")
                print(_said(number, case, row), file=sys.stderr, flush=True)


def _said(number: int, case: Case, row: dict[str, Any]) -> str:
    figures = row.get("figures")
    what = f"round {number + 1}: {case.system} {case.data} {case.order} w{case.workers} b{case.batch_size}"
    if figures is None:
        return f"{what} {case.cache} FAILED: {row['error']}"
    return f"{what}: {figures['rate_steady']:.0f}/s, {figures['cpu_ms_per_chip']:.2f} ms CPU"


def _lines(log: Path) -> list[dict[str, Any]]:
    if not log.exists():
        return []
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [row | {"case": Case(**row["case"])} for row in rows]


def runs_of(log: Path) -> dict[Case, list[dict[str, Any] | None]]:
    """Read the figures of each case, round by round; None where one failed."""
    runs: dict[Case, list[dict[str, Any] | None]] = {}
    for row in sorted(_lines(log), key=lambda row: int(row["round"])):
        runs.setdefault(row["case"], []).append(row.get("figures"))
    return runs


def machine() -> dict[str, Any]:
    """What the figures depend on, without names."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")),
        platform.machine(),
    )  # fmt: skip
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu, "cores": len(os.sched_getaffinity(0)), "memory_gb": round(memory / 2**30),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }  # fmt: skip


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of raw/, pre/ ...; made small by default")
    parser.add_argument("--peer-python", type=Path, help="interpreter that has TorchGeo")
    parser.add_argument("--peer-script", type=Path, help="the script that measures TorchGeo")
    parser.add_argument("--full", action="store_true", help="all batch sizes and variants; hours")
    parser.add_argument(
        "--parts", default="required,a,b,others", help="which groups, in this order"
    )
    parser.add_argument("--variants", default="", help="only these, such as raw,pre")
    parser.add_argument("--chips", type=int, help="of each measurement; default 512, or 2048")
    parser.add_argument("--peer-chips", type=int, help="of those of TorchGeo; default the same")
    parser.add_argument("--chip-size", type=int, default=CHIP, help="[pixel]")
    parser.add_argument("--tile-cache", type=int, default=options.tile_cache >> 20, help="[MB]")
    parser.add_argument("--rounds", type=int, help="default 2, or 5")
    parser.add_argument("--scene", type=int, default=1024, help="side of a scene it makes [pixel]")
    parser.add_argument("--out", type=Path, help="folder for the table, JSON and figure")
    parser.add_argument("--resume", action="store_true", help="add to what is in --out")
    return parser.parse_args(arguments)


def groups_of(asked: argparse.Namespace) -> list[Group]:
    """Choose what to measure."""
    sizes = (16, 32, 64, 128, 256, 512) if asked.full else (32, 128)
    variants = ("raw", "pre", "deflate", "zarr", "multiband") if asked.full else ("raw", "pre")
    if asked.variants:
        variants = tuple(asked.variants.split(","))
    parts = {
        "required": required(variants),
        "a": sizes_and_orders(sizes, (0, 2) if asked.full else (0,)),
        "b": caching(sizes),
        "others": others("raw"),
    }
    chosen = [group for part in asked.parts.split(",") for group in parts[part]]
    peer = asked.peer_python is not None and asked.peer_script is not None
    return without(chosen, peer=peer)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    asked = parse(arguments)
    groups = groups_of(asked)
    with tempfile.TemporaryDirectory() as name:
        out = asked.out or Path(name) / "out"
        out.mkdir(parents=True, exist_ok=True)
        log = out / "measurements.jsonl"
        if log.exists() and not asked.resume:
            raise SystemExit(f"{log} exists. Choose another --out, or go on with it: --resume")
        root = asked.data or make_data(Path(name), asked.scene)
        cubes = any(case.data == "zarr" for group in groups for case in group)
        if cubes and not cube_of(root).exists():
            write_cube(root, cube_of(root))
        peer = None
        if asked.peer_python and asked.peer_script:
            peer = Peer(asked.peer_python, asked.peer_script)
        else:
            print("No TorchGeo (--peer-python, --peer-script): the rest runs without it.")
        chips = asked.chips or (2048 if asked.full else 512)
        bench = Bench(
            root, peer, chips, asked.peer_chips or chips, asked.chip_size, out, asked.tile_cache
        )
        run(bench, groups, asked.rounds or (5 if asked.full else 2), log)
        report(bench, log)


def report(bench: Bench, log: Path) -> None:
    """Print the table; write it, the figures of all rounds and the drawing into the folder."""
    out = bench.out
    runs = runs_of(log)
    text = "\n".join((table(runs), "", verdicts(runs, bench.tile_cache), NOTES))
    print(text)
    (out / "loading.txt").write_text(text, encoding="utf-8")
    rows = [row | {"case": asdict(row["case"])} for row in _lines(log)]
    facts = {
        "machine": machine(), "chips": bench.chips, "peer_chips": bench.peer_chips,
        "size": bench.size, "tile_cache_mb": bench.tile_cache, "measurements": rows,
    }  # fmt: skip
    (out / "loading.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    draw(runs, out / "loading.png")


if __name__ == "__main__":
    main()

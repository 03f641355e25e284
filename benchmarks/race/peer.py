"""TorchGeo, in an environment of its own, through the script that measures it.

The script takes a folder of data and prints a JSON line per measurement; with ``--queries FILE`` it
writes the chips that it would ask for instead.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.race.case import Case

#: Fields of the script under the names of `Figures`.
_NAMES = {
    "patches": "chips", "seconds": "seconds", "rate": "rate", "first_batch_s": "first_batch_s",
    "rate_steady": "rate_steady", "cpu_ms_per_patch": "cpu_ms_per_chip",
    "peak_anon_mb": "peak_anon_mb", "checksum": "checksum",
}  # fmt: skip


@dataclass(frozen=True)
class Peer:
    """Where TorchGeo is.

    Attributes
    ----------
    python, script : path
        Interpreter that has TorchGeo, and the script to run with it.
    """

    python: Path
    script: Path

    def measure(self, case: Case, root: Path, chips: int, size: int, seed: int) -> dict[str, Any]:
        """Run one measurement."""
        out = self._run(
            root / case.data, case.order, case.batch_size, chips, size, seed,
            "--workers", str(case.workers), "--cache", str(int(case.cache == "on")),
            "--repeats", "1",
        )  # fmt: skip
        row = json.loads(out.strip().splitlines()[-1])
        return {ours: row[theirs] for theirs, ours in _NAMES.items()} | {"version": row["version"]}

    def write_queries(
        self, path: Path, case: Case, root: Path, chips: int, size: int, seed: int
    ) -> None:
        """Write the chips that TorchGeo asks for in a round."""
        self._run(
            root / case.data, case.order, case.batch_size, chips, size, seed,
            "--queries", str(path),
        )  # fmt: skip

    def _run(
        self, folder: Path, order: str, batch_size: int, chips: int, size: int, seed: int,
        *more: str,
    ) -> str:  # fmt: skip
        command = [
            str(self.python), str(self.script), str(folder), "--samplers", order,
            "--batch-size", str(batch_size), "--patches", str(chips), "--patch", str(size),
            "--stride", str(size // 2), "--seed", str(seed), *more,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"TorchGeo failed:\n{done.stderr[-2000:]}")
        return done.stdout

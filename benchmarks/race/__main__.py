"""``python -m benchmarks.race JSON``: one measurement in a process of its own; prints a JSON line."""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

import torch

from benchmarks.race.case import Case
from benchmarks.race.clock import measure, warm_page_cache
from benchmarks.race.layers import files_of
from benchmarks.race.loaders import Setup, batches_of


def main(text: str) -> None:
    asked = json.loads(text)
    case, setup = Case(**asked["case"]), asked["setup"]
    for name in ("root", "queries"):
        setup[name] = None if setup[name] is None else Path(setup[name])
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    warm_page_cache(files_of(setup["root"], case.data))
    start = time.perf_counter()
    batches = batches_of(case, Setup(**setup))
    opened = time.perf_counter() - start
    print(json.dumps(measure(batches()).row() | {"open_s": round(opened, 3)}))


if __name__ == "__main__":
    main(sys.argv[1])

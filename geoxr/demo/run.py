"""The stages of the demo, one function each."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geoxr.demo.inputs import Layers, open_given, open_made, sites
from geoxr.demo.plan import plan_chips
from geoxr.demo.report import draw, write_json
from geoxr.demo.settings import Settings
from geoxr.errors import DiskFullError, OutputExistsError
from geoxr.export.staged import check_free, disk_full
from geoxr.grid.geobox import geobox_of
from geoxr.testing import make_landsat_cdl

#: What a run writes, besides the data that it makes.
OUTPUTS = ("cube*.zarr", "prediction*.tif", "checkpoint.ckpt", "report.json", "report.png")


@dataclass
class Run:
    """A demo in progress: settings, where it writes, what it measured."""

    settings: Settings
    work: Path
    seconds: dict[str, float] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def run_demo(settings: Settings) -> dict[str, Any]:
    """Run the whole way and write everything; see ``geoxr demo --help``.

    Returns
    -------
    dict
        What ``report.json`` holds.
    """
    out = settings.out
    fresh = not out.exists()
    if out.is_file():
        raise OutputExistsError(f"{out} is a file. --out names a directory.")
    patterns = OUTPUTS if settings.images else (*OUTPUTS, "data")
    for old in (path for pattern in patterns for path in out.glob(pattern)):
        check_free(old, overwrite=settings.overwrite)
    check_free(out, overwrite=True)
    out.mkdir(exist_ok=True)
    work = out / f".part-{uuid.uuid4().hex[:8]}"
    work.mkdir()
    try:
        with disk_full(out):
            run = Run(settings, work)
            _stages(run)
            _publish(work, out)
        return run.report
    except DiskFullError as error:
        raise DiskFullError(str(error).replace(f"{work.name}{os.sep}", "")) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if fresh and not any(out.iterdir()):
            out.rmdir()


def _stages(run: Run) -> None:
    settings, work = run.settings, run.work
    with run.stage("make data"):
        made = None
        if not settings.images:
            made = make_landsat_cdl(work / "data", size=settings.size, seed=settings.seed)
    with run.stage("open and align"):
        layers = open_given(settings) if made is None else open_made(made)
    with run.stage("plan chips"):
        plans = plan_chips(layers.ds, settings)
    with run.stage("import torch"):
        from geoxr.demo import learn
    with run.stage("read one epoch"):
        stats, chips_per_second = learn.statistics(layers, plans, settings)
    with run.stage("train"):
        task = learn.train(layers, plans, stats, settings)
        task.trainer.save_checkpoint(work / "checkpoint.ckpt", weights_only=True)
    with run.stage("score"):
        run.report.update(learn.score(layers, plans, task, settings))
    pieces = sites(layers.ds)
    with run.stage("predict"):
        pieces = [learn.predicted(piece, layers, task, settings) for piece in pieces]
    with run.stage("write"):
        for number, piece in enumerate(pieces, 1):
            tail = "" if len(pieces) == 1 else f"-{number}"
            learn.write(piece, work, tail)
    with run.stage("draw"):
        draw(pieces, run.report, work / "report.png")
    seen = len(plans.train) * settings.epochs
    run.report.update(
        notes=list(layers.notes),
        grid=_grid(layers),
        chips=plans.describe(),
        chips_per_second={
            "read": round(chips_per_second, 1),
            "trained": round(seen / run.seconds["train"], 1),
        },
        seconds={name: round(value, 2) for name, value in run.seconds.items()},
        settings=_plain(settings),
        bytes=_sizes(work),
    )
    write_json(run.report, work / "report.json")
    run.report["bytes"] = _sizes(work)


def _sizes(directory: Path) -> dict[str, int]:
    """Bytes of every item in a directory."""
    return {
        item.name: sum(f.stat().st_size for f in [item, *item.rglob("*")] if f.is_file())
        for item in sorted(directory.iterdir())
    }


def _grid(layers: Layers) -> dict[str, Any]:
    geobox = geobox_of(layers.ds)
    assert geobox.crs is not None
    return {
        "crs": f"EPSG:{geobox.crs.epsg}" if geobox.crs.epsg else geobox.crs.to_wkt(),
        "shape": [geobox.height, geobox.width],
        "transform": [float(value) for value in list(geobox.affine)[:6]],
        "channels": layers.channels,
    }


def _plain(settings: Settings) -> dict[str, Any]:
    return {
        key: [str(path) for path in value] if key in ("images", "masks") else
        (str(value) if isinstance(value, Path) else value)
        for key, value in vars(settings).items()
    }  # fmt: skip


def _publish(work: Path, out: Path) -> None:
    """Move what was made to its final place, replacing what may be replaced."""
    for old in (path for pattern in OUTPUTS for path in out.glob(pattern)):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    for item in sorted(work.iterdir()):
        final = out / item.name
        if final.is_dir():
            shutil.rmtree(final)
        os.replace(item, final)

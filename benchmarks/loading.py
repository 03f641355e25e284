"""Aligned chips per second: geoxr beside what a user would write with rioxarray, and a memory copy.

The case: two Landsat-like scenes in two UTM zones (7 bands, a file each) and a crop map in
EPSG:5070; chips of 128 pixels at random places on the grid of the map, nearest resampling, float32
images, int64 labels. Every way reads the very same chips, in turns, several rounds. The median of a
round's CPU milliseconds per chip is the neutral figure on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rioxarray
import xarray as xr

import geoxr as gx
from geoxr.testing import LandsatCDL, make_landsat_cdl

CHIP = 128


def open_layers(made: LandsatCDL) -> xr.Dataset:
    image = gx.open_product(
        "landsat8-l2-sr", made.scenes, time="collapse", crs="auto", resampling="nearest"
    )
    label = gx.open_product("cdl", made.cdl)
    return gx.merge({"image": image, "mask": label}, like="mask", resampling="nearest")


def with_geoxr(ds: xr.Dataset, plan: gx.ChipPlan, threads: int) -> Callable[[], None]:
    loader = ds.geoxr.to_torch(plan, batch_size=16, threads=threads)

    def run() -> None:
        loader.set_epoch(0)
        for _ in loader:
            pass

    return run


def with_rioxarray(made: LandsatCDL, ds: xr.Dataset, plan: gx.ChipPlan) -> Callable[[], None]:
    """Clip and reproject_match every scene for every chip, then lay the first over the second."""
    scenes = [
        xr.concat([rioxarray.open_rasterio(path) for path in paths], "band")
        for paths in made.images
    ]
    label = rioxarray.open_rasterio(made.mask)

    def run() -> None:
        for chip in plan:
            left, bottom, right, top = chip.bounds
            target = label.rio.clip_box(left, bottom, right, top)
            image = None
            for scene in scenes:
                box = target.rio.transform_bounds(scene.rio.crs)
                try:
                    part = scene.rio.clip_box(box[0] - 60, box[1] - 60, box[2] + 60, box[3] + 60)
                except Exception:  # the chip lies outside of this scene
                    continue
                part = part.rio.reproject_match(target)
                image = part if image is None else image.where(image != 0, part)
            if image is not None:
                image.values.astype("float32")
            target.values.astype("int64")

    return run


def with_memory(ds: xr.Dataset, plan: gx.ChipPlan) -> Callable[[], None]:
    """Slice arrays that hold everything aligned: the limit, if it all fits into memory."""
    image, mask = ds["image"].values, ds["mask"].values

    def run() -> None:
        for chip in plan:
            rows, cols = chip.window.slices
            image[:, rows, cols].astype("float32")
            mask[rows, cols].astype("int64")

    return run


def measure(run: Callable[[], None], chips: int) -> tuple[float, float]:
    """Chips per second (wall) and CPU milliseconds per chip."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return chips / (time.perf_counter() - wall), 1000 * (time.process_time() - cpu) / chips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024, help="side of a scene [pixel]")
    parser.add_argument("--chips", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        made = make_landsat_cdl(Path(folder) / "data", size=arguments.size)
        ds = open_layers(made)
        plan = ds.geoxr.random_chips(CHIP, arguments.chips, seed=0, min_valid=0.5)
        ways = {
            "geoxr, 1 thread": with_geoxr(ds, plan, 1),
            "geoxr, 2 threads": with_geoxr(ds, plan, 2),
            "rioxarray per chip": with_rioxarray(made, ds, plan),
            "memory copy": with_memory(ds, plan),
        }
        for run in ways.values():
            run()  # compile, warm the page cache
        rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, run in ways.items():
                rounds[name].append(measure(run, len(plan)))
    report(rounds, arguments.json)


def report(rounds: dict[str, list[tuple[float, float]]], path: Path | None) -> None:
    base = statistics.median(cpu for _, cpu in rounds["rioxarray per chip"])
    print(f"{'way':<22}{'chips/s':>10}{'range':>18}{'CPU ms/chip':>14}{'CPU ratio':>12}")
    for name, figures in rounds.items():
        rates, cpus = np.array(figures).T
        span = f"{rates.min():.0f} - {rates.max():.0f}"
        cpu = float(np.median(cpus))
        print(f"{name:<22}{np.median(rates):>10.0f}{span:>18}{cpu:>14.2f}{base / cpu:>11.1f}x")
    if path is not None:
        path.write_text(json.dumps(rounds, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

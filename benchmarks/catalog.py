"""A catalog of 100,000 scenes: reading, asking and opening it; a scan of 1,000 GeoTIFFs.

Figures are medians, wall time in milliseconds unless they say otherwise. Footprints are those of
Sentinel-2 tiles in ten UTM zones, five bands each, with dates over ten years.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

import geoxr as gx
from benchmarks.mosaic import archive
from geoxr.catalog.table import Header, Row, SceneTable

BANDS = ("B02", "B03", "B04", "B08", "SCL")


def large(scenes: int) -> gx.Catalog:
    """Return a catalog of files that do not exist."""
    rng = np.random.default_rng(0)
    headers = [Header(f"EPSG:{32630 + zone}", "uint16", BANDS, 0, False) for zone in range(10)]
    zones = rng.integers(0, 10, scenes)
    places = rng.integers(0, 40, (scenes, 2))
    days = np.datetime64("2015-07-01", "ns") + np.sort(rng.integers(0, 3650, scenes)).astype(
        "timedelta64[D]"
    )
    rows = [
        Row(
            tuple(f"/archive/{zone}/S2A_{number:06}/{band}.tif" for band in BANDS),
            headers[zone],
            (10.0, 0.0, 2e5 + 1e5 * (col % 6), 0.0, -10.0, 6e6 - 1e5 * row),
            (10_980, 10_980),
            (1_700_000_000, number),
            day,
            day,
        )
        for number, (zone, (col, row), day) in enumerate(
            zip(zones.tolist(), places.tolist(), days, strict=True)
        )
    ]
    catalog = gx.Catalog.of_table(SceneTable.of(rows))
    return gx.Catalog(catalog.frame.assign(cloud_cover=rng.uniform(0, 100, scenes)))


def milliseconds(task: Callable[[], object], rounds: int = 5) -> float:
    """Median of some rounds."""
    spent = []
    for _ in range(rounds):
        start = time.perf_counter()
        task()
        spent.append((time.perf_counter() - start) * 1000)
    return statistics.median(spent)


def main(scenes: int = 100_000, files: int = 1000) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        catalog = large(scenes)
        path = folder / "scenes.parquet"
        print(f"{scenes:,} scenes: to_parquet {milliseconds(lambda: catalog.to_parquet(path), 1):.0f} "
              f"({path.stat().st_size / 1e6:.1f} MB), "
              f"from_parquet {milliseconds(lambda: gx.Catalog.from_parquet(path)):.0f}")  # fmt: skip
        stored = gx.Catalog.from_parquet(path)
        print(
            f"first query, builds the index: {milliseconds(lambda: stored.query(time='2020'), 1):.0f}"
        )
        rng = np.random.default_rng(1)
        corners = rng.uniform((-5, 20), (50, 50), (500, 2)).tolist()
        boxes = iter([(x, y, x + 0.02, y + 0.02) for x, y in corners] * 4)
        days = iter(pd.date_range("2016-01-01", periods=1000, freq="D").strftime("%Y-%m-%d"))
        found = [len(stored.query(bounds=(x, y, x + 0.02, y + 0.02))) for x, y in corners]
        print(f"query(bounds=), {np.mean(found):.0f} scenes on average: "
              f"{milliseconds(lambda: stored.query(bounds=next(boxes)), 500):.4f}")  # fmt: skip
        both = milliseconds(lambda: stored.query(bounds=next(boxes), time="2020-06"), 500)
        print(f"query(bounds=, time=): {both:.4f}")
        print(f"query(time=a day): {milliseconds(lambda: stored.query(time=next(days)), 500):.4f}")
        print(f"filter(bounds=): {milliseconds(lambda: stored.filter(bounds=next(boxes)), 20):.1f}")
        print(f"repr: {milliseconds(lambda: repr(stored), 3):.0f}")
        print(f"table: {milliseconds(lambda: stored.table, 1):.0f}, "
              f"pieces by a & b: {milliseconds(lambda: stored & stored.take(range(1000)), 1):.0f}, "
              f"a | b: {milliseconds(lambda: stored | stored, 1):.0f}")  # fmt: skip
        archive(folder / "files", files)
        print(f"scan of {files:,} GeoTIFFs: "
              f"{milliseconds(lambda: gx.Catalog.scan(folder / 'files'), 3):.0f}")  # fmt: skip
        known = gx.Catalog.scan(folder / "files")
        print(
            f"update, nothing changed: {milliseconds(lambda: known.update(folder / 'files'), 3):.0f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--scenes", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=1000)
    main(**vars(parser.parse_args()))

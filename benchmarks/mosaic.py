"""A mosaic of 2,000 scenes in three UTM zones: what opening, asking, reading and drawing it cost.

Every figure is the median CPU time of one thread unless it says "wall", in milliseconds. Scenes are
small files, since opening and asking do not depend on their size; the preview is of a grid of 100,000
x 160,000 pixels whose scenes have overviews.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Resampling

import geoxr as gx
from geoxr.grid.window import Window
from geoxr.io.reader import read_window
from geoxr.io.resolve import resolve
from geoxr.plot import preview
from geoxr.testing import write_geotiff


def archive(folder: Path, scenes: int, size: int = 64) -> Path:
    """Write scenes of 100 m pixels that overlap their neighbours a little."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 2000, (1, size, size), dtype="uint16")
    across = int(np.ceil(np.sqrt(scenes / 3)))
    step = size * 100 - 1000
    for number in range(scenes):
        zone, place = number % 3, number // 3
        row, col = divmod(place, across)
        write_geotiff(
            folder / f"{number:05}.tif", pixels, crs=f"EPSG:{32631 + zone}", nodata=0, tiled=False,
            transform=Affine(100, 0, 250_000 + col * step, 0, -100, 5_600_000 - row * step),
        )  # fmt: skip
    return folder


def huge(folder: Path, across: int = 8, down: int = 5, size: int = 20_000) -> list[Path]:
    """Write sparse scenes of 20,000 pixels with overviews: 100,000 x 160,000 pixels together."""
    paths = []
    for row in range(down):
        for col in range(across):
            path = folder / f"huge_{row}_{col}.tif"
            profile = {
                "driver": "GTiff", "dtype": "uint8", "count": 1, "height": size, "width": size,
                "crs": "EPSG:32632", "tiled": True, "blockxsize": 512, "blockysize": 512,
                "compress": "deflate", "sparse_ok": True,
                "transform": Affine(1, 0, 300_000 + col * size, 0, -1, 5_600_000 - row * size),
            }  # fmt: skip
            with rasterio.open(path, "w", **profile) as file:
                file.write(np.full((1, 2000, 2000), 1 + row + col, "uint8"),
                           window=((0, 2000), (0, 2000)))  # fmt: skip
            with rasterio.open(path, "r+") as file:
                file.build_overviews([4, 16, 64, 128], Resampling.nearest)
            paths.append(path)
    return paths


def milliseconds(task: Callable[[], object], rounds: int, clock: Callable[[], float]) -> float:
    """Median of some rounds."""
    spent = []
    for _ in range(rounds):
        start = clock()
        task()
        spent.append((clock() - start) * 1000)
    return statistics.median(spent)


def anonymous() -> int:
    """Memory of the process that no file stands behind [kB]."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1])
    return 0


def main(scenes: int = 2000) -> None:
    cpu = time.process_time
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive(folder, scenes)
        start, start_wall = cpu(), time.perf_counter()
        catalog = gx.Catalog.scan(folder)
        print(f"{catalog!r}")
        print(f"scan of {scenes} headers: {(cpu() - start) * 1000:.0f} ms, "
              f"{(time.perf_counter() - start_wall) * 1000:.0f} ms wall")  # fmt: skip
        stored = gx.Catalog.from_parquet(catalog.to_parquet(folder / "catalog.parquet"))
        start = cpu()
        layer = gx.open_raster(stored, crs="EPSG:3035", resolution=100)
        print(f"first open from GeoParquet, PROJ cold: {(cpu() - start) * 1000:.1f} ms")
        spent = milliseconds(lambda: gx.open_raster(gx.Catalog(stored.frame), crs="EPSG:3035",
                             resolution=100), 9, cpu)  # fmt: skip
        print(f"open from a frame: {spent:.1f} ms")
        spent = milliseconds(
            lambda: gx.open_raster(stored, crs="EPSG:3035", resolution=100), 9, cpu
        )
        print(f"open from a catalog that was used before: {spent:.1f} ms")
        reader = resolve(layer).reader
        print(f"pickle: {len(pickle.dumps(reader)) / 1000:.0f} kB, layer {layer.shape}")
        rng = np.random.default_rng(1)
        height, width = reader.geobox.shape
        windows = [
            Window(int(r), int(c), 224, 224)
            for r, c in zip(rng.integers(0, height - 224, 3000), rng.integers(0, width - 224, 3000),
                            strict=True)
        ]  # fmt: skip
        reader.hits(windows[0])  # builds the index
        start = cpu()
        for window in windows:
            reader.hits(window)
        print(f"scenes of a window: {(cpu() - start) / len(windows) * 1000:.4f} ms")
        before = anonymous()
        marks = []
        for i, window in enumerate(windows):
            read_window(reader, window)
            if i % 500 == 499:
                marks.append(anonymous() - before)
        print(f"anonymous memory after every 500 windows: {marks} kB more")
        spent = milliseconds(lambda: preview(reader, 250_000), 3, time.perf_counter)
        print(f"preview of {layer.shape}, {scenes} scenes: {spent:.0f} ms wall")
        start = time.perf_counter()
        layer = gx.open_raster(huge(folder))
        print(f"huge: {layer.shape} written and opened in {time.perf_counter() - start:.1f} s")
        reader = resolve(layer).reader
        start_wall, start = time.perf_counter(), cpu()
        preview(reader, 1_600_000)
        print(f"its preview, 1000 x 1600 pixels: {(time.perf_counter() - start_wall) * 1000:.0f} ms "
              f"wall, {(cpu() - start) * 1000:.0f} ms")  # fmt: skip
        for crs in ("EPSG:3035",):
            reader = resolve(layer.geoxr.reproject(crs, resolution=1)).reader
            start_wall, start = time.perf_counter(), cpu()
            preview(reader, 1_600_000)
            print(f"the same in {crs}: {(time.perf_counter() - start_wall) * 1000:.0f} ms wall, "
                  f"{(cpu() - start) * 1000:.0f} ms")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--scenes", type=int, default=2000)
    main(parser.parse_args().scenes)

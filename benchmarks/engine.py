"""Reading and warping: geoxr beside rasterio, a chip at a time and a whole scene at once.

The case: a scene of 4096 x 4096 pixels in UTM, seven bands of uint16 with a tilted footprint, a file
each, in tiles of 512, uncompressed and as DEFLATE with predictor 2; and a label raster in EPSG:5070 onto
whose grid it is warped. Chips are 224 pixels. Every way reads the same windows, in turns, several rounds;
files are in the page cache. The median CPU time of a round is the neutral figure on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import rasterio.warp
import rasterio.windows
import xarray as xr
from affine import Affine
from rasterio.enums import Resampling

import geoxr as gx
from geoxr.grid.window import Window
from geoxr.io.reader import WindowReader, everything
from geoxr.io.resolve import resolve
from geoxr.testing import write_geotiff

CHIP = 224
#: Memory for decoded tiles [MiB].
CACHE = 64
BANDS = tuple(f"B{i}" for i in range(1, 8))


@dataclass(frozen=True)
class Way:
    """Something to time: `run` does the work `times` times."""

    case: str
    name: str
    run: Callable[[], None]
    times: int


def make_scene(folder: Path, size: int) -> None:
    """Write the scene twice and the labels once."""
    rng = np.random.default_rng(0)
    affine = Affine(30, 0, 500_000, 0, -30, 4_600_000)
    rows, cols = np.mgrid[:size, :size] / size - 0.5
    tilted = np.abs(rows + 0.2 * cols) + np.abs(cols - 0.2 * rows)
    coarse = rng.normal(0, 1, (size // 16 + 1, size // 16 + 1))
    texture = np.kron(coarse, np.ones((16, 16)))[:size, :size]
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512}
    for number, band in enumerate(BANDS):
        values = 9000 + 800 * texture + 100 * number + rng.normal(0, 60, (size, size))
        pixels = np.where(tilted < 0.72, values, 0).astype("uint16")
        for kind, options in (("raw", {}), ("deflate", {"compress": "deflate", "predictor": 2})):
            write_geotiff(
                folder / kind / f"{band}.tif", pixels, crs="EPSG:32615", transform=affine,
                nodata=0, **layout, **options,
            )  # fmt: skip
    with rasterio.open(folder / "raw" / "B1.tif") as file:
        left, bottom, right, top = rasterio.warp.transform_bounds(file.crs, 5070, *file.bounds)
    shape = round((top - bottom) / 30), round((right - left) / 30)
    parcels = rng.integers(1, 255, (shape[0] // 13 + 1, shape[1] // 13 + 1), dtype="uint8")
    labels = np.kron(parcels, np.ones((13, 13), "uint8"))[: shape[0], : shape[1]]
    place = Affine(30, 0, 30 * round(left / 30), 0, -30, 30 * round(top / 30))
    write_geotiff(folder / "label.tif", labels, crs="EPSG:5070", transform=place, **layout)


def open_scene(folder: Path, kind: str, resampling: str) -> xr.Dataset:
    image = gx.open_raster({band: folder / kind / f"{band}.tif" for band in BANDS})
    label = gx.open_raster(folder / "label.tif", kind="categorical")
    label = label.isel(band=0, drop=True)
    return gx.merge({"image": image, "mask": label}, like="mask", resampling=resampling)


def windows(shape: tuple[int, int], number: int, order: str) -> list[Window]:
    """Chips all over a grid, but for its edges: at random, or row by row with half of them shared."""
    high, wide = (side // 8 for side in shape)
    if order == "random":
        rng = np.random.default_rng(0)
        rows = rng.integers(high, 7 * high - CHIP, number)
        cols = rng.integers(wide, 7 * wide - CHIP, number)
    else:
        step = CHIP // 2
        across = 6 * wide // step
        rows = high + np.arange(number) // across * step
        cols = wide + np.arange(number) % across * step
    return [Window(int(r), int(c), CHIP, CHIP) for r, c in zip(rows, cols, strict=True)]


def read_all(readers: Sequence[WindowReader], chips: Sequence[Window]) -> Callable[[], None]:
    """Read chips of several layers into memory that is used again, with validity."""
    memory = []
    for reader in readers:
        bands, times = everything(reader)
        shape = (len(times), len(bands), CHIP, CHIP)
        valid = np.empty((len(times), 1, CHIP, CHIP), bool)
        memory.append((np.empty(shape, reader.dtype), valid, bands, times))

    def run() -> None:
        for chip in chips:
            for reader, (out, valid, bands, times) in zip(readers, memory, strict=True):
                reader.read(chip, out, valid, bands=bands, times=times)

    return run


def through_xarray(layer: xr.DataArray, chips: Sequence[Window]) -> Callable[[], None]:
    def run() -> None:
        for chip in chips:
            rows, cols = chip.slices
            layer.isel(y=rows, x=cols).values  # noqa: B018

    return run


def bare(reader: WindowReader, chips: Sequence[Window]) -> Callable[[], None]:
    bands, times = everything(reader)

    def run() -> None:
        for chip in chips:
            out = np.empty((len(times), len(bands), CHIP, CHIP), reader.dtype)
            reader.read(chip, out, None, bands=bands, times=times)

    return run


def with_rasterio(
    folder: Path, kind: str, resampling: str, ds: xr.Dataset, chips: Sequence[Window]
) -> Callable[[], None]:
    """Read the source window of every band and warp it, from files that stay open."""
    files = [rasterio.open(folder / kind / f"{band}.tif") for band in BANDS]
    label = rasterio.open(folder / "label.tif")
    affine = ds.geoxr.geobox.affine
    to_label = ~label.transform @ affine
    out = np.empty((7, CHIP, CHIP), "uint16")

    def run() -> None:
        for chip in chips:
            place = affine @ Affine.translation(chip.col, chip.row)
            bounds = rasterio.transform.array_bounds(CHIP, CHIP, place)
            box = rasterio.warp.transform_bounds(label.crs, files[0].crs, *bounds)
            window = files[0].window(*box).round_offsets().round_lengths(op="ceil")
            window = rasterio.windows.Window(
                window.col_off - 2, window.row_off - 2, window.width + 4, window.height + 4
            )
            source = np.stack([file.read(1, window=window) for file in files])
            rasterio.warp.reproject(
                source, out, src_transform=files[0].window_transform(window),
                src_crs=files[0].crs, src_nodata=0, dst_transform=place, dst_crs=label.crs,
                dst_nodata=0, resampling=Resampling[resampling], XSCALE=1, YSCALE=1,
            )  # fmt: skip
            col, row = to_label @ (chip.col, chip.row)
            label.read(1, window=rasterio.windows.Window(round(col), round(row), CHIP, CHIP))

    return run


def chip_ways(folder: Path, chips: int) -> list[Way]:
    ways = []
    cases = [
        ("raw", "nearest", "random"), ("raw", "bilinear", "random"), ("raw", "cubic", "random"),
        ("deflate", "nearest", "random"), ("deflate", "nearest", "grid"),
    ]  # fmt: skip
    for kind, resampling, order in cases:
        ds = open_scene(folder, kind, resampling)
        chosen = windows(ds.geoxr.geobox.shape, chips, order)
        readers = [resolve(ds[name]).reader for name in ("image", "mask")]
        case = f"chip, {kind}, {resampling}, {order}"
        ways += [
            Way(case, "geoxr", read_all(readers, chosen), chips),
            Way(
                case, "rasterio",
                with_rasterio(folder, kind, resampling, ds, chosen), chips,
            ),
        ]  # fmt: skip
    ds = open_scene(folder, "raw", "nearest")
    chosen = windows(ds.geoxr.geobox.shape, chips, "random")
    case = "one layer, through xarray"
    return [
        *ways,
        Way(case, "isel().values", through_xarray(ds["image"], chosen), chips),
        Way(case, "bare read", bare(resolve(ds["image"]).reader, chosen), chips),
    ]


def warp_with_rasterio(image: xr.DataArray, like: xr.Dataset, method: str) -> Callable[[], None]:
    source, target = image.geoxr.geobox, like.geoxr.geobox
    pixels = image.values

    def run() -> None:
        out = np.empty((7, *target.shape), image.dtype)  # as compute() makes a new one
        rasterio.warp.reproject(
            pixels, out, src_transform=source.affine, src_crs=source.crs.to_wkt(), src_nodata=0,
            dst_transform=target.affine, dst_crs=target.crs.to_wkt(), dst_nodata=0,
            resampling=Resampling[method], num_threads=1,
        )  # fmt: skip

    return run


def scene_ways(folder: Path) -> list[Way]:
    """Warp everything from memory to memory, so that only the warp counts, and from files."""
    ways = []
    image = gx.open_raster({band: folder / "raw" / f"{band}.tif" for band in BANDS})
    loaded = image.copy(data=image.values).geoxr.write_nodata(0)
    for method in ("nearest", "bilinear"):
        ds = open_scene(folder, "raw", method)
        in_memory = loaded.geoxr.reproject_match(ds, resampling=method)
        case = f"whole scene, {method}"
        ways += [
            Way(case, "geoxr, memory", in_memory.compute, 1),
            Way(case, "geoxr, files", ds["image"].compute, 1),
            Way(case, "rasterio", warp_with_rasterio(image, ds, method), 1),
        ]
    return ways


def measure(way: Way) -> tuple[float, float]:
    """Milliseconds of wall and CPU time for each piece of work."""
    wall, cpu = time.perf_counter(), time.process_time()
    way.run()
    each = 1000 / way.times
    return each * (time.perf_counter() - wall), each * (time.process_time() - cpu)


def report(rounds: Mapping[tuple[str, str], list[tuple[float, float]]]) -> None:
    print(f"{'case':<34}{'way':<16}{'CPU ms':>10}{'range':>20}{'wall ms':>10}{'ratio':>8}")
    base = dict(rounds.keys())  # the last way of each case
    for (case, name), figures in rounds.items():
        walls, cpus = np.array(figures).T
        middle = statistics.median(cpus)
        other = statistics.median(np.array(rounds[case, base[case]])[:, 1])
        span = f"{cpus.min():.2f} - {cpus.max():.2f}"
        print(
            f"{case:<34}{name:<16}{middle:>10.2f}{span:>20}{np.median(walls):>10.2f}"
            f"{other / middle:>7.1f}x"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096, help="side of the scene [pixel]")
    parser.add_argument("--chips", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    # One thread each, and the same cache, less than a third of the scene: random chips are decoded.
    alike = gx.options.set(tile_cache=CACHE << 20, threads=1)
    with tempfile.TemporaryDirectory() as name, rasterio.Env(GDAL_CACHEMAX=CACHE), alike:
        folder = Path(name)
        make_scene(folder, arguments.size)
        ways = chip_ways(folder, arguments.chips) + scene_ways(folder)
        for way in ways:  # compile, fill the page cache
            way.run()
        rounds: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for _ in range(arguments.rounds):
            for way in ways:
                rounds.setdefault((way.case, way.name), []).append(measure(way))
    report(rounds)
    if arguments.json is not None:
        table = {f"{case} | {name}": figures for (case, name), figures in rounds.items()}
        arguments.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

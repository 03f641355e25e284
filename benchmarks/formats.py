"""What people really have: what `to_torch` costs beyond reading and warping alone, format by format.

The case: two Landsat-like scenes in two UTM zones under a crop map (see `benchmarks.race.layers`), their
files written in other ways, or the same as somebody's own arrays; a mosaic of 2,000 scenes; and layers
derived from others. "Alone" is the bare reader of each layer that fills native arrays, allocated once,
with the very same chips in the same order, validity and all. Both run in turns in one thread; files are
in the page cache, decoded tiles are kept in a quarter of what the scenes hold. No row may cost more than
1.3 times that. With ``dtype="native"`` `to_torch` writes the same bytes as the bare reader; by default it
writes float32 and int64, two and a half times as many.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
import torch
import xarray as xr

import geoxr as gx
from benchmarks import mosaic
from benchmarks.race.case import CHIP
from benchmarks.race.layers import cube_of, make_data, open_layers, write_cube
from geoxr.grid.window import Window
from geoxr.io.dataset import layer_names, layer_reader
from geoxr.io.reader import everything

BATCH = 32
#: Most CPU time of `to_torch`, in that of reading and warping alone.
LIMIT = 1.3
#: Variants that hold the scenes of "raw", by what GDAL is told to make of them.
CODECS: Mapping[str, Mapping[str, str | int]] = {
    "cog": {"driver": "COG", "compress": "deflate", "predictor": "yes"},
    "lzw": {"driver": "GTiff", "tiled": "yes", "compress": "lzw", "predictor": 2},
    "zstd": {"driver": "GTiff", "tiled": "yes", "compress": "zstd", "predictor": 2},
    "jp2": {"driver": "JP2OpenJPEG", "quality": "100", "reversible": "yes"},
}


@dataclass(frozen=True)
class Row:
    """A Dataset as people have it.

    Attributes
    ----------
    less : int
        So many times fewer chips are read than of others.
    """

    name: str
    open: Callable[[Path], xr.Dataset]
    less: int = 1


def transcode(root: Path, variant: str) -> None:
    """Write the raw scenes in another way, band by band."""
    for path in sorted((root / "raw" / "landsat").rglob("*.TIF")):
        target = root / variant / path.relative_to(root / "raw")
        target.parent.mkdir(parents=True, exist_ok=True)
        if variant == "jp2":
            target = target.with_suffix(".jp2")
        rasterio.shutil.copy(path, target, **CODECS[variant])


def opened(variant: str, resampling: str = "nearest") -> Callable[[Path], xr.Dataset]:
    return lambda root: open_layers(root, variant, resampling)


def jpeg_2000(root: Path) -> xr.Dataset:
    """Open files of a sensor of one's own."""
    product = gx.Product(
        name="landsat-jp2",
        pattern=r"LC08_L2SP_\d{6}_(?P<date>\d{8})_\d{8}_02_T1_(?P<band>SR_B[1-7])\.jp2",
        bands=tuple(gx.Band(f"SR_B{number}") for number in range(1, 8)),
        nodata=0,
    )
    image = gx.open_product(
        product, root / "jp2" / "landsat", time="collapse", crs="auto", resampling="nearest"
    )
    label = gx.open_product("cdl", root / "raw" / "cdl")
    return gx.merge({"image": image, "mask": label}, like="mask", resampling="nearest")


def in_memory(root: Path) -> xr.Dataset:
    """Arrays of somebody's own, on the grid of the labels."""
    ds = open_layers(root, "pre", "nearest").compute()
    place = {"y": ds["y"].values, "x": ds["x"].values}
    layers = {}
    for name, dims in (("image", ("band", "y", "x")), ("mask", ("y", "x"))):
        own = xr.DataArray(ds[name].values, place, dims)
        layers[name] = own.geoxr.write_crs(ds.geoxr.crs).geoxr.write_nodata(0)
    layers["mask"].attrs["kind"] = "categorical"
    return gx.merge(layers, like="mask")


def in_dask(root: Path) -> xr.Dataset:
    ds = in_memory(root)
    chunked = {name: ds[name].chunk({"y": 512, "x": 512}) for name in ("image", "mask")}
    return gx.merge({n: a.geoxr.write_nodata(0) for n, a in chunked.items()}, like="mask")


def many_scenes(root: Path) -> xr.Dataset:
    folder = root / "scenes"
    if not folder.exists():
        mosaic.archive(folder, 2000)
    return gx.open_raster(folder, crs="EPSG:3035", resolution=100).to_dataset(name="image")


def vegetation(root: Path) -> xr.Dataset:
    ds = open_layers(root, "raw", "nearest")
    ndvi = gx.map(
        lambda bands: (bands[4:5] - bands[3:4]) / (bands[4:5] + bands[3:4]),
        ds["image"].geoxr.decode(), bands=["NDVI"],
    )  # fmt: skip
    return gx.merge({"image": ndvi, "mask": ds["mask"]}, like="mask")


ROWS = (
    Row("GeoTIFF, uncompressed", opened("raw")),
    Row("the same, bilinear", opened("raw", "bilinear")),
    Row("COG, DEFLATE, predictor 2", opened("cog"), 2),
    Row("GeoTIFF, LZW, predictor 2", opened("lzw"), 4),
    Row("GeoTIFF, ZSTD, predictor 2", opened("zstd"), 4),
    Row("JPEG 2000", jpeg_2000, 64),
    Row("Zarr, blosc, 256", opened("zarr")),
    Row("arrays in memory", in_memory),
    Row("dask arrays", in_dask, 8),
    Row("mosaic of 2,000 scenes", many_scenes, 4),
    Row("decoded, NDVI", vegetation),
)


def through_torch(ds: xr.Dataset, plan: gx.ChipPlan, dtype: str) -> Callable[[], None]:
    loader = ds.geoxr.to_torch(plan, batch_size=BATCH, threads=0, dtype=dtype)

    def run() -> None:
        loader.set_epoch(0)
        for _ in loader:
            pass

    return run


def alone(ds: xr.Dataset, plan: gx.ChipPlan) -> Callable[[], None]:
    """Read chips of all layers into native memory that is used again."""
    readers = [layer_reader(ds, name) for name in layer_names(ds)]
    memory = []
    for reader in readers:
        bands, times = everything(reader)
        pixels = np.empty((len(times), len(bands), *plan.size), reader.dtype)
        memory.append((pixels, np.empty((len(times), 1, *plan.size), bool), bands, times))
    windows = list(_in_order(plan))

    def run() -> None:
        for window in windows:
            for reader, (pixels, valid, bands, times) in zip(readers, memory, strict=True):
                reader.read(window, pixels, valid, bands=bands, times=times)

    return run


def _in_order(plan: gx.ChipPlan) -> Iterator[Window]:
    """Windows of a plan as `to_torch` reads them: by rows within a batch."""
    for start in range(0, len(plan), BATCH):
        corners = plan.spots(plan.indices(start, start + BATCH)).corners
        for row, col in corners[np.lexsort((corners[:, 1], corners[:, 0]))].tolist():
            yield Window(row, col, *plan.size)


def milliseconds(run: Callable[[], None], chips: int) -> float:
    """CPU time per chip."""
    start = time.process_time()
    run()
    return 1000 * (time.process_time() - start) / chips


def compare(row: Row, root: Path, chips: int, size: int, rounds: int) -> dict[str, list[float]]:
    """Measure `to_torch`, the same in the types of the files, and reading alone, in turns.

    Returns
    -------
    dict of str to list of float [ms]
        CPU time per chip of each, round by round.
    """
    ds = row.open(root)
    plan = ds.geoxr.random_chips(size, max(chips // row.less, 4), seed=0)
    ways = {
        "to_torch": through_torch(ds, plan, "float32"),
        "alone": alone(ds, plan),
        "native": through_torch(ds, plan, "native"),
    }
    for run in ways.values():  # compile, fill the page cache
        run()
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            found[name].append(milliseconds(ways[name], len(plan)))
    return found


def span(numbers: list[float]) -> str:
    return f"{statistics.median(numbers):.2f} [{min(numbers):.2f}-{max(numbers):.2f}]"


def line(name: str, found: Mapping[str, list[float]]) -> str:
    ratios = [a / b for a, b in zip(found["to_torch"], found["alone"], strict=True)]
    native = [a / b for a, b in zip(found["native"], found["alone"], strict=True)]
    verdict = "" if statistics.median(ratios) <= LIMIT else f"  OVER {LIMIT}"
    return (
        f"{name:<28}{span(found['to_torch']):>22}{span(found['alone']):>22}{span(ratios):>18}"
        f"{span(native):>18}{verdict}"
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", type=int, default=1024, help="side of a scene [pixel]")
    parser.add_argument("--chip-size", type=int, default=CHIP, help="[pixel]")
    parser.add_argument("--chips", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    asked = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    table = {}
    print(f"{'CPU ms per chip':<28}{'to_torch':>22}{'alone':>22}{'ratio':>18}{'ratio, native':>18}")
    # A quarter of the imagery, so that chips at random are decoded, as they are in large archives.
    cache = 2 * 7 * 2 * asked.scene**2 // 4
    bounded = rasterio.Env(GDAL_CACHEMAX=max(cache >> 20, 1))
    ours = gx.options.set(tile_cache=cache, chunk_cache=cache)
    with tempfile.TemporaryDirectory() as name, bounded, ours:
        root = make_data(Path(name), asked.scene)
        write_cube(root, cube_of(root))
        for variant in CODECS:
            transcode(root, variant)
        for row in ROWS:
            if asked.only in row.name:
                table[row.name] = compare(row, root, asked.chips, asked.chip_size, asked.rounds)
                print(line(row.name, table[row.name]), flush=True)
    if asked.json is not None:
        asked.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

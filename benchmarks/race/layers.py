"""The data of the race: opened the way a user would, or made small where none is given.

The layout is that of the full data: ``<variant>/landsat/<scene>/*_SR_B1.tif`` to B7 in the UTM zone of
each scene, ``<variant>/cdl/<year>_30m_cdls.tif`` in EPSG:5070.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import rasterio
import rasterio.warp
import xarray as xr
from rasterio.enums import Resampling

import geoxr as gx
from geoxr.testing import make_landsat_cdl, write_geotiff


def open_layers(root: Path, variant: str, resampling: str) -> xr.Dataset:
    """Open a variant as one lazy Dataset on the grid of the labels."""
    if variant == "zarr":
        cube = gx.open_zarr(cube_of(root))
        return gx.merge({"image": cube["image"], "mask": cube["mask"]}, like="mask")
    folder = root / variant / "landsat"
    if variant == "multiband":
        image = gx.open_raster(
            in_order(folder.glob("*.tif")), time="collapse", crs="auto", resampling=resampling
        )
    else:
        image = gx.open_product(
            "landsat8-l2-sr", folder, time="collapse", crs="auto", resampling=resampling
        )
    label = gx.open_product("cdl", labels_of(root, variant))
    return gx.merge({"image": image, "mask": label}, like="mask", resampling=resampling)


def in_order(scenes: Iterable[Path]) -> list[Path]:
    """Sort scenes, named LC08_<level>_<path and row>_<date>_..., by date: the first lies on top."""
    return sorted(scenes, key=lambda path: path.name.split("_")[3])


def labels_of(root: Path, variant: str) -> Path:
    """Folder of the labels; those of raw for variants that have none of their own."""
    own = root / variant / "cdl"
    return own if own.exists() else root / "raw" / "cdl"


def cube_of(root: Path) -> Path:
    """Where the Zarr cube is."""
    return root / "pre.zarr"


def write_cube(root: Path, path: Path) -> None:
    """Write what was warped beforehand into a Zarr cube: blosc, chunks of 256."""
    open_layers(root, "pre", "nearest").geoxr.to_zarr(path, chunks=256)


def files_of(root: Path, variant: str) -> list[Path]:
    """List the files of a variant."""
    folders = {root / variant, labels_of(root, variant)}
    if variant == "zarr":
        folders = {cube_of(root)}
    return sorted({path for folder in folders for path in folder.rglob("*") if path.is_file()})


def make_data(root: Path, size: int) -> Path:
    """Write two small scenes and labels in all variants but the cube."""
    made = make_landsat_cdl(root / "made", size=size)
    label = root / "raw" / "cdl" / made.mask.name
    for paths in made.images:
        for path in paths:
            scene = Path("landsat") / path.parent.name / path.name
            (root / "raw" / scene).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, root / "raw" / scene)
            _compress(root / "raw" / scene, root / "deflate" / scene, predictor=2)
        scene = root / "raw" / "landsat" / paths[0].parent.name
        _stack(scene, root / "multiband" / "landsat" / f"{scene.name}.tif")
        _warp(scene, made.mask, root / "pre" / "landsat" / scene.name)
    for variant in ("raw", "pre"):
        (root / variant / "cdl").mkdir(parents=True, exist_ok=True)
        shutil.copy(made.mask, root / variant / "cdl")
    _compress(label, root / "deflate" / "cdl" / label.name, predictor=1)
    shutil.rmtree(root / "made")
    return root


def _compress(source: Path, target: Path, predictor: int) -> None:
    with rasterio.open(source) as file:
        write_geotiff(
            target, file.read(), crs=file.crs, transform=file.transform, nodata=file.nodata,
            compress="deflate", predictor=predictor,
        )  # fmt: skip


def _stack(scene: Path, target: Path) -> None:
    files = [rasterio.open(path) for path in sorted(scene.iterdir())]
    write_geotiff(
        target, np.concatenate([file.read() for file in files]), crs=files[0].crs,
        transform=files[0].transform, nodata=0, interleave="pixel",
    )  # fmt: skip


def _warp(scene: Path, label: Path, target: Path) -> None:
    """Warp a scene onto the grid of the labels, as people do beforehand."""
    with rasterio.open(label) as grid:
        shape, transform, crs = grid.shape, grid.transform, grid.crs
    for path in sorted(scene.iterdir()):
        out = np.zeros(shape, "uint16")
        with rasterio.open(path) as file:
            rasterio.warp.reproject(
                rasterio.band(file, 1), out, dst_transform=transform, dst_crs=crs,
                src_nodata=0, dst_nodata=0, resampling=Resampling.nearest,
            )  # fmt: skip
        write_geotiff(target / path.name, out, crs=crs, transform=transform, nodata=0)

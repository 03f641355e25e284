"""Small real GeoTIFFs for tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import rasterio
from affine import Affine

from geoxr.errors import ArgumentError, DiskFullError
from geoxr.typing import CRSLike, PathLike

#: Tiles, so that files are read as those of real products are; what GDAL itself would do is strips.
DEFAULTS: dict[str, str | int | bool] = {"tiled": True, "blockxsize": 256, "blockysize": 256}


def write_geotiff(
    path: PathLike,
    array: npt.NDArray[Any],
    *,
    crs: CRSLike,
    transform: Affine,
    nodata: float | None = None,
    colormap: Mapping[int, tuple[int, ...]] | None = None,
    band_names: Sequence[str] | None = None,
    **creation: str | int | float | bool,
) -> Path:
    """Write an array as a GeoTIFF, tiled and uncompressed unless told otherwise.

    The file appears under its name when it is complete; a file of that name is replaced.

    Parameters
    ----------
    path : path
        Parent directories are made.
    array : array, (y, x) or (band, y, x)
    crs : anything pyproj understands, or None
    transform : Affine
        From (column, row) to (x, y); pixel (0, 0) is the outer corner of the top-left pixel.
    nodata : float, optional
    colormap : mapping of value to (red, green, blue) or (red, green, blue, alpha), optional
        Palette of a single uint8 or uint16 band, 0 to 255; other values become black.
    band_names : sequence of str, optional
        Descriptions of the bands.
    **creation
        Creation options of GDAL's GTiff driver, such as ``compress="deflate"`` or ``tiled=False``.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ArgumentError
        `array` has neither two nor three dimensions, or the names are not one per band.
    DiskFullError
        The file could not be written in full.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from affine import Affine
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_geotiff(
    ...         f"{folder}/a.tif", np.eye(3, dtype="uint8"), crs="EPSG:32615",
    ...         transform=Affine(30, 0, 600_015, 0, -30, 4_600_005), nodata=0,
    ...     )
    ...     with rasterio.open(path) as file:
    ...         print(file.crs, file.nodata, file.read(1).sum())
    EPSG:32615 0.0 3
    """
    pixels = _with_bands(array)
    if band_names is not None and len(band_names) != len(pixels):
        raise ArgumentError(
            f"{len(band_names)} band names for {len(pixels)} bands. Give one name per band, "
            f"for example band_names={[f'B{i + 1}' for i in range(len(pixels))]}."
        )
    profile = {
        "driver": "GTiff",
        "dtype": pixels.dtype.name,
        "count": pixels.shape[0],
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "crs": crs,
        "transform": transform,
        "nodata": nodata,
        **({} if creation.get("tiled") is False else DEFAULTS),
        **creation,
    }
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        with rasterio.open(partial, "w", **profile) as file:
            file.write(pixels)
            if colormap is not None:
                file.write_colormap(1, dict(colormap))
            for number, name in enumerate(band_names or (), start=1):
                file.set_band_description(number, name)
        # GDAL may flush on closing, where errors are only logged.
        if "compress" not in profile and partial.stat().st_size < pixels.nbytes:
            raise _disk_full(target, pixels.nbytes)
        os.replace(partial, target)
    except OSError as error:
        if shutil.disk_usage(target.parent).free < pixels.nbytes:
            raise _disk_full(target, pixels.nbytes) from error
        raise
    finally:
        partial.unlink(missing_ok=True)
    return target


def _with_bands(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.ndim not in (2, 3):
        raise ArgumentError(
            f"The array has {array.ndim} dimensions. A raster has two, (y, x), or three, "
            "(band, y, x): select or squeeze the others first, for example array[0]."
        )
    return array[None] if array.ndim == 2 else array


def _disk_full(path: Path, size: int) -> DiskFullError:
    return DiskFullError(
        f"{path} was not written in full: it takes {size / 1e6:.1f} MB and "
        f"{shutil.disk_usage(path.parent).free / 1e6:.1f} MB are free. "
        "Free some space, or write to another disk."
    )

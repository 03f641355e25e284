"""A layer to a Cloud Optimized GeoTIFF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import xarray as xr

from geoxr.errors import ArgumentError, DiskFullError
from geoxr.export.staged import disk_full, staged
from geoxr.grid.classes import Classes
from geoxr.grid.crs import require_crs
from geoxr.grid.geobox import extent
from geoxr.grid.meaning import classes_of, kind_of
from geoxr.io.packing import packed, packing, units
from geoxr.io.reader import WindowReader, everything
from geoxr.io.resolve import resolve
from geoxr.typing import PathLike

#: Edge of the windows that are copied, and of the blocks in the file [pixel].
_WINDOW, _BLOCK = 2048, 512


def to_cog(da: xr.DataArray, path: PathLike, *, overwrite: bool = False) -> Path:
    """Write a layer as a Cloud Optimized GeoTIFF: tiled, compressed, with overviews.

    CRS, transform, nodata, the name, unit, scale and offset of each band, and for labels the palette
    and class names are written along; validity that no number marks becomes a mask. Pixels are
    copied window by window.

    Parameters
    ----------
    da : DataArray
        Dimensions ``(band, y, x)`` or ``(y, x)``.
    path : path
        Of a file that appears when everything is written.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Path

    Raises
    ------
    OutputExistsError, DiskFullError
        Nothing is left under the final name.
    """
    if da.dtype.kind == "c" or da.dtype == np.float16:
        raise ArgumentError(f"A GeoTIFF of {da.dtype} cannot be written; convert it first.")
    if "time" in da.dims:
        raise ArgumentError("A GeoTIFF has no time axis. Write one date: da.isel(time=0).")
    reader = resolve(da).reader
    require_crs(reader.geobox, "The layer")
    final = Path(path)
    if final.suffix.lower() not in (".tif", ".tiff"):
        raise ArgumentError(f"{final.name} must end in .tif, so that others know what it is.")
    with staged(final, overwrite=overwrite) as temporary:
        plain = temporary.with_name(f"{temporary.stem}.plain.tif")
        try:
            # Looked at before the plain file is removed, which frees space again.
            with disk_full(final):
                _write_plain(plain, da, reader)
                _copy_cog(plain, temporary, kind_of(da) == "categorical")
        finally:
            plain.unlink(missing_ok=True)
    return final


def _write_plain(path: Path, da: xr.DataArray, reader: WindowReader) -> None:
    geobox = reader.geobox
    dtype = np.dtype("uint8") if reader.dtype == bool else reader.dtype
    tiled = min(geobox.shape) >= 16
    options: dict[str, Any] = {"tiled": tiled}
    if tiled:
        options.update(blockxsize=_BLOCK, blockysize=_BLOCK)
    assert geobox.crs is not None
    # A mask inside the file, not beside it.
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(
        path, "w", driver="GTiff", count=len(reader.bands), dtype=dtype, crs=geobox.crs.to_wkt(),
        transform=geobox.affine, height=geobox.height, width=geobox.width, nodata=reader.nodata,
        bigtiff="IF_SAFER", **options,
    ) as file:  # fmt: skip
        _describe(file, da, reader, classes_of(da))
        bands, _ = everything(reader)
        for window in extent(geobox).tiles(_WINDOW):
            block = np.empty((1, len(bands), window.height, window.width), reader.dtype)
            valid = np.empty((1, 1, window.height, window.width), bool) if reader.masked else None
            reader.read(window, block, valid, bands=bands, times=(0,))
            rows, cols = window.slices
            area = rasterio.windows.Window.from_slices(rows, cols)
            file.write(block[0].astype(dtype, copy=False), window=area)
            if valid is not None:
                file.write_mask(valid[0, 0], window=area)
    _check_written(path, dtype, len(bands), geobox.shape)


def _describe(file: Any, da: xr.DataArray, reader: WindowReader, classes: Classes | None) -> None:
    for i, name in enumerate(reader.bands, 1):
        file.set_band_description(i, name)
    number = len(reader.bands)
    written = units(da)
    if written:
        file.units = written * (number // len(written))
    if kind_of(da) == "continuous" and packed(da):
        scales, offsets = packing(da)
        file.scales = scales * (number // len(scales))
        file.offsets = offsets * (number // len(offsets))
    if classes is None:
        return
    tags = classes.to_attrs()
    file.update_tags(1, **tags | {"flag_values": " ".join(map(str, classes.values))})
    paints = file.dtypes[0] in ("uint8", "uint16") and file.count == 1
    if paints and min(classes.values) >= 0:
        table = {
            value: (*map(int, color), 255)
            for value, color in zip(classes.values, classes.rgb(), strict=True)
        }
        file.write_colormap(1, table)


def _check_written(path: Path, dtype: np.dtype, bands: int, shape: Any) -> None:
    """Raise if the file is shorter than its pixels: GDAL may report a full disk too late."""
    expected = int(shape[0]) * int(shape[1]) * bands * dtype.itemsize
    if path.stat().st_size < expected:
        raise DiskFullError(
            f"{path.name} has {path.stat().st_size} bytes, fewer than its {expected} bytes of pixels: "
            f"no space left on the disk? Free some, or choose another place."
        )


def _copy_cog(plain: Path, path: Path, labels: bool) -> None:
    with rasterio.open(plain) as file:
        predictor = "YES" if file.dtypes[0] not in ("uint8", "bool") else "NO"
    rasterio.shutil.copy(
        plain,
        path,
        driver="COG",
        compress="DEFLATE",
        predictor=predictor,
        blocksize=_BLOCK,
        overview_resampling="NEAREST" if labels else "AVERAGE",
        bigtiff="IF_SAFER",
    )
    with rasterio.open(path) as file:
        # Reading the last block finds a file that a full disk cut short.
        for _, window in list(file.block_windows(1))[-1:]:
            file.read(window=window)

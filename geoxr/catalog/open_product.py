"""`open_product`: files of a known sensor or label product as one lazy layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.catalog.catalog import Catalog
from geoxr.catalog.paths import find_files
from geoxr.catalog.scan import Errors, Given, SceneFiles, check_errors, scan
from geoxr.catalog.scenes import Look, Target, Time, layer_of
from geoxr.catalog.table import SceneTable
from geoxr.derive.decode import decode as decoded
from geoxr.errors import MissingFileError
from geoxr.io.reader import WindowReader
from geoxr.products.files import scenes_of
from geoxr.products.product import Band, Product
from geoxr.products.registry import find_product
from geoxr.typing import Align, Bounds, CRSLike, Overlap, PathLike, Resampling


def open_product(
    product: str | Product,
    paths: PathLike | Sequence[PathLike] | Catalog,
    *,
    bands: Sequence[str] | None = None,
    years: Sequence[int] | None = None,
    crs: CRSLike | None = None,
    resolution: float | tuple[float, float] | None = None,
    bounds: Bounds | None = None,
    like: xr.DataArray | xr.Dataset | GeoBox | None = None,
    align: Align | None = None,
    time: Time | None = None,
    overlap: Overlap = "first",
    resampling: Resampling | None = None,
    decode: bool = False,
    chunks: Any = None,
    errors: Errors = "raise",
) -> xr.DataArray:
    """Open files of a product as one lazy layer. Reads headers, no pixels.

    Parameters
    ----------
    product : str or Product
        A name out of `list_products`, or a description of your own.
    paths : path, list, pattern, directory or Catalog
        Files that the pattern of the product does not match are left out.
    bands : sequence of str, optional
        Bands to keep, by own ("SR_B4") or common name ("red").
    years : sequence of int, optional
        Years to keep.
    time : {"each", "collapse"}, optional
        A time axis, or dates merged by the `overlap` rule, the earliest first. Default: a time axis
        if there are several dates.
    decode : bool
        Turn stored numbers into the quantities that the product measures, as `da.geoxr.decode()`
        does. Labels keep their codes.
    crs, resolution, bounds, like, align, overlap, resampling, chunks
        As for `open_raster`.
    errors : {"raise", "skip"}
        With "skip", scenes that lack a band, cannot be opened or are unlike most are left out, and
        one warning counts and names them.

    Returns
    -------
    DataArray
        Dimensions ``(band, y, x)``, with ``time`` first where there are dates; a label product has
        ``(y, x)``.

    Raises
    ------
    MissingFileError
        If no file matches; the message has three examples and the pattern.
    """
    product = find_product(product)
    kept = [product.band(name) for name in bands] if bands is not None else list(product.bands)
    check_errors(errors)
    first: WindowReader | None = None
    skipped: list[str] = []
    if isinstance(paths, Catalog):
        table = _in_years(paths.table, years)
        if bands is None and len(product.bands) > 1:
            kept = [product.band(name) for name in table.header(0).bands]
    else:
        named, incomplete = scenes_of(
            product, find_files(paths), kept, years=years, skip=errors == "skip"
        )
        scenes = [SceneFiles(one.paths, one.bands, one.start, one.end) for one in named]
        found = scan(scenes, Given(default=product.nodata, kind=product.kind), errors=errors)
        table, skipped = found.table, [*incomplete, *found.skipped]
        first = found.first if len(table) == 1 else None
    layer = layer_of(
        table,
        Target(crs=crs, resolution=resolution, bounds=bounds, like=like, align=align),
        Look(
            product.name, product.kind, product.classes, product.attrs(),
            band=None if product.kind == "categorical" else "band",
        ),
        bands=[band.name for band in kept] if len(product.bands) > 1 else None,
        time=time,
        overlap=overlap,
        resampling=resampling,
        default=product.nodata,
        errors=errors,
        skipped=skipped,
        first=first,
        ordered=isinstance(paths, Catalog) and paths.ordered,
    )  # fmt: skip
    if "band" in layer.dims:
        layer = layer.assign_coords(_band_coords(kept))
    if decode and product.kind == "continuous":
        layer = decoded(layer)
    return layer if chunks is None else layer.chunk(chunks)


def _in_years(table: SceneTable, years: Sequence[int] | None) -> SceneTable:
    """Keep scenes that begin in some years.

    Raises
    ------
    MissingFileError
        If there is none of a year.
    """
    if years is None:
        return table
    found = table.starts.astype("datetime64[Y]").astype(int) + 1970
    missing = sorted({int(year) for year in years} - set(found.tolist()))
    if missing:
        known = sorted(set(found[~np.isnat(table.starts)].tolist()))
        raise MissingFileError(f"The catalog has no scenes of {missing}; it has some of {known}.")
    return table.take(np.flatnonzero(np.isin(found, list(map(int, years)))))


def _band_coords(bands: Sequence[Band]) -> dict[str, tuple[str, np.ndarray]]:
    coords: dict[str, tuple[str, np.ndarray]] = {}
    if all(band.common for band in bands):
        coords["common_name"] = ("band", np.array([band.common for band in bands]))
    if all(band.wavelength for band in bands):
        coords["wavelength"] = ("band", np.array([band.wavelength for band in bands]))
    return coords

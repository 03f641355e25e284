"""`open_product`: files of a known sensor or label product as one lazy layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.catalog.paths import find_files
from geoxr.catalog.scan import Errors, Given, SceneFiles, check_errors, scan
from geoxr.catalog.scenes import Look, Target, Time, layer_of
from geoxr.derive.decode import decode as decoded
from geoxr.products.files import scenes_of
from geoxr.products.product import Band, Product
from geoxr.products.registry import find_product
from geoxr.typing import Align, Bounds, CRSLike, Overlap, PathLike, Resampling


def open_product(
    product: str | Product,
    paths: PathLike | Sequence[PathLike],
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
    paths : path, list, pattern or directory
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
    named, incomplete = scenes_of(
        product, find_files(paths), kept, years=years, skip=errors == "skip"
    )
    scenes = [SceneFiles(one.paths, one.bands, one.start, one.end) for one in named]
    given = Given(default=product.nodata, kind=product.kind)
    found = scan(scenes, given, errors=errors)
    layer = layer_of(
        found.table,
        Target(crs=crs, resolution=resolution, bounds=bounds, like=like, align=align),
        Look(
            product.name, product.kind, product.classes, product.attrs(),
            band=None if product.kind == "categorical" else "band",
        ),
        time=time,
        overlap=overlap,
        resampling=resampling,
        default=product.nodata,
        errors=errors,
        skipped=[*incomplete, *found.skipped],
        first=found.first if len(found.table) == 1 else None,
    )  # fmt: skip
    if "band" in layer.dims:
        layer = layer.assign_coords(_band_coords(kept))
    if decode and product.kind == "continuous":
        layer = decoded(layer)
    return layer if chunks is None else layer.chunk(chunks)


def _band_coords(bands: Sequence[Band]) -> dict[str, tuple[str, np.ndarray]]:
    coords: dict[str, tuple[str, np.ndarray]] = {}
    if all(band.common for band in bands):
        coords["common_name"] = ("band", np.array([band.common for band in bands]))
    if all(band.wavelength for band in bands):
        coords["wavelength"] = ("band", np.array([band.wavelength for band in bands]))
    return coords

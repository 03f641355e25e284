"""`open_product`: files of a known sensor or label product as one lazy layer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.catalog.paths import find_files
from geoxr.catalog.scan import Errors, Given, SceneFiles, check_errors, scan
from geoxr.catalog.scenes import Look, Target, Time, layer_of
from geoxr.derive.decode import decode as decoded
from geoxr.errors import ArgumentError, MissingFileError
from geoxr.products.cdl import CDL
from geoxr.products.landsat import LANDSAT8_L2_SR
from geoxr.products.product import Band, Product
from geoxr.typing import Align, Bounds, CRSLike, Overlap, PathLike, Resampling

_PRODUCTS = {product.name: product for product in (LANDSAT8_L2_SR, CDL)}


def products() -> Mapping[str, Product]:
    """Return the products that geoxr knows, by name."""
    return dict(_PRODUCTS)


def list_products() -> Any:
    """Return a table of the products that geoxr knows.

    Returns
    -------
    pandas.DataFrame
        One row per product: title, kind, bands, units, classes, licence.
    """
    import pandas as pd

    rows = {
        product.name: {
            "title": product.title,
            "kind": product.kind,
            "bands": ", ".join(band.common or band.name for band in product.bands),
            "units": product.units,
            "classes": len(product.classes) if product.classes else 0,
            "license": product.license,
        }
        for product in _PRODUCTS.values()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


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
    product = _find(product)
    kept = [product.band(name) for name in bands] if bands is not None else list(product.bands)
    check_errors(errors)
    scenes, incomplete = _scenes(product, find_files(paths), kept, years, errors)
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


def _find(product: str | Product) -> Product:
    if isinstance(product, Product):
        return product
    if product not in _PRODUCTS:
        raise ArgumentError(
            f"There is no product {product!r}. geoxr knows {', '.join(_PRODUCTS)}; describe your "
            f"own with gx.Product(name=..., pattern=..., bands=...)."
        )
    return _PRODUCTS[product]


def _band_coords(bands: Sequence[Band]) -> dict[str, tuple[str, np.ndarray]]:
    coords: dict[str, tuple[str, np.ndarray]] = {}
    if all(band.common for band in bands):
        coords["common_name"] = ("band", np.array([band.common for band in bands]))
    if all(band.wavelength for band in bands):
        coords["wavelength"] = ("band", np.array([band.wavelength for band in bands]))
    return coords


@dataclass(frozen=True)
class _File:
    """A file of a product: which scene, which band, which date."""

    path: str
    scene: str
    band: str
    time: np.datetime64 | None


def _scenes(
    product: Product,
    paths: Sequence[str],
    bands: Sequence[Band],
    years: Sequence[int] | None,
    errors: Errors,
) -> tuple[list[SceneFiles], list[str]]:
    """Sort files into scenes; with ``errors="skip"`` also why some are left out."""
    files = [file for path in paths if (file := _parse(product, path)) is not None]
    if not files:
        examples = ", ".join(Path(path).name for path in paths[:3])
        raise MissingFileError(
            f"None of {len(paths)} files is named like {product.name}: {examples}. "
            f"The pattern is {product.pattern}"
        )
    if years is not None:
        wanted = {int(year) for year in years}
        found = Counter(str(file.time)[:4] for file in files)
        files = [file for file in files if int(str(file.time)[:4]) in wanted]
        missing = sorted(wanted - {int(str(file.time)[:4]) for file in files})
        if missing:
            raise MissingFileError(
                f"There are no {product.name} files of {missing}; there are of {sorted(found)}."
            )
    groups: dict[str, dict[str, _File]] = {}
    for file in files:
        scene = groups.setdefault(file.scene, {})
        if file.band in scene:
            raise ArgumentError(
                f"{file.path} and {scene[file.band].path} are the same scene and band. "
                f"Pass one of them only."
            )
        scene[file.band] = file
    scenes, incomplete = [], []
    for name, group in groups.items():
        try:
            scenes.append(_scene(product, name, group, bands))
        except MissingFileError as error:
            if errors == "raise":
                raise
            incomplete.append(str(error))
    if not scenes:
        raise MissingFileError(f"None of {len(groups)} scenes is complete. {incomplete[0]}")
    return scenes, incomplete


def _parse(product: Product, path: str) -> _File | None:
    name = Path(path).name
    match = product.match(name)
    if match is None:
        return None
    groups = match.groupdict()
    band = groups.get("band") or product.bands[0].name
    start, stop = match.span("band") if groups.get("band") else (0, 0)
    scene = name[:start] + name[stop:]
    return _File(path, scene, band, _date(product, path, groups.get("date")))


def _date(product: Product, path: str, text: str | None) -> np.datetime64 | None:
    if text is None:
        return None
    try:
        return np.datetime64(datetime.strptime(text, product.date_format), "ns")
    except ValueError as error:
        raise ArgumentError(
            f"{path}: the date {text!r} is not written as {product.date_format}."
        ) from error


def _scene(
    product: Product, name: str, files: Mapping[str, _File], bands: Sequence[Band]
) -> SceneFiles:
    time = next(iter(files.values())).time
    if len(product.bands) == 1:
        return SceneFiles((next(iter(files.values())).path,), time=time)
    missing = [band.name for band in bands if band.name not in files]
    if missing:
        label = re.sub(r"[_.]+$", "", Path(name).stem)
        raise MissingFileError(
            f"Scene {label} has no file for {', '.join(missing)}; it has {', '.join(sorted(files))}. "
            f"Leave these bands out with bands=[...], or add the files."
        )
    names = tuple(band.name for band in bands)
    return SceneFiles(tuple(files[name].path for name in names), names, time)

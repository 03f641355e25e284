"""`open_product`: files of a known sensor or label product as one lazy layer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.catalog.catalog import Catalog
from geoxr.catalog.given import masks_of
from geoxr.catalog.paths import find_files
from geoxr.catalog.scan import Errors, Given, Scanned, SceneFiles, check_errors, scan
from geoxr.catalog.scenes import Look, Target, Time, layer_of
from geoxr.catalog.table import SceneTable
from geoxr.catalog.vector import open_vector
from geoxr.derive.decode import decode as decoded
from geoxr.derive.decode import packs
from geoxr.errors import ArgumentError, MissingFileError
from geoxr.io.reader import WindowReader
from geoxr.products.files import NamedScene, scenes_of
from geoxr.products.product import QA, Band, Product
from geoxr.products.registry import find_product
from geoxr.products.strangers import no_match, strangers
from geoxr.typing import Align, Bounds, CRSLike, Overlap, PathLike, Resampling

#: Endings of files that hold features.
VECTORS = (".geojson", ".gpkg", ".fgb", ".parquet", ".shp")


def open_product(
    product: str | Product,
    paths: PathLike | Sequence[PathLike] | Catalog,
    *,
    bands: Sequence[str] | None = None,
    years: int | Sequence[int] | None = None,
    crs: CRSLike | None = None,
    resolution: float | tuple[float, float] | None = None,
    bounds: Bounds | None = None,
    like: xr.DataArray | xr.Dataset | GeoBox | None = None,
    align: Align | None = None,
    time: Time | None = None,
    toi: Any = None,
    overlap: Overlap = "first",
    sortby: str | None = None,
    resampling: Resampling | None = None,
    mask_clouds: bool = False,
    mask_saturated: bool = False,
    decode: bool = False,
    chunks: Any = None,
    errors: Errors = "raise",
) -> xr.DataArray:
    """Open files of a product as one lazy layer. Reads headers, no pixels.

    Bands of different resolution lie on the grid of the finest one asked for; where a band comes in
    several resolutions, its finest file is taken.

    Parameters
    ----------
    product : str or Product
        A name out of `list_products`, or a description of your own.
    paths : path, list, pattern, directory or Catalog
        Files that the pattern of the product does not match are left out; a warning counts those
        that are of another product of geoxr.
    bands : sequence of str, optional
        Bands to keep, by own ("SR_B4") or common name ("red"). Default: the ``default_bands`` of
        the product.
    years : int or sequence of int, optional
        Years to keep.
    time : {"each", "day", "collapse"} or str, optional
        As for `open_raster`: every date, solar days, periods such as "1MS", or dates merged by the
        `overlap` rule, the earliest first. Default: a time axis if there are several dates.
    toi : (start, stop) or str, optional
        Only scenes of these dates, both ends included.
    sortby : str, optional
        Column of the catalog that orders scenes before the `overlap` rule, ascending, as for
        `open_raster`; "cloud_cover" is known of Landsat and Sentinel-2 scenes with their metadata.
    mask_clouds : bool
        Leave out pixels that the quality band of each scene calls cloud, shadow, cirrus or fill,
        before scenes are laid over each other: "first" shows the first clear pixel.
    mask_saturated : bool
        Likewise leave out saturated pixels, in each band for itself.
    decode : bool
        Turn stored numbers into the quantities that the product measures, as `da.geoxr.decode()`
        does. Labels keep their codes.
    crs, resolution, bounds, like, align, overlap, resampling, chunks
        As for `open_raster`.
    errors : {"raise", "skip"}
        With "skip", scenes that lack a band, come twice, cannot be opened or are unlike most are
        left out, and one warning counts and names them.

    Returns
    -------
    DataArray
        Dimensions ``(band, y, x)``, with ``time`` first where there are dates; a label product has
        ``(y, x)``.

    Raises
    ------
    MissingFileError
        If no file matches; the message has three examples and the pattern. Or if a scene lacks a
        band or its quality file.
    ArgumentError
        If the product has no such band or mask, a date is not one, or a scene comes twice.
    """
    product = find_product(product)
    check_errors(errors)
    years = _years_of(years)
    qa = masks_of(product, clouds=mask_clouds, saturated=mask_saturated)
    if product.vector:
        if isinstance(paths, Catalog):
            raise ArgumentError(
                f"{product.name} has features, and a catalog has rasters. Pass the file: "
                f"gx.open_product({product.name!r}, path, like=image)."
            )
        return _features(product, paths, like, chunks)
    kept = product.pick(bands)
    left_out: list[str] = []
    first: WindowReader | None = None
    if sortby is not None:
        if not isinstance(paths, Catalog):
            paths = Catalog.scan(
                paths, product=product, bands=bands, errors=errors,
                mask_clouds=mask_clouds, mask_saturated=mask_saturated,
            )  # fmt: skip
        paths = paths.take(paths.order(sortby))
    if isinstance(paths, Catalog):
        _check_masked(paths, qa)
        table = _in_years(paths.table, years)
        if bands is None and len(product.bands) > 1:
            kept = product.pick(table.header(0).bands)
    else:
        found, left_out = _scan(product, paths, kept, qa, years, resampling, errors)
        table, first = found.table, found.first if len(found.table) == 1 else None
    many = len(product.bands) > 1
    layer = layer_of(
        table,
        Target(crs=crs, resolution=resolution, bounds=bounds, like=like, align=align),
        Look(
            product.name, product.kind, product.classes, product.attrs(kept),
            band=None if product.kind == "categorical" else "band",
        ),
        bands=[band.name for band in kept] if many and bands is not None else None,
        time=time,
        toi=toi,
        overlap=overlap,
        resampling=resampling,
        default=product.nodata,
        errors=errors,
        skipped=left_out,
        first=first,
        ordered=sortby is not None or (isinstance(paths, Catalog) and paths.ordered),
    )  # fmt: skip
    if "band" in layer.dims:
        shown = [product.band(str(name)) for name in layer["band"].values]
        layer = layer.assign_coords(product.coords(shown))
    if decode and packs(layer):
        layer = decoded(layer)
    return layer if chunks is None else layer.chunk(chunks)


def _scan(
    product: Product,
    paths: PathLike | Sequence[PathLike],
    bands: Sequence[Band],
    qa: Sequence[QA],
    years: Sequence[int] | None,
    resampling: Resampling | None,
    errors: Errors,
) -> tuple[Scanned, list[str]]:
    """Read the headers of the scenes that files make up; also why some are left out."""
    files, skip = find_files(paths), errors == "skip"
    named, left_out = scenes_of(product, files, bands, years=years, qa=qa, skip=skip)
    others = strangers(product, files)
    if others is not None:
        warnings.warn(others, stacklevel=3)
    scenes = [
        SceneFiles(
            one.paths,
            one.bands,
            one.start,
            one.end,
            replace(one.treatment, resampling=resampling if _stacks(one) else None),
        )
        for one in named
    ]
    found = scan(scenes, Given(default=product.nodata, kind=product.kind, skip=skip), errors=errors)
    return found, [*left_out, *found.skipped]


def _check_masked(catalog: Catalog, qa: Sequence[QA]) -> None:
    """Raise if masks are asked for that scenes of a catalog do not have."""
    if qa and not all(header.treatment.flags for header in catalog.table.headers):
        raise ArgumentError(
            "The scenes of a catalog are masked when they are scanned: "
            "gx.Catalog.scan(paths, product=..., mask_clouds=True)."
        )


def _years_of(years: int | Sequence[int] | None) -> list[int] | None:
    """Read one year or several.

    Raises
    ------
    ArgumentError
        If they are no years.
    """
    if years is None:
        return None
    try:
        listed = [years] if isinstance(years, int | np.integer) else list(years)
        wanted = [int(year) for year in listed if int(year) == year]
    except (TypeError, ValueError):
        listed, wanted = [], []
    if not wanted or len(wanted) != len(listed):
        raise ArgumentError(
            f"years is {years!r}, but must be a year or a list such as [2020, 2021]."
        )
    return wanted


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


def _stacks(scene: NamedScene) -> bool:
    """Whether a scene has several files of bands, which may differ in resolution."""
    return len(scene.treatment.split(scene.paths)[0]) > 1


def _features(
    product: Product,
    paths: PathLike | Sequence[PathLike],
    like: xr.DataArray | xr.Dataset | GeoBox | None,
    chunks: Any,
) -> xr.DataArray:
    """Burn the features of a product onto a grid."""
    files = find_files(paths, VECTORS)
    known = [path for path in files if product.groups(path) is not None]
    if not known:
        raise MissingFileError(no_match(product, files))
    if like is None:
        raise ArgumentError(
            f"{product.name} has features, which need a grid to be burnt onto. Pass the layer they "
            f"are labels of: gx.open_product({product.name!r}, path, like=image)."
        )
    if len(known) > 1:
        raise ArgumentError(
            f"{len(known)} files are {product.name}: {', '.join(map(str, known[:3]))}. Features are "
            f"read from one file at a time. Pass one of them, or put them into one file."
        )
    layer = open_vector(known[0], like=like, classes=product.classes).rename(product.name)
    layer.attrs |= product.attrs()
    return layer if chunks is None else layer.chunk(chunks)

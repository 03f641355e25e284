"""`open_raster`: files as lazy layers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.catalog.catalog import Catalog
from geoxr.catalog.paths import find_files
from geoxr.catalog.scan import Errors, Given, SceneFiles, check_errors, scan
from geoxr.catalog.scenes import Look, Target, Time, layer_of
from geoxr.derive.decode import decode as decoded
from geoxr.errors import ArgumentError
from geoxr.grid.crs import parse_crs
from geoxr.grid.meaning import kind_of
from geoxr.io.reader import WindowReader
from geoxr.typing import Align, Bounds, CRSLike, Kind, Overlap, PathLike, Resampling


def open_raster(
    paths: PathLike | Sequence[PathLike] | Mapping[str, PathLike] | Catalog,
    *,
    bands: Sequence[str | int] | None = None,
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
    kind: Kind | None = None,
    nodata: float | None = None,
    decode: bool = False,
    chunks: Any = None,
    errors: Errors = "raise",
) -> xr.DataArray:
    """Open raster files as one lazy layer. Reads headers, no pixels.

    A mosaic opens a file when a window meets it and not before, so a layer of thousands of scenes
    costs little; made from a `Catalog`, it costs no header either.

    Parameters
    ----------
    paths : path, list, pattern, directory, mapping of band to path, or Catalog
        Several files are scenes of one mosaic; a mapping is one scene with a file per band.
    bands : sequence of str or int, optional
        Bands to keep, by name or by number from 1.
    crs : CRS-like, optional
        CRS of the layer; "auto" takes the most common one of the files. A file without CRS is
        taken to be in `crs`.
    resolution : float or (x, y) [CRS units], optional
        Pixel size of the layer.
    bounds : (left, bottom, right, top) [CRS units], optional
        Area of the layer.
    like : DataArray, Dataset or GeoBox, optional
        Grid of the layer, instead of `crs`, `resolution` and `bounds`.
    align : {"snap", "keep"}, optional
        Pixels of a new grid start at whole multiples of the resolution, or where those of the first
        file do. Default: "keep" if all files are on one lattice, so that nothing is resampled;
        otherwise "snap".
    time : {"each", "day", "collapse"} or str, optional
        Steps of the time axis: every date, solar days (by the longitude of a scene, so that one pass
        is one day), or periods by a frequency of pandas ("1MS", "QS", "16D"), labelled as
        ``resample`` labels them; scenes of a step are combined by the `overlap` rule, and periods
        without scenes are left out. "collapse" has no axis. Default: every date, if the scenes
        have several (column ``start`` of a catalog). Plain files have no dates that geoxr knows, so
        they are always laid over each other.
    toi : (start, stop) or str, optional
        Only scenes of these dates, both ends included; "2021-06" stands for all of that month.
    overlap : {"first", "last", "mean", "median", "min", "max", "count"}
        Which scene wins, or how they are combined, where several are valid; per pixel and band.
    sortby : str, optional
        Column of the catalog that orders scenes before the `overlap` rule, ascending:
        "cloud_cover" with "first" shows the clearest. "-column" is descending; scenes without a
        value come last. Default: by date, then as given.
    resampling : str, optional
        As for `geoxr.reproject`.
    kind : {"continuous", "categorical"}, optional
        Default: categorical if the file has a palette or names classes. An integer type alone
        means nothing.
    nodata : float, optional
        Number that marks missing pixels, instead of the one the files name.
    decode : bool
        Turn stored numbers into quantities by the scale and offset of the file, as
        `da.geoxr.decode()` does. Categorical layers keep their codes.
    chunks : optional
        As for ``DataArray.chunk``: dask chunks. Sampling and training need none.
    errors : {"raise", "skip"}
        With "skip", files that cannot be opened, or whose type, bands or units are not those of
        most, are left out, and one warning counts and names them. Scenes that cannot be opened any
        more when a window meets them, and tiles that cannot be read, are holes with a warning.

    Returns
    -------
    DataArray
        Dimensions ``(band, y, x)``. One file without target arguments keeps its own grid. What
        differs between its bands (units, scale, offset, nodata) are coordinates along ``band``.

    Raises
    ------
    MissingFileError, NotARasterError
        If a file is missing or not a raster.
    ArgumentError
        If scenes differ in type, bands or the meaning of their numbers; both files are named.
    CRSMismatchError
        If the files have several CRSs and no target was given.
    """
    given = None if crs is None or (isinstance(crs, str) and crs == "auto") else parse_crs(crs)
    if kind is not None and kind not in ("continuous", "categorical"):
        raise ArgumentError(f'kind is {kind!r}, but must be "continuous" or "categorical".')
    first: WindowReader | None = None
    skipped: tuple[str, ...] = ()
    catalog: Catalog | None = None
    if isinstance(paths, Catalog):
        check_errors(errors)
        catalog, table = paths, paths.table
        if nodata is not None:
            table = table.with_nodata(nodata)
    else:
        known = Given(given, nodata, kind=kind, resampling=resampling, skip=errors == "skip")
        found = scan(_scenes(paths), known, errors=errors)
        table, skipped = found.table, found.skipped
        first = found.first if len(table) == 1 else None
    if sortby is not None:
        ordered = (catalog or Catalog.of_table(table)).order(sortby)
        table = table.take(ordered)
    layer = layer_of(
        table,
        Target(crs=crs, resolution=resolution, bounds=bounds, like=like, align=align),
        Look(name=Path(table.paths[0][0]).stem, kind=kind),
        bands=bands,
        time=time,
        toi=toi,
        overlap=overlap,
        resampling=resampling,
        errors=errors,
        skipped=skipped,
        first=first,
        ordered=sortby is not None or (catalog is not None and catalog.ordered),
    )
    if decode and kind_of(layer) == "continuous":
        layer = decoded(layer)
    return layer if chunks is None else layer.chunk(chunks)


def _scenes(
    paths: PathLike | Sequence[PathLike] | Mapping[str, PathLike],
) -> list[SceneFiles]:
    """Return the scenes that paths stand for: one file each, or one scene with a file per band."""
    if not isinstance(paths, Mapping):
        return [SceneFiles((path,)) for path in find_files(paths)]
    if not paths:
        raise ArgumentError("The mapping of bands to paths is empty.")
    files = tuple(os.fspath(path) for path in paths.values())
    return [SceneFiles(files, tuple(str(name) for name in paths))]

"""`open_raster`: files as lazy layers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import xarray as xr
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoxr.catalog.paths import find_files
from geoxr.catalog.scenes import Scene, Target, Time, layer_of, select_bands
from geoxr.derive.decode import decode as decoded
from geoxr.errors import ArgumentError, MissingFileError, NotARasterError
from geoxr.grid.geobox import kind_of, parse_crs
from geoxr.io.facts import BandFacts, band_coords
from geoxr.io.gdal import FileInfo, open_file
from geoxr.io.reader import WindowReader
from geoxr.io.stacks import BandStack
from geoxr.typing import Align, Bounds, CRSLike, Kind, Overlap, PathLike, Resampling
from geoxr.warp.placed import place
from geoxr.warp.reproject import onto


def open_raster(
    paths: PathLike | Sequence[PathLike] | Mapping[str, PathLike],
    *,
    bands: Sequence[str | int] | None = None,
    crs: CRSLike | None = None,
    resolution: float | tuple[float, float] | None = None,
    bounds: Bounds | None = None,
    like: xr.DataArray | xr.Dataset | GeoBox | None = None,
    align: Align | None = None,
    time: Time | None = None,
    overlap: Overlap = "first",
    resampling: Resampling | None = None,
    kind: Kind | None = None,
    nodata: float | None = None,
    decode: bool = False,
    chunks: Any = None,
    errors: Literal["raise", "skip"] = "raise",
) -> xr.DataArray:
    """Open raster files as one lazy layer. Reads headers, no pixels.

    Parameters
    ----------
    paths : path, list, pattern, directory, or mapping of band to path
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
    time : {"collapse"}, optional
        Plain files have no dates that geoxr knows, so they are always laid over each other; a time
        axis comes from `open_product`.
    overlap : {"first", "last", "mean", "median", "min", "max", "count"}
        Which scene wins, or how they are combined, where several are valid; per pixel and band.
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
        With "skip", files that cannot be opened are left out, and a warning names them. Tiles that
        cannot be read later are holes, and one warning per read counts them.

    Returns
    -------
    DataArray
        Dimensions ``(band, y, x)``. One file without target arguments keeps its own grid. What
        differs between its bands (units, scale, offset, nodata) are coordinates along ``band``.

    Raises
    ------
    MissingFileError, NotARasterError
        If a file is missing or not a raster.
    CRSMismatchError
        If the files have several CRSs and no target was given.
    """
    given = None if crs is None or (isinstance(crs, str) and crs == "auto") else parse_crs(crs)
    if isinstance(paths, Mapping):
        skip = _skips(errors)
        infos = {name: _open(path, given, nodata, skip) for name, path in paths.items()}
        info = next(iter(infos.values()))
        labels = (kind or _kind(info)) == "categorical"
        chosen: Resampling = resampling or ("nearest" if labels else "bilinear")
        reader = stack_bands(infos, chosen)
        scenes = [Scene(select_bands(reader, bands), info.reader.path)]
        facts = {str(name): one.facts[0] for name, one in infos.items()}
    else:
        opened = _open_all(find_files(paths), given, nodata, errors)
        info = opened[0]
        chosen = resampling or ("nearest" if (kind or _kind(info)) == "categorical" else "bilinear")
        scenes = [Scene(select_bands(place(one, chosen), bands), one.reader.path) for one in opened]
        facts = dict(zip(info.reader.bands, info.facts, strict=True))
    target = Target(crs=crs, resolution=resolution, bounds=bounds, like=like, align=align)
    if kind is not None and kind not in ("continuous", "categorical"):
        raise ArgumentError(f'kind is {kind!r}, but must be "continuous" or "categorical".')
    kept = [facts[name] for name in scenes[0].reader.bands]
    differing = band_coords(kept)
    attrs = file_attrs(info, kept[0])
    layer = layer_of(
        scenes,
        target,
        time=time,
        overlap=overlap,
        resampling=resampling,
        kind=kind or _kind(info),
        classes=info.classes,
        attrs={name: value for name, value in attrs.items() if name not in differing},
        name=Path(info.reader.path).stem,
    )
    layer = layer.assign_coords(differing)
    if decode and kind_of(layer) == "continuous":
        layer = decoded(layer)
    return layer if chunks is None else layer.chunk(chunks)


def _open_all(
    paths: Sequence[str], given: CRS | None, nodata: float | None, errors: str
) -> list[FileInfo]:
    """Open files; those that cannot be opened are left out with a warning, or raise."""
    skip = _skips(errors)
    opened, skipped = [], []
    for path in paths:
        try:
            opened.append(_open(path, given, nodata, skip))
        except (NotARasterError, MissingFileError) as error:
            if not skip:
                raise
            skipped.append(str(error))
    if not opened:
        raise NotARasterError(f"None of {len(paths)} files can be opened. The first: {skipped[0]}")
    if skipped:
        warnings.warn(
            f"{len(skipped)} of {len(paths)} files were left out: {' '.join(skipped)}", stacklevel=3
        )
    return opened


def _skips(errors: str) -> bool:
    if errors not in ("raise", "skip"):
        raise ArgumentError(f'errors is {errors!r}, but must be "raise" or "skip".')
    return errors == "skip"


def _open(path: PathLike, given: CRS | None, nodata: float | None, skip: bool) -> FileInfo:
    info = open_file(path, nodata=nodata, skip=skip)
    placed = info.placement or info.reader.geobox
    if placed.crs is None and given is not None:
        info = open_file(path, crs=given, nodata=nodata, skip=skip)
    return info


def _kind(info: FileInfo) -> Kind:
    return "categorical" if info.palette or info.classes else "continuous"


def file_attrs(info: FileInfo, band: BandFacts) -> dict[str, Any]:
    """Attributes that a file brings along: units, scale and offset of a band, palette."""
    attrs: dict[str, Any] = {"units": band.units}
    if (band.scale, band.offset) != (1.0, 0.0):
        attrs.update(scale=band.scale, offset=band.offset)
    if info.palette:
        attrs["palette"] = " ".join(info.palette)
    return attrs


def stack_bands(infos: Mapping[str, FileInfo], resampling: Resampling) -> WindowReader:
    """One file per band as one reader on the grid of the first."""
    if not infos:
        raise ArgumentError("The mapping of bands to paths is empty.")
    first = place(next(iter(infos.values())), resampling)
    sources = []
    for name, info in infos.items():
        if len(info.reader.bands) != 1:
            raise ArgumentError(
                f"{info.reader.path} has {len(info.reader.bands)} bands, so it is not the one band "
                f"{name!r}. Open the file alone, or pick one of its bands."
            )
        if info.reader.dtype != first.dtype:
            raise ArgumentError(
                f"Band {name!r} is {info.reader.dtype}, the first band is {first.dtype}. Bands of "
                f"one layer have one type. Open them apart and use gx.merge."
            )
        sources.append(onto(place(info, resampling), first.geobox, resampling))
    return BandStack(tuple(sources), tuple(str(name) for name in infos))

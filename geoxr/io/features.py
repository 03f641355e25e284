"""Features of files and tables, ready to be burnt on a grid."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoxr.errors import (
    ArgumentError,
    CRSMismatchError,
    MissingFileError,
    NotARasterError,
    ReadFailedError,
)
from geoxr.grid.classes import Classes
from geoxr.grid.crs import crs_name, parse_crs, require_crs, same_crs
from geoxr.grid.geobox import describe_bounds, resolution
from geoxr.grid.quiet import quiet
from geoxr.grid.shapes import outline
from geoxr.io.codes import Burning, codes_of
from geoxr.io.pieces import Pieces, paths_of, pieces_of
from geoxr.io.projected import meets, projected

if TYPE_CHECKING:
    import geopandas

#: Files whose features one process keeps, so that readers sent to it need not read them again.
_KEPT = 8


@dataclass(frozen=True)
class VectorFile:
    """Features of a file, and how they are read: see `geoxr.open_vector`.

    Parameters
    ----------
    stamp : tuple of (int, int)
        When the file, and those that belong to it, were written [ns], and their sizes [bytes].
    """

    path: str
    layer: str | None
    where: str | None
    crs: str | None
    burning: Burning
    stamp: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Loaded:
    """Features ready to be burnt, and what goes with them."""

    pieces: Pieces
    classes: Classes | None
    background: int
    nodata: int | None
    dtype: np.dtype
    report: tuple[str, ...]


_kept: OrderedDict[tuple[VectorFile, GeoBox], Loaded] = OrderedDict()
_loading = threading.Lock()


def _unlock() -> None:
    """Replace the lock in a forked process: a thread that held it is not there to open it."""
    global _loading
    _loading = threading.Lock()


os.register_at_fork(after_in_child=_unlock)


def load_file(file: VectorFile, geobox: GeoBox) -> Loaded:
    """Read a file once in a process, whatever threads and copies of readers ask for it."""
    key = file, geobox
    with _loading:
        loaded = _kept.pop(key, None)
        if loaded is None:
            if stamp_of(file.path) != file.stamp:
                raise ReadFailedError(
                    f"{file.path} was changed or removed after it was opened. Open the layer again."
                )
            loaded = load_frame(_read_file(file), geobox, file.burning, file.crs)
            while len(_kept) >= _KEPT:
                _kept.popitem(last=False)
        _kept[key] = loaded
        return loaded


def _is_local(path: str) -> bool:
    return "://" not in path and not path.startswith("/vsi")


def find_vector(path: str) -> str:
    """Return a path that means the same everywhere; raise if there is no such file."""
    if not _is_local(path):
        return path
    if not Path(path).exists():
        raise MissingFileError(f"{path} does not exist (looked in {Path.cwd()}).")
    # Readers are sent elsewhere, and the working directory may change.
    return os.path.abspath(path)


def stamp_of(path: str) -> tuple[tuple[int, int], ...]:
    """When a file and those that belong to it were written [ns], and their sizes [bytes]."""
    paths = [path]
    if path.lower().endswith(".shp"):
        paths += [path[:-4] + end for end in (".dbf", ".prj", ".shx")]
    stamps = []
    for name in paths:
        try:
            status = os.stat(name)
        except OSError:
            stamps.append((0, 0))
        else:
            stamps.append((status.st_mtime_ns, status.st_size))
    return tuple(stamps)


def _read_file(file: VectorFile) -> geopandas.GeoDataFrame:
    import geopandas
    import pyogrio

    path, attribute = file.path, file.burning.attribute
    names: list[str] | None = None
    if file.burning.mode == "instance":
        attribute = None
    if path.lower().endswith((".parquet", ".geoparquet", ".pq")):
        return _read_parquet(file, attribute)
    try:
        layer = _layer(file, pyogrio.list_layers(path))
        names = [str(name) for name in pyogrio.read_info(path, layer=layer)["fields"]]
        columns = names if attribute is not None and attribute not in names else [attribute]
        with quiet(UserWarning, r"Measured \(M\) geometry"):  # heights and measures are not burnt
            return geopandas.read_file(
                path,
                layer=layer,
                columns=[] if attribute is None else columns,
                where=file.where,
                engine="pyogrio",
            )
    except (ArgumentError, ImportError):
        raise
    except Exception as error:
        if file.where is not None and names is not None:
            raise ArgumentError(
                f"{path} cannot be read where {file.where!r} ({error}). Its columns are "
                f"{', '.join(names)}; text is in single quotes: \"crop = 'rye'\"."
            ) from error
        raise _not_a_vector(path, error) from error


def _read_parquet(file: VectorFile, attribute: str | None) -> geopandas.GeoDataFrame:
    import geopandas

    if file.layer is not None or file.where is not None:
        raise ArgumentError(
            f"{file.path} is GeoParquet, which has no layers, and where= is for files that GDAL "
            f"reads. Read a part of it: geopandas.read_parquet(path, filters=[...])."
        )
    try:
        frame = geopandas.read_parquet(file.path)
    except Exception as error:
        raise _not_a_vector(file.path, error) from error
    return frame if attribute is not None else frame[[frame.geometry.name]]


def _not_a_vector(path: str, error: Exception) -> NotARasterError:
    return NotARasterError(
        f"{path} is not a vector file that can be opened ({error}). geoxr reads GeoPackage, GeoJSON, "
        f"Shapefile, GeoParquet; rasters open with gx.open_raster."
    )


def _layer(file: VectorFile, listed: np.ndarray) -> str | None:
    """Name of the layer to read; those without geometries do not count."""
    names = [str(name) for name, kind in listed if kind is not None]
    if file.layer is not None:
        if file.layer not in names:
            raise ArgumentError(
                f"{file.path} has no layer {file.layer!r} with geometries. It has {', '.join(names)}."
            )
        return file.layer
    if len(names) > 1:
        raise ArgumentError(
            f"{file.path} has {len(names)} layers: {', '.join(names)}. Say which: layer={names[0]!r}."
        )
    return names[0] if names else None


def _as_frame(source: Any) -> geopandas.GeoDataFrame:
    import geopandas
    import pandas as pd

    if isinstance(source, geopandas.GeoSeries):
        return source.to_frame("geometry").set_geometry("geometry")
    if not isinstance(source, pd.DataFrame):
        raise ArgumentError(
            f"Features are a path or a GeoDataFrame, not a {type(source).__name__}. Geometries "
            f"alone: geopandas.GeoDataFrame(geometry=[...], crs=...)."
        )
    if getattr(source, "active_geometry_name", None) is None:
        raise ArgumentError(
            "The table of features has no column of geometries. Make one: "
            "geopandas.GeoDataFrame(df, geometry=geopandas.points_from_xy(df.x, df.y), crs=...)."
        )
    return source


def load_frame(source: Any, geobox: GeoBox, burning: Burning, given: str | None) -> Loaded:
    """Turn a table of features into what is burnt on a grid."""
    frame = _as_frame(source)
    codes = codes_of(frame, burning)
    geometries = np.asarray(frame.geometry.array, dtype=object)
    values = codes.values
    if burning.overlap == "first":
        geometries, values = geometries[::-1], values[::-1]
    crs = _crs(frame, geobox, given)
    report: list[str] = []
    geometries = _sound(geometries, report)
    if crs is None or same_crs(crs, geobox.crs):
        around = outline(geobox).buffer(2 * max(resolution(geobox)))
        paths = paths_of(_only(geometries, meets(geometries, (around,))))
    else:
        paths, lost = projected(geometries, crs.proj, geobox)
        if len(lost):
            report.append(
                f"{len(lost)} reach where {crs_name(geobox.crs)} ends and are left out there"
            )
    invalid = ~shapely.is_valid(geometries[np.unique(paths.features)])
    if invalid.any():
        report.append(
            f"{int(invalid.sum())} are invalid and burnt as they are: what an odd number of the rings "
            f"of a polygon surrounds is inside"
        )
    pieces = pieces_of(paths, values, geobox)
    if not len(pieces.kinds):
        report.append(f"none meets the grid, which covers {describe_bounds(geobox)}")
    if codes.same_as_fill:
        report.append(
            f"{codes.same_as_fill} are burnt as {burning.fill}, as are pixels outside of features. To "
            f"tell them apart pass another fill=, or fill=None to make the outside invalid"
        )
    found = tuple(f"Of {len(frame)} features, {'; '.join(report)}." for _ in report[:1])
    return Loaded(pieces, codes.classes, codes.background, codes.nodata, codes.dtype, found)


def _crs(frame: geopandas.GeoDataFrame, geobox: GeoBox, given: str | None) -> CRS | None:
    """CRS of features; None if neither they nor the grid have one."""
    crs = None if frame.crs is None else parse_crs(frame.crs)
    if given is not None:
        wanted = parse_crs(given)
        if crs is not None and not same_crs(crs, wanted):
            raise CRSMismatchError(
                f"The features are in {crs_name(crs)}, but crs={crs_name(wanted)} was given, which is "
                f"for features that do not say where they are. Leave it out, or correct the table: "
                f"gdf.set_crs(crs, allow_override=True)."
            )
        crs = wanted
    if crs is None and geobox.crs is not None:
        require_crs(GeoBox((1, 1), geobox.affine, None), "The vector layer")
    if crs is not None:
        require_crs(geobox, "The grid (like=)")
    return crs


def _sound(geometries: np.ndarray, report: list[str]) -> np.ndarray:
    """Leave out features that cannot be burnt."""
    empty = shapely.is_missing(geometries) | shapely.is_empty(geometries)
    points, owner = shapely.get_coordinates(geometries, return_index=True)
    endless = np.zeros(len(geometries), bool)
    endless[owner[~np.isfinite(points).all(axis=1)]] = True
    for which, text in (
        (empty, "have no geometry and are left out"),
        (endless & ~empty, "have coordinates that are no finite numbers and are left out"),
    ):
        if which.any():
            report.append(f"{int(which.sum())} {text}")
    return _only(geometries, ~(empty | endless))


def _only(geometries: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Put None in the place of geometries that are not wanted."""
    result = np.full(len(geometries), None, dtype=object)
    result[wanted] = geometries[wanted]
    return result

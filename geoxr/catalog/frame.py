"""Between a GeoDataFrame of scenes, one row each, and the arrays that layers are made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from geoxr.catalog.footprint import footprints
from geoxr.catalog.table import NO_TIME, UNKNOWN, Header, SceneTable
from geoxr.errors import ArgumentError
from geoxr.io.facts import storable

if TYPE_CHECKING:
    import geopandas


#: Columns that a scene cannot do without.
NEEDED = ("path", "bands", "crs", "transform", "shape", "dtype")
#: Columns that may be left out, and what stands for them.
DEFAULTS: Mapping[str, Any] = {
    "nodata": None,
    "masked": False,
    "kind": "continuous",
    "attrs": "{}",
    "start": NO_TIME,
    "end": NO_TIME,
    "mtime": UNKNOWN,
    "size": UNKNOWN,
}


def frame_of(table: SceneTable, shapes: np.ndarray | None = None) -> geopandas.GeoDataFrame:
    """Return a row for each scene, with its footprint in EPSG:4326; its outline if left out."""
    import geopandas

    headers = [table.header(i) for i in range(len(table))]
    nodata = np.full(len(table), None, object)
    nodata[:] = [header.nodata for header in headers]
    columns = {
        "path": [files[0] if len(files) == 1 else list(files) for files in table.paths],
        "bands": [list(header.bands) for header in headers],
        "crs": [header.crs for header in headers],
        "transform": [tuple(numbers) for numbers in table.affines.tolist()],
        "shape": [tuple(pair) for pair in table.shapes.tolist()],
        "dtype": [header.dtype for header in headers],
        "nodata": nodata,
        "masked": [header.masked for header in headers],
        "kind": [header.kind for header in headers],
        "attrs": [header.attrs for header in headers],
        "start": table.starts,
        "end": table.ends,
        "mtime": table.stamps[:, 0],
        "size": table.stamps[:, 1],
    }
    shapes = footprints(table) if shapes is None else shapes
    return geopandas.GeoDataFrame(columns, geometry=shapes, crs=4326)


def table_of(frame: geopandas.GeoDataFrame) -> SceneTable:
    """Check values and turn columns into arrays."""
    known: dict[Header, int] = {}
    header_of = np.empty(len(frame), "int32")
    paths = []
    names = ("path", "crs", "dtype", "bands", "nodata", "masked", "kind", "attrs")
    rows = zip(*(frame[name].tolist() for name in names), strict=True)
    for i, (path, crs, dtype, bands, nodata, masked, kind, attrs) in enumerate(rows):
        paths.append((path,) if isinstance(path, str) else tuple(str(file) for file in path))
        try:
            number = _number(nodata, np.dtype(dtype))
        except (TypeError, ValueError) as error:
            raise ArgumentError(
                f"Scene {paths[-1][0]} has dtype {dtype!r} and nodata {nodata!r}: {error}."
            ) from error
        crs = crs if isinstance(crs, str) else None
        header = Header(crs, str(dtype), tuple(bands), number, bool(masked), kind, attrs)
        header_of[i] = known.setdefault(header, len(known))
        if len(paths[-1]) not in (1, len(header.bands)):
            raise ArgumentError(
                f"Scene {paths[-1][0]} has {len(paths[-1])} files for {len(header.bands)} bands. "
                f"Give one file, or one for each band."
            )
    affines, shapes = _numbers(frame, "transform", 6), _numbers(frame, "shape", 2)
    flat = np.abs(affines[:, 0] * affines[:, 4] - affines[:, 1] * affines[:, 3]) == 0
    wrong = np.flatnonzero(~np.isfinite(affines).all(axis=1) | flat | (shapes < 1).any(axis=1))
    if wrong.size:
        i = int(wrong[0])
        raise ArgumentError(
            f"Scene {paths[i][0]} has the transform {tuple(affines[i])} and the shape "
            f"{tuple(shapes[i])}, which is no grid."
        )
    return SceneTable(
        tuple(paths),
        tuple(known),
        header_of,
        affines,
        shapes.astype("int64"),
        np.stack([frame["mtime"], frame["size"]], axis=1).astype("int64"),
        _times(frame["start"]),
        _times(frame["end"]),
    )


def _numbers(frame: geopandas.GeoDataFrame, name: str, many: int) -> np.ndarray:
    try:
        values = np.array([tuple(row) for row in frame[name].tolist()], "float64")
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"Column {name} must hold {many} numbers per scene: {error}."
        ) from error
    if values.shape != (len(frame), many):
        raise ArgumentError(f"Column {name} must hold {many} numbers per scene.")
    return values


def _number(value: Any, dtype: np.dtype) -> float | int | None:
    """Read a nodata value, which may come as text or, for nothing, as the NaN of a column."""
    if value is None or (isinstance(value, str) and not value):
        return None
    return storable(float(value), dtype) if not _whole(value) else int(value)


def _whole(value: Any) -> bool:
    """Whether a number is written without a fraction; floats do not hold all 64-bit integers."""
    return str(value).lstrip("+-").isdigit()


def _times(column: Any) -> np.ndarray:
    """Times without zone [UTC]."""
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    return column.to_numpy().astype("datetime64[ns]")

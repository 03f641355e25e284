"""A table of scenes: where they are, when they were taken, how their files look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from geoxr.catalog.footprint import footprints
from geoxr.catalog.paths import find_files
from geoxr.catalog.scan import Errors, Given, SceneFiles, scan, warn_skipped
from geoxr.catalog.table import NO_TIME, UNKNOWN, Header, SceneTable
from geoxr.errors import ArgumentError, NotARasterError
from geoxr.io.facts import storable
from geoxr.typing import Bounds, PathLike

if TYPE_CHECKING:
    import geopandas

#: Columns that a scene cannot do without.
_NEEDED = ("path", "bands", "crs", "transform", "shape", "dtype")
#: Columns that may be left out, and what stands for them.
_DEFAULTS: Mapping[str, Any] = {
    "nodata": None,
    "masked": False,
    "kind": "continuous",
    "attrs": "{}",
    "start": NO_TIME,
    "end": NO_TIME,
    "mtime": UNKNOWN,
    "size": UNKNOWN,
}


class Catalog:
    """A table of scenes, one row each; nothing of it is changed after it was made.

    Parameters
    ----------
    frame : GeoDataFrame
        Geometries are the footprints; those of another CRS are taken to EPSG:4326. The columns

        - ``path``: a file, or a list of files, one for each of ``bands``;
        - ``bands``: list of names;
        - ``crs``: "EPSG:..." or WKT; None if the file names none;
        - ``transform``: (a, b, c, d, e, f), from (column, row) to (x, y);
        - ``shape``: (height, width) [pixel];
        - ``dtype``: type of the pixels

        are needed. These have defaults: ``nodata`` (None), ``masked`` (whether a mask band or
        nodata values that differ by band say more than ``nodata``), ``kind``, ``attrs`` (JSON:
        units, scale, offset and nodata of each band as ``facts``, palette, classes), ``start`` and
        ``end`` (of the acquisition), ``mtime`` [ns] and ``size`` [bytes] of the (first) file, by
        which a file is known to be still the same.
        Columns of your own are kept, for `filter`, and for ``sortby=`` of `open_raster`.

    Raises
    ------
    ArgumentError
        If columns are missing, or a value of them makes no sense.
    """

    def __init__(self, frame: geopandas.GeoDataFrame) -> None:
        import geopandas

        if not isinstance(frame, geopandas.GeoDataFrame):
            raise ArgumentError(
                f"A catalog is made from a GeoDataFrame, not from a {type(frame).__name__}. To read "
                f"the headers of files use gx.Catalog.scan(paths)."
            )
        missing = [name for name in _NEEDED if name not in frame.columns]
        if missing:
            raise ArgumentError(
                f"The table has no column {', '.join(missing)}. A catalog needs "
                f"{', '.join(_NEEDED)}; gx.Catalog.scan(paths) finds them in files."
            )
        if not len(frame):
            raise ArgumentError("The table has no rows, so there is no scene in it.")
        frame = frame.assign(
            **{name: value for name, value in _DEFAULTS.items() if name not in frame.columns}
        )
        if frame.crs is not None and frame.crs.to_epsg() != 4326:
            frame = frame.to_crs(4326)
        self._frame = frame.reset_index(drop=True)

    @classmethod
    def scan(
        cls,
        paths: PathLike | Sequence[PathLike],
        *,
        errors: Errors = "raise",
        workers: int | None = None,
        progress: bool = False,
    ) -> Catalog:
        """Read the headers of files, in threads.

        Parameters
        ----------
        paths : path, list, pattern or directory
        errors : {"raise", "skip"}
            With "skip", files that cannot be opened are left out, and one warning counts and names
            them.
        workers : int, optional
            Threads.
        progress : bool
            Show a bar.

        Raises
        ------
        MissingFileError, NotARasterError
            If a file is missing or not a raster.
        """
        files = [SceneFiles((path,)) for path in find_files(paths)]
        found = scan(files, Given(), errors=errors, workers=workers, progress=progress)
        warn_skipped(found.skipped, len(files), stacklevel=2)
        return cls.of_table(found.table)

    @classmethod
    def of_table(cls, table: SceneTable) -> Catalog:
        """Make a catalog of scanned scenes."""
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
        catalog = cls(geopandas.GeoDataFrame(columns, geometry=footprints(table), crs=4326))
        catalog.__dict__["table"] = table
        return catalog

    @property
    def frame(self) -> geopandas.GeoDataFrame:
        """A copy of the table."""
        return self._frame.copy()

    def __len__(self) -> int:
        return len(self._frame)

    def __repr__(self) -> str:
        frame = self._frame
        crss = frame["crs"].nunique(dropna=False)
        left, bottom, right, top = frame.total_bounds
        dates = ""
        if frame["start"].notna().any():
            dates = f", {frame['start'].min():%Y-%m-%d} to {frame['end'].max():%Y-%m-%d}"
        return (
            f"Catalog: {len(self)} {'scene' if len(self) == 1 else 'scenes'} in {crss} "
            f"{'CRS' if crss == 1 else 'CRSs'}, ({left:.4g}, {bottom:.4g}, {right:.4g}, {top:.4g}) "
            f"in EPSG:4326{dates}"
        )

    @cached_property
    def table(self) -> SceneTable:
        """The scenes as arrays, which is what layers are made from."""
        return _to_table(self._frame)

    def filter(
        self,
        *,
        bounds: Bounds | None = None,
        aoi: Any = None,
        time: Any = None,
    ) -> Catalog:
        """Keep scenes that meet an area and an interval.

        Parameters
        ----------
        bounds : (left, bottom, right, top) [degrees], optional
            In EPSG:4326; left above right goes across the 180th meridian.
        aoi : geometry, GeoSeries or GeoDataFrame, optional
            A bare geometry is in EPSG:4326.
        time : str, datetime or (start, end), optional
            A date as "2021", "2021-06" or "2021-06-05" stands for all of that year, month or day;
            ends belong to the interval. Scenes without dates are left out.

        Raises
        ------
        ArgumentError
            If nothing is left.
        """
        keep = np.ones(len(self), bool)
        geometry = self._frame.geometry.values
        if bounds is not None:
            keep &= shapely.intersects(np.asarray(geometry), _box(bounds))
        if aoi is not None:
            keep &= shapely.intersects(np.asarray(geometry), _shape(aoi))
        if time is not None:
            start, end = _interval(time)
            keep &= ((self._frame["start"] <= end) & (self._frame["end"] >= start)).to_numpy()
        if not keep.any():
            raise ArgumentError(f"Nothing of this meets what was asked for: {self!r}.")
        return self._take(np.flatnonzero(keep))

    def order(self, by: str) -> np.ndarray:
        """Positions of scenes by a column, ascending, or descending with "-column".

        Missing values come last, and equal ones stay as they are.

        Raises
        ------
        ArgumentError
            If there is no such column, or its values have no order.
        """
        name, up = (by[1:], False) if by.startswith("-") else (by, True)
        if name not in self._frame.columns:
            raise ArgumentError(
                f"sortby is {by!r}, but the catalog has no column {name!r}. Its columns are "
                f"{', '.join(map(str, self._frame.columns))}."
            )
        try:
            column = self._frame[name].sort_values(ascending=up, kind="stable", na_position="last")
        except TypeError as error:
            raise ArgumentError(f"Column {name!r} cannot be ordered: {error}.") from error
        return np.asarray(column.index)

    def _take(self, rows: np.ndarray) -> Catalog:
        catalog = Catalog(self._frame.iloc[rows])
        if "table" in self.__dict__:
            catalog.__dict__["table"] = self.table.take(rows)
        return catalog

    def to_parquet(self, path: PathLike) -> Path:
        """Write the table as GeoParquet."""
        frame = self._frame.copy()
        if any(not isinstance(one, str) for one in frame["path"]):
            frame["path"] = [[one] if isinstance(one, str) else list(one) for one in frame["path"]]
        for name in ("bands", "transform", "shape"):
            frame[name] = [list(values) for values in frame[name]]
        # Text keeps integers, NaN and nothing apart, which a column of floats does not.
        frame["nodata"] = [None if one is None else repr(one) for one in frame["nodata"]]
        frame.to_parquet(path, index=False)
        return Path(path)

    @classmethod
    def from_parquet(cls, path: PathLike) -> Catalog:
        """Read a table that `to_parquet` wrote, or any GeoParquet file of the same columns.

        Raises
        ------
        NotARasterError
            If the file is no GeoParquet.
        """
        import geopandas

        try:
            frame = geopandas.read_parquet(path)
        except (ValueError, OSError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise NotARasterError(f"{path} is not a GeoParquet file ({error}).") from error
        return cls(frame)


def _to_table(frame: geopandas.GeoDataFrame) -> SceneTable:
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


def _box(bounds: Bounds) -> shapely.Geometry:
    left, bottom, right, top = bounds
    if left <= right:
        return shapely.box(left, bottom, right, top)
    return shapely.box(left, bottom, 180, top) | shapely.box(-180, bottom, right, top)


def _shape(aoi: Any) -> shapely.Geometry:
    if isinstance(aoi, shapely.Geometry):
        return aoi
    if hasattr(aoi, "to_crs"):
        if aoi.crs is None:
            raise ArgumentError("The area has no CRS. Set it: aoi.set_crs('EPSG:...').")
        return aoi.geometry.to_crs(4326).union_all()
    raise ArgumentError(
        f"aoi must be a geometry in EPSG:4326, a GeoSeries or a GeoDataFrame, not a "
        f"{type(aoi).__name__}."
    )


def _interval(time: Any) -> tuple[Any, Any]:
    """First and last moment of an interval."""
    import pandas as pd

    try:
        if isinstance(time, slice):
            time = (time.start, time.stop)
        first, last = time if isinstance(time, tuple | list) else (time, time)
        start = pd.Timestamp.min if first is None else pd.Period(first, _freq(first)).start_time
        end = pd.Timestamp.max if last is None else pd.Period(last, _freq(last)).end_time
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f'time is {time!r}, but must be a date such as "2021-06" or a pair of dates.'
        ) from error
    return start, end


def _freq(moment: Any) -> str | None:
    """Text names a period by itself; anything else is one moment."""
    return None if isinstance(moment, str) else "ns"

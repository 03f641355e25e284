"""A table of scenes: where they are, when they were taken, how their files look."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from geoxr.catalog.frame import DEFAULTS, NEEDED, frame_of, table_of
from geoxr.catalog.paths import find_files
from geoxr.catalog.scan import Errors, Given, SceneFiles, scan, warn_skipped
from geoxr.catalog.select import box_of, interval_of, shape_of
from geoxr.catalog.table import SceneTable
from geoxr.errors import ArgumentError, NotARasterError
from geoxr.typing import Bounds, PathLike

if TYPE_CHECKING:
    import geopandas


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
        missing = [name for name in NEEDED if name not in frame.columns]
        if missing:
            raise ArgumentError(
                f"The table has no column {', '.join(missing)}. A catalog needs "
                f"{', '.join(NEEDED)}; gx.Catalog.scan(paths) finds them in files."
            )
        if not len(frame):
            raise ArgumentError("The table has no rows, so there is no scene in it.")
        frame = frame.assign(
            **{name: value for name, value in DEFAULTS.items() if name not in frame.columns}
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
    def from_stac(
        cls,
        items: Any,
        assets: str | Sequence[str] | None = None,
        errors: Errors = "raise",
    ) -> Catalog:
        """Make a catalog of STAC items; their properties become columns.

        Files are opened only where an item does not say what is needed of an asset: its CRS,
        transform and shape (projection extension), type and nodata value (raster extension, or
        ``bands`` of STAC 1.1). Footprints are the geometries of items, ``eo:cloud_cover`` is the
        column ``cloud_cover``.

        Parameters
        ----------
        items
            An Item or ItemCollection of pystac, the result of a search, an item or a
            FeatureCollection as a dictionary, the path of a JSON file of these, a directory or
            pattern of such files, or a list of any of them.
        assets : str or sequence of str, optional
            As for `open_stac`: keys, common names or names of bands. Default: all raster assets with
            the role "data".
        errors : {"raise", "skip"}
            With "skip", items that cannot be used are left out, and one warning counts and names
            them.

        Raises
        ------
        ArgumentError
            If an item lacks an asset or a geometry, or its assets are no bands of one layer.
        MissingFileError, NotARasterError
            If a file that has to be opened cannot be.
        """
        from geoxr.catalog.stac import catalog_from_stac

        return catalog_from_stac(items, assets, errors)

    @classmethod
    def of_table(cls, table: SceneTable) -> Catalog:
        """Make a catalog of scanned scenes."""
        catalog = cls(frame_of(table))
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
            last = frame["end"].fillna(frame["start"]).max()  # a table of one's own may have no end
            dates = f", {frame['start'].min():%Y-%m-%d} to {last:%Y-%m-%d}"
        return (
            f"Catalog: {len(self)} {'scene' if len(self) == 1 else 'scenes'} in {crss} "
            f"{'CRS' if crss == 1 else 'CRSs'}, ({left:.4g}, {bottom:.4g}, {right:.4g}, {top:.4g}) "
            f"in EPSG:4326{dates}"
        )

    @cached_property
    def table(self) -> SceneTable:
        """The scenes as arrays, which is what layers are made from."""
        return table_of(self._frame)

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
            keep &= shapely.intersects(np.asarray(geometry), box_of(bounds))
        if aoi is not None:
            keep &= shapely.intersects(np.asarray(geometry), shape_of(aoi))
        if time is not None:
            start, end = interval_of(time)
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

"""A table of scenes: where they are, when they were taken, how their files look."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from geoxr.catalog import show
from geoxr.catalog.build import (
    Built,
    Footprint,
    Reading,
    build,
    check_some,
    rebuild,
    skipped_table,
)
from geoxr.catalog.combine import meeting, paths_of, relocated, together
from geoxr.catalog.frame import DEFAULTS, NEEDED, frame_of, table_of, times_of
from geoxr.catalog.given import Paths, given_scenes, scene_name
from geoxr.catalog.layers import to_datatree, to_xarray
from geoxr.catalog.parquet import read_parquet, write_parquet
from geoxr.catalog.query import SceneIndex
from geoxr.catalog.scan import Errors, warn_skipped
from geoxr.catalog.select import box_of, interval_of, mask_of, shape_of
from geoxr.catalog.table import SceneTable
from geoxr.errors import ArgumentError
from geoxr.products.product import Product
from geoxr.products.registry import find_product, products
from geoxr.typing import Bounds, PathLike

if TYPE_CHECKING:
    import folium
    import geopandas
    import matplotlib.axes
    import pandas as pd
    import xarray as xr


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

        are needed. These have defaults: ``id`` (name of the scene, from its files), ``nodata``
        (None), ``masked`` (whether a mask band or nodata values that differ by band say more than
        ``nodata``), ``kind``, ``attrs`` (JSON: units, scale, offset and nodata of each band as
        ``facts``, palette, classes), ``start`` and ``end`` (of the acquisition), ``mtime`` [ns] and
        ``size`` [bytes] of the (first) file, by which a file is known to be still the same. A scan
        by the names of a product adds ``product``.
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
        if frame.geometry.name != "geometry":
            frame = frame.rename_geometry("geometry")
        if "id" not in frame.columns:
            frame.insert(0, "id", [scene_name(paths_of(path)) for path in frame["path"].tolist()])
        if frame.crs is not None and frame.crs.to_epsg() != 4326:
            frame = frame.to_crs(4326)
        self._frame = frame.reset_index(drop=True)
        self._skipped: tuple[tuple[str | None, str], ...] = ()
        self._products: Mapping[str, Product] = {}
        #: Whether the order of the rows was asked for; else layers follow dates.
        self.ordered = False

    @classmethod
    def scan(
        cls,
        paths: Paths,
        *,
        product: str | Product | None = None,
        bands: Sequence[str] | None = None,
        mask_clouds: bool = False,
        mask_saturated: bool = False,
        footprint: Footprint = "bounds",
        errors: Errors = "raise",
        workers: int | None = None,
        progress: bool = False,
    ) -> Catalog:
        """Read the headers of files, in threads.

        Parameters
        ----------
        paths : path, list, pattern, directory or mapping
            A mapping ``{band: path}`` is one scene with a file for each band, one of
            ``{scene: {band: path}}`` several. Otherwise every file is a scene, unless there is a
            `product`.
        product : str or Product, optional
            Sort files into scenes, bands and dates by the names that the product gives them. Files
            that are named otherwise are no scenes of it.
        bands : sequence of str, optional
            With `product`: the bands that scenes need, by own or common name. Default: those that
            `open_product` opens.
        mask_clouds, mask_saturated : bool
            With `product`: scenes bring along their quality files, and layers leave out the pixels
            that these mark; see `open_product`.
        footprint : {"bounds", "valid"}
            The outline of each file, or of its valid pixels, which takes a coarse look at each file.
        errors : {"raise", "skip"}
            With "skip", files that cannot be opened and scenes that lack a band are left out: one
            warning counts and names them, and `skipped` lists them.
        workers : int, optional
            Threads.
        progress : bool
            Show a bar.

        Raises
        ------
        MissingFileError, NotARasterError
            If a file is missing or not a raster, or no file is named like the product.
        """
        known = None if product is None else find_product(product)
        given = given_scenes(
            paths, known, bands, errors, clouds=mask_clouds, saturated=mask_saturated
        )
        built = build(given, Reading(known, footprint, errors, workers, progress))
        catalog = cls.of_built(built, known)
        warn_skipped(catalog._reasons, len(given.scenes) + len(given.skipped), stacklevel=2)
        return catalog

    def update(
        self,
        paths: Paths,
        *,
        product: str | Product | None = None,
        bands: Sequence[str] | None = None,
        mask_clouds: bool = False,
        mask_saturated: bool = False,
        footprint: Footprint = "bounds",
        errors: Errors = "raise",
        workers: int | None = None,
        progress: bool = False,
    ) -> Catalog:
        """Scan again, and read only the headers of new files and of those that have changed.

        A scene has changed if one of its files was written later or has another size. Remote files
        count as unchanged. Scenes whose files are not among `paths` any more are dropped. Columns of
        your own stay with their scenes and are empty for new ones.

        Parameters
        ----------
        paths, bands, mask_clouds, mask_saturated, footprint, errors, workers, progress
            As for `scan`.
        product : str or Product, optional
            Default: that of the catalog.

        Returns
        -------
        Catalog
            With scenes in the order of `paths`.
        """
        known = self.product if product is None else find_product(product)
        given = given_scenes(
            paths, known, bands, errors, clouds=mask_clouds, saturated=mask_saturated
        )
        built = rebuild(self._frame, given, Reading(known, footprint, errors, workers, progress))
        catalog = self.of_built(built, known)
        warn_skipped(catalog._reasons, len(given.scenes) + len(given.skipped), stacklevel=2)
        return catalog

    @classmethod
    def of_built(cls, built: Built, product: Product | None) -> Catalog:
        """Make a catalog of a table that was read; for the rest of geoxr."""
        catalog = cls(check_some(built))
        catalog._skipped = built.skipped
        catalog._products = {} if product is None else {product.name: product}
        return catalog

    @classmethod
    def from_stac(
        cls,
        items: Any,
        assets: str | Sequence[str] | None = None,
        *,
        product: str | Product | None = None,
        mask_clouds: bool = False,
        mask_saturated: bool = False,
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
        product, mask_clouds, mask_saturated
            As for `open_stac`.
        errors : {"raise", "skip"}
            With "skip", items that cannot be used are left out, and one warning counts and names
            them; `skipped` lists them.

        Raises
        ------
        ArgumentError
            If an item lacks an asset or a geometry, or its assets are no bands of one layer.
        MissingFileError, NotARasterError
            If a file that has to be opened cannot be.
        """
        from geoxr.catalog.stac import catalog_from_stac

        return catalog_from_stac(
            items, assets, product, errors, clouds=mask_clouds, saturated=mask_saturated
        )

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

    @property
    def skipped(self) -> pd.DataFrame:
        """Files that the scan left out: a table of path (None if a name alone tells) and reason."""
        return skipped_table(self._skipped)

    @property
    def _reasons(self) -> list[str]:
        return [reason for _, reason in self._skipped]

    @property
    def product(self) -> Product | None:
        """The product that all scenes are of; None if the catalog names none.

        Raises
        ------
        ArgumentError
            If scenes are of several products, or of one that geoxr does not know.
        """
        if "product" not in self._frame.columns:
            return None
        names = self._frame["product"].dropna().unique().tolist()
        if not names:
            return None
        if len(names) > 1 or self._frame["product"].isna().any():
            raise ArgumentError(
                f"The catalog has scenes of several products: {', '.join(names)}, or of none. Open "
                f"each alone: catalog.filter(where=lambda frame: frame['product'] == {names[0]!r})."
            )
        if names[0] not in self._products and names[0] not in products():
            raise ArgumentError(
                f"The scenes are of the product {names[0]!r}, which geoxr does not know. Pass your "
                f"description of it: product=gx.Product(name={names[0]!r}, ...)."
            )
        return self._products.get(names[0]) or find_product(names[0])

    def __len__(self) -> int:
        return len(self._frame)

    def __repr__(self) -> str:
        return show.as_text(self._frame)

    def _repr_html_(self) -> str:
        return show.as_html(self._frame)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_index"}

    @cached_property
    def table(self) -> SceneTable:
        """The scenes as arrays, which is what layers are made from."""
        return table_of(self._frame)

    @cached_property
    def _index(self) -> SceneIndex:
        starts, ends = times_of(self._frame["start"]), times_of(self._frame["end"])
        return SceneIndex(np.asarray(self._frame.geometry.values), starts, ends)

    def query(
        self, *, bounds: Bounds | None = None, aoi: Any = None, time: Any = None
    ) -> np.ndarray:
        """Positions of scenes that meet an area and an interval, ascending; none is no error.

        The first call builds an index of footprints and dates, which the catalog keeps.

        Parameters
        ----------
        bounds, aoi, time
            As for `filter`.

        Returns
        -------
        int64 array
            Positions of rows of `frame`.
        """
        index, rows = self._index, None
        if bounds is not None:
            rows = index.meeting(box_of(bounds))
        if aoi is not None:
            shape = shape_of(aoi)
            if rows is None:
                rows = index.meeting(shape)
            else:
                rows = rows[shapely.intersects(shape, index.shapes[rows])]
        if time is not None:
            start, end = interval_of(time)
            found = index.between if rows is None else lambda *when: index.within(rows, *when)
            rows = found(start.to_datetime64(), end.to_datetime64())
        return np.arange(len(self)) if rows is None else rows

    def filter(
        self,
        *,
        bounds: Bounds | None = None,
        aoi: Any = None,
        time: Any = None,
        where: Sequence[bool] | np.ndarray | Callable[[Any], Any] | None = None,
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
        where : bool array (scene,) or callable, optional
            Which scenes to keep, or a function of `frame` that says so:
            ``lambda frame: frame["cloud_cover"] < 20``.

        Raises
        ------
        ArgumentError
            If nothing is left.
        """
        rows = self.query(bounds=bounds, aoi=aoi, time=time)
        if where is not None:
            rows = rows[mask_of(where, self._frame)[rows]]
        if not rows.size:
            raise ArgumentError(
                f"Nothing of this meets what was asked for: {show.headline(self._frame)}."
            )
        return self.take(rows)

    def sortby(self, column: str, ascending: bool = True) -> Catalog:
        """Order scenes by a column; missing values come last.

        Layers of the catalog take scenes in this order, before dates: the clearest is on top after
        ``catalog.sortby("cloud_cover")`` with ``overlap="first"`` where dates are laid over each
        other.

        Raises
        ------
        ArgumentError
            If there is no such column, or its values have no order.
        """
        catalog = self.take(self.order(column if ascending else f"-{column}"))
        catalog.ordered = True
        return catalog

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

    def take(self, rows: Sequence[int] | np.ndarray) -> Catalog:
        """Keep some scenes by their positions, in the order given."""
        catalog = self._with(self._frame.iloc[rows])
        if "table" in self.__dict__:
            catalog.__dict__["table"] = self.table.take(rows).trimmed()
        return catalog

    def _with(self, frame: geopandas.GeoDataFrame) -> Catalog:
        catalog = type(self)(frame)
        catalog._products, catalog.ordered = self._products, self.ordered
        return catalog

    def __and__(self, other: Catalog) -> Catalog:
        """Keep the scenes that share ground with a scene of `other`, and time where both have dates.

        The result has scenes of the first catalog only, each once and whole: ``images & labels`` are
        the images that have labels, ``labels & images`` the labels that have images. What both cover
        is found when their layers are merged.

        Raises
        ------
        ArgumentError
            If nothing is left.
        """
        if not isinstance(other, Catalog):
            return NotImplemented
        rows = meeting(self._index, other._index)
        if not rows.size:
            raise ArgumentError(
                f"No scene of the first catalog meets one of the second in place and time. "
                f"{show.headline(self._frame)}; {show.headline(other._frame)}."
            )
        return self.take(rows)

    def __or__(self, other: Catalog) -> Catalog:
        """Put the scenes of both catalogs together; a scene of the same files is taken once."""
        if not isinstance(other, Catalog):
            return NotImplemented
        catalog = self._with(together(self._frame, other._frame))
        catalog._products = {**other._products, **self._products}
        return catalog

    def relocate(self, old: PathLike, new: PathLike) -> Catalog:
        """Let paths that begin with `old` begin with `new`, after files were moved.

        Files are not read. Those that have the size they had before count as the same.

        Raises
        ------
        ArgumentError
            If no path begins with `old`.
        """
        return self._with(relocated(self._frame, os.fspath(old), os.fspath(new)))

    def to_parquet(self, path: PathLike) -> Path:
        """Write the table as GeoParquet, with the columns of STAC-GeoParquet beside its own.

        ``id``, ``datetime``, ``start_datetime``, ``end_datetime``, ``bbox``, ``proj:code``,
        ``proj:epsg``, ``proj:shape`` and ``proj:transform`` are for other readers.

        Raises
        ------
        ArgumentError
            If a column of your own holds what Parquet cannot.
        """
        return write_parquet(self._frame, path)

    @classmethod
    def from_parquet(cls, path: PathLike) -> Catalog:
        """Read a table that `to_parquet` wrote, or any GeoParquet file of the same columns.

        Raises
        ------
        MissingFileError
            If there is no such file.
        NotARasterError
            If the file is no GeoParquet.
        ArgumentError
            If a newer geoxr wrote it, or columns are missing.
        """
        return cls(read_parquet(path))

    def to_xarray(self, *, product: str | Product | None = None, **options: Any) -> xr.DataArray:
        """Open the catalog as one lazy layer.

        Parameters
        ----------
        product : str or Product, optional
            What scenes are of. Default: the product of the catalog.
        **options
            Those of `open_product` if the catalog has a product, else of `open_raster`.
        """
        return to_xarray(self, None if product is None else find_product(product), options)

    def to_datatree(
        self, *, name: str | None = None, product: str | Product | None = None, **options: Any
    ) -> xr.DataTree:
        """Open the catalog as one lazy layer for each CRS and lattice; nothing is resampled.

        Chips are drawn over all nodes and loaded as one:
        ``tree.geoxr.to_torch(tree.geoxr.random_chips(256, 1000), batch_size=32)``.

        Parameters
        ----------
        name : str, optional
            Of the layer in every node. Default: "mask" for classes, else "image".
        product : str or Product, optional
            What scenes are of. Default: the product of the catalog.
        **options
            As for `to_xarray`, but for those that name a grid.

        Returns
        -------
        DataTree
            With nodes such as "epsg32615_30m". If the catalog has several dates, all nodes have a
            time axis of their own dates, unless ``time="collapse"``.

        Raises
        ------
        ArgumentError
            If options name a grid, or nodes differ in type or bands.
        """
        known = None if product is None else find_product(product)
        return to_datatree(self, known, name, options)

    def plot(
        self, *, column: str | None = None, ax: matplotlib.axes.Axes | None = None
    ) -> matplotlib.axes.Axes:
        """Draw the footprints, in one colour or by a column.

        Raises
        ------
        MissingDependencyError
            If matplotlib is not installed.
        """
        return show.plot(self._frame, column, ax)

    def explore(self, *, columns: Sequence[str] | None = None, tiles: Any = None) -> folium.Map:
        """Put the footprints on a map for a notebook.

        Parameters
        ----------
        columns : sequence of str, optional
            What a pop-up shows of a scene.
        tiles : optional
            Background as for ``folium.Map``, such as "OpenStreetMap". Default: none, so that nothing
            is fetched from a map server.

        Warns
        -----
        UserWarning
            If there are more than 5,000 scenes: then so many are shown, evenly chosen.

        Raises
        ------
        MissingDependencyError
            If folium is not installed.
        """
        return show.explore(self._frame, columns, tiles)

"""`open_vector`: features of a file or table as a lazy label raster."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.grid.classes import Classes
from geoxr.grid.geobox import grid_like
from geoxr.io.codes import Burning, read_classes
from geoxr.io.layer import as_layer, grid_coords
from geoxr.io.vector import read_vector, report
from geoxr.typing import CRSLike, PathLike

if TYPE_CHECKING:
    import geopandas


def open_vector(
    path_or_gdf: PathLike | geopandas.GeoDataFrame | geopandas.GeoSeries,
    *,
    like: xr.DataArray | xr.Dataset | GeoBox,
    attribute: str | None = None,
    classes: Mapping[int, str] | Mapping[str, int] | Sequence[str] | Classes | None = None,
    all_touched: bool = False,
    fill: int | None = 0,
    mode: Literal["semantic", "instance"] = "semantic",
    overlap: Literal["first", "last"] = "last",
    layer: str | None = None,
    where: str | None = None,
    crs: CRSLike | None = None,
) -> xr.DataArray:
    """Open vector features as a lazy label raster, rasterised window by window.

    Parameters
    ----------
    path_or_gdf : path, GeoDataFrame or GeoSeries
        GeoPackage, GeoJSON, Shapefile, GeoParquet, or what else GDAL opens; points, lines and
        polygons, also mixed. Heights and measures are left out.
    like : DataArray, Dataset or GeoBox
        Grid of the layer. Features are transformed to its CRS; their edges, straight in their own,
        are bent to within 0.001 pixel.
    attribute : str, optional
        Column of which the value is burnt: whole numbers are codes, text is looked up in `classes`.
        Default: all features are 1, or the only class that is not `fill`. Not used for instances.
    classes : mapping, sequence of names, or Classes, optional
        ``{code: name}``, names of the codes 0, 1, ..., or ``{text of the attribute: code}``, where
        several texts may share a code. Default: the distinct texts of `attribute` in alphabetic
        order, counted from 1; numbers have no names. A `fill` that has no name becomes
        "background", the first class.
    all_touched : bool
        Burn every pixel that a feature touches, not only those whose centre it covers.
    fill : int or None
        Code of pixels outside of features, which are valid. None makes them invalid: then the layer
        has a `nodata` that is no code.
    mode : {"semantic", "instance"}
        Burn the class, or the number of the feature: 1 for the first row that is read, whether or
        not it or others before it meet the grid.
    overlap : {"first", "last"}
        Which feature is on top where they overlap, in the order of the rows.
    layer : str, optional
        Layer of a file that has several.
    where : str, optional
        Features to read of a file, as an SQL condition such as ``"year = 2020"``. Not for GeoParquet.
    crs : CRS-like, optional
        CRS of features that do not name theirs, such as a Shapefile without ``.prj``.

    Returns
    -------
    DataArray
        Dimensions ``(y, x)``, categorical, of the smallest integer type that holds all codes.

    Warns
    -----
    UserWarning
        Once, with counts: of features without geometry or with infinite coordinates, which are left
        out; of invalid ones; of those that the CRS of the grid has no place for; of codes that equal
        `fill`; and if no feature meets the grid.

    Raises
    ------
    MissingFileError, NotARasterError
        If the file is missing, or GDAL does not open it.
    MissingCRSError, CRSMismatchError
        If the features have no CRS, or another one than `crs`.
    ClassesError
        If a value is missing, a fraction, too large for 32 bits, or not named by `classes`.
    ArgumentError
        If there is no such column or layer, or several layers.

    Notes
    -----
    Features are burnt one after another, so that of several in one pixel one remains. A polygon has
    the pixels whose centre is inside, which an odd number of its rings surrounds. A centre on an
    edge is inside if the inside is to its left; on an edge along a row, if the inside is below, and
    on grids with north up also if it is above. Parts of a multipolygon are burnt one by one, so
    where they overlap is inside too. A line has one pixel per row or per column, whichever are more
    (Bresenham's rule), a point the pixel it lies in. With `all_touched`, lines and outlines have all
    pixels that they go through.

    Any window has the pixels of the whole, which are those of ``rasterio.features.rasterize`` of all
    features in the CRS of the grid, bit for bit.
    """
    geobox = grid_like(like)
    known, codes = read_classes(classes)
    burning = Burning(attribute, known, codes, fill, mode, overlap)
    reader, loaded = read_vector(
        path_or_gdf, geobox, burning, all_touched=all_touched, layer=layer, where=where, crs=crs
    )
    name = Path(path_or_gdf).stem if isinstance(path_or_gdf, str | os.PathLike) else "vector"
    report(loaded, name, stacklevel=2)
    return as_layer(
        reader,
        name=name,
        kind="categorical",
        classes=loaded.classes,
        attrs={"units": "1"},
        coords=None if isinstance(like, GeoBox) else grid_coords(like),
        band=None,
    )

"""Aliases shared by the public signatures."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    import geopandas
    import numpy as np
    import shapely
    import xarray as xr

#: A path to a file or directory.
PathLike: TypeAlias = str | os.PathLike[str]
#: Whatever pyproj understands: "EPSG:32633", 4326, WKT, a pyproj, rasterio or odc CRS.
CRSLike: TypeAlias = Any
#: (left, bottom, right, top) in CRS units.
Bounds: TypeAlias = tuple[float, float, float, float]
#: A label raster has classes ("categorical"), an image has quantities ("continuous").
Kind: TypeAlias = Literal["continuous", "categorical"]
#: How pixels are resampled.
Resampling: TypeAlias = Literal[
    "nearest", "bilinear", "cubic", "average", "mode", "min", "max", "sum", "median"
]
#: Which scene wins, or how scenes are combined, where several overlap.
Overlap: TypeAlias = Literal["first", "last", "mean", "median", "min", "max", "count"]
#: Where the pixels of a target grid start.
Align: TypeAlias = Literal["snap", "keep"]

if TYPE_CHECKING:
    #: A seed, or a generator that is drawn from once.
    Seed: TypeAlias = int | np.random.Generator
    #: An area: geometry in the CRS of the Dataset, or a frame that knows its own CRS.
    Area: TypeAlias = (
        shapely.Geometry | geopandas.GeoSeries | geopandas.GeoDataFrame | tuple[float, ...]
    )
    XarrayT = TypeVar("XarrayT", xr.DataArray, xr.Dataset)
else:
    # The libraries behind these are imported when they are needed.
    Seed = Area = Any
    XarrayT = TypeVar("XarrayT")

"""Features rasterised per window, identical to rasterising the whole."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError, ClassesError, MissingFileError, NotARasterError
from geoxr.grid.classes import Classes
from geoxr.grid.geobox import crop, parse_crs, require_crs
from geoxr.grid.window import Window
from geoxr.io.gdal import outline
from geoxr.typing import PathLike

if TYPE_CHECKING:
    import geopandas

#: Edges are cut so that their bend in the target stays far below a pixel [target pixel].
_EDGE = 64


@dataclass(frozen=True, eq=False)
class VectorReader:
    """Features in the CRS of a grid; see `WindowReader`.

    Parameters
    ----------
    shapes : tuple of bytes
        WKB of the features in burn order: later ones lie on top.
    values : tuple of int
        Value of each feature.
    """

    geobox: GeoBox
    shapes: tuple[bytes, ...]
    values: tuple[int, ...]
    fill: int
    all_touched: bool
    dtype: np.dtype = field(default=np.dtype("uint8"))

    bands = ("class",)
    times = None
    nodata = None
    masked = False

    @property
    def footprint(self) -> shapely.Geometry:
        """Outline of the grid: where there is no feature is background, not a hole."""
        return outline(self.geobox)

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(shapely.from_wkb(list(self.shapes)))

    def read(
        self,
        window: Window,
        out: np.ndarray,
        valid: np.ndarray | None,
        *,
        bands: tuple[int, ...],
        times: tuple[int, ...],
        step: int = 1,
    ) -> None:
        """Read a window; see `WindowReader.read`."""
        from affine import Affine
        from rasterio.features import rasterize

        grid = crop(self.geobox, window)
        shape = out.shape[2:]
        burnt = np.full(shape, self.fill, self.dtype)
        hits = np.sort(self._tree.query(outline(grid)))
        if hits.size:
            features = [(self._tree.geometries[hit], self.values[hit]) for hit in hits]
            rasterize(
                features,
                out=burnt,
                transform=grid.affine @ Affine.scale(step),
                all_touched=self.all_touched,
            )
        out[...] = burnt
        if valid is not None:
            valid[...] = True

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_tree"}

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (type(self).__name__, *self.__getstate__().values())


def read_vector(
    source: PathLike | geopandas.GeoDataFrame,
    geobox: GeoBox,
    *,
    attribute: str | None,
    classes: Mapping[Any, str] | Sequence[str] | Classes | None,
    all_touched: bool,
    fill: int,
    mode: Literal["semantic", "instance"],
    overlap: Literal["first", "last"],
) -> tuple[VectorReader, Classes | None]:
    """Read and transform features; see `geoxr.open_vector`."""
    if mode not in ("semantic", "instance"):
        raise ArgumentError(f'mode is {mode!r}, but must be "semantic" or "instance".')
    if overlap not in ("first", "last"):
        raise ArgumentError(f'overlap is {overlap!r}, but must be "first" or "last".')
    frame = _transformed(_frame(source), geobox)
    if mode == "instance":
        values, known = np.arange(1, len(frame) + 1), None
    else:
        values, known = _values(frame, attribute, classes, fill)
    highest = max(int(values.max(initial=0)), fill)
    lowest = min(int(values.min(initial=0)), fill)
    dtype = np.result_type(np.min_scalar_type(highest), np.min_scalar_type(lowest))
    shapes = shapely.to_wkb(frame.geometry.to_numpy())
    order = range(len(frame)) if overlap == "last" else range(len(frame) - 1, -1, -1)
    reader = VectorReader(
        geobox,
        tuple(shapes[i] for i in order),
        tuple(int(values[i]) for i in order),
        fill,
        all_touched,
        dtype if dtype.itemsize < 8 else np.dtype("int32"),
    )
    return reader, known


def _frame(source: PathLike | geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    import geopandas

    if isinstance(source, geopandas.GeoDataFrame):
        return source
    path = os.fspath(source)
    if "://" not in path and not path.startswith("/vsi") and not Path(path).exists():
        raise MissingFileError(f"{path} does not exist (looked in {Path.cwd()}).")
    try:
        if path.endswith((".parquet", ".geoparquet")):
            return geopandas.read_parquet(path)
        return geopandas.read_file(path)
    except Exception as error:
        raise NotARasterError(
            f"{path} is not a vector file that can be opened ({error}). geoxr reads GeoPackage, "
            f"GeoJSON, Shapefile, GeoParquet; rasters open with gx.open_raster."
        ) from error


def _transformed(frame: geopandas.GeoDataFrame, geobox: GeoBox) -> geopandas.GeoDataFrame:
    """Features in the CRS of the grid, repaired, without empty ones."""
    crs = None if frame.crs is None else parse_crs(frame.crs)
    require_crs(GeoBox((1, 1), geobox.affine, crs), "The vector layer")
    frame = frame[~(frame.geometry.isna() | frame.geometry.is_empty)]
    if frame.empty:
        raise ArgumentError("The vector layer has no features with a geometry.")
    target = require_crs(geobox, "The grid").proj
    # Before anything else: GEOS densifies invalid polygons through buffer(0), which loses parts.
    frame = frame.set_geometry(frame.geometry.make_valid())
    if not frame.crs.equals(target, ignore_axis_order=True):
        # Straight edges of the source are bent in the target, so they get more vertices first.
        box = shapely.box(*outline(geobox).bounds)
        width = _span(box, target, frame.crs) / max(geobox.shape)
        frame = frame.set_geometry(frame.geometry.segmentize(max(width * _EDGE, 1e-9)))
        frame = frame.to_crs(target)
    return frame.set_geometry(frame.geometry.make_valid())


def _span(box: shapely.Polygon, source: Any, target: Any) -> float:
    """Longest side of a rectangle seen in another CRS [its units]."""
    import geopandas

    left, bottom, right, top = geopandas.GeoSeries([box], crs=source).to_crs(target).total_bounds
    span = float(max(right - left, top - bottom))
    return span if np.isfinite(span) and span > 0 else 1.0


def _values(
    frame: geopandas.GeoDataFrame,
    attribute: str | None,
    classes: Mapping[Any, str] | Sequence[str] | Classes | None,
    fill: int,
) -> tuple[np.ndarray, Classes | None]:
    known = None if classes is None else Classes.of(classes)
    if attribute is None:
        values = np.ones(len(frame), dtype="int64")
        return values, known or Classes.of({fill: "background", 1: "feature"})
    if attribute not in frame.columns:
        raise ArgumentError(
            f"The vector layer has no column {attribute!r}. It has "
            f"{', '.join(str(name) for name in frame.columns if name != 'geometry')}."
        )
    column = frame[attribute]
    if column.isna().any():
        raise ClassesError(
            f"{int(column.isna().sum())} of {len(column)} features have no {attribute!r}. Drop them "
            f"first: gdf.dropna(subset=[{attribute!r}])."
        )
    if column.dtype.kind in "iub":
        return column.to_numpy("int64"), known
    if column.dtype.kind == "f":
        if not (column % 1 == 0).all():
            raise ClassesError(f"Column {attribute!r} holds fractions, not class codes.")
        return column.to_numpy("int64"), known
    if known is None:
        names = sorted(set(column.astype(str)))
        known = Classes.of({fill: "background"} | dict(enumerate(names, 1)))
    codes = dict(zip(known.names, known.values, strict=True))
    missing = sorted(set(column.astype(str)) - set(codes))
    if missing:
        raise ClassesError(
            f"Column {attribute!r} has {', '.join(map(repr, missing[:5]))}, which classes= does not "
            f"name. It names {', '.join(known.names)}."
        )
    return column.astype(str).map(codes).to_numpy("int64"), known

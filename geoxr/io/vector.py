"""Features rasterised per window, identical to rasterising the whole."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize

from geoxr.errors import ArgumentError, ClassesError, MissingFileError, NotARasterError
from geoxr.grid.classes import Classes
from geoxr.grid.geobox import parse_crs, require_crs
from geoxr.grid.shapes import outline, to_pixels
from geoxr.grid.window import Window
from geoxr.typing import PathLike

if TYPE_CHECKING:
    import geopandas

#: Edges are cut so that their bend in the target stays far below a pixel [target pixel].
_EDGE = 64


@dataclass(frozen=True)
class Features:
    """Geometries and their values in burn order: later ones lie on top.

    Parameters
    ----------
    shapes : tuple of bytes
        WKB in pixels of the whole grid (x along columns, y along rows): moving a window is then
        exact, and ties at pixel centres fall the same way in all of them.
    values : tuple of int
    """

    shapes: tuple[bytes, ...]
    values: tuple[int, ...]


@dataclass(frozen=True)
class Burning:
    """What is burnt: see `geoxr.open_vector`."""

    attribute: str | None
    classes: Classes | None
    fill: int
    mode: Literal["semantic", "instance"]
    overlap: Literal["first", "last"]

    def __post_init__(self) -> None:
        if self.mode not in ("semantic", "instance"):
            raise ArgumentError(f'mode is {self.mode!r}, but must be "semantic" or "instance".')
        if not isinstance(self.fill, int):
            raise ArgumentError(f"fill is the code of the background, not {self.fill!r}.")
        if self.overlap not in ("first", "last"):
            raise ArgumentError(f'overlap is {self.overlap!r}, but must be "first" or "last".')


@dataclass(frozen=True, eq=False)
class VectorReader:
    """Features burnt into windows of a grid; see `WindowReader`.

    Those of a file are read again where the reader is sent to, so that it pickles small.
    """

    geobox: GeoBox
    source: Features | tuple[str, Burning]
    fill: int
    all_touched: bool
    dtype: np.dtype

    bands = ("class",)
    times = None
    nodata = None
    masked = False

    @property
    def footprint(self) -> shapely.Geometry:
        """Outline of the grid: where there is no feature is background, not a hole."""
        return outline(self.geobox)

    @cached_property
    def _features(self) -> Features:
        if isinstance(self.source, Features):
            return self.source
        path, burning = self.source
        return _load(path, self.geobox, burning)[0]

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(shapely.from_wkb(list(self._features.shapes)))

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
        burnt = np.full(out.shape[2:], self.fill, self.dtype)
        (row, col), (stop_row, stop_col) = (window.row, window.col), window.stop
        hits = np.sort(self._tree.query(shapely.box(col, row, stop_col, stop_row)))
        if hits.size:
            values = self._features.values
            shapes = shapely.transform(self._tree.geometries[hits], lambda at: at - (col, row))
            rasterize(
                [(shape, values[hit]) for shape, hit in zip(shapes, hits, strict=True)],
                out=burnt,
                transform=Affine.scale(step),
                all_touched=self.all_touched,
            )
        out[...] = burnt
        if valid is not None:
            valid[...] = True

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (type(self).__name__, *self.__getstate__().values())


def read_vector(
    source: PathLike | geopandas.GeoDataFrame,
    geobox: GeoBox,
    burning: Burning,
    *,
    all_touched: bool,
) -> tuple[VectorReader, Classes | None]:
    """Read and transform features; see `geoxr.open_vector`."""
    features, classes = _load(source, geobox, burning)
    ends = [*features.values, burning.fill]
    dtype = np.result_type(np.min_scalar_type(max(ends)), np.min_scalar_type(min(ends)))
    if dtype.itemsize == 8 or dtype.kind == "f":
        dtype = np.dtype("int32")
        if max(ends) > np.iinfo(dtype).max or min(ends) < np.iinfo(dtype).min:
            raise ClassesError(
                f"Values from {min(ends)} to {max(ends)} do not fit into 32 bits. Number the classes "
                f"from 0, or burn mode='instance'."
            )
    is_path = isinstance(source, str | os.PathLike)
    origin = (os.fspath(source), burning) if is_path else features
    reader = VectorReader(geobox, origin, burning.fill, all_touched, dtype)
    reader.__dict__["_features"] = features
    return reader, classes


def _load(
    source: PathLike | geopandas.GeoDataFrame, geobox: GeoBox, burning: Burning
) -> tuple[Features, Classes | None]:
    frame = _transformed(_frame(source), geobox)
    if burning.mode == "instance":
        values, known = np.arange(1, len(frame) + 1), None
    else:
        values, known = _values(frame, burning)
    shapes = shapely.to_wkb(to_pixels(frame.geometry.to_numpy(), geobox))
    order = range(len(frame)) if burning.overlap == "last" else range(len(frame) - 1, -1, -1)
    return Features(tuple(shapes[i] for i in order), tuple(int(values[i]) for i in order)), known


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
        frame = _to_crs(frame, geobox, target)
    return frame.set_geometry(frame.geometry.make_valid())


def _to_crs(frame: geopandas.GeoDataFrame, geobox: GeoBox, target: Any) -> geopandas.GeoDataFrame:
    """Transform features, with long edges bent; what has no place in the target is cut off."""
    import geopandas

    box = geopandas.GeoSeries([outline(geobox).segmentize(_side(geobox) / 16)], crs=target)
    here = box.to_crs(frame.crs).iloc[0]
    width = float(max(np.ptp(shapely.get_coordinates(here), axis=0))) / max(geobox.shape)
    # Straight edges of the source are bent in the target, so they get more vertices first.
    edge = max(width * _EDGE, 1e-9) if np.isfinite(width) else np.inf
    moved = frame.set_geometry(frame.geometry.segmentize(edge)).to_crs(target)
    back = moved.to_crs(frame.crs).geometry.bounds.to_numpy()
    # What does not come back to its place was not really transformed, even if there are numbers.
    with np.errstate(invalid="ignore"):
        drift = np.abs(back - frame.geometry.bounds.to_numpy()).max(axis=1)
    lost = ~(drift <= max(width * _EDGE, 1e-9))
    if lost.any() and np.isfinite(width):
        near = here.buffer(width * max(geobox.shape) / 8)
        cut = frame.geometry[lost].intersection(near).segmentize(edge).to_crs(target)
        geometry = moved.geometry.copy()
        geometry[lost] = cut
        moved = moved.set_geometry(geometry)
    return moved


def _side(geobox: GeoBox) -> float:
    left, bottom, right, top = outline(geobox).bounds
    return max(right - left, top - bottom)


def _values(frame: geopandas.GeoDataFrame, burning: Burning) -> tuple[np.ndarray, Classes | None]:
    attribute, known, fill = burning.attribute, burning.classes, burning.fill
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

"""Features rasterised per window, identical to rasterising the whole."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError
from geoxr.grid.crs import parse_crs
from geoxr.grid.shapes import from_pixels, outline
from geoxr.grid.window import Window
from geoxr.io.burn import burn
from geoxr.io.codes import Burning
from geoxr.io.features import Loaded, VectorFile, find_vector, load_file, load_frame, stamp_of
from geoxr.io.pieces import Pieces
from geoxr.io.reader import PIECE
from geoxr.typing import CRSLike, PathLike

if TYPE_CHECKING:
    import geopandas


@dataclass(frozen=True, eq=False)
class VectorReader:
    """Features burnt into windows of a grid; see `WindowReader`.

    Those of a file are read again where the reader is sent to, so that it pickles small.
    """

    geobox: GeoBox
    source: Pieces | VectorFile
    background: int
    nodata: int | None
    all_touched: bool
    dtype: np.dtype

    bands = ("class",)
    times = None
    masked = False

    @property
    def footprint(self) -> shapely.Geometry:
        """Outline of the grid, or of a box around the features where the rest is invalid."""
        grid = outline(self.geobox)
        if self.nodata is None or not len(self._pieces.kinds):
            return grid
        edges = self._pieces.edges
        xs, ys = edges[:, 0::2], edges[:, 1::2]
        box = shapely.box(xs.min() - 1, ys.min() - 1, xs.max() + 1, ys.max() + 1)
        return from_pixels(box, self.geobox) & grid

    @cached_property
    def _pieces(self) -> Pieces:
        if isinstance(self.source, Pieces):
            return self.source
        return load_file(self.source, self.geobox).pieces

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
        """Read a window; see `WindowReader.read`.

        With a step, features are burnt into cells of so many pixels, counted from the corner of the
        window.
        """
        height, width = out.shape[2:]
        rows = max(PIECE // width, 1)
        for row in range(0, height, rows):
            stop = min(row + rows, height)
            top = window.row + row * step
            part = Window(
                top, window.col, min((stop - row) * step, window.stop[0] - top), window.width
            )
            self._burn(part, out[..., row:stop, :], step)
        if valid is not None:
            valid[...] = True if self.nodata is None else out != self.nodata

    def _burn(self, window: Window, out: np.ndarray, step: int) -> None:
        pieces, margin = self._pieces, 2 * step
        around = shapely.box(
            window.col - margin,
            window.row - margin,
            window.stop[1] + margin,
            window.stop[0] + margin,
        )
        hits = np.sort(pieces.tree.query(around))
        if not hits.size:
            out[...] = self.background
            return
        burnt = np.full(out.shape[2:], self.background, "int32")
        (row, top), (col, left) = divmod(window.row, step), divmod(window.col, step)
        height, width = (
            -(-(self.geobox.height - top) // step),
            -(-(self.geobox.width - left) // step),
        )
        burn(
            burnt, row, col, height, width, float(step), float(top), float(left),
            pieces.edges, pieces.starts, pieces.bands, pieces.kinds, pieces.values,
            hits, self.all_touched,
        )  # fmt: skip
        out[...] = burnt

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (type(self).__name__, *self.__getstate__().values())


def read_vector(
    source: PathLike | geopandas.GeoDataFrame | geopandas.GeoSeries,
    geobox: GeoBox,
    burning: Burning,
    *,
    all_touched: bool,
    layer: str | None,
    where: str | None,
    crs: CRSLike | None,
) -> tuple[VectorReader, Loaded]:
    """Read and transform features; see `geoxr.open_vector`."""
    wkt = None if crs is None else parse_crs(crs).to_wkt()
    origin: Pieces | VectorFile
    if isinstance(source, str | os.PathLike):
        path = find_vector(os.fspath(source))
        origin = VectorFile(path, layer, where, wkt, burning, stamp_of(path))
        loaded = load_file(origin, geobox)
    else:
        if layer is not None or where is not None:
            raise ArgumentError(
                "layer= and where= are for files. Take the rows of a table before: "
                "gdf[gdf['year'] == 2020]."
            )
        loaded = load_frame(source, geobox, burning, wkt)
        origin = loaded.pieces
    reader = VectorReader(
        geobox, origin, loaded.background, loaded.nodata, all_touched, loaded.dtype
    )
    reader.__dict__["_pieces"] = loaded.pieces
    return reader, loaded


def report(loaded: Loaded, name: str, *, stacklevel: int) -> None:
    """Warn, once, of what could not be burnt as it is."""
    for text in loaded.report:
        warnings.warn(f"{name}: {text}", stacklevel=stacklevel + 1)

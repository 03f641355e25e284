"""Where the pixels of one grid lie in another: PROJ on a control lattice, interpolated between.

The nodes of the lattice sit at whole multiples of a step of the *target* grid, and whether a step is
fine enough is decided for whole tiles of that grid. So the coordinates of a pixel do not depend on
the window that asks for it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import lru_cache

import numpy as np
import pyproj
from affine import Affine
from odc.geo.geobox import GeoBox

from geoxr.grid.geobox import require_crs, same_crs
from geoxr.grid.window import Window
from geoxr.options import options
from geoxr.warp.kernels import interpolate

#: Edge of a tile of the lattice [target pixel].
TILE = 256
#: Largest error of interpolated coordinates [source pixel].
TOLERANCE = 1e-4
#: Steps tried between nodes, the widest first; what none of them holds goes through PROJ per pixel.
STEPS = (16, 8, 4)

#: A tile: nodes (2, rows, columns) and the step between them; step 0 stands for pixel centres.
_Tile = tuple[np.ndarray, int]


class Lattice:
    """Source pixel coordinates of the pixels of a target grid.

    Parameters
    ----------
    source, target : GeoBox
        Both with a CRS, or both without.
    """

    def __init__(self, source: GeoBox, target: GeoBox) -> None:
        self._to_source: Affine = ~source.affine
        self._from_target = target.affine
        self._transformer = None
        if not same_crs(source.crs, target.crs):
            self._transformer = transformer(
                require_crs(target, "The target grid").to_wkt(),
                require_crs(source, "The source layer").to_wkt(),
            )

    def coordinates(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Column and row positions in the source of the pixel centres of a target window.

        Returns
        -------
        x, y : float64 array (height, width) [source pixel]
            (0, 0) is the outer corner of the first pixel. Not finite where PROJ has no answer.
        """
        x = np.empty((window.height, window.width))
        y = np.empty((window.height, window.width))
        if self._transformer is None:
            self._linear(window, x, y)
            return x, y
        for part in window.tiles(TILE):
            row, col = part.row // TILE, part.col // TILE
            nodes, step = self._tile(row, col)
            rows, cols = part.inside(window)
            off_row, off_col = part.row - row * TILE, part.col - col * TILE
            if step:
                interpolate(nodes, step, off_row, off_col, x[rows, cols], y[rows, cols])
            else:
                piece = np.s_[off_row : off_row + part.height, off_col : off_col + part.width]
                x[rows, cols], y[rows, cols] = nodes[0][piece], nodes[1][piece]
        return x, y

    def exact(self, cols: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Source positions (2, ...) of target positions, all through PROJ."""
        a = self._from_target
        east, north = a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f
        if self._transformer is not None:
            east, north = self._transformer.transform(east, north)
        b = self._to_source
        return np.stack([b.a * east + b.b * north + b.c, b.d * east + b.e * north + b.f])

    def _linear(self, window: Window, x: np.ndarray, y: np.ndarray) -> None:
        """Within one CRS the way from grid to grid is an affine map."""
        step = self._to_source @ self._from_target
        cols = np.arange(window.col, window.col + window.width) + 0.5
        rows = (np.arange(window.row, window.row + window.height) + 0.5)[:, None]
        x[...] = step.a * cols + step.b * rows + step.c
        y[...] = step.d * cols + step.e * rows + step.f

    def _tile(self, row: int, col: int) -> _Tile:
        key = (id(self), row, col)
        tile = _cache.get(key)
        if tile is None:
            tile = self._make_tile(row, col)
            _cache.put(key, tile, self)
        return tile

    def _make_tile(self, row: int, col: int) -> _Tile:
        top, left = row * TILE, col * TILE
        for step in STEPS:
            at = np.arange(0, TILE + 1, step, dtype="float64")
            nodes = self.exact(*np.meshgrid(left + at, top + at))
            # A comparison with NaN or infinity is False: such tiles go through PROJ per pixel.
            with np.errstate(invalid="ignore"):
                if _coarse_error(nodes) <= 3 * TOLERANCE:
                    return nodes, step
        at = np.arange(TILE) + 0.5
        return self.exact(*np.meshgrid(left + at, top + at)), 0


def _coarse_error(nodes: np.ndarray) -> float:
    """Largest error there would be with every other node left out.

    Bilinear interpolation errs by the curvature along both axes times the square of the step, so
    the nodes themselves err by a quarter of this.
    """
    across = np.abs(nodes[:, ::2, 1::2] - (nodes[:, ::2, :-1:2] + nodes[:, ::2, 2::2]) / 2)
    down = np.abs(nodes[:, 1::2, ::2] - (nodes[:, :-1:2, ::2] + nodes[:, 2::2, ::2]) / 2)
    return float(across.max() + down.max())


class _Cache:
    """Tiles of all lattices of the process, bounded in bytes."""

    def __init__(self) -> None:
        self._tiles: OrderedDict[tuple[int, int, int], tuple[_Tile, Lattice]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: tuple[int, int, int]) -> _Tile | None:
        with self._lock:
            if key not in self._tiles:
                return None
            self._tiles.move_to_end(key)
            return self._tiles[key][0]

    def put(self, key: tuple[int, int, int], tile: _Tile, owner: Lattice) -> None:
        # The owner is kept beside the tile so that its id stays its own.
        with self._lock:
            if key in self._tiles:
                return
            self._tiles[key] = tile, owner
            self._bytes += tile[0].nbytes
            while self._bytes > options.lattice_cache and len(self._tiles) > 1:
                self._bytes -= self._tiles.popitem(last=False)[1][0][0].nbytes


_cache = _Cache()


@lru_cache(maxsize=1024)
def lattice(source: GeoBox, target: GeoBox) -> Lattice:
    """Return the lattice between two grids, shared by all layers on them."""
    return Lattice(source, target)


@lru_cache(maxsize=256)
def transformer(source_wkt: str, target_wkt: str) -> pyproj.Transformer:
    """Transform between two CRSs, x before y; making one takes tens of milliseconds."""
    return pyproj.Transformer.from_crs(source_wkt, target_wkt, always_xy=True)

"""Where the pixels of one grid lie in another: PROJ on a control lattice, interpolated between.

The nodes of the lattice sit at whole multiples of a step of the *target* grid, and whether a step is
fine enough is decided for whole cells between them. So the coordinates of a pixel do not depend on
the window that asks for it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import lru_cache

import numpy as np
from odc.geo.geobox import GeoBox

from geoxr.grid.geobox import check_grid, require_crs, same_crs
from geoxr.grid.placement import Placement
from geoxr.grid.window import Window
from geoxr.options import options
from geoxr.warp.change import Change, change_between, full_turn
from geoxr.warp.kernels import EDGE, interpolate

#: Edge of a tile of the lattice [target pixel].
TILE = 256
#: Largest error of interpolated coordinates [source pixel].
TOLERANCE = 1e-4
#: Steps tried between nodes, the widest first; cells that fail all go through PROJ per pixel.
STEPS = (16, 8, 4)

#: A tile: nodes (2, rows, columns) and the step between them; step 0 stands for pixel centres.
_Tile = tuple[np.ndarray, int]


class Lattice:
    """Source pixel coordinates of the pixels of a target grid.

    Parameters
    ----------
    source : GeoBox or Placement
        Where the source pixels lie.
    target : GeoBox
        Both with a CRS, or both without.

    Raises
    ------
    MissingCRSError
        If only one of them has a CRS.
    CRSMismatchError
        If PROJ knows no way from one CRS to the other.
    GridError
        If a transform cannot be inverted or has numbers that are not finite.
    """

    def __init__(self, source: GeoBox | Placement, target: GeoBox) -> None:
        check_grid(target, "The target grid")
        self._source, self._from_target = source, target.affine
        self._change: Change | None = None
        if not same_crs(source.crs, target.crs):
            self._change = change_between(
                require_crs(target, "The target grid"), require_crs(source, "The source layer")
            )
        self._turn = full_turn(source.crs)
        if isinstance(source, GeoBox):
            check_grid(source, "The source layer")
            a = source.affine
            self._to_source = ~a
            middle = a @ (source.width / 2, source.height / 2)
            # The edge of a pixel belongs to the right one also where longitudes start again.
            self._slack = EDGE * (abs(a.a) + abs(a.b)) / self._turn if self._turn else 0.0
        else:
            middle, self._slack = source.middle, 0.0
        self._middle = middle[0]
        outer = self._outer(target)
        self._checked = self._change is not None and not self._change.comes_back(*outer).all()
        self._wraps = bool(self._turn) and not (self._turns(outer[0]) == 0).all()

    def coordinates(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Column and row positions in the source of the pixel centres of a target window.

        Returns
        -------
        x, y : float64 array (height, width) [source pixel]
            (0, 0) is the outer corner of the first pixel. Not finite where there is no answer: where
            PROJ has none, or where the target position is no place on earth.
        """
        x = np.empty((window.height, window.width))
        y = np.empty((window.height, window.width))
        if self._affine:
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
        if self._change is not None:
            good = self._change.comes_back(east, north) if self._checked else None
            east, north = self._change.forward(east, north)
            if good is not None:
                east = np.where(good, east, np.nan)
        if self._turn:
            east = east - self._turns(east) * self._turn
        if not isinstance(self._source, GeoBox):
            return np.stack(self._source.to_pixels(east, north))
        b = self._to_source
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            return np.stack([b.a * east + b.b * north + b.c, b.d * east + b.e * north + b.f])

    def _turns(self, east: np.ndarray) -> np.ndarray:
        """Whole turns by which longitudes are away from those of the source."""
        with np.errstate(invalid="ignore"):
            turns = np.floor((east - self._middle) / self._turn + 0.5 + self._slack)
        return np.where(np.isfinite(turns), turns, 0.0)

    def _outer(self, target: GeoBox) -> tuple[np.ndarray, np.ndarray]:
        """Positions in the target CRS of the centres of some pixels all over the target."""
        cols, rows = np.meshgrid(
            np.linspace(0.5, target.width - 0.5, 17), np.linspace(0.5, target.height - 0.5, 17)
        )
        return self._from_target @ (cols, rows)

    @property
    def _affine(self) -> bool:
        """Whether the way from grid to grid is an affine map."""
        return self._change is None and not self._wraps and isinstance(self._source, GeoBox)

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
        """Nodes of the widest step that is fine enough, or all pixels where some cells need PROJ.

        One row and column of nodes more on every side tells how the map bends at the edge.
        """
        top, left = row * TILE, col * TILE
        for step in STEPS:
            at = np.arange(-step, TILE + step + 1, step, dtype="float64")
            around = self.exact(*np.meshgrid(left + at, top + at))
            bent, void = _judge(around)
            nodes = np.ascontiguousarray(around[:, 1:-1, 1:-1])
            if not bent.any() and not void.any():
                return nodes, step
            finer = (2 * TILE // step + 3) ** 2
            if step == STEPS[-1] or np.count_nonzero(bent) * step**2 <= finer:
                break
        return self._pixels(top, left, nodes, step, bent, void), 0

    def _pixels(
        self,
        top: int,
        left: int,
        nodes: np.ndarray,
        step: int,
        bent: np.ndarray,
        void: np.ndarray,
    ) -> np.ndarray:
        """Positions of all pixel centres of a tile: through PROJ in bent cells, none in void ones."""
        pixels = np.empty((2, TILE, TILE))
        interpolate(nodes, step, 0, 0, pixels[0], pixels[1])
        pixels[:, _per_pixel(void, step)] = np.nan
        rows, cols = np.nonzero(_per_pixel(bent, step))
        pixels[:, rows, cols] = self.exact(left + cols + 0.5, top + rows + 0.5)
        return pixels


def _judge(around: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell which cells between nodes cannot be interpolated.

    Parameters
    ----------
    around : float64 array (2, n + 3, n + 3)
        Nodes around n x n cells, and one more on every side.

    Returns
    -------
    bent, void : bool array (n, n)
        Cells where the error may be above the tolerance or is not known, and cells that have no
        answer at any node near them.

    Notes
    -----
    Between nodes that are h apart bilinear interpolation errs by at most h² (f_xx + f_yy) / 8,
    and a node differs from the mean of its neighbours along an axis by h² f'' / 2: four times
    the share of that axis.
    """
    inner = around[:, 1:-1, 1:-1]
    with np.errstate(invalid="ignore"):
        across = np.abs(inner - (around[:, 1:-1, :-2] + around[:, 1:-1, 2:]) / 2)
        down = np.abs(inner - (around[:, :-2, 1:-1] + around[:, 2:, 1:-1]) / 2)
        # A comparison with NaN or infinity is False.
        fine = (across + down <= 3 * TOLERANCE).all(axis=0)
    bent = ~(fine[1:, 1:] & fine[1:, :-1] & fine[:-1, 1:] & fine[:-1, :-1])
    if not bent.any():
        return bent, bent
    known = np.isfinite(around).all(axis=0)
    near = np.lib.stride_tricks.sliding_window_view(known, (4, 4)).any(axis=(2, 3))
    return bent & near, ~near


def _per_pixel(cells: np.ndarray, step: int) -> np.ndarray:
    return np.repeat(np.repeat(cells, step, axis=0), step, axis=1)


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
def lattice(source: GeoBox | Placement, target: GeoBox) -> Lattice:
    """Return the lattice between two grids, shared by all layers on them."""
    return Lattice(source, target)

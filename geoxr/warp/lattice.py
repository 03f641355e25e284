"""Where the pixels of one grid lie in another: PROJ on a control lattice, interpolated between.

The nodes of the lattice sit at whole multiples of a step of the *target* grid, and whether a step is
fine enough is decided for whole cells between them. So the coordinates of a pixel do not depend on
the window that asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from odc.geo.geobox import GeoBox

from geoxr.grid.affine import map_points, rotated
from geoxr.grid.change import Change, change_between
from geoxr.grid.control_points import Placement
from geoxr.grid.crs import full_turn, require_crs, same_crs
from geoxr.grid.geobox import check_grid
from geoxr.grid.window import Window
from geoxr.io.cache import SharedCache
from geoxr.options import options
from geoxr.warp.kernels import EDGE, interpolate

#: Edge of a tile of the lattice [target pixel].
TILE = 256
#: Largest error of interpolated coordinates [source pixel].
TOLERANCE = 1e-4
#: Steps between nodes, the widest first; cells that none of them holds go through PROJ per pixel.
STEPS = (16, 8, 4, 2)


@dataclass(frozen=True)
class _Tile:
    """Nodes (2, rows, columns) and the step between them; step 0 stands for pixel centres."""

    nodes: np.ndarray
    step: int
    #: Kept so that its id, by which the tile is found, stays its own.
    owner: Lattice

    @property
    def nbytes(self) -> int:
        return self.nodes.nbytes


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
        #: Columns after which longitudes of the source come round again; 0 where they do not.
        self.turn = 0.0
        if self._turn and isinstance(source, GeoBox) and not rotated(source.affine):
            self.turn = self._turn * abs(self._to_source.a)
        outer = self._outer(target)
        self._checked = self._change is not None and not self._change.comes_back(*outer).all()
        #: A whole turn of target longitudes where they reach far beyond what a projection is made for.
        self._around = 0.0
        if self._change is not None and not self._turn:
            turn = full_turn(target.crs)
            self._around = turn if np.ptp(outer[0]) > turn / 6 else 0.0
        self._affine = (
            self._change is None
            and isinstance(source, GeoBox)
            and not (self._turn and self._turns(outer[0]).any())
        )

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
            tile = self._tile(row, col)
            nodes, step = tile.nodes, tile.step
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
        east, north = map_points(self._from_target, cols, rows)
        if self._change is not None:
            good = self._change.comes_back(east, north) if self._checked else None
            lon, lat = east, north
            east, north = self._change.forward(lon, lat)
            if self._around:
                good = self._change.returns(lon, lat, east, north, self._around)
            if good is not None:
                east = np.where(good, east, np.nan)
        if self._turn:
            east = east - self._turns(east) * self._turn
        if not isinstance(self._source, GeoBox):
            return np.stack(self._source.to_pixels(east, north))
        return np.stack(map_points(self._to_source, east, north))

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
        return map_points(self._from_target, cols, rows)

    def _linear(self, window: Window, x: np.ndarray, y: np.ndarray) -> None:
        """Within one CRS the way from grid to grid is an affine map."""
        step = self._to_source @ self._from_target
        cols = np.arange(window.col, window.col + window.width) + 0.5
        rows = (np.arange(window.row, window.row + window.height) + 0.5)[:, None]
        x[...] = step.a * cols + step.b * rows + step.c
        y[...] = step.d * cols + step.e * rows + step.f

    def _tile(self, row: int, col: int) -> _Tile:
        return _tiles.get((id(self), row, col), lambda: self._make_tile(row, col))

    def _make_tile(self, row: int, col: int) -> _Tile:
        """Nodes of the widest step that is fine enough, or all pixels where some cells need PROJ.

        After each step, how much the map bends tells which finer one, if any, takes the fewest
        positions through PROJ.
        """
        top, left, step = row * TILE, col * TILE, STEPS[0]
        while True:
            # One row and column of nodes more on every side tells how the map bends at the edge.
            at = np.arange(-step, TILE + step + 1, step, dtype="float64")
            around = self.exact(*np.meshgrid(left + at, top + at))
            nodes = np.ascontiguousarray(around[:, 1:-1, 1:-1])
            errors, void = _errors(around)
            bent = (errors > TOLERANCE) & ~void
            if not bent.any() and not void.any():
                return _Tile(nodes, step, self)
            costs = {0: np.count_nonzero(bent) * step**2}
            for finer in STEPS:
                if finer < step:
                    still = (errors * (finer / step) ** 2 > TOLERANCE) & ~void
                    costs[finer] = (TILE // finer + 3) ** 2 + np.count_nonzero(still) * step**2
            best = min(costs, key=costs.__getitem__)
            if not best:
                return _Tile(self._pixels(top, left, nodes, step, bent, void), 0, self)
            step = best

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


def _errors(around: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far bilinear interpolation may be off in the cells between nodes.

    Parameters
    ----------
    around : float64 array (2, n + 3, n + 3)
        Nodes around n x n cells, and one more on every side.

    Returns
    -------
    errors : float64 array (n, n) [source pixel]
        Infinite where a node near the cell has no answer.
    void : bool array (n, n)
        Cells that have no answer at any node near them.

    Notes
    -----
    Between nodes that are h apart bilinear interpolation errs by at most h² (f_xx + f_yy) / 8, and a
    node differs from the mean of its neighbours along an axis by h² f'' / 2: four times the share of
    that axis. A quarter more leaves room for what changes within the cell.
    """
    inner = around[:, 1:-1, 1:-1]
    with np.errstate(invalid="ignore"):
        across = np.abs(inner - (around[:, 1:-1, :-2] + around[:, 1:-1, 2:]) / 2)
        down = np.abs(inner - (around[:, :-2, 1:-1] + around[:, 2:, 1:-1]) / 2)
        at_node = (across + down).max(axis=0) * (1.25 / 4)
    at_node[np.isnan(at_node)] = np.inf
    rows = np.maximum(at_node[1:], at_node[:-1])
    errors: np.ndarray = np.maximum(rows[:, 1:], rows[:, :-1])
    void = np.zeros(errors.shape, bool)
    if not np.isfinite(errors).all():
        known = np.isfinite(around).all(axis=0)
        near = np.lib.stride_tricks.sliding_window_view(known, (4, 4))
        void = np.logical_not(near.any(axis=(2, 3)))
    return errors, void


def _per_pixel(cells: np.ndarray, step: int) -> np.ndarray:
    return np.repeat(np.repeat(cells, step, axis=0), step, axis=1)


_tiles: SharedCache[_Tile] = SharedCache(lambda: options.lattice_cache)


@lru_cache(maxsize=1024)
def lattice(source: GeoBox | Placement, target: GeoBox) -> Lattice:
    """Return the lattice between two grids, shared by all layers on them."""
    return Lattice(source, target)

"""Cells to draw corners from, some for every request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from geoxr.sample.cells import Cells


@dataclass(frozen=True, eq=False)
class Proposal:
    """Corners that were drawn; arrays (n,), `corners` (n, 2).

    Attributes
    ----------
    cell, room, part : positions of the cell, of the grid, and of the polygon on it
    sure : whether a chip there lies in the polygon without a test
    """

    corners: np.ndarray
    cell: np.ndarray
    room: np.ndarray
    part: np.ndarray
    sure: np.ndarray


@dataclass(frozen=True, eq=False)
class Pool:
    """Cells, in the order of the key that says which requests they are for.

    Attributes
    ----------
    cells : Cells
    room : int array (n,)
        Position of the grid of each.
    key : int array (n,)
        Ascending.
    weight : float array (n,)
        Of a corner in the cell.
    """

    cells: Cells
    room: np.ndarray
    key: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(
        cls, cells: Cells, room: np.ndarray, key: np.ndarray, weight: np.ndarray | None = None
    ) -> Pool:
        """Put cells in order."""
        order = np.argsort(key, kind="stable")
        weight = np.ones(len(cells)) if weight is None else weight
        return cls(cells.take(order), room[order], key[order], weight[order])

    def has(self, keys: np.ndarray) -> np.ndarray:
        """Tell which keys (n,) there is a cell for."""
        return np.isin(keys, self.key)

    def propose(self, rng: np.random.Generator, keys: np.ndarray) -> Proposal:
        """Draw a corner for each of the keys (n,), uniformly but for the weights."""
        ends = np.cumsum(self.cells.number * self.weight)
        first = np.searchsorted(self.key, keys, side="left")
        last = np.searchsorted(self.key, keys, side="right") - 1
        start = np.where(first > 0, ends[first - 1], 0.0)
        drawn = start + rng.random(len(keys)) * (ends[last] - start)
        at = np.clip(np.searchsorted(ends, drawn, side="right"), first, last)
        cells = self.cells.take(at)
        row = cells.row + rng.integers(0, cells.rows)
        col = cells.col + rng.integers(0, cells.cols)
        return Proposal(np.stack([row, col], axis=1), at, self.room[at], cells.part, cells.sure)

    def clipped(self, room: np.ndarray, start: np.ndarray, stop: np.ndarray) -> Pool:
        """Return the cells in rectangles of corners, with the position of the rectangle as key.

        Parameters
        ----------
        room : int array (n,)
            Grids of the rectangles.
        start, stop : int array (n, 2)
            Rows and columns of the first corner, and after the last.
        """
        mine, theirs = [], []
        cells = self.cells
        top, left = cells.row, cells.col
        for number in np.unique(room):
            asked, held = np.flatnonzero(room == number), np.flatnonzero(self.room == number)
            boxes = shapely.box(left, top, left + cells.cols, top + cells.rows)[held]
            squares = shapely.box(start[asked, 1], start[asked, 0], stop[asked, 1], stop[asked, 0])
            square, cell = shapely.STRtree(boxes).query(squares)
            mine.append(asked[square])
            theirs.append(held[cell])
        key, at = np.concatenate(mine), np.concatenate(theirs)
        cut = cells.take(at)
        row, col = np.maximum(cut.row, start[key, 0]), np.maximum(cut.col, start[key, 1])
        rows = np.minimum(cut.row + cut.rows, stop[key, 0]) - row
        cols = np.minimum(cut.col + cut.cols, stop[key, 1]) - col
        some = np.flatnonzero((rows > 0) & (cols > 0))  # others only touch
        clipped = Cells(row, col, rows, cols, cut.part, cut.sure).take(some)
        return Pool.of(clipped, self.room[at[some]], key[some], self.weight[at[some]])

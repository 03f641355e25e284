"""Rectangles of corners that hold all places where chips fit into polygons, and little else."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import shapely

from geoxr.sample.area import Within

#: Cells are halved until at most this share of their corners is in doubt ...
_DOUBT = 0.2
#: ... or there are this many.
_MOST = 1 << 16


@dataclass(frozen=True, eq=False)
class Cells:
    """Rectangles of corners; arrays (n,).

    Attributes
    ----------
    row, col : first corner
    rows, cols : number of corners along both axes
    part : position of the polygon that chips lie in
    sure : whether chips at all of its corners do
    """

    row: np.ndarray
    col: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    part: np.ndarray
    sure: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    @property
    def number(self) -> np.ndarray:
        """Corners in each."""
        return self.rows * self.cols

    def take(self, index: np.ndarray) -> Cells:
        """Some of them."""
        return Cells(*(getattr(self, field.name)[index] for field in fields(self)))

    @classmethod
    def join(cls, *many: Cells) -> Cells:
        """One after the other."""
        columns = (field.name for field in fields(cls))
        return cls(*(np.concatenate([getattr(one, name) for one in many]) for name in columns))


def legal_cells(
    parts: np.ndarray, spans: np.ndarray, size: tuple[int, int], within: Within
) -> Cells:
    """Find the corners at which chips lie in polygons.

    The bounds of the polygons are halved again and again. A half in which all chips lie in the polygon
    is kept as it is, one in which none does is dropped. Thin and scattered areas come out as many small
    cells, so that drawing in cells and testing what was drawn seldom fails.

    Parameters
    ----------
    parts : object array of shapely.Polygon [pixel]
    spans : int array (part, 4)
        First row and column and number of rows and columns of the corners to look at.
    size : (int, int) [pixel]
    within : {"window", "centre"}

    Returns
    -------
    Cells
        All legal corners are in exactly one cell of their polygon; none is in any where no chip fits.
    """
    shapely.prepare(parts)
    some = np.flatnonzero((spans[:, 2:] > 0).all(axis=1))
    row, col, rows, cols = spans[some].T
    cells = Cells(row, col, rows, cols, some, np.zeros(len(some), bool))
    kept = cells.take(np.zeros(0, int))
    while len(cells):
        sure, none = _classes(parts[cells.part], cells, size, within)
        whole = cells.take(np.flatnonzero(sure))
        kept = Cells.join(kept, replace(whole, sure=np.ones(len(whole), bool)))
        cells = cells.take(np.flatnonzero(~sure & ~none))
        doubt, certain = cells.number.sum(), kept.number.sum()
        if doubt <= _DOUBT * (doubt + certain) or len(kept) + 2 * len(cells) > _MOST:
            break
        cells = _halves(cells)
    return Cells.join(kept, cells)


def _classes(
    parts: np.ndarray, cells: Cells, size: tuple[int, int], within: Within
) -> tuple[np.ndarray, np.ndarray]:
    """Whether chips at all corners of a cell lie in the polygon, and whether none can."""
    height, width = size
    top, left = cells.row, cells.col
    bottom, right = top + cells.rows - 1, left + cells.cols - 1
    if within == "centre":
        spread = shapely.box(
            left + width / 2, top + height / 2, right + width / 2, bottom + height / 2
        )
        # A cell of one corner is a point, and a row of them a line, which no polygon can be.
        flat = (cells.rows == 1) | (cells.cols == 1)
        lines = np.stack([np.stack([left, top], 1), np.stack([right, bottom], 1)], 1)
        lines = lines + np.array([width / 2, height / 2])
        one = cells.number == 1
        spread[flat & ~one] = shapely.linestrings(lines[flat & ~one])
        spread[one] = shapely.points(lines[one][:, 0])
        return shapely.covers(parts, spread), ~shapely.intersects(parts, spread)
    union = shapely.box(left, top, right + width, bottom + height)
    sure = shapely.covers(parts, union)
    none = ~shapely.intersects(parts, union)
    # What the chips at all corners have in common has to be in the polygon for any of them to be.
    shared = np.flatnonzero((cells.rows <= height) & (cells.cols <= width) & ~sure)
    common = shapely.box(right[shared], bottom[shared], left[shared] + width, top[shared] + height)
    none[shared] = ~shapely.covers(parts[shared], common)
    return sure, none


def _halves(cells: Cells) -> Cells:
    """Halve all cells across their longer side; those of one corner are not in doubt."""
    tall = cells.rows >= cells.cols
    rows, cols = np.where(tall, cells.rows // 2, 0), np.where(tall, 0, cells.cols // 2)
    first = replace(
        cells, rows=np.where(tall, rows, cells.rows), cols=np.where(tall, cells.cols, cols)
    )
    second = replace(
        cells, row=cells.row + rows, col=cells.col + cols, rows=cells.rows - rows,
        cols=cells.cols - cols,
    )  # fmt: skip
    return Cells.join(first, second)

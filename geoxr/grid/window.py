"""Rectangles of whole pixels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels: rows ``row : row + height``, columns ``col : col + width``.

    Examples
    --------
    >>> Window(2, 3, 10, 10) & Window(0, 0, 5, 5)
    Window(row=2, col=3, height=3, width=2)
    >>> Window(2, 3, 10, 10).shift(-2, 1)
    Window(row=0, col=4, height=10, width=10)
    """

    row: int
    col: int
    height: int
    width: int

    @property
    def stop(self) -> tuple[int, int]:
        """(row, column) after the last."""
        return self.row + self.height, self.col + self.width

    @property
    def empty(self) -> bool:
        """Whether it holds no pixel."""
        return self.height <= 0 or self.width <= 0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns as slices of the grid."""
        return slice(self.row, self.stop[0]), slice(self.col, self.stop[1])

    def __and__(self, other: Window) -> Window:
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = min(self.row + self.height, other.row + other.height) - row
        width = min(self.col + self.width, other.col + other.width) - col
        return Window(row, col, max(height, 0), max(width, 0))

    def shift(self, rows: int, cols: int) -> Window:
        """Move by whole pixels."""
        return Window(self.row + rows, self.col + cols, self.height, self.width)

    def pad(self, pixels: int) -> Window:
        """Grow on every side."""
        return Window(
            self.row - pixels, self.col - pixels, self.height + 2 * pixels, self.width + 2 * pixels
        )

    def inside(self, outer: Window) -> tuple[slice, slice]:
        """Rows and columns of this window counted from the corner of `outer`."""
        row, col = self.row - outer.row, self.col - outer.col
        return slice(row, row + self.height), slice(col, col + self.width)

    def halves(self) -> tuple[Window, Window]:
        """Cut across the longer side."""
        row, col, height, width = self.row, self.col, self.height, self.width
        if height >= width:
            top = height // 2
            return Window(row, col, top, width), Window(row + top, col, height - top, width)
        left = width // 2
        return Window(row, col, height, left), Window(row, col + left, height, width - left)

    def tiles(self, size: int) -> list[Window]:
        """Cut along the lines of a lattice of `size` pixels that starts at (0, 0) of the grid."""
        rows = _cuts(self.row, self.stop[0], size)
        cols = _cuts(self.col, self.stop[1], size)
        return [Window(r, c, r2 - r, c2 - c) for r, r2 in rows for c, c2 in cols]


def _cuts(start: int, stop: int, size: int) -> list[tuple[int, int]]:
    edges = [start, *range((start // size + 1) * size, stop, size), stop]
    return [(a, b) for a, b in pairwise(edges) if b > a]

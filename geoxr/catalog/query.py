"""Which scenes meet an area and an interval: an index of both."""

from __future__ import annotations

import numpy as np
import shapely


class SceneIndex:
    """Footprints in a tree, acquisitions in order.

    Parameters
    ----------
    shapes : object array (scene,) of shapely.Geometry
        Footprints; empty ones meet nothing.
    starts, ends : datetime64[ns] array (scene,)
        Acquisitions, NaT where unknown. One without end ends when it starts.
    """

    def __init__(self, shapes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
        self.shapes = shapes
        self.tree = shapely.STRtree(shapes)
        self.starts = starts
        self.ends = np.where(np.isnat(ends), starts, ends)
        order = np.argsort(starts, kind="stable")
        self._order = order[: np.count_nonzero(~np.isnat(starts))]  # NaT is sorted to the end
        self._starts = starts[self._order]
        self._ends = self.ends[self._order]
        #: The latest end of all that began before or with one.
        self._latest = np.maximum.accumulate(self._ends)

    def meeting(self, area: shapely.Geometry) -> np.ndarray:
        """Positions of scenes that have a point in common with an area, ascending."""
        return np.sort(self.tree.query(area, predicate="intersects"))

    def between(self, start: np.datetime64, end: np.datetime64) -> np.ndarray:
        """Positions of scenes taken at some time of a closed interval, ascending."""
        stop = int(np.searchsorted(self._starts, end, side="right"))
        first = int(np.searchsorted(self._latest, start, side="left"))
        if first >= stop:
            return np.empty(0, "int64")
        found = self._order[first:stop][self._ends[first:stop] >= start]
        return np.sort(found)

    def within(self, rows: np.ndarray, start: np.datetime64, end: np.datetime64) -> np.ndarray:
        """Keep those of some scenes that were taken at some time of a closed interval."""
        return rows[(self.starts[rows] <= end) & (self.ends[rows] >= start)]

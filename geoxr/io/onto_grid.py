"""From the CRS of features to that of a grid, and what of it can be relied on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyproj
import shapely
from odc.geo.geobox import GeoBox

from geoxr.grid.affine import map_points
from geoxr.grid.change import Change, change_between
from geoxr.grid.crs import crs_from_wkt, require_crs
from geoxr.grid.geobox import resolution

#: A vertex that comes back farther from where it was has no place in the target [pixel].
_DRIFT = 1.0


@dataclass(frozen=True)
class OntoGrid:
    """From the CRS of features to that of a grid, and back."""

    source: pyproj.CRS
    geobox: GeoBox

    @cached_property
    def _change(self) -> Change:
        target = require_crs(self.geobox, "The grid")
        return change_between(crs_from_wkt(self.source.to_wkt()), target)

    @cached_property
    def round_target(self) -> bool:
        """Whether x of the target is a longitude, which starts again after 360 degrees."""
        return bool(require_crs(self.geobox, "The grid").proj.is_geographic)

    def forward(self, points: np.ndarray) -> np.ndarray:
        """Positions (n, 2) of the source in the target; infinite where PROJ has no answer."""
        return np.stack(self._change.forward(points[:, 0], points[:, 1]), axis=1)

    def place(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions in the target, and which of them come back; zeros where they do not."""
        moved = self.forward(points)
        with np.errstate(invalid="ignore"):
            drift = np.abs(self.back(moved) - points)
            if self.source.is_geographic:
                drift[:, 0] = np.abs((drift[:, 0] + 180) % 360 - 180)
                drift[:, 0] *= np.cos(np.radians(points[:, 1]))
            good = (drift <= _DRIFT * self.pixel).all(axis=1) & np.isfinite(moved).all(axis=1)
        return np.where(good[:, None], moved, 0.0), good

    def back(self, points: np.ndarray) -> np.ndarray:
        """Positions (n, 2) of the target in the source."""
        return np.stack(self._change.back(points[:, 0], points[:, 1]), axis=1)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Positions in pixels of the grid."""
        return np.stack(map_points(~self.geobox.affine, points[:, 0], points[:, 1]), axis=1)

    @cached_property
    def nodes(self) -> np.ndarray:
        """Positions (33, 33, 2) of a lattice over the grid and a little around it, in the source."""
        height, width = self.geobox.shape
        rows, cols = np.linspace(-1, height + 1, 33), np.linspace(-1, width + 1, 33)
        x, y = np.meshgrid(cols, rows)
        places = map_points(self.geobox.affine, x.ravel(), y.ravel())
        back = self.back(np.stack(places, axis=1))
        back[~np.isfinite(back).all(axis=1)] = np.nan
        if self.source.is_geographic and not np.isnan(back).all():
            middle = back[len(back) // 2, 0]
            middle = np.nanmedian(back[:, 0]) if np.isnan(middle) else middle
            back[:, 0] = middle + (back[:, 0] - middle + 180) % 360 - 180
        return back.reshape(33, 33, 2)

    @cached_property
    def pixel(self) -> float:
        """Size of a pixel of the grid in units of the source, about."""
        steps = np.diff(self.nodes, axis=1) / (self.geobox.width + 2) * 32
        sizes = np.hypot(steps[..., 0], steps[..., 1])
        sizes = sizes[sizes > 0]
        return float(np.median(sizes)) if sizes.size else max(resolution(self.geobox))

    @cached_property
    def reach(self) -> tuple[shapely.Geometry, ...]:
        """Rectangles of the source that hold the grid with a margin; none: it has no place there."""
        nodes = self.nodes
        if np.isnan(nodes).all():
            return ()
        margin = np.zeros(2)
        for axis in (0, 1):
            steps = np.abs(np.diff(nodes, axis=axis))
            margin = np.fmax(
                margin, np.nanmax(steps, axis=(0, 1), initial=0.0, where=steps == steps)
            )
        low = np.nanmin(nodes, axis=(0, 1)) - margin
        high = np.nanmax(nodes, axis=(0, 1)) + margin
        box = shapely.box(*low, *high)
        if not self.source.is_geographic:
            return (box,)
        if high[0] - low[0] >= 360:
            return (shapely.box(-720, low[1], 720, high[1]),)
        return tuple(
            shapely.box(low[0] + turn, low[1], high[0] + turn, high[1]) for turn in (-360, 0, 360)
        )

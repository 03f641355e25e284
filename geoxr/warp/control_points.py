"""Images placed by control points or rational polynomials, on a regular grid."""

from __future__ import annotations

from dataclasses import dataclass, field

import shapely
from odc.geo.geobox import GeoBox

from geoxr.grid.control_points import Placement
from geoxr.io.gdal import FileInfo
from geoxr.io.reader import WindowReader
from geoxr.typing import Resampling
from geoxr.warp.warped import Warped


@dataclass(frozen=True)
class Placed(Warped):
    """An image resampled from its own pixels onto a grid, window by window; see `WindowReader`.

    Parameters
    ----------
    source : WindowReader
        The image as stored, without CRS.
    placement : Placement
        Where its pixels lie.
    """

    placement: Placement = field(kw_only=True)

    @property
    def _origin(self) -> Placement:
        return self.placement

    @property
    def _reach(self) -> tuple[shapely.Geometry, GeoBox]:
        return self.placement.outline, self.placement.regular_grid()


def place(info: FileInfo, resampling: Resampling) -> WindowReader:
    """Return the reader of a file; an image without transform comes on a regular grid.

    The grid is north-up in the CRS of the control points (EPSG:4326 for rational polynomials), and
    its square pixels are about as large as those of the image.
    """
    if info.placement is None:
        return info.reader
    grid = info.placement.regular_grid()
    return Placed(info.reader, grid, resampling, placement=info.placement)

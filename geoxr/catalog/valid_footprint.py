"""Footprints of the valid pixels of scenes, from one coarse look at each."""

from __future__ import annotations

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from geoxr.catalog.footprint import split
from geoxr.catalog.table import Row, open_row
from geoxr.errors import CRSMismatchError
from geoxr.grid.mask_outline import mask_outline
from geoxr.grid.shapes import from_pixels, outline
from geoxr.grid.window import Window
from geoxr.io.reader import has_holes
from geoxr.warp.shapes import unbroken

#: Pixels that are looked at in a scene.
_LOOKS = 1 << 16


def valid_outline(row: Row) -> shapely.Geometry | None:
    """Polygon of the valid pixels of a scene, in EPSG:4326 and split at the 180th meridian.

    It follows evenly spaced pixels of the first band, 65,536 at most, so its edge is right to within
    one of their distances.

    Returns
    -------
    shapely.Geometry or None
        Empty where nothing is valid. None if all that was looked at is valid, if the scene has no
        place on the earth, or if its numbers are complex: then its outline is its footprint.

    Raises
    ------
    GeoxrError
        If the file cannot be read.
    """
    reader = open_row(row)
    if not has_holes(reader) or row.geobox.crs is None or reader.dtype.kind == "c":
        return None
    height, width = reader.geobox.shape
    step = max(int(np.ceil(np.sqrt(height * width / _LOOKS))), 1)
    window = Window(0, 0, height, width)
    shape = (1, 1, -(-height // step), -(-width // step))
    pixels, valid = np.empty(shape, reader.dtype), np.empty(shape, bool)
    reader.read(window, pixels, valid, bands=(0,), times=(0,), step=step)
    if valid.all():
        return None
    if not valid.any():
        return shapely.Polygon()
    drawn = from_pixels(mask_outline(valid[0, 0], step, window), reader.geobox)
    world = GeoBox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")
    try:
        moved = unbroken(drawn & outline(reader.geobox), reader.geobox, world)
    except CRSMismatchError:  # of another celestial body
        return None
    return None if moved is None else split(moved)

"""What scenes are selected by: bounds, an area, an interval of time."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import shapely

from geoxr.errors import ArgumentError
from geoxr.typing import Bounds


def box_of(bounds: Bounds) -> shapely.Geometry:
    """Return bounds in EPSG:4326 as a geometry; the left is more than the right across 180 degrees.

    Raises
    ------
    ArgumentError
        If they are no degrees, or the bottom is above the top.
    """
    left, bottom, right, top = bounds
    if max(map(abs, bounds)) > 360 or bottom > top:
        raise ArgumentError(
            f"bounds are {tuple(bounds)}, but must be (left, bottom, right, top) in degrees "
            f"(EPSG:4326). In another CRS pass an area: aoi=geopandas.GeoSeries([shapely.box(*bounds)], "
            f"crs=...)."
        )
    if left <= right:
        return shapely.box(left, bottom, right, top)
    return shapely.box(left, bottom, 180, top) | shapely.box(-180, bottom, right, top)


def shape_of(aoi: Any) -> shapely.Geometry:
    """Return an area in EPSG:4326; a table of features is taken there."""
    if isinstance(aoi, shapely.Geometry):
        return aoi
    if hasattr(aoi, "to_crs"):
        if aoi.crs is None:
            raise ArgumentError("The area has no CRS. Set it: aoi.set_crs('EPSG:...').")
        return aoi.geometry.to_crs(4326).union_all()
    raise ArgumentError(
        f"aoi must be a geometry in EPSG:4326, a GeoSeries or a GeoDataFrame, not a "
        f"{type(aoi).__name__}."
    )


def mask_of(where: Any, frame: Any) -> np.ndarray:
    """Return which rows of a table are meant by a boolean mask, or by a function of the table.

    Raises
    ------
    ArgumentError
        If it is no boolean for each row.
    """
    import pandas as pd

    given = where(frame.copy()) if callable(where) else where
    if isinstance(given, pd.Series) and given.dtype in ("boolean", object):
        given = given.fillna(False)  # of a comparison with a missing value
    mask = np.asarray(given)
    if mask.shape != (len(frame),) or mask.dtype.kind not in "bO":
        raise ArgumentError(
            f"where must be {len(frame)} booleans, one for each scene, not {mask.dtype} of shape "
            f"{mask.shape}: where=lambda frame: frame['cloud_cover'] < 20."
        )
    return mask.astype(bool)


def interval_of(time: Any) -> tuple[Any, Any]:
    """First and last moment of an interval."""
    if isinstance(time, str):
        return _interval_of_text(time)
    return _interval_of(time)


@lru_cache(maxsize=256)
def _interval_of_text(time: str) -> tuple[Any, Any]:
    return _interval_of(time)


def _interval_of(time: Any) -> tuple[Any, Any]:
    import pandas as pd

    try:
        if isinstance(time, slice):
            time = (time.start, time.stop)
        first, last = time if isinstance(time, tuple | list) else (time, time)
        start = pd.Timestamp.min if first is None else pd.Period(first, _freq(first)).start_time
        end = pd.Timestamp.max if last is None else pd.Period(last, _freq(last)).end_time
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f'{time!r} is no time: pass a date such as "2021-06", or a first and a last one such as '
            f'("2021-06", "2022"), where None is open.'
        ) from error
    return start, end


def _freq(moment: Any) -> str | None:
    """Text names a period by itself; anything else is one moment."""
    return None if isinstance(moment, str) else "ns"

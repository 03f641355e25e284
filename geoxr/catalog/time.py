"""Which scenes make one step of the time axis of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj

from geoxr.catalog.select import interval_of
from geoxr.catalog.table import SceneTable
from geoxr.errors import ArgumentError

#: What is said of layers whose scenes have no dates.
_NO_DATES = (
    "needs dates, and these files have none that geoxr knows. Describe how they are named with "
    "gx.Product and open them with gx.open_product, or give a Catalog the columns start and end."
)


@dataclass(frozen=True)
class Steps:
    """Steps of a time axis.

    Attributes
    ----------
    labels : datetime64[ns] array (step,)
        Ascending.
    of : int array (scene,)
        Step of each scene.
    dated : bool
        Whether there is an axis; else all scenes are one step.
    """

    labels: np.ndarray
    of: np.ndarray
    dated: bool


def steps_of(table: SceneTable, time: str | None) -> Steps:
    """Sort scenes into steps.

    Parameters
    ----------
    time : {None, "each", "day", "collapse"} or str
        Every date (None: only if there are several), solar days, all together, or the periods of a
        frequency of pandas.

    Raises
    ------
    ArgumentError
        If `time` is none of them, or scenes have no dates.
    """
    starts = table.starts
    unknown = np.isnat(starts).any()
    if time == "collapse" or (time is None and unknown):
        return Steps(starts[:1], np.zeros(len(starts), "int64"), False)
    if time is not None:
        offset = None if time in ("each", "day") else _offset(time)
        if unknown:
            raise ArgumentError(f"time={time!r} {_NO_DATES}")
        if time == "day":
            starts = _solar_days(table)
        elif offset is not None:
            starts = _periods(starts, offset)
    labels, of = np.unique(starts, return_inverse=True)
    return Steps(labels, of.ravel(), time is not None or len(labels) > 1)


def _offset(time: Any) -> Any:
    import pandas as pd

    try:
        offset = pd.tseries.frequencies.to_offset(time) if isinstance(time, str) else None
    except ValueError:
        offset = None
    if offset is None or offset.n < 1:
        raise ArgumentError(
            f'time is {time!r}, but must be "each" (a time axis), "day" (solar days), a frequency of '
            f'pandas such as "1MS", "QS" or "16D" (periods), "collapse" (dates merged by the overlap '
            f"rule) or None (a time axis if there are several dates)."
        )
    return offset


def _periods(starts: np.ndarray, offset: Any) -> np.ndarray:
    """Label of the period of each date, as ``resample`` of pandas and xarray names it."""
    import pandas as pd

    numbers = pd.Series(np.arange(len(starts)), index=pd.DatetimeIndex(starts))
    labels = np.empty(len(starts), "datetime64[ns]")
    for label, group in numbers.resample(offset):
        labels[group.to_numpy()] = np.datetime64(label, "ns")
    return labels


def _solar_days(table: SceneTable) -> np.ndarray:
    """Date at the centre of each scene by the sun: 15 degrees are an hour."""
    longitude = np.zeros(len(table))
    heights, widths = table.shapes.T
    a, b, c, d, e, f = table.affines.T
    x = a * widths / 2 + b * heights / 2 + c
    y = d * widths / 2 + e * heights / 2 + f
    for crs, rows in table.crs_groups():
        if crs is None:
            raise ArgumentError(
                f'time="day" asks where scenes are, and {table.row(int(rows[0])).name} names no CRS. '
                f'Pass crs=, or time="1D" for days in UTC.'
            )
        to_degrees = pyproj.Transformer.from_crs(crs.proj, "EPSG:4326", always_xy=True)
        longitude[rows] = to_degrees.transform(x[rows], y[rows])[0]
    seconds = np.round((np.mod(longitude + 180, 360) - 180) * 240).astype("timedelta64[s]")
    # Where only the day is known, or an interval, its first day is all that can be said.
    seconds[table.ends > table.starts] = np.timedelta64(0, "s")
    return (table.starts + seconds).astype("datetime64[D]").astype("datetime64[ns]")


def within(table: SceneTable, toi: Any) -> SceneTable:
    """Keep scenes of some dates.

    Parameters
    ----------
    toi : (start, stop) or str
        Both ends included; a date such as "2021-06" stands for all of that month.

    Raises
    ------
    ArgumentError
        If there are none.
    """
    first, last = (np.datetime64(moment, "ns") for moment in interval_of(toi))
    ends = np.where(np.isnat(table.ends), table.starts, table.ends)
    kept = np.flatnonzero((table.starts <= last) & (ends >= first))
    if not kept.size:
        known = table.starts[~np.isnat(table.starts)]
        if not known.size:
            raise ArgumentError(f"toi={toi!r} {_NO_DATES}")
        raise ArgumentError(
            f"No scene lies in toi = {toi!r}. There are {len(table)}, from "
            f"{str(known.min())[:10]} to {str(ends[~np.isnat(ends)].max())[:10]}."
        )
    return table.take(kept)

"""Dates for training, validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from geoxr.errors import ArgumentError, GridError, NoOverlapError
from geoxr.sample.deal import check_fractions
from geoxr.sample.times import as_dates

#: First and last date of a split; both belong to it.
Interval = tuple[pd.Timestamp, pd.Timestamp]


def split_time(
    ds: xr.Dataset | xr.DataArray,
    splits: Sequence[float] | Sequence[Any],
    *,
    gap: Any = None,
) -> tuple[Interval, ...]:
    """Divide the dates of a Dataset into intervals that follow each other.

    Parameters
    ----------
    ds : Dataset or DataArray
        With the dimension ``time``.
    splits : sequence of float, or sequence of dates
        Shares of the number of dates, positive, together 1; or the first date of each split but the
        first, ascending: ``["2021-01-01"]`` makes two.
    gap : timedelta, optional
        Smallest time between the last date of a split and the first of the next, as pandas
        understands it: ``"30D"``. Dates that are too near are left out at the start of the later one.

    Returns
    -------
    tuple of (start, stop)
        First and last date of each split, both of which belong to it: pass it as `toi`. No date is in
        two of them.

    Raises
    ------
    ArgumentError
        If fractions do not add up to 1, or dates are none or do not ascend.
    NoOverlapError
        If a split has no date.

    Examples
    --------
    >>> time = pd.date_range("2020-01-01", periods=6, freq="10D")
    >>> ds = xr.Dataset(coords={"time": time})
    >>> [f"{start:%d %b} to {stop:%d %b}" for start, stop in split_time(ds, (0.5, 0.5))]
    ['01 Jan to 21 Jan', '31 Jan to 20 Feb']
    >>> split_time(ds, ["2020-02-01"])[1][0]
    Timestamp('2020-02-10 00:00:00')
    """
    dates = _dates(ds)
    if isinstance(splits, str) or not np.ndim(splits) == 1 or not len(splits):
        raise ArgumentError(
            f'splits must be fractions, as in (0.7, 0.3), or dates, as in ["2021-01-01"], not '
            f"{splits!r}."
        )
    numbers = all(isinstance(one, int | float | np.number) for one in splits)
    stops = _by_number(splits, dates) if numbers else _by_date(splits, dates)
    apart = _timedelta(gap)
    parts: list[Interval] = []
    start = 0
    for number, stop in enumerate([*stops, len(dates)]):
        mine = dates[start:stop]
        if parts:
            mine = mine[mine >= parts[-1][1] + apart]
        if not len(mine):
            lost = f" with a gap of {gap}" if stop > start else ""
            raise NoOverlapError(
                f"Split {number} has no date{lost}: there are {len(dates)}, from {dates[0]} to "
                f"{dates[-1]}. Move the borders, or make the gap smaller."
            )
        parts.append((mine[0], mine[-1]))
        start = stop
    return tuple(parts)


def _dates(ds: xr.Dataset | xr.DataArray) -> pd.DatetimeIndex:
    """Distinct dates, ascending."""
    if "time" not in ds.dims or "time" not in ds.coords:
        raise GridError(
            f"There is no dimension 'time' with dates among {tuple(map(str, ds.dims))}. Open the "
            f'scenes with time="each" or time="day".'
        )
    values = ds["time"].values
    if values.dtype.kind != "M":
        raise GridError(
            f"The dimension 'time' has {values.dtype} labels, not dates. Give dates: "
            f"ds.assign_coords(time=pandas.to_datetime([...]))."
        )
    return pd.DatetimeIndex(np.unique(values[~np.isnat(values)]))


def _by_number(fractions: Sequence[float], dates: pd.DatetimeIndex) -> list[int]:
    shares = check_fractions(fractions)
    if len(dates) < len(shares):
        raise NoOverlapError(f"{len(dates)} dates are too few for {len(shares)} splits.")
    stops: list[int] = []
    for number, at in enumerate(np.rint(np.cumsum(shares)[:-1] * len(dates)), start=1):
        # Each split gets a date, however small its share.
        lowest, highest = (stops[-1] if stops else 0) + 1, len(dates) - len(shares) + number
        stops.append(int(min(max(at, lowest), highest)))
    return stops


def _by_date(splits: Sequence[Any], dates: pd.DatetimeIndex) -> list[int]:
    cuts = as_dates(splits, "splits")
    if not (cuts.is_monotonic_increasing and cuts.is_unique):
        raise ArgumentError(f"The dates in splits must ascend, not {list(map(str, cuts))}.")
    return [int(at) for at in dates.searchsorted(cuts)]


def _timedelta(gap: Any) -> pd.Timedelta:
    try:
        apart = pd.Timedelta(0 if gap is None else gap)
    except ValueError as error:
        raise ArgumentError(f'gap must be a length of time such as "30D", not {gap!r}.') from error
    if not apart >= pd.Timedelta(0):
        raise ArgumentError(f"gap must not be negative, but is {gap!r}.")
    return apart

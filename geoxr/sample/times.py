"""Dates of chips: those of an interval, so many at a time, or those on which a chip shows anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from geoxr.errors import ArgumentError, ChipError, NoOverlapError


@dataclass(frozen=True)
class Dates:
    """Which dates chips have.

    Attributes
    ----------
    picked : tuple of int
        Positions along the time dimension to choose from, in order.
    steps : int
        Consecutive ones that a chip has.
    ragged : bool
        Whether a chip only has those of them on which some of it is valid.
    """

    picked: tuple[int, ...]
    steps: int
    ragged: bool

    @property
    def starts(self) -> int:
        """Number of positions in `picked` that a chip can start at."""
        return len(self.picked) - self.steps + 1

    def at(self, start: np.ndarray) -> np.ndarray:
        """Dates (n, steps) of chips that start at positions (n,) in `picked`."""
        return np.array(self.picked, "int64")[start[:, None] + np.arange(self.steps)]

    def windows(self, stride: int, edge: str) -> tuple[tuple[int, ...], ...]:
        """Dates of chips laid one after the other; `edge` is that of `grid_chips`, -1 is padding."""
        number = len(self.picked)
        starts = list(range(0, number - self.steps + 1, stride))
        end = starts[-1] + self.steps
        if end < number and edge != "drop":
            starts.append(number - self.steps if edge == "shift" else starts[-1] + stride)
        padded = (*self.picked, *[-1] * self.steps)
        return tuple(padded[start : start + self.steps] for start in starts)


def chip_dates(
    ds: xr.Dataset, toi: Any, steps: int | None, *, ragged: bool = False
) -> Dates | None:
    """Return the dates that chips of a Dataset have; None for all.

    Raises
    ------
    ArgumentError
        If there is no time.
    NoOverlapError
        If no date lies in the interval.
    ChipError
        If chips are to have more dates than there are.
    """
    if toi is None and steps is None and not ragged:
        return None
    if "time" not in ds.dims:
        asked = " and ".join(
            name
            for name, given in (("toi", toi is not None), ("steps", steps is not None),
                                ("ragged", ragged)) if given
        )  # fmt: skip
        raise ArgumentError(
            f"{asked} ask{'' if ' and ' in asked else 's'} for dates, but the Dataset has no "
            f"dimension 'time'. Open layers of several dates with time=\"each\"."
        )
    dates = ds["time"].values
    picked = tuple(sorted(dates_in(ds, toi) or range(len(dates)), key=lambda at: dates[at]))
    if steps is None:
        return Dates(picked, len(picked), ragged)
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise ArgumentError(f"steps must be a positive number of dates, not {steps!r}.")
    if steps > len(picked):
        where = "" if toi is None else f" in toi = {toi!r}"
        raise ChipError(
            f"Chips of {steps} dates do not fit into the {len(picked)} dates{where}. Make steps "
            f"smaller, or toi longer."
        )
    return Dates(picked, int(steps), ragged)


def dates_in(ds: xr.Dataset, toi: Any) -> tuple[int, ...] | None:
    """Positions of the dates in an interval, both ends included; None for all.

    Parameters
    ----------
    ds : Dataset
    toi : (start, stop) or None
        Anything pandas understands, as in ``ds.sel(time=slice(start, stop))``: "2020-06" is all of
        June. None at one end leaves it open.

    Raises
    ------
    ArgumentError
        If there is no time, or the interval is none.
    NoOverlapError
        If no date is in it.
    """
    if toi is None:
        return None
    if "time" not in ds.dims:
        raise ArgumentError(
            "toi asks for dates, but the Dataset has no dimension 'time'. Open layers of several "
            'dates with time="each".'
        )
    dates = pd.DatetimeIndex(ds["time"].values)
    try:
        start, stop = (toi.start, toi.stop) if isinstance(toi, slice) else toi
        found = pd.Series(range(len(dates)), dates).sort_index().loc[start:stop]
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f'toi must be (start, stop), as in ("2020-04", "2020-09-30"), not {toi!r}.'
        ) from error
    if found.empty:
        raise NoOverlapError(
            f"No date lies in toi = {toi!r}: there {'is' if len(dates) == 1 else 'are'} "
            f"{_listed(dates)}."
        )
    return tuple(sorted(int(at) for at in found))


def _listed(dates: pd.DatetimeIndex) -> str:
    """Name dates in messages."""
    days = [str(date.date()) for date in dates.sort_values()]
    if len(days) <= 6:
        return ", ".join(days)
    return f"{len(days)} dates from {days[0]} to {days[-1]} ({', '.join(days[:3])}, ...)"


def compact(times: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Move the dates of each chip that are kept to the front, and pad with -1 to the most.

    Parameters
    ----------
    times : int array (n, steps)
    keep : bool array (n, steps)

    Examples
    --------
    >>> compact(np.array([[4, 5, 6], [4, 5, 6]]), np.array([[False, False, True], [True, False, True]]))
    array([[ 6, -1],
           [ 4,  6]])
    """
    order = np.argsort(~keep, axis=1, kind="stable")
    kept = np.where(np.take_along_axis(keep, order, 1), np.take_along_axis(times, order, 1), -1)
    return kept[:, : max(int(keep.sum(axis=1).max(initial=1)), 1)]


def as_dates(values: Iterable[Any], what: str) -> pd.DatetimeIndex:
    """Read dates in any form pandas knows, as UTC without zone; text as ISO 8601.

    Raises
    ------
    ArgumentError
        If one is no date.
    """
    try:
        return pd.to_datetime(list(values), utc=True, format="ISO8601").tz_localize(None)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{what} holds something that is no date: {error}.") from error

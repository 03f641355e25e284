"""Dates as names write them, as intervals."""

from __future__ import annotations

from datetime import datetime

import numpy as np

#: Directives of ``strptime`` that say when on a day, which day, and which month.
_MOMENT, _DAY, _MONTH = (
    ("%H", "%I", "%M", "%S", "%f", "%X", "%c", "%T"),
    ("%d", "%j", "%x"),
    ("%m", "%b"),
)


def interval_of_date(text: str, date_format: str) -> tuple[np.datetime64, np.datetime64]:
    """First and last moment that a date stands for: all of a year, a month or a day.

    Eight digits are year, month and day, whatever the format says.

    Parameters
    ----------
    text : str
    date_format : str
        As for ``datetime.strptime``.

    Returns
    -------
    start, end : datetime64[ns]
        Both belong to it. A date with a time of day is one moment.

    Raises
    ------
    ValueError
        If the text is not written like that.
    """
    form = "%Y%m%d" if len(text) == 8 and text.isdigit() else date_format
    start = np.datetime64(datetime.strptime(text, form), "ns")
    units = (("", _MOMENT), ("D", _DAY), ("M", _MONTH))
    unit = next((unit for unit, parts in units if any(part in form for part in parts)), "Y")
    if not unit:
        return start, start
    after = start.astype(f"datetime64[{unit}]") + 1
    return start, after.astype("datetime64[ns]") - np.timedelta64(1, "ns")

"""Parts of a file that cannot be read: an error that names them, or a hole and one warning."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from typing import TypeAlias

from geoxr.errors import ReadFailedError
from geoxr.grid.window import Window

#: A window that cannot be read, and why.
Hole: TypeAlias = tuple[Window, str]


class _Met(threading.local):
    """Holes that reads in this thread have met so far."""

    number = 0


_met = _Met()


def holes_met() -> int:
    """Number of times that reads in this thread left something out: compare it before and after."""
    return _met.number


def note_hole() -> None:
    """Note that this read leaves something out."""
    _met.number += 1


def _place(window: Window) -> str:
    return f"rows {window.row}-{window.stop[0]}, columns {window.col}-{window.stop[1]}"


def read_failed(path: str, hole: Hole) -> ReadFailedError:
    """Build the error for a window that cannot be read."""
    return ReadFailedError(
        f"{path}: {_place(hole[0])} cannot be read ({hole[1]}). The file may be truncated or "
        f'damaged. Open it with errors="skip" to leave out what cannot be read.'
    )


def warn_skipped(path: str, holes: Sequence[Hole]) -> None:
    """Say once how many parts of a window were left out, and where the first one is."""
    note_hole()
    what = "1 tile" if len(holes) == 1 else f"{len(holes)} tiles"
    warnings.warn(
        f"{what} of {path} cannot be read and left out, the first at {_place(holes[0][0])} "
        f"({holes[0][1]}).",
        stacklevel=2,
    )

"""GDAL without the warning that an image has no place on the earth."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_swapping = threading.Lock()


@contextmanager
def unplaced() -> Iterator[None]:
    """Let images without a transform or CRS pass; one is asked for where it is needed.

    Warning filters belong to the whole process, so one thread at a time may swap them.
    """
    from rasterio.errors import NotGeoreferencedWarning

    with _swapping, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _after_fork() -> None:
    global _swapping
    _swapping = threading.Lock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

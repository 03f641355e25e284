"""Known warnings of other libraries, kept quiet in any number of threads."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_swapping = threading.RLock()


@contextmanager
def quiet(category: type[Warning] = Warning, message: str = "") -> Iterator[None]:
    """Ignore warnings of a category whose text starts with the pattern.

    Warning filters belong to the whole process, so one thread at a time may swap them.
    """
    with _swapping, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=message, category=category)
        yield


def _after_fork() -> None:
    global _swapping
    _swapping = threading.RLock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

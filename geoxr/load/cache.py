"""What a loader keeps of what it has read."""

from __future__ import annotations

import os
from typing import Literal, TypeAlias

from geoxr.errors import ArgumentError
from geoxr.io.scratch import Scratch, open_scratch, scratched
from geoxr.load.recipe import Wrap

#: Decoded tiles in memory, aligned blocks on disk for as long as the loader lives, or in a folder;
#: or nothing.
Cache: TypeAlias = Literal["tiles", "disk"] | os.PathLike[str] | None


def open_cache(cache: Cache) -> tuple[Wrap | None, Scratch | None]:
    """Return what puts a cache before readers, and the scratch that it keeps blocks in.

    Parameters
    ----------
    cache : {"tiles", "disk"}, pathlib.Path or None
        See `geoxr.load.torch.to_torch`.

    Raises
    ------
    ArgumentError
        If it is none of them.
    """
    if cache is None or cache == "tiles":
        return None, None
    if cache != "disk" and not isinstance(cache, os.PathLike):
        raise ArgumentError(
            f'cache is {cache!r}, but must be "tiles", "disk", None, or the path of a folder to keep '
            f"blocks in: cache=pathlib.Path('scratch')."
        )
    scratch = open_scratch(None if cache == "disk" else cache)
    return lambda name, reader: scratched(reader, name, scratch), scratch

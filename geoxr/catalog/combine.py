"""Two catalogs together: which scenes meet, all scenes, and scenes under another path."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from geoxr.catalog.query import SceneIndex
from geoxr.catalog.table import UNKNOWN, stamp_of_scene
from geoxr.errors import ArgumentError

if TYPE_CHECKING:
    import geopandas

#: Paths that a message names.
_SHOWN = 3


def meeting(one: SceneIndex, other: SceneIndex) -> np.ndarray:
    """Positions of scenes of `one` that share ground with a scene of `other`, and time.

    Scenes that only touch share no ground. Scenes without dates meet those of any date.
    """
    mine, yours = other.tree.query(one.shapes, predicate="intersects")
    apart = (one.starts[mine] > other.ends[yours]) | (one.ends[mine] < other.starts[yours])
    mine, yours = mine[~apart], yours[~apart]  # a comparison with NaT is False
    touching = shapely.touches(one.shapes[mine], other.shapes[yours])
    return np.unique(mine[~touching])


def together(one: geopandas.GeoDataFrame, other: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    """Rows of both tables; those of `other` whose files are in `one` already are left out."""
    import pandas as pd

    known = {paths_of(path) for path in one["path"]}
    fresh = np.array([paths_of(path) not in known for path in other["path"]], bool)
    if not fresh.any():
        return one
    return pd.concat([one, other[fresh]], ignore_index=True)


def relocated(frame: geopandas.GeoDataFrame, old: str, new: str) -> geopandas.GeoDataFrame:
    """Replace the beginning of paths.

    Files that have the size they had before are taken to be the same.

    Raises
    ------
    ArgumentError
        If no path begins so.
    """
    old, new = old.rstrip("/"), new.rstrip("/")
    given = [paths_of(path) for path in frame["path"]]
    moved = [tuple(_moved(path, old, new) for path in paths) for paths in given]
    changed = [i for i in range(len(given)) if moved[i] != given[i]]
    if not changed:
        shown = ", ".join(paths[0] for paths in given[:_SHOWN])
        raise ArgumentError(
            f"No path of the catalog begins with {old!r}. They are like {shown}; name the directory "
            f"that they were in, as it is written there: catalog.relocate(old, new)."
        )
    times = frame["mtime"].to_numpy("int64", copy=True)
    sizes = frame["size"].to_numpy("int64", copy=True)
    for i in changed:
        time, size = stamp_of_scene(moved[i])
        if sizes[i] == size != UNKNOWN:
            times[i] = time
    paths: list[Any] = [one[0] if len(one) == 1 else list(one) for one in moved]
    return frame.assign(path=as_objects(paths), mtime=times, size=sizes)


def paths_of(value: str | Sequence[str]) -> tuple[str, ...]:
    """Files of a scene."""
    return (value,) if isinstance(value, str) else tuple(map(os.fspath, value))


def as_objects(values: Sequence[Any]) -> np.ndarray:
    """Return an array of Python objects, also of lists of one length."""
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _moved(path: str, old: str, new: str) -> str:
    if path == old or path.startswith(old + "/"):
        return new + path[len(old) :]
    return path

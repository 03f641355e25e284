"""From what people pass as paths to a list of files."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from geoxr.errors import MissingFileError
from geoxr.typing import PathLike

#: Endings that are taken from a directory.
RASTERS = (".tif", ".tiff", ".jp2", ".vrt", ".img", ".nc")


def find_files(paths: PathLike | Sequence[PathLike], endings: Sequence[str] = RASTERS) -> list[str]:
    """Expand a path, pattern, directory, or a list of them to files in sorted order.

    Raises
    ------
    MissingFileError
        If something matches nothing.
    """
    if isinstance(paths, str | os.PathLike):
        return _expand(os.fspath(paths), endings)
    files = [name for path in paths for name in _expand(os.fspath(path), endings)]
    if not files:
        raise MissingFileError("The list of paths is empty.")
    return files


def _expand(path: str, endings: Sequence[str]) -> list[str]:
    if os.path.isdir(path):
        files = sorted(_inside(path, tuple(endings)))
        if not files:
            raise MissingFileError(f"{path} holds no files that end in {', '.join(endings)}.")
        return files
    if glob.has_magic(path) and not os.path.exists(path):
        files = sorted(glob.glob(path, recursive=True))
        if not files:
            raise MissingFileError(f"The pattern {path} matches no file (looked in {Path.cwd()}).")
        return files
    return [path]


def _inside(folder: str, endings: tuple[str, ...]) -> Iterator[str]:
    """Files of a directory and those below it; hidden ones are no data ("._a.tif" of macOS)."""
    for place, _, names in os.walk(folder):
        for name in names:
            if name.lower().endswith(endings) and not name.startswith("."):
                yield os.path.join(place, name)

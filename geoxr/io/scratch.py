"""A scratch on disk: blocks of aligned layers, made once and read at the speed of memory afterwards."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoxr.errors import DiskFullError, MissingFileError, OutputExistsError
from geoxr.grid.crs import crs_name
from geoxr.io.array import ArrayReader, InMemory
from geoxr.io.block_table import Table, table_at
from geoxr.io.reader import WindowReader, everything
from geoxr.io.scratched import BLOCK, Layout, Scratched
from geoxr.io.slots import Slots
from geoxr.io.tokens import fingerprint
from geoxr.options import options

#: Files in the folder of a scratch that is kept.
_BLOCKS, _MANIFEST = "blocks.raw", "manifest.json"


@dataclass(frozen=True)
class ScratchStats:
    """What a scratch did for this process.

    Attributes
    ----------
    hits : int
        Blocks that windows met and that were there already.
    made : int
        Blocks that were read from their source and stored.
    through : int
        Blocks that windows met and that were read from their source, since they did not fit or had
        holes.
    nbytes, limit : int [bytes]
        What the scratch takes on disk, those of other processes included, and what it may take.
    """

    hits: int
    made: int
    through: int
    nbytes: int
    limit: int


class Scratch:
    """Where layers keep their blocks; see `open_scratch`.

    It is gone with the last reader that uses it, unless it has a folder.
    """

    def __init__(self, slots: Slots, folder: Path | None) -> None:
        self.slots, self.folder = slots, folder
        self._tables: weakref.WeakSet[Table] = weakref.WeakSet()

    def stats(self) -> ScratchStats:
        """Return what it did so far."""
        tables = list(self._tables)
        made, through = sum(t.made for t in tables), sum(t.through for t in tables)
        hits = max(sum(t.met for t in tables) - made - through, 0)
        return ScratchStats(hits, made, through, self.slots.nbytes, self.slots.limit)

    def table(self, name: str, reader: WindowReader, layout: Layout) -> Table:
        """Return the table of a layer; see `scratched`."""
        height, width = reader.geobox.shape
        steps = len(everything(reader)[1])
        shape = steps, -(-height // layout.block), -(-width // layout.block)
        facts = None if self.folder is None else _facts(reader, layout)
        with self.slots.locked():
            if self.folder is None or facts is None:
                start = self.slots.reserve(int(np.prod(shape)))
            else:
                start = self._kept(self.folder / _MANIFEST, name, facts, int(np.prod(shape)))
        table = table_at(self.slots, start, shape)
        self._tables.add(table)
        return table

    def _kept(self, path: Path, name: str, facts: dict[str, Any], size: int) -> int:
        """Find the table of a layer in the manifest, or add it; under the lock."""
        layers = (
            {} if self.slots.empty or not path.exists() else json.loads(path.read_text("utf-8"))
        )
        found = layers.get(name)
        if found is None:
            start = self.slots.reserve(size)
            layers[name] = {"table": start, **facts}
            part = path.with_suffix(".part")
            part.write_text(json.dumps(layers, indent=1) + "\n", "utf-8")
            os.replace(part, path)
            return start
        differ = [key for key, value in facts.items() if found.get(key) != value]
        if differ:
            raise OutputExistsError(_other(path.parent, name, differ, found, facts))
        return int(found["table"])


def open_scratch(folder: str | os.PathLike[str] | None = None) -> Scratch:
    """Make a scratch, or open one that was kept.

    Parameters
    ----------
    folder : path, optional
        Keep it there, for other processes and for later; the folder is made. It must be on a disk of
        this machine. Without it the scratch is a file without a name in ``options.scratch_dir``,
        which is gone with the last process that uses it, however that ends.

    Raises
    ------
    MissingFileError
        If the parent of `folder` does not exist.
    OutputExistsError
        If `folder` holds something else.
    DiskFullError
        If there is no room even for an empty one.
    """
    if folder is None:
        place = os.fspath(options.scratch_dir or tempfile.gettempdir())
        try:
            return Scratch(Slots.create(place, _limit(place, 0)), None)
        except OSError as error:
            raise _no_place(place, error) from error
    path = Path(folder).absolute()
    if not path.parent.is_dir():
        raise MissingFileError(f"The directory {path.parent} does not exist; make it.")
    blocks = path / _BLOCKS
    taken = path.exists() and (not path.is_dir() or any(path.iterdir()))
    if taken and not blocks.is_file():
        raise OutputExistsError(
            f"{path} holds something else. Name a new folder for the scratch, or one that it made."
        )
    try:
        path.mkdir(exist_ok=True)
        size = blocks.stat().st_size if blocks.is_file() else 0
        return Scratch(Slots.keep(os.fspath(blocks), _limit(path, size)), path)
    except OSError as error:
        if isinstance(error, OutputExistsError):
            raise
        raise _no_place(path, error) from error


def scratched(
    reader: WindowReader, name: str, where: Scratch, *, block: int = BLOCK
) -> WindowReader:
    """Return a reader of the same pixels that makes each block once and keeps it in a scratch.

    Parameters
    ----------
    reader : WindowReader
        Of any kind. Arrays in memory are returned as they are.
    name : str
        Of the layer; in a scratch that is kept it is found again by it.
    where : Scratch
    block : int [pixel]
        Side of a block.

    Raises
    ------
    OutputExistsError
        If the scratch has other blocks under that name, such as those of files that were changed.
    ArgumentError
        If a scratch that is kept could not recognise the layer again, or the scratch is too small.
    DiskFullError
        If there is no room even for the list of blocks.
    """
    if isinstance(reader, ArrayReader) and isinstance(reader.pixels, InMemory):
        return reader
    layout = Layout.of(reader, block)
    try:
        return Scratched(reader, where.table(name, reader, layout), layout)
    except OSError as error:
        if isinstance(error, OutputExistsError):
            raise
        raise _no_place(where.folder or where.slots.path, error) from error


def _limit(place: str | os.PathLike[str], size: int) -> int:
    """What a scratch that has `size` bytes already may grow to."""
    return options.scratch_size or size + shutil.disk_usage(place).free // 2


def _no_place(place: str | os.PathLike[str], error: OSError) -> DiskFullError:
    return DiskFullError(
        f"No scratch can be made in {place} ({error.strerror or error}). Free some space there, or "
        f"choose another place: gx.options.scratch_dir = ..., or cache=pathlib.Path(...)."
    )


def _facts(reader: WindowReader, layout: Layout) -> dict[str, Any]:
    """What a layer must have in common with the blocks that were made of it."""
    height, width = reader.geobox.shape
    affine = [float(number) for number in reader.geobox.affine[:6]]
    instead = 'Use a scratch that is not kept: cache="disk".'
    return {
        "grid": f"{height} x {width} {crs_name(reader.geobox.crs)} {affine}",
        "bands": list(reader.bands),
        "times": None if reader.times is None else [str(time) for time in reader.times],
        "type": layout.dtype,
        "nodata": repr(reader.nodata),
        "block": [layout.block, layout.planes],
        "source": fingerprint(reader, instead=instead),
    }


def _other(
    folder: Path, name: str, differ: list[str], found: dict[str, Any], facts: dict[str, Any]
) -> str:
    if differ == ["source"]:
        what = (
            "its files were changed or are others, or they are aligned or computed in another way"
        )
    else:
        key = differ[0]
        what = f"{key} was {_short(found.get(key))} and is {_short(facts[key])}"
    return (
        f"The scratch {folder} has blocks of another {name!r}: {what}. Choose another folder, or "
        f"remove this one to start again."
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."

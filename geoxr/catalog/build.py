"""Tables of scenes from files: scanned for the first time, or again where files have changed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from geoxr.catalog.combine import paths_of
from geoxr.catalog.footprint import footprints
from geoxr.catalog.frame import DEFAULTS, NEEDED, frame_of
from geoxr.catalog.given import GivenScenes
from geoxr.catalog.scan import Errors, Given, SceneFiles, in_threads, none_opened, scan_rows
from geoxr.catalog.table import SceneTable, stamp_of_scene
from geoxr.catalog.valid_footprint import valid_outline
from geoxr.errors import ArgumentError, GeoxrError, NotARasterError
from geoxr.products.product import Product

if TYPE_CHECKING:
    import geopandas

#: What a footprint is: the outline of the file, or of its valid pixels.
Footprint = Literal["bounds", "valid"]
#: Columns that a scan fills.
_SCANNED = {*NEEDED, *DEFAULTS, "id", "product", "geometry"}


@dataclass(frozen=True)
class Reading:
    """How files are read."""

    product: Product | None = None
    footprint: Footprint = "bounds"
    errors: Errors = "raise"
    workers: int | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        if self.footprint not in ("bounds", "valid"):
            raise ArgumentError(
                f'footprint is {self.footprint!r}, but must be "bounds" (the outline of the file) or '
                f'"valid" (that of its valid pixels, from a coarse look at each file).'
            )


@dataclass(frozen=True)
class Built:
    """A table of scenes.

    Attributes
    ----------
    frame : GeoDataFrame or None
        None if no file could be opened.
    skipped : tuple of (str or None, str)
        Files left out, if it is known which, and why.
    """

    frame: geopandas.GeoDataFrame | None
    skipped: tuple[tuple[str | None, str], ...]


def build(given: GivenScenes, how: Reading) -> Built:
    """Read the headers of scenes.

    Raises
    ------
    MissingFileError, NotARasterError
        If a file cannot be opened, unless they are to be skipped.
    """
    product = how.product
    known = Given(default=product.nodata, kind=product.kind) if product is not None else Given()
    rows, failed, _ = scan_rows(
        given.scenes, known, errors=how.errors, workers=how.workers, progress=how.progress
    )
    kept = list(rows)
    if not kept:
        return Built(None, _skipped(given, failed))
    table = SceneTable.of(list(rows.values()))
    shapes = footprints(table)
    if how.footprint == "valid":
        unread = _look_at_pixels(table, shapes, how)
        failed |= {kept[i]: reason for i, reason in unread.items()}
        left = [i for i in range(len(kept)) if i not in unread]
        table, shapes, kept = table.take(left), shapes[left], [kept[i] for i in left]
        if not kept:
            return Built(None, _skipped(given, failed))
    frame = frame_of(table, shapes)
    names = dict.fromkeys(name for i in kept for name in given.columns[i])
    for at, name in enumerate(names):
        frame.insert(at, name, [given.columns[i].get(name) for i in kept])
    return Built(frame, _skipped(given, failed))


def rebuild(known: geopandas.GeoDataFrame, given: GivenScenes, how: Reading) -> Built:
    """Read those scenes that are new or have changed, and keep the rows of the others.

    Columns that are not of a scan stay with their files, also with those that have changed.
    """
    at = {paths_of(path): i for i, path in enumerate(known["path"].tolist())}
    stamps = known[["mtime", "size"]].to_numpy("int64")
    bands = known["bands"].tolist()

    def unchanged(scene: SceneFiles, row: int | None) -> bool:
        return (
            row is not None
            and tuple(stamps[row]) == stamp_of_scene(scene.paths)
            and (scene.bands is None or scene.bands == tuple(bands[row]))
        )

    rows = [at.get(tuple(map(_absolute, scene.paths))) for scene in given.scenes]
    old = {j: row for j, row in enumerate(rows)
           if row is not None and unchanged(given.scenes[j], row)}  # fmt: skip
    fresh = [j for j in range(len(rows)) if j not in old]
    parts: list[Any] = []
    order: list[int] = list(old)
    if old:
        parts.append(known.iloc[list(old.values())])
    skipped = given.skipped
    if fresh:
        some = GivenScenes(
            tuple(given.scenes[j] for j in fresh), tuple(given.columns[j] for j in fresh)
        )
        built = build(some, how)
        skipped += built.skipped
        if built.frame is not None:
            parts.append(_with_own(built.frame, known, at))
            place = {tuple(map(_absolute, given.scenes[j].paths)): j for j in fresh}
            order += [place[paths_of(path)] for path in built.frame["path"].tolist()]
    if not parts:
        return Built(None, skipped)
    frame = parts[0] if len(parts) == 1 else pd.concat(parts)
    return Built(frame.iloc[np.argsort(order, kind="stable")], skipped)


def check_some(built: Built) -> geopandas.GeoDataFrame:
    """Raise `NotARasterError` if no file could be opened."""
    if built.frame is None:
        raise NotARasterError(none_opened([reason for _, reason in built.skipped]))
    return built.frame


def skipped_table(skipped: Sequence[tuple[str | None, str]]) -> pd.DataFrame:
    """Return files that were left out as a table: path and reason."""
    return pd.DataFrame(list(skipped), columns=["path", "reason"], dtype=object)


def _look_at_pixels(table: SceneTable, shapes: np.ndarray, how: Reading) -> dict[int, str]:
    """Replace outlines by those of valid pixels; return why scenes cannot be read."""

    def look(i: int) -> Any:
        try:
            return valid_outline(table.row(i))
        except GeoxrError as error:
            if how.errors == "raise":
                raise
            return error

    unread = {}
    results = in_threads(look, len(table), how.workers, progress=how.progress)
    for i, found in enumerate(results):
        if isinstance(found, GeoxrError):
            unread[i] = str(found)
        elif found is not None:
            shapes[i] = found
    return unread


def _with_own(
    fresh: geopandas.GeoDataFrame,
    known: geopandas.GeoDataFrame,
    at: dict[tuple[str, ...], int],
) -> geopandas.GeoDataFrame:
    """Give scenes that were known before the columns they had and that no file tells."""
    own = [name for name in known.columns if name not in _SCANNED]
    before = [at.get(paths_of(path), -1) for path in fresh["path"].tolist()]
    kept = known[own].reset_index(drop=True).reindex(before).set_axis(fresh.index)
    for name in own:
        if name in fresh.columns:
            kept[name] = fresh[name].where(fresh[name].notna(), kept[name])
    return fresh.assign(**{name: kept[name] for name in own})


def _skipped(given: GivenScenes, failed: dict[int, str]) -> tuple[tuple[str | None, str], ...]:
    found = ((given.scenes[i].paths[0], reason) for i, reason in sorted(failed.items()))
    return (*given.skipped, *found)


def _absolute(path: str) -> str:
    return os.path.abspath(path) if os.path.exists(path) else path

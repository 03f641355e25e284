"""Headers of many files at once: from paths to a table of scenes."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import astuple, dataclass
from typing import Any, Literal

import numpy as np
import rasterio
from odc.geo.crs import CRS

from geoxr.catalog.scene_reader import kind_of_file, read_scene
from geoxr.catalog.select import interval_of
from geoxr.catalog.table import (
    NO_TIME,
    Header,
    Row,
    SceneTable,
    crs_text,
    open_given,
    stamp_of_scene,
)
from geoxr.derive.screen import NOTHING, Treatment
from geoxr.errors import ArgumentError, GeoxrError, NotARasterError
from geoxr.io.gdal import FileInfo
from geoxr.io.reader import WindowReader
from geoxr.typing import Kind, Resampling

#: What is done with a scene that cannot be used.
Errors = Literal["raise", "skip"]
#: Whether GDAL lists the directory of a file when it opens it.
_LISTING = "GDAL_DISABLE_READDIR_ON_OPEN"


@dataclass(frozen=True)
class SceneFiles:
    """The files of one scene, before any was opened.

    Attributes
    ----------
    paths : tuple of str
    bands : tuple of str, optional
        One name per path, or the names of the bands of the one file. Default: those of the file.
    start, end : datetime64
        First and last moment of the acquisition; NaT where nobody knows.
    treatment : Treatment
        Masks and shifts; its quality files are the last of `paths`.
    """

    paths: tuple[str, ...]
    bands: tuple[str, ...] | None = None
    start: np.datetime64 = NO_TIME
    end: np.datetime64 = NO_TIME
    treatment: Treatment = NOTHING


@dataclass(frozen=True)
class Given:
    """What the caller knows better than the files, or where they say nothing.

    Attributes
    ----------
    crs : CRS, optional
        Of files that name none.
    nodata : float, optional
        Counts instead of what files name.
    default : float, optional
        Nodata value of files that name none.
    kind : {"continuous", "categorical"}, optional
    resampling : str, optional
        How bands of a scene come onto the grid of its first band. Default: by kind.
    skip : bool
        Whether parts that cannot be read are holes instead of errors.
    """

    crs: CRS | None = None
    nodata: float | None = None
    default: float | None = None
    kind: Kind | None = None
    resampling: Resampling | None = None
    skip: bool = False


@dataclass(frozen=True)
class Scanned:
    """What a scan found.

    Attributes
    ----------
    table : SceneTable
    skipped : tuple of str
        Why scenes were left out, one message each.
    first : WindowReader
        The first scene, opened.
    """

    table: SceneTable
    skipped: tuple[str, ...]
    first: WindowReader


def scan(scenes: Sequence[SceneFiles], given: Given, *, errors: Errors = "raise") -> Scanned:
    """Read the headers of scenes in threads.

    Raises
    ------
    MissingFileError, NotARasterError
        If a file cannot be opened; with ``errors="skip"`` only if none can.
    """
    rows, failed, first = scan_rows(scenes, given, errors=errors)
    if first is None:
        raise NotARasterError(none_opened(list(failed.values())))
    return Scanned(SceneTable.of(list(rows.values())), tuple(failed.values()), first)


def scan_rows(
    scenes: Sequence[SceneFiles],
    given: Given,
    *,
    errors: Errors = "raise",
    workers: int | None = None,
    progress: bool = False,
) -> tuple[dict[int, Row], dict[int, str], WindowReader | None]:
    """Read the headers of scenes in threads.

    Returns
    -------
    rows : dict of int to Row
        By position in `scenes`.
    failed : dict of int to str
        Why scenes were left out.
    first : WindowReader or None
        The first scene that was opened.

    Raises
    ------
    MissingFileError, NotARasterError
        If a file cannot be opened, unless ``errors="skip"``.
    """
    check_errors(errors)
    rows: dict[int, Row] = {}
    failed: dict[int, str] = {}
    first: WindowReader | None = None
    results = in_threads(
        lambda i: _look(scenes[i], given, errors), len(scenes), workers, progress=progress
    )
    for number, result in enumerate(results):
        if isinstance(result, GeoxrError):
            failed[number] = str(result)
            continue
        rows[number], reader = result
        first = first or reader
    return rows, failed, first


def none_opened(reasons: Sequence[str]) -> str:
    """Say that no file is left."""
    return f"None of {len(reasons)} files can be opened. The first: {reasons[0]}"


def check_errors(errors: str) -> None:
    """Raise unless it is a way to treat scenes that cannot be used."""
    if errors not in ("raise", "skip"):
        raise ArgumentError(f'errors is {errors!r}, but must be "raise" or "skip".')


def warn_skipped(skipped: Sequence[str], total: int, *, stacklevel: int) -> None:
    """Warn once about all scenes that were left out."""
    if skipped:
        shown = " ".join(skipped[:20]) + (" ..." if len(skipped) > 20 else "")
        warnings.warn(
            f"{len(skipped)} of {total} scenes were left out: {shown}", stacklevel=stacklevel + 1
        )


def in_threads(
    task: Callable[[int], Any], number: int, workers: int | None, *, progress: bool = False
) -> Iterator[Any]:
    """Yield results in order, with a bar if asked for; one needs no thread.

    Raises
    ------
    ArgumentError
        If `workers` is less than 1.
    """
    if workers is not None and workers < 1:
        raise ArgumentError(f"workers is {workers!r}, but must be at least 1.")
    results = _results(task, number, workers)
    if progress:
        from tqdm.auto import tqdm

        results = tqdm(results, total=number, unit="scene")
    return results


def _results(task: Callable[[int], Any], number: int, workers: int | None) -> Iterator[Any]:
    if number == 1 or workers == 1:
        yield from map(task, range(number))
        return
    with ThreadPoolExecutor(min(workers or 4 * (os.cpu_count() or 1), 32, number)) as pool:
        try:
            yield from pool.map(task, range(number))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _look(files: SceneFiles, given: Given, errors: Errors) -> tuple[Row, WindowReader] | GeoxrError:
    """Return the row of a scene and its reader, or the error that leaves it out."""
    stamp = stamp_of_scene(files.paths)
    try:
        with _without_listing():
            reader, infos = _open(files, given)
    except GeoxrError as error:
        if errors == "raise":
            raise
        return error
    info = infos[0]
    facts = info.facts if len(infos) == 1 else [one.facts[0] for one in infos]
    attrs = file_attrs(info) | {"facts": [astuple(fact) for fact in facts]}
    treatment = files.treatment.to_attrs()
    if treatment:
        attrs["treatment"] = treatment
    header = Header(
        crs_text(reader.geobox.crs),
        str(reader.dtype),
        reader.bands,
        reader.nodata,
        reader.masked,
        given.kind or kind_of_file(info),
        json.dumps(attrs),
    )
    path = info.reader.path
    paths = (path,) if len(files.paths) == 1 else tuple(map(_absolute, files.paths))
    height, width = reader.geobox.shape
    row = Row(
        paths,
        header,
        tuple(reader.geobox.affine)[:6],
        (height, width),
        stamp,
        *_dates(files, info),
    )
    return row, reader


def _dates(files: SceneFiles, info: FileInfo) -> tuple[np.datetime64, np.datetime64]:
    """First and last moment of the acquisition: as given, else as the metadata of the file tell."""
    if not np.isnat(files.start) or not info.acquired:
        return files.start, files.end
    try:
        start, end = interval_of(info.acquired)
    except ArgumentError:
        return files.start, files.end
    return np.datetime64(start, "ns"), np.datetime64(end, "ns")


def _without_listing() -> AbstractContextManager[Any]:
    """Let GDAL ask for the files beside an image by name, as far as nobody told it otherwise.

    It lists the directory of every file it opens, so files in one directory cost the square of their
    number.
    """
    if _LISTING in os.environ:
        return nullcontext()
    return rasterio.Env(**{_LISTING: "TRUE"})


def _absolute(path: str) -> str:
    return os.path.abspath(path) if os.path.exists(path) else path


def _open(files: SceneFiles, given: Given) -> tuple[WindowReader, list[FileInfo]]:
    """Open the files of a scene; also what each says."""
    return read_scene(
        files.paths,
        files.bands,
        files.treatment,
        given.kind,
        given.resampling,
        lambda path: open_given(path, given.crs, given.nodata, given.default, skip=given.skip),
        lambda path: open_given(path, given.crs, None, skip=given.skip),
    )


def file_attrs(info: FileInfo) -> dict[str, Any]:
    """Attributes that a file brings along: palette and classes."""
    attrs: dict[str, Any] = {}
    if info.palette:
        attrs["palette"] = " ".join(info.palette)
    if info.classes is not None:
        attrs.update(info.classes.to_attrs())
    return attrs

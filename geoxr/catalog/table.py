"""Thousands of scenes as a few arrays: what their headers say, and how to open one of them."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoxr.catalog.scene_reader import read_scene
from geoxr.derive.screen import Treatment
from geoxr.errors import ArgumentError, MissingFileError, ReadFailedError
from geoxr.grid.crs import parse_crs
from geoxr.grid.geobox import same_grid
from geoxr.io.bytes import Stamp, stamp_of
from geoxr.io.facts import BandFacts, storable
from geoxr.io.gdal import FileInfo, open_file
from geoxr.io.reader import WindowReader
from geoxr.typing import Kind

#: Stands for a file whose size and time of writing nobody wrote down.
UNKNOWN = -1
#: Stands for a date nobody wrote down.
NO_TIME = np.datetime64("NaT", "ns")


@dataclass(frozen=True)
class Header:
    """What many scenes share.

    Attributes
    ----------
    crs : str or None
        "EPSG:..." or WKT.
    dtype : str
    bands : tuple of str
    nodata : float, int or None
    masked : bool
        Whether validity is more than "not `nodata` and not NaN".
    kind : {"continuous", "categorical"}
    attrs : str
        JSON: ``facts`` (units, scale, offset and nodata of each band), palette, classes, and
        ``treatment`` (see `geoxr.derive.screen.Treatment`).
    """

    crs: str | None
    dtype: str
    bands: tuple[str, ...]
    nodata: float | int | None
    masked: bool
    kind: Kind = "continuous"
    attrs: str = "{}"

    @property
    def values(self) -> dict[str, Any]:
        """`attrs` as a mapping, without facts and treatment."""
        known = json.loads(self.attrs)
        return {key: value for key, value in known.items() if key not in ("facts", "treatment")}

    @property
    def treatment(self) -> Treatment:
        """What is done to the pixels of a scene before it is laid over others."""
        return Treatment.from_attrs(json.loads(self.attrs).get("treatment", {}))

    def fits(self, files: int) -> bool:
        """Whether a scene may have so many files: one or one per band, and those of quality."""
        return files - len(self.treatment.flags) in (1, len(self.bands))

    @property
    def facts(self) -> tuple[BandFacts, ...]:
        """What the numbers of each band mean."""
        known = json.loads(self.attrs).get("facts", [["DN", 1.0, 0.0, self.nodata]])
        facts = tuple(BandFacts(*values) for values in known)
        if len(facts) == 1:
            return facts * len(self.bands)
        if len(facts) != len(self.bands):
            raise ArgumentError(
                f"A catalog has facts of {len(facts)} bands in its column attrs for the bands "
                f"{', '.join(self.bands)}. Give them for each band, or once for all."
            )
        return facts


@dataclass(frozen=True)
class Row:
    """One scene: its files, and what their headers say."""

    paths: tuple[str, ...]
    header: Header
    affine: tuple[float, ...]
    shape: tuple[int, int]
    stamp: tuple[int, int] = (UNKNOWN, UNKNOWN)
    start: np.datetime64 = NO_TIME
    end: np.datetime64 = NO_TIME

    @property
    def name(self) -> str:
        """Name of the scene in messages."""
        return self.paths[0]

    @property
    def geobox(self) -> GeoBox:
        """Grid of the scene."""
        return GeoBox(self.shape, Affine(*self.affine), crs_from_text(self.header.crs))


@dataclass(frozen=True, eq=False)
class SceneTable:
    """Scenes by column; pickles small. Making one opens no file.

    Attributes
    ----------
    paths : tuple of tuple of str
        One file, or one file per band; then the quality files of its treatment.
    headers : tuple of Header
        The distinct ones.
    header_of : int32 array (scene,)
        Position in `headers`.
    affines : float64 array (scene, 6) [CRS units]
        (a, b, c, d, e, f) of every grid.
    shapes : int64 array (scene, 2) [pixel]
        Height and width.
    stamps : int64 array (scene, 2)
        Time of writing [ns] of the last file that was written, and size [bytes] of all; see
        `stamp_of_scene`.
    starts, ends : datetime64[ns] array (scene,)
        Acquisition; NaT where unknown.
    """

    paths: tuple[tuple[str, ...], ...]
    headers: tuple[Header, ...]
    header_of: np.ndarray
    affines: np.ndarray
    shapes: np.ndarray
    stamps: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Row]) -> SceneTable:
        """Collect rows."""
        known: dict[Header, int] = {}
        return cls(
            tuple(row.paths for row in rows),
            header_of=np.array([known.setdefault(row.header, len(known)) for row in rows], "int32"),
            headers=tuple(known),
            affines=np.array([row.affine for row in rows], "float64").reshape(len(rows), 6),
            shapes=np.array([row.shape for row in rows], "int64").reshape(len(rows), 2),
            stamps=np.array([row.stamp for row in rows], "int64").reshape(len(rows), 2),
            starts=np.array([row.start for row in rows], "datetime64[ns]"),
            ends=np.array([row.end for row in rows], "datetime64[ns]"),
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Row]:
        return (self.row(i) for i in range(len(self)))

    def row(self, i: int) -> Row:
        """Return one scene."""
        return Row(
            self.paths[i],
            self.header(i),
            tuple(self.affines[i].tolist()),
            (int(self.shapes[i, 0]), int(self.shapes[i, 1])),
            (int(self.stamps[i, 0]), int(self.stamps[i, 1])),
            self.starts[i],
            self.ends[i],
        )

    def header(self, i: int) -> Header:
        """Return what the file of one scene says, as far as others say the same."""
        return self.headers[self.header_of[i]]

    def take(self, picked: Sequence[int] | np.ndarray) -> SceneTable:
        """Keep some scenes, in the order given."""
        picked = np.asarray(picked, "int64")
        changed: dict[str, Any] = {"paths": tuple(self.paths[i] for i in picked)}
        for name in ("header_of", "affines", "shapes", "stamps", "starts", "ends"):
            changed[name] = getattr(self, name)[picked]
        return replace(self, **changed)

    def trimmed(self) -> SceneTable:
        """Leave out headers that no scene has."""
        used, header_of = np.unique(self.header_of, return_inverse=True)
        headers = tuple(self.headers[i] for i in used)
        return replace(self, headers=headers, header_of=header_of.astype("int32"))

    def with_nodata(self, value: float) -> SceneTable:
        """Let a number mark missing pixels, instead of what files name.

        Raises
        ------
        ArgumentError
            If no pixel can have this value.
        """
        changed = []
        for header in self.headers:
            number = storable(value, np.dtype(header.dtype))
            if number is None:
                raise ArgumentError(
                    f"nodata is {value!r}, but no pixel of type {header.dtype} can have it."
                )
            attrs = json.loads(header.attrs)
            if "facts" in attrs:
                attrs["facts"] = [[*fact[:3], number] for fact in attrs["facts"]]
            changed.append(replace(header, nodata=number, masked=False, attrs=json.dumps(attrs)))
        return replace(self, headers=tuple(changed))

    def crs_groups(self) -> list[tuple[CRS | None, np.ndarray]]:
        """Return the CRSs that occur, each with the positions of its scenes."""
        names = [header.crs for header in self.headers]
        distinct = list(dict.fromkeys(names))
        which = np.array([distinct.index(name) for name in names], "int64")[self.header_of]
        groups = ((name, np.flatnonzero(which == i)) for i, name in enumerate(distinct))
        return [(crs_from_text(name), rows) for name, rows in groups if rows.size]

    def __getstate__(self) -> dict[str, Any]:
        # Paths of an archive are much alike, and there may be one for every band of a scene.
        state = {field.name: getattr(self, field.name) for field in fields(self)}
        text = json.dumps(self.paths).encode("utf-8", "surrogateescape")
        return state | {"paths": zlib.compress(text, 1)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        text = zlib.decompress(state["paths"]).decode("utf-8", "surrogateescape")
        paths = tuple(tuple(files) for files in json.loads(text))
        self.__dict__.update(state, paths=paths)


def stamp_of_scene(paths: Sequence[str]) -> Stamp:
    """When the last file of a scene was written [ns], and the size of all [bytes]."""
    stamps = [stamp_of(path) for path in paths]
    return max(time for time, _ in stamps), sum(size for _, size in stamps)


@lru_cache(maxsize=256)
def crs_from_text(text: str | None) -> CRS | None:
    """Read the CRS of a header; the same text gives the same object."""
    return None if text is None else parse_crs(text)


def crs_text(crs: CRS | None) -> str | None:
    """Write a CRS short: its EPSG code if that says the same, else WKT."""
    if crs is None:
        return None
    short = f"EPSG:{crs.epsg}" if crs.epsg is not None else None
    return short if short is not None and crs_from_text(short) == crs else str(crs.to_wkt())


def open_row(row: Row, default: float | None = None, *, skip: bool = False) -> WindowReader:
    """Open the files of a scene and check that they are what the row says.

    Parameters
    ----------
    default : float, optional
        Nodata value of files that name none, where the row as a whole has none.
    skip : bool
        Whether parts that cannot be read are holes instead of errors.

    Raises
    ------
    MissingFileError
        If a file is not there any more.
    ReadFailedError
        If a file was changed since its header was read.
    """
    header = row.header
    nodata = None if header.masked else header.nodata
    crs = crs_from_text(header.crs)
    try:
        reader, _ = read_scene(
            row.paths,
            header.bands,
            header.treatment,
            header.kind,
            None,
            lambda path: open_given(path, crs, nodata, default, skip=skip),
            lambda path: open_given(path, crs, None, skip=skip),
        )
    except MissingFileError as error:
        raise MissingFileError(
            f"{error} If the files of a catalog were moved, name the place where they are: "
            f"catalog.relocate({os.path.dirname(row.name)!r}, new)."
        ) from error
    changed = row.stamp != (UNKNOWN, UNKNOWN) and row.stamp != stamp_of_scene(row.paths)
    same = same_grid(reader.geobox, row.geobox) and str(reader.dtype) == header.dtype
    if changed or not same or len(reader.bands) != len(header.bands):
        raise ReadFailedError(
            f"{row.name} was changed after its header was read: it does not fit its row in the table "
            f"of scenes any more. Open the layer again, or scan the files again with "
            f"gx.Catalog.scan."
        )
    return reader


def open_given(
    path: str,
    crs: CRS | None,
    nodata: float | None,
    default: float | None = None,
    *,
    skip: bool = False,
) -> FileInfo:
    """Open a file with what is known of it: its CRS if it names none, its nodata value."""
    info = open_file(path, nodata=nodata)
    placed = info.placement or info.reader.geobox
    lacking = placed.crs is None and crs is not None
    if default is not None and info.reader.nodata is None and not info.reader.masked:
        nodata, lacking = default, True
    if lacking or skip:
        info = open_file(path, crs=crs if placed.crs is None else None, nodata=nodata, skip=skip)
    return info

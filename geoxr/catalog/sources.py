"""What a mosaic is made of: rows of a table that are opened when a window meets them, or layers."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoxr.catalog.outlines import outlines
from geoxr.catalog.table import SceneTable, open_row
from geoxr.catalog.windows import scene_windows
from geoxr.errors import GeoxrError
from geoxr.grid.geobox import lattice_offset
from geoxr.grid.shapes import covered, outline
from geoxr.io.holes import note_hole
from geoxr.io.reader import Raster, WindowReader
from geoxr.io.views import Cropped
from geoxr.typing import Resampling
from geoxr.warp.reproject import onto

#: Scenes a mosaic keeps ready; they hold no pixels and no open files.
_READY = 4096


class Scenes(Raster, Protocol):
    """Scenes on the grid of a mosaic, in the order of its overlap rule; see `Raster`.

    Attributes
    ----------
    times : tuple of numpy.datetime64 or None
        Those of every scene.
    nodata : float, int or None
        The number that marks missing pixels in all scenes; None if they do not share one.
    masked : bool
        Whether the pixels of some scene alone do not tell validity.
    windows : int64 array (scene, 4) [pixel]
        First row and column, row and column after the last.
    sliced : bool array (scene,)
        Whether the pixels of a scene are those of the mosaic.
    """

    @property
    def windows(self) -> np.ndarray:
        """Where scenes lie."""
        ...

    @property
    def sliced(self) -> np.ndarray:
        """Which scenes need no resampling."""
        ...

    def reader(self, i: int) -> WindowReader | None:
        """Return a scene on the grid of the mosaic; None for one that is left out."""
        ...

    def onto(self, geobox: GeoBox, resampling: Resampling) -> Scenes | None:
        """Return the scenes on another grid; None where that would not spare a resampling.

        That is where the grid was asked for, or all scenes are on its lattice.
        """
        ...


@dataclass(frozen=True, eq=False)
class TableScenes:
    """Rows of a table on the grid of a mosaic; see `Scenes`.

    Parameters
    ----------
    table : SceneTable
        Scenes that meet the grid, in the order of the overlap rule, with the same bands and type.
    geobox : GeoBox
    windows, sliced : array
        See `SceneWindows`.
    bands : tuple of str
        Names of the bands of the layer.
    picked : tuple of tuple of int
        For every header of the table, the positions of these bands in its files.
    resampling : str
    default : float, optional
        Nodata value of files that name none.
    skip : bool
        Leave out scenes that cannot be opened any more, with a warning, instead of raising.
    free : bool
        Whether nobody asked for `geobox`.
    """

    table: SceneTable
    geobox: GeoBox
    windows: np.ndarray
    sliced: np.ndarray
    bands: tuple[str, ...]
    picked: tuple[tuple[int, ...], ...]
    resampling: Resampling
    default: float | None = None
    skip: bool = False
    free: bool = False

    times = None

    @cached_property
    def dtype(self) -> np.dtype:
        """Type of the pixels; sums of integers over target pixels are float64."""
        return np.dtype("float64") if self._summed else self._stored

    @property
    def _stored(self) -> np.dtype:
        return np.dtype(self.table.header(0).dtype)

    @cached_property
    def _summed(self) -> bool:
        warps = self.resampling == "sum" and not self.sliced.all()
        return warps and self._stored.kind in "iub"

    @cached_property
    def nodata(self) -> float | int | None:
        """The number that all scenes share."""
        if self._summed:
            return None
        return shared_nodata([header.nodata for header in self.table.headers])

    @cached_property
    def masked(self) -> bool:
        """Whether the pixels of some scene alone do not tell validity."""
        headers = self.table.headers
        differ = self.nodata is None and any(header.nodata is not None for header in headers)
        holes = self.skip and self.nodata is None
        return differ or holes or any(header.masked for header in headers)

    @property
    def footprint(self) -> shapely.Geometry:
        """Outline of all scenes together, within the grid."""
        return shapely.union_all(outlines(self.table, self.geobox)) & outline(self.geobox)

    def onto(self, geobox: GeoBox, resampling: Resampling) -> TableScenes | None:
        """Return the scenes on another grid; see `Scenes`."""
        if not self.free or self.sliced.all():
            return None
        found = scene_windows(self.table, geobox)
        return replace(
            self,
            geobox=geobox,
            windows=found.windows,
            sliced=found.sliced,
            resampling=resampling,
            free=False,
        )

    def take(self, picked: np.ndarray) -> TableScenes:
        """Keep some scenes."""
        return replace(
            self,
            table=self.table.take(picked),
            windows=self.windows[picked],
            sliced=self.sliced[picked],
        )

    def reader(self, i: int) -> WindowReader | None:
        """Open a scene, or take it from those that are ready."""
        scene: WindowReader | None = self._ready(i)
        if scene is None:
            note_hole()
        return scene

    @cached_property
    def _ready(self) -> Any:
        return lru_cache(maxsize=_READY)(self._open)

    def _open(self, i: int) -> WindowReader | None:
        row = self.table.row(i)
        try:
            reader = open_row(row, self.default, skip=self.skip)
        except GeoxrError as error:
            if not self.skip:
                raise
            _report(row.name, error)
            return None
        bands = self.picked[self.table.header_of[i]]
        reader = onto(reader, self.geobox, self.resampling)
        whole = bands == tuple(range(len(reader.bands)))
        return reader if whole else Cropped(reader, self.geobox, 0, 0, bands)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, eq=False)
class LayerScenes:
    """Open layers on the grid of a mosaic; see `Scenes`.

    Parameters
    ----------
    sources : tuple of WindowReader
        With the same bands, times and type, on grids of their own.
    readers : tuple of WindowReader
        The same on `geobox`.
    windows, sliced : array
        See `SceneWindows`.
    free : bool
        Whether nobody asked for `geobox`.
    """

    sources: tuple[WindowReader, ...]
    readers: tuple[WindowReader, ...]
    geobox: GeoBox
    windows: np.ndarray
    sliced: np.ndarray
    free: bool

    @classmethod
    def of(
        cls,
        sources: tuple[WindowReader, ...],
        geobox: GeoBox,
        resampling: Resampling,
        *,
        free: bool,
    ) -> LayerScenes:
        """Put layers on a grid."""
        readers = tuple(onto(source, geobox, resampling) for source in sources)
        windows = [covered(reader.footprint, geobox) for reader in readers]
        spans = np.array([(w.row, w.col, *w.stop) for w in windows], "int64")
        sliced = np.array([lattice_offset(source.geobox, geobox) is not None for source in sources])
        return cls(sources, readers, geobox, spans, sliced, free)

    def onto(self, geobox: GeoBox, resampling: Resampling) -> LayerScenes | None:
        """Return the layers on another grid; see `Scenes`."""
        if not self.free or self.sliced.all():
            return None
        return LayerScenes.of(self.sources, geobox, resampling, free=False)

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels."""
        return self.sources[0].dtype

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""
        return self.sources[0].bands

    @property
    def times(self) -> tuple[np.datetime64, ...] | None:
        """Time steps of every layer."""
        return self.sources[0].times

    @property
    def nodata(self) -> float | int | None:
        """The number that all layers share."""
        return shared_nodata([source.nodata for source in self.sources])

    @property
    def masked(self) -> bool:
        """Whether the pixels of some layer alone do not tell validity."""
        differ = self.nodata is None and any(one.nodata is not None for one in self.sources)
        return differ or any(source.masked for source in self.sources)

    @property
    def footprint(self) -> shapely.Geometry:
        """Outline of all layers together."""
        return shapely.union_all([reader.footprint for reader in self.readers])

    def reader(self, i: int) -> WindowReader:
        """Return a layer on the grid of the mosaic."""
        return self.readers[i]


def shared_nodata(numbers: Sequence[float | int | None]) -> float | int | None:
    """Return the number that marks missing pixels everywhere; None if there is no such number."""
    return numbers[0] if len({repr(number) for number in numbers}) == 1 else None


_reported: set[str] = set()
_reporting = threading.Lock()


def _report(name: str, error: GeoxrError) -> None:
    """Warn once about a scene that is left out, with how many there are by now."""
    with _reporting:
        if name in _reported:
            return
        _reported.add(name)
        number = len(_reported)
    warnings.warn(
        f"{number} {'scene was' if number == 1 else 'scenes were'} left out while reading, the last: "
        f"{error}",
        stacklevel=2,
    )

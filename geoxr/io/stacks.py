"""Several readers of one grid as one: stacked by band or by time, or where all are valid."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoxr.grid.window import Window
from geoxr.io.geotiff import GeotiffReader, read_together
from geoxr.io.reader import WindowReader, everything, mark_valid


class Stack:
    """Base of frozen readers over several readers of one grid: what the first says holds for all."""

    sources: tuple[WindowReader, ...]

    @property
    def geobox(self) -> GeoBox:
        """Grid of all."""
        return self.sources[0].geobox

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels."""
        return self.sources[0].dtype


@dataclass(frozen=True)
class BandStack(Stack):
    """Bands from several readers of one grid and type; see `WindowReader`."""

    sources: tuple[WindowReader, ...]
    bands: tuple[str, ...]

    @property
    def times(self) -> tuple[np.datetime64, ...] | None:
        """Time steps of all."""
        return self.sources[0].times

    @property
    def nodata(self) -> float | int | None:
        """Number that marks missing pixels, if all share it."""
        return self.sources[0].nodata if self._one_nodata else None

    @cached_property
    def _one_nodata(self) -> bool:
        return len({repr(source.nodata) for source in self.sources}) == 1

    @cached_property
    def _files(self) -> tuple[GeotiffReader, ...]:
        """Files of one band each that may be read together, since pixels tell their validity."""
        files = tuple(source for source in self.sources if isinstance(source, GeotiffReader))
        whole = len(files) == len(self.bands) == len(self.sources)
        return files if whole and not self.masked else ()

    @cached_property
    def _owners(self) -> list[tuple[int, int]]:
        """Position of the source of each band, and of the band in it."""
        return [(s, b) for s, source in enumerate(self.sources) for b in range(len(source.bands))]

    def __getstate__(self) -> dict[str, Any]:
        # Cached properties are not worth sending.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def masked(self) -> bool:
        """Whether pixels alone do not tell validity."""
        return any(source.masked for source in self.sources) or not self._one_nodata

    @property
    def footprint(self) -> shapely.Geometry:
        """Outline of what all sources cover."""
        return shapely.intersection_all([source.footprint for source in self.sources])

    def read(
        self,
        window: Window,
        out: np.ndarray,
        valid: np.ndarray | None,
        *,
        bands: tuple[int, ...],
        times: tuple[int, ...],
        step: int = 1,
    ) -> None:
        """Read a window; see `WindowReader.read`."""
        if self._files and step == 1 and len(times) == 1:
            files = [self._files[band] for band in bands]
            if read_together(files, window, out[0]):
                if valid is not None:
                    mark_valid(out, self.nodata, valid)
                return
        owners = self._owners
        joint = valid is not None and valid.shape[1] == 1 and len(bands) > 1
        if joint:
            assert valid is not None
            valid[...] = True
        start = 0
        while start < len(bands):
            owner = owners[bands[start]][0]
            stop = start
            while stop < len(bands) and owners[bands[stop]][0] == owner:
                stop += 1
            part: np.ndarray | None = None
            if valid is not None:
                part = np.empty_like(valid) if joint else valid[:, start:stop]
            self.sources[owner].read(
                window,
                out[:, start:stop],
                part,
                bands=tuple(owners[band][1] for band in bands[start:stop]),
                times=times,
                step=step,
            )
            if joint:
                assert valid is not None
                valid &= part
            start = stop


@dataclass(frozen=True)
class TimeStack(Stack):
    """One reader per time step, all on one grid; see `WindowReader`."""

    sources: tuple[WindowReader, ...]
    times: tuple[np.datetime64, ...]

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""
        return self.sources[0].bands

    @property
    def nodata(self) -> float | int | None:
        """Number that marks missing pixels."""
        return self.sources[0].nodata

    @property
    def masked(self) -> bool:
        """Whether pixels alone do not tell validity."""
        return any(source.masked for source in self.sources)

    @property
    def footprint(self) -> shapely.Geometry:
        """Outline of what any time step covers."""
        return shapely.union_all([source.footprint for source in self.sources])

    def read(
        self,
        window: Window,
        out: np.ndarray,
        valid: np.ndarray | None,
        *,
        bands: tuple[int, ...],
        times: tuple[int, ...],
        step: int = 1,
    ) -> None:
        """Read a window; see `WindowReader.read`."""
        for i, time in enumerate(times):
            part = None if valid is None else valid[i : i + 1]
            source = self.sources[time]
            source.read(window, out[i : i + 1], part, bands=bands, times=(0,), step=step)


@dataclass(frozen=True)
class AllValid(Stack):
    """Where all bands of all readers of one grid are valid, as boolean pixels; see `WindowReader`.

    Readers without time hold at every time step of the others.
    """

    sources: tuple[WindowReader, ...]

    bands = ("valid",)
    dtype = np.dtype(bool)
    nodata = None
    masked = False

    @property
    def times(self) -> tuple[np.datetime64, ...] | None:
        """Time steps of those that have any."""
        return next((s.times for s in self.sources if s.times is not None), None)

    @property
    def footprint(self) -> shapely.Geometry:
        """Outline of what all sources cover."""
        return shapely.intersection_all([source.footprint for source in self.sources])

    def read(
        self,
        window: Window,
        out: np.ndarray,
        valid: np.ndarray | None,
        *,
        bands: tuple[int, ...],
        times: tuple[int, ...],
        step: int = 1,
    ) -> None:
        """Read a window; see `WindowReader.read`."""
        out[...] = True
        for source in self.sources:
            own = times if source.times is not None else (0,)
            every = everything(source)[0]
            good = np.empty((len(own), 1, *out.shape[2:]), bool)
            pixels = np.empty((len(own), len(every), *out.shape[2:]), source.dtype)
            source.read(window, pixels, good, bands=every, times=own, step=step)
            out &= good
        if valid is not None:
            valid[...] = True

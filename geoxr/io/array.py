"""Arrays that are in memory, in a dask graph or behind xarray's own lazy indexing, as readers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.errors import GeoxrError, ReadFailedError
from geoxr.grid.shapes import outline
from geoxr.grid.window import Window
from geoxr.io.layer import DIMS
from geoxr.io.reader import mark_valid, reduce_valid


class Pixels(Protocol):
    """Numbers with the dimensions ``(time, band, y, x)``, wherever they are."""

    @property
    def dtype(self) -> np.dtype:
        """Type of the numbers."""
        ...

    def take(
        self, window: Window, bands: tuple[int, ...], times: tuple[int, ...], step: int
    ) -> np.ndarray:
        """Return (time, band, height, width); a dimension that is not stored has length 1."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayReader:
    """Pixels of an array with the validity that is known for them; see `WindowReader`.

    Parameters
    ----------
    pixels : Pixels
    validity : Pixels, optional
        Boolean, True = use the pixel.
    """

    pixels: Pixels
    geobox: GeoBox
    bands: tuple[str, ...]
    times: tuple[np.datetime64, ...] | None
    nodata: float | int | None
    validity: Pixels | None = None

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels."""
        return self.pixels.dtype

    @property
    def masked(self) -> bool:
        """Whether there is a validity array."""
        return self.validity is not None

    @property
    def footprint(self) -> shapely.Geometry:
        """Outline of the grid."""
        return outline(self.geobox)

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
        out[...] = self.pixels.take(window, bands, times, step)
        if valid is None:
            return
        if self.validity is None:
            mark_valid(out, self.nodata, valid)
            return
        good = np.broadcast_to(self.validity.take(window, bands, times, step), out.shape)
        if self.dtype.kind in "fc":
            good = good & np.isfinite(out)
        reduce_valid(good, valid)


@dataclass(frozen=True, eq=False)
class InMemory:
    """A view of a NumPy array, memory maps included; see `Pixels`.

    Parameters
    ----------
    array : array (time, band, height, width)
        Dimensions that are not there have length 1.
    """

    array: np.ndarray

    @classmethod
    def of(cls, dims: tuple[str, ...], array: np.ndarray) -> InMemory:
        """View an array with dimensions out of ``time, band, y, x`` in any order; no copy."""
        return cls(_in_order(dims, array))

    @property
    def dtype(self) -> np.dtype:
        """Type of the numbers."""
        return self.array.dtype

    def take(
        self, window: Window, bands: tuple[int, ...], times: tuple[int, ...], step: int
    ) -> np.ndarray:
        """Return a part, as a view where that is possible; see `Pixels.take`."""
        rows, cols = window.slices
        # A single band or time step stands for as many as are asked for.
        part = self.array[..., rows.start : rows.stop : step, cols.start : cols.stop : step]
        if part.shape[0] > 1:
            part = part[as_slice(times)]
        if part.shape[1] > 1:
            part = part[:, as_slice(bands)]
        return part


@dataclass(frozen=True, eq=False)
class Indexed:
    """Whatever xarray or dask index for us: each part goes through them; see `Pixels`.

    Parameters
    ----------
    dims : tuple of str
        Out of ``time, band, y, x``, in any order.
    data : lazily indexed array of xarray, or dask array
    """

    dims: tuple[str, ...]
    data: Any

    @property
    def dtype(self) -> np.dtype:
        """Type of the numbers."""
        return np.dtype(self.data.dtype)

    def take(
        self, window: Window, bands: tuple[int, ...], times: tuple[int, ...], step: int
    ) -> np.ndarray:
        """Read or compute a part; see `Pixels.take`."""
        rows, cols = window.slices
        picks: dict[str, Any] = {
            "time": as_slice(times),
            "band": as_slice(bands),
            "y": slice(rows.start, rows.stop, step),
            "x": slice(cols.start, cols.stop, step),
        }
        variable = xr.Variable(self.dims, self.data)
        part = variable.isel({dim: picks[dim] for dim in self.dims})
        try:
            values = part.values if part.chunks is None else _computed(part.data)
        except GeoxrError:
            raise
        except (OSError, RuntimeError, ValueError) as error:
            raise ReadFailedError(
                f"Rows {window.row}-{window.stop[0]}, columns {window.col}-{window.stop[1]} of an "
                f"array cannot be read ({error}). Its file may be damaged, closed or gone."
            ) from error
        return _in_order(self.dims, values)


def _computed(array: Any) -> np.ndarray:
    """Compute a dask array where we are, unless a scheduler was chosen.

    A window is small, and the threads that ask for windows are parallel already.
    """
    from dask.base import get_scheduler

    chosen = None if _in_dask_worker() else get_scheduler()
    return np.asarray(array.compute(scheduler=chosen or "synchronous"))


def _in_dask_worker() -> bool:
    """Whether this is a task of a distributed cluster: to wait for others there could block it."""
    import sys

    if "distributed" not in sys.modules:
        return False
    from distributed import get_worker

    try:
        get_worker()
    except ValueError:
        return False
    return True


def _in_order(dims: tuple[str, ...], array: np.ndarray) -> np.ndarray:
    """View an array as (time, band, y, x)."""
    order = [dim for dim in DIMS if dim in dims]
    array = array.transpose([dims.index(dim) for dim in order])
    return array[tuple(slice(None) if dim in order else None for dim in DIMS)]


def as_slice(positions: tuple[int, ...]) -> slice | list[int]:
    """Write positions as a slice where they follow each other."""
    first, number = positions[0], len(positions)
    if positions == tuple(range(first, first + number)):
        return slice(first, first + number)
    return list(positions)

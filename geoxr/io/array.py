"""Any xarray variable behind the reader protocol: NumPy, Zarr, NetCDF, dask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.grid.shapes import outline
from geoxr.grid.window import Window
from geoxr.io.layer import DIMS
from geoxr.io.reader import mark_valid, reduce_valid


@dataclass(frozen=True, eq=False)
class VariableReader:
    """Pixels of an xarray variable, read by indexing it; see `WindowReader`.

    Parameters
    ----------
    variable : xarray.Variable
        With the dimensions ``y`` and ``x``, and ``time`` and ``band`` if it has them, in any order.
    validity : xarray.Variable, optional
        Boolean, True = use the pixel, with dimensions out of the same.
    """

    variable: xr.Variable
    geobox: GeoBox
    bands: tuple[str, ...]
    times: tuple[np.datetime64, ...] | None
    nodata: float | int | None
    validity: xr.Variable | None = None

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels."""
        return np.dtype(self.variable.dtype)

    @property
    def masked(self) -> bool:
        """Whether there is a validity variable."""
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
        out[...] = _take(self.variable, window, bands, times, step)
        if valid is None:
            return
        if self.validity is None:
            mark_valid(out, self.nodata, valid)
            return
        good = np.broadcast_to(_take(self.validity, window, bands, times, step), out.shape)
        if self.dtype.kind in "fc":
            good = good & np.isfinite(out)
        reduce_valid(good, valid)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (type(self).__name__, self.variable, self.validity, self.geobox, self.nodata)


def _take(
    variable: xr.Variable,
    window: Window,
    bands: tuple[int, ...],
    times: tuple[int, ...],
    step: int,
) -> np.ndarray:
    rows, cols = window.slices
    picks: dict[str, Any] = {
        "time": list(times),
        "band": _as_slice(bands),
        "y": slice(rows.start, rows.stop, step),
        "x": slice(cols.start, cols.stop, step),
    }
    part = variable.isel({dim: pick for dim, pick in picks.items() if dim in variable.dims})
    order = [dim for dim in DIMS if dim in part.dims]
    values = part.transpose(*order).values if tuple(order) != part.dims else part.values
    for axis, dim in enumerate(DIMS):
        if dim not in order:
            values = np.expand_dims(values, axis)
    return values


def _as_slice(positions: tuple[int, ...]) -> slice | list[int]:
    first, number = positions[0], len(positions)
    if positions == tuple(range(first, first + number)):
        return slice(first, first + number)
    return list(positions)

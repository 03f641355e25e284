"""`astype`: another type of pixel, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from geoxr.derive.layers import readers_of
from geoxr.errors import ArgumentError
from geoxr.io.facts import storable
from geoxr.io.layer import grid_coords, layer_like
from geoxr.io.mapped import Mapped
from geoxr.io.reader import has_holes


def cast(values: np.ndarray, dtype: np.dtype, good: np.ndarray, what: str) -> np.ndarray:
    """Return values as another type, fractions cut off as NumPy does.

    Parameters
    ----------
    good : bool array that broadcasts to `values`
        What is not good may be any number.
    what : str
        Start of the message of an error.

    Raises
    ------
    ArgumentError
        If a good value does not fit.
    """
    if values.dtype == dtype or np.can_cast(values.dtype, dtype, "safe"):
        return values.astype(dtype, copy=False)
    if dtype.kind in "iu" and values.dtype.kind in "iufb":
        info = np.iinfo(dtype)
        # Comparing with the numbers beyond is exact for floats, which cannot hold every limit.
        fits = (values > info.min - 1) & (values < info.max + 1)
        lost = good & ~fits
        if lost.any():
            value = np.broadcast_to(values, lost.shape)[lost][0]
            raise ArgumentError(
                f"{what} {value}, but {dtype} holds {info.min} to {info.max}. Choose a wider type, "
                f"or scale the values first with gx.map."
            )
        return np.where(fits, values, 0).astype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(dtype)


@dataclass(frozen=True)
class Cast:
    """Pixels as another type; see `geoxr.io.mapped.Rule`.

    A fraction that would be cut off to `nodata` is moved to the number beside it; a whole number
    that is `nodata` raises.
    """

    nodata: float | int | None = None

    holes = False
    marks = False

    def __call__(
        self, pixels: Sequence[np.ndarray], good: np.ndarray, out: np.ndarray, bands: Sequence[int]
    ) -> None:
        """Fill `out`; see `geoxr.io.mapped.Rule`."""
        out[...] = cast(pixels[0], out.dtype, good, "A pixel is")
        if self.nodata is None or out.dtype.kind not in "iu":
            return
        hit = good & (out == self.nodata)
        if not hit.any():
            return
        if pixels[0].dtype.kind != "f":
            raise ArgumentError(
                f"A valid pixel is {self.nodata}, which is to mark missing ones. Choose another "
                f"number: da.geoxr.astype({out.dtype.name!r}, nodata=...)."
            )
        out[hit] = self.nodata + (1 if self.nodata < np.iinfo(out.dtype).max else -1)


def astype(da: xr.DataArray, dtype: Any, *, nodata: float | None = None) -> xr.DataArray:
    """Return a lazy layer with another type of pixel; what is valid stays so.

    Parameters
    ----------
    da : DataArray
    dtype : dtype-like
        A real number or bool. Fractions are cut off as NumPy does; unlike NumPy, a valid value
        that does not fit raises when it is read.
    nodata : float, optional
        Number that marks missing pixels in the result. Default: that of `da` if the type can hold
        it; floating-point layers have NaN where there is none. Where neither can be, validity
        travels beside the pixels.

    Raises
    ------
    ArgumentError
        If the nodata of `da` does not fit into `dtype`, or the layer is no real number.

    Examples
    --------
    >>> import numpy as np, xarray as xr, geoxr as gx
    >>> da = xr.DataArray(np.eye(2), {"y": [1.5, 0.5], "x": [0.5, 1.5]}, ("y", "x"))
    >>> da.geoxr.astype("uint8").values.tolist()
    [[1, 0], [0, 1]]
    """
    target = np.dtype(dtype)
    (source,) = readers_of([da])
    if target.kind not in "iufb" or source.dtype.kind not in "iufb":
        raise ArgumentError(
            f"{da.name!r} is {source.dtype} and cannot become {target}: only real numbers and "
            f"booleans can. Take parts of complex numbers with gx.map(np.abs, da)."
        )
    mark = source.nodata if nodata is None else nodata
    if mark is not None and mark != mark:
        mark = None
    number = None if target.kind == "b" else storable(mark, target)
    if mark is not None and number is None and (nodata is not None or target.kind != "b"):
        raise ArgumentError(
            f"Missing pixels of {da.name!r} are {mark}, which {target} cannot hold. Name a number "
            f"that it can: da.geoxr.astype({target.name!r}, nodata=...)."
        )
    rule = Cast(number if has_holes(source) else None)
    reader = Mapped((source,), rule, target, number, source.bands, source.times)
    return layer_like(da, reader, coords=grid_coords(da))

"""Masks: pixels of a layer that stay, and what the bits of a quality band say about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from geoxr.derive.layers import derived, readers_of
from geoxr.errors import ArgumentError
from geoxr.grid.adopt import adopt
from geoxr.grid.meaning import band_dim
from geoxr.io.dataset import map_dataset
from geoxr.io.layer import grid_coords, layer_like
from geoxr.io.mapped import Mapped
from geoxr.typing import XarrayT

#: A field of bits: its position counted from the least significant bit (0), or (first, width).
Field = int | tuple[int, int]


@dataclass(frozen=True)
class Keep:
    """Pixels of the first source where the second is True; see `geoxr.io.mapped.Rule`."""

    holes = True
    marks = False

    def __call__(
        self, pixels: Sequence[np.ndarray], good: np.ndarray, out: np.ndarray, bands: Sequence[int]
    ) -> None:
        """Fill `out`; see `geoxr.io.mapped.Rule`."""
        if out is not pixels[0]:
            out[...] = pixels[0]
        good &= pixels[1] != 0


def mask(obj: XarrayT, keep: xr.DataArray) -> XarrayT:
    """Make pixels invalid where `keep` is not True, lazily.

    Parameters
    ----------
    obj : DataArray or Dataset
        All layers of a Dataset are masked.
    keep : DataArray of bool
        True = use the pixel; from `geoxr.qa_mask`, `geoxr.map` or a comparison. On the same grid;
        without bands or dates it holds for all of them. Where `keep` is itself invalid, so is the
        result.

    Returns
    -------
    DataArray or Dataset
        Of the same type; missing pixels have the nodata value, else NaN, else are told by the
        validity that travels along.

    Raises
    ------
    CRSMismatchError, GridError
        If `keep` is on another grid.
    ArgumentError
        If `keep` is not boolean or has other bands.
    """
    if not isinstance(keep, xr.DataArray) or keep.dtype != bool:
        found = getattr(keep, "dtype", type(keep).__name__)
        raise ArgumentError(
            f"keep is {found}, but must be a boolean layer, True where pixels stay. Make one with "
            f"gx.qa_mask(qa, bits=[...]) or gx.map(lambda a: a > 0, layer)."
        )
    if isinstance(obj, xr.Dataset):
        return map_dataset(obj, lambda da: mask(da, keep))
    source, where = readers_of([obj, keep])
    if len(where.bands) not in (1, len(source.bands)):
        raise ArgumentError(
            f"keep has {len(where.bands)} bands, {obj.name!r} has {len(source.bands)}. It must have "
            f"the same bands, or none."
        )
    if source.times is None and where.times is not None:
        raise ArgumentError(
            f"keep has {len(where.times)} dates and {obj.name!r} has none. Pick one: "
            f"keep.isel(time=0)."
        )
    reader = Mapped(
        (source, where), Keep(), source.dtype, source.nodata, source.bands, source.times
    )
    return layer_like(obj, reader, coords=grid_coords(obj))


@dataclass(frozen=True)
class Flagged:
    """Where bit fields or whole numbers have certain values; see `geoxr.io.mapped.Rule`.

    Parameters
    ----------
    fields : tuple of (first bit, width, values)
    values : tuple of int
    keep : bool
        What the result is there.
    """

    fields: tuple[tuple[int, int, tuple[int, ...]], ...]
    values: tuple[int, ...]
    keep: bool

    holes = False
    marks = False

    def __call__(
        self, pixels: Sequence[np.ndarray], good: np.ndarray, out: np.ndarray, bands: Sequence[int]
    ) -> None:
        """Fill `out`; see `geoxr.io.mapped.Rule`."""
        # Unsigned, so that shifting the sign bit brings in zeros.
        codes = pixels[0].view(f"u{pixels[0].dtype.itemsize}")
        found = np.zeros(codes.shape, bool)
        if self.values:
            found |= np.isin(pixels[0], self.values)
        for first, width, values in self.fields:
            part = (codes >> first) & ((1 << width) - 1)
            found |= part == values[0] if len(values) == 1 else np.isin(part, values)
        out[...] = found == self.keep


def qa_mask(
    qa: xr.DataArray,
    *,
    bits: Iterable[Field] | Mapping[Field, int | Iterable[int]] | None = None,
    values: Iterable[int] | None = None,
    keep: bool = False,
) -> xr.DataArray:
    """Tell from a quality layer which pixels to use, lazily.

    Parameters
    ----------
    qa : DataArray of integers
        Bit flags such as ``QA_PIXEL`` of Landsat, or classes such as ``SCL`` of Sentinel-2.
    bits : sequence of int, or mapping of int or (first, width) to values, optional
        Bits that spoil a pixel when they are set, counted from 0 for the least significant; or
        fields of several bits with the values that do.
    values : sequence of int, optional
        Whole numbers that spoil a pixel.
    keep : bool
        True: `bits` and `values` say which pixels to use, any of them, instead of which to leave
        out.

    Returns
    -------
    DataArray of bool
        True = use the pixel, for `mask`. Without bands if `qa` has one. Invalid where `qa` is.

    Raises
    ------
    ArgumentError
        If `qa` holds no integers, a bit is not in its type, or nothing was asked for.

    Examples
    --------
    Clouds (bit 3), their shadows (bit 4), and a confidence of cirrus (bits 14 and 15) of medium or
    high, in ``QA_PIXEL`` of Landsat 8:

    >>> import numpy as np, xarray as xr, geoxr as gx
    >>> codes = np.array([[0b1000, 0b0], [0b11 << 14, 0b01 << 14]], "uint16")
    >>> qa = xr.DataArray(codes, {"y": [1.5, 0.5], "x": [0.5, 1.5]}, ("y", "x"))
    >>> gx.qa_mask(qa, bits={3: 1, 4: 1, (14, 2): [2, 3]}).values.tolist()
    [[False, True], [False, True]]
    """
    if not isinstance(qa, xr.DataArray) or qa.dtype.kind not in "iu":
        raise ArgumentError(
            f"qa is {getattr(qa, 'dtype', type(qa).__name__)}, but flags and classes are integers. "
            f"Open the file without decoding it."
        )
    qa = adopt(qa)
    whole = () if values is None else tuple(int(value) for value in values)
    fields = _fields(bits, qa.dtype)
    if not fields and not whole:
        raise ArgumentError("Say what to leave out: bits=[3, 4], or values=[8, 9].")
    (source,) = readers_of([qa])
    rule = Flagged(fields, whole, bool(keep))
    reader = Mapped((source,), rule, np.dtype(bool), None, source.bands, source.times)
    band = band_dim(qa.dims) if len(source.bands) > 1 else None
    attrs = {"long_name": f"where {qa.name or 'the quality layer'} says to use pixels"}
    return derived(qa, reader, kind="categorical", attrs=attrs, band=band, name=qa.name)


def _fields(
    bits: Iterable[Field] | Mapping[Field, int | Iterable[int]] | None, dtype: np.dtype
) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    """Bit fields as (first, width, values)."""
    if bits is None:
        return ()
    wanted = bits if isinstance(bits, Mapping) else dict.fromkeys(bits, 1)
    fields = []
    for field, value in wanted.items():
        first, width = (field, 1) if isinstance(field, int) else field
        allowed = tuple(int(v) for v in np.atleast_1d(value if np.isscalar(value) else list(value)))  # type: ignore[arg-type]
        if first < 0 or width < 1 or first + width > dtype.itemsize * 8:
            raise ArgumentError(
                f"Bits {first} to {first + width - 1} are not in {dtype}, which has bits 0 to "
                f"{dtype.itemsize * 8 - 1}."
            )
        if not allowed or not all(0 <= v < 1 << width for v in allowed):
            raise ArgumentError(
                f"{allowed} are no values of the {width} bits from {first}: they hold 0 to "
                f"{(1 << width) - 1}."
            )
        fields.append((int(first), int(width), allowed))
    return tuple(fields)

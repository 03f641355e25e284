"""Scale, offset and units of a layer: where they are written, for all bands or for each."""

from __future__ import annotations

import numpy as np
import xarray as xr

from geoxr.errors import ArgumentError
from geoxr.grid.meaning import band_dim
from geoxr.io.facts import FACTS

#: Names of the scale and the offset: those of geoxr, then those of CF.
SCALE, OFFSET = ("scale", "scale_factor"), ("offset", "add_offset")


def fact_coord(da: xr.DataArray, fact: str) -> str | None:
    """Name of the coordinate that tells a fact of the bands of a layer, or None.

    It is called as the fact is. In a Dataset where that could be taken for a fact of another layer
    it is ``<fact>_<layer>``; it is known then by its dimension, or of one band by its layer.

    Examples
    --------
    >>> da = xr.DataArray(np.zeros((2, 1, 1)), dims=("band_sar", "y", "x"))
    >>> fact_coord(da.assign_coords(scale_sar=("band_sar", [0.1, 0.2])), "scale")
    'scale_sar'
    """
    if fact in da.coords:
        return fact
    dim = band_dim(da.dims)
    for name, coord in da.coords.items():
        own = str(name).startswith(f"{fact}_") and coord.dims == (dim,)
        if own or (coord.ndim == 0 and name == f"{fact}_{da.name}"):
            return str(name)
    return None


def fact_coords(da: xr.DataArray) -> list[str]:
    """Names of all coordinates that tell what the numbers of the bands mean."""
    found = (fact_coord(da, fact) for fact in (*FACTS, *SCALE, *OFFSET))
    return sorted({name for name in found if name is not None})


def packed(da: xr.DataArray) -> bool:
    """Whether a layer has a scale or an offset."""
    return any(name in da.attrs or fact_coord(da, name) for name in (*SCALE, *OFFSET))


def packing(da: xr.DataArray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scales and offsets of a layer, one for all bands or one for each, equally many.

    Raises
    ------
    ArgumentError
        If they decode nothing, or do not belong to the bands.
    """
    scales, offsets = _numbers(da, SCALE, 1.0), _numbers(da, OFFSET, 0.0)
    number = max(len(scales), len(offsets))
    return scales * (number // len(scales)), offsets * (number // len(offsets))


def units(da: xr.DataArray) -> list[str]:
    """Units of a layer, one for all bands or one for each; empty if unknown."""
    name = fact_coord(da, "units")
    if name is not None:
        return [str(unit) for unit in da.coords[name].values.ravel()]
    return [str(da.attrs["units"])] if da.attrs.get("units") else []


def _numbers(da: xr.DataArray, names: tuple[str, ...], default: float) -> tuple[float, ...]:
    """Return one number for all bands, or one per band."""
    for name in names:
        at = fact_coord(da, name)
        if at is not None:
            found, along = da.coords[at].values, da.coords[at].dims
            if along not in ((), (band_dim(da.dims),)):
                raise ArgumentError(
                    f"The coordinate {at!r} has the dimensions {along}; a scale or offset differs "
                    f"by band at most."
                )
        elif name in da.attrs:
            found = np.asarray(da.attrs[name])
            if found.size > 1 and np.unique(found).size > 1:
                raise ArgumentError(
                    f"The attribute {name!r} has {found.size} numbers. Those of bands belong in a "
                    f"coordinate, which follows when bands are picked: "
                    f"da.assign_coords({name}=('band', [...]))."
                )
            found = np.unique(found)
        else:
            continue
        values = tuple(float(value) for value in np.atleast_1d(found))
        if not all(np.isfinite(values)) or ("scale" in name and 0.0 in values):
            raise ArgumentError(f"{name} of {da.name!r} is {values}, which decodes nothing.")
        return values
    return (default,)

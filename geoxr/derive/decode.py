"""`decode`: from stored numbers to quantities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from geoxr.derive.layers import PACKING, derived, readers_of, without
from geoxr.errors import ArgumentError
from geoxr.grid.meaning import band_dim, kind_of
from geoxr.io.dataset import map_dataset
from geoxr.io.mapped import Mapped
from geoxr.io.packing import fact_coord, fact_coords, packed, packing
from geoxr.typing import XarrayT


@dataclass(frozen=True)
class Scaled:
    """number * scale + offset in float64, per band or for all; see `geoxr.io.mapped.Rule`."""

    scales: tuple[float, ...]
    offsets: tuple[float, ...]

    holes = False
    marks = False

    def __call__(
        self, pixels: Sequence[np.ndarray], good: np.ndarray, out: np.ndarray, bands: Sequence[int]
    ) -> None:
        """Fill `out`; see `geoxr.io.mapped.Rule`."""
        for at, band in enumerate(bands):
            one = band if len(self.scales) > 1 else 0
            # An invalid pixel may be any number, so also one that overflows.
            with np.errstate(over="ignore", invalid="ignore"):
                value = pixels[0][:, at] * np.float64(self.scales[one])
                value += self.offsets[one]
                out[:, at] = value


def decode(obj: XarrayT) -> XarrayT:
    """Turn stored numbers into quantities: number * scale + offset, as float32, lazily.

    Scale and offset are the attributes ``scale`` and ``offset``, or ``scale_factor`` and
    ``add_offset`` as in CF; where bands differ, coordinates of these names along the bands. They
    are gone from the result, so that nothing is decoded twice.

    Parameters
    ----------
    obj : DataArray or Dataset
        Of a Dataset, the layers with a scale or offset are decoded.

    Returns
    -------
    DataArray or Dataset
        float32, computed in float64; NaN where it is invalid. Its ``units`` are the attribute
        ``decoded_units`` if there is one, else the ``units`` unless these are "DN", else "1"; those
        of each band where they are a coordinate.

    Raises
    ------
    ArgumentError
        If there is nothing to decode, or the layer is a label raster.

    References
    ----------
    CF Conventions 1.11, section 8.1 "Packed Data".

    Examples
    --------
    >>> import numpy as np, xarray as xr, geoxr as gx
    >>> coords = {"y": [1.5, 0.5], "x": [0.5, 1.5]}
    >>> packed = xr.DataArray(np.full((2, 2), 100, "uint8"), coords, ("y", "x"))
    >>> packed.attrs = {"scale": 0.01, "offset": -0.5, "units": "DN"}
    >>> reflectance = packed.geoxr.decode()
    >>> float(reflectance[0, 0]), reflectance.dtype.name, reflectance.attrs["units"]
    (0.5, 'float32', '1')
    """
    if isinstance(obj, xr.Dataset):
        packed = [name for name in obj.data_vars if packs(obj[name])]
        if not packed:
            raise ArgumentError("No layer of the Dataset has a scale or an offset to decode with.")
        return map_dataset(obj, lambda da: decode(da) if da.name in packed else da)
    if kind_of(obj) == "categorical":
        raise ArgumentError(
            f"{obj.name!r} is a label raster: its numbers are codes, which have no scale. If they are "
            f"quantities, open it with kind='continuous'."
        )
    if not packs(obj):
        raise ArgumentError(
            f"{obj.name!r} has nothing to decode: it has neither scale nor offset (its units are "
            f"{obj.attrs.get('units', 'unknown')!r}). Set what you know of it: "
            f"da.assign_attrs(scale=0.0001, offset=0.0).geoxr.decode()."
        )
    (source,) = readers_of([obj])
    rule = Scaled(*packing(obj))
    reader = Mapped((source,), rule, np.dtype("float32"), None, source.bands, source.times)
    attrs = without(obj.attrs, *PACKING, "units")
    unit = fact_coord(obj, "units")
    if unit is None:
        attrs["units"] = _decoded(obj, obj.attrs.get("units", "DN"))
    layer = derived(
        obj, reader, kind="continuous", attrs=attrs, band=band_dim(obj.dims), name=obj.name
    )
    if unit is not None:
        stored = layer.coords[unit]
        units = np.array([_decoded(obj, one) for one in stored.values.ravel().tolist()])
        layer = layer.assign_coords({unit: (stored.dims, units.reshape(stored.shape))})
    # The nodata values of bands have become NaN.
    return layer.drop_vars([name for name in fact_coords(obj) if name != unit])


def _decoded(da: xr.DataArray, stored: object) -> str:
    """Unit of a quantity whose numbers are stored in a unit."""
    return str(da.attrs.get("decoded_units", "1" if stored == "DN" else stored))


def packs(da: xr.DataArray) -> bool:
    """Whether a layer of quantities has a scale or an offset."""
    return kind_of(da) == "continuous" and packed(da)

"""What the numbers of a layer mean: nodata, kind and classes, and whether they are still those."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from geoxr.errors import ClassesError
from geoxr.grid.classes import Classes
from geoxr.grid.coords import GRID_MAPPING, MADE_HERE
from geoxr.typing import Kind

#: Attribute of layers whose missing pixels no number marks; a mask beside the pixels knows them.
VALIDITY = "validity"


def band_dim(dims: Iterable[Hashable]) -> str | None:
    """Name of the band dimension: "band", or "band_<layer>" where layers have different bands."""
    names = (dim for dim in dims if isinstance(dim, str))
    return next((dim for dim in names if dim == "band" or dim.startswith("band_")), None)


def nodata_of(array: xr.DataArray) -> float | int | None:
    """Number that marks missing pixels, as stored in ``attrs["nodata"]`` or the attributes of CF.

    References
    ----------
    CF Conventions 1.11, section 2.5.1 "Missing data"; rioxarray leaves ``_FillValue`` there too.
    """
    marks = (array.attrs.get(key) for key in ("nodata", "_FillValue", "missing_value"))
    value = next((mark for mark in marks if mark is not None), None)
    return np.asarray(value).item() if value is not None and np.size(value) == 1 else None


def kind_of(array: xr.DataArray) -> Kind:
    """Whether a layer has classes ("categorical") or quantities ("continuous")."""
    kind = array.attrs.get("kind")
    if array.dtype == bool:  # the answer to a comparison, whatever attributes came along
        return "categorical"
    if kind in ("categorical", "continuous"):
        return kind
    return "categorical" if "flag_values" in array.attrs else "continuous"


def classes_of(array: xr.DataArray) -> Classes | None:
    """Classes of a label raster, or None; a comparison has none.

    Raises
    ------
    ClassesError
        If the array was computed from a layer, so that its numbers may be other codes.
    """
    if array.dtype == bool:
        return None
    known = Classes.from_attrs(array.attrs)
    if known is not None and computed(array):
        raise ClassesError(
            f"{array.name!r} was computed, and its attributes still name the {len(known)} classes of "
            f"the layer it was computed from, whose codes it may not have any more. If it has, say "
            f"so: da.geoxr.write_classes(label.geoxr.classes); if not, drop them: "
            f"del da.attrs['flag_values'], da.attrs['flag_meanings']."
        )
    return known


def made_here(array: xr.DataArray) -> bool:
    """Whether geoxr made the layer that this array is, or was computed from."""
    reference = array.coords.get(GRID_MAPPING)
    if reference is None:
        return "kind" in array.attrs and not {"y", "x"} <= set(array.dims)
    return GRID_MAPPING in array.xindexes or reference.encoding.get("source") == MADE_HERE


def computed(array: xr.DataArray) -> bool:
    """Whether xarray made new numbers of those of a layer; to load it, or a part, does not.

    xarray carries attributes through arithmetic. What changes numbers loses the encoding of the array,
    or the index of its CRS.
    """
    untouched = GRID_MAPPING in array.xindexes and "grid_mapping" in array.encoding
    return made_here(array) and not untouched


def layer_attrs(
    *,
    kind: Kind,
    nodata: float | None,
    masked: bool,
    classes: Classes | None,
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """Attributes of a layer."""
    attrs = {key: value for key, value in extra.items() if key != VALIDITY}
    attrs["kind"] = kind
    if masked:
        attrs[VALIDITY] = "mask"
    if nodata is not None:
        attrs["nodata"] = nodata
    if classes is not None:
        attrs.update(classes.to_attrs())
    return attrs

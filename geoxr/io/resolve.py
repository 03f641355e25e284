"""From a DataArray back to the reader behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoxr.errors import CRSMismatchError, GridError, ValidityError
from geoxr.grid.adopt import adopt
from geoxr.grid.crs import crs_name, same_crs
from geoxr.grid.geobox import geobox_of
from geoxr.grid.meaning import VALIDITY, band_dim, computed, made_here, nodata_of
from geoxr.io.array import ArrayReader
from geoxr.io.facts import storable
from geoxr.io.layer import DIMS, LayerArray
from geoxr.io.picks import Picked
from geoxr.io.reader import WindowReader
from geoxr.io.unwrap import as_stored, layer_behind, only_read, picks_of, pixels_of, why_slow
from geoxr.io.views import Cropped, Labelled


@dataclass(frozen=True)
class Resolved:
    """The reader of a DataArray on the grid of that DataArray.

    Attributes
    ----------
    reader : WindowReader
        Its grid, bands and times are exactly those of the DataArray.
    slow : str or None
        Why windows go through xarray instead of straight to the source; None on the fast path.
    """

    reader: WindowReader
    slow: str | None


def resolve(
    array: xr.DataArray, validity: xr.DataArray | None = None, *, trust_nodata: bool = False
) -> Resolved:
    """Find the reader of a layer, whatever was selected from it.

    Parameters
    ----------
    array : DataArray
        With dimensions out of ``time, band, y, x``.
    validity : DataArray of bool, optional
        Says which pixels are valid, where no reader behind `array` does.
    trust_nodata : bool
        Take computed integers as they are, valid everywhere.

    Raises
    ------
    ValidityError
        If nobody knows which pixels are valid: integers with a nodata attribute were computed, or a
        layer with a mask was turned in a way that loses it.
    """
    array = adopt(array)
    geobox = geobox_of(array)
    layer = layer_behind(array.variable)
    if layer is not None:
        _check_crs(array, layer.reader.geobox.crs, geobox.crs)
        reader = _selected(array.variable, layer, geobox)
        if reader is not None:
            return Resolved(_labelled(reader, array), _slow_source(reader))
    if not trust_nodata:
        _check_validity(array, validity)
    through = _array_reader(array, geobox, validity)
    reason = _slow_source(through) if layer is None else "its dimensions were exchanged"
    return Resolved(through, reason)


def _slow_source(reader: WindowReader) -> str | None:
    """Why one of the arrays at the ends of a tree of readers is slow, if one is."""
    if isinstance(reader, ArrayReader):
        return why_slow(reader.pixels)
    sources: tuple[WindowReader, ...] = getattr(reader, "sources", ())
    if not sources and hasattr(reader, "source"):
        sources = (reader.source,)
    return next(filter(None, map(_slow_source, sources)), None)


def nodata(array: xr.DataArray) -> float | int | None:
    """Number that marks missing pixels of a layer, or None.

    Raises
    ------
    ValidityError
        If `array` was computed or loaded, so that its attribute may mark nothing any more.
    """
    layer = layer_behind(array.variable)
    if layer is not None:
        return layer.reader.nodata
    _check_validity(array, None)
    return None if array.dtype == bool else nodata_of(array)


def _check_validity(array: xr.DataArray, validity: xr.DataArray | None) -> None:
    """Raise if nobody knows which pixels of `array` are valid."""
    if validity is not None:
        return
    layer = layer_behind(array.variable)
    if layer is not None:
        if layer.reader.masked:
            raise ValidityError(
                f"The dimensions of {array.name!r} were exchanged or its pixels picked one by one, "
                f"which loses the mask that says where it is valid. Work on the layer before that."
            )
        return
    if made_here(array) and "kind" not in array.attrs and array.dtype != bool:
        raise ValidityError(
            f"{array.name!r} was computed, which dropped its attributes, so nobody knows which pixels "
            f"are missing. Say what marks them: da.geoxr.write_nodata(0), or float('nan') for NaN; or "
            f"that nothing does: da.assign_attrs(kind='continuous')."
        )
    # A comparison has an answer everywhere: False where it was asked of a missing pixel.
    if array.dtype == bool:
        return
    if array.attrs.get(VALIDITY):
        raise ValidityError(
            f"{array.name!r} was computed, loaded or chunked, which leaves behind the mask that says "
            f"where it is valid. Keep the layer lazy; or put it into a Dataset first, gx.merge({{...}}), "
            f"which takes the mask along; or say that all pixels are valid: del da.attrs['{VALIDITY}']."
        )
    number = nodata_of(array)
    if number is None or number != number or _as_stored(array):
        return
    raise ValidityError(
        f"{array.name!r} was computed or loaded, so its attribute nodata = {number} may no longer "
        f"mark missing pixels. If it does, say so: da.geoxr.write_nodata({number}); if not, or if NaN "
        f"marks them, drop it: del da.attrs['nodata']. Or keep the layer lazy."
    )


def _as_stored(array: xr.DataArray) -> bool:
    """Whether the numbers of an array are still those of a file, so that its nodata marks them."""
    if as_stored(array.variable) or only_read(array.variable, "open_rasterio"):
        return True
    ours = made_here(array) and not computed(array)
    return ours and only_read(array.variable, "xarray-", "original-xarray-")


def _check_crs(array: xr.DataArray, pixels: CRS | None, written: CRS | None) -> None:
    """Raise if the CRS coordinate of another layer came over this one.

    ``ds["name"] = layer``, ``assign_coords`` and ``join="override"`` do that without asking an index.
    """
    if pixels is None or written is None or same_crs(pixels, written):
        return
    raise CRSMismatchError(
        f"The pixels of {array.name!r} are in {crs_name(pixels)}, but its coordinate spatial_ref says "
        f"{crs_name(written)}. It came from another layer, by assignment or an override. Put layers "
        f"together with gx.merge({{...}}), which aligns them; if the coordinate is right, say so: "
        f'da.geoxr.write_crs("{crs_name(written)}").'
    )


def _selected(variable: xr.Variable, layer: LayerArray, geobox: GeoBox) -> WindowReader | None:
    """Express slices, steps, flips, lists and transposition of a layer as a reader of its own."""
    picks = picks_of(variable, layer)
    if picks is None:
        return None
    source = layer.reader
    rows, cols = _as_range(picks["y"]), _as_range(picks["x"])
    if rows is None or cols is None:
        return None
    bands = _unless_all(picks.get("band"), len(source.bands))
    times = _unless_all(picks.get("time"), len(source.times or (0,)))
    timeless = source.times is not None and "time" not in variable.dims
    straight = rows.step == cols.step == 1
    # The grid says what is so: coordinates or CRS may have been written anew.
    if straight and geobox == source.geobox and bands is None and times is None and not timeless:
        return source
    corner = (rows.start, cols.start) if straight else (0, 0)
    if not straight:
        source = Picked(source, geobox, rows, cols)
    return Cropped(source, geobox, *corner, bands, times, timeless=timeless)


def _labelled(reader: WindowReader, array: xr.DataArray) -> WindowReader:
    """Name bands and time steps as the coordinates do, which may have been written anew."""
    bands, times = reader.bands, reader.times
    names, dates = bands, times
    dim = band_dim(array.dims)
    if dim is not None and dim in array.coords:
        names = tuple(str(label) for label in array[dim].values)
    if times is not None and "time" in array.coords and array["time"].dtype.kind == "M":
        labels = array["time"].values
        same = np.array_equal(labels, np.array(times, labels.dtype))
        dates = times if same else tuple(labels)
    return reader if (names, dates) == (bands, times) else Labelled(reader, names, dates)


def _as_range(picked: Sequence[int]) -> range | None:
    """Evenly spaced positions as a range, else None."""
    if isinstance(picked, range) and len(picked) > 1:
        return picked
    first, step = picked[0], picked[1] - picked[0] if len(picked) > 1 else 1
    even = range(first, first + step * len(picked), step) if step else range(0)
    return even if list(picked) == list(even) else None


def _unless_all(picked: Sequence[int] | None, size: int) -> tuple[int, ...] | None:
    if picked is None or list(picked) == list(range(size)):
        return None
    return tuple(picked)


def _array_reader(
    array: xr.DataArray, geobox: GeoBox, validity: xr.DataArray | None
) -> ArrayReader:
    layer = layer_behind(array.variable)
    bands, variable = canonical(array)
    nodata = layer.reader.nodata if layer is not None else None
    if layer is None and _as_stored(array):
        nodata = stored_nodata(array)
    good = None if validity is None else pixels_of(canonical(adopt(validity))[1])
    return ArrayReader(pixels_of(variable), geobox, bands, times_of(array), nodata, good)


def stored_nodata(array: xr.DataArray) -> float | int | None:
    """Return the fill value that an array was stored with, as a number that marks its pixels.

    NaN marks none, since it is invalid without being named.
    """
    value = nodata_of(array)
    if not isinstance(value, int | float) or value != value:
        return None
    return storable(value, array.dtype)


def times_of(array: xr.DataArray) -> tuple[np.datetime64, ...] | None:
    """Time steps of an array, or None.

    Raises
    ------
    GridError
        If they are no dates.
    """
    if "time" not in array.dims:
        return None
    values = np.asarray(array["time"].values)
    if values.dtype.kind != "M":
        raise GridError(
            f"The dimension 'time' of {array.name!r} has {values.dtype} labels, not dates. Give "
            f"dates: da.assign_coords(time=pandas.to_datetime([...])), or convert the calendar: "
            f'da.convert_calendar("standard").'
        )
    return tuple(values)


def canonical(array: xr.DataArray) -> tuple[tuple[str, ...], xr.Variable]:
    """Names of the bands, and the variable with its band dimension called "band".

    Raises
    ------
    GridError
        If it has dimensions that a layer does not have.
    """
    dim = band_dim(array.dims)
    strange = [str(d) for d in array.dims if d != dim and d not in DIMS]
    if strange:
        raise GridError(
            f"{array.name!r} has the dimension {strange[0]!r} of length {array.sizes[strange[0]]}. A "
            f"layer has time, band, y and x. Pick one of it: da.isel({strange[0]}=0); or make it the "
            f"bands: da.rename({strange[0]}='band')."
        )
    if dim is None:
        return ("1",), array.variable
    labels = array[dim].values if dim in array.coords else range(1, array.sizes[dim] + 1)
    dims = ["band" if name == dim else name for name in array.dims]
    variable = xr.Variable(dims, array.variable._data, array.attrs)
    return tuple(str(label) for label in labels), variable

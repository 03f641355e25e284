"""`cache`: layers aligned and computed once, then read from disk."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from geoxr.errors import NotARasterError, OutputExistsError
from geoxr.export.zarr import to_zarr
from geoxr.io.dataset import layer_names, layer_reader, with_validity
from geoxr.io.layer import grid_coords, layer_like
from geoxr.io.open import open_zarr
from geoxr.io.resolve import resolve
from geoxr.io.tokens import fingerprint
from geoxr.typing import PathLike, XarrayT

#: Attribute of a store that says what it was made of.
_SOURCE = "geoxr_source"


def cache(
    obj: XarrayT, path: PathLike, *, overwrite: bool = False, progress: bool = False
) -> XarrayT:
    """Write layers to a Zarr store once, and return them as lazy layers that read from there.

    A store that was made of the same layers is used again, without reading any pixel: the same
    files (path, size and time of writing), grids, resampling and functions (their own code, not
    that of what they call). One that was made of others is left alone, and an error says so.

    Parameters
    ----------
    obj : DataArray or Dataset
    path : path
        Of the store, which appears when it is complete.
    overwrite : bool
        Replace a store that was made of something else.
    progress : bool
        Show a progress bar while writing.

    Returns
    -------
    DataArray or Dataset
        With the same names, coordinates, attributes, types and validity.

    Raises
    ------
    OutputExistsError
        If the path is taken by anything but a cache of these layers.
    ArgumentError
        If something in the layers, such as an object inside of a function, cannot be recognised
        when it comes again.
    """
    ds = obj.to_dataset(name=_name(obj)) if isinstance(obj, xr.DataArray) else obj
    source = _fingerprint(ds)
    found = _made_of(path)
    if found is None or (overwrite and found != source):
        stamped = ds.assign_attrs({_SOURCE: source})
        to_zarr(stamped, path, overwrite=overwrite, progress=progress)
    elif found != source:
        raise OutputExistsError(
            f"{path} holds {'other layers' if found else 'something else'}: their files, grid, "
            f"resampling or functions differ from these. Pass overwrite=True to replace them, or "
            f"another path."
        )
    stored = open_zarr(path)
    if isinstance(obj, xr.DataArray):
        return _like(obj, stored, _name(obj))
    layers: dict[str, xr.DataArray] = {}
    for name in layer_names(ds):
        layers |= with_validity(_like(ds[name], stored, name), name)
    return ds.drop_vars([name for name in layers if name in ds]).assign(layers)[list(ds.data_vars)]


def _name(da: xr.DataArray) -> str:
    return str(da.name or "layer")


def _fingerprint(ds: xr.Dataset) -> str:
    """Text that is the same for the same layers, and for no others."""
    parts = [(name, ds[name].dims, layer_reader(ds, name)) for name in layer_names(ds)]
    instead = "Write them with to_zarr(path) and open them with gx.open_zarr(path) instead."
    return fingerprint(parts, instead=instead)


def _made_of(path: PathLike) -> str | None:
    """What a store says it was made of; "" where it does not say, None where there is nothing."""
    if not Path(path).exists():
        return None
    try:
        return str(open_zarr(path).attrs.get(_SOURCE, ""))
    except NotARasterError:
        return ""


def _like(da: xr.DataArray, stored: xr.Dataset, name: str) -> xr.DataArray:
    """Return a layer that is `da` but for where it is read from."""
    return layer_like(da, resolve(stored[name]).reader, coords=grid_coords(da))

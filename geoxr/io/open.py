"""`open_zarr`: the layers of a Zarr store, whoever wrote it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from geoxr.errors import ArgumentError, MissingFileError, NotARasterError, ValidityError
from geoxr.grid.adopt import PLACING, adopt
from geoxr.grid.coords import GRID_MAPPING, coords_of
from geoxr.grid.geobox import geobox_of
from geoxr.grid.meaning import VALIDITY
from geoxr.io.array import ArrayReader
from geoxr.io.layer import grid_coords, layer_like
from geoxr.io.resolve import canonical, stored_nodata, times_of
from geoxr.io.unwrap import pixels_of
from geoxr.typing import PathLike


def open_zarr(
    store: PathLike, *, group: str | None = None, variables: Sequence[str] | None = None
) -> xr.Dataset:
    """Open the layers of a Zarr store as a lazy Dataset. Reads coordinates, no pixels.

    Stores of `to_zarr` come back as they were written. Those of xarray, rioxarray, odc-geo and GDAL
    open as well: numbers stay as they are stored, ``_FillValue`` becomes ``nodata``, and
    ``scale_factor`` and ``add_offset`` become ``scale`` and ``offset``.

    Parameters
    ----------
    store : path
        Of a store of version 2 or 3, sharded or not.
    group : str, optional
        Group in the store, as "measurements/r10m".
    variables : sequence of str, optional
        Variables to open; needed where those of a group are on several grids.

    Returns
    -------
    Dataset

    Raises
    ------
    MissingFileError, NotARasterError
        If there is no store, or it holds no layers.
    GridError
        If the variables are on several grids.
    """
    if "://" in str(store):
        raise ArgumentError(
            f"{store} is not on a local disk, and remote stores are not read here yet. Open its "
            f"variables with xarray, which geoxr takes as they are: xr.open_zarr({str(store)!r})."
        )
    path = Path(store)
    raw = _opened(path, group, variables)
    raw = adopt(raw)
    names = [str(n) for n, v in raw.data_vars.items() if {"y", "x"} <= set(v.dims)]
    if not names:
        raise NotARasterError(_nothing_in(path, group, raw))
    grid = geobox_of(raw)
    coords = grid_coords(raw) if GRID_MAPPING in raw.coords else coords_of(grid)
    for coord in raw.coords.values():
        if not {"y", "x"} & set(coord.dims):
            coord.load()
    layers = {name: _layer(raw, name, coords) for name in names}
    return xr.Dataset(layers, attrs={k: v for k, v in raw.attrs.items() if k not in PLACING})


def _opened(path: Path, group: str | None, variables: Sequence[str] | None) -> xr.Dataset:
    """Open a store with xarray, without decoding pixels."""
    import zarr

    if not path.exists():
        raise MissingFileError(f"{path} does not exist (looked in {Path.cwd()}).")
    try:
        found = zarr.open_group(path, path=group, mode="r")
        raw = xr.open_dataset(
            path,
            engine="zarr",
            group=group,
            chunks=None,
            cache=False,
            mask_and_scale=False,
            decode_coords=True,
            # Said outright, since xarray warns where it has to find out.
            consolidated=found.metadata.consolidated_metadata is not None and group is None,
        )
    except Exception as error:
        raise NotARasterError(
            f"{path} is not a Zarr store that can be opened ({error})."
        ) from error
    if variables is None:
        return raw
    missing = set(variables) - set(map(str, raw.data_vars))
    if missing:
        found_names = sorted(str(name) for name, v in raw.data_vars.items() if v.dims)
        raise ArgumentError(
            f"{path} has no variable {sorted(missing)}. It has {', '.join(found_names)}."
        )
    kept = [*variables, *(n for n, v in raw.data_vars.items() if not v.dims)]
    return raw[list(dict.fromkeys(kept))]


def _nothing_in(path: Path, group: str | None, raw: xr.Dataset) -> str:
    import zarr

    found = sorted(name for name, _ in zarr.open_group(path, path=group, mode="r").groups())
    where = f"{path}" if group is None else f"Group {group!r} of {path}"
    if found:
        return f"{where} holds no layers itself, but groups: {', '.join(found)}. Pass group=."
    listed = ", ".join(f"{name} {tuple(v.dims)}" for name, v in raw.data_vars.items()) or "nothing"
    return f"{where} holds no variables with the dimensions y and x, but {listed}."


def _layer(raw: xr.Dataset, name: str, coords: dict[str, xr.Variable]) -> xr.DataArray:
    array = raw[name]
    bands, variable = canonical(array)
    partner = str(array.attrs.get("ancillary_variables"))
    validity = raw[partner] if partner in raw.data_vars and raw[partner].dtype == bool else None
    if array.attrs.get(VALIDITY) and validity is None:
        raise ValidityError(
            f"The mask of {name!r} was not written along with it, so nobody knows which pixels are "
            f"missing. Write layers with ds.geoxr.to_zarr(path), which takes masks along; or name the "
            f"others: variables=[...]."
        )
    array.attrs = _attributes(array)
    reader = ArrayReader(
        pixels_of(variable),
        geobox_of(array),
        bands,
        times_of(array),
        array.attrs.get("nodata"),
        None if validity is None else pixels_of(canonical(validity)[1]),
    )
    return layer_like(array, reader, coords=coords)


def _attributes(array: xr.DataArray) -> dict[Hashable, Any]:
    """Attributes of a stored variable in the words of geoxr."""
    attrs = {key: value for key, value in array.attrs.items() if key not in PLACING}
    for key in ("nodata", "_FillValue", "missing_value"):
        attrs.pop(key, None)
    nodata = stored_nodata(array)
    if nodata is not None:
        attrs["nodata"] = nodata
    scale, offset = attrs.pop("scale_factor", None), attrs.pop("add_offset", None)
    if scale is not None or offset is not None:
        attrs["scale"] = 1.0 if scale is None else float(scale)
        attrs["offset"] = 0.0 if offset is None else float(offset)
    return attrs

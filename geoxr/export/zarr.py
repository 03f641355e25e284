"""Datasets to Zarr."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError
from geoxr.export.staged import staged
from geoxr.grid.coords import GRID_MAPPING, spatial_ref
from geoxr.grid.geobox import crs_of, extent, geobox_of
from geoxr.grid.meaning import band_dim
from geoxr.grid.quiet import quiet
from geoxr.grid.window import Window
from geoxr.io.dataset import VALID_SUFFIX, layer_names, layer_reader
from geoxr.io.reader import WindowReader, everything
from geoxr.io.views import Validity
from geoxr.typing import PathLike


def to_zarr(
    ds: xr.Dataset | xr.DataArray,
    store: PathLike,
    *,
    chunks: int = 256,
    shards: int | None = 2048,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write all layers on their grid into a Zarr store, shard by shard, in bounded memory.

    Parameters
    ----------
    ds : Dataset or DataArray
    store : path
        Of a directory that appears when everything is written.
    chunks : int [pixel]
        Edge of a chunk, the piece that is decoded at once.
    shards : int or None [pixel]
        Edge of a file; a multiple of `chunks`. None: a file per chunk.
    overwrite : bool
        Replace a store that exists.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Path
        Of the store; `geoxr.open_zarr` opens it.

    Raises
    ------
    OutputExistsError, DiskFullError
        Nothing is left under the final name.

    References
    ----------
    CF Conventions 1.11, sections 3.5 and 5.6; Zarr conventions ``spatial:`` and ``proj:``, version 0.1.
    """
    if isinstance(ds, xr.DataArray):
        ds = ds.to_dataset(name=ds.name or "layer")
    if chunks < 1 or (shards is not None and (shards < chunks or shards % chunks)):
        raise ArgumentError(f"shards must be a multiple of chunks, not {shards} and {chunks}.")
    readers: dict[str, WindowReader] = {}
    for name in layer_names(ds):
        readers[name] = layer_reader(ds, name)
        if readers[name].masked:
            readers[f"{name}{VALID_SUFFIX}"] = Validity(readers[name])
    if not readers:
        raise ArgumentError("The Dataset has no variable with the dimensions y and x.")
    with staged(store, overwrite=overwrite) as temporary:
        template = _template(ds, readers)
        arrays = create_store(temporary, template, chunks=chunks, shards=shards)
        windows = extent(geobox_of(ds)).tiles(shards or chunks)
        tasks = [(name, window) for window in windows for name in readers]
        for name, window in _shown(tasks, progress, "to_zarr"):
            _write(arrays[name], readers[name], window)
    return Path(store)


def _shown(tasks: list[Any], progress: bool, label: str) -> Iterator[Any]:
    from tqdm.auto import tqdm

    yield from tqdm(tasks, desc=label, disable=not progress)


def _write(array: Any, reader: WindowReader, window: Window) -> None:
    bands, times = everything(reader)
    block = np.empty((len(times), len(bands), window.height, window.width), reader.dtype)
    reader.read(window, block, None, bands=bands, times=times)
    rows, cols = window.slices
    array[..., rows, cols] = block.reshape(*array.shape[:-2], window.height, window.width)


def _template(ds: xr.Dataset, readers: dict[str, WindowReader]) -> xr.Dataset:
    """Return the Dataset with nothing in it, as it will be stored."""
    import dask.array

    variables = {}
    for name, reader in readers.items():
        base = ds.get(name)
        parent = ds[name.removesuffix(VALID_SUFFIX)] if base is None else base
        band = None if base is None else band_dim(base.dims)
        order = ("time", band, "y", "x")
        dims = tuple(dim for dim in order if dim is not None and dim in parent.dims)
        shape = tuple(ds.sizes[dim] for dim in dims)
        attrs = dict(base.attrs) if base is not None else {"kind": "categorical"}
        if f"{name}{VALID_SUFFIX}" in readers:
            attrs["ancillary_variables"] = f"{name}{VALID_SUFFIX}"
        empty = dask.array.zeros(shape, dtype=reader.dtype, chunks=-1)
        variables[name] = xr.Variable(dims, empty, attrs)
    grid = geobox_of(ds)
    kept = {dim for variable in variables.values() for dim in variable.dims}
    coords = {key: value.variable for key, value in ds.coords.items() if set(value.dims) <= kept}
    coords[GRID_MAPPING] = spatial_ref(crs_of(ds), grid.affine)
    return xr.Dataset(variables, coords=coords, attrs=ds.attrs)


def create_store(
    path: Path, template: xr.Dataset, *, chunks: int, shards: int | None
) -> dict[str, Any]:
    """Write everything but the pixels and return the arrays to fill, by name."""
    import zarr
    from zarr.codecs import BloscCodec

    grid = geobox_of(template)
    conventions = _conventions(grid)
    encoding: dict[str, dict[str, Any]] = {}
    stored = template.copy()
    for name, variable in template.data_vars.items():
        chunk = tuple(min(chunks, variable.sizes[d]) if d in ("y", "x") else variable.sizes[d]
                      for d in variable.dims)  # fmt: skip
        codec = BloscCodec(cname="lz4", shuffle="bitshuffle", typesize=variable.dtype.itemsize)
        encoding[str(name)] = {"chunks": chunk, "compressors": (codec,)}
        if shards is not None:
            sides = [shards if d in ("y", "x") else variable.sizes[d] for d in variable.dims]
            # A shard of a small layer is the layer, rounded up to whole chunks.
            encoding[str(name)]["shards"] = tuple(
                min(side, -(-variable.sizes[d] // c) * c)
                for side, c, d in zip(sides, chunk, variable.dims, strict=True)
            )
        stored[name].attrs.update(conventions, grid_mapping=GRID_MAPPING)
        stored[name].encoding = {}
        # _FillValue would turn labels into floats; the fill value of Zarr is only what a chunk holds
        # that was never written.
        encoding[str(name)]["_FillValue"] = None
        if "nodata" in variable.attrs:
            encoding[str(name)]["fill_value"] = variable.dtype.type(variable.attrs["nodata"])
    stored.attrs.update(conventions)
    # Zarr 3 has no final specification of strings and of consolidated metadata yet.
    with quiet(message=".*(Zarr format 3|Zarr V3) specification|.*Consolidated metadata"):
        stored.to_zarr(path, mode="w", compute=False, encoding=encoding, zarr_format=3)
    group = zarr.open_group(path, mode="r+")
    return {str(name): group[str(name)] for name in template.data_vars}


def _conventions(grid: GeoBox) -> dict[str, Any]:
    """Grid in the attributes of the Zarr conventions (transform in affine order)."""
    attrs: dict[str, Any] = {
        "zarr_conventions": [{"name": "spatial:"}, {"name": "proj:"}],
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": [float(value) for value in list(grid.affine)[:6]],
        "spatial:shape": [grid.height, grid.width],
        "spatial:registration": "pixel",
    }
    if grid.crs is not None:
        if grid.crs.epsg is not None:
            attrs["proj:code"] = f"EPSG:{grid.crs.epsg}"
        attrs["proj:wkt2"] = grid.crs.to_wkt()
    return attrs

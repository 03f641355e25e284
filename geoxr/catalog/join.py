"""`mosaic`: layers of the same bands as one layer that covers them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.catalog.alike import MEANING
from geoxr.catalog.merge import joined
from geoxr.catalog.mosaic import Mosaic
from geoxr.catalog.overlap import check_overlap_rule
from geoxr.catalog.sources import LayerScenes
from geoxr.errors import ArgumentError
from geoxr.grid.adopt import adopt
from geoxr.grid.crs import require_crs, same_crs
from geoxr.grid.geobox import geobox_of, lattice_offset, same_grid
from geoxr.grid.meaning import classes_of, kind_of
from geoxr.io.layer import grid_coords, layer_like
from geoxr.io.packing import fact_coord
from geoxr.io.reader import WindowReader
from geoxr.io.resolve import resolve
from geoxr.typing import Overlap, Resampling
from geoxr.warp.reproject import check_complex, check_resampling, pick_resampling


def mosaic(
    layers: Sequence[xr.DataArray],
    *,
    overlap: Overlap = "first",
    like: xr.DataArray | xr.Dataset | GeoBox | None = None,
    resampling: Resampling | None = None,
) -> xr.DataArray:
    """Lay layers of the same bands over each other as one layer. Reads no pixel.

    Parameters
    ----------
    layers : sequence of DataArray
        With the same bands, type, kind, classes, units and dates; lazy or loaded. They are not
        changed.
    overlap : {"first", "last", "mean", "median", "min", "max", "count"}
        Which layer wins, or how they are combined, where several are valid; per pixel and band.
    like : DataArray, Dataset or GeoBox, optional
        The grid. Default: that of the first layer, grown on its own lattice until it covers all.
    resampling : str, optional
        For layers on other lattices than that; as for `geoxr.reproject`.

    Returns
    -------
    DataArray
        Layers on the lattice of the grid keep their pixels as they are. Where layers mark missing
        pixels by different numbers the result has none of them, and its validity tells.

    Raises
    ------
    ArgumentError
        If layers differ in bands, type, kind, classes, units or dates; both are named.
    MissingCRSError
        If some layers have a CRS and some have none.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> tile = xr.DataArray(
    ...     np.ones((2, 2), "uint8"), dims=("y", "x"), coords={"y": [35.0, 25.0], "x": [5.0, 15.0]}
    ... )
    >>> below = (tile + np.uint8(1)).assign_coords(y=[15.0, 5.0])
    >>> mosaic([tile, below]).values[:, 0]
    array([1, 1, 2, 2], dtype=uint8)
    """
    layers = list(layers)
    _check_layers(layers)
    layers = [adopt(layer) for layer in layers]
    sources = [resolve(layer).reader for layer in layers]
    first = layers[0]
    kind = kind_of(first)
    check_overlap_rule(overlap, kind, sources[0].dtype)
    check_resampling(resampling)
    _check_alike(layers, sources)
    known = {_name(layers, i): source for i, source in enumerate(sources)}
    if like is None:
        grid = joined(geobox_of(first), known, "outer")
    else:
        grid = like if isinstance(like, GeoBox) else geobox_of(like)
    sliced = np.array([lattice_offset(source.geobox, grid) is not None for source in sources])
    for i in np.flatnonzero(~sliced)[:1]:
        resampling = pick_resampling(resampling, kind, sources[i].geobox, grid)
        check_complex(sources[i].dtype, resampling)
    scenes = LayerScenes.of(tuple(sources), grid, resampling or "nearest", free=like is None)
    coords = grid_coords(first) if same_grid(geobox_of(first), grid) else None
    result = layer_like(first, Mosaic(scenes, overlap), coords=coords)
    return result if overlap != "count" else as_count(result)


def as_count(layer: xr.DataArray) -> xr.DataArray:
    """Describe a number of scenes as what it is, whatever the scenes showed."""
    layer = layer.copy(deep=False)
    layer.attrs = {"kind": "continuous", "units": "1", "long_name": "number of valid scenes"}
    return layer


def _check_layers(layers: Sequence[Any]) -> None:
    if not layers:
        raise ArgumentError(
            "There is no layer to lay out. Pass a list: gx.mosaic([first, second])."
        )
    for i, layer in enumerate(layers):
        if not isinstance(layer, xr.DataArray):
            raise ArgumentError(f"Layer {i + 1} is a {type(layer).__name__}, not a DataArray.")


def _name(layers: Sequence[xr.DataArray], i: int) -> str:
    """Name of a layer in messages; layers of a list often share theirs."""
    return f"{i + 1}" if layers[i].name is None else f"{i + 1} ({layers[i].name})"


def _check_alike(layers: Sequence[xr.DataArray], sources: Sequence[WindowReader]) -> None:
    """Raise if layers cannot be one."""
    facts = [_facts(layer, source) for layer, source in zip(layers, sources, strict=True)]
    crs = sources[0].geobox.crs
    for i, other in enumerate(facts[1:], 1):
        for what, value in facts[0].items():
            if repr(value) != repr(other[what]):
                raise ArgumentError(
                    f"Layer {_name(layers, 0)} has {what} {value}, layer {_name(layers, i)} has "
                    f"{other[what]}. Layers of one mosaic share bands, type, kind, classes, units and "
                    f"dates. Make them alike, or keep them apart with gx.merge."
                )
        if not same_crs(sources[i].geobox.crs, crs):
            require_crs(sources[0].geobox, f"Layer {_name(layers, 0)}")
            require_crs(sources[i].geobox, f"Layer {_name(layers, i)}")


def _facts(layer: xr.DataArray, source: WindowReader) -> dict[str, Any]:
    classes = classes_of(layer)
    named = None if classes is None else dict(zip(classes.values, classes.names, strict=True))
    times = None if source.times is None else [str(time) for time in source.times]
    facts: dict[str, Any] = {
        "bands": list(source.bands),
        "type": str(source.dtype),
        "kind": kind_of(layer),
    }
    facts |= {"classes": named, "dates": times}
    meant = {key: layer.attrs.get(key) for key in MEANING if not key.startswith("flag_")}
    for key in meant:
        if (at := fact_coord(layer, key)) is not None:
            meant[key] = layer.coords[at].values.tolist()
    return facts | meant

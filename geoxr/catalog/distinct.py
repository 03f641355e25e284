"""Coordinates of one layer that must not be taken for those of another in the same Dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from geoxr.grid.coords import GRID_MAPPING
from geoxr.grid.meaning import band_dim, kind_of
from geoxr.io.facts import FACTS
from geoxr.io.resolve import canonical


def distinct(layers: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """Rename to ``<coordinate>_<layer>`` what belongs to one layer alone.

    Layers with other bands than the first get a band dimension of their own, ``band_<layer>``. On a
    shared one xarray would join the names of the bands and fill up with NaN. Scales, offsets and
    units of bands keep their names only where all images share them; coordinates without dimensions,
    such as the date of a layer, only where all layers do. Otherwise xarray would give them to every
    layer as soon as one band is selected.
    """
    bands = {name: _bands(layer) for name, layer in layers.items() if band_dim(layer.dims)}
    first = next(iter(bands.values()), None)
    images = [name for name, layer in layers.items() if kind_of(layer) == "continuous"]
    shared = all(bands.get(name) == first for name in images)
    everywhere = _everywhere(list(layers.values()))
    result = {}
    for name, layer in layers.items():
        own = bands.get(name) != first
        changes = {c: c for c, v in layer.coords.items() if not v.dims and c not in everywhere}
        dim = band_dim(layer.dims)
        if dim is not None:
            along = [c for c, v in layer.coords.items() if v.dims == (dim,) and c != dim]
            before = dim.removeprefix("band")  # of a Dataset that the layer comes from
            changes |= {
                c: str(c).removesuffix(before) for c in along if own or (c in FACTS and not shared)
            }
            if own:
                changes[dim] = "band"
        renamed = {
            old: base if str(base).endswith(f"_{name}") else f"{base}_{name}"
            for old, base in changes.items()
        }
        result[name] = layer.rename({old: new for old, new in renamed.items() if old != new})
    return result


def _bands(layer: xr.DataArray) -> tuple[Any, ...]:
    """Names of the bands, and what is known of each."""
    facts = (layer[c].values.tolist() if c in layer.coords else None for c in FACTS)
    return (canonical(layer)[0], *map(repr, facts))


def _everywhere(layers: list[xr.DataArray]) -> set[Any]:
    """Names of coordinates without dimensions that are the same in all layers."""
    first = layers[0]
    return {GRID_MAPPING} | {
        name
        for name, coord in first.coords.items()
        if all(
            name in layer.coords and layer.coords[name].variable.equals(coord.variable)
            for layer in layers
        )
    }

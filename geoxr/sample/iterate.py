"""Chips as Datasets, one by one."""

from __future__ import annotations

from collections.abc import Iterator

import xarray as xr

from geoxr.errors import GridError
from geoxr.grid.geobox import extent, geobox_of, same_grid
from geoxr.io.dataset import layer_names, layer_reader, validity_layer
from geoxr.io.layer import grid_coords, layer_like
from geoxr.io.views import Cropped
from geoxr.sample.chip import Chip, ChipPlan


def iter_chips(ds: xr.Dataset, plan: ChipPlan) -> Iterator[xr.Dataset]:
    """Yield chips as Datasets in memory, with coordinates.

    Parameters
    ----------
    ds : Dataset
    plan : ChipPlan
        Made for the grid of `ds`.

    Yields
    ------
    Dataset
        Dimensions ``y`` and ``x`` of the size of a chip; the scalar coordinate ``chip`` is its
        number. What lies outside of the grid is filled with nodata.
    """
    check_plan(ds, plan)
    whole = extent(plan.geobox)
    for chip in plan:
        if chip.window & whole == chip.window:
            rows, cols = chip.window.slices
            part = ds.isel(y=rows, x=cols).copy()
        else:
            part = _padded(ds, chip)
        yield part.load().assign_coords(chip=chip.index)


def check_plan(ds: xr.Dataset, plan: ChipPlan) -> None:
    """Raise `GridError` if a plan was made for another grid."""
    geobox = geobox_of(ds)
    if not same_grid(geobox, plan.geobox):
        raise GridError(
            f"The plan was made for a grid of {plan.geobox.height} x {plan.geobox.width} pixels, the "
            f"Dataset has {geobox.height} x {geobox.width} (or lies elsewhere). Plan the chips on "
            f"this Dataset: ds.geoxr.grid_chips(...)."
        )


def _padded(ds: xr.Dataset, chip: Chip) -> xr.Dataset:
    layers = {}
    for name in layer_names(ds):
        array = ds[name]
        reader = Cropped(layer_reader(ds, name), chip.geobox, chip.window.row, chip.window.col)
        layers[name] = layer_like(array, reader)
        if reader.masked:
            valid = validity_layer(reader, name, grid_coords(layers[name]))
            layers[str(valid.name)] = valid
    return xr.Dataset(layers, attrs=ds.attrs)

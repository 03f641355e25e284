"""Chips as Datasets, one by one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from geoxr.errors import GridError
from geoxr.grid.coords import coords_of
from geoxr.grid.geobox import extent, geobox_of, same_grid
from geoxr.io.array import ArrayReader, InMemory
from geoxr.io.dataset import VALID_SUFFIX, layer_names, layer_reader, validity_layer
from geoxr.io.layer import grid_coords, layer_like
from geoxr.io.reader import WindowReader, everything, read_padded
from geoxr.io.views import Cropped
from geoxr.sample.chip import ChipPlan


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
        number. What lies outside of the grid is filled with nodata. Layers keep what nodata, classes
        and validity mean, as long as nothing is computed from them.
    """
    check_plan(ds, plan)
    whole = extent(plan.geobox)
    readers = {name: layer_reader(ds, name) for name in layer_names(ds)}
    partners = [f"{name}{VALID_SUFFIX}" for name in readers]
    rest = ds.drop_vars([*readers, *partners], errors="ignore")
    for chip in plan.chips():
        inside = chip.window & whole == chip.window
        rows, cols = chip.window.slices
        frame = rest.isel(y=rows, x=cols).load() if inside else xr.Dataset(attrs=ds.attrs)
        coords = grid_coords(frame) if inside else coords_of(chip.geobox)
        layers = {}
        for name, source in readers.items():
            reader = _held(Cropped(source, chip.geobox, chip.window.row, chip.window.col))
            layers[name] = layer_like(ds[name], reader, coords=coords)
            if reader.masked:
                valid = validity_layer(reader, name, coords)
                layers[str(valid.name)] = valid
        yield frame.assign(layers).assign_coords(chip=chip.index)


def _held(reader: WindowReader) -> ArrayReader:
    """Read everything into memory, with a reader over it that knows what is valid."""
    bands, times = everything(reader)
    shape = (len(times), len(bands), *reader.geobox.shape)
    pixels, valid = np.empty(shape, reader.dtype), np.empty((shape[0], 1, *shape[2:]), bool)
    read_padded(reader, extent(reader.geobox), pixels, valid, bands=bands, times=times)
    return ArrayReader(
        InMemory(pixels),
        reader.geobox,
        reader.bands,
        reader.times,
        reader.nodata,
        InMemory(valid) if reader.masked else None,
    )


def check_plan(ds: xr.Dataset, plan: ChipPlan) -> None:
    """Raise `GridError` if a plan was made for another grid."""
    geobox = geobox_of(ds)
    if not same_grid(geobox, plan.geobox):
        raise GridError(
            f"The plan was made for a grid of {plan.geobox.height} x {plan.geobox.width} pixels, the "
            f"Dataset has {geobox.height} x {geobox.width} (or lies elsewhere). Plan the chips on "
            f"this Dataset: ds.geoxr.grid_chips(...)."
        )

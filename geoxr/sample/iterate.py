"""Chips as Datasets, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from geoxr.errors import ArgumentError, GridError
from geoxr.grid.coords import coords_of
from geoxr.grid.geobox import extent, geobox_of, same_grid
from geoxr.io.array import ArrayReader, InMemory
from geoxr.io.dataset import VALID_SUFFIX, layer_names, layer_reader, validity_layer
from geoxr.io.layer import grid_coords, layer_like
from geoxr.io.reader import WindowReader, everything, read_padded
from geoxr.io.views import Cropped
from geoxr.sample.chip import Chip, ChipPlan, Grid

#: Chips whose dates are looked at before any is read.
_FIRST = 4096


def iter_chips(ds: xr.Dataset | xr.DataTree, plan: ChipPlan) -> Iterator[xr.Dataset]:
    """Yield chips as Datasets in memory, with coordinates.

    Parameters
    ----------
    ds : Dataset or DataTree
    plan : ChipPlan
        Made for the grid of `ds`, or for those of the nodes.

    Yields
    ------
    Dataset
        Dimensions ``y`` and ``x`` of the size of a chip, and ``time`` with the dates of the chip; dates
        that are padding are left out. The scalar coordinate ``chip`` is its number, in plans of groups
        ``member`` its position in the group, and in plans of a DataTree ``node`` the path of its node.
        What lies outside of the grid is filled with nodata. Layers keep what nodata, classes and
        validity mean, as long as nothing is computed from them.

    Raises
    ------
    GridError
        If the plan was made for another grid, or for dates that `ds` does not have.
    """
    check_plan(ds, plan)
    nodes = {grid.node: _Node.of(node_of(ds, grid.node)) for grid in plan.grids}
    for number, chip in enumerate(plan.chips()):
        labels: dict[str, int | str] = {"chip": chip.index}
        if plan.group > 1:
            labels["member"] = number % plan.group
        if chip.node:
            labels["node"] = chip.node
        yield nodes[chip.node].chip(chip).assign_coords(labels)


@dataclass(frozen=True, eq=False)
class _Node:
    """What chips of one grid are cut from."""

    ds: xr.Dataset
    readers: dict[str, WindowReader]
    rest: xr.Dataset

    @classmethod
    def of(cls, ds: xr.Dataset) -> _Node:
        readers = {name: layer_reader(ds, name) for name in layer_names(ds)}
        partners = [f"{name}{VALID_SUFFIX}" for name in readers]
        return cls(ds, readers, ds.drop_vars([*readers, *partners], errors="ignore"))

    def chip(self, chip: Chip) -> xr.Dataset:
        ds, rest = self.ds, self.rest
        dates = None if chip.times is None else [date for date in chip.times if date >= 0]
        if dates is not None:
            steps = self.ds.sizes.get("time", 0)
            if any(date >= steps for date in dates):
                raise _no_date(max(dates), steps)
            ds = ds.isel(time=dates, missing_dims="ignore")
            rest = rest.isel(time=dates, missing_dims="ignore")
        inside = chip.window & extent(geobox_of(self.ds)) == chip.window
        rows, cols = chip.window.slices
        frame = rest.isel(y=rows, x=cols).load() if inside else xr.Dataset(attrs=ds.attrs)
        coords = grid_coords(frame) if inside else coords_of(chip.geobox)
        layers = {}
        for name, source in self.readers.items():
            picked = None if dates is None or source.times is None else tuple(dates)
            row, col = chip.window.row, chip.window.col
            reader = held(Cropped(source, chip.geobox, row, col, picked_times=picked))
            layers[name] = layer_like(ds[name], reader, coords=coords)
            if reader.masked:
                valid = validity_layer(reader, name, coords)
                layers[str(valid.name)] = valid
        return frame.assign(layers)


def node_of(ds: xr.Dataset | xr.DataTree, node: str) -> xr.Dataset:
    """Return the Dataset that chips of a node are cut from.

    Raises
    ------
    GridError
        If there is no such node.
    """
    if isinstance(ds, xr.Dataset):
        return ds
    try:
        return ds[node].to_dataset() if node else ds.to_dataset()
    except KeyError as error:
        raise GridError(
            f"The plan has chips in the node {node!r}, but the nodes are "
            f"{', '.join(one.path for one in ds.subtree)}. Plan the chips on this DataTree."
        ) from error


def held(reader: WindowReader) -> ArrayReader:
    """Read everything into memory, with a reader over it that knows what is valid."""
    bands, times = everything(reader)
    shape = (len(times), len(bands), *reader.geobox.shape)
    pixels, valid = np.empty(shape, reader.dtype), np.empty((shape[0], 1, *shape[2:]), bool)
    if times:
        read_padded(reader, extent(reader.geobox), pixels, valid, bands=bands, times=times)
    return ArrayReader(
        InMemory(pixels),
        reader.geobox,
        reader.bands,
        reader.times,
        reader.nodata,
        InMemory(valid) if reader.masked else None,
    )


def check_plan(ds: xr.Dataset | xr.DataTree, plan: ChipPlan) -> None:
    """Raise `GridError` if a plan was made for another grid, or for dates that are not there."""
    if not isinstance(plan, ChipPlan):
        raise ArgumentError(
            f"Chips come from a plan, such as ds.geoxr.grid_chips(224), not from {type(plan).__name__}."
        )
    if isinstance(ds, xr.Dataset) and any(grid.node for grid in plan.grids):
        raise GridError(
            f"The plan lies in the nodes of a DataTree ({plan.grids[0].node!r}, ...). Pass the "
            f"DataTree it was made for, not a Dataset."
        )
    for grid in plan.grids:
        geobox = geobox_of(node_of(ds, grid.node))
        if not same_grid(geobox, grid.geobox):
            where = f" in the node {grid.node!r}" if grid.node else ""
            raise GridError(
                f"The plan was made for a grid of {grid.geobox.height} x {grid.geobox.width} "
                f"pixels{where}, the Dataset has {geobox.height} x {geobox.width} (or lies "
                f"elsewhere). Plan the chips on this Dataset: ds.geoxr.grid_chips(...)."
            )
    if len(plan):
        _check_dates(ds, plan)


def _check_dates(ds: xr.Dataset | xr.DataTree, plan: ChipPlan) -> None:
    """Raise if one of the first chips has a date that its Dataset does not have."""
    spots = plan.spots(plan.indices(0, _FIRST))
    if spots.times is None:
        return
    steps = np.array([node_of(ds, grid.node).sizes.get("time", 0) for grid in plan.grids])
    there = steps[0 if spots.grids is None else spots.grids]
    beyond = np.flatnonzero(spots.times.max(axis=1) >= there)
    if len(beyond):
        raise _no_date(
            int(spots.times[beyond[0]].max()), int(np.broadcast_to(there, len(spots))[beyond[0]])
        )
    for grid in plan.grids:
        dates = Grid.of(node_of(ds, grid.node)).dates
        if grid.dates is not None and dates != grid.dates:
            raise GridError(
                f"The plan counts {len(grid.dates)} dates from {grid.dates[0]} to {grid.dates[-1]}, but "
                f"the Dataset has others, or in another order. Plan the chips on this Dataset."
            )


def _no_date(date: int, steps: int) -> GridError:
    return GridError(
        f"The plan has chips at the {date + 1}th of {steps} dates. It was made for another Dataset; "
        f"plan the chips on this one."
    )

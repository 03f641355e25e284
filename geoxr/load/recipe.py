"""From a Dataset to the recipe of its batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr

from geoxr.errors import ArgumentError, GridError
from geoxr.grid.meaning import band_dim, classes_of, kind_of
from geoxr.io.array import ArrayReader, InMemory
from geoxr.io.dataset import layer_names, validity_of
from geoxr.io.reader import WindowReader
from geoxr.io.resolve import resolve
from geoxr.io.views import Marked
from geoxr.io.zarr import StoredArray
from geoxr.load.batch import Recipe, Source
from geoxr.sample.chip import ChipPlan

#: Puts another reader before that of a variable: (name, reader) -> reader.
Wrap = Callable[[str, WindowReader], WindowReader]


def make_recipe(
    data: xr.Dataset | xr.DataTree,
    plan: ChipPlan,
    *,
    concat: Mapping[str, Sequence[str]] | None,
    dtype: str,
    fill: float,
    ignore_index: int,
    wrap: Wrap | None = None,
) -> tuple[Recipe, dict[str, str]]:
    """Resolve the variables of a Dataset, or of the nodes of a DataTree, to readers.

    Parameters
    ----------
    wrap : callable, optional
        Puts a cache before readers.

    Returns
    -------
    recipe : Recipe
    slow : dict of str to str
        Variables that are read through xarray, and why.
    """
    if dtype not in ("float32", "native"):
        raise ArgumentError(f'dtype is {dtype!r}, but must be "float32" or "native".')
    nodes = [
        data[grid.node].to_dataset() if isinstance(data, xr.DataTree) else data
        for grid in plan.grids
    ]
    names = layer_names(nodes[0])
    if not names:
        raise ArgumentError("The Dataset has no variable with the dimensions y and x.")
    _check_numbers(fill, ignore_index)
    joined = _joined(concat or {}, names)
    taken = {part for parts in joined.values() for part in parts}
    groups = joined | {name: [name] for name in names if name not in taken}
    slow: dict[str, str] = {}
    outputs = {
        name: tuple(_source(nodes, plan, part, slow, wrap) for part in parts)
        for name, parts in groups.items()
    }
    own = {"valid", "bounds", "index", "time", "node", "transform"}
    hidden = (own | {f"valid_{name}" for name in outputs}) & set(outputs)
    if hidden:
        raise ArgumentError(
            f"Variables named {sorted(hidden)} would hide what every batch has under these names. "
            f"Rename them: ds.rename(valid='my_valid')."
        )
    for name, sources in outputs.items():
        _check_group(name, sources)
        _check_real(name, sources, dtype)
    _check_dates(outputs)
    return Recipe(outputs, dtype, fill, ignore_index), slow


def _check_numbers(fill: float, ignore_index: int) -> None:
    """Raise unless invalid pixels can have these values."""
    if isinstance(fill, bool) or not isinstance(fill, int | float | np.number):
        raise ArgumentError(f"fill is the number of invalid image pixels, not {fill!r}.")
    if isinstance(ignore_index, bool) or not isinstance(ignore_index, int | np.integer):
        raise ArgumentError(
            f"ignore_index is the whole number of invalid label pixels, not {ignore_index!r}."
        )


def _joined(concat: Mapping[str, Sequence[str]], names: Sequence[str]) -> dict[str, list[str]]:
    """Names of the variables of each joined output."""
    bare = [name for name, parts in concat.items() if isinstance(parts, str) or not len(parts)]
    if bare:
        raise ArgumentError(
            f"concat={{{bare[0]!r}: {concat[bare[0]]!r}}} must list the variables to join: "
            f"concat={{{bare[0]!r}: {list(names[:2])}}}."
        )
    joined = {name: list(parts) for name, parts in concat.items()}
    taken = {part for parts in joined.values() for part in parts}
    if not taken <= set(names):
        raise ArgumentError(
            f"concat names {sorted(taken - set(names))}, but the Dataset has {list(names)}."
        )
    both = sorted(set(joined) & (set(names) - taken))
    if both:
        raise ArgumentError(
            f"concat makes {both[0]!r}, but the Dataset has a variable of that name, which is not joined. "
            f"Choose another name, or leave the variable out: ds.drop_vars({both[0]!r})."
        )
    return joined


def _source(
    nodes: Sequence[xr.Dataset],
    plan: ChipPlan,
    name: str,
    slow: dict[str, str],
    wrap: Wrap | None,
) -> Source:
    readers = []
    for node, grid in zip(nodes, plan.grids, strict=True):
        if name not in node:
            raise ArgumentError(
                f"Node {grid.node!r} has no variable {name!r}; all nodes need the same."
            )
        resolved = resolve(node[name], validity_of(node, name))
        if resolved.slow is not None:
            slow[name] = resolved.slow
        full = f"{grid.node}/{name}" if grid.node else name
        readers.append(resolved.reader if wrap is None else wrap(full, resolved.reader))
    array, first = nodes[0][name], readers[0]
    for reader, grid in zip(readers, plan.grids, strict=True):
        if (reader.bands, reader.times is None) != (first.bands, first.times is None):
            raise GridError(
                f"{name!r} has the bands {reader.bands} in node {grid.node!r}, but {first.bands} in "
                f"{plan.grids[0].node!r} (or only one of them has dates). Batches need the same: "
                f"select the bands in all nodes."
            )
    label = kind_of(array) == "categorical"
    flat = band_dim(array.dims) is None or (label and len(first.bands) == 1)
    ready = wrap is not None or all(map(_is_ready, readers))
    return Source(name, tuple(readers), label, classes_of(array), flat, ready)


def _is_ready(reader: WindowReader) -> bool:
    """Whether pixels lie in memory as they are wanted; Zarr has a cache of its chunks."""
    if isinstance(reader, Marked):
        return _is_ready(reader.source)
    return isinstance(reader, ArrayReader) and isinstance(reader.pixels, InMemory | StoredArray)


def _check_group(name: str, sources: Sequence[Source]) -> None:
    if len(sources) < 2:
        return
    if len({source.label for source in sources}) > 1:
        raise ArgumentError(
            f"concat={{{name!r}: ...}} joins labels and images; they have two types."
        )
    dates = {tuple(len(reader.times or ()) for reader in source.readers) for source in sources}
    if len(dates) > 1:
        raise ArgumentError(
            f"concat={{{name!r}: ...}} joins layers with different numbers of dates."
        )


def _check_real(name: str, sources: Sequence[Source], dtype: str) -> None:
    """Raise for numbers that would lose their imaginary part."""
    if dtype != "native" and any(source.dtype.kind == "c" for source in sources):
        raise ArgumentError(
            f"{name!r} has complex numbers, which are no float32. Make them real first, as in "
            f"gx.map(numpy.abs, layer, dtype='float32'), or deliver them as stored: dtype=\"native\"."
        )


def _check_dates(outputs: Mapping[str, Sequence[Source]]) -> None:
    """Nodes of a tree must have as many dates for a chip to have all of them."""
    for sources in outputs.values():
        for source in sources:
            numbers = {len(reader.times or ()) for reader in source.readers}
            if len(numbers) > 1:
                raise GridError(
                    f"{source.name!r} has {min(numbers)} to {max(numbers)} dates in different nodes. "
                    f"Select as many in all."
                )

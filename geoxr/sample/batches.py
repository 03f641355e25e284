"""Pieces of a Dataset along any of its dimensions, in the shape of xbatcher's generator."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Generic

import numpy as np
import xarray as xr

from geoxr.errors import ArgumentError, ChipError
from geoxr.io.dataset import layer_names, validity_of
from geoxr.io.layer import grid_coords, layer_like
from geoxr.io.resolve import resolve
from geoxr.io.unwrap import layer_behind
from geoxr.sample.iterate import held
from geoxr.typing import XarrayT

#: Added to the names of input dimensions while pieces lie side by side.
_SUFFIX = "_input"


def batch_generator(
    obj: XarrayT,
    input_dims: Mapping[Hashable, int],
    *,
    input_overlap: Mapping[Hashable, int] | None = None,
    batch_dims: Mapping[Hashable, int] | None = None,
    concat_input_dims: bool = False,
    preload_batch: bool = True,
) -> BatchGenerator[XarrayT]:
    """Cut a Dataset into pieces that cover all of it.

    The arguments and the batches are those of ``xbatcher.BatchGenerator``, and where sizes divide
    evenly the batches are the same, in the same order. Two things are not: the last piece along a
    dimension is shifted back to end with it, where xbatcher leaves the rest out; and no list of pieces
    is held in memory.

    Parameters
    ----------
    obj : Dataset or DataArray
    input_dims : mapping of str to int
        Size of a piece along each dimension that a model sees: ``{"y": 224, "x": 224}``. Time is one
        like others.
    input_overlap : mapping of str to int, optional
        What neighbours share along some of these dimensions, smaller than the size.
    batch_dims : mapping of str to int, optional
        Size of a batch along other dimensions: ``{"time": 10}``. Batches go along these first. Others
        stay whole.
    concat_input_dims : bool
        Put all pieces of the same `batch_dims` into one batch, along ``input_batch``. Input dimensions
        are then called ``y_input``, and their labels are coordinates.
    preload_batch : bool
        Read batches into memory; without it they are lazy.

    Returns
    -------
    BatchGenerator
        A sequence: ``len``, iteration, and batches by number. Where there are two or more dimensions
        that are no `input_dims`, they are stacked into ``sample``.

    Raises
    ------
    ChipError
        If a size is not positive or larger than the dimension, or an overlap is not below the size.
    ArgumentError
        If there is no such dimension, or one is in both `input_dims` and `batch_dims`.
    """
    return BatchGenerator(
        obj, input_dims, input_overlap or {}, batch_dims or {}, concat_input_dims, preload_batch
    )


class BatchGenerator(Generic[XarrayT]):
    """Batches of a Dataset by number; see `batch_generator`."""

    def __init__(
        self,
        obj: XarrayT,
        input_dims: Mapping[Hashable, int],
        input_overlap: Mapping[Hashable, int],
        batch_dims: Mapping[Hashable, int],
        concat_input_dims: bool,
        preload_batch: bool,
    ) -> None:
        if not input_dims:
            raise ArgumentError('input_dims names no dimension. Give sizes: {"y": 224, "x": 224}.')
        strange = [dim for dim in {**input_dims, **batch_dims} if dim not in obj.sizes]
        if strange or not set(input_overlap) <= set(input_dims):
            names = strange or sorted(map(str, set(input_overlap) - set(input_dims)))
            raise ArgumentError(
                f"There is no dimension {', '.join(map(repr, names))} "
                f"{'here' if strange else 'in input_dims to overlap along'}; there are "
                f"{', '.join(map(str, obj.sizes if strange else input_dims))}."
            )
        both = sorted(map(str, set(input_dims) & set(batch_dims)))
        if both:
            raise ArgumentError(
                f"{', '.join(both)} is in input_dims and in batch_dims. Give it once: what a model "
                f"sees at a time in input_dims."
            )
        self.obj: XarrayT = obj
        self.input_dims, self.input_overlap = dict(input_dims), dict(input_overlap)
        self.batch_dims = dict(batch_dims)
        self.concat_input_dims, self.preload_batch = concat_input_dims, preload_batch
        self._inputs = [
            _Cuts.of(dim, obj.sizes[dim], size, input_overlap.get(dim, 0))
            for dim, size in input_dims.items()
        ]
        self._outer = [_Cuts.of(dim, obj.sizes[dim], size, 0) for dim, size in batch_dims.items()]

    @property
    def _looped(self) -> list[_Cuts]:
        return self._outer if self.concat_input_dims else [*self._outer, *self._inputs]

    def __len__(self) -> int:
        return int(np.prod([len(cuts) for cuts in self._looped], dtype="int64"))

    def __iter__(self) -> Iterator[XarrayT]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> XarrayT:
        if not isinstance(number, int | np.integer):
            raise TypeError(f"Batches are asked for by number, not by {number!r}.")
        if not -len(self) <= number < len(self):
            raise IndexError(f"There are {len(self)} batches; number {number} is none of them.")
        at = np.unravel_index(int(number) % len(self), [len(cuts) for cuts in self._looped] or [1])
        picks = {cuts.dim: cuts[int(i)] for cuts, i in zip(self._looped, at, strict=False)}
        batch = self.obj.isel(picks)
        if not self.concat_input_dims:
            return _stacked(_loaded(batch) if self.preload_batch else batch, list(self.input_dims))
        if self.preload_batch:
            batch = _loaded(batch)
        pieces = [
            _with_labels(batch.isel(dict(zip(self.input_dims, part, strict=True))), self.input_dims)
            for part in itertools.product(*self._inputs)
        ]
        joined = xr.concat(pieces, dim="input_batch")
        return _stacked(joined, [f"{dim}{_SUFFIX}" for dim in self.input_dims])

    def __repr__(self) -> str:
        sizes = ", ".join(f"{dim}: {size}" for dim, size in self.input_dims.items())
        return f"BatchGenerator({len(self)} batches of {sizes})"


class _Cuts(Sequence[slice]):
    """Slices of one size that cover a dimension, the last one shifted back."""

    def __init__(self, dim: Hashable, length: int, size: int, stride: int) -> None:
        self.dim, self.length, self.size, self.stride = dim, length, size, stride

    @classmethod
    def of(cls, dim: Hashable, length: int, size: int, overlap: int) -> _Cuts:
        whole = all(isinstance(n, int | np.integer) for n in (size, overlap))
        if not whole or size < 1 or not 0 <= overlap < size:
            raise ChipError(
                f"Pieces along {dim!r} have the size {size!r} and share {overlap!r}. Both are whole "
                f"numbers: the size is positive, and what neighbours share is smaller."
            )
        if size > length:
            raise ChipError(
                f"Pieces of {size} along {dim!r} are longer than the dimension, which has {length}. "
                f"Make the size smaller."
            )
        return cls(dim, length, int(size), int(size - overlap))

    def __len__(self) -> int:
        return -(-(self.length - self.size) // self.stride) + 1

    def __getitem__(self, number):  # type: ignore[no-untyped-def]
        if not 0 <= number < len(self):
            raise IndexError(number)
        start = min(number * self.stride, self.length - self.size)
        return slice(start, start + self.size)


def _loaded(batch: XarrayT) -> XarrayT:
    """Read a batch into memory; layers keep what nodata and validity mean."""
    if isinstance(batch, xr.DataArray):
        return _held(batch, None) if layer_behind(batch.variable) else batch.compute()
    layers = [name for name in layer_names(batch) if layer_behind(batch[name].variable)]
    held = {name: _held(batch[name], validity_of(batch, name)) for name in layers}
    rest = batch.drop_vars(layers).compute()
    return rest.assign(held)[list(batch.data_vars)]


def _held(layer: xr.DataArray, validity: xr.DataArray | None) -> xr.DataArray:
    return layer_like(layer, held(resolve(layer, validity).reader), coords=grid_coords(layer))


def _with_labels(piece: XarrayT, input_dims: Mapping[Hashable, int]) -> XarrayT:
    """Name input dimensions after what they are for; their labels, which differ, become coordinates."""
    names = {dim: f"{dim}{_SUFFIX}" for dim in input_dims}
    labels = {
        dim: (names[dim], piece[dim].values, piece[dim].attrs)
        for dim in input_dims
        if dim in piece.coords
    }
    return piece.drop_vars(list(labels)).rename(names).assign_coords(labels)


def _stacked(batch: XarrayT, input_dims: list[Hashable] | list[str]) -> XarrayT:
    """Stack dimensions that are no input, if there are several, into ``sample``."""
    others = [dim for dim in batch.sizes if dim not in input_dims]
    if len(others) < 2:
        return batch
    return batch.stack(sample=others).transpose("sample", *input_dims)

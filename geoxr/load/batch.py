"""Many chips into one batch of arrays, straight from the readers; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from geoxr.errors import ArgumentError, ClassesError
from geoxr.grid.affine import map_points
from geoxr.grid.classes import Classes
from geoxr.grid.meaning import band_dim, classes_of, kind_of
from geoxr.grid.window import Window
from geoxr.io.dataset import layer_names, validity_of
from geoxr.io.reader import WindowReader, everything, read_padded
from geoxr.io.resolve import resolve
from geoxr.sample.chip import ChipPlan

#: A batch of NumPy arrays by name.
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Source:
    """One variable of a Dataset as batches see it."""

    name: str
    reader: WindowReader
    label: bool
    classes: Classes | None
    flat: bool

    @property
    def channels(self) -> int:
        """Number of bands."""
        return len(self.reader.bands)

    @property
    def steps(self) -> int:
        """Number of time steps."""
        return len(everything(self.reader)[1])


@dataclass(frozen=True)
class Recipe:
    """How chips of a Dataset become a batch: which variables, joined how, in which types.

    Attributes
    ----------
    outputs : mapping of str to tuple of Source
        Name in the batch -> variables joined on the channel axis.
    """

    outputs: Mapping[str, tuple[Source, ...]]
    dtype: str
    fill: float
    ignore_index: int

    def batch(self, plan: ChipPlan, start: int, stop: int) -> Arrays:
        """Read chips ``start : stop`` of a plan.

        Returns
        -------
        dict of str to array
            Each output, (B, [T,] [C,] H, W); ``valid`` (B, H, W), True where all of them are valid;
            ``valid_<name>`` where there are several; ``bounds`` (B, 4); ``index`` (B,).
        """
        index = plan.indices(start, stop)
        corners = plan.spots(index).corners
        number, (height, width) = len(index), plan.size
        out: Arrays = {}
        good = {name: np.ones((number, height, width), bool) for name in self.outputs}
        for name, sources in self.outputs.items():
            out[name] = self._allocate(sources, number, height, width)
        # Chips are read in the order of their rows, so that neighbours share tiles.
        for at in np.lexsort((corners[:, 1], corners[:, 0])):
            window = Window(int(corners[at, 0]), int(corners[at, 1]), height, width)
            for name, sources in self.outputs.items():
                self._read(sources, window, out[name][at], good[name][at])
        valid = np.logical_and.reduce(list(good.values()))
        out["valid"] = valid
        if len(good) > 1:
            out.update({f"valid_{name}": mask for name, mask in good.items()})
        out["bounds"] = _bounds(plan, corners)
        out["index"] = index.astype("int64")
        return out

    def _allocate(
        self, sources: Sequence[Source], number: int, height: int, width: int
    ) -> np.ndarray:
        first = sources[0]
        channels = sum(source.channels for source in sources)
        shape = (number, first.steps, channels, height, width)
        if self.dtype == "native":
            return np.empty(shape, np.result_type(*[source.reader.dtype for source in sources]))
        return np.empty(shape, "int64" if first.label else "float32")

    def _read(
        self, sources: Sequence[Source], window: Window, out: np.ndarray, good: np.ndarray
    ) -> None:
        """Read one chip of one output: `out` (T, C, H, W), `good` (H, W)."""
        start = 0
        for source in sources:
            part = out[:, start : start + source.channels]
            start += source.channels
            bands, times = everything(source.reader)
            same = source.reader.dtype == out.dtype
            pixels = part if same else np.empty(part.shape, source.reader.dtype)
            valid = np.empty((len(times), 1, *good.shape), bool)
            read_padded(source.reader, window, pixels, valid, bands=bands, times=times)
            if self.dtype != "native":
                self._convert(source, pixels, valid, part)
            elif not same:
                part[...] = pixels
            good &= np.logical_and.reduce(valid)[0]

    def _convert(
        self, source: Source, pixels: np.ndarray, valid: np.ndarray, part: np.ndarray
    ) -> None:
        if source.label:
            if pixels.dtype.kind == "f" and (valid & (np.floor(pixels) != pixels)).any():
                raise ClassesError(
                    f"{source.name!r} is categorical but holds fractions. Labels are whole numbers; "
                    f"is it an image? Set da.attrs['kind'] = 'continuous'."
                )
            if source.classes is not None:
                pixels = _indices(source, pixels, valid)
            part[...] = pixels
            np.copyto(part, self.ignore_index, where=~valid)
            return
        if pixels is not part:
            np.copyto(part, pixels, casting="unsafe")
        if not valid.all():
            np.copyto(part, self.fill, where=~valid)

    def finish(self, arrays: Arrays) -> Arrays:
        """Drop the axes that an output does not have."""
        for name, sources in self.outputs.items():
            array = arrays[name]
            if len(sources) == 1 and sources[0].flat:
                array = array[:, :, 0]
            if sources[0].reader.times is None:
                array = array[:, 0]
            arrays[name] = array
        return arrays


def _indices(source: Source, pixels: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Class codes as positions 0..K-1.

    Raises
    ------
    ClassesError
        If a valid pixel has a code that is no class.
    """
    classes = source.classes
    assert classes is not None
    if pixels.dtype == np.uint8:
        index = classes.to_index(np.arange(256))[pixels]
    else:
        index = classes.to_index(pixels)
    unknown = (index < 0) & valid
    if unknown.any():
        codes = np.unique(pixels[unknown])
        raise ClassesError(
            f"{source.name!r} has the values {codes[:10].tolist()}, which are none of its "
            f"{len(classes)} classes {list(classes.values[:10])}{'...' if len(classes) > 10 else ''}. "
            f"Name them with da.geoxr.write_classes(...), or mark them as missing with "
            f"da.geoxr.write_nodata(value)."
        )
    return index


def _bounds(plan: ChipPlan, corners: np.ndarray) -> np.ndarray:
    """(left, bottom, right, top) of chips (B, 4) [CRS units]."""
    height, width = plan.size
    rows = corners[:, :1] + np.array([[0, 0, height, height]])
    cols = corners[:, 1:] + np.array([[0, width, 0, width]])
    x, y = map_points(plan.geobox.affine, cols, rows)
    sides = x.min(axis=1), y.min(axis=1), x.max(axis=1), y.max(axis=1)
    return np.stack(sides, axis=1).astype("float64")


def make_recipe(
    ds: xr.Dataset,
    *,
    concat: Mapping[str, Sequence[str]] | None,
    dtype: str,
    fill: float,
    ignore_index: int,
) -> tuple[Recipe, dict[str, str]]:
    """Resolve the variables of a Dataset to readers.

    Returns
    -------
    recipe : Recipe
    slow : dict of str to str
        Variables that are read through xarray, and why.
    """
    if dtype not in ("float32", "native"):
        raise ArgumentError(f'dtype is {dtype!r}, but must be "float32" or "native".')
    names = layer_names(ds)
    if not names:
        raise ArgumentError("The Dataset has no variable with the dimensions y and x.")
    joined = {name: list(parts) for name, parts in (concat or {}).items()}
    taken = {part for parts in joined.values() for part in parts}
    if not taken <= set(names):
        raise ArgumentError(
            f"concat names {sorted(taken - set(names))}, but the Dataset has {names}."
        )
    groups = joined | {name: [name] for name in names if name not in taken}
    slow: dict[str, str] = {}
    outputs = {
        name: tuple(_source(ds, part, slow) for part in parts) for name, parts in groups.items()
    }
    taken_names = {"valid", "bounds", "index", *(f"valid_{name}" for name in outputs)}
    if taken_names & set(outputs):
        raise ArgumentError(
            f"Variables named {sorted(taken_names & set(outputs))} would hide what every batch has "
            f"under these names. Rename them: ds.rename(valid='my_valid')."
        )
    for name, sources in outputs.items():
        _check_group(name, sources)
    return Recipe(outputs, dtype, fill, ignore_index), slow


def _source(ds: xr.Dataset, name: str, slow: dict[str, str]) -> Source:
    array = ds[name]
    resolved = resolve(array, validity_of(ds, name))
    reader = resolved.reader
    if resolved.slow is not None:
        slow[name] = resolved.slow
    label = kind_of(array) == "categorical"
    flat = band_dim(array.dims) is None or (label and len(reader.bands) == 1)
    return Source(name, reader, label, classes_of(array), flat)


def _check_group(name: str, sources: Sequence[Source]) -> None:
    if len(sources) < 2:
        return
    if len({source.label for source in sources}) > 1:
        raise ArgumentError(
            f"concat={{{name!r}: ...}} joins labels and images; they have two types."
        )
    if len({source.steps for source in sources}) > 1:
        raise ArgumentError(
            f"concat={{{name!r}: ...}} joins layers with different numbers of dates."
        )

"""Many chips into one batch of arrays, straight from the readers; no torch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from geoxr.errors import ChipReadError, ClassesError
from geoxr.grid.affine import map_points, rotated
from geoxr.grid.classes import Classes
from geoxr.grid.geobox import crop
from geoxr.grid.window import Window
from geoxr.io.blocks import keeping
from geoxr.io.bytes import looking_once
from geoxr.io.reader import WindowReader, everything, fill_of, read_padded
from geoxr.load.convert import Place, scratch, to_float, to_index
from geoxr.load.kept import Blocks
from geoxr.load.memory import Shapes
from geoxr.load.patches import Patch, Sweep, patches_of, patches_of_each, sweep_of
from geoxr.sample.chip import ChipPlan, Spots

#: A batch of NumPy arrays by name.
Arrays = dict[str, np.ndarray]
#: Finds another plan and number for one that could not be read: (error, its number, attempt).
Redraw = Callable[[ChipReadError, int, int], tuple[ChipPlan, int]]
#: Integer types of labels whose codes are looked up in a table.
_TABLED = ("uint8", "uint16")
_NO_DATE = np.iinfo("int64").min


class _Value:
    """Base of frozen values that remember what they worked out, but do not send it along."""

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True)
class Source(_Value):
    """One variable as batches see it.

    Attributes
    ----------
    readers : tuple of WindowReader
        One for each grid of the plan; alike but for their grids.
    flat : bool
        Whether the variable has no band dimension.
    ready : bool
        Whether its pixels lie in memory, in a scratch or in a cache of their own as they are wanted.
    """

    name: str
    readers: tuple[WindowReader, ...]
    label: bool
    classes: Classes | None
    flat: bool
    ready: bool

    @cached_property
    def channels(self) -> int:
        """Number of bands."""
        return len(self.readers[0].bands)

    @cached_property
    def dtype(self) -> np.dtype:
        """Type of the pixels as stored."""
        return np.result_type(*[reader.dtype for reader in self.readers])

    @cached_property
    def timed(self) -> bool:
        """Whether it has a time dimension."""
        return self.readers[0].times is not None

    @cached_property
    def table(self) -> np.ndarray | None:
        """Position of the class of every code, where the type has few."""
        if self.classes is None or self.dtype not in _TABLED:
            return None
        return self.classes.to_index(np.arange(np.iinfo(self.dtype).max + 1))


def _named(
    error: OSError | ClassesError, plan: ChipPlan, patch: Patch, index: np.ndarray
) -> ChipReadError:
    """Say which chip could not be read."""
    number = int(index[patch.chips[0][0] // plan.group])
    bounds = crop(plan.grids[patch.grid].geobox, patch.window).boundingbox
    window = patch.window
    where = (
        f"chip {number} (row {window.row}, column {window.col}, bounds "
        f"{tuple(round(side, 6) for side in bounds)})"
    )
    if isinstance(error, ClassesError):
        error.add_note(f"It is in {where}.")
        raise error
    named = ChipReadError(
        f"Reading {where} failed: {error} A loader made with on_error='skip' reads others instead.",
        number,
    )
    named.__cause__ = error
    return named


@dataclass(frozen=True)
class Recipe(_Value):
    """How chips of a Dataset become a batch: which variables, joined how, in which types.

    Attributes
    ----------
    outputs : mapping of str to tuple of Source
        Name in the batch -> variables joined on the channel axis.
    dtype : {"float32", "native"}
    """

    outputs: Mapping[str, tuple[Source, ...]]
    dtype: str
    fill: float
    ignore_index: int

    def shapes(self, plan: ChipPlan, number: int) -> Shapes:
        """Shapes and types of the arrays of a batch of `number` items.

        Returns
        -------
        dict of str to (tuple of int, numpy.dtype)
            Each output, (N, T, C, H, W); ``valid`` (N, H, W), ``valid_<name>`` (N, T, H, W);
            ``bounds`` (N, 4), ``index`` (N,), and where they say something ``time`` (N, T),
            ``transform`` (N, 6), ``node`` (N,). N counts chips: `number` times ``plan.group``.
        """
        chips, (height, width) = number * plan.group, plan.size
        steps = {name: self._steps(plan, sources[0]) for name, sources in self.outputs.items()}
        shapes: dict[str, tuple[tuple[int, ...], Any]] = {}
        for name, sources in self.outputs.items():
            channels = sum(source.channels for source in sources)
            shapes[name] = (chips, steps[name], channels, height, width), self._type(sources)
        shapes["valid"] = (chips, height, width), bool
        for name in self._with_validity:
            shapes[f"valid_{name}"] = (chips, steps[name], height, width), bool
        shapes |= {"bounds": ((chips, 4), "float64"), "index": ((number,), "int64")}
        if self._timed is not None:
            shapes["time"] = (chips, self._steps(plan, self._timed)), "int64"
        if len(plan.grids) > 1:
            shapes["node"] = (chips,), "int64"
        if len(plan.grids) > 1 or rotated(plan.grids[0].geobox.affine):
            shapes["transform"] = (chips, 6), "float64"
        return {name: (shape, np.dtype(dtype)) for name, (shape, dtype) in shapes.items()}

    def fill_batch(
        self,
        out: Arrays,
        plan: ChipPlan,
        index: np.ndarray,
        redraw: Redraw | None = None,
        halted: Callable[[], bool] = bool,
    ) -> None:
        """Read the items with the numbers `index` into the front of a batch.

        Chips are read in the order of grid and rows, so that neighbours share tiles, and lie in the
        batch in the order asked for.

        Parameters
        ----------
        redraw : callable, optional
            Says what to read in the place of an item that cannot be read. Such an item has its own
            number in the batch if it is one of `plan`, else -1.
        halted : callable
            Whether to stop half way, since nobody wants the batch any more.

        Raises
        ------
        ChipReadError
            If a chip cannot be read and there is no `redraw`.
        """
        spots = plan.spots(index)
        out["index"][: len(index)] = index
        self._describe(out, plan, spots, slice(0, len(spots)))
        with looking_once():
            failed = self._fill_all(out, plan, spots, index, halted)
        for item, cause in sorted(failed.items()):
            if redraw is None:
                raise cause
            self._replace(out, plan, item, cause, redraw)

    def _fill_all(
        self,
        out: Arrays,
        plan: ChipPlan,
        spots: Spots,
        index: np.ndarray,
        halted: Callable[[], bool],
    ) -> dict[int, ChipReadError]:
        """Read all chips; return what went wrong, by position of the item."""
        failed: dict[int, ChipReadError] = {}
        for patch in patches_of(plan, spots, self._sweep(plan)):
            if halted():
                break
            try:
                self._fill(out, plan, patch)
                continue
            except (OSError, ClassesError) as error:
                if len(patch.chips) == 1 and not patch.stays:
                    failed[patch.chips[0][0] // plan.group] = _named(error, plan, patch, index)
                    continue
            for one in [patch.alone(*chip) for chip in patch.chips]:  # to find the chip that it is
                try:
                    self._fill(out, plan, one)
                except (OSError, ClassesError) as error:
                    failed[one.chips[0][0] // plan.group] = _named(error, plan, one, index)
        return failed

    def _replace(
        self, out: Arrays, wanted: ChipPlan, item: int, error: ChipReadError, redraw: Redraw
    ) -> None:
        """Read another item in the place of one that failed."""
        failed = error.number
        for attempt in itertools.count(1):
            plan, number = redraw(error, failed, attempt)
            index, start = np.array([number]), item * plan.group
            spots = plan.spots(index)
            try:
                for at, one in enumerate(patches_of_each(plan, spots)):
                    self._fill(out, plan, one.alone(start + at, one.window))
            except (OSError, ClassesError) as another:
                error = _named(another, plan, one, index)
                continue
            out["index"][item] = number if plan.number == wanted.number else -1
            self._describe(out, plan, spots, slice(start, start + plan.group))
            return

    def _fill(self, out: Arrays, plan: ChipPlan, patch: Patch) -> None:
        """Read a window into the rows of a batch that its chips have."""
        window = patch.window
        whole = len(patch.chips) == 1 and patch.chips[0][1] == window
        places = [(at, *_place(window, chip)) for at, chip in patch.chips]
        for at, _, to in places:
            out["valid"][at, to[0], to[1]] = True
        for name, sources in self.outputs.items():
            start = 0
            for source in sources:
                reader = source.readers[patch.grid]
                bands, every = everything(reader)
                dates = every if patch.times is None or not source.timed else patch.times
                channels = slice(start, start + source.channels)
                if patch.stays and self._stays(source):
                    pixels, seen = self._blocks.read(source.name, reader, patch.grid, dates, window)
                else:
                    shape = (len(dates), source.channels, window.height, window.width)
                    seen = scratch((len(dates), 1, *shape[2:]), np.dtype(bool), "valid")
                    if whole and reader.dtype == out[name].dtype:
                        pixels = out[name][places[0][0], : len(dates), channels]
                    else:
                        pixels = scratch(shape, reader.dtype, "pixels")
                    read_padded(reader, window, pixels, seen, bands=bands, times=dates)
                for at, of, to in places:
                    part = out[name][at, :, channels]
                    good = out[f"valid_{name}"][at] if name in self._with_validity else None
                    for date in range(len(dates)):
                        self._convert(source, pixels[date], seen[date, 0], of, to, part[date])
                        here = seen[date, 0][of]
                        out["valid"][at][to] &= here
                        if good is not None:
                            good[date][to] = here if start == 0 else good[date][to] & here
                    if len(dates) < len(part):
                        self._pad(source, part[len(dates) :])
                        if good is not None:
                            good[len(dates) :] = False
                start += source.channels

    def _sweep(self, plan: ChipPlan) -> Sweep | None:
        """Return the blocks to keep for the next batches, if the cache has room for them."""
        sweep = sweep_of(plan) if keeping.get() else None
        if sweep is None:
            return None
        kept = other = 0
        for source in itertools.chain.from_iterable(self.outputs.values()):
            depth = self._steps(plan, source) * (source.channels * source.dtype.itemsize + 1)
            if self._stays(source):
                kept += depth
            else:
                other += depth
        if other < kept and self._blocks.make_room(sweep.area * kept):
            return sweep
        self._blocks.forget()
        return None

    def forget(self) -> None:
        """Give up what was kept for the next batches."""
        self._blocks.forget()

    def _stays(self, source: Source) -> bool:
        """Whether blocks of a variable are worth keeping."""
        return not source.ready and source.name not in self._blocks.decoded

    @cached_property
    def _blocks(self) -> Blocks:
        return Blocks()

    def _convert(
        self,
        source: Source,
        pixels: np.ndarray,
        valid: np.ndarray,
        of: Place,
        to: Place,
        out: np.ndarray,
    ) -> None:
        """Write a part of pixels as stored (C, h, w) into a part of a chip (C, H, W)."""
        if self.dtype == "native":
            if not np.may_share_memory(pixels, out):
                out[:, *to] = pixels[:, *of]
        elif not source.label:
            to_float(pixels, valid, of, self.fill, out, to)
        elif source.table is not None and pixels.dtype in _TABLED:
            if not to_index(pixels, valid, of, source.table, self.ignore_index, out, to):
                raise _unknown(source, pixels[:, *of], valid[of])
        else:
            self._convert_label(source, pixels[:, *of], valid[of], out[:, *to])

    def _convert_label(
        self, source: Source, pixels: np.ndarray, valid: np.ndarray, out: np.ndarray
    ) -> None:
        if pixels.dtype.kind == "f" and (valid & (np.floor(pixels) != pixels)).any():
            raise ClassesError(
                f"{source.name!r} is categorical but holds fractions. Labels are whole numbers; "
                f"is it an image? Set da.attrs['kind'] = 'continuous'."
            )
        codes = pixels
        if source.classes is not None:
            codes = source.classes.to_index(pixels)
            if ((codes < 0) & valid).any():
                raise _unknown(source, pixels, valid)
        np.copyto(out, codes, casting="unsafe")
        np.copyto(out, self.ignore_index, where=~valid)

    def _pad(self, source: Source, rest: np.ndarray) -> None:
        """Write dates that a chip does not have."""
        if self.dtype == "native":
            rest[...] = fill_of(source.readers[0])
        else:
            rest[...] = self.ignore_index if source.label else self.fill

    def _describe(self, out: Arrays, plan: ChipPlan, spots: Spots, rows: slice) -> None:
        """Write where chips are."""
        out["bounds"][rows] = _bounds(plan, spots)
        if self._timed is not None:
            out["time"][rows] = _dates(self._timed, spots)
        if "node" in out:
            out["node"][rows] = 0 if spots.grids is None else spots.grids
        if "transform" in out:
            out["transform"][rows] = _transforms(plan, spots)

    def finish(self, arrays: Arrays, plan: ChipPlan, number: int) -> Arrays:
        """Return the first `number` items, without the axes that an output does not have."""
        result = {}
        for name, array in arrays.items():
            if name == "index":
                result[name] = array[:number]
                continue
            array = array[: number * plan.group]
            sources = self.outputs.get(name) or self.outputs.get(name.removeprefix("valid_"))
            if (
                sources is not None
                and name in self.outputs
                and len(sources) == 1
                and sources[0].flat
            ):
                array = array[:, :, 0]
            if sources is not None and not sources[0].timed:
                array = array[:, 0]
            if plan.group > 1:
                array = array.reshape(number, plan.group, *array.shape[1:])
            result[name] = array
        return result

    @cached_property
    def _with_validity(self) -> tuple[str, ...]:
        """Outputs whose validity is delivered too, since it says more than that of all together."""
        names = tuple(self.outputs)
        return names if len(names) > 1 or self._timed is not None else ()

    @cached_property
    def _timed(self) -> Source | None:
        """A variable with a time dimension."""
        return next((s for sources in self.outputs.values() for s in sources if s.timed), None)

    def _steps(self, plan: ChipPlan, source: Source) -> int:
        """Dates of a chip."""
        if not source.timed:
            return 1
        times = plan.spots(plan.indices(0, 1)).times
        return len(everything(source.readers[0])[1]) if times is None else times.shape[1]

    def _type(self, sources: Iterable[Source]) -> np.dtype:
        sources = tuple(sources)
        if self.dtype == "native":
            return np.result_type(*[source.dtype for source in sources])
        return np.dtype("int64" if sources[0].label else "float32")


def _place(window: Window, chip: Window) -> tuple[Place, Place]:
    """Where a chip lies in a window, and the window in the chip."""
    part = window & chip
    return part.inside(window), part.inside(chip)


def _unknown(source: Source, pixels: np.ndarray, valid: np.ndarray) -> ClassesError:
    classes = source.classes
    assert classes is not None
    codes = np.unique(pixels[:, valid])
    codes = codes[classes.to_index(codes) < 0]
    return ClassesError(
        f"{source.name!r} has the values {codes[:10].tolist()}, which are none of its "
        f"{len(classes)} classes {list(classes.values[:10])}{'...' if len(classes) > 10 else ''}. "
        f"Name them with da.geoxr.write_classes(...), or mark them as missing with "
        f"da.geoxr.write_nodata(value)."
    )


def _affines(plan: ChipPlan, spots: Spots) -> np.ndarray:
    """Affine coefficients a to f of the grids of chips (N, 6)."""
    each = np.array([grid.geobox.affine[:6] for grid in plan.grids])
    return each[np.zeros(len(spots), "int64") if spots.grids is None else spots.grids]


def _transforms(plan: ChipPlan, spots: Spots) -> np.ndarray:
    """Affine coefficients a to f of chips (N, 6)."""
    result = _affines(plan, spots)
    a, b, c, d, e, f = result.T
    row, col = spots.corners.T
    result[:, 2], result[:, 5] = a * col + b * row + c, d * col + e * row + f
    return result


def _bounds(plan: ChipPlan, spots: Spots) -> np.ndarray:
    """(left, bottom, right, top) of chips (N, 4) [CRS units]."""
    height, width = plan.size
    rows = spots.corners[:, :1] + np.array([[0, 0, height, height]])
    cols = spots.corners[:, 1:] + np.array([[0, width, 0, width]])
    if len(plan.grids) == 1:
        x, y = map_points(plan.grids[0].geobox.affine, cols, rows)
    else:
        a, b, c, d, e, f = _affines(plan, spots).T[:, :, None]
        x, y = a * cols + b * rows + c, d * cols + e * rows + f
    return np.stack([x.min(axis=1), y.min(axis=1), x.max(axis=1), y.max(axis=1)], axis=1)


def _dates(source: Source, spots: Spots) -> np.ndarray:
    """Dates of chips (N, T) as nanoseconds since 1970; the smallest number where there is none."""
    known = np.full((len(source.readers), _most_dates(source) + 1), _NO_DATE)
    for number, reader in enumerate(source.readers):
        dates = np.array(reader.times, "datetime64[ns]").astype("int64")
        known[number, : len(dates)] = dates
    grids = np.zeros(len(spots), "int64") if spots.grids is None else spots.grids
    if spots.times is None:
        return known[grids][:, :-1]
    return known[grids[:, None], spots.times]


def _most_dates(source: Source) -> int:
    return max(len(reader.times or ()) for reader in source.readers)

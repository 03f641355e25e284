"""Many chips into one batch of arrays, straight from the readers; no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from geoxr.errors import ChipReadError, ClassesError
from geoxr.grid.affine import map_points, rotated
from geoxr.grid.classes import Classes
from geoxr.grid.geobox import crop
from geoxr.grid.window import Window
from geoxr.io.reader import WindowReader, everything, fill_of, read_padded
from geoxr.load.convert import scratch, to_codes, to_float, to_index
from geoxr.sample.chip import ChipPlan, Spots

#: A batch of NumPy arrays by name.
Arrays = dict[str, np.ndarray]
#: Makes arrays of a shape and type.
Empty = Callable[[tuple[int, ...], np.dtype], np.ndarray]
#: Finds another plan and number of a chip instead of one that could not be read.
Redraw = Callable[[ChipReadError], tuple[ChipPlan, int]]
#: Integer types of labels whose codes are looked up in a table.
_TABLED = ("uint8", "uint16")
_NO_DATE = np.iinfo("int64").min


@dataclass(frozen=True)
class Source:
    """One variable as batches see it.

    Attributes
    ----------
    readers : tuple of WindowReader
        One for each grid of the plan; alike but for their grids.
    flat : bool
        Whether the variable has no band dimension.
    """

    name: str
    readers: tuple[WindowReader, ...]
    label: bool
    classes: Classes | None
    flat: bool

    @property
    def channels(self) -> int:
        """Number of bands."""
        return len(self.readers[0].bands)

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels as stored."""
        return np.result_type(*[reader.dtype for reader in self.readers])

    @property
    def timed(self) -> bool:
        """Whether it has a time dimension."""
        return self.readers[0].times is not None

    @cached_property
    def table(self) -> np.ndarray | None:
        """Position of the class of every code, where the type has few."""
        if self.classes is None or self.dtype not in _TABLED:
            return None
        return self.classes.to_index(np.arange(np.iinfo(self.dtype).max + 1))


@dataclass(frozen=True)
class Recipe:
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

    def allocate(self, plan: ChipPlan, number: int, empty: Empty = np.empty) -> Arrays:
        """Make memory for a batch of `number` items.

        Returns
        -------
        dict of str to array
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
        return {name: empty(shape, np.dtype(dtype)) for name, (shape, dtype) in shapes.items()}

    def fill_batch(
        self, out: Arrays, plan: ChipPlan, index: np.ndarray, redraw: Redraw | None = None
    ) -> None:
        """Read the items with the numbers `index` into the front of a batch.

        Chips are read in the order of grid and rows, so that neighbours share tiles, and lie in the
        batch in the order asked for.

        Raises
        ------
        ChipReadError
            If a chip cannot be read and there is no `redraw`.
        """
        spots = plan.spots(index)
        out["index"][: len(index)] = index
        grids = np.zeros(len(spots), "int64") if spots.grids is None else spots.grids
        failed: dict[int, ChipReadError] = {}
        for chip in np.lexsort((spots.corners[:, 1], spots.corners[:, 0], grids)).tolist():
            item = chip // plan.group
            if item in failed:
                continue
            try:
                self._fill_chip(out, chip, plan, spots, chip, int(index[item]))
            except ChipReadError as error:
                if redraw is None:
                    raise
                failed[item] = error
        self._describe(out, plan, spots, slice(0, len(spots)))
        for item, cause in sorted(failed.items()):
            assert redraw is not None
            self._replace(out, item, cause, redraw)

    def _replace(self, out: Arrays, item: int, error: ChipReadError, redraw: Redraw) -> None:
        """Read another item in the place of one that failed."""
        while True:
            plan, number = redraw(error)
            spots = plan.spots(np.array([number]))
            start = item * plan.group
            try:
                for at in range(plan.group):
                    self._fill_chip(out, start + at, plan, spots, at, number)
            except ChipReadError as another:
                error = another
                continue
            out["index"][item] = number
            self._describe(out, plan, spots, slice(start, start + plan.group))
            return

    def _fill_chip(
        self, out: Arrays, at: int, plan: ChipPlan, spots: Spots, chip: int, number: int
    ) -> None:
        """Read one chip into row `at` of a batch."""
        row, col = spots.corners[chip].tolist()
        window, grid = Window(row, col, *plan.size), spots.grid(chip)
        times = None
        if spots.times is not None:
            times = tuple(date for date in spots.times[chip].tolist() if date >= 0)
        valid = out["valid"][at]
        valid[...] = True
        own = self._with_validity
        try:
            for name, sources in self.outputs.items():
                good = out[f"valid_{name}"][at] if name in own else None
                self._read(sources, grid, window, times, out[name][at], good, valid)
        except (OSError, ClassesError) as error:
            bounds = tuple(round(v, 6) for v in crop(plan.grids[grid].geobox, window).boundingbox)
            where = f"chip {number} (row {row}, column {col}, bounds {bounds})"
            if isinstance(error, ClassesError):
                error.add_note(f"It is in {where}.")
                raise
            raise ChipReadError(
                f"Reading {where} failed: {error} Pass on_error='skip' to leave such chips out.",
                number,
            ) from error

    def _read(
        self,
        sources: tuple[Source, ...],
        grid: int,
        window: Window,
        times: tuple[int, ...] | None,
        out: np.ndarray,
        good: np.ndarray | None,
        valid: np.ndarray,
    ) -> None:
        """Read one chip of one output: `out` (T, C, H, W), `good` (T, H, W), `valid` (H, W)."""
        start = 0
        for source in sources:
            reader = source.readers[grid]
            part = out[:, start : start + source.channels]
            bands, every = everything(reader)
            dates = every if times is None or not source.timed else times
            seen = scratch((len(dates), 1, *valid.shape), np.dtype(bool), "valid")
            if reader.dtype == out.dtype:
                pixels = part[: len(dates)]
            else:
                shape = (len(dates), source.channels, *valid.shape)
                pixels = scratch(shape, reader.dtype, "pixels")
            read_padded(reader, window, pixels, seen, bands=bands, times=dates)
            for date in range(len(dates)):
                here = seen[date, 0]
                self._convert(source, reader, pixels[date], here, part[date])
                valid &= here
                if good is not None:
                    good[date] = here if start == 0 else good[date] & here
            if len(dates) < len(part):
                self._pad(source, part[len(dates) :])
                if good is not None:
                    good[len(dates) :] = False
            start += source.channels

    def _convert(
        self,
        source: Source,
        reader: WindowReader,
        pixels: np.ndarray,
        valid: np.ndarray,
        part: np.ndarray,
    ) -> None:
        """Write pixels (C, H, W) as stored into their part of a batch."""
        if self.dtype == "native":
            if pixels is not part:
                np.copyto(part, pixels)
        elif not source.label:
            to_float(pixels, valid, self.fill, part)
        elif source.table is not None and pixels.dtype in _TABLED:
            if not to_index(pixels, valid, source.table, self.ignore_index, part):
                raise _unknown(source, pixels, valid)
        else:
            self._convert_label(source, pixels, valid, part)

    def _convert_label(
        self, source: Source, pixels: np.ndarray, valid: np.ndarray, part: np.ndarray
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
        to_codes(codes, valid, self.ignore_index, part)

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

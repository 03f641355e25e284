"""Many chips into one batch of arrays, straight from the readers; no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
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
#: Chips side by side are read together up to this size, which stays in the processor's cache [bytes],
#: and this width, at which warps cut windows anyway [pixel].
_STRIP, _WIDEST = 1 << 21, 512
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
class Strip:
    """Chips of a batch side by side, which are read as one window.

    Attributes
    ----------
    window : Window [pixel]
    grid : int
        Position of the grid in the plan.
    times : tuple of int, optional
        Positions of the dates to read; None for all.
    chips : tuple of int
        Rows of the batch.
    cols : tuple of int [pixel]
        First columns in the window.
    """

    window: Window
    grid: int
    times: tuple[int, ...] | None
    chips: tuple[int, ...]
    cols: tuple[int, ...]

    def join(self, other: Strip, most: int) -> Strip | None:
        """Take in another strip; None where it does not touch or would make more than `most` columns."""
        mine, more = self.window, other.window
        width = more.stop[1] - mine.col
        touches = mine.row == more.row and mine.col <= more.col <= mine.stop[1]
        alike = (self.grid, self.times) == (other.grid, other.times)
        if not (touches and alike and width <= most):
            return None
        window = Window(mine.row, mine.col, mine.height, width)
        cols = (*self.cols, more.col - mine.col)
        return Strip(window, self.grid, self.times, (*self.chips, *other.chips), cols)

    def apart(self, size: tuple[int, int]) -> Iterator[Strip]:
        """Yield its chips one by one."""
        for chip, col in zip(self.chips, self.cols, strict=True):
            window = Window(self.window.row, self.window.col + col, *size)
            yield Strip(window, self.grid, self.times, (chip,), (0,))


def _alone(plan: ChipPlan, spots: Spots) -> Iterator[Strip]:
    """Yield chips one by one, in the order of their grids, rows and columns."""
    rows, cols = spots.corners.T
    grids = np.zeros(len(spots), "int64") if spots.grids is None else spots.grids
    for chip in np.lexsort((cols, rows, grids)).tolist():
        window = Window(int(rows[chip]), int(cols[chip]), *plan.size)
        times = None
        if spots.times is not None:
            times = tuple(date for date in spots.times[chip].tolist() if date >= 0)
        yield Strip(window, spots.grid(chip), times, (chip,), (0,))


def _named(
    error: OSError | ClassesError, plan: ChipPlan, strip: Strip, index: np.ndarray
) -> ChipReadError:
    """Say which chip could not be read."""
    number = int(index[strip.chips[0] // plan.group])
    bounds = crop(plan.grids[strip.grid].geobox, strip.window).boundingbox
    window = strip.window
    where = (
        f"chip {number} (row {window.row}, column {window.col}, bounds "
        f"{tuple(round(side, 6) for side in bounds)})"
    )
    if isinstance(error, ClassesError):
        error.add_note(f"It is in {where}.")
        raise error
    named = ChipReadError(
        f"Reading {where} failed: {error} Pass on_error='skip' to draw others instead of such chips.",
        number,
    )
    named.__cause__ = error
    return named


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
        self._describe(out, plan, spots, slice(0, len(spots)))
        failed: dict[int, ChipReadError] = {}
        for strip in self._strips(plan, spots):
            try:
                self._fill(out, plan, strip)
                continue
            except (OSError, ClassesError) as error:
                if len(strip.chips) == 1:
                    failed[strip.chips[0] // plan.group] = _named(error, plan, strip, index)
                    continue
            for one in strip.apart(plan.size):  # to find the chip that it is
                try:
                    self._fill(out, plan, one)
                except (OSError, ClassesError) as error:
                    failed[one.chips[0] // plan.group] = _named(error, plan, one, index)
        for item, cause in sorted(failed.items()):
            if redraw is None:
                raise cause
            self._replace(out, item, cause, redraw)

    def _replace(self, out: Arrays, item: int, error: ChipReadError, redraw: Redraw) -> None:
        """Read another item in the place of one that failed."""
        while True:
            plan, number = redraw(error)
            index = np.array([number])
            spots = plan.spots(index)
            start = item * plan.group
            for strip in _alone(plan, spots):
                try:
                    self._fill(out, plan, replace(strip, chips=(start + strip.chips[0],)))
                except (OSError, ClassesError) as another:
                    error = _named(another, plan, strip, index)
                    break
            else:
                out["index"][item] = number
                self._describe(out, plan, spots, slice(start, start + plan.group))
                return

    def _strips(self, plan: ChipPlan, spots: Spots) -> Iterator[Strip]:
        """Join chips beside each other, so that pixels they share are read once."""
        most = min(_STRIP // max(self._pixel_bytes(plan) * plan.size[0], 1), _WIDEST)
        last: Strip | None = None
        for strip in _alone(plan, spots):
            joined = None if last is None else last.join(strip, most)
            if last is not None and joined is None:
                yield last
            last = joined or strip
        if last is not None:
            yield last

    def _pixel_bytes(self, plan: ChipPlan) -> int:
        """Memory of one pixel of the largest variable as stored."""
        every = [source for sources in self.outputs.values() for source in sources]
        return max(s.channels * s.dtype.itemsize * self._steps(plan, s) for s in every)

    def _fill(self, out: Arrays, plan: ChipPlan, strip: Strip) -> None:
        """Read a strip into the rows of a batch that its chips have."""
        cols = list(zip(strip.chips, strip.cols, strict=True))
        for at in strip.chips:
            out["valid"][at] = True
        for name, sources in self.outputs.items():
            start = 0
            for source in sources:
                reader = source.readers[strip.grid]
                bands, every = everything(reader)
                dates = every if strip.times is None or not source.timed else strip.times
                channels = slice(start, start + source.channels)
                shape = (len(dates), source.channels, strip.window.height, strip.window.width)
                seen = scratch((len(dates), 1, *shape[2:]), np.dtype(bool), "valid")
                if len(cols) == 1 and reader.dtype == out[name].dtype:
                    pixels = out[name][cols[0][0], : len(dates), channels]
                else:
                    pixels = scratch(shape, reader.dtype, "pixels")
                read_padded(reader, strip.window, pixels, seen, bands=bands, times=dates)
                for at, col in cols:
                    part = out[name][at, :, channels]
                    good = out[f"valid_{name}"][at] if name in self._with_validity else None
                    for date in range(len(dates)):
                        self._convert(source, pixels[date], seen[date, 0], col, part[date])
                        here = seen[date, 0, :, col : col + plan.size[1]]
                        out["valid"][at] &= here
                        if good is not None:
                            good[date] = here if start == 0 else good[date] & here
                    if len(dates) < len(part):
                        self._pad(source, part[len(dates) :])
                        if good is not None:
                            good[len(dates) :] = False
                start += source.channels

    def _convert(
        self, source: Source, pixels: np.ndarray, valid: np.ndarray, col: int, part: np.ndarray
    ) -> None:
        """Write a chip (C, H, W) of a strip of pixels as stored into its part of a batch."""
        if self.dtype == "native":
            if pixels is not part:
                np.copyto(part, pixels[..., col : col + part.shape[-1]])
        elif not source.label:
            to_float(pixels, valid, col, self.fill, part)
        elif source.table is not None and pixels.dtype in _TABLED:
            if not to_index(pixels, valid, col, source.table, self.ignore_index, part):
                raise _unknown(source, pixels, valid)
        else:
            self._convert_label(source, pixels, valid, col, part)

    def _convert_label(
        self, source: Source, pixels: np.ndarray, valid: np.ndarray, col: int, part: np.ndarray
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
        to_codes(codes, valid, col, self.ignore_index, part)

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

"""Chips drawn by class."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import xarray as xr

from geoxr.errors import ArgumentError, ChipError, ClassesError
from geoxr.grid.classes import Classes
from geoxr.grid.geobox import extent
from geoxr.grid.meaning import classes_of
from geoxr.io.parallel import run_all
from geoxr.io.reader import WindowReader
from geoxr.sample.area import Units, Within
from geoxr.sample.chip import ChipPlan, Grid, Spots
from geoxr.sample.class_index import ClassIndex, class_index, label_reader
from geoxr.sample.room import Room, check_length, seed_number
from geoxr.sample.times import dates_in
from geoxr.typing import Area, PathLike, Seed

#: Weights of classes: even, by their pixels, or one's own by code or name.
Weights = Literal["balanced", "natural"] | Mapping[Any, float]

#: Chips tried around a pixel before another pixel is drawn.
_TRIES = 8
#: Pixels drawn for a chip before all places around the pixels of its class are looked at.
_ROUNDS = 24
#: Cells of a class that all places are looked at in, and places in one whose validity is.
_SEARCHED = 64
_LOOKED_AT = 512


def stratified_chips(
    ds: xr.Dataset,
    size: float | tuple[float, float],
    length: int,
    *,
    by: str = "mask",
    weights: Weights = "balanced",
    index: PathLike | None = None,
    aoi: Area | None = None,
    toi: Any = None,
    seed: Seed = 0,
    min_valid: float = 0.0,
    within: Within = "window",
    units: Units = "pixels",
) -> ChipPlan:
    """Draw chips by class: a class, one of its pixels, and a chip that holds the pixel.

    The pixel is uniform over the valid pixels of the class around which a chip fits, and where in the
    chip it lies is uniform too, as far as grid and area allow. The label raster is read once, to count
    classes in cells of 128 pixels; every epoch reads the cells that it draws from.

    Parameters
    ----------
    ds : Dataset
    size : int or (height, width) [pixel]
        Of a chip, or in CRS units with ``units="crs"``.
    length : int
        Number of chips.
    by : str
        Name of the label raster. Where it has dates, a chip has the date of its pixel.
    weights : {"balanced", "natural"} or mapping of class to float
        "balanced" draws all classes that occur equally often, "natural" as often as they have pixels
        in the cells that meet the area. A mapping, from codes or names, gives weights in any unit;
        classes that it does not name are not drawn.
    index : path, optional
        File to keep the counts in, for other sessions; see `geoxr.class_index`.
    aoi : geometry, GeoSeries, GeoDataFrame or bounds, optional
        Only chips in it.
    toi : (start, stop), optional
        Only these dates.
    seed : int or numpy.random.Generator
        Fixes all chips of all epochs. A Generator is drawn from once.
    min_valid : float
        Smallest share of pixels that are valid in all layers.
    within : {"window", "centre"}
        Whether the whole window of a chip lies in the area, or its centre.
    units : {"pixels", "crs"}

    Returns
    -------
    ChipPlan
        ``plan.epoch(k)`` gives fresh draws.

    Raises
    ------
    ClassesError
        If the layer is no label raster, or a class of `weights` does not occur in the area.
    ChipError
        If no chip that holds a class of `weights` fits into the area. Of "balanced" and "natural" such
        a class is left out, with a warning.
    """
    places = Room.of(ds, size, aoi=aoi, within=within, min_valid=min_valid, units=units, look=False)
    length, number = check_length(length), seed_number(seed)
    reader = label_reader(ds, by)
    dates = dates_in(ds, toi)
    counted = class_index(ds, by, path=index)
    if reader.times is not None and dates is not None:
        counted = counted.at_dates(dates)
    if aoi is not None:
        # A chip whose centre is in the area shows what lies half its side beyond.
        beyond = max(places.size) / 2 if within == "centre" else 0
        counted = counted.meeting(tuple(part.buffer(beyond) for part in places.parts))
    shares = _shares(weights, counted, classes_of(ds[by]), by)
    draw = StratifiedDraw(
        places, reader, counted, tuple(shares), tuple(shares.values()), length, number,
        None if reader.times is not None else dates,
    )  # fmt: skip
    draw = _with_room(draw, by, strict=not isinstance(weights, str))
    return ChipPlan((Grid.of(ds),), places.size, draw)


def _shares(
    weights: Weights, counted: ClassIndex, classes: Classes | None, by: str
) -> dict[int, float]:
    """Probability of each class that is drawn, by code."""
    totals = {code: total for code, total in counted.totals().items() if total > 0}
    if classes is not None:
        totals = {code: total for code, total in totals.items() if code in classes.values}
    if not totals:
        raise ClassesError(f"No class of {by!r} occurs in the area.")
    if isinstance(weights, str):
        if weights not in ("balanced", "natural"):
            raise ArgumentError(
                f'weights is {weights!r}, but must be "balanced", "natural" or a mapping of classes '
                f"to numbers."
            )
        wanted = {code: 1.0 if weights == "balanced" else total for code, total in totals.items()}
    elif not isinstance(weights, Mapping):
        raise ArgumentError(
            f"weights must name the classes: {{1: 0.5, 'water': 2}}, not {type(weights).__name__}."
        )
    else:
        wanted = {_code(one, classes, by): float(weight) for one, weight in weights.items()}
        if not all(0 <= weight < np.inf for weight in wanted.values()) or not any(wanted.values()):
            raise ArgumentError(
                f"weights must not be negative, and one at least positive, not {dict(weights)}."
            )
        wanted = {code: weight for code, weight in wanted.items() if weight > 0}
        absent = sorted(set(wanted) - set(totals))
        if absent:
            raise ClassesError(
                f"The classes {_names(absent, classes)} do not occur in {by!r} in the area; "
                f"{_names(sorted(totals), classes)} do. Leave them out of weights."
            )
    whole = sum(wanted.values())
    return {code: weight / whole for code, weight in wanted.items()}


def _code(one: Any, classes: Classes | None, by: str) -> int:
    """Code of a class given as code or name."""
    if isinstance(one, int | np.integer):
        return int(one)
    if classes is None or one not in classes.names:
        known = "has no names of classes" if classes is None else f"has {list(classes.names)}"
        raise ClassesError(f"weights names the class {one!r}, but {by!r} {known}.")
    return classes.values[classes.names.index(one)]


def _names(codes: Sequence[int], classes: Classes | None) -> str:
    known = {} if classes is None else dict(zip(classes.values, classes.names, strict=True))
    listed = [f"{code} ({known[code]})" if code in known else str(code) for code in codes[:20]]
    return ", ".join(listed) + (" ..." if len(codes) > 20 else "")


def _with_room(draw: StratifiedDraw, by: str, *, strict: bool) -> StratifiedDraw:
    """Draw the first epoch; leave classes out that no chip can hold, or raise if they were named."""
    left_out: list[int] = []
    while True:
        try:
            draw.places(0)
        except _NoRoomError as none:
            if strict or len(draw.codes) == 1:
                raise
            left_out.append(none.code)
            keep = [at for at, code in enumerate(draw.codes) if code != none.code]
            kept = np.array([draw.shares[at] for at in keep])
            draw = replace(
                draw, codes=tuple(draw.codes[at] for at in keep),
                shares=tuple((kept / kept.sum()).tolist()),
            )  # fmt: skip
            continue
        if left_out:
            warnings.warn(
                f"No chip in the area holds a pixel of the classes {left_out} of {by!r}, which are "
                f"left out.",
                stacklevel=4,
            )
        return draw


class _NoRoomError(ChipError):
    """No chip holds a pixel of a class."""

    def __init__(self, code: int, size: tuple[int, int]) -> None:
        super().__init__(
            f"No chip of {size[0]} x {size[1]} pixels that holds a pixel of class {code} lies in "
            f"the area with enough valid pixels. Make size or min_valid smaller, the area larger, or "
            f"leave the class out of weights."
        )
        self.code = code


@dataclass(frozen=True, eq=False)
class StratifiedDraw:
    """Draws of a class, a pixel of it and a chip around that, anew for every epoch.

    Attributes
    ----------
    codes, shares : tuple
        Classes and their probabilities.
    dates : tuple of int, optional
        Dates of all chips, where the labels have none.
    """

    where: Room
    reader: WindowReader
    index: ClassIndex
    codes: tuple[int, ...]
    shares: tuple[float, ...]
    length: int
    seed: int
    dates: tuple[int, ...] | None

    def places(self, epoch: int) -> Spots:
        """Return the places of an epoch."""
        return _drawn(self, epoch)[0]

    def seeds(self, epoch: int) -> np.ndarray:
        """Class, row and column (n, 3) of the pixels that the chips were drawn for."""
        return _drawn(self, epoch)[1]


@lru_cache(maxsize=8)
def _drawn(draw: StratifiedDraw, epoch: int) -> tuple[Spots, np.ndarray]:
    rng = np.random.default_rng([draw.seed, epoch])
    classes = rng.choice(np.array(draw.codes), draw.length, p=np.array(draw.shares))
    corners, seeds = np.empty((draw.length, 2), "int64"), np.empty((draw.length, 2), "int64")
    dates = np.zeros(draw.length, "int64")
    open_ = np.arange(draw.length)
    for _ in range(_ROUNDS):
        if not len(open_):
            break
        pixels, when = _pixels(draw, classes[open_], rng)
        chips, found = _around(draw.where, pixels, rng)
        done = open_[found]
        corners[done], seeds[done], dates[done] = chips[found], pixels[found], when[found]
        open_ = open_[~found]
    for at in open_:
        corners[at], seeds[at], dates[at] = _searched(draw, int(classes[at]), rng)
    times = None if draw.dates is None else np.tile(draw.dates, (draw.length, 1))
    if draw.reader.times is not None:
        times = dates[:, None]
    return Spots(corners, None, times), np.column_stack([classes, seeds])


def _pixels(
    draw: StratifiedDraw, classes: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a pixel (row, column) of each class, uniformly over all its pixels, and its date."""
    cells, ranks = np.empty(len(classes), "int64"), np.empty(len(classes), "int64")
    for code in np.unique(classes):
        mine = np.flatnonzero(classes == code)
        held, counts = draw.index.entries(int(code))
        ends = np.cumsum(counts, dtype="int64")
        drawn = rng.integers(0, ends[-1], len(mine))
        entry = np.searchsorted(ends, drawn, side="right")
        cells[mine], ranks[mine] = held[entry], drawn - (ends[entry] - counts[entry])
    pixels, dates = np.empty((len(classes), 2), "int64"), np.empty(len(classes), "int64")

    def look(mine: np.ndarray) -> None:
        date, row, col, labels, good = _cell(draw, int(cells[mine[0]]))
        dates[mine] = date
        for code in np.unique(classes[mine]):
            these = mine[classes[mine] == code]
            places = np.flatnonzero((labels == code) & good)
            if len(places) <= ranks[these].max():
                raise ClassesError(
                    "The labels are not those that were counted: a class has fewer pixels than "
                    "before. Plan the chips again."
                )
            at = np.stack(np.divmod(places[ranks[these]], labels.shape[1]), axis=1)
            pixels[these] = at + (row, col)

    order = np.argsort(cells, kind="stable")
    run_all(look, np.split(order, np.flatnonzero(np.diff(cells[order])) + 1))
    return pixels, dates


def _cell(draw: StratifiedDraw, cell: int) -> tuple[int, int, int, np.ndarray, np.ndarray]:
    """Date, first row and column, labels and validity of a cell."""
    date, window = draw.index.window(cell)
    window = window & extent(draw.reader.geobox)
    labels = np.empty((1, 1, window.height, window.width), draw.reader.dtype)
    good = np.empty(labels.shape, bool)
    draw.reader.read(window, labels, good, bands=(0,), times=(date,))
    return date, window.row, window.col, labels[0, 0], good[0, 0]


def _around(
    where: Room, pixels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a chip around each pixel; returns corners (n, 2) and whether they are legal (n,)."""
    size, room = np.array(where.size), np.array(where.geobox.shape) - where.size
    lowest = np.maximum(pixels - size + 1, 0)
    highest = np.minimum(pixels, room)
    corners, found = lowest.copy(), np.zeros(len(pixels), bool)
    for _ in range(_TRIES):
        open_ = np.flatnonzero(~found)
        if not len(open_):
            break
        drawn = rng.integers(lowest[open_], highest[open_] + 1)
        good = where.hold(drawn)
        corners[open_[good]] = drawn[good]
        found[open_[good]] = True
    return corners, found


def _searched(
    draw: StratifiedDraw, code: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Corner, pixel and date of a chip that holds a class, where hardly any does.

    Looks at all corners around the pixels of the class in a cell, cell by cell.
    """
    cells, _ = draw.index.entries(code)
    for cell in rng.permutation(cells)[:_SEARCHED]:
        date, row, col, labels, good = _cell(draw, int(cell))
        mine = (labels == code) & good
        corners = _holding(mine, draw.where.size) + (row, col)
        corners = corners[draw.where.lie_inside(corners)]
        for corner in rng.permutation(corners)[:_LOOKED_AT]:
            if draw.where.hold(corner[None])[0]:
                top, left = np.maximum(corner - (row, col), 0)
                bottom, right = corner - (row, col) + draw.where.size
                held = np.argwhere(mine[top:bottom, left:right])
                pixel = held[rng.integers(len(held))] + (row + top, col + left)
                return corner, pixel, date
    raise _NoRoomError(code, draw.where.size)


def _holding(mine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Corners (n, 2) of all windows that hold a pixel of a mask, counted from its first pixel."""
    height, width = size
    sums = np.pad(mine, ((height, height), (width, width))).astype("int64").cumsum(0).cumsum(1)
    held = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]
    held += sums[:-height, :-width]
    # held[i] is the sum of the rows i + 1 ... i + height of the padded mask.
    return np.argwhere(held > 0) + (1 - height, 1 - width)

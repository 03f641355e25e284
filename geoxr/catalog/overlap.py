"""How scenes are combined where they overlap, per pixel and band."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from geoxr.errors import ArgumentError
from geoxr.typing import Kind

#: The rules.
OVERLAPS = ("first", "last", "mean", "median", "min", "max", "count")
#: Rules that take a pixel from one scene.
PICKING = ("first", "last")

#: Where a scene lies in a window (rows, columns), its pixels (time, band, y, x), and which are valid.
Part: TypeAlias = tuple[tuple[slice, slice], np.ndarray, np.ndarray]


def check_overlap_rule(rule: str, kind: Kind, dtype: np.dtype) -> None:
    """Raise unless pixels of a kind and type can be combined by a rule."""
    if rule not in OVERLAPS:
        raise ArgumentError(f"overlap is {rule!r}, but must be one of {', '.join(OVERLAPS)}.")
    if kind == "categorical" and rule in ("mean", "median"):
        raise ArgumentError(
            f"The pixels are codes of classes, and the {rule} of two codes is the code of a third. "
            f'Use another overlap rule, or say that they are quantities: kind="continuous".'
        )
    if dtype.kind == "c" and rule in ("median", "min", "max"):
        raise ArgumentError(
            f"The pixels are complex and have no order, so there is no {rule}. Use another overlap "
            f"rule."
        )


def combine(
    rule: str,
    parts: Iterator[Part],
    number_of_parts: int,
    out: np.ndarray,
    good: np.ndarray,
    nodata: float | None,
    fill: float,
) -> None:
    """Reduce all valid scenes of every pixel.

    Parameters
    ----------
    rule : {"mean", "median", "min", "max", "count"}
    parts : iterator of Part
        Scenes in order; each is done with before the next is asked for, except for the median.
    out, good : array (time, band, y, x)
        Filled with the result and its validity.
    nodata : float, optional
        A valid result never equals it.
    fill : float
        Written where no scene is valid.
    """
    reduce = {"mean": _mean, "median": _median, "min": _extreme, "max": _extreme, "count": _count}
    reduce[rule](rule, parts, number_of_parts, out, good)
    if rule == "count":
        return
    if nodata is not None and nodata == nodata:
        _keep_off(out, good, nodata)
    out[~good] = fill


def _mean(rule: str, parts: Iterator[Part], many: int, out: np.ndarray, good: np.ndarray) -> None:
    total = np.zeros(out.shape, "complex128" if out.dtype.kind == "c" else "float64")
    number = np.zeros(out.shape, "uint32")
    for (rows, cols), pixels, fresh in parts:
        here = total[..., rows, cols]
        np.add(here, pixels, out=here, where=fresh)
        number[..., rows, cols] += fresh
    np.greater(number, 0, out=good)
    np.divide(total, number, out=total, where=good)
    _store(total, out)


def _median(rule: str, parts: Iterator[Part], many: int, out: np.ndarray, good: np.ndarray) -> None:
    stack = np.full((many, *out.shape), np.nan)
    for layer, ((rows, cols), pixels, fresh) in zip(stack, parts, strict=True):
        np.copyto(layer[..., rows, cols], pixels, where=fresh)
        good[..., rows, cols] |= fresh
    if many:
        stack[0, ~good] = 0  # where no scene has a value
        _store(np.nanmedian(stack, axis=0), out)


def _extreme(
    rule: str, parts: Iterator[Part], many: int, out: np.ndarray, good: np.ndarray
) -> None:
    pick = np.minimum if rule == "min" else np.maximum
    for (rows, cols), pixels, fresh in parts:
        value, known = out[..., rows, cols], good[..., rows, cols]
        pick(value, pixels, out=value, where=fresh & known)
        np.copyto(value, pixels, where=fresh & ~known)
        known |= fresh


def _count(rule: str, parts: Iterator[Part], many: int, out: np.ndarray, good: np.ndarray) -> None:
    out[...] = 0
    for (rows, cols), _, fresh in parts:
        out[..., rows, cols] += fresh
    good[...] = True


def _store(value: np.ndarray, out: np.ndarray) -> None:
    """Write floats into the type of the pixels; integers are rounded half up."""
    if out.dtype.kind in "iu":
        value = np.floor(value + 0.5)
    np.copyto(out, value, casting="unsafe")


def _keep_off(out: np.ndarray, good: np.ndarray, nodata: float) -> None:
    """Move valid results that equal the number of missing pixels to the next number."""
    if out.dtype.kind in "iu":
        highest = np.iinfo(out.dtype).max
        other = nodata - 1 if nodata == highest else nodata + 1
    else:
        other = nodata + max(abs(nodata) * 1e-6, 1e-30)
    out[good & (out == out.dtype.type(nodata))] = other

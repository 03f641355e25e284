"""What is burnt for each feature: codes of classes, or numbers of features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from geoxr.errors import ArgumentError, ClassesError
from geoxr.grid.classes import Classes

if TYPE_CHECKING:
    import geopandas
    import pandas as pd

#: More distinct names than this are not classes.
_MOST_NAMES = 1024
#: Name of what is between features.
_BACKGROUND = "background"
_DTYPES = tuple(map(np.dtype, ("uint8", "int8", "uint16", "int16", "int32")))


@dataclass(frozen=True)
class Burning:
    """What is burnt: see `geoxr.open_vector`.

    Parameters
    ----------
    codes : tuple of (str, int)
        Code of each name that a text attribute may have; empty where `classes` names them.
    """

    attribute: str | None = None
    classes: Classes | None = None
    codes: tuple[tuple[str, int], ...] = ()
    fill: int | None = 0
    mode: Literal["semantic", "instance"] = "semantic"
    overlap: Literal["first", "last"] = "last"

    def __post_init__(self) -> None:
        if self.mode not in ("semantic", "instance"):
            raise ArgumentError(f'mode is {self.mode!r}, but must be "semantic" or "instance".')
        if self.overlap not in ("first", "last"):
            raise ArgumentError(f'overlap is {self.overlap!r}, but must be "first" or "last".')
        if self.fill is not None and not _whole(self.fill):
            raise ArgumentError(
                f"fill is the code of pixels outside of features, or None if they are invalid, not "
                f"{self.fill!r}."
            )


@dataclass(frozen=True)
class Codes:
    """Values of features in the order of the table, and what goes with them."""

    values: np.ndarray
    classes: Classes | None
    background: int
    nodata: int | None
    dtype: np.dtype
    same_as_fill: int


def read_classes(
    classes: Mapping[Any, Any] | Sequence[str] | Classes | int | None,
) -> tuple[Classes | None, tuple[tuple[str, int], ...]]:
    """Read ``classes=`` in any of its forms.

    Returns
    -------
    classes : Classes or None
    codes : tuple of (str, int)
        Of a mapping from names to codes; several names may share a code.
    """
    if isinstance(classes, str):
        raise ClassesError(f"classes is the text {classes!r}. Pass a list: classes=[{classes!r}].")
    if not isinstance(classes, Mapping):
        return (None if classes is None else Classes.of(classes)), ()
    keys, values = list(classes), list(classes.values())
    if all(map(_whole, keys)) and all(isinstance(value, str) for value in values):
        return Classes.of(classes), ()
    if keys and all(isinstance(key, str) for key in keys) and all(map(_whole, values)):
        codes = tuple((key, int(value)) for key, value in classes.items())
        names: dict[int, list[str]] = {}
        for name, code in codes:
            names.setdefault(code, []).append(name)
        return Classes.of({code: "/".join(of) for code, of in names.items()}), codes
    raise ClassesError(
        f"classes={dict(classes)!r} is neither of codes to names, such as {{1: 'wheat'}}, nor of the "
        f"names in a text attribute to codes, such as {{'wheat': 1}}. Codes are whole numbers, names "
        f"are text."
    )


def codes_of(frame: geopandas.GeoDataFrame, burning: Burning) -> Codes:
    """Find the value of every row of a table of features."""
    if burning.mode == "instance":
        values, known = np.arange(1, len(frame) + 1), None
    elif burning.attribute is None:
        values, known = _one_class(len(frame), burning)
    else:
        values, known = _of_column(frame, burning.attribute, burning)
    fill = burning.fill
    if known is not None and fill is not None:
        known = _with_background(known, fill)
    used = {*np.unique(values).tolist(), *(known.values if known else ())}
    nodata = _free(used) if fill is None else None
    background = fill if fill is not None else int(nodata or 0)
    same = int((values == fill).sum()) if fill is not None else 0
    if (
        known is not None
        and same
        and known.names[known.values.index(int(fill or 0))] == _BACKGROUND
    ):
        same = 0
    return Codes(values, known, background, nodata, smallest({*used, background}), same)


def smallest(values: Iterable[int]) -> np.dtype:
    """Return the smallest integer type that holds all values, at most 32 bits wide."""
    low, high = min(values), max(values)
    for dtype in _DTYPES:
        info = np.iinfo(dtype)
        if info.min <= low and high <= info.max:
            return dtype
    raise ClassesError(
        f"Values from {low} to {high} do not fit into 32 bits. Number the classes from 0, or burn "
        f"mode='instance'."
    )


def _free(used: set[int]) -> int:
    """Return a number that marks missing pixels: 0, or the largest of the smallest type."""
    if 0 not in used:
        return 0
    for dtype in _DTYPES:
        info = np.iinfo(dtype)
        if info.min <= min(used) and max(used) < info.max:
            return int(info.max)
    return int(np.iinfo("int32").min)


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _with_background(known: Classes, fill: int) -> Classes:
    """Name the code of pixels outside of features, if the classes do not."""
    if fill in known.values:
        return known
    name = _BACKGROUND if _BACKGROUND not in known.names else "outside"
    return Classes((fill, *known.values), (name, *known.names), ("#000000", *known.colors))


def _one_class(number: int, burning: Burning) -> tuple[np.ndarray, Classes]:
    """All features are of one class: 1, or the only one that is not the background."""
    known = burning.classes or Classes.of({1: "feature"})
    others = [value for value in known.values if value != burning.fill]
    code = 1 if 1 in others else others[0] if len(others) == 1 else None
    if code is None:
        raise ClassesError(
            f"Without attribute= all features are of one class, but classes= names "
            f"{', '.join(known.names)}{' and fill=1' if burning.fill == 1 else ''}. Pass the column "
            f"that tells them apart as attribute=, or one class."
        )
    return np.full(number, code, "int64"), known


def _of_column(
    frame: geopandas.GeoDataFrame, attribute: str, burning: Burning
) -> tuple[np.ndarray, Classes | None]:
    if attribute not in frame.columns or attribute == frame.geometry.name:
        names = [str(name) for name in frame.columns if name != frame.geometry.name]
        raise ArgumentError(
            f"The vector layer has no column {attribute!r}. It has "
            f"{', '.join(names) or 'only geometries'}."
        )
    column = frame[attribute]
    if column.dtype == object or str(column.dtype) in ("category", "str", "string"):
        # Columns of the most general type may still hold numbers.
        column = column.astype(object).infer_objects()
    missing = column.isna()
    if column.dtype.kind not in "iubf":
        missing |= column.astype(str).str.strip() == ""
    if missing.any():
        raise ClassesError(
            f"{int(missing.sum())} of {len(column)} features have no {attribute!r}. Leave them out: "
            f"where={f'{attribute} IS NOT NULL'!r}, or gdf.dropna(subset=[{attribute!r}])."
        )
    if column.dtype.kind in "iubf":
        return _of_numbers(column, attribute, burning.classes)
    return _of_names(column.astype(str), attribute, burning)


def _of_numbers(
    column: pd.Series, attribute: str, known: Classes | None
) -> tuple[np.ndarray, Classes | None]:
    if column.dtype.kind == "f" and not (np.isfinite(column) & (column % 1 == 0)).all():
        raise ClassesError(
            f"Column {attribute!r} holds fractions, not class codes. Cut them into classes first: "
            f"gdf.assign(code=pandas.cut(gdf[{attribute!r}], bins, labels=False))."
        )
    if len(column):
        smallest((int(column.min()), int(column.max())))
    values = column.to_numpy("int64")
    if known is not None:
        unknown = sorted(set(np.unique(values).tolist()) - set(known.values))
        if unknown:
            raise ClassesError(
                f"Column {attribute!r} has the codes {', '.join(map(str, unknown[:5]))}, which "
                f"classes= does not name. It names {', '.join(map(str, known.values))}. Name them "
                f"all, or leave features out with where=."
            )
    return values, known


def _of_names(column: pd.Series, attribute: str, burning: Burning) -> tuple[np.ndarray, Classes]:
    known, names = burning.classes, sorted(set(column))
    if known is None:
        if len(names) > _MOST_NAMES:
            raise ClassesError(
                f"Column {attribute!r} has {len(names)} different names, so it hardly holds classes. "
                f"Pass classes=, another attribute=, or mode='instance'."
            )
        known = _counted(names, burning.fill)
    codes = dict(burning.codes) or dict(zip(known.names, known.values, strict=True))
    if not burning.codes and len(codes) < len(known.names):
        twice = next(name for name in known.names if known.names.count(name) > 1)
        raise ClassesError(
            f"classes= gives the name {twice!r} to several codes, so that of a feature is unclear."
        )
    missing = [name for name in names if name not in codes]
    if missing:
        raise ClassesError(
            f"Column {attribute!r} has {', '.join(map(repr, missing[:5]))}, which classes= does not "
            f"name. It names {', '.join(codes)}."
        )
    return column.map(codes).to_numpy("int64"), known


def _counted(names: Sequence[str], fill: int | None) -> Classes:
    """Count names from 1 on, around the code of the background."""
    codes = (code for code in range(1, len(names) + 2) if code != fill)
    known: dict[int, str] = {}
    if fill is not None:
        known[fill] = _BACKGROUND
        names = [name for name in names if name != _BACKGROUND]
    return Classes.of(known | dict(zip(codes, names, strict=False)))

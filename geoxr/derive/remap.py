"""`remap`: other classes for a label raster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import xarray as xr

from geoxr.derive.layers import CODES, PACKING, derived, readers_of, without
from geoxr.errors import ArgumentError, ClassesError
from geoxr.grid.classes import Classes
from geoxr.grid.meaning import band_dim, classes_of
from geoxr.io.mapped import Mapped
from geoxr.io.reader import WindowReader, has_holes

#: What becomes of codes that are not named: missing, as they are, an error, or a code.
Default = Literal["nodata", "keep", "error"] | int


@dataclass(frozen=True)
class Recode:
    """Replace codes by others through a table; see `geoxr.io.mapped.Rule`.

    Parameters
    ----------
    old, new : tuple of int
        As many of both; `old` sorted.
    default : {"nodata", "keep", "error"} or int
    name : str
        Of the layer, for messages.
    """

    old: tuple[int, ...]
    new: tuple[int, ...]
    default: Default
    name: str

    marks = False

    @property
    def holes(self) -> bool:
        """Whether codes become missing."""
        return self.default == "nodata"

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """New code of every code of 16 bits, and whether it is one of the old."""
        table, known = np.zeros(1 << 16, "int64"), np.zeros(1 << 16, bool)
        if isinstance(self.default, int):
            table[:] = self.default
        for old, new in zip(self.old, self.new, strict=True):
            if -(1 << 15) <= old < 1 << 16:
                # A negative code counts from the end, as indexing does.
                table[old], known[old] = new, True
        return table, known

    def __call__(
        self, pixels: Sequence[np.ndarray], good: np.ndarray, out: np.ndarray, bands: Sequence[int]
    ) -> None:
        """Fill `out`; see `geoxr.io.mapped.Rule`."""
        codes = pixels[0].view("uint8") if pixels[0].dtype == bool else pixels[0]
        value, known = self._look_up(codes)
        if self.default == "nodata":
            good &= known
        elif self.default == "keep":
            value = np.where(known, value, codes)
            lost = good & ~known & (value.astype(out.dtype) != codes)
            self._complain(codes, lost, f"does not fit into {out.dtype}")
        elif self.default == "error":
            self._complain(codes, good & ~known, "is none of the codes to replace")
        out[...] = value

    def _look_up(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """New codes, and which pixels have one of the old."""
        if codes.dtype.itemsize <= 2:
            table, known = self._table
            return table[codes], known[codes]
        old = np.array(self.old, codes.dtype)
        at = np.searchsorted(old, codes).clip(max=len(old) - 1)
        known = old[at] == codes
        other = self.default if isinstance(self.default, int) else 0
        return np.where(known, np.array(self.new, "int64")[at], other), known

    def _complain(self, codes: np.ndarray, wrong: np.ndarray, why: str) -> None:
        if wrong.any():
            raise ClassesError(
                f"{self.name!r} has the code {codes[wrong][0]}, which {why}. Name it in the mapping, "
                f'or say what becomes of others: default="nodata", or a code.'
            )

    def __getstate__(self) -> dict[str, object]:
        return {key: getattr(self, key) for key in ("old", "new", "default", "name")}


def remap(
    da: xr.DataArray,
    mapping: Mapping[int, int] | Mapping[str, int | str | Iterable[int | str]] | Classes,
    *,
    default: Default = "nodata",
    classes: Classes | Mapping[int, str] | Sequence[str] | None = None,
) -> xr.DataArray:
    """Replace the codes of a label raster, lazily, and attach what the new ones mean.

    Parameters
    ----------
    da : DataArray
        Of integers.
    mapping : mapping or Classes
        ``{old code: new code}``; or ``{new name: old codes}``, where the old ones may be given by
        code or by name, one or many, and the new codes count from 0; or classes to keep with their
        codes.
    default : {"nodata", "keep", "error"} or int
        What becomes of other codes: missing, as they are, an error when they are read, or a code.
    classes : Classes, mapping of code to name, or sequence of names, optional
        Of the result. Default: as `mapping` says; for codes, the name of the old class where one
        alone becomes the new one, else its number.

    Returns
    -------
    DataArray
        Of the type of `da` if that holds the new codes, else of the smallest that does. Missing
        pixels have the nodata value of `da` if it is no new code, else 0 or the largest number.

    Raises
    ------
    ClassesError
        If a name is not one of the classes of `da`, or a code is named twice.
    ArgumentError
        If `da` holds no integers.

    Examples
    --------
    >>> import numpy as np, xarray as xr, geoxr as gx
    >>> codes = np.array([[1, 5], [111, 7]], "uint8")
    >>> label = xr.DataArray(codes, {"y": [1.5, 0.5], "x": [0.5, 1.5]}, ("y", "x"))
    >>> land = label.geoxr.remap({"crops": [1, 5], "water": 111})
    >>> land.values.tolist(), land.geoxr.classes.names, land.geoxr.nodata
    ([[0, 0], [1, 255]], ('crops', 'water'), 255)
    """
    if da.dtype.kind not in "iub":
        raise ArgumentError(
            f"{da.name!r} is {da.dtype}; class codes are integers. Make some first: "
            f"da.geoxr.astype('uint8')."
        )
    if default not in ("nodata", "keep", "error") and not isinstance(default, int | np.integer):
        raise ArgumentError(
            f'default is {default!r}, but must be "nodata", "keep", "error" or a code.'
        )
    (source,) = readers_of([da])
    pairs, known = _pairs(da, mapping)
    if not pairs:
        raise ArgumentError("The mapping is empty: name at least one code.")
    if classes is not None:
        known = Classes.of(classes)
    elif isinstance(default, int | np.integer) and int(default) not in known.values:
        known = _joined(known, int(default))
    elif default == "keep":
        known = _kept(da, pairs, mapping, known)
    codes = {*pairs.values(), *([int(default)] if not isinstance(default, str) else [])}
    unnamed = sorted(codes - set(known.values))
    if unnamed:
        raise ClassesError(f"classes= does not name the new codes {unnamed[:5]}.")
    dtype, nodata = _stored(source, codes, default)
    old = tuple(code for code in sorted(pairs) if _fits({code}, _whole(source.dtype)))
    if not old:
        raise ClassesError(
            f"None of the codes {sorted(pairs)[:5]} can be a pixel of {source.dtype}."
        )
    rule = Recode(old, tuple(pairs[code] for code in old), default, str(da.name))
    reader = Mapped((source,), rule, dtype, nodata, source.bands, source.times)
    return derived(
        da,
        reader,
        kind="categorical",
        classes=known,
        attrs={**without(da.attrs, *CODES, *PACKING), "units": "1"},
        band=band_dim(da.dims),
        name=da.name,
    )


def _pairs(da: xr.DataArray, mapping: Mapping | Classes) -> tuple[dict[int, int], Classes]:
    """Old code -> new code, and the new classes."""
    if isinstance(mapping, Classes):
        return {value: value for value in mapping.values}, mapping
    if not isinstance(mapping, Mapping) or not mapping:
        raise ArgumentError(
            f"mapping is {mapping!r}, but must be {{old code: new code}}, {{new name: old codes}} or "
            f"Classes."
        )
    if all(isinstance(key, str) for key in mapping):
        return _by_name(da, mapping)
    codes = {_code(old): _code(new) for old, new in mapping.items()}
    return codes, _renamed(da, codes)


def _code(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ArgumentError(
            f"{value!r} is no class code. Pass {{old code: new code}} with whole numbers, or "
            f"{{new name: old codes}}."
        )
    return int(value)


def _by_name(da: xr.DataArray, mapping: Mapping) -> tuple[dict[int, int], Classes]:
    known = classes_of(da)
    names = {} if known is None else dict(zip(known.names, known.values, strict=True))
    pairs: dict[int, int] = {}
    for new, olds in enumerate(mapping.values()):
        for old in [olds] if isinstance(olds, int | str | np.integer) else olds:
            if isinstance(old, str) and old not in names:
                raise ClassesError(
                    f"{da.name!r} has no class {old!r}; it has {', '.join(names) or 'no names'}."
                )
            code = names[old] if isinstance(old, str) else _code(old)
            if code in pairs:
                raise ClassesError(f"The code {code} is in two of the new classes.")
            pairs[code] = new
    return pairs, Classes(tuple(range(len(mapping))), tuple(mapping))


def _renamed(da: xr.DataArray, codes: Mapping[int, int]) -> Classes:
    """Classes of the new codes, with the name and colour of the old one where it is one alone."""
    known = classes_of(da)
    looks = {} if known is None else _looks(known)
    new = tuple(dict.fromkeys(codes.values()))
    made_up = Classes.of({code: str(code) for code in new})
    names, colors = [], []
    for code, name, color in zip(new, made_up.names, made_up.colors, strict=True):
        olds = [old for old, to in codes.items() if to == code]
        look = looks.get(olds[0]) if len(olds) == 1 else None
        names.append(name if look is None else look[0])
        colors.append(color if look is None else look[1])
    return Classes(new, tuple(names), tuple(colors))


def _joined(known: Classes, default: int) -> Classes:
    return Classes((*known.values, default), (*known.names, "other"))


def _kept(
    da: xr.DataArray, pairs: Mapping[int, int], mapping: Mapping | Classes, new: Classes
) -> Classes:
    """Return the classes that stay, with the new ones."""
    if not isinstance(mapping, Classes) and all(isinstance(key, str) for key in mapping):
        raise ArgumentError(
            'default="keep" leaves other codes as they are, and new names alone have codes from 0 on, '
            "which these may be. Say which codes they get: {old code: new code}, with classes=."
        )
    known = classes_of(da)
    old = {} if known is None else _looks(known)
    if isinstance(mapping, Classes):
        old |= _looks(mapping)
        pairs = {}
    kept = {value: look for value, look in old.items() if value not in pairs}
    # Codes that become one of the classes join it under its name.
    joined = {**kept, **{code: look for code, look in _looks(new).items() if code not in kept}}
    names, colors = zip(*joined.values(), strict=True)
    return Classes(tuple(joined), names, colors)


def _looks(classes: Classes) -> dict[int, tuple[str, str]]:
    """Name and colour of every code."""
    return dict(zip(classes.values, zip(classes.names, classes.colors, strict=True), strict=True))


def _stored(
    source: WindowReader, codes: set[int], default: Default
) -> tuple[np.dtype, float | int | None]:
    """Type and nodata of the result."""
    needed = default == "nodata" or has_holes(source)
    own = _whole(source.dtype)
    if default == "keep":
        fits = _fits(codes, own)
        dtype = own if fits else np.result_type(own, Classes.of(dict.fromkeys(codes, "_")).dtype)
        free = source.nodata if source.nodata not in codes else None
        return dtype, free
    smallest = Classes.of(dict.fromkeys(codes, "_")).dtype
    for dtype in (own, smallest):
        if not _fits(codes, dtype):
            continue
        if not needed:
            return dtype, None
        for mark in (source.nodata, 0, int(np.iinfo(dtype).max)):
            if mark is not None and _fits({int(mark)}, dtype) and int(mark) not in codes:
                return dtype, int(mark)
    raise ClassesError(f"The codes {sorted(codes)[:5]} leave no number for missing pixels.")


def _whole(dtype: np.dtype) -> np.dtype:
    return np.dtype("uint8") if dtype.kind == "b" else dtype


def _fits(codes: set[int], dtype: np.dtype) -> bool:
    info = np.iinfo(dtype)
    return all(info.min <= code <= info.max for code in codes)

"""The classes of a label raster."""

from __future__ import annotations

import colorsys
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoxr.errors import ClassesError

#: Classes that a repr names.
_SHOWN = 6


@dataclass(frozen=True, repr=False)
class Classes:
    """The codes, names and colours of a label raster, in the order that models count them.

    Parameters
    ----------
    values : tuple of int
        Codes in the raster; distinct.
    names : tuple of str
        One name per code.
    colors : tuple of str, optional
        One colour per code as "#rrggbb"; made up evenly where left out.

    Examples
    --------
    >>> classes = Classes.of({1: "Corn", 5: "Soybeans"})
    >>> classes
    Classes(2: {1: 'Corn', 5: 'Soybeans'})
    >>> len(classes), classes.names[1]
    (2, 'Soybeans')
    >>> classes.to_index(np.array([5, 1, 7])).tolist()
    [1, 0, -1]
    """

    values: tuple[int, ...]
    names: tuple[str, ...]
    colors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.values)) != len(self.values) or not self.values:
            raise ClassesError(f"Class codes must be distinct and not empty, not {self.values}.")
        if not all(name.strip() for name in self.names):
            raise ClassesError(f"Class names must not be empty: {self.names}.")
        if len(self.names) != len(self.values):
            raise ClassesError(f"{len(self.values)} class codes but {len(self.names)} names.")
        if not self.colors:
            object.__setattr__(self, "colors", default_colors(len(self.values)))
        if len(self.colors) != len(self.values):
            raise ClassesError(f"{len(self.values)} class codes but {len(self.colors)} colours.")

    @classmethod
    def of(cls, classes: Classes | Mapping[int, str] | Sequence[str] | int) -> Classes:
        """Make classes of what people have: a mapping, a list of names, or just their number."""
        if isinstance(classes, Classes):
            return classes
        if isinstance(classes, Mapping):
            if any(int(value) != value for value in classes):
                raise ClassesError(f"Class codes are whole numbers, not {list(classes)}.")
            values = tuple(int(value) for value in classes)
            return cls(values, tuple(str(name) for name in classes.values()))
        if isinstance(classes, int):
            classes = [str(value) for value in range(classes)]
        return cls(tuple(range(len(classes))), tuple(str(name) for name in classes))

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        listed = [f"{value}: {name!r}" for value, name in zip(self.values, self.names, strict=True)]
        shown = listed if len(listed) <= _SHOWN else [*listed[: _SHOWN - 1], "...", listed[-1]]
        return f"Classes({len(self)}: {{{', '.join(shown)}}})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><td>{value}</td><td><span style="display:inline-block;width:1em;height:1em;'
            f'background:{html.escape(color)}"></span></td><td>{html.escape(name)}</td></tr>'
            for value, name, color in zip(self.values, self.names, self.colors, strict=True)
        )
        head = "<tr><th>code</th><th>colour</th><th>name</th></tr>"
        return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"

    def to_index(self, codes: np.ndarray) -> np.ndarray:
        """Replace codes by their position 0..K-1 (int64); -1 where a code is none of them."""
        order = np.argsort(self.values)
        sorted_values = np.asarray(self.values)[order]
        at = np.searchsorted(sorted_values, codes).clip(max=len(self.values) - 1)
        return np.where(sorted_values[at] == codes, order[at], -1)

    def to_codes(self, index: np.ndarray, dtype: Any = None) -> np.ndarray:
        """Replace positions 0..K-1 by codes."""
        return np.asarray(self.values, dtype=dtype or self.dtype)[index]

    @property
    def dtype(self) -> np.dtype:
        """The smallest integer type that holds all codes and leaves room for a nodata value."""
        low, high = min(self.values), max(self.values)
        for name in ("uint8", "int16", "uint16", "int32"):
            info = np.iinfo(name)
            if info.min <= low and high < info.max:
                return np.dtype(name)
        return np.dtype("int64")

    def free_code(self) -> int:
        """Return a code that fits `dtype` and is not a class: 0 if free, else the largest number."""
        return (
            0 if 0 not in self.values and self.dtype.kind == "u" else int(np.iinfo(self.dtype).max)
        )

    def rgb(self) -> np.ndarray:
        """Colours as uint8 (K, 3)."""
        return np.array(
            [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in self.colors], dtype="uint8"
        )

    def to_attrs(self) -> dict[str, Any]:
        """Write them as CF attributes: flag_values, flag_meanings, flag_colors.

        References
        ----------
        CF Conventions 1.11, section 3.5 "Flags". ``flag_colors`` is a common extension.
        """
        return {
            "flag_values": list(self.values),
            "flag_meanings": " ".join(_word(name) for name in self.names),
            "flag_colors": " ".join(self.colors),
        }

    @classmethod
    def from_attrs(cls, attrs: Mapping[Any, Any]) -> Classes | None:
        """Read them from CF attributes; None where there are none."""
        if "flag_values" not in attrs or "flag_meanings" not in attrs:
            return None
        values = tuple(int(value) for value in np.atleast_1d(attrs["flag_values"]))
        names = tuple(_name(word) for word in str(attrs["flag_meanings"]).split())
        colors = tuple(str(attrs.get("flag_colors", "")).split())
        return cls(values, names, colors if len(colors) == len(values) else ())


def _word(name: str) -> str:
    """Write a name as one word: spaces become "_", and "_" is doubled."""
    return "_".join(name.replace("_", "__").split())


def _name(word: str) -> str:
    """Read a name from one word."""
    return word.replace("__", "\0").replace("_", " ").replace("\0", "_")


def default_colors(number: int) -> tuple[str, ...]:
    """Colours that can be told apart: hues spread by the golden ratio.

    Examples
    --------
    >>> default_colors(2)
    ('#5299cc', '#cc5275')
    """
    colors = []
    for i in range(number):
        rgb = colorsys.hsv_to_rgb((0.57 + i * 0.381966) % 1.0, 0.6, 0.8)
        colors.append("#" + "".join(f"{round(part * 255):02x}" for part in rgb))
    return tuple(colors)

"""What is done to the pixels of one scene before it is laid over others: masks, a shift of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoxr.derive.mask import Flagged
from geoxr.errors import ArgumentError
from geoxr.io.mapped import Mapped
from geoxr.io.reader import WindowReader
from geoxr.typing import Resampling


@dataclass(frozen=True)
class Flags:
    """What a quality file says not to use.

    Attributes
    ----------
    fields : tuple of (first bit, width, values)
        Bits, counted from 0 for the least significant, and the values of them that spoil a pixel.
    values : tuple of int
        Whole numbers that do.
    band_bits : tuple of (int or None)
        For every band of the scene a bit that spoils this band alone; empty if there are none.
    """

    fields: tuple[tuple[int, int, tuple[int, ...]], ...] = ()
    values: tuple[int, ...] = ()
    band_bits: tuple[int | None, ...] = ()

    def clear(self, codes: np.ndarray, good: np.ndarray, bands: Sequence[int]) -> None:
        """Clear `good` (time, band, y, x) where `codes` (time, 1, y, x) say so."""
        if self.fields or self.values:
            keep = np.empty(codes.shape, bool)
            Flagged(self.fields, self.values, False)((codes,), good, keep, (0,))
            good &= keep
        for at, band in enumerate(bands):
            bit = self.band_bits[band] if self.band_bits else None
            if bit is not None:
                good[:, at] &= (codes[:, 0] >> bit) & 1 == 0


@dataclass(frozen=True)
class Treatment:
    """How a scene differs from what its files hold.

    Attributes
    ----------
    flags : tuple of Flags
        One for each quality file; these come after the files of the bands.
    shift : int
        Added to stored numbers; what would fall below the smallest valid number becomes that.
    missing : tuple of int
        Stored numbers that are no data, besides nodata.
    plain : bool
        Whether every band of the file is data, also one that is marked as alpha.
    resampling : str, optional
        How coarser bands come onto the grid of the finest. Default: by kind.
    """

    flags: tuple[Flags, ...] = ()
    shift: int = 0
    missing: tuple[int, ...] = ()
    plain: bool = False
    resampling: Resampling | None = None

    def to_attrs(self) -> dict[str, Any]:
        """Return what differs from nothing, for JSON."""
        attrs: dict[str, Any] = {}
        if self.flags:
            attrs["flags"] = [[one.fields, one.values, one.band_bits] for one in self.flags]
        for name in ("shift", "missing", "plain", "resampling"):
            if getattr(self, name) != getattr(NOTHING, name):
                attrs[name] = getattr(self, name)
        return attrs

    @classmethod
    def from_attrs(cls, attrs: Mapping[str, Any]) -> Treatment:
        """Read what `to_attrs` returned."""
        known = dict(attrs)
        flags = tuple(
            Flags(
                tuple((first, width, tuple(values)) for first, width, values in fields),
                tuple(values),
                tuple(bits),
            )
            for fields, values, bits in known.pop("flags", [])
        )
        missing = tuple(known.pop("missing", ()))
        return cls(flags=flags, missing=missing, **known)

    def split(self, paths: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Files of bands, and of quality."""
        end = len(paths) - len(self.flags)
        return tuple(paths[:end]), tuple(paths[end:])

    def apply(self, reader: WindowReader, quality: Sequence[WindowReader]) -> WindowReader:
        """Return a reader of what is left.

        Parameters
        ----------
        quality : sequence of WindowReader
            One for each of `flags`, on the grid of `reader`, with one band of integers.
        """
        for one in quality:
            if one.dtype.kind not in "iu" or len(one.bands) != 1:
                raise ArgumentError(
                    f"A quality file has {len(one.bands)} bands of type {one.dtype}, but flags and "
                    f"classes are one band of integers."
                )
        if not (self.flags or self.shift or self.missing):
            return reader
        rule = Screened(self.flags, self.shift, _lowest(reader), self.missing)
        return Mapped(
            (reader, *quality), rule, reader.dtype, reader.nodata, reader.bands, reader.times
        )


#: What is done to most scenes.
NOTHING = Treatment()


@dataclass(frozen=True)
class Screened:
    """Pixels without those that flags spoil, shifted; see `geoxr.io.mapped.Rule`."""

    flags: tuple[Flags, ...]
    shift: int
    lowest: int
    missing: tuple[int, ...] = ()

    marks = False

    @property
    def holes(self) -> bool:
        """Whether valid pixels may come out invalid."""
        return bool(self.flags or self.missing)

    def __call__(
        self, pixels: Sequence[np.ndarray], good: np.ndarray, out: np.ndarray, bands: Sequence[int]
    ) -> None:
        """Fill `out`; see `geoxr.io.mapped.Rule`."""
        if self.missing:
            good &= np.isin(pixels[0], self.missing, invert=True)
        if self.shift:
            # Limited first: unsigned numbers do not go below zero. Missing pixels are marked after.
            limited = np.maximum(pixels[0], pixels[0].dtype.type(self.lowest - self.shift))
            np.subtract(limited, pixels[0].dtype.type(-self.shift), out=out)
        elif out is not pixels[0]:
            out[...] = pixels[0]
        for one, codes in zip(self.flags, pixels[1:], strict=True):
            one.clear(codes, good, bands)


def _lowest(reader: WindowReader) -> int:
    """Smallest number that a shifted pixel may have: not that of missing ones."""
    return 1 if reader.nodata == 0 else 0

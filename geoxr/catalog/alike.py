"""Scenes of one layer are alike: the same bands, the same type, numbers that mean the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from geoxr.catalog.scan import Errors
from geoxr.catalog.table import Header, SceneTable
from geoxr.errors import ArgumentError

#: Attributes that say what the numbers mean, so that scenes of one layer must share them.
MEANING = ("units", "scale", "offset", "flag_values", "flag_meanings")


def alike(
    table: SceneTable, bands: Sequence[str | int] | None, errors: Errors
) -> tuple[SceneTable, tuple[tuple[int, ...], ...], list[str]]:
    """Check that scenes have the same bands, type and meaning.

    Returns
    -------
    table : SceneTable
        With ``errors="skip"``, those that are like most.
    picked : tuple of tuple of int
        For every header, the positions of the bands of the layer.
    unlike : list of str
        Why the others were left out.
    """
    picked: list[tuple[int, ...]] = []
    traits: list[Any] = []
    for header in table.headers:
        try:
            positions = band_positions(header.bands, bands)
        except ArgumentError:
            if errors == "raise":
                raise ArgumentError(_without_bands(table, header, bands)) from None
            positions = ()
        picked.append(positions)
        numbered = bands is not None and not any(isinstance(one, str) for one in _listed(bands))
        names = positions if numbered else tuple(header.bands[i] for i in positions)
        meaning = tuple(repr(_meant(header, positions, key)) for key in MEANING)
        traits.append((header.dtype, len(positions), names, meaning) if positions else None)
    counts = np.bincount(table.header_of, minlength=len(traits))
    usual = traits[table.header_of[0]]
    if errors == "skip":
        votes: Counter[Any] = Counter()
        for trait, count in zip(traits, counts, strict=True):
            votes[trait] += int(count) if trait is not None else 0
        usual = votes.most_common(1)[0][0]
    fits = np.array([trait == usual and trait is not None for trait in traits])
    if not fits.any():
        raise ArgumentError(_without_bands(table, table.headers[0], bands))
    keep = fits[table.header_of]
    if keep.all():
        return table, tuple(picked), []
    reference = int(np.flatnonzero(keep)[0])
    others = np.flatnonzero(~keep)
    messages = [_difference(table, reference, int(i), picked) for i in others]
    if errors == "raise":
        raise ArgumentError(messages[0])
    return table.take(np.flatnonzero(keep)), tuple(picked), messages


def _meant(header: Header, positions: tuple[int, ...], key: str) -> Any:
    """Return what the bands kept have for a key; one value if they agree."""
    if key not in ("units", "scale", "offset"):
        return header.values.get(key)
    values = [getattr(header.facts[i], key) for i in positions]
    return values[0] if len(set(values)) == 1 else values


def _without_bands(table: SceneTable, header: Header, bands: Sequence[str | int] | None) -> str:
    i = int(np.flatnonzero(table.header_of == table.headers.index(header))[0])
    try:
        band_positions(header.bands, bands)
    except ArgumentError as error:
        return f"{table.row(i).name}: {error}"
    return f"{table.row(i).name} has no bands."


def _difference(
    table: SceneTable, reference: int, other: int, picked: Sequence[tuple[int, ...]]
) -> str:
    """Say in what a scene differs from another."""
    one, two = table.header(reference), table.header(other)
    first, second = table.row(reference).name, table.row(other).name
    if one.dtype != two.dtype:
        return (
            f"{first} is {one.dtype}, {second} is {two.dtype}. Scenes of one layer have one type. "
            f"Open them apart and use gx.merge."
        )
    if len(picked[table.header_of[other]]) != len(picked[table.header_of[reference]]):
        return (
            f"{first} has {len(one.bands)} bands, {second} has {len(two.bands)}. Scenes of one layer "
            f"have the same bands. For one file per band pass a mapping {{band: path}}; for "
            f"different sensors open each alone and use gx.merge."
        )
    for key in MEANING:
        mine = _meant(one, picked[table.header_of[reference]], key)
        yours = _meant(two, picked[table.header_of[other]], key)
        if repr(mine) != repr(yours):
            return (
                f"{first} has {key} = {mine}, {second} has {yours}, so "
                f"their numbers do not mean the same. Open them apart and use gx.merge."
            )
    return (
        f"{first} has the bands {', '.join(one.bands)}, {second} has {', '.join(two.bands)}. Scenes "
        f"of one layer have the same bands in the same order. Pick them by name or number: "
        f"bands=[1, 2]."
    )


def _listed(bands: Sequence[str | int]) -> Sequence[str | int]:
    return [bands] if isinstance(bands, str | int) else bands


def band_positions(names: Sequence[str], bands: Sequence[str | int] | None) -> tuple[int, ...]:
    """Positions of bands, given by name or by number from 1; all if left out."""
    if bands is None:
        return tuple(range(len(names)))
    picked = []
    for band in _listed(bands):
        if isinstance(band, int) and 1 <= band <= len(names):
            picked.append(band - 1)
        elif str(band) in names:
            picked.append(names.index(str(band)))
        else:
            raise ArgumentError(
                f"There is no band {band!r}. The bands are {', '.join(names)}, or 1 to "
                f"{len(names)} by number."
            )
    return tuple(picked)

"""Files of a product by their names: which scene, which bands, which dates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np

from geoxr.derive.screen import NOTHING, Flags, Treatment
from geoxr.errors import ArgumentError, MissingFileError
from geoxr.products.baseline import baseline_of, shift_of
from geoxr.products.dates import interval_of_date
from geoxr.products.metadata import told_by
from geoxr.products.product import QA, Band, Product
from geoxr.products.strangers import no_match

#: Groups in which the files of one scene differ.
_OF_FILE = ("band", "resolution", "part")
NO_TIME = np.datetime64("NaT", "ns")


@dataclass(frozen=True)
class NamedScene:
    """Files of one scene, as their names tell.

    Attributes
    ----------
    paths : tuple of str
        Those of the bands, then those of quality that `treatment` needs.
    bands : tuple of str
        One name per path of a band, or the names of the bands of one file.
    start, end : datetime64
        First and last moment of the acquisition; NaT where names do not tell.
    treatment : Treatment
        Masks and shifts.
    columns : mapping
        What else names and metadata tell: tile, level, cloud_cover, ...
    """

    paths: tuple[str, ...]
    bands: tuple[str, ...]
    start: np.datetime64 = NO_TIME
    end: np.datetime64 = NO_TIME
    treatment: Treatment = NOTHING
    columns: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class _File:
    """A file of a product: which scene, which band, which date."""

    path: str
    scene: str
    band: str
    resolution: float
    dates: tuple[np.datetime64, np.datetime64]
    groups: Mapping[str, str]


def scenes_of(
    product: Product,
    paths: Sequence[str],
    bands: Sequence[Band],
    *,
    years: Sequence[int] | None = None,
    qa: Sequence[QA] = (),
    skip: bool = False,
) -> tuple[list[NamedScene], list[str]]:
    """Sort files into scenes; with `skip` also why some are left out.

    Parameters
    ----------
    qa : sequence of QA
        Quality files to mask scenes by.

    Raises
    ------
    MissingFileError
        If no name is one of the product, or a scene lacks a band or a quality file.
    ArgumentError
        If a date is not one, or two files are the same scene and band.
    """
    left_out: list[str] = []
    files = _files(product, paths, skip, left_out)
    if not files:
        raise MissingFileError(left_out[0] if left_out else no_match(product, paths))
    if years is not None:
        files = _of_years(product, files, years)
    groups: dict[str, dict[str, _File]] = {}
    for file in files:
        _add(groups.setdefault(file.scene, {}), file, skip, left_out)
    scenes: list[NamedScene] = []
    known: dict[tuple[str, str], NamedScene] = {}
    quality = {one.band for one in product.qa} - {band.name for band in product.bands}
    for name, group in groups.items():
        if group.keys() <= quality:
            continue
        try:
            scene = _scene(product, name, group, bands, qa)
            _once(scene, known)
        except (MissingFileError, ArgumentError) as error:
            if not skip:
                raise
            left_out.append(str(error))
        else:
            scenes.append(scene)
    if not scenes:
        raise MissingFileError(
            f"None of {len(groups)} scenes is complete. {left_out[0]}"
            if left_out
            else no_match(product, paths)
        )
    return scenes, left_out


def _files(product: Product, paths: Sequence[str], skip: bool, left_out: list[str]) -> list[_File]:
    """Files of the product; those of an impossible date are left out with `skip`."""
    names = {band.name.casefold(): band.name for band in product.bands}
    names |= {one.band.casefold(): one.band for one in product.qa}
    first = product.bands[0].name
    files = []
    for path in paths:
        groups = product.groups(path)
        if groups is None:
            continue
        band = names.get(groups.get("band", first).casefold())
        if band is None:
            continue
        try:
            dates = _dates(product, path, groups.get("date"))
        except ArgumentError as error:
            if not skip:
                raise
            left_out.append(str(error))
            continue
        size = groups.get("resolution", "0") if "band" in groups else "0"
        resolution = float(size) if size.isdigit() else 0.0
        files.append(_File(path, _scene_name(product, path), band, resolution, dates, groups))
    return files


def _scene_name(product: Product, path: str) -> str:
    """Name of a file without its band and resolution; the folder where nothing else is left."""
    name = PurePath(path).name
    match = product.match(name)
    assert match is not None
    if "band" not in match.groupdict():
        return path
    label, end = "", 0
    for start, stop in sorted(match.span(key) for key in _OF_FILE if match.groupdict().get(key)):
        label += name[end:start]
        end = stop
    label = (label + name[end:].rpartition(".")[0]).strip("_.-")
    if re.search(r"\d", label):
        return label
    sizes = [one for one in product.folders if "(?P<resolution>" in one]
    above = PurePath(path).parents
    own = next(folder for folder in above if not any(re.search(one, folder.name) for one in sizes))
    return f"{own}/{label}"


def _add(group: dict[str, _File], file: _File, skip: bool, left_out: list[str]) -> None:
    """Keep the finest file of each band."""
    other = group.get(file.band)
    if other is None or file.resolution < other.resolution:
        group[file.band] = file
    elif file.resolution == other.resolution:
        message = (
            f"{file.path} and {other.path} are the same scene and band. Pass one of them only."
        )
        if not skip:
            raise ArgumentError(message)
        left_out.append(message)


def _once(scene: NamedScene, known: dict[tuple[str, str], NamedScene]) -> None:
    """Raise `ArgumentError` if the same place and time were seen before."""
    if "tile" not in scene.columns or "date" not in scene.columns:
        return
    key = scene.columns["tile"], scene.columns["date"]
    other = known.setdefault(key, scene)
    if other is not scene:
        raise ArgumentError(
            f"{scene.paths[0]} and {other.paths[0]} are the same scene, tile {key[0]} of {key[1]}, "
            f"processed twice. Pass one of them only."
        )


def _of_years(product: Product, files: list[_File], years: Sequence[int]) -> list[_File]:
    wanted = {str(int(year)) for year in years}
    found = Counter(str(file.dates[0])[:4] for file in files)
    missing = sorted(int(year) for year in wanted - found.keys())
    if missing:
        dated = [year for year in sorted(found) if year != "NaT"]
        raise MissingFileError(
            f"There are no {product.name} files of {missing}; there are of {dated}."
        )
    return [file for file in files if str(file.dates[0])[:4] in wanted]


def _dates(product: Product, path: str, text: str | None) -> tuple[np.datetime64, np.datetime64]:
    if text is None:
        return NO_TIME, NO_TIME
    try:
        return interval_of_date(text, product.date_format)
    except ValueError as error:
        raise ArgumentError(
            f"{path}: the date {text!r} is not written as {product.date_format}."
        ) from error


def _scene(
    product: Product,
    name: str,
    files: Mapping[str, _File],
    bands: Sequence[Band],
    qa: Sequence[QA],
) -> NamedScene:
    first = next(iter(files.values()))
    named = {key: text for key, text in first.groups.items() if key not in _OF_FILE}
    columns = told_by(product, first.path, named) | named
    if "band" not in first.groups:
        names = tuple(band.name for band in product.bands)
        plain = Treatment(missing=product.missing, plain=len(names) > 1)
        return NamedScene((first.path,), names, *first.dates, plain, columns)
    label = PurePath(name).name or name
    missing = [band.name for band in bands if band.name not in files]
    if missing:
        raise MissingFileError(
            f"Scene {label} has no file for {', '.join(missing)}; it has {', '.join(sorted(files))}. "
            f"Leave these bands out with bands=[...], or add the files."
        )
    unmasked = [one.band for one in qa if one.band not in files]
    if unmasked:
        raise MissingFileError(
            f"Scene {label} has no quality file {', '.join(unmasked)} to mask by; it has "
            f"{', '.join(sorted(files))}. Add the file, or open without masks."
        )
    names = tuple(band.name for band in bands)
    flags = tuple(flags_of(one, names) for one in qa)
    shift = shift_of(product, baseline_of(product, columns))
    paths = [files[band].path for band in (*names, *(one.band for one in qa))]
    return NamedScene(
        tuple(paths),
        names,
        *first.dates,
        Treatment(flags, shift, product.missing),
        columns,
    )


def flags_of(qa: QA, bands: Sequence[str]) -> Flags:
    """What a quality file says of bands of a scene."""
    bits = dict(qa.band_bits)
    own = tuple(bits.get(band) for band in bands) if bits else ()
    return Flags(qa.fields, qa.values, own)

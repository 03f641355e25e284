"""Files of a product by their names: which scene, which bands, which dates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from geoxr.errors import ArgumentError, MissingFileError
from geoxr.products.product import Band, Product

NO_TIME = np.datetime64("NaT", "ns")


@dataclass(frozen=True)
class NamedScene:
    """Files of one scene, as their names tell.

    Attributes
    ----------
    paths : tuple of str
    bands : tuple of str, optional
        One name per path; None for one file with all bands.
    start, end : datetime64
        First and last moment of the acquisition; NaT where names do not tell.
    """

    paths: tuple[str, ...]
    bands: tuple[str, ...] | None = None
    start: np.datetime64 = NO_TIME
    end: np.datetime64 = NO_TIME


@dataclass(frozen=True)
class _File:
    """A file of a product: which scene, which band, which date."""

    path: str
    scene: str
    band: str
    time: np.datetime64


def scenes_of(
    product: Product,
    paths: Sequence[str],
    bands: Sequence[Band],
    *,
    years: Sequence[int] | None = None,
    skip: bool = False,
) -> tuple[list[NamedScene], list[str]]:
    """Sort files into scenes; with `skip` also why some are left out.

    Raises
    ------
    MissingFileError
        If no name is one of the product, or a scene lacks a band.
    ArgumentError
        If a date is not one, or two files are the same scene and band.
    """
    files = [file for path in paths if (file := _parse(product, path)) is not None]
    if not files:
        examples = ", ".join(Path(path).name for path in paths[:3])
        raise MissingFileError(
            f"None of {len(paths)} files is named like {product.name}: {examples}. "
            f"The pattern is {product.pattern}"
        )
    if years is not None:
        wanted = {int(year) for year in years}
        found = Counter(str(file.time)[:4] for file in files)
        files = [file for file in files if int(str(file.time)[:4]) in wanted]
        missing = sorted(wanted - {int(str(file.time)[:4]) for file in files})
        if missing:
            raise MissingFileError(
                f"There are no {product.name} files of {missing}; there are of {sorted(found)}."
            )
    groups: dict[str, dict[str, _File]] = {}
    for file in files:
        scene = groups.setdefault(file.scene, {})
        if file.band in scene:
            raise ArgumentError(
                f"{file.path} and {scene[file.band].path} are the same scene and band. "
                f"Pass one of them only."
            )
        scene[file.band] = file
    scenes, incomplete = [], []
    for name, group in groups.items():
        try:
            scenes.append(_scene(product, name, group, bands))
        except MissingFileError as error:
            if not skip:
                raise
            incomplete.append(str(error))
    if not scenes:
        raise MissingFileError(f"None of {len(groups)} scenes is complete. {incomplete[0]}")
    return scenes, incomplete


def _parse(product: Product, path: str) -> _File | None:
    name = Path(path).name
    match = product.match(name)
    if match is None:
        return None
    groups = match.groupdict()
    band = groups.get("band") or product.bands[0].name
    start, stop = match.span("band") if groups.get("band") else (0, 0)
    scene = name[:start] + name[stop:]
    return _File(path, scene, band, _date(product, path, groups.get("date")))


def _date(product: Product, path: str, text: str | None) -> np.datetime64:
    if text is None:
        return NO_TIME
    try:
        return np.datetime64(datetime.strptime(text, product.date_format), "ns")
    except ValueError as error:
        raise ArgumentError(
            f"{path}: the date {text!r} is not written as {product.date_format}."
        ) from error


def _scene(
    product: Product, name: str, files: Mapping[str, _File], bands: Sequence[Band]
) -> NamedScene:
    time = next(iter(files.values())).time
    if len(product.bands) == 1:
        return NamedScene((next(iter(files.values())).path,), None, time, time)
    missing = [band.name for band in bands if band.name not in files]
    if missing:
        label = re.sub(r"[_.]+$", "", Path(name).stem)
        raise MissingFileError(
            f"Scene {label} has no file for {', '.join(missing)}; it has {', '.join(sorted(files))}. "
            f"Leave these bands out with bands=[...], or add the files."
        )
    names = tuple(band.name for band in bands)
    return NamedScene(tuple(files[name].path for name in names), names, time, time)

"""Scenes on a common grid: from opened files to one layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.catalog.mosaic import OVERLAPS, Mosaic
from geoxr.errors import ArgumentError, CRSMismatchError, NoOverlapError
from geoxr.grid.classes import Classes
from geoxr.grid.geobox import crs_name, grid_like, lattice_offset, parse_crs, require_crs, same_crs
from geoxr.io.layer import as_layer
from geoxr.io.reader import WindowReader
from geoxr.io.stacks import TimeStack
from geoxr.io.views import Cropped
from geoxr.typing import Align, Bounds, CRSLike, Kind, Overlap, Resampling
from geoxr.warp.reproject import check_overlap, check_resampling, onto, pick_resampling
from geoxr.warp.target import target_grid

#: How dates become a time axis.
Time = Literal["each", "collapse"]


@dataclass(frozen=True)
class Scene:
    """One acquisition: its pixels, a name for messages, and its date if it has one."""

    reader: WindowReader
    name: str
    time: np.datetime64 | None = None


@dataclass(frozen=True)
class Target:
    """Which grid was asked for; nothing stands for the grid of the files."""

    crs: CRSLike | None = None
    resolution: float | tuple[float, float] | None = None
    bounds: Bounds | None = None
    like: xr.DataArray | xr.Dataset | GeoBox | None = None
    align: Align | None = None

    @property
    def open(self) -> bool:
        """Whether nothing was asked for."""
        asked = (self.crs, self.resolution, self.bounds, self.like)
        return all(value is None for value in asked)


def layer_of(
    scenes: Sequence[Scene],
    target: Target,
    *,
    time: Time | None,
    overlap: Overlap,
    resampling: Resampling | None,
    kind: Kind,
    classes: Classes | None,
    attrs: Mapping[str, Any],
    name: str | None = None,
    band: str | None = "band",
) -> xr.DataArray:
    """Lay scenes onto one grid, by date or all together. Reads no pixel."""
    if overlap not in OVERLAPS:
        raise ArgumentError(f"overlap is {overlap!r}, but must be one of {', '.join(OVERLAPS)}.")
    if time not in (None, "each", "collapse"):
        raise ArgumentError(
            f'time is {time!r}, but must be "each" (a time axis), "collapse" (dates merged by the '
            f"overlap rule) or None (a time axis if there are several dates)."
        )
    if time == "each" and any(scene.time is None for scene in scenes):
        raise ArgumentError(
            'time="each" needs dates, and these files have none that geoxr knows. Describe how they '
            "are named with gx.Product and open them with gx.open_product."
        )
    check_resampling(resampling)
    check_alike(scenes)
    scenes = sorted(scenes, key=lambda scene: str(scene.time)) if scenes[0].time else scenes
    geobox = _grid(scenes, target)
    if any(lattice_offset(scene.reader.geobox, geobox) is None for scene in scenes):
        first = scenes[0].reader.geobox
        resampling = pick_resampling(resampling, kind, first, geobox)
    if not target.open:
        _check_reach(scenes, geobox)
    placed = [onto(scene.reader, geobox, resampling or "nearest") for scene in scenes]
    dates = [scene.time for scene in scenes]
    several = len(set(dates)) > 1 or time == "each"
    if time != "collapse" and several and all(date is not None for date in dates):
        reader = _by_date(placed, dates, overlap)
    else:
        reader = _together(placed, overlap)
    return as_layer(reader, name=name, kind=kind, classes=classes, attrs=attrs, band=band)


def _check_reach(scenes: Sequence[Scene], geobox: GeoBox) -> None:
    """Raise unless some scene meets the target."""
    for scene in scenes[:-1]:
        try:
            check_overlap(scene.reader, geobox, scene.name)
        except NoOverlapError:
            continue
        return
    check_overlap(scenes[-1].reader, geobox, scenes[-1].name)


def _together(readers: Sequence[WindowReader], overlap: Overlap) -> WindowReader:
    single = len(readers) == 1 and overlap != "count"
    return readers[0] if single else Mosaic(tuple(readers), overlap)


def _by_date(
    readers: Sequence[WindowReader], dates: Sequence[np.datetime64 | None], overlap: Overlap
) -> WindowReader:
    steps = sorted({date for date in dates if date is not None})
    layers = [
        _together([r for r, date in zip(readers, dates, strict=True) if date == step], overlap)
        for step in steps
    ]
    return TimeStack(tuple(layers), tuple(steps))


def check_alike(scenes: Sequence[Scene]) -> None:
    """Raise if scenes have different bands or types."""
    first = scenes[0]
    for scene in scenes[1:]:
        if len(scene.reader.bands) != len(first.reader.bands):
            raise ArgumentError(
                f"{first.name} has {len(first.reader.bands)} bands, {scene.name} has "
                f"{len(scene.reader.bands)}. Scenes of one layer have the same bands. For one file "
                f"per band pass a mapping {{band: path}}; for different sensors open each alone and "
                f"use gx.merge."
            )
        if scene.reader.dtype != first.reader.dtype:
            raise ArgumentError(
                f"{first.name} is {first.reader.dtype}, {scene.name} is {scene.reader.dtype}. "
                f"Scenes of one layer have one type. Open them apart and use gx.merge."
            )


def _grid(scenes: Sequence[Scene], target: Target) -> GeoBox:
    boxes = [scene.reader.geobox for scene in scenes]
    if target.like is not None:
        if target.crs is not None or target.resolution is not None or target.bounds is not None:
            raise ArgumentError(
                "like= already fixes the grid: leave out crs, resolution and bounds."
            )
        return grid_like(target.like)
    if target.open and len(scenes) == 1:
        return boxes[0]
    crs = _crs(scenes, target)
    one_lattice = all(lattice_offset(boxes[0], box) is not None for box in boxes)
    native = same_crs(boxes[0].crs, parse_crs(crs)) and target.resolution is None
    align = target.align or ("keep" if one_lattice and native else "snap")
    return target_grid(boxes, crs=crs, size=target.resolution, box=target.bounds, align=align)


def _crs(scenes: Sequence[Scene], target: Target) -> CRSLike:
    found = [require_crs(scene.reader.geobox, scene.name) for scene in scenes]
    if target.crs is not None and target.crs != "auto":
        return parse_crs(target.crs)
    names = Counter(crs_name(crs) for crs in found)
    if len(names) > 1 and target.crs is None:
        listed = ", ".join(f"{name} ({count} files)" for name, count in names.most_common())
        raise CRSMismatchError(
            f"The scenes are in {len(names)} coordinate reference systems: {listed}. One layer has "
            f'one grid: pass crs="{crs_name(found[0])}", like=another_layer, or crs="auto" for the '
            f"most common one."
        )
    most = names.most_common(1)[0][0]
    return next(crs for crs in found if crs_name(crs) == most)


def select_bands(reader: WindowReader, bands: Sequence[str | int] | None) -> WindowReader:
    """Keep some bands, by name or by number from 1."""
    if bands is None:
        return reader
    picked = []
    for band in [bands] if isinstance(bands, str | int) else bands:
        if isinstance(band, int) and 1 <= band <= len(reader.bands):
            picked.append(band - 1)
        elif str(band) in reader.bands:
            picked.append(reader.bands.index(str(band)))
        else:
            raise ArgumentError(
                f"There is no band {band!r}. The bands are {', '.join(reader.bands)}, or 1 to "
                f"{len(reader.bands)} by number."
            )
    return Cropped(reader, reader.geobox, 0, 0, tuple(picked))

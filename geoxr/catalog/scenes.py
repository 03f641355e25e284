"""Scenes on a common grid: from a table to one layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.catalog.alike import alike, band_positions
from geoxr.catalog.bounds import common_bounds
from geoxr.catalog.join import as_count
from geoxr.catalog.mosaic import Mosaic
from geoxr.catalog.overlap import check_overlap_rule
from geoxr.catalog.scan import Errors, warn_skipped
from geoxr.catalog.sources import TableScenes
from geoxr.catalog.table import SceneTable, crs_from_text
from geoxr.catalog.time import steps_of, within
from geoxr.catalog.windows import scene_windows
from geoxr.errors import ArgumentError, CRSMismatchError, NoOverlapError
from geoxr.grid.classes import Classes
from geoxr.grid.crs import crs_name, parse_crs, require_crs, same_crs
from geoxr.grid.geobox import describe_bounds, grid_like, lattice_offset
from geoxr.io.facts import band_attrs, band_coords
from geoxr.io.layer import as_layer
from geoxr.io.reader import WindowReader
from geoxr.io.stacks import TimeStack
from geoxr.io.views import Cropped
from geoxr.typing import Align, Bounds, CRSLike, Kind, Overlap, Resampling
from geoxr.warp.reproject import (
    check_complex,
    check_overlap,
    check_resampling,
    onto,
    pick_resampling,
)
from geoxr.warp.target import target_grid

#: How dates become a time axis: "each", "day", "collapse", or a frequency of pandas.
Time: TypeAlias = str


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

    @property
    def free(self) -> bool:
        """Whether geoxr chose the grid."""
        return replace(self, crs=None).open and self.crs in (None, "auto")


@dataclass(frozen=True)
class Look:
    """How a layer of scenes presents itself; what is None comes from the first scene."""

    name: str | None = None
    kind: Kind | None = None
    classes: Classes | None = None
    attrs: Mapping[str, Any] | None = None
    band: str | None = "band"


def layer_of(
    table: SceneTable,
    target: Target,
    look: Look,
    *,
    bands: Sequence[str | int] | None = None,
    time: Time | None = None,
    toi: Any = None,
    overlap: Overlap = "first",
    resampling: Resampling | None = None,
    default: float | None = None,
    errors: Errors = "raise",
    skipped: Sequence[str] = (),
    first: WindowReader | None = None,
    ordered: bool = False,
) -> xr.DataArray:
    """Lay scenes onto one grid, by date or all together. Opens no file.

    Parameters
    ----------
    table : SceneTable
        In the order of the overlap rule, which follows dates unless `ordered`.
    default : float, optional
        Nodata value of files that name none.
    skipped : sequence of str
        Why scenes were left out before; the one warning counts them all.
    first : WindowReader, optional
        The one scene of a table of one, opened, so that it need not be opened again.
    """
    check_resampling(resampling)
    if toi is not None:
        many, table = len(table), within(table, toi)
        first = first if len(table) == many else None
    total = len(table) + len(skipped)
    table, picked, unlike = alike(table, bands, errors)
    warn_skipped([*skipped, *unlike], total, stacklevel=3)
    if not ordered:
        table = table.take(np.argsort(table.starts, kind="stable"))  # unknown dates come last
    steps = steps_of(table, time)
    header = table.header(0)
    kind = look.kind or header.kind
    check_overlap_rule(overlap, kind, np.dtype(header.dtype))
    geobox = _grid(table, target)
    names = tuple(header.bands[i] for i in picked[table.header_of[0]])
    if len(table) == 1 and first is not None and overlap != "count":
        reader = _alone(first, picked[0], geobox, resampling, kind, table.row(0).name, target)
        readers: list[WindowReader] = [reader]
    else:
        found = scene_windows(table, geobox)
        if not found.sliced.all():
            row = table.row(int(np.flatnonzero(~found.sliced)[0]))
            resampling = pick_resampling(resampling, kind, row.geobox, geobox)
            check_complex(np.dtype(header.dtype), resampling)
        scenes = TableScenes(
            table, geobox, found.windows, found.sliced, names, picked,
            resampling or "nearest", default, errors == "skip", target.free,
        )  # fmt: skip
        meets = _meeting(scenes)
        owners = steps.of[meets]
        readers = [
            Mosaic(scenes.take(meets[owners == step]), overlap) for step in range(len(steps.labels))
        ]
    layer = TimeStack(tuple(readers), tuple(steps.labels)) if steps.dated else readers[0]
    attrs, kept = header.values, [header.facts[i] for i in picked[table.header_of[0]]]
    classes = look.classes or Classes.from_attrs(attrs)
    attrs = {key: value for key, value in attrs.items() if not key.startswith("flag_")}
    differing = {} if look.attrs is not None else band_coords(kept)
    facts = band_attrs(kept[0])
    attrs |= {key: value for key, value in facts.items() if key not in differing}
    if look.attrs is not None:
        attrs = dict(look.attrs)
    result = as_layer(
        layer, name=look.name, kind=kind, classes=classes, attrs=attrs, band=look.band
    )
    return result.assign_coords(differing) if overlap != "count" else as_count(result)


def _alone(
    reader: WindowReader,
    picked: tuple[int, ...],
    geobox: GeoBox,
    resampling: Resampling | None,
    kind: Kind,
    name: str,
    target: Target,
) -> WindowReader:
    """Put a single scene on the grid, without a mosaic around it."""
    if lattice_offset(reader.geobox, geobox) is None:
        resampling = pick_resampling(resampling, kind, reader.geobox, geobox)
    if not target.open:
        check_overlap(reader, geobox, name)
    return _pick(onto(reader, geobox, resampling or "nearest"), picked)


def _meeting(scenes: TableScenes) -> np.ndarray:
    """Positions of the scenes that meet the grid.

    Raises
    ------
    NoOverlapError
        If none does.
    """
    windows, geobox = scenes.windows, scenes.geobox
    meets = np.flatnonzero((windows[:, 2] > windows[:, 0]) & (windows[:, 3] > windows[:, 1]))
    if not meets.size:
        last = scenes.table.row(len(scenes.table) - 1)
        raise NoOverlapError(
            f"None of {len(scenes.table)} scenes meets the target grid: {last.name!r} covers "
            f"{describe_bounds(last.geobox)} ({crs_name(last.geobox.crs)}), the target "
            f"{describe_bounds(geobox)} ({crs_name(geobox.crs)}). Check that both CRSs are right and "
            f"that they show the same place."
        )
    return meets


def _grid(table: SceneTable, target: Target) -> GeoBox:
    if target.like is not None:
        if target.crs is not None or target.resolution is not None or target.bounds is not None:
            raise ArgumentError(
                "like= already fixes the grid: leave out crs, resolution and bounds."
            )
        return grid_like(target.like)
    first = table.row(0).geobox
    if target.open and len(table) == 1:
        return first
    crs = parse_crs(_crs(table, target))
    native = same_crs(first.crs, crs) and target.resolution is None
    align = target.align or ("keep" if native and _one_lattice(table, first) else "snap")
    box = target.bounds if target.bounds is not None else common_bounds(table, crs)
    return target_grid([first], crs=crs, size=target.resolution, box=box, align=align)


def _one_lattice(table: SceneTable, first: GeoBox) -> bool:
    """Whether all scenes are windows of one lattice."""
    steps = table.affines[:, [0, 1, 3, 4]]
    if np.abs(steps - steps[0]).max() > 1e-3 * np.abs(steps[0]).max():
        return False
    return all(lattice_offset(first, row.geobox) is not None for row in table)


def _crs(table: SceneTable, target: Target) -> CRSLike:
    for i, header in enumerate(table.headers):
        if header.crs is None:
            row = table.row(int(np.flatnonzero(table.header_of == i)[0]))
            require_crs(row.geobox, row.name)
    if target.crs is not None and target.crs != "auto":
        return parse_crs(target.crs)
    names: Counter[str] = Counter()
    for i in table.header_of:
        names[crs_name(crs_from_text(table.headers[i].crs))] += 1
    found = [crs_from_text(table.header(i).crs) for i in range(len(table))]
    if len(names) > 1 and target.crs is None:
        listed = ", ".join(
            f"{name} ({count} scene{'s' * (count > 1)})" for name, count in names.most_common()
        )
        raise CRSMismatchError(
            f"The scenes are in {len(names)} coordinate reference systems: {listed}. One layer has "
            f'one grid: pass crs="{crs_name(found[0])}", like=another_layer, or crs="auto" for the '
            f"most common one."
        )
    most = names.most_common(1)[0][0]
    return next(crs for crs in found if crs_name(crs) == most)


def select_bands(reader: WindowReader, bands: Sequence[str | int] | None) -> WindowReader:
    """Keep some bands, by name or by number from 1."""
    return reader if bands is None else _pick(reader, band_positions(reader.bands, bands))


def _pick(reader: WindowReader, positions: tuple[int, ...]) -> WindowReader:
    if positions == tuple(range(len(reader.bands))):
        return reader
    return Cropped(reader, reader.geobox, 0, 0, positions)

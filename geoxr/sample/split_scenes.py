"""Areas for training, validation and test, made of whole scenes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from geoxr.catalog.catalog import Catalog
from geoxr.catalog.mosaic import Mosaic
from geoxr.catalog.outlines import outlines
from geoxr.catalog.sources import TableScenes
from geoxr.catalog.table import SceneTable
from geoxr.errors import ArgumentError, NoOverlapError
from geoxr.grid.adopt import adopt
from geoxr.grid.area import table_geometries
from geoxr.grid.crs import parse_crs, require_crs
from geoxr.grid.geobox import grid_like
from geoxr.grid.shapes import outline
from geoxr.io.dataset import layer_names, layer_reader
from geoxr.io.reader import WindowReader
from geoxr.sample.deal import (
    as_series,
    check_fractions,
    check_gap,
    deal_apart,
    least_gap,
    valid_area,
)
from geoxr.sample.room import seed_number
from geoxr.typing import Seed

if TYPE_CHECKING:
    import geopandas

    Given: TypeAlias = (
        Catalog | xr.Dataset | xr.DataArray | geopandas.GeoDataFrame | geopandas.GeoSeries
    )

#: Least gap between areas where no grid says how large a pixel is, as a share of a scene's side.
_LEAST = 1e-6


def split_scenes(
    scenes: Given,
    fractions: Sequence[float],
    *,
    like: xr.Dataset | xr.DataArray | GeoBox | None = None,
    by: str | None = None,
    together: float = 0.5,
    gap: float = 0.0,
    seed: Seed = 0,
) -> tuple[geopandas.GeoSeries, ...]:
    """Deal whole scenes out to splits at random, by area.

    Scenes that largely show the same ground, as those of several dates do, stay in one split. Where
    scenes of different splits overlap a little, as neighbours in an orbit do, the overlap is in none
    of them. So chips of two splits share no pixel, and a pixel or more lies between them.

    Parameters
    ----------
    scenes : Catalog, Dataset, DataArray, GeoDataFrame or GeoSeries
        Scenes, one row each, or layers that were opened from several scenes.
    fractions : sequence of float
        Share of each split in the area without overlaps, positive; together 1. It is met as far as
        the size of the scenes allows.
    like : Dataset, DataArray or GeoBox, optional
        Grid that the areas are for. Default: that of `scenes`; for tables, no grid, and their CRS.
    by : str, optional
        Layer of a Dataset whose scenes count. Default: the one of the most scenes.
    together : float
        Scenes are kept together when they share this much of the smaller one, and so are chains of
        them. With 0 all that overlap are.
    gap : float [CRS units]
        Smallest distance between areas of different splits.
    seed : int or numpy.random.Generator

    Returns
    -------
    tuple of GeoSeries
        One per split: pass it as `aoi`. Each row is what is used of a scene; the index is that of
        the table, or the path of the file. The CRS is that of `like`; without it that of all scenes
        or of the table, else EPSG:4326.

    Raises
    ------
    ArgumentError
        If fractions do not add up to 1.
    NoOverlapError
        If there are fewer groups of scenes than splits, or nothing is left of a split.
    """
    shares = check_fractions(fractions)
    check_gap(gap)
    if not 0 <= together <= 1:
        raise ArgumentError(f"together is a share of the smaller scene, not {together!r}.")
    if isinstance(scenes, xr.Dataset | xr.DataArray):
        layers = adopt(scenes)
        target = grid_like(layers if like is None else like)
        labels, shapes = _scenes_behind(layers, by, target)
        like = layers if like is None else like
    else:
        target = _target(scenes) if like is None else grid_like(like)
        labels, shapes = _scenes_of(scenes, target)
    data = outline(target) if isinstance(like, GeoBox) else shapely.union_all(shapes)
    if isinstance(like, xr.Dataset | xr.DataArray):
        data = valid_area(like)
    shapes = shapely.intersection(shapes, data)
    used = shapely.area(shapes) > 0
    labels, shapes = labels[used], shapes[used]
    if not len(shapes):
        raise NoOverlapError("None of the scenes meets the grid that the areas are for (like).")
    if like is not None:
        distance = least_gap(gap, target)
    else:
        distance = max(gap, _LEAST * float(np.median(np.sqrt(shapely.area(shapes)))))
    group = _groups(shapes, together)
    number = int(group.max()) + 1
    if number < len(shares):
        raise NoOverlapError(
            f"{len(shapes)} scenes make {number} groups that share at least {together:.0%} of their "
            f"ground, which are too few for {len(shares)} splits. Use more scenes, a larger "
            f"together=, or gx.split_blocks, which cuts scenes."
        )
    pieces = np.array([shapely.union_all(shapes[group == i]) for i in range(number)], object)
    rng = np.random.default_rng(seed_number(seed))
    owner, areas = deal_apart(pieces, data, shares, distance, rng)
    result = []
    for split, area in enumerate(areas):
        mine = np.flatnonzero(owner[group] == split)
        left = shapely.intersection(shapes[mine], area)
        some = shapely.area(left) > 0
        result.append(as_series(left[some], target, index=labels[mine][some]))
    return tuple(result)


def _target(scenes: Catalog | geopandas.GeoDataFrame) -> GeoBox:
    """CRS that areas of a table are in, as a grid of no meaning."""
    if isinstance(scenes, Catalog):
        groups = scenes.table.crs_groups()
        one = groups[0][0] if len(groups) == 1 else None
        return GeoBox((1, 1), Affine.identity(), parse_crs(4326) if one is None else one)
    _check_table(scenes)
    crs = None if scenes.crs is None else parse_crs(scenes.crs)
    return GeoBox((1, 1), Affine.identity(), crs)


def _scenes_of(scenes: Any, target: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """Labels and outlines of the scenes of a table."""
    if isinstance(scenes, Catalog):
        frame = scenes.frame
        groups = scenes.table.crs_groups()
        if len(groups) == 1 and groups[0][0] is not None:
            return np.asarray(frame.index), _array(outlines(scenes.table, target))
        return np.asarray(frame.index), table_geometries(frame, target)
    _check_table(scenes)
    if scenes.crs is None:
        require_crs(target, "The grid")
    return np.asarray(scenes.index), table_geometries(scenes, target)


def _check_table(scenes: Any) -> None:
    if not hasattr(scenes, "geometry") or not hasattr(scenes, "to_crs"):
        raise ArgumentError(
            f"scenes must be a Catalog, a Dataset or layer of several scenes, or a GeoDataFrame of "
            f"their outlines, not {type(scenes).__name__}."
        )


def _scenes_behind(
    layers: xr.Dataset | xr.DataArray, by: str | None, target: GeoBox
) -> tuple[np.ndarray, np.ndarray]:
    """Paths and outlines of the scenes that a layer was opened from."""
    ds = layers
    if isinstance(ds, xr.DataArray):
        ds = ds.to_dataset(name=ds.name or "layer")
    names = layer_names(ds)
    if by is not None and by not in names:
        raise ArgumentError(f"by is {by!r}, but the layers are {', '.join(names)}.")
    found = {
        name: list(_tables(layer_reader(ds, name))) for name in (names if by is None else [by])
    }
    tables = max(found.values(), key=lambda tables: sum(map(len, tables)), default=[])
    number = sum(map(len, tables))
    if number < 2:
        raise NoOverlapError(
            f"{'The layers were' if by is None else f'{by!r} was'} not opened from several scenes, so "
            f"there is nothing to deal out. Pass the gx.Catalog they came from, or use "
            f"gx.split_blocks."
        )
    labels = [files[0] for table in tables for files in table.paths]
    shapes = [shape for table in tables for shape in outlines(table, target)]
    return np.array(labels, object), _array(shapes)


def _tables(reader: WindowReader) -> Iterator[SceneTable]:
    """Tables of scenes in a tree of readers."""
    if isinstance(reader, Mosaic) and isinstance(reader.scenes, TableScenes):
        yield reader.scenes.table
        return
    sources = getattr(reader, "sources", None) or [getattr(reader, "source", None)]
    for source in sources:
        if isinstance(source, WindowReader):
            yield from _tables(source)


def _array(shapes: Sequence[shapely.Geometry]) -> np.ndarray:
    array = np.empty(len(shapes), object)
    array[:] = shapes
    return array


def _groups(shapes: np.ndarray, together: float) -> np.ndarray:
    """Number the groups of scenes that share enough ground, chains of them included."""
    tree, sizes, boxes = shapely.STRtree(shapes), shapely.area(shapes), shapely.bounds(shapes)
    group = np.arange(len(shapes))
    for i, shape in enumerate(shapes):
        near = tree.query(shape)
        near = near[group[near] != group[i]]
        needed = together * np.minimum(sizes[near], sizes[i])
        # Bounds share no less than what they hold, and cost next to nothing.
        sides = np.minimum(boxes[near, 2:], boxes[i, 2:]) - np.maximum(
            boxes[near, :2], boxes[i, :2]
        )
        maybe = sides.prod(axis=1) >= needed
        near, needed = near[maybe], needed[maybe]
        shared = shapely.area(shapely.intersection(shapes[near], shape))
        joined = near[(shared > 0) & (shared >= needed)]
        group[np.isin(group, group[joined])] = group[i]
    return np.unique(group, return_inverse=True)[1]

"""Features in another CRS: edges bent as the projection bends them, nothing placed wrongly.

An edge is straight in the CRS of its file. In another one it is a curve, so vertices are added where
the grid would show the difference. Far from where a projection is made for, PROJ gives no numbers or
some that mean another place: features that reach there are first cut to the surroundings of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyproj
import shapely
from odc.geo.geobox import GeoBox

from geoxr.grid.geobox import require_crs, resolution
from geoxr.io.burn import POINT, POLYGON
from geoxr.io.pieces import Paths, paths_of

#: Largest distance between a bent edge and its curve [pixel].
_TOLERANCE = 1e-3
#: Longest edge that is tried as a straight one near the grid [pixel].
_LONGEST = 256.0
#: Times an edge is halved before it counts as one without a place.
_HALVINGS = 24
#: A vertex that comes back farther from where it was has no place in the target [pixel].
_DRIFT = 1.0


@dataclass(frozen=True)
class _Change:
    """From the CRS of features to that of a grid, and back."""

    source: pyproj.CRS
    geobox: GeoBox

    @cached_property
    def _transformer(self) -> pyproj.Transformer:
        target = require_crs(self.geobox, "The grid").proj
        return pyproj.Transformer.from_crs(self.source, target, always_xy=True)

    @cached_property
    def round_target(self) -> bool:
        """Whether x of the target is a longitude, which starts again after 360 degrees."""
        return bool(require_crs(self.geobox, "The grid").proj.is_geographic)

    def forward(self, points: np.ndarray) -> np.ndarray:
        return np.stack(self._transformer.transform(points[:, 0], points[:, 1]), axis=1)

    def back(self, points: np.ndarray) -> np.ndarray:
        back = self._transformer.transform(points[:, 0], points[:, 1], direction="INVERSE")
        return np.stack(back, axis=1)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Positions in pixels of the grid."""
        a = ~self.geobox.affine
        x, y = points[:, 0], points[:, 1]
        return np.stack([a.a * x + a.b * y + a.c, a.d * x + a.e * y + a.f], axis=1)

    @cached_property
    def nodes(self) -> np.ndarray:
        """Positions (33, 33, 2) of a lattice over the grid and a little around it, in the source."""
        height, width = self.geobox.shape
        rows, cols = np.linspace(-1, height + 1, 33), np.linspace(-1, width + 1, 33)
        x, y = np.meshgrid(cols, rows)
        a = self.geobox.affine
        points = np.stack([a.a * x + a.b * y + a.c, a.d * x + a.e * y + a.f], axis=-1)
        back = self.back(points.reshape(-1, 2))
        back[~np.isfinite(back).all(axis=1)] = np.nan
        if self.source.is_geographic and not np.isnan(back).all():
            middle = back[len(back) // 2, 0]
            middle = np.nanmedian(back[:, 0]) if np.isnan(middle) else middle
            back[:, 0] = middle + (back[:, 0] - middle + 180) % 360 - 180
        return back.reshape(33, 33, 2)

    @cached_property
    def pixel(self) -> float:
        """Size of a pixel of the grid in units of the source, about."""
        steps = np.abs(np.diff(self.nodes, axis=1)) / (self.geobox.width + 2) * 32
        size = np.nanmedian(np.hypot(steps[..., 0], steps[..., 1]))
        return float(size) if np.isfinite(size) and size > 0 else max(resolution(self.geobox))

    @cached_property
    def reach(self) -> tuple[shapely.Geometry, ...]:
        """Rectangles of the source that hold the grid with a margin; none: it has no place there."""
        nodes = self.nodes
        if np.isnan(nodes).all():
            return ()
        margin = np.zeros(2)
        for axis in (0, 1):
            steps = np.abs(np.diff(nodes, axis=axis))
            margin = np.fmax(
                margin, np.nanmax(steps, axis=(0, 1), initial=0.0, where=steps == steps)
            )
        low = np.nanmin(nodes, axis=(0, 1)) - margin
        high = np.nanmax(nodes, axis=(0, 1)) + margin
        box = shapely.box(*low, *high)
        if not self.source.is_geographic:
            return (box,)
        if high[0] - low[0] >= 360:
            return (shapely.box(-720, low[1], 720, high[1]),)
        return tuple(
            shapely.box(low[0] + turn, low[1], high[0] + turn, high[1]) for turn in (-360, 0, 360)
        )


def projected(
    geometries: np.ndarray, source: pyproj.CRS, geobox: GeoBox
) -> tuple[Paths, np.ndarray]:
    """Transform features to the CRS of a grid, as far as they reach near it.

    Parameters
    ----------
    geometries : array of shapely.Geometry
    source : pyproj.CRS
        Of the geometries.

    Returns
    -------
    paths : Paths
        In the CRS of the grid; ``features`` counts `geometries`.
    lost : int array
        Features of which a part near the grid has no place in its CRS and is left out.
    """
    change = _Change(source, geobox)
    nearby = np.full(len(geometries), None, dtype=object)
    near = meets(geometries, change.reach)
    nearby[near] = geometries[near]
    paths = paths_of(nearby)
    paths, wrong = _transformed(paths, change)
    cut = np.unique(paths.features[wrong])
    if not len(cut):
        return paths, cut
    pieces = np.full(len(geometries), None, dtype=object)
    for i in cut:
        pieces[i] = _cut(geometries[i], change.reach)
    again, wrong = _transformed(paths_of(pieces), change)
    lost = np.unique(again.features[wrong])
    again = again.keep(~np.isin(again.parts, again.parts[wrong]))
    return paths.keep(~np.isin(paths.features, cut)).join(again), lost


def meets(geometries: np.ndarray, boxes: tuple[shapely.Geometry, ...]) -> np.ndarray:
    """Whether the boxes around geometries meet some of `boxes`."""
    left, bottom, right, top = shapely.bounds(geometries).T
    met = np.zeros(len(geometries), bool)
    for box in boxes:
        x1, y1, x2, y2 = box.bounds
        met |= (left <= x2) & (right >= x1) & (bottom <= y2) & (top >= y1)
    return met


def _cut(geometry: shapely.Geometry, boxes: tuple[shapely.Geometry, ...]) -> shapely.Geometry:
    """Parts of a geometry inside of rectangles.

    Polygons are repaired one by one: repairing several at once would cut out where they overlap.
    """
    parts = shapely.get_parts(geometry)
    while (shapely.get_type_id(parts) >= 4).any():
        parts = shapely.get_parts(parts)
    result = []
    for part in parts:
        dimension = shapely.get_dimensions(part)
        whole = part if dimension < 2 else shapely.make_valid(part)
        for box in boxes:
            inside = shapely.get_parts(shapely.intersection(whole, box))
            result += [one for one in inside if shapely.get_dimensions(one) == dimension]
    return shapely.GeometryCollection(result)


def _transformed(paths: Paths, change: _Change) -> tuple[Paths, np.ndarray]:
    """Transform vertices and bend edges.

    Returns
    -------
    paths : Paths
    wrong : bool array (paths,)
        Which of them are of parts that have no place in the target, or not as a whole.
    """
    moved = change.forward(paths.points)
    wrong = np.zeros(len(paths.kinds), bool)
    if not len(wrong):
        return paths, wrong
    with np.errstate(invalid="ignore"):
        drift = np.abs(change.back(moved) - paths.points)
        if change.source.is_geographic:
            drift[:, 0] = np.abs((drift[:, 0] + 180) % 360 - 180)
            drift[:, 0] *= np.cos(np.radians(paths.points[:, 1]))
        good = (drift <= _DRIFT * change.pixel).all(axis=1) & np.isfinite(moved).all(axis=1)
    wrong[paths.owner[~good]] = True
    moved = np.where(good[:, None], moved, 0.0)
    if change.round_target:
        moved = _unrolled(moved, paths, change)
    points, starts = _bent(paths, moved, wrong, change)
    bent = Paths(points, starts, paths.kinds, paths.parts, paths.features, paths.closed)
    if change.round_target:
        return _all_turns(bent, wrong, change)
    return bent, wrong


def _unrolled(moved: np.ndarray, paths: Paths, change: _Change) -> np.ndarray:
    """Longitudes that do not jump by a whole turn within a path; the first is near the grid."""
    lon = moved[:, 0]
    middle = (change.geobox.affine @ (change.geobox.width / 2, change.geobox.height / 2))[0]
    turns = np.zeros(len(lon))
    turns[1:] = -np.round(np.diff(lon) / 360)
    firsts = paths.starts[:-1]
    turns[firsts] = 0
    total = np.cumsum(turns)
    total -= np.repeat(total[firsts], np.diff(paths.starts))
    total += np.repeat(-np.round((lon[firsts] - middle) / 360), np.diff(paths.starts))
    return np.stack([lon + 360 * total, moved[:, 1]], axis=1)


def _bent(
    paths: Paths, moved: np.ndarray, wrong: np.ndarray, change: _Change
) -> tuple[np.ndarray, np.ndarray]:
    """Add vertices between those of paths until edges follow their curves near the grid."""
    owner = paths.owner
    first = np.flatnonzero(
        (owner[:-1] == owner[1:]) & (paths.kinds[owner[:-1]] != POINT) & ~wrong[owner[:-1]]
    )
    # Halves have exact numbers, so sorting puts new vertices where they belong.
    keys, points = [np.arange(len(moved), dtype="float64")], [moved]
    key, span, owner = first.astype("float64"), 1.0, owner[first]
    ends = paths.points[first], paths.points[first + 1], moved[first], moved[first + 1]
    for halving in range(_HALVINGS + 1):
        from_a, from_b, to_a, to_b = ends
        half = (from_a + from_b) / 2
        curve = change.forward(half)
        straight = (to_a + to_b) / 2
        if change.round_target:
            curve[:, 0] += 360 * np.round((straight[:, 0] - curve[:, 0]) / 360)
        split = _bends(change.pixels(to_a), change.pixels(to_b), change.pixels(curve), change)
        broken = ~np.isfinite(curve).all(axis=1) | (split & (halving == _HALVINGS))
        wrong[owner[broken]] = True
        split &= ~broken
        if not split.any():
            break
        span /= 2
        keys.append(key[split] + span)
        points.append(curve[split])
        owner = np.tile(owner[split], 2)
        key = np.concatenate([key[split], key[split] + span])
        ends = (
            np.concatenate([from_a[split], half[split]]),
            np.concatenate([half[split], from_b[split]]),
            np.concatenate([to_a[split], curve[split]]),
            np.concatenate([curve[split], to_b[split]]),
        )
    everything = np.concatenate(keys)
    order = np.argsort(everything, kind="stable")
    starts = np.searchsorted(everything[order], paths.starts)
    return np.concatenate(points)[order], starts


def _bends(a: np.ndarray, b: np.ndarray, curve: np.ndarray, change: _Change) -> np.ndarray:
    """Whether edges from `a` to `b` through `curve` are too far from straight, in pixels."""
    with np.errstate(invalid="ignore", over="ignore"):
        bend = np.hypot(*(curve - (a + b) / 2).T)
        low, high = np.fmin(np.fmin(a, b), curve), np.fmax(np.fmax(a, b), curve)
        margin = (4 * bend + 1)[:, None]
        size = np.array([change.geobox.width, change.geobox.height])
        near = (low - margin <= size).all(axis=1) & (high + margin >= 0).all(axis=1)
        return near & ((bend > _TOLERANCE) | (np.hypot(*(b - a).T) > _LONGEST))


def _all_turns(paths: Paths, wrong: np.ndarray, change: _Change) -> tuple[Paths, np.ndarray]:
    """Show paths at every whole turn of longitude; rings around a pole are closed over it."""
    sizes = np.diff(paths.starts)
    lon = paths.points[:, 0]
    first, last = paths.starts[:-1], paths.starts[1:] - 1
    around = np.round((lon[last] - lon[first]) / 360)
    around[paths.kinds != POLYGON] = 0
    polar = np.flatnonzero(around)
    if len(polar):
        # The pole that is nearer to the vertices.
        sums = np.add.reduceat(paths.points[:, 1], first)
        pole = np.where(sums[polar] >= 0, 90.0, -90.0)
        start, end = paths.points[first[polar]], paths.points[last[polar]]
        cap = np.stack(
            [
                np.stack([end[:, 0], pole], axis=1),
                np.stack([start[:, 0], pole], axis=1),
                start,
            ],
            axis=1,
        ).reshape(-1, 2)
        points = np.insert(paths.points, np.repeat(last[polar] + 1, 3), cap, axis=0)
        sizes = sizes.copy()
        sizes[polar] += 3
        starts = np.concatenate([[0], np.cumsum(sizes)])
        paths = Paths(points, starts, paths.kinds, paths.parts, paths.features, paths.closed)
    result = paths
    for turn in (-360.0, 360.0):
        copy = paths.moved(paths.points + (turn, 0.0))
        result = result.join(copy.keep(_over(copy, change)))
    return result, np.isin(result.parts, paths.parts[wrong])


def _over(paths: Paths, change: _Change) -> np.ndarray:
    """Whether the boxes around paths meet the grid."""
    pixels = change.pixels(paths.points)
    low = np.minimum.reduceat(pixels, paths.starts[:-1])
    high = np.maximum.reduceat(pixels, paths.starts[:-1])
    size = np.array([change.geobox.width, change.geobox.height])
    return np.all((low <= size + 1) & (high >= -1), axis=1)

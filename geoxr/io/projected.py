"""Features in another CRS: edges bent as the projection bends them, nothing placed wrongly.

An edge is straight in the CRS of its file. In another one it is a curve, so vertices are added where
the grid would show the difference. Far from where a projection is made for, PROJ gives no numbers or
some that mean another place: features that reach there are first cut to the surroundings of the grid.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyproj
import shapely
from odc.geo.geobox import GeoBox

from geoxr.io.burn import POINT, POLYGON
from geoxr.io.onto_grid import OntoGrid
from geoxr.io.pieces import Paths, paths_of

#: Largest distance between a bent edge and its curve [pixel].
_TOLERANCE = 1e-3
#: Longest edge that is tried as a straight one near the grid [pixel].
_LONGEST = 256.0
#: Times an edge is halved before it counts as one without a place.
_HALVINGS = 24
#: Times a feature is cut into quarters to find the parts of it that have a place.
_QUARTERINGS = 12
#: Quarters reach this far into each other [pixel].
_OVERLAP = 0.01


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
        Features of which a part larger than a pixel has no place in that CRS, as far as can be
        found out, and is left out.
    """
    onto = OntoGrid(source, geobox)
    near = meets(geometries, onto.reach)
    wide = near & _around(geometries, onto)
    nearby = np.full(len(geometries), None, dtype=object)
    nearby[near & ~wide] = geometries[near & ~wide]
    paths, wrong = _transformed(paths_of(nearby), onto)
    cut = np.union1d(paths.features[wrong], np.flatnonzero(wide))
    paths = paths.keep(~np.isin(paths.features, cut))
    parts, owner = _cut(geometries, cut, onto.reach)
    size, depth = np.inf, 0
    while len(parts):
        again, wrong = _transformed(paths_of(parts), onto)
        bad = np.unique(again.features[wrong])
        good = again.keep(~np.isin(again.features, bad))
        more = good.parts + paths.parts.max(initial=-1) + 1
        paths = paths.join(replace(good, features=owner[good.features], parts=more))
        # What has no place as a whole may have one in parts.
        bad = bad[_reachable(parts[bad], onto)]
        parts, owner = parts[bad], owner[bad]
        size = np.ptp(shapely.bounds(parts).reshape(-1, 2, 2), axis=1).max(initial=0)
        if size <= onto.pixel / 2 or depth == _QUARTERINGS:
            break
        parts, owner = _quartered(parts, owner, onto)
        depth += 1
    return paths, np.unique(owner) if size > onto.pixel / 2 else owner[:0]


def meets(geometries: np.ndarray, boxes: tuple[shapely.Geometry, ...]) -> np.ndarray:
    """Whether the boxes around geometries meet some of `boxes`."""
    left, bottom, right, top = shapely.bounds(geometries).T
    met = np.zeros(len(geometries), bool)
    for box in boxes:
        x1, y1, x2, y2 = box.bounds
        met |= (left <= x2) & (right >= x1) & (bottom <= y2) & (top >= y1)
    return met


def _around(geometries: np.ndarray, onto: OntoGrid) -> np.ndarray:
    """Whether features span so many longitudes that their ends may meet behind the earth."""
    if not onto.source.is_geographic:
        return np.zeros(len(geometries), bool)
    left, _, right, _ = shapely.bounds(geometries).T
    return right - left > 180


def _cut(
    geometries: np.ndarray, which: np.ndarray, boxes: tuple[shapely.Geometry, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Parts of some geometries inside of rectangles, and which geometry they are of.

    Polygons are repaired one by one: repairing several at once would cut out where they overlap.
    """
    parts, owner = shapely.get_parts(geometries[which], return_index=True)
    while (shapely.get_type_id(parts) >= 4).any():
        parts, index = shapely.get_parts(parts, return_index=True)
        owner = owner[index]
    solid = shapely.get_dimensions(parts) == 2
    parts[solid] = shapely.make_valid(parts[solid])
    pieces = [_inside(parts, which[owner], box) for box in boxes]
    return (
        np.concatenate([shapes for shapes, _ in pieces]),
        np.concatenate([owners for _, owners in pieces]),
    )


def _inside(
    parts: np.ndarray, owner: np.ndarray, boxes: shapely.Geometry | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Intersect parts with boxes; where only the edge of a polygon is touched, nothing is left."""
    dimension = shapely.get_dimensions(parts)
    pieces, index = shapely.get_parts(shapely.intersection(parts, boxes), return_index=True)
    left = (shapely.get_dimensions(pieces) == dimension[index]) & ~shapely.is_empty(pieces)
    return pieces[left], owner[index[left]]


def _reachable(parts: np.ndarray, onto: OntoGrid) -> np.ndarray:
    """Whether parts have a vertex that has a place, or may hold a piece of the grid."""
    points, index = shapely.get_coordinates(parts, return_index=True)
    result = np.zeros(len(parts), bool)
    result[index[onto.place(points)[1]]] = True
    nodes = shapely.points(onto.nodes[np.isfinite(onto.nodes).all(axis=-1)])
    left, bottom, right, top = shapely.bounds(parts).T
    more_x, more_y = (right - left) / 2, (top - bottom) / 2
    around = shapely.box(left - more_x, bottom - more_y, right + more_x, top + more_y)
    result[np.unique(shapely.STRtree(nodes).query(around)[0])] = True
    return result


def _quartered(
    parts: np.ndarray, owner: np.ndarray, onto: OntoGrid
) -> tuple[np.ndarray, np.ndarray]:
    """Cut parts into quarters, which overlap a little: what lies between them belongs to both."""
    left, bottom, right, top = shapely.bounds(parts).T
    x, y = (left + right) / 2, (bottom + top) / 2
    more = _OVERLAP * onto.pixel
    quarters = [
        shapely.box(x1, y1, x2, y2)
        for x1, x2 in ((left, x + more), (x - more, right))
        for y1, y2 in ((bottom, y + more), (y - more, top))
    ]
    pieces = [_inside(parts, owner, boxes) for boxes in quarters]
    shapes = np.concatenate([one for one, _ in pieces])
    owners = np.concatenate([one for _, one in pieces])
    return shapes, owners


def _transformed(paths: Paths, onto: OntoGrid) -> tuple[Paths, np.ndarray]:
    """Transform vertices and bend edges.

    Returns
    -------
    paths : Paths
    wrong : bool array (paths,)
        Which of them are of parts that have no place in the target, or not as a whole.
    """
    wrong = np.zeros(len(paths.kinds), bool)
    if not len(wrong):
        return paths, wrong
    moved, good = onto.place(paths.points)
    wrong[paths.owner[~good]] = True
    if onto.round_target:
        moved = _unrolled(moved, paths, onto)
    points, starts = _bent(paths, moved, wrong, onto)
    bent = Paths(points, starts, paths.kinds, paths.parts, paths.features, paths.closed)
    if onto.round_target:
        return _all_turns(bent, wrong, onto)
    return bent, wrong


def _unrolled(moved: np.ndarray, paths: Paths, onto: OntoGrid) -> np.ndarray:
    """Longitudes that do not jump by a whole turn within a path; the first is near the grid."""
    lon = moved[:, 0]
    middle = (onto.geobox.affine @ (onto.geobox.width / 2, onto.geobox.height / 2))[0]
    turns = np.zeros(len(lon))
    turns[1:] = -np.round(np.diff(lon) / 360)
    firsts = paths.starts[:-1]
    turns[firsts] = 0
    total = np.cumsum(turns)
    total -= np.repeat(total[firsts], np.diff(paths.starts))
    total += np.repeat(-np.round((lon[firsts] - middle) / 360), np.diff(paths.starts))
    return np.stack([lon + 360 * total, moved[:, 1]], axis=1)


def _bent(
    paths: Paths, moved: np.ndarray, wrong: np.ndarray, onto: OntoGrid
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
        curve = onto.forward(half)
        straight = (to_a + to_b) / 2
        if onto.round_target:
            curve[:, 0] += 360 * np.round((straight[:, 0] - curve[:, 0]) / 360)
        split = _bends(onto.pixels(to_a), onto.pixels(to_b), onto.pixels(curve), onto)
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


def _bends(a: np.ndarray, b: np.ndarray, curve: np.ndarray, onto: OntoGrid) -> np.ndarray:
    """Whether edges from `a` to `b` through `curve` are too far from straight, in pixels."""
    with np.errstate(invalid="ignore", over="ignore"):
        bend = np.hypot(*(curve - (a + b) / 2).T)
        low, high = np.fmin(np.fmin(a, b), curve), np.fmax(np.fmax(a, b), curve)
        margin = (4 * bend + 1)[:, None]
        size = np.array([onto.geobox.width, onto.geobox.height])
        near = (low - margin <= size).all(axis=1) & (high + margin >= 0).all(axis=1)
        return near & ((bend > _TOLERANCE) | (np.hypot(*(b - a).T) > _LONGEST))


def _all_turns(paths: Paths, wrong: np.ndarray, onto: OntoGrid) -> tuple[Paths, np.ndarray]:
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
        result = result.join(copy.keep(_over(copy, onto)))
    return result, np.isin(result.parts, paths.parts[wrong])


def _over(paths: Paths, onto: OntoGrid) -> np.ndarray:
    """Whether the boxes around paths meet the grid."""
    pixels = onto.pixels(paths.points)
    low = np.minimum.reduceat(pixels, paths.starts[:-1])
    high = np.maximum.reduceat(pixels, paths.starts[:-1])
    size = np.array([onto.geobox.width, onto.geobox.height])
    return np.all((low <= size + 1) & (high >= -1), axis=1)

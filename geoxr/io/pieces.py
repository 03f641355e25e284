"""Features as edges in pixels of a grid, cut into pieces that can be found and burnt one by one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numba
import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from geoxr.grid.affine import rotated
from geoxr.io.burn import LINE, POINT, POLYGON

#: Parts with more edges than this are cut into pieces.
_LONG = 128
#: Rows of a piece of a long polygon, edges of a piece of a long line.
_BAND = 64


@dataclass(frozen=True, eq=False)
class Paths:
    """Points, lines and rings of features, as one list of vertices.

    Parameters
    ----------
    points : float64 array (n, 2)
        x, y of all vertices.
    starts : int64 array (paths + 1,)
        Where the vertices of each path start.
    kinds : int8 array (paths,)
        POINT, LINE or POLYGON (a ring of one).
    parts : int64 array (paths,)
        Paths with the same number are one line, or the rings of one polygon; ascending.
    features : int64 array (paths,)
        Feature that a path is of; ascending.
    closed : bool array (paths,)
        Whether a path is a ring.
    """

    points: np.ndarray
    starts: np.ndarray
    kinds: np.ndarray
    parts: np.ndarray
    features: np.ndarray
    closed: np.ndarray

    @cached_property
    def owner(self) -> np.ndarray:
        """Path of each vertex."""
        return np.repeat(np.arange(len(self.kinds)), np.diff(self.starts))

    def keep(self, wanted: np.ndarray) -> Paths:
        """Return the paths for which `wanted` is True."""
        sizes = np.diff(self.starts)[wanted]
        return Paths(
            self.points[np.repeat(wanted, np.diff(self.starts))],
            np.concatenate([[0], np.cumsum(sizes)]),
            *(getattr(self, name)[wanted] for name in ("kinds", "parts", "features", "closed")),
        )

    def moved(self, points: np.ndarray) -> Paths:
        """Return the same paths with other vertices."""
        return replace(self, points=points)

    def join(self, other: Paths) -> Paths:
        """Return these paths and others, in the order of features and their parts.

        Parts of the same feature with the same number become one.
        """
        sizes = np.concatenate([np.diff(self.starts), np.diff(other.starts)])
        begins = np.concatenate([self.starts[:-1], other.starts[:-1] + len(self.points)])
        rest = [
            np.concatenate([getattr(self, name), getattr(other, name)])
            for name in ("kinds", "parts", "features", "closed")
        ]
        order = np.lexsort((rest[1], rest[2]))
        starts = np.concatenate([[0], np.cumsum(sizes[order])])
        take = np.repeat(begins[order] - starts[:-1], sizes[order]) + np.arange(starts[-1])
        points = np.concatenate([self.points, other.points])[take]
        kinds, parts, features, closed = (one[order] for one in rest)
        changes = (np.diff(parts, prepend=-1) != 0) | (np.diff(features, prepend=-1) != 0)
        return Paths(points, starts, kinds, np.cumsum(changes) - 1, features, closed)


def paths_of(geometries: np.ndarray) -> Paths:
    """Take geometries apart; Z and M are left out, nested collections opened.

    Parameters
    ----------
    geometries : array of shapely.Geometry
        None and empty ones have no paths.
    """
    parts, feature = shapely.get_parts(geometries, return_index=True)
    while (shapely.get_type_id(parts) >= 4).any():
        parts, index = shapely.get_parts(parts, return_index=True)
        feature = feature[index]
    number = np.arange(len(parts))
    polygon = shapely.get_type_id(parts) == 3
    rings, ring_of = shapely.get_rings(parts[polygon], return_index=True)
    paths = np.concatenate([parts[~polygon], rings])
    part = np.concatenate([number[~polygon], number[polygon][ring_of]])
    kinds = np.where(shapely.get_type_id(paths) == 0, POINT, LINE)
    kinds[len(paths) - len(rings) :] = POLYGON
    # Back into the order of the features.
    order = np.argsort(part, kind="stable")
    paths, part, kinds = paths[order], part[order], kinds[order].astype("int8")
    sizes = shapely.get_num_coordinates(paths)
    return Paths(
        shapely.get_coordinates(paths).reshape(-1, 2),
        np.concatenate([[0], np.cumsum(sizes)]).astype("int64"),
        kinds,
        part,
        feature[part],
        shapely.get_type_id(paths) == 2,
    )


@dataclass(frozen=True, eq=False)
class Pieces:
    """What is burnt, in burn order; see `geoxr.io.burn.burn` for the arrays."""

    edges: np.ndarray
    starts: np.ndarray
    bands: np.ndarray
    kinds: np.ndarray
    values: np.ndarray

    @cached_property
    def tree(self) -> shapely.STRtree:
        """Index of the boxes around the pieces."""
        return shapely.STRtree(shapely.box(*_boxes(self.edges, self.starts, self.bands)))

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __dask_tokenize__(self) -> tuple[str, str]:
        return type(self).__name__, self._digest

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256()
        for array in self.__getstate__().values():
            digest.update(array.tobytes())
        return digest.hexdigest()


def pieces_of(paths: Paths, values: np.ndarray, geobox: GeoBox) -> Pieces:
    """Cut paths in the CRS of a grid into pieces in its pixels; what is outside is left out.

    Parameters
    ----------
    values : int array (features,)
        What is burnt for each feature; features come in burn order.
    """
    paths = replace(paths, points=_to_pixels(_directed(paths), geobox.affine))
    paths = _near(paths, geobox)
    edges, part = _edges(paths)
    part_kinds = np.zeros(part.max(initial=-1) + 1, "int8")
    part_kinds[paths.parts] = paths.kinds
    part_values = np.zeros(len(part_kinds), "int32")
    part_values[paths.parts] = values[paths.features]
    height = geobox.height
    # Edges above and below the grid cross none of its rows.
    high, low = np.minimum(edges[:, 1], edges[:, 3]), np.maximum(edges[:, 1], edges[:, 3])
    met = (low >= -1) & (high <= height + 1)
    edges, part, high, low = edges[met], part[met], high[met], low[met]
    count = np.bincount(part, minlength=len(part_kinds))
    long = (count > _LONG)[part]
    polygon = part_kinds[part] == POLYGON
    # Pieces of long lines are runs of edges, of long polygons bands of rows.
    rank = np.arange(len(part)) - np.concatenate([[0], np.cumsum(count)])[part]
    first = np.where(long & ~polygon, rank // _BAND, 0)
    first = np.where(long & polygon, np.clip(high - 1, 0, height - 1) // _BAND, first).astype(int)
    last = np.where(long & polygon, np.clip(low + 1, 0, height - 1) // _BAND, first).astype(int)
    times = last - first + 1
    index = np.repeat(np.arange(len(part)), times)
    band = first[index] + np.arange(len(index)) - np.repeat(np.cumsum(times) - times, times)
    order = np.lexsort((band, part[index]))
    index, band = index[order], band[order]
    owner, banded = part[index], (long & polygon)[index]
    changes = np.flatnonzero((np.diff(owner) != 0) | (np.diff(band) != 0)) + 1
    starts = np.concatenate([[0], changes, [len(index)]]) if len(index) else np.zeros(1, int)
    heads = starts[:-1]
    bands = np.stack([band[heads] * _BAND, (band[heads] + 1) * _BAND], axis=1).astype("float64")
    bands[~banded[heads]] = -np.inf, np.inf
    return Pieces(
        edges[index],
        starts.astype("int64"),
        bands,
        part_kinds[owner[heads]],
        part_values[owner[heads]],
    )


def _directed(paths: Paths) -> Paths:
    """Turn rings clockwise and lines around, as GDAL does before it burns them."""
    turned = paths.kinds == LINE
    turned[paths.closed] = ~_clockwise(paths.points, paths.starts)[paths.closed]
    at = np.arange(len(paths.points))
    sizes = np.diff(paths.starts)
    flipped = np.repeat(paths.starts[:-1] + paths.starts[1:] - 1, sizes) - at
    return paths.moved(paths.points[np.where(np.repeat(turned, sizes), flipped, at)])


@numba.njit(cache=True)
def _clockwise(points: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Whether each ring runs clockwise, seen with y upwards.

    That is told by the turn at its lowest, then rightmost vertex; by its area if it touches itself
    there.
    """
    result = np.ones(len(starts) - 1, np.bool_)
    for i in range(len(result)):
        ring = points[starts[i] : starts[i + 1] - 1]
        n = len(ring)
        if n < 3:
            continue
        v, twice = 0, False
        for j in range(1, n):
            if ring[j, 1] < ring[v, 1] or (ring[j, 1] == ring[v, 1] and ring[j, 0] > ring[v, 0]):
                v, twice = j, False
            elif ring[j, 1] == ring[v, 1] and ring[j, 0] == ring[v, 0]:
                twice = True
        before, after = ring[v - 1] - ring[v], ring[(v + 1) % n] - ring[v]
        turn = after[0] * before[1] - before[0] * after[1]
        if twice or turn == 0:
            turn = 0.0
            for j in range(n):
                turn += (ring[j, 0] - ring[0, 0]) * (ring[(j + 1) % n, 1] - ring[j - 1, 1])
        result[i] = turn < 0
    return result


def _to_pixels(paths: Paths, affine: Affine) -> np.ndarray:
    """Positions in pixels, rounded as GDAL rounds them.

    References
    ----------
    GDAL 3.10, ``GDALInvGeoTransform`` in ``gcore/gdal_misc.cpp``.
    """
    c, a, b, f, d, e = affine.to_gdal()
    if rotated(affine):
        factor = 1.0 / (a * e - b * d)
        inverse = (
            (b * f - c * e) * factor, e * factor, -b * factor,
            (-a * f + c * d) * factor, -d * factor, a * factor,
        )  # fmt: skip
    else:
        inverse = (-c / a, 1.0 / a, 0.0, -f / e, 0.0, 1.0 / e)
    x, y = paths.points[:, 0], paths.points[:, 1]
    return np.stack(
        [
            inverse[0] + x * inverse[1] + y * inverse[2],
            inverse[3] + x * inverse[4] + y * inverse[5],
        ],
        axis=1,
    )


def _near(paths: Paths, geobox: GeoBox) -> Paths:
    """Leave out parts that do not come near the grid."""
    if not len(paths.kinds):
        return paths
    low = np.minimum.reduceat(paths.points, paths.starts[:-1])
    high = np.maximum.reduceat(paths.points, paths.starts[:-1])
    size = np.array([geobox.width, geobox.height])
    # A ring away from the grid does not change it either, so rings go one by one.
    return paths.keep(np.all((low <= size + 1) & (high >= -1), axis=1))


def _edges(paths: Paths) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of every edge (n, 4), and its part; a point is an edge between itself."""
    owner, points = paths.owner, paths.points
    ends = np.flatnonzero(owner[:-1] == owner[1:])
    dots = np.flatnonzero(paths.kinds[owner] == POINT)
    index = np.sort(np.concatenate([ends, dots]))
    after = np.where(paths.kinds[owner[index]] == POINT, index, index + 1)
    return np.concatenate([points[index], points[after]], axis=1), paths.parts[owner[index]]


def _boxes(
    edges: np.ndarray, starts: np.ndarray, bands: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Left, top, right and bottom of every piece."""
    if not len(starts) - 1:
        return (np.empty(0),) * 4
    low = np.minimum.reduceat(np.minimum(edges[:, :2], edges[:, 2:]), starts[:-1])
    high = np.maximum.reduceat(np.maximum(edges[:, :2], edges[:, 2:]), starts[:-1])
    top, bottom = np.maximum(low[:, 1], bands[:, 0] - 1), np.minimum(high[:, 1], bands[:, 1] + 1)
    return low[:, 0], top, high[:, 0], np.maximum(bottom, top)

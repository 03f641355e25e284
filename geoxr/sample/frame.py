"""Plans as tables of chips, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError, GridError, MissingFileError
from geoxr.grid.affine import map_points
from geoxr.grid.crs import same_crs
from geoxr.grid.shapes import outline, to_pixels
from geoxr.sample.chip import ChipPlan, Fixed, Spots
from geoxr.sample.nodes import Layers, nodes_of
from geoxr.typing import PathLike

if TYPE_CHECKING:
    import geopandas

#: Outlines may be off by this much in the CRS of the grid, and in another one [pixel].
_EXACT, _ROUGH = 1e-2, 0.5


def to_geodataframe(plan: ChipPlan) -> geopandas.GeoDataFrame:
    """Return one row per chip; see `ChipPlan.to_geodataframe`."""
    import geopandas

    index = plan.indices(0, len(plan))
    spots = plan.spots(index)
    grids = np.zeros(len(spots), "int64") if spots.grids is None else spots.grids
    crs = plan.grids[0].geobox.crs
    several = not all(same_crs(grid.geobox.crs, crs) for grid in plan.grids)
    shapes = np.empty(len(spots), object)
    for number, grid in enumerate(plan.grids):
        mine = np.flatnonzero(grids == number)
        own = outlines(grid.geobox, spots.corners[mine], plan.size)
        shapes[mine] = _in_degrees(own, grid.geobox) if several else own
    names = np.array([grid.node for grid in plan.grids], object)
    columns: dict[str, Any] = {
        "index": np.repeat(index, plan.group), "node": names[grids],
        "row": spots.corners[:, 0], "col": spots.corners[:, 1],
        "height": plan.size[0], "width": plan.size[1],
    }  # fmt: skip
    if spots.times is not None:
        columns["times"] = list(spots.times)
    for name, number in (("group", plan.group), ("together", plan.together)):
        if number > 1:
            columns[name] = number
    place = 4326 if several else None if crs is None else crs.proj
    return geopandas.GeoDataFrame(columns, geometry=shapes, crs=place)


def outlines(geobox: GeoBox, corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Outlines of chips (n, 2) on a grid, in its CRS."""
    rows, cols = corners[:, 0], corners[:, 1]
    height, width = size
    ring = [
        np.stack(map_points(geobox.affine, c, r), axis=-1)
        for r, c in (
            (rows, cols), (rows, cols + width), (rows + height, cols + width),
            (rows + height, cols), (rows, cols),
        )
    ]  # fmt: skip
    return shapely.polygons(np.stack(ring, axis=1))


def _in_degrees(shapes: np.ndarray, geobox: GeoBox) -> np.ndarray:
    """Outlines in EPSG:4326, with points along the edges, which bend."""
    import geopandas

    if geobox.crs is None or not len(shapes):
        return shapes
    left, bottom, right, top = shapely.bounds(shapes).T
    edge = max(float((right - left).max()), float((top - bottom).max())) / 4
    bent = geopandas.GeoSeries(shapely.segmentize(shapes, edge), crs=geobox.crs.proj)
    return np.asarray(bent.to_crs(4326))


@dataclass(frozen=True, eq=False)
class Numbered:
    """Places of chips by numbers that need not follow each other; see `Places`.

    Attributes
    ----------
    numbers : int64 array (n,)
        Of the items, ascending.
    spots : Spots
        `group` for each.
    """

    numbers: np.ndarray
    spots: Spots
    group: int

    def __len__(self) -> int:
        return len(self.spots)

    def take(self, index: np.ndarray) -> Spots:
        """Return where the chips with these numbers are."""
        item, member = np.divmod(np.asarray(index, "int64"), self.group)
        return self.spots.take(np.searchsorted(self.numbers, item) * self.group + member)


def from_geodataframe(frame: geopandas.GeoDataFrame, ds: Layers) -> ChipPlan:
    """Make a plan from a table of chips; see `ChipPlan.from_geodataframe`."""
    if not hasattr(frame, "geometry") or not len(frame):
        raise ArgumentError(
            f"A plan is made from a GeoDataFrame with a row for each chip, not from "
            f"{'one without rows' if hasattr(frame, 'geometry') else type(frame).__name__}."
        )
    nodes = {node.grid.node: node for node in nodes_of(ds)}
    names = (
        frame["node"].fillna("").astype(str).to_numpy() if "node" in frame else [""] * len(frame)
    )
    unknown = sorted(set(names) - set(nodes))
    if unknown:
        raise GridError(
            f"The table has chips in {unknown[0]!r}, but the data has {sorted(nodes)}. A plan of a "
            f"DataTree goes with that DataTree, one of a Dataset with a Dataset."
        )
    used = [name for name in nodes if name in set(names)]
    grids = np.array([used.index(name) for name in names])
    corners, sizes = np.zeros((len(frame), 2), "int64"), np.zeros((len(frame), 2), "int64")
    for number, name in enumerate(used):
        mine = np.flatnonzero(grids == number)
        corners[mine], sizes[mine] = _windows(frame.iloc[mine], nodes[name].geobox)
    if (sizes != sizes[0]).any():
        raise ArgumentError(
            f"The chips have different sizes ({_pairs(np.unique(sizes, axis=0)[:4])} pixels). A plan "
            f"has one, as batches have one shape."
        )
    times = _times(frame, [nodes[name].ds.sizes.get("time", 0) for name in used], grids)
    spots = Spots(corners, grids if len(used) > 1 else None, times)
    group, together = (_constant(frame, name) for name in ("group", "together"))
    numbers, picked = _numbered(frame, spots, group)
    size = (int(sizes[0, 0]), int(sizes[0, 1]))
    plan_grids = tuple(nodes[name].grid for name in used)
    return ChipPlan(plan_grids, size, Fixed(numbers), picked=picked, group=group, together=together)


def _windows(frame: geopandas.GeoDataFrame, geobox: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """Corners and sizes (n, 2) of chips: as the columns say, which the outlines have to agree with."""
    own = None if geobox.crs is None else geobox.crs.proj
    exact = frame.crs is None or own is None or frame.crs.equals(own, ignore_axis_order=True)
    shapes = np.asarray(frame.geometry if exact else frame.geometry.to_crs(own))
    seen = shapely.bounds(to_pixels(shapes, geobox))[:, [1, 0, 3, 2]]
    if {"row", "col", "height", "width"} <= set(frame.columns):
        corners = frame[["row", "col"]].to_numpy("int64")
        sizes = frame[["height", "width"]].to_numpy("int64")
    elif exact and np.isfinite(seen).all():
        whole = np.rint(seen).astype("int64")
        corners, sizes = whole[:, :2], whole[:, 2:] - whole[:, :2]
    else:
        raise ArgumentError(
            f"The table has no columns row, col, height and width, and its outlines are in another CRS "
            f"({frame.crs.name}), where pixels are no rectangles. Bring it into that of the data first: "
            f"frame.to_crs(ds.geoxr.crs.proj)."
        )
    # Bent edges reach over the corners, alike on both sides.
    middle = (seen[:, :2] + seen[:, 2:]) / 2 - corners - sizes / 2
    off = middle if not exact else seen - np.hstack([corners, corners + sizes])
    bad = ~(np.abs(off).max(axis=1) <= (_EXACT if exact else _ROUGH))
    meets = shapely.intersects(outline(geobox), outlines_each(geobox, corners, sizes))
    if bad.any() or (sizes < 1).any() or not meets.all():
        at = int(np.argmax(bad | (sizes < 1).any(axis=1) | ~meets))
        raise GridError(
            f"The outline of chip {at} is rows {seen[at, 0]:.2f}-{seen[at, 2]:.2f}, columns "
            f"{seen[at, 1]:.2f}-{seen[at, 3]:.2f} of the grid of {geobox.height} x {geobox.width} "
            f"pixels, not rows {corners[at, 0]}-{corners[at, 0] + sizes[at, 0]}, columns "
            f"{corners[at, 1]}-{corners[at, 1] + sizes[at, 1]} of it. The table was made for another "
            f"grid; plan the chips on this one."
        )
    return corners, sizes


def outlines_each(geobox: GeoBox, corners: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Outlines of chips of different sizes, in the CRS of their grid."""
    found = np.empty(len(corners), object)
    for size in np.unique(sizes, axis=0):
        mine = np.flatnonzero((sizes == size).all(axis=1))
        found[mine] = outlines(geobox, corners[mine], (int(size[0]), int(size[1])))
    return found


def _times(frame: Any, steps: list[int], grids: np.ndarray) -> np.ndarray | None:
    """Dates (n, most) of chips, padded with -1."""
    if "times" not in frame:
        return None
    listed = [np.atleast_1d(np.asarray(one, "int64")) for one in frame["times"]]
    most = max(map(len, listed))
    times = np.array([np.pad(one, (0, most - len(one)), constant_values=-1) for one in listed])
    there = np.array(steps)[grids][:, None]
    if (times.max(axis=1) < 0).any():
        raise ArgumentError("The table has chips without a date: all of their 'times' are -1.")
    if (times < -1).any() or (times >= there).any():
        raise GridError(
            f"The table has chips at dates {int(times.min())} to {int(times.max())}, counted from 0, but "
            f"the data has {min(steps)} dates. It was made for other data."
        )
    return times


def _constant(frame: Any, name: str) -> int:
    """Value of a column that has one, 1 if it is not there."""
    if name not in frame:
        return 1
    values = frame[name].unique()
    if len(values) != 1 or int(values[0]) < 1 or len(frame) % (values[0] if name == "group" else 1):
        raise ArgumentError(
            f"The column {name!r} must be one positive number in all rows"
            f"{', and divide them' if name == 'group' else ''}; here it is {values[:5].tolist()} in "
            f"{len(frame)} rows."
        )
    return int(values[0])


def _numbered(frame: Any, spots: Spots, group: int) -> tuple[Spots | Numbered, np.ndarray | None]:
    """Places by the numbers in the column "index", and these in the order of the table."""
    items = len(spots) // group
    if "index" not in frame:
        return spots, None
    index = frame["index"].to_numpy("int64").reshape(items, group)
    if (index != index[:, :1]).any() or (index < 0).any():
        raise ArgumentError(
            f"The column 'index' must be a number from 0 up, the same for the {group} chips of a group."
        )
    picked = index[:, 0]
    if np.array_equal(picked, np.arange(items)):
        return spots, None
    numbers, first, place = np.unique(picked, return_index=True, return_inverse=True)
    members = np.arange(group)
    held = spots.take((first[:, None] * group + members).ravel())
    again = held.take((place[:, None] * group + members).ravel())
    if not _same(again, spots):
        raise ArgumentError("Two chips of the table have the same 'index' but are not the same.")
    return Numbered(numbers, held, group), picked


def _same(first: Spots, second: Spots) -> bool:
    pairs = (
        (first.corners, second.corners), (first.grids, second.grids), (first.times, second.times)
    )  # fmt: skip
    return all(np.array_equal(a, b) for a, b in pairs if a is not None and b is not None)


def _pairs(sizes: np.ndarray) -> str:
    return ", ".join(f"{height} x {width}" for height, width in sizes)


def from_parquet(path: PathLike, ds: Layers) -> ChipPlan:
    """Read a plan that `ChipPlan.to_parquet` wrote."""
    import geopandas

    try:
        frame = geopandas.read_parquet(path)
    except FileNotFoundError as error:
        raise MissingFileError(f"There is no file {path}.") from error
    except (ValueError, OSError) as error:
        raise ArgumentError(f"{path} is not a GeoParquet file ({error}).") from error
    return from_geodataframe(frame, ds)

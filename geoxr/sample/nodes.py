"""The grids that chips lie on: that of a Dataset, or those of the nodes of a DataTree."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError, ChipError, NoOverlapError
from geoxr.grid.adopt import adopt
from geoxr.grid.crs import crs_name, same_crs
from geoxr.grid.geobox import bounds
from geoxr.io.dataset import layer_names
from geoxr.sample.area import chip_size, whole_pixels
from geoxr.sample.chip import Grid
from geoxr.typing import Area

Found = TypeVar("Found")
#: Layers on one grid, or a tree whose nodes have a grid each.
Layers: TypeAlias = xr.Dataset | xr.DataTree

#: Length of a degree along a meridian of the sphere of GRS80's mean radius [metre].
_DEGREE = 111_194.93


@dataclass(frozen=True, eq=False)
class Node:
    """A Dataset and its grid."""

    ds: xr.Dataset
    grid: Grid

    @property
    def geobox(self) -> GeoBox:
        """Shape, affine and CRS."""
        return self.grid.geobox


def nodes_of(data: Layers) -> list[Node]:
    """Return the Dataset, or those of all nodes of a DataTree that have layers.

    Raises
    ------
    ArgumentError
        If there are none.
    """
    if isinstance(data, xr.Dataset):
        ds = adopt(data)
        return [Node(ds, Grid.of(ds))]
    if not isinstance(data, xr.DataTree):
        raise ArgumentError(
            f"Chips are planned on a Dataset or a DataTree, not on a {type(data).__name__}. Make a "
            f"Dataset of layers: gx.merge({{'image': layer}})."
        )
    nodes = []
    for node in data.subtree:
        if node.data_vars:
            ds = adopt(node.to_dataset())
            if layer_names(ds):
                nodes.append(Node(ds, Grid.of(ds, node.relative_to(data))))
    if not nodes:
        raise ArgumentError("No node of the DataTree has a variable with the dimensions y and x.")
    return nodes


def check_area(geoboxes: Sequence[GeoBox], aoi: Area | None) -> None:
    """Raise if it is not known which CRS an area is in."""
    crss = [geobox.crs for geobox in geoboxes]
    bare = aoi is not None and getattr(aoi, "crs", None) is None
    if bare and not all(same_crs(crs, crss[0]) for crs in crss):
        raise ArgumentError(
            f"The nodes have several CRSs ({', '.join(sorted({crs_name(crs) for crs in crss}))}), so "
            f"an area needs one of its own: aoi=geopandas.GeoSeries([shape], crs=...)."
        )


def size_on(
    nodes: list[Node], size: float | tuple[float, float], units: str, what: str = "size"
) -> tuple[tuple[int, int], list[Node]]:
    """Return a size in pixels, and the nodes that a chip of it fits into.

    Raises
    ------
    ChipError
        If it fits into none, or is a different number of pixels in different nodes.
    """
    if len(nodes) == 1:
        return chip_size(size, units, nodes[0].geobox, what), nodes
    found: dict[tuple[int, int], str] = {}
    for node in nodes:
        found.setdefault(whole_pixels(size, units, node.geobox, what), node.grid.node)
    if len(found) > 1:
        said = ", ".join(f"{h} x {w} in {node!r}" for (h, w), node in list(found.items())[:4])
        raise ChipError(
            f"{what} = {size!r} is a different number of pixels in different nodes ({said}), but a "
            f'batch has one shape. Give it in pixels (units="pixels"), or open all nodes at one '
            f"resolution."
        )
    height, width = next(iter(found))
    shapes = [node.geobox.shape for node in nodes]
    fitting = [
        node
        for node, shape in zip(nodes, shapes, strict=True)
        if what != "size" or (height <= shape[0] and width <= shape[1])
    ]
    if not fitting:
        largest = max(shapes, key=min)
        raise ChipError(
            f"Chips of {height} x {width} pixels do not fit into any node; the largest has "
            f"{largest[0]} x {largest[1]}. Make size smaller."
        )
    if len(fitting) < len(nodes):
        names = [node.grid.node for node in nodes if node not in fitting]
        warnings.warn(
            f"{len(names)} of {len(nodes)} nodes are smaller than a chip of {height} x {width} pixels and "
            f"are left out: {', '.join(map(repr, names[:5]))}{', ...' if len(names) > 5 else ''}.",
            stacklevel=4,
        )
    return (height, width), fitting


def on_each(nodes: list[Node], look: Callable[[Node], Found]) -> tuple[list[Node], list[Found]]:
    """Do the same on all nodes, and leave those out on which chips have no place.

    Raises
    ------
    ChipError, NoOverlapError
        That of the first node, if there is none left.
    """
    kept, found, refused = [], [], []
    for node in nodes:
        try:
            found.append(look(node))
        except (ChipError, NoOverlapError) as error:
            refused.append(error)
        else:
            kept.append(node)
    if not kept:
        raise refused[0]
    return kept, found


def ground_area(geobox: GeoBox) -> float:
    """Area of a pixel, for weighing grids of different resolutions.

    In square metres, by the units of the CRS; degrees are taken at the latitude of the middle of the
    grid. Without CRS in its own units.
    """
    a = geobox.affine
    area = abs(a.a * a.e - a.b * a.d)
    crs = geobox.crs
    if crs is None:
        return area
    factor = crs.proj.axis_info[0].unit_conversion_factor if crs.proj.axis_info else 1.0
    if not crs.geographic:
        return area * factor**2
    _, bottom, _, top = bounds(geobox)
    degree = np.rad2deg(factor) * _DEGREE
    middle = np.cos((top + bottom) / 2 * factor)
    return float(area * degree**2 * max(middle, 1e-6))

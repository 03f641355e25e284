"""Plans drawn on the map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoxr.errors import missing_dependency
from geoxr.grid.affine import map_points
from geoxr.grid.crs import crs_name, same_crs
from geoxr.grid.shapes import from_pixels, outline
from geoxr.sample.cover import lattices

if TYPE_CHECKING:
    import matplotlib.axes

    from geoxr.sample.chip import ChipPlan

#: Chips that are drawn one by one.
_OUTLINES = 2000
#: Pixels of the picture of how many chips lie where.
_PIXELS = 250_000
#: Colour of the inside of a chip.
_FILL = (0.1, 0.4, 0.8, 0.15)


def plot_plan(plan: ChipPlan, ax: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
    """Draw the chips of a plan over its grids; see `ChipPlan.plot`."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise missing_dependency("matplotlib", "viz") from error
    from matplotlib.collections import PolyCollection

    if ax is None:
        ax = plt.subplots(figsize=(7, 7))[1]
    few = plan[:: -(-len(plan) * plan.group // _OUTLINES) or 1]
    frame = few.to_geodataframe()
    areas: Any = getattr(plan.draw, "areas", None) or [None] * len(plan.grids)
    for grid, area in zip(plan.grids, areas, strict=True):
        whole = outline(grid.geobox)
        shown = whole if area is None else from_pixels(area, grid.geobox)
        for shape, face, edge in ((shown, "0.9", "none"), (whole, "none", "0.6")):
            rings = _rings([shape], grid.geobox, frame.crs)
            ax.add_collection(PolyCollection(rings, facecolor=face, edgecolor=edge))
    one_crs = all(same_crs(grid.geobox.crs, plan.grids[0].geobox.crs) for grid in plan.grids)
    if len(few) < len(plan) and one_crs:
        _draw_numbers(ax, plan)
    else:
        rings = [np.asarray(shape.exterior.coords) for shape in frame.geometry]
        ax.add_collection(PolyCollection(rings, facecolor=_FILL, edgecolor="C0", linewidth=0.7))
    ax.autoscale_view()
    ax.set_aspect("equal")
    ax.set_xlabel(f"x [{crs_name(plan.grids[0].geobox.crs) if one_crs else 'EPSG:4326'}]")
    ax.set_ylabel("y")
    height, width = plan.size
    ax.set_title(f"{len(plan):,} {plan.items} of {height} x {width} pixels")
    ax.ticklabel_format(useOffset=False, style="plain")
    return ax


def _rings(shapes: list[Any], geobox: GeoBox, crs: Any) -> list[np.ndarray]:
    """Outer rings of polygons of a grid in the CRS of the picture."""
    import geopandas

    own = None if geobox.crs is None else geobox.crs.proj
    if own is not None and crs is not None and own != crs:
        left, bottom, right, top = shapely.total_bounds(shapes)
        bent = shapely.segmentize(np.array(shapes, object), max(right - left, top - bottom) / 32)
        shapes = list(geopandas.GeoSeries(bent, crs=own).to_crs(crs))
    parts = shapely.get_parts(np.array(shapes, object))
    return [np.asarray(part.exterior.coords) for part in parts if part.geom_type == "Polygon"]


def _draw_numbers(ax: Any, plan: ChipPlan) -> None:
    """Colour pixels by the number of chips that they are in."""
    found = lattices(plan, _PIXELS // len(plan.grids))
    most = max(int(counts.max()) for counts, _ in found)
    for grid, (counts, step) in zip(plan.grids, found, strict=True):
        height, width = counts.shape
        rows = np.minimum(np.arange(height + 1) * step, grid.geobox.height)
        cols = np.minimum(np.arange(width + 1) * step, grid.geobox.width)
        x, y = map_points(grid.geobox.affine, *np.meshgrid(cols, rows))
        shown = np.ma.masked_equal(counts, 0)
        mesh = ax.pcolormesh(x, y, shown, vmin=0, vmax=most, cmap="viridis")
    ax.figure.colorbar(mesh, ax=ax, label="chips", shrink=0.8)

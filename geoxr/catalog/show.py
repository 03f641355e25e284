"""Catalogs to look at: a summary in words, footprints in a notebook, on axes and on a map."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from geoxr.catalog.combine import paths_of
from geoxr.catalog.frame import times_of
from geoxr.catalog.table import crs_from_text
from geoxr.errors import ArgumentError, missing_dependency
from geoxr.grid.crs import crs_name

if TYPE_CHECKING:
    import folium
    import geopandas
    import matplotlib.axes

#: Values that a line lists, the most frequent first.
_LISTED = 4
#: Smallest size that a footprint is plotted in, as a share of the extent of all.
_DOT = 0.01
#: Footprints that a notebook draws.
_DRAWN = 500
#: Footprints that a map shows; a browser is slow with more.
_MAPPED = 5000
#: Width of the drawing in a notebook [pixel of the screen].
_WIDTH = 360
#: Columns that no pop-up shows.
_LONG = ("geometry", "attrs", "transform", "path", "mtime", "size", "masked")


def headline(frame: geopandas.GeoDataFrame) -> str:
    """One line: how many scenes, where and when."""
    number, crss = len(frame), frame["crs"].nunique(dropna=False)
    days = _days(frame)
    return (
        f"Catalog: {number:,} {'scene' if number == 1 else 'scenes'} in {crss} "
        f"{'CRS' if crss == 1 else 'CRSs'}, {_extent(frame.total_bounds)}"
        f"{f', {days}' if days else ''}"
    )


def _extent(bounds: np.ndarray) -> str:
    """Bounds in degrees, to less than a tenth of their size."""
    if not np.isfinite(bounds).all():
        return "no footprint known"
    size = float(max(bounds[2] - bounds[0], bounds[3] - bounds[1], 1e-9))
    places = max(2, 1 - math.floor(math.log10(size)))
    shown = (np.format_float_positional(one, places, trim="-") for one in bounds)
    return f"({', '.join(shown)}) in EPSG:4326"


def summary(frame: geopandas.GeoDataFrame) -> dict[str, str]:
    """What scenes have in common and in what they differ, by heading."""
    lines = {}
    if "product" in frame.columns and frame["product"].notna().any():
        lines["product"] = _counted(frame["product"].dropna().tolist())
    codes = frame["crs"].tolist()
    names = {text: crs_name(crs_from_text(text if isinstance(text, str) else None))
             for text in set(codes)}  # fmt: skip
    lines["CRS"] = _counted([names[text] for text in codes])
    lines["resolution"] = _counted(_resolutions(frame)) + " [CRS units]"
    lines["bands"] = _counted([", ".join(bands) for bands in frame["bands"].tolist()], "; ")
    lines["dtype"] = _counted(frame["dtype"].tolist())
    starts = times_of(frame["start"])
    known = starts[~np.isnat(starts)]
    if known.size:
        many = len(np.unique(known.astype("datetime64[D]")))
        unknown = f", {len(starts) - known.size:,} without date" if known.size < len(starts) else ""
        lines["dates"] = f"{_days(frame)} ({many:,} {'day' if many == 1 else 'days'}{unknown})"
    if "cloud_cover" in frame.columns and frame["cloud_cover"].notna().any():
        cover = frame["cloud_cover"]
        lines["cloud cover"] = (
            f"{cover.min():.3g} to {cover.max():.3g}, median {cover.median():.3g}"
        )
    twice = len(frame) - len({paths_of(path) for path in frame["path"].tolist()})
    if twice:
        lines["repeated"] = f"{twice:,} {'scene' if twice == 1 else 'scenes'}"
    return lines


def as_text(frame: geopandas.GeoDataFrame) -> str:
    """Headline and summary for the terminal."""
    lines = (f"  {name:<12}{value}" for name, value in summary(frame).items())
    return "\n".join([headline(frame), *lines])


def as_html(frame: geopandas.GeoDataFrame) -> str:
    """Summary and footprints for a notebook."""
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in summary(frame).items()
    )
    return (
        f"<div><div>{escape(headline(frame))}</div>"
        f'<div style="display:flex;flex-wrap:wrap;gap:1em"><table>{rows}</table>'
        f"{_drawing(frame)}</div></div>"
    )


def plot(
    frame: geopandas.GeoDataFrame, column: str | None, ax: matplotlib.axes.Axes | None
) -> matplotlib.axes.Axes:
    """Draw footprints on axes; see `Catalog.plot`."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise missing_dependency("matplotlib", "viz") from error
    if ax is None:
        ax = plt.subplots(figsize=(7, 7))[1]
    drawn = _visible(_placed(frame))
    by = {"column": _column(drawn, column), "legend": True} if column else {}
    drawn.plot(ax=ax, alpha=0.4, edgecolor="C0", linewidth=0.7, aspect=None, **by)
    legend = ax.get_legend()
    if legend is not None:  # of texts: beside the footprints, not over them
        legend.set(loc="upper left", bbox_to_anchor=(1, 1))
    _, bottom, _, top = drawn.total_bounds
    ax.set_aspect(1 / max(np.cos(np.deg2rad((bottom + top) / 2)), 0.05), adjustable="datalim")
    ax.set(xlabel="longitude", ylabel="latitude", title=f"{len(frame):,} scenes")
    return ax


def explore(frame: geopandas.GeoDataFrame, columns: Sequence[str] | None, tiles: Any) -> folium.Map:
    """Put footprints on a map; see `Catalog.explore`."""
    try:
        import folium
    except ImportError as error:
        raise missing_dependency("folium", "viz") from error
    drawn = _placed(frame)
    if columns is None:
        columns = [str(name) for name in frame.columns if name not in _LONG]
    for name in columns:
        _column(drawn, name)
    if len(drawn) > _MAPPED:
        warnings.warn(
            f"The map shows {_MAPPED:,} of {len(drawn):,} scenes, evenly chosen. Choose those to see: "
            f"catalog.filter(bounds=..., time=...).explore().",
            stacklevel=3,
        )
        drawn = drawn.iloc[np.linspace(0, len(drawn) - 1, _MAPPED).astype(int)]
    shown = drawn[[*columns, "geometry"]]
    shown = shown.assign(**{name: shown[name].map(str) for name in columns})
    left, bottom, right, top = drawn.total_bounds
    chart = folium.Map(tiles=tiles)
    folium.GeoJson(
        shown.to_json(),
        style_function=lambda _: {"weight": 1, "fillOpacity": 0.15},
        highlight_function=lambda _: {"weight": 3, "fillOpacity": 0.4},
        tooltip=folium.GeoJsonTooltip(list(columns)) if columns else None,
    ).add_to(chart)
    chart.fit_bounds([[bottom, left], [top, right]])
    return chart


def _placed(frame: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    """Scenes that have a footprint.

    Raises
    ------
    ArgumentError
        If none has.
    """
    placed = frame[~frame.geometry.is_empty]
    if placed.empty:
        raise ArgumentError(
            "No scene has a footprint: their files name no CRS, or nothing in them is valid."
        )
    return placed


def _visible(frame: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    """Draw scenes as dots that are too small to see among all others."""
    shapes = np.asarray(frame.geometry.values)
    left, bottom, right, top = shapely.bounds(shapes).T
    squeeze = max(np.cos(np.deg2rad((bottom.min() + top.max()) / 2)), 0.05)
    span = max((right.max() - left.min()) * squeeze, top.max() - bottom.min())
    size = span * _DOT
    small = np.maximum((right - left) * squeeze, top - bottom) < size
    dots = shapely.buffer(
        shapely.points((left + right) / 2 * squeeze, (bottom + top) / 2), size / 2
    )
    dots = shapely.transform(dots, lambda points: points / (squeeze, 1))
    return frame.set_geometry(np.where(small, dots, shapes), crs=frame.crs)


def _column(frame: geopandas.GeoDataFrame, name: str) -> str:
    if name not in frame.columns:
        raise ArgumentError(
            f"The catalog has no column {name!r}. Its columns are "
            f"{', '.join(map(str, frame.columns))}."
        )
    return name


def _days(frame: geopandas.GeoDataFrame) -> str:
    """First and last day; nothing if no date is known."""
    starts, ends = times_of(frame["start"]), times_of(frame["end"])
    if np.isnat(starts).all():
        return ""
    ends = np.where(np.isnat(ends), starts, ends)  # a table of one's own may have no end
    first, last = (np.datetime64(day, "D") for day in (np.nanmin(starts), np.nanmax(ends)))
    return f"{first} to {last}"


def _resolutions(frame: geopandas.GeoDataFrame) -> list[str]:
    affines = np.array(frame["transform"].tolist(), "float64")
    x, y = np.hypot(affines[:, 0], affines[:, 3]), np.hypot(affines[:, 1], affines[:, 4])
    return [f"{a:.6g}" if abs(a - b) < 1e-6 * a else f"{a:.6g} x {b:.6g}"
            for a, b in zip(x, y, strict=True)]  # fmt: skip


def _counted(values: Sequence[str], separator: str = ", ") -> str:
    """Values by frequency; how often each occurs where there are several."""
    found = Counter(values)
    if len(found) == 1:
        return next(iter(found))
    listed = [f"{value} ({count:,})" for value, count in found.most_common(_LISTED)]
    more = len(found) - _LISTED
    return separator.join([*listed, *([f"and {more:,} more"] if more > 0 else [])])


def _drawing(frame: geopandas.GeoDataFrame) -> str:
    """Footprints as a small drawing, longitudes as long as on the ground."""
    shapes = np.asarray(frame.geometry.values)
    shapes = shapes[~shapely.is_empty(shapes)]
    if not len(shapes):
        return ""
    shapes = shapes[:: -(-len(shapes) // _DRAWN)]
    left, bottom, right, top = shapely.total_bounds(shapes)
    squeeze = max(np.cos(np.deg2rad((bottom + top) / 2)), 0.05)
    scale = _WIDTH / max((right - left) * squeeze, top - bottom, 1e-9)
    paths = []
    for ring in shapely.get_exterior_ring(shapely.get_parts(shapes)):
        points = shapely.get_coordinates(ring)
        x, y = (points[:, 0] - left) * squeeze * scale, (top - points[:, 1]) * scale
        paths.append("M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True)) + "Z")
    width, height = (right - left) * squeeze * scale, (top - bottom) * scale
    return (
        f'<svg width="{width + 4:.0f}" height="{height + 4:.0f}" '
        f'viewBox="-2 -2 {width + 4:.1f} {height + 4:.1f}">'
        f'<path d="{"".join(paths)}" fill="#1f77b4" fill-opacity="0.15" stroke="#1f77b4"/>'
        f"</svg>"
    )

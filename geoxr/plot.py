"""Layers and reports as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.catalog.scenes import select_bands
from geoxr.errors import ArgumentError, missing_dependency
from geoxr.grid.affine import rotated
from geoxr.grid.classes import Classes
from geoxr.grid.crs import crs_name
from geoxr.grid.geobox import bounds, extent
from geoxr.grid.meaning import classes_of, computed, kind_of
from geoxr.io.dataset import layer_names, validity_of
from geoxr.io.reader import WindowReader, everything
from geoxr.io.resolve import resolve

if TYPE_CHECKING:
    import matplotlib.axes

#: Bands of a colour picture, by common name, as far as a layer names its bands so.
_RGB = ("red", "green", "blue")
#: Classes that a legend lists, the most frequent first.
_LEGEND = 12


def plot_layers(
    ds: xr.Dataset, *, max_pixels: int = 1_000_000, legend: bool = True
) -> list[matplotlib.axes.Axes]:
    """Draw all layers of a Dataset side by side; see `plot`.

    Returns
    -------
    list of matplotlib.axes.Axes
        One per layer.

    Raises
    ------
    ArgumentError
        If there is no layer.
    """
    names = layer_names(ds)
    if not names:
        raise ArgumentError("The Dataset has no variable with the dimensions y and x.")
    grid = _pyplot().subplots(
        1, len(names), figsize=(6 * len(names), 6), squeeze=False, layout="constrained"
    )[1]
    return [
        _draw(ds[name], validity_of(ds, name), None, ax, max_pixels, legend)
        for name, ax in zip(names, grid[0], strict=True)
    ]


def plot(
    da: xr.DataArray,
    *,
    bands: Sequence[str | int] | None = None,
    ax: matplotlib.axes.Axes | None = None,
    max_pixels: int = 1_000_000,
    legend: bool = True,
) -> matplotlib.axes.Axes:
    """Draw a layer: an image in colours, quantities in shades, classes with a legend.

    Parameters
    ----------
    da : DataArray
        Of one date. Of computed data, whose nodata may mark nothing any more, every pixel is drawn.
    bands : sequence of str or int, optional
        One band, or three for red, green, blue, by name, common name or number from 1. Default: the
        bands named so, else the first three (fewer than three: the first).
    ax : matplotlib.axes.Axes, optional
        Where to draw.
    max_pixels : int
        Larger layers are read decimated.
    legend : bool
        Name the classes of a label raster.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    if ax is None:
        ax = _pyplot().subplots(figsize=(7, 7), layout="constrained")[1]  # has room for legends
    return _draw(da, None, bands, ax, max_pixels, legend)


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise missing_dependency("matplotlib", "viz") from error
    return plt


def _draw(
    da: xr.DataArray,
    validity: xr.DataArray | None,
    bands: Sequence[str | int] | None,
    ax: Any,
    max_pixels: int,
    legend: bool,
) -> matplotlib.axes.Axes:
    if "time" in da.dims:
        raise ArgumentError("Pick one date to draw: da.isel(time=0).geoxr.plot().")
    reader = resolve(da, validity, trust_nodata=True).reader
    # What was computed from labels may be shares of them.
    label = kind_of(da) == "categorical" and not (computed(da) and da.dtype.kind == "f")
    reader = select_bands(reader, [1] if label else bands_to_draw(da, reader, bands))
    pixels, valid = preview(reader, max_pixels)
    if label:
        classes = None if computed(da) else classes_of(da)
        _draw_classes(ax, pixels[0], valid, classes, reader.geobox, legend)
    else:
        _draw_image(ax, pixels, valid, reader.geobox, str(da.attrs.get("units", "")))
    ax.set_title(str(da.name or ""))
    turned = rotated(reader.geobox.affine)
    ax.set_xlabel("column" if turned else f"x [{crs_name(reader.geobox.crs)}]")
    ax.set_ylabel("row" if turned else "y")
    ax.ticklabel_format(useOffset=False, style="plain")
    return ax


def preview(reader: WindowReader, max_pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Read all bands of the first date, decimated to at most about `max_pixels` pixels.

    Returns
    -------
    pixels : array (band, height, width)
    valid : bool array (height, width)
    """
    height, width = reader.geobox.shape
    step = max(int(np.ceil(np.sqrt(height * width / max_pixels))), 1)
    bands, _ = everything(reader)
    shape = (1, len(bands), -(-height // step), -(-width // step))
    pixels, valid = np.empty(shape, reader.dtype), np.empty((1, 1, *shape[2:]), bool)
    reader.read(extent(reader.geobox), pixels, valid, bands=bands, times=(0,), step=step)
    return pixels[0], valid[0, 0]


def stretch(pixels: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Scale bands together to 0..1, between the 2nd and 98th percentile of valid pixels.

    One scale for all keeps the colours as they are; each band on its own would turn soil pink.
    """
    values = pixels.astype("float32")
    good = values[:, valid]
    low, high = np.percentile(good, (2, 98)) if good.size else (0.0, 1.0)
    return np.nan_to_num((values - low) / max(high - low, 1e-12)).clip(0, 1)


def bands_to_draw(
    da: xr.DataArray, reader: WindowReader, bands: Sequence[str | int] | None
) -> list[str | int]:
    """Choose the bands of a picture: those asked for, red, green and blue, or the first ones."""
    common = da.coords.get("common_name")
    names = [] if common is None else [str(name) for name in np.atleast_1d(common.values)]
    if bands is not None:
        picked: list[str | int] = [bands] if isinstance(bands, str | int) else list(bands)
        if len(picked) not in (1, 3):
            raise ArgumentError(f"A picture has 1 band or 3 (red, green, blue), not {len(picked)}.")
        return [
            names.index(band) + 1 if band in names and band not in reader.bands else band
            for band in picked
        ]
    names = names or list(reader.bands)
    if set(_RGB) <= set(names):
        return [names.index(color) + 1 for color in _RGB]
    return [1, 2, 3] if len(reader.bands) >= 3 else [1]


def _frame(geobox: GeoBox) -> dict[str, Any]:
    """Where a picture goes: north is up, also where the first row is the southernmost."""
    if rotated(geobox.affine):
        return {"extent": (0.0, float(geobox.width), float(geobox.height), 0.0)}
    left, bottom, right, top = bounds(geobox)
    origin = "lower" if geobox.affine.e > 0 else "upper"
    return {"extent": (left, right, bottom, top), "origin": origin}


def _draw_image(ax: Any, pixels: np.ndarray, valid: np.ndarray, geobox: GeoBox, units: str) -> None:
    scaled = stretch(pixels, valid)
    if len(pixels) == 3:
        rgba = np.dstack([*scaled, valid.astype("float32")])
        ax.imshow(rgba, **_frame(geobox), interpolation="nearest")
        return
    shown = np.ma.masked_array(pixels[0], ~valid)
    good = pixels[0][valid]
    low, high = np.percentile(good, (2, 98)) if good.size else (0, 1)
    image = ax.imshow(shown, **_frame(geobox), interpolation="nearest", vmin=low, vmax=high)
    ax.figure.colorbar(image, ax=ax, label=units, shrink=0.8)


def _draw_classes(
    ax: Any,
    pixels: np.ndarray,
    valid: np.ndarray,
    classes: Classes | None,
    geobox: GeoBox,
    legend: bool,
) -> None:
    if classes is None:
        classes = Classes.of({int(v): str(v) for v in np.unique(pixels[valid])[:256]} or {0: "0"})
    ax.imshow(paint(pixels, valid, classes), **_frame(geobox), interpolation="nearest")
    if legend:
        add_legend(ax, classes, pixels[valid])


def paint(pixels: np.ndarray, valid: np.ndarray, classes: Classes) -> np.ndarray:
    """Colour label codes (H, W) as RGBA uint8 (H, W, 4), transparent where invalid."""
    index = classes.to_index(pixels)
    colors = np.concatenate([classes.rgb(), np.full((1, 3), 128, "uint8")])
    alpha = np.where(valid, 255, 0).astype("uint8")
    return np.dstack([colors[index], alpha])


def add_legend(ax: Any, classes: Classes, codes: np.ndarray, **options: Any) -> None:
    """Name the most frequent classes beside a picture."""
    from matplotlib.patches import Patch

    number = np.bincount(classes.to_index(codes).ravel() + 1, minlength=len(classes) + 1)[1:]
    shown = [int(at) for at in np.argsort(-number, kind="stable") if number[at]][:_LEGEND]
    patches = [Patch(color=classes.colors[at], label=classes.names[at]) for at in shown]
    if not patches:
        return
    place = {"loc": "upper left", "bbox_to_anchor": (1.02, 1), "frameon": False} | options
    ax.legend(handles=patches, **place)

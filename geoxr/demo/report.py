"""What a demo run came to: report.json, report.png, and the table at the end."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.catalog.scenes import select_bands
from geoxr.errors import missing_dependency
from geoxr.grid.geobox import resolution
from geoxr.grid.meaning import classes_of
from geoxr.io.resolve import resolve
from geoxr.plot import add_legend, bands_to_draw, paint, preview, stretch

#: Pixels of a panel of the picture.
_PANEL = 1_000_000
_SAME, _DIFFERENT = (225, 225, 225), (200, 30, 30)


def write_json(report: dict[str, Any], path: Path) -> None:
    """Write the report."""
    path.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def draw(pieces: Sequence[xr.Dataset], report: dict[str, Any], path: Path) -> None:
    """Draw image, labels, prediction and where they differ, with a scale and a legend.

    Parameters
    ----------
    pieces : sequence of Dataset
        With ``image``, ``mask`` and ``prediction``; a row of panels for each of up to four.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_dependency("matplotlib", "viz") from error
    shown = list(pieces)[:4]
    height, width = shown[0].sizes["y"], shown[0].sizes["x"]
    tall = min(max(4.4 * height / width, 2.2), 8.0)
    figure = Figure(figsize=(18, tall * len(shown) + 1.6), layout="constrained")
    panels = figure.subplots(len(shown), 4, squeeze=False)
    for row, ds in zip(panels, shown, strict=True):
        _row(row, ds)
    for ax, title in zip(panels[0], ("image", "labels", "prediction", "difference"), strict=True):
        ax.set_title(title)
    classes = classes_of(shown[0]["mask"])
    assert classes is not None
    codes = np.concatenate([_codes(ds, "mask").ravel() for ds in shown])
    add_legend(figure, classes, codes, loc="outside lower center", bbox_to_anchor=None, ncols=6)
    figure.suptitle(_headline(report))
    figure.savefig(path, dpi=110)


def _row(row: Any, ds: xr.Dataset) -> None:
    array = ds["image"]
    reader = resolve(array).reader
    pixels, valid = preview(select_bands(reader, bands_to_draw(array, reader, None)), _PANEL)
    scaled = stretch(pixels, valid)
    scaled = np.repeat(scaled, 3, axis=0) if len(scaled) == 1 else scaled
    row[0].imshow(np.dstack([*scaled, valid.astype("float32")]), interpolation="nearest")
    classes = classes_of(ds["mask"])
    assert classes is not None
    seen = []
    for ax, name in zip(row[1:3], ("mask", "prediction"), strict=True):
        codes, good = preview(resolve(ds[name]).reader, _PANEL)
        ax.imshow(paint(codes[0], good, classes), interpolation="nearest")
        seen.append((codes[0], good))
    (label, known), (guess, made) = seen
    both = known & made
    wrong = np.where((label != guess)[..., None], _DIFFERENT, _SAME).astype("uint8")
    row[3].imshow(np.dstack([wrong, both * np.uint8(255)]), interpolation="nearest")
    share = (label != guess)[both].mean() if both.any() else math.nan
    row[3].set_xlabel(f"red: differs ({share:.1%} of all pixels, training blocks included)")
    for ax in row:
        ax.set_xticks([])
        ax.set_yticks([])
    _scale_bar(row[0], ds.geoxr.geobox, label.shape)


def _codes(ds: xr.Dataset, name: str) -> np.ndarray:
    codes, good = preview(resolve(ds[name]).reader, _PANEL)
    return codes[0][good]


def _scale_bar(ax: Any, geobox: GeoBox, shape: tuple[int, ...]) -> None:
    """Draw a round length near a fifth of the width, in kilometres or metres."""
    metres = resolution(geobox)[0]
    if geobox.crs is not None and geobox.crs.geographic:
        _, latitude = geobox.affine @ (geobox.width / 2, geobox.height / 2)
        metres *= 111_320.0 * math.cos(math.radians(latitude))
    metres *= geobox.width / shape[1]
    rough = metres * shape[1] / 5
    size = 10 ** math.floor(math.log10(rough))
    size *= next(step for step in (5, 2, 1) if step * size <= rough)
    length = size / metres
    x, y = 0.04 * shape[1], 0.96 * shape[0]
    ax.plot([x, x + length], [y, y], color="black", linewidth=5, solid_capstyle="butt")
    ax.plot([x, x + length], [y, y], color="white", linewidth=2.5, solid_capstyle="butt")
    text = f"{size / 1000:g} km" if size >= 1000 else f"{size:g} m"
    box = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1}
    ax.text(x, y - 0.03 * shape[0], text, ha="left", va="bottom", fontsize=9, bbox=box)


def _headline(report: dict[str, Any]) -> str:
    parts = [f"{name}: {score['mean_iou']:.3f}" for name, score in report["scores"].items()]
    return "Mean IoU on validation blocks   " + "   ".join(parts)


def table(report: dict[str, Any], out: Path) -> str:
    """Return the table at the end: scores, files, times."""
    lines = [
        "",
        f"{'IoU on validation blocks':<28}" + "".join(f"{n:>18}" for n in report["scores"]),
    ]
    scores = list(report["scores"].values())
    for name in report["classes"].values():
        cells = [_number(score["iou"].get(name)) for score in scores]
        lines.append(f"  {name[:26]:<26}" + "".join(f"{cell:>18}" for cell in cells))
    for title, key in (("mean IoU", "mean_iou"), ("accuracy", "accuracy")):
        cells = [_number(score[key]) for score in scores]
        lines.append(f"{title:<28}" + "".join(f"{cell:>18}" for cell in cells))
    control = report["negative_control"]["mean_iou"]
    lines.append(f"{'labels shifted by a pixel':<28}{_number(control):>18}")
    lines += ["", f"{'written to ' + str(out):<46}{'size':>12}"]
    lines += [f"  {name:<44}{_size(size):>12}" for name, size in report["bytes"].items()]
    lines += ["", f"{'stage':<46}{'seconds':>12}"]
    lines += [f"  {name:<44}{value:>12.1f}" for name, value in report["seconds"].items()]
    lines.append(f"{'total':<46}{sum(report['seconds'].values()):>12.1f}")
    speed = report["chips_per_second"]
    side = report["chips"]["size"][0]
    lines += ["", f"{f'chips of {side} pixels per second, read / trained':<46}"
                  f"{speed['read']:>12.0f} / {speed['trained']:.0f}"]  # fmt: skip
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"

"""Two Landsat scenes and a crop label raster of one made-up piece of farmland."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
from affine import Affine

from geoxr.errors import ArgumentError, OutputExistsError
from geoxr.testing import world as truth
from geoxr.testing.geotiff import write_geotiff
from geoxr.testing.world import World
from geoxr.typing import PathLike

RES = 30.0
#: Where the pixels of the published Cropland Data Layer start: x of the left, y of the top edge.
CDL_ORIGIN = (-2_356_095.0, 3_172_605.0)
#: Surface reflectance of Landsat Collection 2 is ``DN * SCALE + OFFSET``.
#: https://www.usgs.gov/landsat-missions/landsat-collection-2-level-2-science-products
SCALE, OFFSET = 2.75e-5, -0.2

# Mid-way between the scenes: on the edge of UTM zones 15 and 16, at the latitude of row 31.
_CENTRE = (-90.0, 41.6)
_STEP = 0.68  # between the centres of the scenes, in sides of one
_TILT = math.radians(12.0)  # of a footprint, clockwise, as descending orbits have it
_MARGIN = 16  # pixels of label beyond the scenes
_NOISE = 0.004  # standard deviation of the sensor's noise, in reflectance
_STRIP = 2**17  # pixels worked on at once, roughly: more would leave the cache


@dataclass(frozen=True)
class _Acquisition:
    """How one scene came to be."""

    name: str
    crs: str
    side: int  # -1: west of the centre, 1: east of it
    greenness: float
    haze: float


_ACQUISITIONS = (
    _Acquisition("LC08_L2SP_025031_20230601_20230701_02_T1", "EPSG:32615", -1, -0.02, 0.004),
    _Acquisition("LC08_L2SP_024031_20230712_20230801_02_T1", "EPSG:32616", 1, 0.03, 0.0),
)


@dataclass(frozen=True)
class LandsatCDL:
    """What `make_landsat_cdl` wrote.

    Attributes
    ----------
    scenes, cdl : Path
        Directory of the scenes, one subdirectory each; directory of the label raster.
    images : tuple of tuples of Path
        The files of each scene, bands SR_B1 to SR_B7.
    mask : Path
        The label raster.
    classes : mapping of int to str
        Code to name; 0 is nodata.
    seed : int
    world : World
        The truth behind the files: what is where, at any place.
    """

    scenes: Path
    cdl: Path
    images: tuple[tuple[Path, ...], ...]
    mask: Path
    classes: Mapping[int, str] = field(hash=False)
    seed: int
    world: World


def make_landsat_cdl(
    out: PathLike,
    *,
    size: int = 1024,
    label_size: int | None = None,
    seed: int = 0,
    fields: float = 20.0,
    overwrite: bool = False,
) -> LandsatCDL:
    """Write two overlapping Landsat-like scenes and the crop labels beneath them.

    The scenes are Collection 2 surface reflectance: 7 bands of uint16, nodata 0, 30 m, tiled and
    uncompressed, in EPSG:32615 and EPSG:32616, with tilted footprints that fill 71 % of a file. The
    labels are uint8 in EPSG:5070 on the lattice of the Cropland Data Layer, with its codes and
    colours. Both sample one `World` at their own pixel centres; nothing is warped.

    Parameters
    ----------
    out : path
        Directory to write ``scenes/`` and ``cdl/`` into.
    size : int [pixel]
        Side of a scene, at least 64.
    label_size : int, optional [pixel]
        Side of a square label raster about the same centre. By default it just covers the scenes.
    seed : int
        The same arguments give the same bytes.
    fields : float [pixel]
        Typical side of a field.
    overwrite : bool
        Replace files of the same names; others are left alone.

    Returns
    -------
    LandsatCDL

    Raises
    ------
    OutputExistsError
        A file is there already and `overwrite` is False.
    ArgumentError
        `size`, `label_size` or `fields` is too small.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = make_landsat_cdl(folder, size=64, seed=1)
    ...     print(made.images[0][3].name, made.mask.name, made.classes[5])
    LC08_L2SP_025031_20230601_20230701_02_T1_SR_B4.TIF 2023_30m_cdls.tif Soybeans
    """
    _check_arguments(size, label_size, fields)
    root = Path(out)
    land = World(seed=seed, field_size=fields * RES)
    made = _name_files(root, land)
    targets = [*(path for scene in made.images for path in scene), made.mask]
    taken = [path for path in targets if path.exists()]
    if taken and not overwrite:
        raise OutputExistsError(
            f"{taken[0]} exists (and {len(taken) - 1} more of the files to write). "
            "Choose another directory, or replace them: make_landsat_cdl(..., overwrite=True)"
        )
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".landsat-cdl-") as work:
        draft = _name_files(Path(work), land)
        for acquisition, paths in zip(_ACQUISITIONS, draft.images, strict=True):
            _write_scene(paths, acquisition, land, size)
        _write_labels(draft.mask, land, size, label_size)
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(Path(work) / target.relative_to(root), target)
    return made


def _check_arguments(size: int, label_size: int | None, fields: float) -> None:
    for name, value, least in (
        ("size", size, 64),
        ("label_size", label_size, 1),
        ("fields", fields, 4),
    ):
        if value is not None and value < least:
            raise ArgumentError(
                f"{name} is {value} pixels, but nothing can be seen below {least}. "
                f"Call make_landsat_cdl(..., {name}={least}) or more."
            )


def _name_files(root: Path, land: World) -> LandsatCDL:
    scenes, cdl = root / "scenes", root / "cdl"
    names = [acquisition.name for acquisition in _ACQUISITIONS]
    return LandsatCDL(
        scenes=scenes,
        cdl=cdl,
        images=tuple(
            tuple(scenes / name / f"{name}_SR_B{band + 1}.TIF" for band in range(truth.BANDS))
            for name in names
        ),
        mask=cdl / "2023_30m_cdls.tif",
        classes=dict(truth.CLASSES),
        seed=land.seed,
        world=land,
    )


# Scenes.


def _scene_transform(acquisition: _Acquisition, size: int) -> Affine:
    to_utm = pyproj.Transformer.from_crs("EPSG:4326", acquisition.crs, always_xy=True)
    x, y = to_utm.transform(*_CENTRE)
    west = x + (acquisition.side * _STEP - 1) * size * RES / 2
    north = y + size * RES / 2
    # Pixel centres of Landsat lie on multiples of 30 m, so corners are 15 m beside them.
    left, top = (math.floor(value / RES) * RES + RES / 2 for value in (west, north))
    return Affine(RES, 0, left, 0, -RES, top)


def _write_scene(paths: tuple[Path, ...], how: _Acquisition, land: World, size: int) -> None:
    transform = _scene_transform(how, size)
    valid = _footprint(size)
    pixels = np.zeros((truth.BANDS, size, size), dtype="uint16")

    def work(rows: slice) -> None:
        inside = valid[rows]
        row, column = np.nonzero(inside)
        if len(row) == 0:
            return
        x, y = _to_world(transform, row + rows.start, column, how.crs)
        seen = land.reflectance(x, y, greenness=how.greenness)
        rng = np.random.default_rng([land.seed, how.side + 1, rows.start])
        for band in range(truth.BANDS):
            gain = np.float32(1 + 0.02 * how.side * (band - 2) / 4)
            haze = np.float32(how.haze * (1 - band / truth.BANDS))
            noise = np.float32(_NOISE) * rng.standard_normal(len(x), dtype="float32")
            numbers = np.rint((seen[band] * gain + haze + noise - OFFSET) / SCALE)
            pixels[band, rows][inside] = np.clip(numbers, 1, 65_455).astype("uint16")

    _in_strips(work, size, size)
    for path, band in zip(paths, pixels, strict=True):
        write_geotiff(
            path, band, crs=how.crs, transform=transform, nodata=0, band_names=[path.stem[-5:]]
        )


def _footprint(size: int) -> npt.NDArray[np.bool_]:
    """The square that, tilted, just fits into a scene."""
    cos, sin = math.cos(_TILT), math.sin(_TILT)
    half = size / 2 / (cos + sin)
    centre = np.arange(size) + 0.5 - size / 2
    x, y = centre[None, :], centre[:, None]
    return (np.abs(cos * x + sin * y) < half) & (np.abs(cos * y - sin * x) < half)


# Labels.


def _write_labels(path: Path, land: World, size: int, label_size: int | None) -> None:
    transform, (height, width) = _label_grid(size, label_size)
    labels = np.zeros((height, width), dtype="uint8")

    def work(rows: slice) -> None:
        x, y = np.meshgrid(*_centres(transform, np.arange(rows.start, rows.stop), np.arange(width)))
        labels[rows] = land.classify(x, y)

    _in_strips(work, height, width)
    palette = {0: (0, 0, 0)} | truth.COLORS
    write_geotiff(path, labels, crs=truth.CRS, transform=transform, nodata=0, colormap=palette)


def _label_grid(size: int, label_size: int | None) -> tuple[Affine, tuple[int, int]]:
    """The window of the published lattice that covers the scenes, or a square about their centre."""
    edge = np.linspace(0, size, 33)
    ends = np.zeros_like(edge), np.full_like(edge, size)
    column = np.concatenate([edge, edge, *ends])
    row = np.concatenate([*ends, edge, edge])
    corners = []
    for how in _ACQUISITIONS:
        corners.append(_to_world(_scene_transform(how, size), row - 0.5, column - 0.5, how.crs))
    x, y = np.concatenate(corners, axis=1)
    x0, y0 = CDL_ORIGIN
    left, right = math.floor((x.min() - x0) / RES), math.ceil((x.max() - x0) / RES)
    top, bottom = math.floor((y0 - y.max()) / RES), math.ceil((y0 - y.min()) / RES)
    left, top, right, bottom = left - _MARGIN, top - _MARGIN, right + _MARGIN, bottom + _MARGIN
    if label_size is not None:
        left, top = (left + right - label_size) // 2, (top + bottom - label_size) // 2
        right, bottom = left + label_size, top + label_size
    return Affine(RES, 0, x0 + left * RES, 0, -RES, y0 - top * RES), (bottom - top, right - left)


# Both.


def _centres(
    transform: Affine, row: npt.NDArray[Any], column: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return transform.c + (column + 0.5) * transform.a, transform.f + (row + 0.5) * transform.e


def _to_world(
    transform: Affine, row: npt.NDArray[Any], column: npt.NDArray[Any], crs: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Ask PROJ about every pixel; no shortcut that code under test could share."""
    x, y = _transformer(crs).transform(*_centres(transform, row, column))
    return np.asarray(x), np.asarray(y)


def _transformer(crs: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(crs, truth.CRS, always_xy=True)


def _in_strips(work: Callable[[slice], None], height: int, width: int) -> None:
    """Two threads share the strips; each strip depends on its own rows only."""
    step = max(_STRIP // width, 1)
    strips = [slice(top, min(top + step, height)) for top in range(0, height, step)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, strips))

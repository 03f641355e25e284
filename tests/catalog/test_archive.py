"""Two thousand scenes in three zones as one mosaic: what it shows is what GDAL shows of each alone."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

import geoxr as gx
from geoxr.grid.window import Window
from geoxr.io.reader import read_window
from geoxr.io.resolve import resolve
from geoxr.testing import write_geotiff

SIZE, PIXEL, REACH = 40, 60, 60_000
DAYS = [f"2021-0{month}-15T10:00:00" for month in (4, 5, 6, 7)]
TARGET = "EPSG:3035"


@dataclass(frozen=True)
class Scene:
    path: Path
    zone: int
    corner: tuple[float, float]
    day: str

    @property
    def transform(self) -> Affine:
        return Affine(PIXEL, 0, self.corner[0], 0, -PIXEL, self.corner[1])

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Bounds in the CRS of the mosaic."""
        left, top = self.corner
        box = (left, top - SIZE * PIXEL, left + SIZE * PIXEL, top)
        return onto_target(32600 + self.zone).transform_bounds(*box)


@lru_cache
def onto_target(epsg: int) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(epsg, TARGET, always_xy=True)


def write_archive(
    folder: Path, many: int, numbers: Callable[[np.random.Generator], np.ndarray], nodata: float
) -> list[Scene]:
    """Write scenes of three bands in three zones around 9 degrees east, anywhere within a square.

    Every tenth scene is at the place of the one before, on the next day of those that there are.
    """
    rng = np.random.default_rng(many)
    reach = REACH * math.sqrt(many / 2000)
    corners = {}
    for zone in (31, 32, 33):
        change = pyproj.Transformer.from_crs(4326, 32600 + zone, always_xy=True)
        corners[zone] = np.floor(change.transform(9, 48))
    scenes: list[Scene] = []
    jobs: list[np.ndarray] = []
    for i in range(many):
        zone = 31 + i % 3
        east, north = corners[zone] + np.floor(rng.uniform(0, reach, 2))
        day = DAYS[int(rng.integers(4))]
        if i % 10 == 1:
            zone, (east, north) = scenes[-1].zone, scenes[-1].corner
            day = DAYS[(DAYS.index(scenes[-1].day) + 1) % 4]
        path = folder / f"{i // 100:02}" / f"{i:04}.tif"
        scenes.append(Scene(path, zone, (float(east), float(north)), day))
        pixels = numbers(rng)
        pixels[:, rng.random((SIZE, SIZE)) < 0.1] = nodata
        jobs.append(pixels)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda scene, pixels: write_geotiff(
            scene.path, pixels, crs=32600 + scene.zone, transform=scene.transform, nodata=nodata,
            tiled=False,
        ), scenes, jobs))  # fmt: skip
    return scenes


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> list[Scene]:
    """Two thousand scenes of noise, which no resampling gets right by chance."""
    folder = tmp_path_factory.mktemp("archive")
    return write_archive(
        folder, 2000, lambda rng: rng.integers(1, 1000, (3, SIZE, SIZE), dtype="uint16"), 0
    )


def dated(scenes: list[Scene]) -> gx.Catalog:
    """Scan files and add their dates."""
    frame = gx.Catalog.scan([scene.path for scene in scenes]).frame
    days = pd.to_datetime([scene.day for scene in scenes])
    return gx.Catalog(frame.assign(start=days, end=days))


@pytest.fixture(scope="module")
def catalog(archive: list[Scene]) -> gx.Catalog:
    return dated(archive)


def items_of(scenes: list[Scene]) -> list[dict[str, Any]]:
    """Describe scenes as STAC items, completely."""
    items = []
    for scene in scenes:
        left, top = scene.corner
        change = pyproj.Transformer.from_crs(32600 + scene.zone, 4326, always_xy=True)
        side = SIZE * PIXEL
        ring = [(left, top), (left + side, top), (left + side, top - side), (left, top - side)]
        lon, lat = change.transform(*zip(*ring, strict=True))
        place = shapely.geometry.mapping(shapely.Polygon(zip(lon, lat, strict=True)))
        band = {"data_type": "uint16", "nodata": 0}
        items.append({
            "type": "Feature", "stac_version": "1.0.0", "id": scene.path.stem, "geometry": place,
            "properties": {
                "datetime": f"{scene.day}Z", "proj:epsg": 32600 + scene.zone,
                "proj:shape": [SIZE, SIZE], "proj:transform": list(scene.transform),
            },
            "links": [{"rel": "self", "href": str(scene.path.with_suffix(".json"))}],
            "assets": {"image": {"href": f"./{scene.path.name}", "roles": ["data"],
                                 "raster:bands": [band, band, band]}},
        })  # fmt: skip
    return items


def warped_alone(scene: Scene, grid: GeoBox, resampling: str) -> np.ndarray:
    """Warp a scene with GDAL, its approximation off (tolerance) and no widened kernel."""
    with (
        rasterio.open(scene.path) as file,
        WarpedVRT(
            file, crs=TARGET, transform=grid.affine, width=grid.width, height=grid.height,
            resampling=Resampling[resampling], tolerance=1e-9, XSCALE=1, YSCALE=1,
        ) as warped,
    ):  # fmt: skip
        return warped.read()


def first_of(parts: list[np.ndarray], nodata: float, shape: tuple[int, ...]) -> np.ndarray:
    """Take the first of several that is not missing."""
    value = np.full(shape, nodata, "float64")
    for part in parts:
        missing = np.isnan(value) if np.isnan(nodata) else value == nodata
        value = np.where(missing, part, value)
    return value


def meeting(scenes: list[Scene], boxes: np.ndarray, grid: GeoBox) -> list[Scene]:
    """Return the scenes that may have a pixel in a grid, by the bounds that PROJ finds."""
    left, bottom, right, top = grid.extent.boundingbox
    near = (boxes[:, 0] < right + PIXEL) & (boxes[:, 2] > left - PIXEL)
    near &= (boxes[:, 1] < top + PIXEL) & (boxes[:, 3] > bottom - PIXEL)
    return [scenes[i] for i in np.flatnonzero(near)]


def random_windows(rng: np.random.Generator, grid: GeoBox, many: int) -> list[Window]:
    """Windows of 20 to 90 pixels, anywhere but at the rim, where a tilted square is empty."""
    windows = []
    for _ in range(many):
        height, width = (int(side) for side in rng.integers(20, 90, 2))
        row = int(rng.integers(grid.height // 6, grid.height * 5 // 6 - height))
        col = int(rng.integers(grid.width // 6, grid.width * 5 // 6 - width))
        windows.append(Window(row, col, height, width))
    return windows


@pytest.fixture(scope="module")
def by_gdal(archive: list[Scene], catalog: gx.Catalog) -> dict[str, list[tuple[Window, list]]]:
    """Random windows of the archive, each date merged by hand, by resampling."""
    grid = gx.open_raster(catalog, crs=TARGET, resolution=PIXEL).geoxr.geobox
    boxes = np.array([scene.bounds for scene in archive])
    windows = random_windows(np.random.default_rng(0), grid, 5)
    found: dict[str, list[tuple[Window, list]]] = {"nearest": [], "bilinear": []}
    for resampling, rows in found.items():
        for window in windows:
            place = GeoBox(
                (window.height, window.width),
                grid.affine @ Affine.translation(window.col, window.row),
                grid.crs,
            )
            near = meeting(archive, boxes, place)
            dates = []
            for day in DAYS:
                alone = [warped_alone(one, place, resampling) for one in near if one.day == day]
                dates.append(first_of(alone, 0, (3, *place.shape)))
            rows.append((window, dates))
    return found


@pytest.mark.parametrize("way", ["catalog", "parquet", "stac"])
@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
def test_windows_equal_scenes_warped_alone_by_gdal_and_merged_by_hand(
    archive: list[Scene],
    catalog: gx.Catalog,
    by_gdal: dict[str, list[tuple[Window, list]]],
    tmp_path: Path,
    way: str,
    resampling: str,
) -> None:
    options: dict[str, Any] = {"crs": TARGET, "resolution": PIXEL, "resampling": resampling}
    if way == "stac":
        layer = gx.open_stac(items_of(archive), **options)
    elif way == "parquet":
        path = catalog.to_parquet(tmp_path / "scenes.parquet")
        layer = gx.open_raster(gx.Catalog.from_parquet(path), **options)
    else:
        layer = gx.open_raster(catalog, **options)
    assert layer["time"].values.tolist() == pd.to_datetime(DAYS).values.astype("M8[ns]").tolist()
    off, lost, many = 0, 0, 0
    for window, dates in by_gdal[resampling]:
        part = layer.isel(y=slice(window.row, window.stop[0]), x=slice(window.col, window.stop[1]))
        expected, found = np.array(dates), part.values.astype("float64")
        both = (found > 0) & (expected > 0)
        lost += int(((found > 0) != (expected > 0)).sum())
        # Numbers between pixels may be rounded either way.
        off += int((np.abs(found - expected) > (resampling == "bilinear"))[both].sum())
        many += int(both.sum())
    assert many > 60_000
    assert lost < 1e-4 * many
    assert off < 2e-4 * many


def test_all_dates_over_each_other_follow_the_overlap_rule(
    archive: list[Scene], catalog: gx.Catalog
) -> None:
    """Scenes without dates keep their order; those with dates go by date."""
    boxes = np.array([scene.bounds for scene in archive])
    paths = [scene.path for scene in archive]
    options: dict[str, Any] = {"crs": TARGET, "resolution": PIXEL, "resampling": "nearest"}
    plain = gx.open_raster(paths, **options)
    by_date = gx.open_raster(catalog, time="collapse", **options)
    highest = gx.open_raster(catalog, time="collapse", overlap="max", **options)
    assert plain.dims == by_date.dims == ("band", "y", "x")
    in_order = sorted(archive, key=lambda scene: scene.day)
    order = [archive.index(scene) for scene in in_order]
    windows = random_windows(np.random.default_rng(1), plain.geoxr.geobox, 3)
    for window in windows:
        rows, cols = slice(window.row, window.stop[0]), slice(window.col, window.stop[1])
        parts = [layer.isel(y=rows, x=cols) for layer in (plain, by_date, highest)]
        place = parts[0].geoxr.geobox
        alone = {one.path: warped_alone(one, place, "nearest")
                 for one in meeting(archive, boxes, place)}  # fmt: skip
        shape = (3, *place.shape)
        rows_of = {
            "given": [alone[one.path] for one in archive if one.path in alone],
            "dates": [alone[archive[i].path] for i in order if archive[i].path in alone],
        }
        wanted = [
            first_of(rows_of["given"], 0, shape),
            first_of(rows_of["dates"], 0, shape),
            np.max(rows_of["given"], axis=0),
        ]
        for part, expected in zip(parts, wanted, strict=True):
            assert (part.values != expected).mean() < 1e-4
        assert (wanted[0] != wanted[1]).mean() > 0.1


def test_two_dates_at_one_place_stay_two(archive: list[Scene]) -> None:
    pairs = [(archive[i - 1], archive[i]) for i in range(1, 200, 10)]
    scenes = [scene for pair in pairs for scene in pair]
    layer = gx.open_stac(items_of(scenes), crs=TARGET, resolution=PIXEL, resampling="nearest")
    pair = next(pair for pair in pairs if pair[0].day < pair[1].day)
    assert pair[0].corner == pair[1].corner
    left, bottom, right, top = pair[0].bounds
    place = layer.sel(x=slice(left, right), y=slice(top, bottom))
    for scene in pair:
        found = place.sel(time=scene.day).values
        expected = warped_alone(scene, place.geoxr.geobox, "nearest")
        seen = expected > 0
        assert seen.mean() > 0.5
        assert (found != expected)[seen].mean() < 0.2  # others may lie above it
    first, second = (place.sel(time=scene.day).values for scene in pair)
    both = (first > 0) & (second > 0)
    assert (first != second)[both].mean() > 0.9


@pytest.mark.parametrize("nodata", [0.0, -9999.0, np.nan])
@pytest.mark.parametrize("overlap", ["first", "mean"])
def test_a_mosaic_of_decibels_keeps_its_negative_numbers(
    tmp_path: Path, nodata: float, overlap: str
) -> None:
    scenes = write_archive(
        tmp_path,
        40,
        lambda rng: rng.uniform(-30, -3, (3, SIZE, SIZE)).astype("float32"),
        nodata,
    )
    layer = gx.open_raster(
        [scene.path for scene in scenes],
        crs=TARGET, resolution=PIXEL, resampling="nearest", overlap=overlap,
    )  # type: ignore[call-overload]  # fmt: skip
    reader = resolve(layer).reader
    grid = layer.geoxr.geobox
    pixels, valid = read_window(reader, Window(0, 0, *grid.shape))
    stack = np.stack([warped_alone(scene, grid, "nearest") for scene in scenes]).astype("float64")
    missing = np.isnan(stack) if np.isnan(nodata) else stack == nodata
    good = ~missing.all(axis=0)
    if overlap == "first":
        expected = first_of(list(stack), nodata, stack.shape[1:])
    else:
        expected = np.ma.masked_array(stack, missing).mean(axis=0).filled(nodata)
    assert 0.3 < good.mean() < 1
    assert (valid[0] != good).mean() < 1e-4
    same = good & valid[0]
    assert (np.abs(pixels[0] - expected)[same] > 1e-4).mean() < 1e-4
    assert pixels[0][same].max() < 0
    assert pixels[0][same].min() >= -30

"""The maker of Landsat-like scenes and crop labels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio

from geoxr.errors import ArgumentError, OutputExistsError
from geoxr.testing import LandsatCDL, World, make_landsat_cdl
from geoxr.testing.world import CLASSES, COLORS

SIZE = 300
CDL_ORIGIN = (-2_356_095.0, 3_172_605.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> LandsatCDL:
    return make_landsat_cdl(tmp_path_factory.mktemp("made"), size=SIZE, seed=0)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)


def digests(made: LandsatCDL) -> list[str]:
    paths = [*(path for scene in made.images for path in scene), made.mask]
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def albers_of_pixels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """EPSG:5070 coordinates of the centres of every pixel, each asked of PROJ."""
    with rasterio.open(path) as file:
        crs, transform, shape = file.crs.to_string(), file.transform, file.shape
    row, column = np.indices(shape) + 0.5
    x = transform.c + column * transform.a
    y = transform.f + row * transform.e
    return pyproj.Transformer.from_crs(crs, "EPSG:5070", always_xy=True).transform(x, y)


def labels_at(made: LandsatCDL, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    with rasterio.open(made.mask) as file:
        t = file.transform
        labels = file.read(1)
    return labels[np.floor((y - t.f) / t.e).astype(int), np.floor((x - t.c) / t.a).astype(int)]


def test_same_seed_gives_the_same_bytes(made: LandsatCDL, tmp_path: Path) -> None:
    again = make_landsat_cdl(tmp_path, size=SIZE, seed=0)
    assert digests(again) == digests(made)


def test_another_seed_gives_another_world(made: LandsatCDL, tmp_path: Path) -> None:
    other = make_landsat_cdl(tmp_path, size=SIZE, seed=1)
    assert not set(digests(other)) & set(digests(made))
    assert (read(other.mask) != read(made.mask)).mean() > 0.5


def test_a_place_does_not_depend_on_the_places_around_it() -> None:
    world = World(seed=3)
    x, y = np.meshgrid(490_000.0 + 30 * np.arange(200), 2_080_000.0 - 30 * np.arange(200))
    whole = world.reflectance(x, y)
    assert np.array_equal(world.reflectance(x[37:61, 5:8], y[37:61, 5:8]), whole[:, 37:61, 5:8])
    assert np.array_equal(
        world.classify(x[::7, ::-3], y[::7, ::-3]), world.classify(x, y)[::7, ::-3]
    )


def test_scenes_look_like_collection_2(made: LandsatCDL) -> None:
    for paths, crs, path_row in zip(
        made.images, ("EPSG:32615", "EPSG:32616"), ("025031", "024031"), strict=True
    ):
        assert [path.name.rsplit("_", 1)[1] for path in paths] == [f"B{i}.TIF" for i in range(1, 8)]
        assert paths[0].parent.parent == made.scenes
        assert paths[0].parent.name.startswith(f"LC08_L2SP_{path_row}_2023")
        for path in paths:
            with rasterio.open(path) as file:
                assert file.crs == crs
                assert (file.dtypes, file.nodata, file.count) == (("uint16",), 0.0, 1)
                assert file.shape == (SIZE, SIZE)
                assert file.block_shapes == [(256, 256)]
                assert file.compression is None
                assert file.res == (30.0, 30.0)
                assert file.transform.c % 30 == file.transform.f % 30 == 15


def test_reflectance_is_plausible(made: LandsatCDL) -> None:
    for path in made.images[0]:
        numbers = read(path)
        reflectance = numbers[numbers > 0] * 2.75e-5 - 0.2
        assert -0.01 < np.percentile(reflectance, 0.1) < np.percentile(reflectance, 99.9) < 0.7


@pytest.mark.parametrize("scene", [0, 1])
def test_a_third_of_a_scene_is_nodata_in_all_bands_alike(made: LandsatCDL, scene: int) -> None:
    empty = [read(path) == 0 for path in made.images[scene]]
    assert 0.2 < empty[0].mean() < 0.4
    assert all(np.array_equal(other, empty[0]) for other in empty[1:])
    corners = empty[0][[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.all()
    assert not empty[0][SIZE // 2, SIZE // 2]


def test_labels_are_on_the_published_lattice_with_its_palette(made: LandsatCDL) -> None:
    with rasterio.open(made.mask) as file:
        labels = file.read(1)
        assert file.crs == "EPSG:5070"
        assert (file.dtypes, file.nodata) == (("uint8",), 0.0)
        assert file.block_shapes == [(256, 256)]
        assert (file.transform.c - CDL_ORIGIN[0]) % 30 == 0
        assert (CDL_ORIGIN[1] - file.transform.f) % 30 == 0
        palette = file.colormap(1)
    assert palette[0][:3] == (0, 0, 0)
    assert {code: palette[code][:3] for code in CLASSES} == COLORS
    assert set(np.unique(labels)) <= set(CLASSES)
    assert made.classes == CLASSES


def test_every_class_is_common_enough_to_learn(tmp_path: Path) -> None:
    labels = read(make_landsat_cdl(tmp_path, size=600, seed=0).mask)
    shares = {name: (labels == code).mean() for code, name in CLASSES.items()}
    assert min(shares.values()) > 0.02, shares
    assert max(shares.values()) < 0.35, shares


def test_labels_cover_both_scenes_and_the_scenes_overlap(made: LandsatCDL) -> None:
    valid = []
    for paths in made.images:
        x, y = albers_of_pixels(paths[0])
        assert np.isin(labels_at(made, x, y), list(CLASSES)).all()
        inside = read(paths[0]) > 0
        valid.append(set(zip(x[inside] // 300, y[inside] // 300, strict=True)))
    assert 0.03 < len(valid[0] & valid[1]) / len(valid[0]) < 0.5


@pytest.mark.parametrize("scene", [0, 1])
def test_pixels_show_what_the_labels_say_at_their_own_place(made: LandsatCDL, scene: int) -> None:
    near_infrared = read(made.images[scene][4])
    x, y = albers_of_pixels(made.images[scene][4])
    truth = made.world.classify(x, y)
    labels = labels_at(made, x, y)
    inside = near_infrared > 0
    # Labels are sampled up to 21 m away from a pixel's centre: only edges differ.
    assert (labels == truth)[inside].mean() > 0.85
    water = near_infrared[inside & (labels == 111) & (truth == 111)]
    others = near_infrared[inside & (labels != 111) & (truth != 111)]
    assert np.percentile(water, 95) < np.percentile(others, 1)


@pytest.mark.parametrize("scene", [0, 1])
def test_half_a_pixel_of_misregistration_shows(made: LandsatCDL, scene: int) -> None:
    """Noise-free reflectance at a pixel's exact place explains it best; elsewhere worse."""
    red = read(made.images[scene][3])
    inside = red > 0
    x, y = (axis[inside] for axis in albers_of_pixels(made.images[scene][3]))
    world = made.world

    def correlation(dx: float, dy: float) -> float:
        return float(np.corrcoef(world.reflectance(x + dx, y + dy)[3], red[inside])[0, 1])

    exact = correlation(0, 0)
    assert exact > 0.95
    for shift in ((15, 0), (-15, 0), (0, 15), (0, -15)):
        assert correlation(*shift) < exact - 0.01


def test_labels_are_the_world_at_their_own_centres(made: LandsatCDL) -> None:
    x, y = albers_of_pixels(made.mask)
    assert np.array_equal(read(made.mask), made.world.classify(x, y))


def test_label_size_is_centred(made: LandsatCDL, tmp_path: Path) -> None:
    small = make_landsat_cdl(tmp_path, size=SIZE, label_size=128, seed=0)
    with rasterio.open(small.mask) as file, rasterio.open(made.mask) as whole:
        assert file.shape == (128, 128)
        window = whole.window(*file.bounds)
        assert np.array_equal(file.read(1), whole.read(1, window=window))


def test_existing_files_are_not_overwritten_by_accident(tmp_path: Path) -> None:
    made = make_landsat_cdl(tmp_path, size=64, seed=0)
    before = digests(made)
    with pytest.raises(OutputExistsError, match=r"B1.TIF exists .*overwrite=True"):
        make_landsat_cdl(tmp_path, size=64, seed=1)
    assert digests(made) == before
    note = made.scenes / "notes.txt"
    note.write_text("mine")
    assert digests(make_landsat_cdl(tmp_path, size=64, seed=1, overwrite=True)) != before
    assert note.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cdl", "scenes"]


@pytest.mark.parametrize("argument", [{"size": 10}, {"label_size": 0}, {"fields": 1.0}])
def test_sizes_too_small_to_show_anything_are_refused(tmp_path: Path, argument: dict) -> None:
    (name,) = argument
    with pytest.raises(ArgumentError, match=f"^{name} is"):
        make_landsat_cdl(tmp_path, **argument)
    assert not list(tmp_path.iterdir())

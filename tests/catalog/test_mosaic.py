"""Many scenes as one layer: the rules, what is opened when, and what unlike scenes get."""

import gc
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

import geoxr as gx
from geoxr.catalog import table as table_module
from geoxr.grid.geobox import extent
from geoxr.grid.window import Window
from geoxr.io.reader import read_window
from geoxr.io.resolve import resolve
from geoxr.testing import write_geotiff
from geoxr.warp.reproject import onto

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)
RULES = ["first", "last", "mean", "median", "min", "max", "count"]


def write_archive(folder: Path, number: int, *, plain: bool = False) -> list[Path]:
    """Small scenes in three UTM zones around 12 degrees east: noise with holes, or one number each."""
    rng = np.random.default_rng(number)
    paths = []
    for i in range(number):
        pixels = rng.integers(1, 1000, (1, 20, 20), dtype="uint16")
        pixels[:, rng.random((20, 20)) < 0.2] = 0
        if plain:
            pixels[...] = i + 1
        zone = 32 + i % 3
        change = pyproj.Transformer.from_crs(4326, 32600 + zone, always_xy=True)
        east, north = np.floor(change.transform(12, 48))
        col, row = rng.integers(0, 4_000, 2)
        path = folder / f"{i:04}.tif"
        transform = Affine(100, 0, east + col, 0, -100, north - row)
        write_geotiff(path, pixels, crs=32600 + zone, transform=transform, nodata=0, tiled=False)
        paths.append(path)
    return paths


def combined(rule: str, stack: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge pixels and validity (scene, ...) by hand."""
    if rule == "count":
        return good.sum(axis=0), np.ones(good.shape[1:], bool)
    many = np.ma.masked_array(stack.astype("float64"), ~good)
    if rule in ("first", "last"):
        order = slice(None) if rule == "first" else slice(None, None, -1)
        index = good[order].argmax(axis=0)
        value = np.take_along_axis(stack[order], index[None], axis=0)[0]
    else:
        reduce = {"mean": np.ma.mean, "median": np.ma.median, "min": np.ma.min, "max": np.ma.max}
        value = np.floor(reduce[rule](many, axis=0).filled(0) + 0.5)
    return np.where(good.any(axis=0), value, 0), good.any(axis=0)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three hundred scenes that overlap deeply."""
    return write_archive(tmp_path_factory.mktemp("archive"), 300)


@pytest.mark.parametrize("rule", RULES)
def test_windows_equal_scenes_warped_alone_and_merged_by_hand(
    archive: list[Path], rule: str
) -> None:
    paths = archive[:45]
    layer = gx.open_raster(paths, crs="EPSG:3035", resolution=100, overlap=rule)  # type: ignore[arg-type]
    reader = resolve(layer).reader
    alone = [
        read_window(onto(resolve(gx.open_raster(path)).reader, reader.geobox, "bilinear"),
                    extent(reader.geobox)) for path in paths
    ]  # fmt: skip
    stack = np.concatenate([pixels for pixels, _ in alone])
    good = np.concatenate([valid for _, valid in alone])
    value, valid = combined(rule, stack[:, None], good[:, None])
    assert 0.2 < good.any(axis=0).mean() < 1 or rule == "count"
    rng = np.random.default_rng(0)
    height, width = reader.geobox.shape
    for _ in range(12):
        row, col = int(rng.integers(0, height - 5)), int(rng.integers(0, width - 5))
        window = Window(
            row, col, int(rng.integers(1, height - row)), int(rng.integers(1, width - col))
        )
        pixels, here = read_window(reader, window)
        np.testing.assert_array_equal(pixels, value[..., *window.slices])
        np.testing.assert_array_equal(here, valid[..., *window.slices])


@pytest.mark.parametrize("rule", ["first", "mean", "count"])
def test_scenes_in_several_zones_agree_with_gdal(archive: list[Path], rule: str) -> None:
    paths = archive[:12]
    layer = gx.open_raster(
        paths, crs="EPSG:3035", resolution=100, overlap=rule, resampling="nearest"
    )  # type: ignore[call-overload]
    grid = layer.geoxr.geobox
    stack = []
    for path in paths:
        with (
            rasterio.open(path) as file,
            WarpedVRT(
                file, crs="EPSG:3035", transform=grid.affine, width=grid.width,
                height=grid.height, resampling=Resampling.nearest, tolerance=1e-9, XSCALE=1, YSCALE=1,
            ) as warped,
        ):  # fmt: skip
            stack.append(warped.read())
    many = np.array(stack)
    value, valid = combined(rule, many, many > 0)
    assert (layer.values != value).mean() < 1e-4
    assert (layer.geoxr.valid.values != valid[0]).mean() < 1e-4


def test_a_window_opens_only_the_scenes_it_meets(
    archive: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = gx.Catalog.scan(archive)
    opened: list[str] = []

    def watch(original: Callable) -> Callable:
        def open_file(path: str, **options: object) -> object:
            opened.append(path)
            return original(path, **options)

        return open_file

    monkeypatch.setattr(table_module, "open_file", watch(table_module.open_file))
    layer = gx.open_raster(catalog, crs="EPSG:3035", resolution=100, resampling="nearest")
    copy = pickle.loads(pickle.dumps(layer))
    assert repr(layer)
    assert not opened
    reader = resolve(layer).reader
    height, width = reader.geobox.shape
    window = Window(height // 2, width // 2, 3, 3)
    hits = reader.hits(window)  # type: ignore[attr-defined]
    assert 0 < len(hits) < len(archive)
    part = layer.isel(y=slice(*_span(window, 0)), x=slice(*_span(window, 1))).values
    assert 0 < len(opened) <= len(hits)
    # "first" stops when every pixel is filled, and reading again opens nothing.
    if (part > 0).all():
        assert len(opened) < len(hits)
    before = len(opened)
    layer.isel(y=slice(*_span(window, 0)), x=slice(*_span(window, 1))).values  # noqa: B018
    assert len(opened) == before
    np.testing.assert_array_equal(
        copy.isel(y=slice(*_span(window, 0)), x=slice(*_span(window, 1))).values, part
    )


def _span(window: Window, axis: int) -> tuple[int, int]:
    start = (window.row, window.col)[axis]
    return start, window.stop[axis]


def test_a_layer_of_many_scenes_pickles_small(archive: list[Path]) -> None:
    layer = gx.open_raster(archive[:60], crs="EPSG:3035", resolution=100)
    assert len(pickle.dumps(resolve(layer).reader)) < 250 * 60


def test_scenes_are_ordered_by_a_column(tmp_path: Path) -> None:
    paths = [
        write_geotiff(
            tmp_path / f"{value}.tif", np.full((4, 4), value, "uint8"), crs=32633, transform=UTM
        )
        for value in (1, 2, 3)
    ]
    frame = gx.Catalog.scan(paths).frame
    catalog = gx.Catalog(frame.assign(cloud=[50.0, np.nan, 10.0]))
    assert gx.open_raster(catalog).values.max() == 1
    assert gx.open_raster(catalog, sortby="cloud").values.max() == 3
    assert gx.open_raster(catalog, sortby="-cloud").values.max() == 1
    assert gx.open_raster(catalog, sortby="cloud", overlap="last").values.min() == 2
    assert gx.open_raster(paths, sortby="-path").values.max() == 3
    with pytest.raises(gx.errors.ArgumentError, match=r"no column 'haze'.*cloud"):
        gx.open_raster(catalog, sortby="haze")


def test_dates_of_a_catalog_become_a_time_axis(tmp_path: Path) -> None:
    paths = [
        write_geotiff(
            tmp_path / f"{value}.tif", np.full((4, 4), value, "uint8"), crs=32633, transform=UTM
        )
        for value in (2, 1, 3)
    ]
    days = np.array(["2021-05-02", "2021-05-01", "2021-05-02"], "datetime64[ns]")
    catalog = gx.Catalog(gx.Catalog.scan(paths).frame.assign(start=days, end=days))
    layer = gx.open_raster(catalog)
    assert layer["time"].values.tolist() == np.unique(days).tolist()
    assert layer.values[:, 0, 0, 0].tolist() == [1, 2]
    assert gx.open_raster(catalog, overlap="last").values[:, 0, 0, 0].tolist() == [1, 3]
    assert gx.open_raster(catalog, time="collapse").values[0, 0, 0] == 1
    assert gx.open_raster(catalog, time="collapse", sortby="-path").values[0, 0, 0] == 3
    assert gx.open_raster(catalog.filter(time="2021-05-01")).dims == ("band", "y", "x")


def test_a_deep_stack_is_combined_in_pieces(
    archive: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for rule in ("median", "first"):
        layer = gx.open_raster(archive[:30], crs="EPSG:3035", resolution=100, overlap=rule)  # type: ignore[arg-type]
        whole, whole_valid = read_window(resolve(layer).reader, extent(layer.geoxr.geobox))
        monkeypatch.setattr("geoxr.catalog.mosaic._MOST", 2000)
        pixels, valid = read_window(resolve(layer).reader, extent(layer.geoxr.geobox))
        monkeypatch.undo()
        np.testing.assert_array_equal(pixels, whole)
        np.testing.assert_array_equal(valid, whole_valid)


def anonymous_memory() -> int:
    """Memory of the process that no file stands behind [kB]."""
    gc.collect()
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_memory_stays_constant_over_many_windows(archive: list[Path]) -> None:
    layer = gx.open_raster(archive[:40], crs="EPSG:3035", resolution=50, resampling="nearest")
    reader = resolve(layer).reader
    height, width = reader.geobox.shape
    rng = np.random.default_rng(0)

    def stream(number: int) -> None:
        for _ in range(number):
            row, col = int(rng.integers(0, height - 32)), int(rng.integers(0, width - 32))
            read_window(reader, Window(row, col, 32, 32))

    with gx.options.set(lattice_cache=2 << 20, open_files=16):
        stream(50)
        before = anonymous_memory()
        stream(200)
        assert anonymous_memory() - before < 8_000


@pytest.mark.parametrize("overlap", ["first", "last", "max"])
def test_a_preview_opens_only_scenes_that_hold_its_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overlap: str
) -> None:
    """Cells of 40 columns over scenes of 4: the one where a cell begins is asked, and no other."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 255, (8, 200), dtype="uint8")
    for col in range(0, 200, 4):
        write_geotiff(
            tmp_path / f"{col:03}.tif", pixels[:, col : col + 4], crs=32633, tiled=False,
            transform=UTM @ Affine.translation(col, 0),
        )  # fmt: skip
    catalog = gx.Catalog.scan(tmp_path)
    opened: list[str] = []
    original = table_module.open_file
    monkeypatch.setattr(
        table_module, "open_file", lambda path, **k: opened.append(path) or original(path, **k)
    )
    reader = resolve(gx.open_raster(catalog, overlap=overlap)).reader  # type: ignore[arg-type]
    small, valid = read_window(reader, extent(reader.geobox), step=40)
    for i, value in enumerate(small[0, 0, 0]):
        assert value in pixels[:, 40 * i : 40 * i + 4]
    assert valid.all()
    assert len(opened) == 5


def test_a_preview_shows_the_scene_in_the_middle_of_every_cell(tmp_path: Path) -> None:
    paths = write_archive(tmp_path, 60, plain=True)
    layer = gx.open_raster(paths, crs="EPSG:3035", resolution=100, resampling="nearest")
    reader = resolve(layer).reader
    whole, good = read_window(reader, extent(reader.geobox))
    for step in (3, 7):
        small, valid = read_window(reader, extent(reader.geobox), step=step)
        middle = np.s_[..., step // 2 :: step, step // 2 :: step]
        shape = whole[middle].shape[2:]
        small, valid = small[..., : shape[0], : shape[1]], valid[..., : shape[0], : shape[1]]
        assert (valid == good[middle]).mean() > 0.98
        assert (small == whole[middle]).mean() > 0.98


def test_unlike_scenes_are_named_or_left_out(tmp_path: Path) -> None:
    def write(name: str, array: np.ndarray, **options: object) -> Path:
        path = tmp_path / f"{name}.tif"
        return write_geotiff(path, array, crs=32633, transform=UTM, **options)  # type: ignore[arg-type]

    ones = np.ones((2, 4, 4), "uint8")
    usual = write("usual", ones), write("more", ones)
    others = {
        "type": (
            write("int16", ones.astype("int16")),
            r"usual\.tif is uint8, .*int16\.tif is int16",
        ),
        "count": (write("one", ones[:1]), r"usual\.tif has 2 bands, .*one\.tif has 1"),
        "names": (
            write("named", ones, band_names=["a", "b"]),
            r"has the bands 1, 2, .*named.*a, b",
        ),
    }
    for path, message in others.values():
        with pytest.raises(gx.errors.ArgumentError, match=message):
            gx.open_raster([*usual, path])
    files = [others["type"][0], *usual, others["count"][0], tmp_path / "none.tif"]
    with pytest.warns(UserWarning, match=r"^3 of 5 scenes were left out: .*none\.tif.*int16\.tif"):
        layer = gx.open_raster(files, errors="skip")
    assert (layer.dtype, layer.shape) == ("uint8", (2, 4, 4))
    # By number the names do not matter, and by name the order does not.
    assert gx.open_raster([*usual, others["names"][0]], bands=[1]).shape == (1, 4, 4)
    with pytest.raises(gx.errors.ArgumentError, match=r"one\.tif.*no band 2"):
        gx.open_raster([usual[0], others["count"][0]], bands=[2])


def test_bands_are_found_by_name_in_every_scene(tmp_path: Path) -> None:
    pixels = np.stack([np.full((4, 4), 1), np.full((4, 4), 2)]).astype("uint8")
    right = UTM @ Affine.translation(4, 0)
    write_geotiff(tmp_path / "a.tif", pixels, crs=32633, transform=UTM, band_names=["red", "nir"])
    write_geotiff(
        tmp_path / "b.tif", pixels[::-1], crs=32633, transform=right, band_names=["nir", "red"]
    )
    with pytest.raises(gx.errors.ArgumentError, match=r"red, nir.*nir, red"):
        gx.open_raster(tmp_path)
    layer = gx.open_raster(tmp_path, bands=["nir", "red"])
    assert layer.values.min(axis=(1, 2)).tolist() == [2, 1]
    assert layer.values.max(axis=(1, 2)).tolist() == [2, 1]


def test_scenes_of_different_scale_do_not_mix(tmp_path: Path) -> None:
    for name, scale in (("a", 1.0), ("b", 0.1)):
        path = write_geotiff(
            tmp_path / f"{name}.tif", np.ones((4, 4), "uint8"), crs=32633, transform=UTM
        )
        with rasterio.open(path, "r+") as file:
            file.scales = (scale,)
    with pytest.raises(
        gx.errors.ArgumentError, match=r"a\.tif has scale = 1\.0, .*b\.tif has 0\.1"
    ):
        gx.open_raster(tmp_path)


def test_validity_is_right_where_scenes_mark_missing_pixels_differently(tmp_path: Path) -> None:
    for name, nodata, col in (("a", 0, 0), ("b", 255, 2), ("c", None, 4)):
        pixels = np.array([[0, 255, 7, 0]], "uint8")
        write_geotiff(
            tmp_path / f"{name}.tif", pixels, crs=32633, tiled=False, nodata=nodata,
            transform=UTM @ Affine.translation(col, 0),
        )  # fmt: skip
    layer = gx.open_raster(tmp_path)
    assert layer.geoxr.nodata is None
    # a: hole, 255, 7, hole | b from column 2: 0, hole, 7, 0 | c from column 4: 0, 255, 7, 0
    expected = [False, True, True, False, True, True, True, True]
    assert layer.geoxr.valid.values[0].tolist() == expected
    assert layer.values[0, 0].tolist() == [0, 255, 7, 0, 7, 0, 7, 0]
    ds = gx.merge({"image": layer})
    assert ds["image_valid"].values[0].tolist() == expected
    floats = tmp_path / "floats"
    for name, nodata in (("a", -1.0), ("b", None)):
        write_geotiff(
            floats / f"{name}.tif", np.array([[-1, 2]], "float32"), crs=32633, tiled=False,
            nodata=nodata, transform=UTM @ Affine.translation(2 if name == "b" else 0, 0),
        )  # fmt: skip
    mixed = gx.open_raster(floats)
    np.testing.assert_array_equal(mixed.values[0, 0], np.array([np.nan, 2, -1, 2], "float32"))
    assert "image_valid" not in gx.merge({"image": mixed})


def test_a_scene_that_changes_or_goes_is_an_error_or_a_hole(tmp_path: Path) -> None:
    for col in range(3):
        write_geotiff(
            tmp_path / f"{col}.tif", np.full((4, 4), col + 1, "uint8"), crs=32633, nodata=0,
            transform=UTM @ Affine.translation(4 * col, 0),
        )  # fmt: skip
    catalog = gx.Catalog.scan(tmp_path)
    (tmp_path / "1.tif").unlink()
    write_geotiff(tmp_path / "2.tif", np.full((9, 9), 9, "uint8"), crs=32633, transform=UTM)
    layer = gx.open_raster(catalog)
    assert (layer.isel(x=slice(0, 4)).values == 1).all()
    with pytest.raises(gx.errors.MissingFileError, match=r"1\.tif does not exist"):
        layer.isel(x=slice(4, 8)).load()
    with pytest.raises(gx.errors.ReadFailedError, match=r"2\.tif was changed after.*Catalog\.scan"):
        layer.isel(x=slice(8, 12)).load()
    skipping = gx.open_raster(catalog, errors="skip")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        valid = skipping.geoxr.valid.values
        skipping.values  # noqa: B018
    assert valid[0].tolist() == [True] * 4 + [False] * 8
    assert [str(one.message).split(" left")[0] for one in caught] == [
        "1 scene was", "2 scenes were",
    ]  # fmt: skip


def test_codes_are_not_averaged_and_counts_are_no_codes(tmp_path: Path) -> None:
    write_geotiff(
        tmp_path / "a.tif", np.array([[1, 5]], "uint8"), crs=32633, transform=UTM, tiled=False,
        colormap={1: (255, 0, 0), 5: (0, 255, 0)},
    )  # fmt: skip
    with pytest.raises(gx.errors.ArgumentError, match="codes of classes"):
        gx.open_raster(tmp_path, overlap="mean")
    count = gx.open_raster(tmp_path, overlap="count")
    assert (count.dtype, count.geoxr.kind) == ("uint16", "continuous")
    assert gx.open_raster(tmp_path).geoxr.kind == "categorical"


def test_the_largest_number_as_nodata_does_not_overflow(tmp_path: Path) -> None:
    for name in "ab":
        write_geotiff(
            tmp_path / f"{name}.tif", np.array([[254, 1]], "uint8"), crs=32633, transform=UTM,
            tiled=False, nodata=255,
        )  # fmt: skip
    with rasterio.open(tmp_path / "b.tif", "r+") as file:
        file.write(np.array([[[255, 255]]], "uint8"))
    layer = gx.open_raster(tmp_path, overlap="mean")
    assert layer.values[0, 0].tolist() == [254, 1]
    from geoxr.catalog.overlap import combine

    out, good = np.zeros((1, 1, 1, 2), "uint8"), np.zeros((1, 1, 1, 2), bool)
    parts = [((slice(0, 1), slice(0, 2)), np.array([[[[254, 3]]]], "float32") + 1, ~good)]
    combine("mean", iter(parts), 1, out, good, 255, 255)
    assert out.ravel().tolist() == [254, 4]


def test_a_target_that_no_scene_meets_is_an_error(archive: list[Path]) -> None:
    far = GeoBox((10, 10), UTM, "EPSG:32615")
    with pytest.raises(gx.errors.NoOverlapError, match=r"None of 30 scenes.*EPSG:4326"):
        gx.open_raster(archive[:30], like=far)


def test_files_per_band_make_scenes_of_a_catalog(tmp_path: Path, utm_image: Path) -> None:
    whole = gx.open_raster(utm_image)
    names = ["red", "green", "nir"]
    for number, name in enumerate(names):
        write_geotiff(
            tmp_path / f"{name}.tif", whole.values[number], crs=32633, transform=UTM, nodata=0
        )
    frame = gx.Catalog.scan(tmp_path / "red.tif").frame.drop(columns=["mtime", "size"])
    frame["path"] = [[str(tmp_path / f"{name}.tif") for name in names]]
    frame["bands"] = [names]
    catalog = gx.Catalog(frame)
    again = gx.Catalog.from_parquet(catalog.to_parquet(tmp_path / "scenes.parquet"))
    for one in (catalog, again):
        layer = gx.open_raster(one)
        np.testing.assert_array_equal(layer.values, whole.values)
        np.testing.assert_array_equal(layer.geoxr.valid.values, whole.geoxr.valid.values)
    two = frame.assign(attrs=['{"facts": [["K", 1, 0, null], ["K", 1, 0, null]]}'])
    with pytest.raises(gx.errors.ArgumentError, match=r"facts of 2 bands.*red, green, nir"):
        gx.open_raster(gx.Catalog(two))
    frame["path"] = [[str(tmp_path / "red.tif"), str(tmp_path / "nir.tif")]]
    with pytest.raises(gx.errors.ArgumentError, match="2 files for 3 bands"):
        gx.open_raster(gx.Catalog(frame))


# Onto another grid


def test_scenes_of_other_zones_are_resampled_once(tmp_path: Path) -> None:
    """Judge: each scene put onto the target by itself, laid over one another by NumPy."""
    paths = write_archive(tmp_path, 5)
    target = gx.open_raster(paths[0]).geoxr.reproject("EPSG:3035", resolution=150).geoxr.geobox
    target = target.pad(40)
    mosaic = gx.open_raster(paths, crs="auto", time="collapse")
    for resampling in ("nearest", "bilinear"):
        seen = mosaic.geoxr.reproject(geobox=target, resampling=resampling)
        expected = np.zeros(seen.shape, "uint16")
        for path in reversed(paths):
            alone = onto(resolve(gx.open_raster(path)).reader, target, resampling)
            pixels, good = read_window(alone, extent(target))
            expected = np.where(good[0], pixels[0], expected)
        np.testing.assert_array_equal(seen.values, expected)
        picked = mosaic.isel(band=[0]).geoxr.reproject(geobox=target, resampling=resampling)
        np.testing.assert_array_equal(picked.values, expected)


def test_a_grid_that_was_asked_for_is_kept_in_between(tmp_path: Path) -> None:
    paths = write_archive(tmp_path, 3)
    coarse = gx.open_raster(paths, crs="EPSG:32633", resolution=500, time="collapse")
    target = gx.open_raster(paths[0]).geoxr.reproject("EPSG:3035", resolution=150).geoxr.geobox
    seen = coarse.geoxr.reproject(geobox=target, resampling="nearest")
    held = coarse.copy(data=coarse.values).geoxr.write_nodata(0)
    expected = held.geoxr.reproject(geobox=target, resampling="nearest")
    np.testing.assert_array_equal(seen.values, expected.values)


def test_a_second_scene_is_read_only_where_the_first_has_nothing(tmp_path: Path) -> None:
    pixels = np.full((1, 100, 100), 5, "uint16")
    pixels[:, 40:50, 60:90] = 0
    for name, array in (("a", pixels), ("b", np.full_like(pixels, 7))):
        write_geotiff(tmp_path / f"{name}.tif", array, crs=32633, transform=UTM, nodata=0)
    mosaic = resolve(
        gx.open_raster([tmp_path / "a.tif", tmp_path / "b.tif"], time="collapse")
    ).reader
    asked = []
    second = mosaic.scenes.reader(1)
    original = type(second).read

    def watched(self: object, window: Window, *args: object, **options: object) -> None:
        if self is second:
            asked.append(window)
        original(self, window, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(second), "read", watched)
        seen, _ = read_window(mosaic, Window(0, 0, 100, 100))
    assert asked == [Window(40, 60, 10, 30)]
    np.testing.assert_array_equal(seen[0], np.where(pixels == 0, 7, pixels))


@pytest.mark.parametrize("kind", ["mask", "infinity"])
def test_invalid_pixels_have_one_number_in_every_window(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    paths = []
    for i in range(2):
        pixels = rng.integers(1, 99, (1, 40, 40)).astype("uint8" if kind == "mask" else "float32")
        hole = rng.random((40, 40)) < 0.3
        if kind == "infinity":
            pixels[0, hole] = np.inf
        path = tmp_path / f"{i}.tif"
        place = Affine(10, 0, 500_000 + 300 * i, 0, -10, 5_200_000)
        write_geotiff(path, pixels, crs=32633, transform=place, tiled=False)
        if kind == "mask":
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
                file.write_mask(~hole)
        paths.append(path)
    reader = resolve(gx.open_raster(paths, overlap="last")).reader
    pixels, valid = read_window(reader, extent(reader.geobox))
    assert 0 < valid.mean() < 1
    for col in range(reader.geobox.width):
        window = Window(7, col, 20, 1)
        some, good = read_window(reader, window)
        np.testing.assert_array_equal(some, pixels[..., window.slices[0], window.slices[1]])
        np.testing.assert_array_equal(good, valid[..., window.slices[0], window.slices[1]])

"""TIFF files read without GDAL have the pixels that GDAL gives, and broken ones are named."""

import contextlib
import itertools
import multiprocessing
import os
import pickle
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp, Resampling

import geoxr as gx
from geoxr.grid.window import Window
from geoxr.io import blocks
from geoxr.io.blocks import tiles
from geoxr.io.gdal import GdalReader, open_file
from geoxr.io.geotiff import GeotiffReader, header_of
from geoxr.io.reader import WindowReader
from geoxr.testing import write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)
HEIGHT, WIDTH, BANDS = 53, 71, 3
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64"]
TILES = {"tiled": True, "blockxsize": 32, "blockysize": 16}
STRIPS = {"tiled": False, "blockysize": 6}
LAYOUTS = [
    {**shape, "interleave": interleave, "ENDIANNESS": order}
    for shape, interleave, order in itertools.product(
        (TILES, STRIPS), ("pixel", "band"), ("LITTLE", "BIG")
    )
]


def smooth(dtype: str, shape: tuple[int, ...] = (BANDS, HEIGHT, WIDTH)) -> np.ndarray:
    """Pixels that predictors shrink, of both signs where the type has them."""
    walk = np.random.default_rng(7).normal(0, 3, shape).cumsum(axis=-1) * 4
    kind = np.dtype(dtype).kind
    return walk.astype(dtype) if kind in "fc" else walk.clip(-90 * (kind == "i"), 120).astype(dtype)


def write(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    return write_geotiff(path, pixels, crs="EPSG:32633", transform=UTM, **options)


def read(
    reader: WindowReader, window: Window, bands: tuple[int, ...] | None = None, step: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    bands = tuple(range(len(reader.bands))) if bands is None else bands
    shape = (1, len(bands), -(-window.height // step), -(-window.width // step))
    pixels, valid = np.empty(shape, reader.dtype), np.empty(shape, bool)
    reader.read(window, pixels, valid, bands=bands, times=(0,), step=step)
    return pixels[0], valid[0]


def whole(reader: WindowReader) -> Window:
    return Window(0, 0, *reader.geobox.shape)


def check(path: Path, windows: list[Window]) -> None:
    reader = open_file(path).reader
    assert isinstance(reader, GeotiffReader)
    with rasterio.open(path) as file:
        for number, window in enumerate([whole(reader), *windows]):
            order = [(0, 1, 2), (2, 0), (1,)][number % 3]
            indexes = [band + 1 for band in order]
            area = rasterio.windows.Window(window.col, window.row, window.width, window.height)
            pixels, valid = read(reader, window, order)
            np.testing.assert_array_equal(pixels, file.read(indexes, window=area))
            mask = file.read_masks(indexes, window=area) > 0
            np.testing.assert_array_equal(valid, mask)


WINDOWS = [Window(15, 31, 2, 2), Window(3, 5, 40, 61), Window(52, 70, 1, 1), Window(20, 0, 9, 71)]


@pytest.mark.parametrize(
    ("compress", "predictor"),
    [
        ("none", 1), ("deflate", 1), ("deflate", 2), ("deflate", 3), ("lzw", 1), ("lzw", 2),
        ("lzw", 3), ("zstd", 2), ("zstd", 3), ("packbits", 1), ("lzma", 1),
    ],
)  # fmt: skip
def test_pixels_are_those_of_gdal_in_any_layout(
    tmp_path: Path, compress: str, predictor: int
) -> None:
    options = {"compress": compress, **({"predictor": predictor} if predictor > 1 else {})}
    common = (compress, predictor) in {("none", 1), ("deflate", 2)}
    for number, dtype in enumerate(DTYPES):
        if predictor == 3 and not dtype.startswith("float"):
            continue
        for layout in LAYOUTS if common or predictor == 3 else LAYOUTS[number % 4 :: 3]:
            path = write(tmp_path / "a.tif", smooth(dtype), **layout, **options)
            check(path, WINDOWS)


@pytest.mark.parametrize("layout", [LAYOUTS[0], LAYOUTS[7]])
@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_bigtiff_and_complex_numbers(tmp_path: Path, layout: dict[str, Any], compress: str) -> None:
    for dtype in ("uint16", "complex64"):
        pixels = smooth(dtype) * (1 if dtype == "uint16" else 1 - 2j)
        path = write(
            tmp_path / "a.tif", pixels.astype(dtype), BIGTIFF="YES", compress=compress, **layout
        )
        check(path, WINDOWS)


@pytest.mark.parametrize("nodata", [None, 7, -5])
@pytest.mark.parametrize("compress", ["none", "deflate"])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("layout", [TILES, {"blockysize": 16}])
def test_blocks_that_are_left_out_are_filled_as_gdal_does(
    tmp_path: Path, nodata: int | None, compress: str, interleave: str, layout: dict[str, Any]
) -> None:
    path = tmp_path / "sparse.tif"
    profile = dict(driver="GTiff", dtype="int16", count=BANDS, height=HEIGHT, width=WIDTH,
                   nodata=nodata, compress=compress, interleave=interleave, SPARSE_OK=True,
                   crs="EPSG:32633", transform=UTM, **layout)  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        row = rasterio.windows.Window(0, 16, WIDTH, 16)
        file.write(smooth("int16")[:, :16] + 1, window=row)
    check(path, WINDOWS)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One image in different layouts."""
    folder = tmp_path_factory.mktemp("layouts")
    pixels = smooth("uint16", (BANDS, 201, 333))
    kinds = [
        dict(TILES), dict(STRIPS), dict(TILES, interleave="pixel"), dict(TILES, compress="deflate"),
        dict(STRIPS, compress="lzw", predictor=2, interleave="pixel"),
    ]  # fmt: skip
    return [write(folder / f"{i}.tif", pixels, nodata=3, **kind) for i, kind in enumerate(kinds)]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_window_is_a_part_of_the_whole(files: list[Path], data: st.DataObject) -> None:
    reader = open_file(data.draw(st.sampled_from(files))).reader
    height, width = reader.geobox.shape
    row, col = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    window = Window(
        row, col, data.draw(st.integers(1, height - row)), data.draw(st.integers(1, width - col))
    )
    bands = tuple(data.draw(st.lists(st.integers(0, BANDS - 1), min_size=1, max_size=4)))
    pixels, valid = read(reader, window, bands)
    expected = smooth("uint16", (BANDS, 201, 333))[(list(bands), *window.slices)]
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(valid, expected != 3)
    joint = np.empty((1, 1, window.height, window.width), bool)
    reader.read(window, np.empty_like(pixels)[None], joint, bands=bands, times=(0,))
    np.testing.assert_array_equal(joint[0, 0], (expected != 3).all(axis=0))


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_step_takes_the_pixel_at_the_centre_of_each_cell(
    files: list[Path], data: st.DataObject
) -> None:
    reader = open_file(data.draw(st.sampled_from(files))).reader
    step = data.draw(st.integers(2, 90))
    row, col = data.draw(st.integers(0, 150)), data.draw(st.integers(0, 250))
    window = Window(row, col, data.draw(st.integers(1, 51)), data.draw(st.integers(1, 83)))
    rows, cols = (
        [(2 * at + min(step, stop - at)) // 2 for at in range(start, stop, step)]
        for start, stop in ((row, window.stop[0]), (col, window.stop[1]))
    )
    pixels, _ = read(reader, window, step=step)
    image = smooth("uint16", (BANDS, 201, 333))
    np.testing.assert_array_equal(pixels, image[:, rows][:, :, cols])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts bytes that are read")
def test_rows_of_a_wide_image_are_read_one_by_one(tmp_path: Path) -> None:
    pixels = smooth("uint16", (1, 400, 30_000))
    path = write(tmp_path / "wide.tif", pixels, tiled=False, blockysize=1)
    reader = open_file(path).reader
    read(reader, Window(5, 20_000, 1, 100))  # compiled, and the header is known
    before = bytes_read()
    part, _ = read(reader, Window(5, 20_000, 300, 100))
    np.testing.assert_array_equal(part, pixels[:, 5:305, 20_000:20_100])
    assert 300 * 100 * 2 <= bytes_read() - before < 2 * 300 * 100 * 2


def bytes_read() -> int:
    """Bytes that this process has read so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(lines[0].removeprefix("rchar:"))


# Overviews


@pytest.fixture(scope="module", params=["inside", "beside", "compressed", "strips"])
def with_overviews(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    path = tmp_path_factory.mktemp("overviews") / "a.tif"
    image = smooth("uint16", (2, 517, 700))
    compress = "deflate" if request.param == "compressed" else "none"
    layout = {"tiled": False} if request.param == "strips" else {"blockxsize": 64, "blockysize": 64}
    write(path, image, compress=compress, **layout)
    beside = request.param == "beside"
    with rasterio.Env(TIFF_USE_OVR=beside), rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8], Resampling.nearest)
    assert Path(f"{path}.ovr").exists() == beside
    return path


@pytest.mark.parametrize("step", [2, 3, 4, 5, 8, 20])
def test_a_step_reads_the_overview_that_fits(
    with_overviews: Path, step: int, monkeypatch: Any
) -> None:
    reader = open_file(with_overviews).reader
    monkeypatch.setattr(GdalReader, "read", None)  # it is not needed
    level = max(level for level in (1, 2, 4, 8) if level <= step)
    with rasterio.open(
        with_overviews, **({"overview_level": [2, 4, 8].index(level)} if level > 1 else {})
    ) as file:
        overview = file.read()
    window = Window(37, 5, 480, 690)
    pixels, _ = read(reader, window, step=step)
    rows, cols = (
        ((start + np.arange(0, size, step) + np.minimum(step, size - np.arange(0, size, step)) / 2)
         * overview.shape[axis] / full).astype(int)
        for axis, start, size, full in ((1, 37, 480, 517), (2, 5, 690, 700))
    )  # fmt: skip
    np.testing.assert_array_equal(pixels, overview[:, rows][:, :, cols])


def test_a_step_reads_about_what_it_asks_for(with_overviews: Path) -> None:
    reader = open_file(with_overviews).reader
    header = header_of(reader.path, reader.stamp, reader.overviews)  # type: ignore[union-attr]
    assert header is not None
    assert header.complete
    if header.levels[0].image.compression != 1 or not Path("/proc/self/io").exists():
        pytest.skip("sizes of compressed bytes say little")
    before = bytes_read()
    pixels, _ = read(reader, whole(reader), step=8)
    assert bytes_read() - before <= 4 * pixels.nbytes


def test_overviews_in_other_compressions_are_left_to_gdal(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", smooth("uint8", (3, 256, 256)))
    with rasterio.Env(COMPRESS_OVERVIEW="JPEG"), rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], Resampling.average)
    reader = open_file(path).reader
    assert isinstance(reader, GeotiffReader)
    pixels, _ = read(reader, whole(reader), step=4)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(pixels, file.read(out_shape=(3, 64, 64)))


# What is left to GDAL


@pytest.mark.parametrize(
    "options",
    [
        {"compress": "jpeg", "photometric": "ycbcr", "interleave": "pixel"},
        {"compress": "lerc"},
        {"compress": "webp", "WEBP_LOSSLESS": True, "interleave": "pixel"},
        {"nbits": 4},
    ],
)
def test_what_is_not_handled_is_read_by_gdal(tmp_path: Path, options: dict[str, Any]) -> None:
    path = write(tmp_path / "a.tif", smooth("uint8") % 16, **options)
    reader = open_file(path).reader
    assert isinstance(reader, GdalReader)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(read(reader, whole(reader))[0], file.read())


@pytest.mark.parametrize("internal", [True, False])
def test_a_mask_band_says_what_is_valid(tmp_path: Path, internal: bool) -> None:
    path = write(tmp_path / "a.tif", smooth("uint8"), compress="deflate")
    mask = smooth("int8")[0] > 5
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    assert Path(f"{path}.msk").exists() != internal
    reader = open_file(path).reader
    assert isinstance(reader, GeotiffReader)
    assert reader.masked
    check(path, WINDOWS)
    window = Window(3, 5, 40, 61)
    assert (read(reader, window)[1] == mask[window.slices]).all()
    assert read(reader, window, step=4)[1].shape == (3, 10, 16)


def rgba(path: Path, alpha: np.ndarray, **options: Any) -> Path:
    write(path, np.concatenate([smooth("uint8"), alpha[None]]), **options)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [
            ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha
        ]  # fmt: skip
    return path


@pytest.mark.parametrize("compress", ["none", "deflate", "lerc"])
def test_alpha_is_a_mask_unless_it_is_read_itself(tmp_path: Path, compress: str) -> None:
    alpha = np.where(smooth("int8")[1] > 0, 255, 0).astype("uint8")
    layer = gx.open_raster(rgba(tmp_path / "a.tif", alpha, compress=compress))
    assert layer.geoxr.valid.values.all()  # near infrared may be 0
    colours = layer.isel(band=slice(0, 3))
    np.testing.assert_array_equal(colours.geoxr.valid.values, alpha > 0)
    np.testing.assert_array_equal(
        gx.open_raster(tmp_path / "a.tif", bands=[2]).geoxr.valid.values, alpha > 0
    )


# Threads, processes, pickles


def square(path: Path, **options: Any) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 4000, (2, 512, 512)).astype("uint16")
    write(path, pixels, blockxsize=64, blockysize=64, interleave="band", **options)
    return pixels


@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_threads_read_the_same(tmp_path: Path, compress: str) -> None:
    pixels = square(tmp_path / "a.tif", compress=compress)
    reader = open_file(tmp_path / "a.tif").reader
    corners = np.random.default_rng(1).integers(0, 350, (200, 2)).tolist()
    with gx.options.set(tile_cache=300_000), ThreadPoolExecutor(8) as pool:
        parts = pool.map(lambda at: read(reader, Window(*at, 150, 150))[0], corners)
        for (row, col), part in zip(corners, parts, strict=True):
            np.testing.assert_array_equal(part, pixels[:, row : row + 150, col : col + 150])


def total(reader: WindowReader) -> int:
    return int(read(reader, whole(reader))[0].sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_readers_work_in_other_processes(tmp_path: Path, method: str) -> None:
    pixels = square(tmp_path / "raw.tif")
    square(tmp_path / "deflate.tif", compress="deflate")
    readers = [open_file(path).reader for path in sorted(tmp_path.glob("*.tif"))]
    assert list(map(total, readers)) == [pixels.sum()] * 2  # handles, threads, caches are in use
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(total, readers * 2) == [pixels.sum()] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_while_another_thread_is_at_work_does_not_hang(tmp_path: Path) -> None:
    pixels = square(tmp_path / "a.tif", compress="deflate")
    reader = open_file(tmp_path / "a.tif").reader
    with tiles._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(0 if total(reader) == pixels.sum() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_reader_of_thousands_of_tiles_pickles_small(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tif", np.ones((1, 1024, 1024), "uint8"), blockxsize=16, blockysize=16
    )
    reader = open_file(path).reader
    assert total(reader) == 1024 * 1024
    data = pickle.dumps(reader)
    assert len(data) < 2000
    assert pickle.loads(data) == reader
    assert total(pickle.loads(data)) == 1024 * 1024


# Memory


def anonymous_memory() -> int:
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def test_tiles_stay_within_their_memory(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 40, (1, 4096, 2048)).astype("uint16")
    path = write(tmp_path / "a.tif", pixels, blockxsize=256, blockysize=256, compress="zstd")
    reader, limit = open_file(path).reader, 2_000_000
    tiles.clear()
    with gx.options.set(tile_cache=limit):
        for row in range(0, 512, 64):
            read(reader, Window(row, 0, 256, 2048))
        before = anonymous_memory()
        for row in range(0, 3840, 128):
            read(reader, Window(row, 0, 256, 2048))
            assert 0 < tiles.nbytes <= limit
        assert anonymous_memory() - before < 8_000_000
    with gx.options.set(tile_cache=1000):
        np.testing.assert_array_equal(read(reader, Window(9, 9, 9, 9))[0], pixels[:, 9:18, 9:18])


# Bad files


@pytest.fixture
def no_leftovers() -> Iterator[None]:
    tiles.clear()
    yield
    tiles.clear()


def damage(path: Path, block: int, *, keep_stamp: bool = False) -> None:
    """Overwrite the bytes of a block with what no decoder understands."""
    before = path.stat()
    reader = open_file(path).reader
    assert isinstance(reader, GeotiffReader)
    header = header_of(reader.path, reader.stamp, reader.overviews)
    assert header is not None
    image = header.levels[0].image
    with path.open("r+b") as file:
        file.seek(int(image.offsets[block]))
        file.write(b"\xff" * int(image.counts[block]))
    if keep_stamp:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("compress", ["deflate", "lzma", "zstd"])
@pytest.mark.usefixtures("no_leftovers")
def test_a_damaged_tile_is_named_or_a_hole(tmp_path: Path, compress: str) -> None:
    path = tmp_path / "a.tif"
    pixels = square(path, compress=compress)
    damage(path, 64 + 2 * 8 + 3)  # second band, third row, fourth column
    with pytest.raises(
        gx.errors.ReadFailedError,
        match=r"a\.tif: rows 130-192, columns 192-256 cannot be read .*errors=\"skip\"",
    ):
        read(open_file(path).reader, Window(130, 150, 200, 200))
    layer = gx.open_raster(path, errors="skip")
    reader = open_file(path, skip=True).reader
    assert reader.masked
    hole = np.zeros((512, 512), bool)
    hole[128:192, 192:256] = True
    for window in (Window(0, 0, 512, 512), Window(130, 150, 200, 200), Window(140, 200, 5, 5)):
        with pytest.warns(
            UserWarning, match=r"1 tile of .*a\.tif cannot be read and left out"
        ) as seen:
            got, valid = read(reader, window)
        assert len(seen) == 1
        np.testing.assert_array_equal(valid[0], np.ones_like(valid[0]))
        np.testing.assert_array_equal(valid[1], ~hole[window.slices])
        expected = np.where(hole, 0, pixels[1])[window.slices]
        np.testing.assert_array_equal(got[1], expected)
    with pytest.warns(UserWarning, match="the first at rows 128-192, columns 192-256"):
        np.testing.assert_array_equal(layer.geoxr.valid.values, ~hole)
    assert read(reader, Window(0, 0, 128, 512))[1].all()


@pytest.mark.parametrize("layout", [{"blockxsize": 64, "blockysize": 64}, {"tiled": False}])
def test_a_truncated_file_is_named_or_has_holes_in_any_window(
    tmp_path: Path, layout: dict[str, Any]
) -> None:
    pixels = smooth("uint16", (1, 500, 512))
    path = write(tmp_path / "a.tif", pixels, nodata=9999, **layout)
    full = path.read_bytes()
    path.write_bytes(full[: len(full) * 3 // 4 + 777])
    with pytest.raises(
        gx.errors.ReadFailedError, match=r"a\.tif: rows .* cannot be read \(the file ends"
    ):
        read(open_file(path).reader, Window(0, 0, 500, 512))
    reader = open_file(path, skip=True).reader
    with pytest.warns(UserWarning, match=r"tiles of .*a\.tif cannot be read"):
        got, valid = read(reader, Window(0, 0, 500, 512))
    assert 0.7 < valid.mean() < 0.8
    np.testing.assert_array_equal(got, np.where(valid, pixels, 9999))
    edge = int(np.flatnonzero(~valid[0].all(axis=1))[0])
    for row in range(edge - 3, edge + 70, 7):
        window = Window(row, 0, 3, 300)
        if valid[0][window.slices].all():
            part = read(reader, window)
        else:
            with pytest.warns(UserWarning, match="cannot be read"):
                part = read(reader, window)
        np.testing.assert_array_equal(part[0], got[:, row : row + 3, :300])
        np.testing.assert_array_equal(part[1], valid[:, row : row + 3, :300])


def test_padding_of_the_last_tiles_may_be_missing(tmp_path: Path) -> None:
    pixels = smooth("uint16", (1, 104, 64))
    path = write(tmp_path / "a.tif", pixels, blockxsize=64, blockysize=64)
    full = path.read_bytes()
    path.write_bytes(full[: -23 * 64 * 2])  # of the last 24 rows
    np.testing.assert_array_equal(read(open_file(path).reader, Window(0, 0, 104, 64))[0], pixels)
    path.write_bytes(full[: -25 * 64 * 2])
    with pytest.raises(gx.errors.ReadFailedError, match="the file ends"):
        read(open_file(path).reader, Window(64, 0, 1, 1))


@pytest.mark.parametrize("compress", ["none", "deflate", "lerc"])
def test_a_file_that_changes_after_opening_is_named(tmp_path: Path, compress: str) -> None:
    path = tmp_path / "a.tif"
    pixels = square(path, compress=compress)
    reader, patient = open_file(path).reader, open_file(path, skip=True).reader
    assert total(reader) == pixels.sum()
    path.write_bytes(path.read_bytes())  # in place: the descriptor is still good
    os.utime(path, ns=(0, 0))
    with pytest.raises(gx.errors.ReadFailedError, match=r"a\.tif was changed or removed"):
        total(reader)
    assert total(open_file(path).reader) == pixels.sum()
    path.unlink()
    with pytest.raises(gx.errors.ReadFailedError, match=r"a\.tif was changed or removed"):
        total(reader)
    with pytest.warns(UserWarning, match=r"a\.tif cannot be read and left out"):
        got, valid = read(patient, Window(0, 0, 20, 20))
    assert not valid.any()
    assert not got.any()


def test_gdal_too_leaves_holes_of_whole_blocks(tmp_path: Path) -> None:
    pixels = smooth("uint8", (1, 256, 256))
    path = write(
        tmp_path / "a.tif", pixels, nodata=255, compress="lerc", blockxsize=64, blockysize=64
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(gx.errors.ReadFailedError, match=r"a\.tif: rows 0-256, .* cannot be read"):
        read(open_file(path).reader, Window(0, 0, 256, 256))
    reader = open_file(path, skip=True).reader
    assert isinstance(reader, GdalReader)
    with pytest.warns(UserWarning, match=r"tiles of .*a\.tif cannot be read"):
        got, valid = read(reader, Window(0, 0, 256, 256))
    bad = ~valid.reshape(4, 64, 4, 64)
    np.testing.assert_array_equal(bad.all(axis=(1, 3)), bad.any(axis=(1, 3)))
    assert 2 < bad.all(axis=(1, 3)).sum() < 10
    np.testing.assert_array_equal(got, np.where(valid, pixels, 255))
    with pytest.warns(UserWarning, match="cannot be read"):
        part = read(reader, Window(100, 30, 100, 200))
    np.testing.assert_array_equal(part[1], valid[:, 100:200, 30:230])
    with pytest.warns(UserWarning, match="cannot be read"):
        assert read(reader, Window(0, 0, 256, 256), step=4)[1].any()


@given(cut=st.integers(4, 1500), value=st.binary(min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_damaged_header_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, cut: int, value: bytes
) -> None:
    path = tmp_path_factory.mktemp("bad") / "a.tif"
    write(path, np.ones((1, 40, 40), "uint8"), blockxsize=16, blockysize=16, compress="deflate")
    data = bytearray(path.read_bytes())
    data[cut : cut + len(value)] = value
    path.write_bytes(data)
    with contextlib.suppress(gx.errors.GeoxrError):
        read(open_file(path).reader, Window(0, 0, 1, 1))


def test_strips_that_follow_each_other_are_one_block(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", smooth("uint16"), interleave="band", **STRIPS)
    reader = open_file(path).reader
    assert isinstance(reader, GeotiffReader)
    header = header_of(reader.path, reader.stamp, reader.overviews)
    assert header is not None
    window = Window(0, 0, 30, 30)
    out = np.empty((3, 30, 30), "uint16")
    cut = list(blocks.cut_window(header.levels[0].image, window, out, (0, 1, 2)))
    assert len(cut) == 3


@pytest.mark.usefixtures("no_leftovers")
def test_a_damaged_alpha_or_mask_makes_a_hole_too(tmp_path: Path) -> None:
    alpha = np.full((HEIGHT, WIDTH), 255, "uint8")
    path = rgba(tmp_path / "alpha.tif", alpha, compress="deflate", interleave="band", **TILES)
    damage(path, 3 * 12 + 4)  # fourth band, second row, second column
    colours = gx.open_raster(path, errors="skip").isel(band=slice(0, 3))
    expected = np.ones((HEIGHT, WIDTH), bool)
    expected[16:32, 32:64] = False
    with pytest.warns(UserWarning, match="1 tile of .* rows 16-32, columns 32-64"):
        np.testing.assert_array_equal(colours.geoxr.valid.values, expected)
    with pytest.warns(UserWarning, match="1 tile of"):
        valid = read(open_file(path, skip=True).reader, Window(0, 0, HEIGHT, WIDTH), (2, 0))[1]
    np.testing.assert_array_equal(valid, [expected, expected])
    path = write(tmp_path / "mask.tif", smooth("uint8"), compress="deflate", **TILES)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(smooth("int8")[0] > 5)
    mask = Path(f"{path}.msk")
    mask.write_bytes(mask.read_bytes()[:-20] + b"\xff" * 20)
    with pytest.raises(gx.errors.ReadFailedError, match=r"mask\.tif: .* \(its mask: .*Read"):
        read(open_file(path).reader, Window(0, 0, HEIGHT, WIDTH))
    with pytest.warns(UserWarning, match=r"mask\.tif cannot be read"):
        valid = read(open_file(path, skip=True).reader, Window(0, 0, HEIGHT, WIDTH))[1]
    assert not valid.all()

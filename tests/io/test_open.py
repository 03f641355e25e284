"""What files carry, and what bad ones get."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.features
from affine import Affine

import geoxr as gx
from geoxr.testing import write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)


def test_pixels_bands_nodata_and_grid_are_those_of_the_file(utm_image: Path) -> None:
    layer = gx.open_raster(utm_image)
    with rasterio.open(utm_image) as file:
        np.testing.assert_array_equal(layer.values, file.read())
        assert layer.geoxr.geobox.affine == file.transform
        assert layer.geoxr.bounds == tuple(file.bounds)
        np.testing.assert_array_equal(layer.geoxr.valid.values, file.read_masks(1) > 0)
    assert layer.dtype == "uint16"
    assert layer["band"].values.tolist() == ["red", "green", "nir"]
    assert layer.geoxr.nodata == 0
    assert layer.geoxr.kind == "continuous"
    assert layer.geoxr.resolution == (10.0, 10.0)


def test_bands_by_name_or_number(utm_image: Path) -> None:
    whole = gx.open_raster(utm_image)
    picked = gx.open_raster(utm_image, bands=["nir", 1])
    np.testing.assert_array_equal(picked.values, whole.values[[2, 0]])
    with pytest.raises(gx.errors.ArgumentError, match=r"no band 'blue'.*red, green, nir"):
        gx.open_raster(utm_image, bands=["blue"])


def test_a_mapping_is_a_file_per_band(tmp_path: Path, utm_image: Path) -> None:
    whole = gx.open_raster(utm_image)
    files = {}
    for number, name in enumerate(["red", "green", "nir"]):
        files[name] = write_geotiff(
            tmp_path / f"{name}.tif",
            whole.values[number],
            crs="EPSG:32633",
            transform=UTM,
            nodata=0,
        )
    stacked = gx.open_raster(files)
    np.testing.assert_array_equal(stacked.values, whole.values)
    assert stacked["band"].values.tolist() == ["red", "green", "nir"]
    np.testing.assert_array_equal(stacked.geoxr.valid.values, whole.geoxr.valid.values)


def test_tiles_of_one_lattice_join_without_resampling(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    pixels = rng.integers(1, 255, (100, 100), dtype="uint8")
    # Off whole multiples of the resolution on purpose: joining must not move pixels.
    origin = Affine.translation(500_003, 5_200_004) @ Affine.scale(10, -10)
    for row in (0, 50):
        for col in (0, 50):
            write_geotiff(
                tmp_path / f"{row}_{col}.tif", pixels[row : row + 50, col : col + 50],
                crs="EPSG:32633", transform=origin @ Affine.translation(col, row),
            )  # fmt: skip
    layer = gx.open_raster(tmp_path, resampling="bilinear")
    np.testing.assert_array_equal(layer.values[0], pixels)
    assert layer.geoxr.valid.values.all()


@pytest.mark.parametrize("overlap", ["first", "last", "mean", "median", "min", "max", "count"])
def test_overlapping_scenes_follow_the_rule(tmp_path: Path, overlap: str) -> None:
    stack = np.full((3, 4, 6), 0, "int16")
    stack[0, :, :4], stack[1, :, 2:], stack[2, 1:3, 1:5] = 10, 30, 50
    for number, pixels in enumerate(stack):
        write_geotiff(
            tmp_path / f"{number}.tif", pixels, crs="EPSG:32633", transform=UTM, nodata=0, tiled=False,
            blockxsize=6, blockysize=1,
        )  # fmt: skip
    layer = gx.open_raster(sorted(tmp_path.glob("*.tif")), overlap=overlap)  # type: ignore[arg-type]
    many = np.where(stack == 0, np.nan, stack.astype(float))
    expected = {
        "first": np.where(stack[0] > 0, stack[0], np.where(stack[1] > 0, stack[1], stack[2])),
        "last": np.where(stack[2] > 0, stack[2], np.where(stack[1] > 0, stack[1], stack[0])),
        "mean": np.floor(np.nanmean(many, axis=0) + 0.5),
        "median": np.floor(np.nanmedian(many, axis=0) + 0.5),
        "min": np.nanmin(many, axis=0),
        "max": np.nanmax(many, axis=0),
        "count": (stack > 0).sum(axis=0),
    }[overlap]
    np.testing.assert_array_equal(layer.values[0], expected)


def test_scenes_in_several_zones_need_a_target(tmp_path: Path) -> None:
    ones = np.ones((20, 20), "uint8")
    a = write_geotiff(tmp_path / "a.tif", ones, crs="EPSG:32633", transform=UTM)
    b = write_geotiff(tmp_path / "b.tif", ones, crs="EPSG:32634", transform=UTM)
    with pytest.raises(gx.errors.CRSMismatchError, match=r'EPSG:32633 \(1 scene\).*crs="auto"'):
        gx.open_raster([a, b])


def test_a_scene_without_nodata_value_is_invalid_where_it_does_not_reach(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "a.tif", np.zeros((4, 4), "uint8"), crs=32633, transform=UTM)
    layer = gx.open_raster(tmp_path / "a.tif", bounds=(499_980, 5_199_960, 500_040, 5_200_000))
    expected = np.array([[False, False, True, True, True, True]] * 4)
    np.testing.assert_array_equal(layer.geoxr.valid.values, expected)


def test_float_nan_and_mask_bands_are_invalid(tmp_path: Path) -> None:
    data = np.array([[1.0, np.nan], [3.0, 4.0]], "float32")
    write_geotiff(tmp_path / "nan.tif", data, crs=32633, transform=UTM, tiled=False)
    np.testing.assert_array_equal(
        gx.open_raster(tmp_path / "nan.tif").geoxr.valid.values, ~np.isnan(data)
    )
    path = write_geotiff(
        tmp_path / "mask.tif", np.ones((2, 2), "uint8"), crs=32633, transform=UTM, tiled=False
    )
    with rasterio.open(path, "r+") as file:
        file.write_mask(np.array([[True, True], [False, True]]))
    layer = gx.open_raster(path)
    np.testing.assert_array_equal(layer.geoxr.valid.values, [[True, True], [False, True]])
    ds = gx.merge({"image": layer})
    assert "image_valid" in ds
    assert ds["image"].attrs["ancillary_variables"] == "image_valid"


def test_a_palette_makes_labels(tmp_path: Path) -> None:
    path = write_geotiff(
        tmp_path / "p.tif", np.array([[1, 5]], "uint8"), crs=32633, transform=UTM,
        colormap={1: (255, 211, 0), 5: (37, 111, 0)}, tiled=False,
    )  # fmt: skip
    layer = gx.open_raster(path)
    assert layer.geoxr.kind == "categorical"
    classes = layer.geoxr.present_classes()
    assert (classes.values, classes.colors) == ((1, 5), ("#ffd300", "#256f00"))


def test_missing_crs_is_allowed_until_it_is_needed(tmp_path: Path, utm_image: Path) -> None:
    path = write_geotiff(tmp_path / "no.tif", np.ones((4, 4), "uint8"), crs=None, transform=UTM)
    layer = gx.open_raster(path)
    assert layer.geoxr.crs is None
    assert layer.values.sum() == 16
    with pytest.raises(gx.errors.MissingCRSError, match="write_crs"):
        layer.geoxr.reproject_match(gx.open_raster(utm_image, crs="EPSG:4326"))
    with pytest.raises(gx.errors.MissingCRSError, match="Layer 'a' has no coordinate reference"):
        gx.merge({"a": layer, "b": gx.open_raster(utm_image)})
    assert layer.geoxr.write_crs("EPSG:32633").geoxr.crs.epsg == 32633
    assert gx.open_raster(path, crs="EPSG:32633").geoxr.crs.epsg == 32633


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(gx.errors.MissingFileError, match=r"none\.tif does not exist"):
        gx.open_raster(tmp_path / "none.tif")
    with pytest.raises(gx.errors.MissingFileError, match="matches no file"):
        gx.open_raster(str(tmp_path / "*.tif"))
    (tmp_path / "text.tif").write_text("not a raster")
    with pytest.raises(gx.errors.NotARasterError, match=r"text\.tif is not a raster"):
        gx.open_raster(tmp_path / "text.tif")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no files"):
        gx.open_raster(tmp_path / "empty")


def test_a_truncated_file_says_which_rows(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write_geotiff(
        tmp_path / "t.tif",
        rng.integers(0, 255, (600, 600), dtype="uint8"),
        crs=32633,
        transform=UTM,
    )
    path.write_bytes(path.read_bytes()[:200_000])
    layer = gx.open_raster(path)
    with pytest.raises(gx.errors.ReadFailedError, match=r"t\.tif: rows .* cannot be read"):
        layer.load()


def test_a_file_written_anew_is_not_read_through_the_old_handle(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", np.ones((8, 8), "uint8"), crs=32633, transform=UTM)
    old = gx.open_raster(path)
    assert old.values.max() == 1
    path.unlink()
    write_geotiff(path, np.full((9, 9), 2, "uint8"), crs=32633, transform=UTM)
    assert gx.open_raster(path).values.min() == 2
    # A thread that has not read the old file yet cannot any more.
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(gx.errors.ReadFailedError, match="was changed or removed"),
    ):
        pool.submit(lambda: old.values).result()


def test_relative_paths_survive_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_geotiff(tmp_path / "a.tif", np.ones((8, 8), "uint8"), crs=32633, transform=UTM)
    monkeypatch.chdir(tmp_path)
    layer = gx.open_raster("a.tif")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert layer.values.sum() == 64


def test_a_crs_written_onto_a_layer_counts_everywhere(tmp_path: Path, utm_image: Path) -> None:
    layer = gx.open_raster(utm_image).geoxr.write_crs("EPSG:32634")
    assert gx.merge({"image": layer}).geoxr.crs.epsg == 32634
    with rasterio.open(layer.geoxr.to_cog(tmp_path / "c.tif")) as file:
        assert file.crs.to_epsg() == 32634
    moved = gx.open_raster(utm_image)
    moved = moved.assign_coords(x=moved.x + 1000)
    with rasterio.open(moved.geoxr.to_cog(tmp_path / "d.tif")) as file:
        assert file.transform.c == UTM.c + 1000


def test_a_nodata_value_no_pixel_can_have_is_refused(utm_image: Path) -> None:
    with pytest.raises(gx.errors.ArgumentError, match="no pixel of type uint16"):
        gx.open_raster(utm_image, nodata=-9999)


def test_bands_of_labels_are_not_blended(tmp_path: Path) -> None:
    codes = np.kron(np.array([[0, 1024]], "uint16"), np.ones((8, 4), "uint16"))
    half = UTM @ Affine.translation(0.5, 0.5)
    files = {
        "a": write_geotiff(tmp_path / "a.tif", codes, crs=32633, transform=UTM),
        "b": write_geotiff(tmp_path / "b.tif", codes, crs=32633, transform=half),
    }
    layer = gx.open_raster(files, kind="categorical")
    assert set(np.unique(layer.values)) == {0, 1024}


def test_files_that_cannot_be_opened_are_named_or_left_out(tmp_path: Path, utm_image: Path) -> None:
    text = tmp_path / "text.tif"
    text.write_text("no raster")
    with pytest.raises(gx.errors.NotARasterError, match=r"text\.tif"):
        gx.open_raster([utm_image, text])
    with pytest.warns(UserWarning, match=r"1 of 2 scenes were left out: .*text\.tif"):
        layer = gx.open_raster([utm_image, text], errors="skip")
    np.testing.assert_array_equal(layer.values, gx.open_raster(utm_image).values)
    with pytest.raises(gx.errors.NotARasterError, match="None of 1 files"):
        gx.open_raster([text], errors="skip")


def test_plain_files_have_no_dates(utm_image: Path) -> None:
    with pytest.raises(gx.errors.ArgumentError, match="time='each' needs dates"):
        gx.open_raster(utm_image, time="each")

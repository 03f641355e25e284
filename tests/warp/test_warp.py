"""The warp against per-pixel PROJ and against GDAL at its most exact."""

from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

import geoxr as gx
from geoxr.grid.geobox import geobox_of
from geoxr.grid.window import Window
from geoxr.io.reader import read_window
from geoxr.io.resolve import resolve
from geoxr.warp.gather import Source
from geoxr.warp.lattice import Lattice


def exact_positions(source: GeoBox, target: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """Source columns and rows of all target pixel centres, each through PROJ alone."""
    rows, cols = np.mgrid[: target.height, : target.width] + 0.5
    x, y = target.affine @ (cols, rows)
    change = pyproj.Transformer.from_crs(target.crs.proj, source.crs.proj, always_xy=True)
    return ~source.affine @ change.transform(x, y)


def exact_nearest(layer: xr.DataArray, target: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    source = geobox_of(layer)
    cols, rows = exact_positions(source, target)
    col, row = np.floor(cols).astype(int), np.floor(rows).astype(int)
    inside = (col >= 0) & (row >= 0) & (col < source.width) & (row < source.height)
    values = layer.values.reshape(-1, *source.shape)[0]
    return values[row.clip(0, source.height - 1), col.clip(0, source.width - 1)], inside


def test_nearest_labels_equal_per_pixel_proj(utm_image: Path, label_3035: Path) -> None:
    image, label = gx.open_raster(utm_image), gx.open_raster(label_3035, kind="categorical")
    warped = label.geoxr.reproject_match(image)
    expected, inside = exact_nearest(label, geobox_of(image))
    assert inside.all()
    assert np.mean(warped.values[0] != expected) <= 1e-4


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4326", "EPSG:5070", "EPSG:32614"])
def test_coordinates_are_right_to_a_ten_thousandth_of_a_pixel(crs: str) -> None:
    source = GeoBox((3000, 3000), Affine(30, 0, 400_000, 0, -30, 4_600_000), "EPSG:32615")
    target = GeoBox((600, 700), Affine(30, 0, 0, 0, -30, 0), crs)
    middle = pyproj.Transformer.from_crs("EPSG:32615", crs, always_xy=True).transform(
        445_000, 4_555_000
    )
    size = 3e-4 if crs == "EPSG:4326" else 30.0
    target = GeoBox((600, 700), Affine(size, 0, middle[0], 0, -size, middle[1]), crs)
    x, y = Lattice(source, target).coordinates(Window(0, 0, 600, 700))
    true_x, true_y = exact_positions(source, target)
    assert max(np.abs(x - true_x).max(), np.abs(y - true_y).max()) < 1.2e-4


def test_a_strongly_curved_projection_refines_itself() -> None:
    source = GeoBox((2000, 4000), Affine(0.09, 0, -180, 0, -0.09, 90), "EPSG:4326")
    target = GeoBox((800, 800), Affine(25_000, 0, -1e7, 0, -25_000, 1e7), "EPSG:3573")  # polar
    x, y = Lattice(source, target).coordinates(Window(0, 0, 800, 800))
    true_x, true_y = exact_positions(source, target)
    good = np.isfinite(true_x)
    assert np.abs(x - true_x)[good].max() < 1.2e-4
    assert np.abs(y - true_y)[good].max() < 1.2e-4


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 300), st.integers(1, 300))
def test_any_window_of_the_lattice_equals_the_whole(
    row: int, col: int, high: int, wide: int
) -> None:
    source = GeoBox((3000, 3000), Affine(30, 0, 400_000, 0, -30, 4_600_000), "EPSG:32615")
    target = GeoBox((800, 800), Affine(30, 0, 150_000, 0, -30, 2_000_000), "EPSG:5070")
    lattice = Lattice(source, target)
    whole = lattice.coordinates(Window(0, 0, 800, 800))
    part = lattice.coordinates(Window(row, col, high, wide))
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_array_equal(a[row : row + high, col : col + wide], b)


@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
def test_any_window_of_a_layer_equals_the_whole(utm_image: Path, resampling: str) -> None:
    layer = gx.open_raster(utm_image, crs="EPSG:3035", resampling=resampling)
    whole = layer.values
    for rows, cols in [((0, 40), (0, 60)), ((33, 97), (70, 71)), ((100, 101), (5, 180))]:
        part = layer.isel(y=slice(*rows), x=slice(*cols))
        np.testing.assert_array_equal(part.values, whole[:, slice(*rows), slice(*cols)])


@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
def test_pixels_and_validity_equal_the_exact_gdal_warp(utm_image: Path, resampling: str) -> None:
    """GDAL with its approximation off (tolerance) and no widened kernel (XSCALE, YSCALE)."""
    layer = gx.open_raster(utm_image, crs="EPSG:3035", resolution=10, resampling=resampling)
    geobox = geobox_of(layer)
    with rasterio.open(utm_image) as file, WarpedVRT(
        file, crs=geobox.crs.to_wkt(), transform=geobox.affine, width=geobox.width,
        height=geobox.height, resampling=Resampling[resampling], tolerance=1e-9,
        XSCALE=1,
        YSCALE=1,
    ) as vrt:  # fmt: skip
        expected = vrt.read().astype(int)
    found = layer.values.astype(int)
    differs = (found != 0) != (expected != 0)
    assert differs.mean() < 1e-4
    both = (found != 0) & (expected != 0)
    off = np.abs(found - expected)[both]
    assert (off > (0 if resampling == "nearest" else 1)).mean() < 2e-4


def test_registration_has_no_shift(utm_image: Path) -> None:
    """There and back again, then the best match at sub-pixel shifts is no shift."""
    image = gx.open_raster(utm_image)
    there = gx.open_raster(utm_image, crs="EPSG:3035", resampling="bilinear")
    back = there.geoxr.reproject_match(image, resampling="bilinear")
    a, b = image.values[0].astype(float), back.values[0].astype(float)
    inner = (slice(20, 60), slice(60, 180))
    errors = {
        (dy, dx): np.abs(a[inner] - np.roll(b, (dy, dx), (0, 1))[inner]).mean()
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    }
    assert min(errors, key=errors.__getitem__) == (0, 0)


def test_ties_go_right_and_down() -> None:
    """Target centres on source edges belong to the right and lower cell."""
    data = np.arange(12, dtype="int32").reshape(3, 4)
    source = GeoBox((3, 4), Affine(10, 0, 0, 0, -10, 30), "EPSG:32633")
    layer = _in_memory(data, source)
    target = GeoBox((2, 3), Affine(10, 0, 5, 0, -10, 25), "EPSG:32633")
    warped = gx.reproject(layer, geobox=target, resampling="nearest")
    np.testing.assert_array_equal(warped.values, data[1:, 1:])


def test_bilinear_between_pixels_is_their_mean_and_edges_are_kept() -> None:
    data = np.array([[0.0, 10.0], [20.0, 30.0]])
    source = GeoBox((2, 2), Affine(10, 0, 0, 0, -10, 20), "EPSG:32633")
    target = GeoBox((1, 3), Affine(10, 0, -5, 0, -10, 15), "EPSG:32633")
    warped = gx.reproject(_in_memory(data, source), geobox=target, resampling="bilinear")
    # Centres at x = 0 (on the outer edge, where there are only pixels 0 and 20), 10, and 20 (outside).
    np.testing.assert_array_equal(warped.values, [[10.0, 15.0, np.nan]])


def test_a_neighbour_without_data_is_left_out_and_the_rest_weighs_more() -> None:
    data = np.array([[8.0, np.nan, 4.0]])
    source = GeoBox((1, 3), Affine(10, 0, 0, 0, -10, 10), "EPSG:32633")
    # Centres a quarter pixel right of the first, and right of the second (whose own pixel is gone).
    target = GeoBox((1, 2), Affine(10, 0, 2.5, 0, -10, 10), "EPSG:32633")
    warped = gx.reproject(_in_memory(data, source), geobox=target, resampling="bilinear")
    np.testing.assert_array_equal(warped.values, [[8.0, np.nan]])


def test_a_result_that_happens_to_be_nodata_stays_valid() -> None:
    data = np.array([[-2, 2]], dtype="int16")
    source = GeoBox((1, 2), Affine(10, 0, 0, 0, -10, 10), "EPSG:32633")
    layer = _in_memory(data, source).geoxr.write_nodata(0)
    target = GeoBox((1, 1), Affine(10, 0, 5, 0, -10, 10), "EPSG:32633")
    warped = gx.reproject(layer, geobox=target, resampling="bilinear")
    assert warped.geoxr.valid.values.all()
    assert warped.values.item() == 1


def test_the_same_lattice_is_sliced_not_resampled(utm_image: Path) -> None:
    image = gx.open_raster(utm_image)
    part = image.isel(y=slice(10, 60), x=slice(20, 90))
    moved = image.geoxr.reproject_match(part)
    assert type(resolve(moved).reader).__name__ == "Cropped"
    np.testing.assert_array_equal(moved.values, part.values)


def test_matched_layers_merge_exactly_in_plain_xarray(utm_image: Path, label_3035: Path) -> None:
    image = gx.open_raster(utm_image).rename("image")
    label = gx.open_raster(label_3035, kind="categorical").rename("label").isel(band=0, drop=True)
    merged = xr.merge([image, label.geoxr.reproject_match(image)], join="exact", compat="equals")
    assert merged.sizes == {"band": 3, "y": 150, "x": 200}


def test_layers_apart_are_told_with_both_places(utm_image: Path) -> None:
    image = gx.open_raster(utm_image)
    far = GeoBox((10, 10), Affine(10, 0, 500_000, 0, -10, 200_000), "EPSG:32633")
    with pytest.raises(gx.errors.NoOverlapError, match=r"46\.9.*in EPSG:4326.*1\.8.*in EPSG:4326"):
        image.geoxr.reproject(geobox=far)


def _in_memory(data: np.ndarray, geobox: GeoBox) -> xr.DataArray:
    from geoxr.grid.coords import coords_of

    return xr.DataArray(data, dims=("y", "x"), coords=coords_of(geobox), name="layer")


def test_zeros_of_a_layer_without_nodata_stay_zeros(tmp_path: Path) -> None:
    from geoxr.testing import write_geotiff

    path = write_geotiff(
        tmp_path / "z.tif", np.zeros((60, 60), "uint8"), crs=32633,
        transform=Affine(10, 0, 500_000, 0, -10, 5_200_000),
    )  # fmt: skip
    assert gx.open_raster(path).geoxr.reproject(resolution=7).values.max() == 0


def test_a_global_layer_meets_a_utm_grid(tmp_path: Path, utm_image: Path) -> None:
    """Its outline has no place in UTM, its pixels do."""
    from geoxr.testing import write_geotiff

    rows, cols = np.mgrid[:180, :360]
    path = write_geotiff(
        tmp_path / "world.tif", (rows * 360 + cols).astype("int32"), crs=4326,
        transform=Affine(1, 0, -180, 0, -1, 90),
    )  # fmt: skip
    image = gx.open_raster(utm_image)
    world = gx.open_raster(path, kind="categorical")
    warped = world.geoxr.reproject_match(image)
    expected, _ = exact_nearest(world, geobox_of(image))
    np.testing.assert_array_equal(warped.values[0], expected)
    assert warped.geoxr.valid.values.all()
    merged = gx.merge({"image": image, "world": world.rename("world")})
    np.testing.assert_array_equal(merged["world"].values[0], expected)


def test_bounds_that_miss_the_file_are_told(utm_image: Path) -> None:
    with pytest.raises(gx.errors.NoOverlapError, match="does not meet the target grid"):
        gx.open_raster(utm_image, bounds=(0, 0, 1000, 1000))


def test_a_preview_of_a_turned_strip_reads_no_more_than_a_piece(
    tmp_path: Path, monkeypatch
) -> None:
    """A strip of 4000 x 40 pixels lies along the rows of a target."""
    monkeypatch.setattr("geoxr.warp.warped.PIECE", 4000)
    rows = np.repeat(np.arange(4000, dtype="uint16")[:, None], 40, axis=1)
    upright = GeoBox((4000, 40), Affine(10, 0, 5e5, 0, -10, 5.2e6), "EPSG:32633")
    path = tmp_path / "strip.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=4000, width=40, count=1, dtype="uint16", nodata=65535,
        crs="EPSG:32633", transform=upright.affine,
    ) as file:  # fmt: skip
        file.write(rows, 1)
    lying = GeoBox((40, 4000), Affine(0, 10.01, 5e5, -10, 0, 5.2e6), "EPSG:32633")
    layer = gx.open_raster(path).geoxr.reproject(geobox=lying, resampling="nearest")
    taken = []
    load = Source.load

    def counted(reader, window, bands, times, step=1):
        taken.append(load(reader, window, bands, times, step))
        return taken[-1]

    monkeypatch.setattr(Source, "load", staticmethod(counted))
    pixels, valid = read_window(resolve(layer).reader, Window(0, 0, 40, 4000), step=20)
    assert sum(source.pixels.size for source in taken) <= 4400
    assert valid.mean() > 0.9
    expected = np.arange(200) * 20 + 10
    assert np.abs(pixels[0, 0, 0].astype(int) - expected)[valid[0, 0, 0]].max() <= 20

"""`gx.mosaic`: layers of the same bands as one."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from affine import Affine

import geoxr as gx
from geoxr.testing import write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)


def test_windows_of_one_layer_make_the_layer_again(utm_image: Path) -> None:
    whole = gx.open_raster(utm_image)
    parts = [
        whole.isel(y=slice(row, row + 80), x=slice(col, col + 110))
        for row in (0, 75)
        for col in (0, 100)
    ]
    again = gx.mosaic(parts[::-1])
    xr.testing.assert_identical(again.load(), whole.load())


@pytest.mark.parametrize("overlap", ["first", "last", "max", "count"])
def test_layers_in_other_crss_come_onto_the_lattice_of_the_first(
    tmp_path: Path, overlap: str
) -> None:
    rng = np.random.default_rng(0)
    paths = []
    for crs, transform in ((32633, UTM), (3035, Affine(10, 0, 4_701_500, 0, -10, 2_662_500))):
        pixels = rng.integers(0, 200, (2, 100, 120), dtype="uint8")
        path = tmp_path / f"{crs}.tif"
        paths.append(write_geotiff(path, pixels, crs=crs, transform=transform, nodata=0))
    one, two = (gx.open_raster(path) for path in paths)
    layer = gx.mosaic([one, two], overlap=overlap)  # type: ignore[arg-type]
    grid = layer.geoxr.geobox
    assert layer.geoxr.crs.epsg == 32633
    assert ((grid.affine.c - 500_000) % 10, (grid.affine.f - 5_200_000) % 10) == (0, 0)
    first = gx.open_raster(paths[0], like=grid).values
    second = gx.open_raster(paths[1], like=grid).values
    assert (first[0] > 0).sum() > 11_000
    assert (second[0] > 0).sum() > 11_000
    expected = {
        "first": np.where(first > 0, first, second),
        "last": np.where(second > 0, second, first),
        "max": np.maximum(first, second),
        "count": (first > 0).astype(int) + (second > 0),
    }[overlap]
    np.testing.assert_array_equal(layer.values, expected)


def test_different_nodata_values_leave_validity_right() -> None:
    def layer(values: list[int], col: int, nodata: int) -> xr.DataArray:
        x = 10.0 * (np.arange(2) + col) + 5
        pixels = np.array([values, values], "uint8")
        array = xr.DataArray(pixels, dims=("y", "x"), coords={"y": [15.0, 5.0], "x": x})
        return array.geoxr.write_crs(32633).geoxr.write_nodata(nodata)

    joined = gx.mosaic([layer([0, 7], 0, 0), layer([255, 0], 2, 255)])
    assert joined.geoxr.nodata is None
    assert joined.geoxr.valid.values[0].tolist() == [False, True, False, True]
    assert joined.values[0, [1, 3]].tolist() == [7, 0]


def test_what_lies_between_layers_is_missing(utm_image: Path) -> None:
    whole = gx.open_raster(utm_image)
    joined = gx.mosaic([whole.isel(x=slice(0, 20)), whole.isel(x=slice(60, 80))])
    assert joined.sizes["x"] == 80
    valid = joined.geoxr.valid.values
    assert not valid[:, 20:60].any()
    np.testing.assert_array_equal(joined.values[:, :, 60:], whole.values[:, :, 60:80])


def test_unlike_layers_are_named(tmp_path: Path, utm_image: Path) -> None:
    image = gx.open_raster(utm_image)
    label = write_geotiff(
        tmp_path / "label.tif", np.ones((8, 8), "uint8"), crs=32633, transform=UTM,
        colormap={1: (255, 0, 0)},
    )  # fmt: skip
    label_layer = gx.open_raster(label)
    plain = gx.open_raster(label, kind="continuous")
    for layers, message in (
        ([], "no layer"),
        ([image, "x.tif"], "Layer 2 is a str"),
        (
            [image, image.isel(band=[0])],
            r"1 \(image\) has bands \['red'.*2 \(image\) has \['red'\]",
        ),
        ([plain, plain.astype("int16")], "type uint8, layer 2 .* has int16"),
        ([plain, label_layer], "kind continuous, layer 2 .* has categorical"),
        ([plain, plain.assign_attrs(units="K")], "units DN, layer 2 .* has K"),
        (
            [
                label_layer.geoxr.write_classes({1: "corn"}),
                label_layer.geoxr.write_classes({1: "rye"}),
            ],
            "corn.*rye",
        ),
    ):
        with pytest.raises(gx.errors.ArgumentError, match=message):
            gx.mosaic(layers)  # type: ignore[arg-type]
    with pytest.raises(gx.errors.ArgumentError, match="codes of classes"):
        gx.mosaic([label_layer], overlap="mean")
    with pytest.raises(gx.errors.ArgumentError, match="overlap is 'best'"):
        gx.mosaic([plain], overlap="best")  # type: ignore[arg-type]
    no_crs = plain.copy()
    no_crs["spatial_ref"] = no_crs["spatial_ref"].copy()
    del no_crs["spatial_ref"].attrs["crs_wkt"], no_crs["spatial_ref"].attrs["spatial_ref"]
    with pytest.raises(gx.errors.MissingCRSError, match="Layer 2"):
        gx.mosaic([plain, no_crs])


def test_layers_whose_bands_have_other_scales_are_not_mixed(utm_image: Path) -> None:
    layer = gx.open_raster(utm_image)
    one = layer.assign_coords(scale=("band", [0.1, 0.1, 0.5]))
    other = layer.assign_coords(scale=("band", [0.1, 0.2, 0.5]))
    with pytest.raises(gx.errors.ArgumentError, match=r"scale \[0.1, 0.1, 0.5\].*0.2"):
        gx.mosaic([one, other])
    assert gx.mosaic([one, one])["scale"].values.tolist() == [0.1, 0.1, 0.5]


def test_layers_of_others_are_laid_out(utm_image: Path) -> None:
    layer = gx.open_raster(utm_image)
    others = layer.astype("float32").where(layer != 0).drop_attrs(deep=False)
    others = others.rename(y="lat", x="lon")
    joined = gx.mosaic([others.isel(lon=slice(0, 50)), others.isel(lon=slice(50, None))])
    np.testing.assert_array_equal(joined.values, others.values)

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.testing import LandsatCDL, write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)


def test_layers_of_several_crs_share_the_grid_of_like(farmland: LandsatCDL) -> None:
    image = gx.open_product("landsat8-l2-sr", farmland.scenes, time="collapse", crs="auto")
    label = gx.open_product("cdl", farmland.cdl)
    ds = gx.merge({"image": image, "mask": label}, like="mask")
    assert ds.geoxr.crs.epsg == 5070
    assert ds["image"].geoxr.geobox == ds["mask"].geoxr.geobox == ds.geoxr.geobox
    assert ds["image"].dims == ("band", "y", "x")
    assert ds["mask"].geoxr.classes.names[0] == "Corn"
    assert ds["image"]["common_name"].values.tolist()[3] == "red"
    whole = label.sel(y=ds.y, x=ds.x)
    np.testing.assert_array_equal(ds["mask"].values, whole.values)


def test_inner_is_what_all_share_and_outer_what_any_covers(tmp_path: Path) -> None:
    a = write_geotiff(tmp_path / "a.tif", np.full((10, 10), 3, "uint8"), crs=32633, transform=UTM)
    moved = UTM @ Affine.translation(4, -2)
    b = write_geotiff(tmp_path / "b.tif", np.full((10, 10), 7, "uint8"), crs=32633, transform=moved)
    layers = {"a": gx.open_raster(a), "b": gx.open_raster(b)}
    inner = gx.merge(layers)
    assert (inner.sizes["y"], inner.sizes["x"]) == (8, 6)
    assert (inner["a"].values == 3).all()
    assert (inner["b"].values == 7).all()
    assert "a_valid" not in inner
    outer = gx.merge(layers, join="outer")
    assert (outer.sizes["y"], outer.sizes["x"]) == (12, 14)
    assert outer["a_valid"].values.sum() == outer["b_valid"].values.sum() == 100
    assert (outer["a"].values[0][outer["a_valid"].values] == 3).all()
    assert (outer["b"].values[0][outer["b_valid"].values] == 7).all()


def test_like_can_be_a_geobox(utm_image: Path, label_3035: Path) -> None:
    geobox = GeoBox((50, 60), UTM @ Affine.translation(20, 20), "EPSG:32633")
    layers = {
        "image": gx.open_raster(utm_image),
        "mask": gx.open_raster(label_3035, kind="categorical"),
    }
    assert gx.merge(layers, like=geobox).geoxr.geobox == geobox


def test_layers_without_common_ground_are_told_with_both_places(
    tmp_path: Path, utm_image: Path
) -> None:
    far = write_geotiff(
        tmp_path / "far.tif",
        np.ones((10, 10), "uint8"),
        crs=32633,
        transform=Affine(10, 0, 5e5, 0, -10, 2e5),
    )
    layers = {"image": gx.open_raster(utm_image), "mask": gx.open_raster(far)}
    with pytest.raises(
        gx.errors.NoOverlapError, match=r"'mask'.*1\.8.*EPSG:4326.*46\.9.*EPSG:4326"
    ):
        gx.merge(layers)


def test_bad_arguments_are_named(utm_image: Path) -> None:
    image = gx.open_raster(utm_image)
    with pytest.raises(gx.errors.ArgumentError, match="nothing to merge"):
        gx.merge({})
    with pytest.raises(gx.errors.ArgumentError, match="'mask' is none of the layers image"):
        gx.merge({"image": image}, like="mask")
    with pytest.raises(gx.errors.ArgumentError, match='must be "inner" or "outer"'):
        gx.merge({"image": image}, join="left")  # type: ignore[arg-type]


def test_layers_with_other_bands_keep_their_own(utm_image: Path) -> None:
    image = gx.open_raster(utm_image)
    other = gx.open_raster(utm_image, bands=["nir"])
    ds = gx.merge({"image": image, "radar": other})
    assert ds["radar"].dims == ("band_radar", "y", "x")
    assert ds["radar"].dtype == "uint16"
    np.testing.assert_array_equal(ds["radar"].values[0], image.values[2])
    np.testing.assert_array_equal(ds["image"].values, image.values)
    joined = {"image": ["image", "radar"]}
    batch = next(iter(ds.geoxr.to_torch(ds.geoxr.grid_chips(50), batch_size=2, concat=joined)))
    assert batch["image"].shape == (2, 4, 50, 50)
    assert (batch["image"][:, 2] == batch["image"][:, 3]).all()


def test_a_picked_date_has_no_time_axis(farmland: LandsatCDL) -> None:
    series = gx.open_product("landsat8-l2-sr", farmland.scenes, crs="auto")
    one = series.isel(time=1)
    for layer in (gx.merge({"image": one})["image"], one.geoxr.reproject("EPSG:5070")):
        assert layer.dims == ("band", "y", "x")
    assert one.geoxr.valid.dims == ("y", "x")
    np.testing.assert_array_equal(gx.merge({"image": one})["image"].values, series.values[1])
    ds = one.to_dataset(name="image")
    batch = next(iter(ds.geoxr.to_torch(ds.geoxr.grid_chips(64), batch_size=2)))
    assert batch["image"].shape == (2, 7, 64, 64)


def test_layers_of_different_dates_are_told(farmland: LandsatCDL) -> None:
    series = gx.open_product("landsat8-l2-sr", farmland.scenes, crs="auto")
    with pytest.raises(gx.errors.ArgumentError, match="'a' has 2, 'b' has 1"):
        gx.merge({"a": series, "b": series.isel(time=[0])})


def test_every_verb_asks_what_computed_integers_mean(tmp_path: Path, utm_image: Path) -> None:
    loaded = gx.open_raster(utm_image).load()
    for verb in (
        lambda: gx.merge({"image": loaded}),
        lambda: loaded.geoxr.reproject("EPSG:3035"),
        lambda: loaded.geoxr.to_cog(tmp_path / "c.tif"),
        lambda: loaded.geoxr.to_zarr(tmp_path / "c.zarr"),
        lambda: loaded.to_dataset(name="a").geoxr.random_chips(16, 2, min_valid=0.5),
    ):
        with pytest.raises(gx.errors.ValidityError, match="write_nodata"):
            verb()
    assert list(tmp_path.iterdir()) == [utm_image]


def test_a_mean_that_happens_to_be_nodata_stays_valid(tmp_path: Path) -> None:
    for number, value in enumerate((-1, 1)):
        write_geotiff(
            tmp_path / f"{number}.tif",
            np.full((4, 4), value, "int16"),
            crs=32633,
            transform=UTM,
            nodata=0,
        )
    layer = gx.open_raster(tmp_path, overlap="mean")
    assert layer.geoxr.valid.values.all()
    assert (layer.values == 1).all()


@pytest.fixture
def packed(tmp_path: Path) -> xr.DataArray:
    """Two bands of int16 with a scale, an offset and a unit each, and nodata 0."""
    pixels = np.arange(2 * 12 * 16, dtype="int16").reshape(2, 12, 16)
    path = write_geotiff(tmp_path / "packed.tif", pixels, crs=32633, transform=UTM, nodata=0)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets, file.units = (0.1, 0.5), (1.0, 7.0), ("K", "m")
    return gx.open_raster(path)


@pytest.fixture
def plain(tmp_path: Path) -> xr.DataArray:
    """Three bands on the grid of `packed` without scale."""
    pixels = np.ones((3, 12, 16), "uint8")
    return gx.open_raster(write_geotiff(tmp_path / "plain.tif", pixels, crs=32633, transform=UTM))


def decoded(da: xr.DataArray) -> np.ndarray:
    scale, offset = np.array([0.1, 0.5])[:, None, None], np.array([1.0, 7.0])[:, None, None]
    return np.where(da.values != 0, da.values * scale + offset, np.nan).astype("float32")


@pytest.mark.parametrize("order", [("plain", "packed"), ("packed", "plain")])
def test_each_layer_is_decoded_by_its_own_scales(
    packed: xr.DataArray, plain: xr.DataArray, tmp_path: Path, order: tuple[str, str]
) -> None:
    layers = {"plain": plain, "packed": packed}
    merged = gx.merge({name: layers[name] for name in order})
    merged.geoxr.to_zarr(tmp_path / "m.zarr")
    again = gx.merge({"plain": plain, "packed": merged["packed"]})
    for ds in (merged, gx.open_zarr(tmp_path / "m.zarr"), again):
        result = ds.geoxr.decode()
        np.testing.assert_array_equal(result["packed"].values, decoded(packed))
        assert result["packed"]["units_packed"].values.tolist() == ["K", "m"]
        assert not [name for name in result.coords if str(name).startswith(("scale", "offset"))]
        assert result["plain"].dtype == "uint8"


def test_the_scale_of_one_band_is_not_given_to_other_layers(
    packed: xr.DataArray, plain: xr.DataArray
) -> None:
    dem = plain.isel(band=0, drop=True)
    ds = gx.merge({"packed": packed, "dem": dem}).isel(band=1)
    result = ds.geoxr.decode()
    assert result["dem"].dtype == "uint8"
    np.testing.assert_array_equal(result["packed"].values, decoded(packed)[1])


def test_images_of_the_same_bands_share_their_scales(packed: xr.DataArray) -> None:
    ds = gx.merge({"before": packed, "after": packed})
    assert ds["after"].dims == ("band", "y", "x")
    assert ds["scale"].values.tolist() == [0.1, 0.5]
    np.testing.assert_array_equal(ds.geoxr.decode()["after"].values, decoded(packed))


def test_bands_and_dates_picked_from_one_layer_are_merged(packed: xr.DataArray) -> None:
    red, nir = packed.isel(band=0), packed.isel(band=1)
    before = red.assign_coords(time=np.datetime64("2020-01-01", "ns"))
    ds = gx.merge({"before": before, "nir": nir, "both": packed})
    assert ds["time_before"].values == before["time"].values
    assert (ds["band_before"].item(), ds["band_nir"].item()) == ("1", "2")
    result = ds.geoxr.decode()
    np.testing.assert_array_equal(result["before"].values, decoded(packed)[0])
    np.testing.assert_array_equal(result["nir"].values, decoded(packed)[1])
    np.testing.assert_array_equal(result["both"].values, decoded(packed))
    same = gx.merge({"a": before, "b": before})
    assert same["time"].values == before["time"].values

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

import geoxr as gx
from geoxr.export import cog, zarr
from geoxr.io.geotiff import GeotiffReader
from geoxr.testing import LandsatCDL


@pytest.fixture
def ds(farmland: LandsatCDL) -> xr.Dataset:
    image = gx.open_product("landsat8-l2-sr", farmland.scenes, time="collapse", crs="auto")
    return gx.merge({"image": image, "mask": gx.open_product("cdl", farmland.cdl)}, like="mask")


@pytest.mark.parametrize("shards", [None, 128])
def test_zarr_gives_back_what_was_written(
    ds: xr.Dataset, tmp_path: Path, shards: int | None
) -> None:
    ds.geoxr.to_zarr(tmp_path / "c.zarr", chunks=64, shards=shards)
    back = gx.open_zarr(tmp_path / "c.zarr")
    xr.testing.assert_equal(back.compute(), ds.compute())
    assert back["image"].dtype == "uint16"
    assert back["mask"].dtype == "uint8"
    assert back.geoxr.geobox == ds.geoxr.geobox
    assert back["mask"].geoxr.classes == ds["mask"].geoxr.classes
    assert back["image"].geoxr.nodata == 0
    assert back["image"].attrs == ds["image"].attrs
    np.testing.assert_array_equal(back["image"].geoxr.valid, ds["image"].geoxr.valid)
    batch = next(iter(back.geoxr.to_torch(back.geoxr.grid_chips(64), batch_size=2)))
    expected = next(iter(ds.geoxr.to_torch(ds.geoxr.grid_chips(64), batch_size=2)))
    assert (batch["image"] == expected["image"]).all()


def test_zarr_is_lazy_and_small_to_send(ds: xr.Dataset, tmp_path: Path) -> None:
    import pickle

    ds.geoxr.to_zarr(tmp_path / "c.zarr", chunks=64)
    back = gx.open_zarr(tmp_path / "c.zarr")
    assert len(pickle.dumps(back)) <= 2 * sum(c.nbytes for c in back.coords.values()) + 20_000
    with gx.options.set(max_read=1000), pytest.raises(gx.errors.TooLargeError, match="max_read"):
        back.load()


def test_a_store_says_where_it_is_in_both_conventions(ds: xr.Dataset, tmp_path: Path) -> None:
    ds.geoxr.to_zarr(tmp_path / "c.zarr", chunks=64)
    import rioxarray  # noqa: F401

    attrs = json.loads((tmp_path / "c.zarr" / "zarr.json").read_text())["attributes"]
    assert attrs["spatial:transform"] == list(ds.geoxr.geobox.affine)[:6]
    assert attrs["proj:code"] == "EPSG:5070"
    plain = xr.open_zarr(
        tmp_path / "c.zarr", chunks=None, mask_and_scale=False, decode_coords="all"
    )
    assert plain.rio.crs.to_epsg() == 5070
    gdal_order = [float(v) for v in plain["spatial_ref"].attrs["GeoTransform"].split()]
    assert gdal_order == list(ds.geoxr.geobox.affine.to_gdal())


def test_validity_that_no_number_marks_is_stored(
    utm_image: Path, label_3035: Path, tmp_path: Path
) -> None:
    label = gx.open_raster(label_3035, kind="categorical")
    ds = gx.merge({"label": label, "image": gx.open_raster(utm_image)}, join="outer", like="image")
    ds = gx.merge({"label": label}, like=ds.geoxr.geobox.pad(30))
    assert "label_valid" in ds
    ds.geoxr.to_zarr(tmp_path / "v.zarr")
    back = gx.open_zarr(tmp_path / "v.zarr")
    np.testing.assert_array_equal(back["label_valid"].values, ds["label_valid"].values)
    np.testing.assert_array_equal(back["label"].geoxr.valid.values, ds["label"].geoxr.valid.values)
    assert not back["label_valid"].values.all()


def test_cog_keeps_grid_nodata_palette_and_names(ds: xr.Dataset, tmp_path: Path) -> None:
    path = ds["mask"].geoxr.to_cog(tmp_path / "mask.tif")
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), ds["mask"].values)
        assert file.crs.to_epsg() == 5070
        assert file.transform == ds.geoxr.geobox.affine
        assert file.nodata == 0
        assert file.colormap(1)[1] == (255, 211, 0, 255)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    back = gx.open_raster(path)
    assert back.geoxr.classes == ds["mask"].geoxr.classes
    image = ds["image"].geoxr.to_cog(tmp_path / "image.tif")
    np.testing.assert_array_equal(gx.open_raster(image).values, ds["image"].values)
    assert gx.open_raster(image)["band"].values.tolist()[0] == "SR_B1"


@pytest.mark.parametrize("kind", ["zarr", "cog"])
def test_outputs_are_not_overwritten_unless_asked(
    ds: xr.Dataset, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / ("m.zarr" if kind == "zarr" else "m.tif")

    def write(**options: bool) -> None:
        ds["mask"].geoxr.to_zarr(path, **options) if kind == "zarr" else ds["mask"].geoxr.to_cog(
            path, **options
        )

    write()
    with pytest.raises(gx.errors.OutputExistsError, match="overwrite=True"):
        write()
    write(overwrite=True)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", ["zarr", "cog"])
def test_a_full_disk_leaves_nothing_and_says_so(
    ds: xr.Dataset, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if kind == "zarr":
        monkeypatch.setattr(zarr, "_write", full)
    else:
        monkeypatch.setattr(cog, "_copy_cog", full)
    path = tmp_path / ("m.zarr" if kind == "zarr" else "m.tif")
    with pytest.raises(gx.errors.DiskFullError, match="disk filled up while writing"):
        ds["mask"].geoxr.to_zarr(path) if kind == "zarr" else ds["mask"].geoxr.to_cog(path)
    assert list(tmp_path.iterdir()) == []


def test_an_error_on_the_way_keeps_the_old_output(
    ds: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ds["mask"].geoxr.to_zarr(tmp_path / "m.zarr")
    before = gx.open_zarr(path)["mask"].values

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(GeotiffReader, "read", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            ds["mask"].geoxr.to_zarr(path, overwrite=True)
    np.testing.assert_array_equal(gx.open_zarr(path)["mask"].values, before)
    assert [item.name for item in tmp_path.iterdir()] == ["m.zarr"]


def test_what_is_no_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(gx.errors.MissingFileError, match="does not exist"):
        gx.open_zarr(tmp_path / "none.zarr")
    (tmp_path / "dir.zarr").mkdir()
    with pytest.raises(gx.errors.NotARasterError, match="is not a Zarr store"):
        gx.open_zarr(tmp_path / "dir.zarr")


def test_a_cog_keeps_the_mask(tmp_path: Path, label_3035: Path) -> None:
    label = gx.open_raster(label_3035, kind="categorical")
    wide = gx.merge({"label": label}, like=label.geoxr.geobox.pad(20))["label"]
    expected = wide.geoxr.valid.values
    path = wide.geoxr.to_cog(tmp_path / "m.tif")
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read_masks(1) > 0, expected)
    np.testing.assert_array_equal(gx.open_raster(path).geoxr.valid.values, expected)
    assert not expected.all()
    assert [item.name for item in tmp_path.glob("m.*")] == ["m.tif"]


def test_a_write_that_gdal_gives_up_on_a_full_disk_is_told(
    ds: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geoxr.export import staged

    def fail(*args: object, **kwargs: object) -> None:
        raise rasterio.errors.RasterioIOError("Write failed. See previous exception for details.")

    monkeypatch.setattr(cog, "_copy_cog", fail)
    with pytest.raises(rasterio.errors.RasterioIOError, match="Write failed"):
        ds["mask"].geoxr.to_cog(tmp_path / "m.tif")
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(staged.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(gx.errors.DiskFullError, match="disk filled up"):
        ds["mask"].geoxr.to_cog(tmp_path / "m.tif")
    assert list(tmp_path.iterdir()) == []


def test_a_cog_keeps_the_scale_and_unit_of_each_band(tmp_path: Path, utm_image: Path) -> None:
    with rasterio.open(utm_image, "r+") as file:
        file.scales, file.offsets, file.units = (0.1, 0.1, 0.5), (0, 0, 7), ("m", "m", "K")
    image = gx.open_raster(utm_image)
    cases = {"all": image, "one": image.isel(band=[2]), "flat": image.isel(band=2)}
    for name, layer in cases.items():
        path = layer.geoxr.to_cog(tmp_path / f"{name}.tif")
        with rasterio.open(path) as file:
            number = file.count
            assert file.scales == (0.1, 0.1, 0.5)[-number:]
            assert file.offsets == (0.0, 0.0, 7.0)[-number:]
            assert file.units == ("m", "m", "K")[-number:]
        back = gx.open_raster(path, decode=True)
        expected = np.atleast_3d(layer.geoxr.decode().values.T).T
        np.testing.assert_array_equal(back.values, expected)
    decoded = image.geoxr.decode().geoxr.to_cog(tmp_path / "decoded.tif")
    with rasterio.open(decoded) as file:
        assert (file.scales, file.units) == ((1.0, 1.0, 1.0), ("m", "m", "K"))

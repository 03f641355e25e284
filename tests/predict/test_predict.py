from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import xarray as xr

import geoxr as gx
from geoxr.testing import LandsatCDL


@pytest.fixture(scope="module")
def ds(farmland: LandsatCDL) -> xr.Dataset:
    image = gx.open_product("landsat8-l2-sr", farmland.scenes, time="collapse", crs="auto")
    return gx.merge({"image": image})


def blurred(image: torch.Tensor) -> torch.Tensor:
    """Three classes by the mean of the red band over 9 x 9 pixels: needs a context of 4."""
    red = torch.nn.functional.avg_pool2d(
        image[:, 3:4], 9, stride=1, padding=4, count_include_pad=True
    )
    return torch.cat([red < 9000, (red >= 9000) & (red < 11000), red >= 11000], dim=1).float()


@pytest.mark.parametrize(("size", "halo"), [(64, 4), (100, 16), (33, 4), (512, 4)])
def test_squares_with_a_halo_equal_the_whole_scene_at_once(
    ds: xr.Dataset, size: int, halo: int
) -> None:
    pred = ds.geoxr.predict(
        blurred, size=size, halo=halo, classes=["low", "middle", "high"], batch_size=3
    )
    image = torch.from_numpy(ds["image"].values.astype("float32"))[None]
    expected = blurred(image).argmax(dim=1)[0].numpy()
    valid = ds["image"].geoxr.valid.values
    np.testing.assert_array_equal(pred["mask"].values, np.where(valid, expected, 255))
    np.testing.assert_array_equal(pred["mask"].geoxr.valid.values, valid)


def test_the_result_lies_on_the_grid_of_the_dataset(ds: xr.Dataset, tmp_path: Path) -> None:
    codes = {10: "low", 20: "middle", 30: "high"}
    pred = ds.geoxr.predict(blurred, size=128, halo=4, classes=codes)
    assert pred.geoxr.geobox == ds.geoxr.geobox
    assert set(np.unique(pred["mask"].values)) <= {0, 10, 20, 30}
    xr.testing.assert_identical(pred["x"], ds["x"])
    with rasterio.open(pred["mask"].geoxr.to_cog(tmp_path / "p.tif")) as file:
        assert file.crs.to_epsg() == ds.geoxr.crs.epsg
        assert file.transform == ds.geoxr.geobox.affine
        assert file.shape == ds.geoxr.geobox.shape
        assert file.nodata == 0


def test_a_store_holds_the_same(ds: xr.Dataset, tmp_path: Path) -> None:
    options = {"size": 64, "halo": 4, "classes": ["a", "b", "c"]}
    memory = ds.geoxr.predict(blurred, **options)
    disk = ds.geoxr.predict(blurred, out=tmp_path / "p.zarr", **options)
    xr.testing.assert_equal(disk.compute(), memory.compute())
    with pytest.raises(gx.errors.OutputExistsError, match="exists"):
        ds.geoxr.predict(blurred, out=tmp_path / "p.zarr", **options)


def test_class_numbers_will_do_and_a_module_is_put_back(ds: xr.Dataset) -> None:
    class Net(torch.nn.Module):
        def forward(self, image: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
            assert not self.training
            return blurred(image).argmax(dim=1) * valid

    net = Net().train()
    pred = ds.geoxr.predict(net, size=64, halo=4, classes=["a", "b", "c"])
    expected = ds.geoxr.predict(blurred, size=64, halo=4, classes=["a", "b", "c"])
    np.testing.assert_array_equal(pred["mask"].values, expected["mask"].values)
    assert net.training


def test_models_that_do_not_fit_say_how(ds: xr.Dataset) -> None:
    with pytest.raises(gx.errors.ArgumentError, match="scores of 3 classes, but 2 are named"):
        ds.geoxr.predict(blurred, size=64, classes=["a", "b"])
    with pytest.raises(gx.errors.ArgumentError, match=r"Expected are scores \(B, K, H, W\)"):
        ds.geoxr.predict(lambda image: image.mean(dim=(2, 3)), size=64)
    with pytest.raises(gx.errors.ArgumentError, match="no variable 'radar'"):
        ds.geoxr.predict(blurred, size=64, key="radar")


def test_frozen_norms_stay_frozen(ds: xr.Dataset) -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.BatchNorm2d(7).eval()

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return blurred(self.norm(image))

    net = Net().train()
    net.norm.eval()
    ds.geoxr.predict(net, size=256)
    assert net.training
    assert not net.norm.training


def test_nan_scores_are_told(ds: xr.Dataset) -> None:
    with pytest.raises(gx.errors.ArgumentError, match="returns NaN"):
        ds.geoxr.predict(lambda image: image[:, :2] * torch.nan, size=256)
    with pytest.raises(gx.errors.ArgumentError, match="a NoneType, not a tensor"):
        ds.geoxr.predict(lambda image: None, size=256)

from pathlib import Path

import numpy as np
import pytest
import rasterio

import geoxr as gx
from geoxr.testing import LandsatCDL


def test_landsat_opens_with_dates_or_collapsed(farmland: LandsatCDL) -> None:
    dates = gx.open_product("landsat8-l2-sr", farmland.scenes, crs="auto")
    assert dates.dims == ("time", "band", "y", "x")
    assert dates["time"].dt.strftime("%Y%m%d").values.tolist() == ["20230601", "20230712"]
    one = gx.open_product("landsat8-l2-sr", farmland.scenes, crs="auto", time="collapse")
    assert one.dims == ("band", "y", "x")
    stack = dates.values
    np.testing.assert_array_equal(one.values, np.where(stack[0] > 0, stack[0], stack[1]))


def test_bands_by_own_or_common_name(farmland: LandsatCDL) -> None:
    scene = farmland.images[0]
    layer = gx.open_product("landsat8-l2-sr", scene, bands=["red", "SR_B5"])
    for index, path in enumerate((scene[3], scene[4])):
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(layer.values[0, index] if "time" in layer.dims else
                                          layer.values[index], file.read(1))  # fmt: skip
    with pytest.raises(gx.errors.ArgumentError, match=r"no band 'thermal'.*SR_B4 \(red\)"):
        gx.open_product("landsat8-l2-sr", scene, bands=["thermal"])


def test_labels_have_classes_and_years(farmland: LandsatCDL) -> None:
    label = gx.open_product("cdl", farmland.cdl, years=[2023])
    assert label.dims == ("y", "x")
    assert label.dtype == "uint8"
    assert (
        dict(zip(label.geoxr.classes.values, label.geoxr.classes.names, strict=True))[5]
        == "Soybeans"
    )
    with pytest.raises(gx.errors.MissingFileError, match=r"no cdl files of \[2019\].*2023"):
        gx.open_product("cdl", farmland.cdl, years=[2019])


def test_other_names_show_examples_and_the_pattern(tmp_path: Path) -> None:
    (tmp_path / "scene.tif").touch()
    with pytest.raises(
        gx.errors.MissingFileError, match=r"None of 1 files.*scene\.tif.*pattern is .*\(\?:LC08"
    ):
        gx.open_product("landsat8-l2-sr", tmp_path)
    with pytest.raises(gx.errors.ArgumentError, match="no product 'landsat99'"):
        gx.open_product("landsat99", tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    for find in (gx.open_product, lambda name, path: gx.Catalog.scan(path, product=name)):
        with pytest.raises(gx.errors.MissingFileError, match=r"gone does not exist \(looked in"):
            find("landsat8-l2-sr", tmp_path / "gone")


def test_a_product_of_ones_own(farmland: LandsatCDL) -> None:
    mine = gx.Product(
        name="mine", pattern=r".*_(?P<date>\d{8})_\d{8}_02_T1_(?P<band>SR_B[45])\.TIF",
        bands=(gx.Band("SR_B4", "red"), gx.Band("SR_B5", "nir")), nodata=0,
    )  # fmt: skip
    layer = gx.open_product(mine, farmland.images[0])
    assert layer["band"].values.tolist() == ["SR_B4", "SR_B5"]


def test_list_products_is_a_table() -> None:
    assert {"landsat8-l2-sr", "cdl"} <= set(gx.list_products().index)

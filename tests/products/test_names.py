"""Products as values, and names that go wrong."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

import geoxr as gx
from geoxr.products import products
from geoxr.testing import write_geotiff

STEM = "LC08_L2SP_031034_{date}_{made}_02_T1_SR_B{band}.TIF"


def write(path: Path, number: int = 1) -> None:
    write_geotiff(
        path, np.full((20, 20), number, "uint16"), crs="EPSG:32632",
        transform=Affine(30, 0, 300_000, 0, -30, 5_000_000), nodata=0,
    )  # fmt: skip


@pytest.mark.parametrize("product", products().values(), ids=lambda one: one.name)
def test_every_product_is_a_value_with_its_facts(product: gx.Product) -> None:
    assert pickle.loads(pickle.dumps(product)) == product
    assert hash(product) == hash(pickle.loads(pickle.dumps(product)))
    assert product.title
    assert product.license
    assert product.citation
    assert (product.kind == "categorical") == (product.classes is not None)
    names = [band.name for band in product.bands] + [one.band for one in product.qa]
    for band in product.bands:
        if band.common:
            assert product.band(band.common).name == band.name
    for one in product.qa:
        assert {name for name, _ in one.band_bits} <= set(names)


def test_patterns_of_sensors_do_not_share_names() -> None:
    examples = {
        "landsat8-l2-sr": "LC08_L2SP_031034_20180928_20200909_02_T1_SR_B4.TIF",
        "landsat9-l2-st": "LC09_L2SP_031034_20220928_20200909_02_T1_ST_B10.TIF",
        "landsat5-mss-l1": "LM05_L1TP_031034_19840928_20200909_02_T2_B4.TIF",
        "sentinel1-grd": "s1b-iw-grd-vv-20200101t053000-20200101t053025-030600-0381b5-001.tiff",
        "naip": "m_3211605_ne_11_060_20200415.tif",
        "cdl": "2021_30m_cdls.tif",
        "worldcover": "ESA_WorldCover_10m_2020_v100_N00E006_Map.tif",
    }
    for name, path in examples.items():
        assert [one.name for one in products().values() if one.groups(path)] == [name]


def test_what_does_not_exist_is_not_a_matter_of_names(tmp_path: Path) -> None:
    with pytest.raises(gx.errors.MissingFileError, match=r"nowhere does not exist \(looked in"):
        gx.open_product("cdl", tmp_path / "nowhere")
    with pytest.raises(gx.errors.MissingFileError, match=r"1\.tif and 1 more do not exist"):
        gx.open_product("cdl", [tmp_path / "1.tif", tmp_path / "2.tif"])
    with pytest.raises(gx.errors.MissingFileError, match=r"2021_30m_cdls\.tif does not exist"):
        gx.open_product("cdl", tmp_path / "2021_30m_cdls.tif")


def test_more_products_than_are_named_are_counted(tmp_path: Path) -> None:
    kinds = ("occurrence", "recurrence", "seasonality", "change", "extent")
    names = [f"{kind}-0000360000-0000480000.tif" for kind in kinds]
    for name in [*names, "ESA_WorldCover_10m_2020_v100_N00E006_Map.tif", "2021_30m_cdls.tif"]:
        write(tmp_path / name)
    with pytest.warns(UserWarning, match=r"Besides cdl .*: 1 of .*, and some of 1 more\."):
        gx.Catalog.scan(tmp_path, product="cdl")


def test_names_of_no_product_are_counted_with_examples_and_the_pattern(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / f"scene_{number}.tif")
    with pytest.raises(
        gx.errors.MissingFileError,
        match=r"None of 5 files.*scene_0\.tif, scene_1\.tif, scene_2\.tif\. The pattern is",
    ):
        gx.open_product("naip", tmp_path)
    write(tmp_path / "2021_30m_cdls.tif")
    with pytest.raises(gx.errors.MissingFileError, match="geoxr knows 1 like cdl"):
        gx.open_product("naip", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(gx.errors.MissingFileError, match="holds no files"):
        gx.open_product("naip", tmp_path / "empty")
    with pytest.raises(gx.errors.ArgumentError, match="Did you mean 'landsat8-l2-sr'"):
        gx.open_product("landsat8-sr", tmp_path)


def test_files_of_two_products_are_kept_apart_and_reported(tmp_path: Path) -> None:
    write(tmp_path / STEM.format(date="20180928", made="20200909", band=4), 8)
    write(tmp_path / STEM.replace("LC08", "LE07").format(date="20180928", made="20200909", band=3))
    with pytest.warns(UserWarning, match=r"left out: 1 of landsat7-l2-sr\. Pass a pattern"):
        layer = gx.open_product("landsat8-l2-sr", tmp_path, bands=["red"])
    assert (layer.values == 8).all()


def test_a_scene_processed_twice_is_an_error_or_skipped(tmp_path: Path) -> None:
    write(tmp_path / STEM.format(date="20180928", made="20200909", band=4), 1)
    write(tmp_path / STEM.format(date="20180928", made="20230101", band=4), 2)
    with pytest.raises(gx.errors.ArgumentError, match="tile 031034 of 20180928, processed twice"):
        gx.open_product("landsat8-l2-sr", tmp_path, bands=["red"])
    with pytest.warns(UserWarning, match="processed twice"):
        layer = gx.open_product("landsat8-l2-sr", tmp_path, bands=["red"], errors="skip")
    assert (layer.values == 1).all()


def test_dates_that_are_none_are_errors_or_skipped(tmp_path: Path) -> None:
    write(tmp_path / STEM.format(date="20181328", made="20200909", band=4), 1)
    write(tmp_path / STEM.format(date="20180928", made="20200909", band=4), 2)
    with pytest.raises(gx.errors.ArgumentError, match="20181328"):
        gx.open_product("landsat8-l2-sr", tmp_path, bands=["red"])
    with pytest.warns(UserWarning, match="20181328"):
        layer = gx.open_product("landsat8-l2-sr", tmp_path, bands=["red"], errors="skip")
    assert (layer.values == 2).all()


def test_bands_asked_for_wrongly(tmp_path: Path) -> None:
    write(tmp_path / STEM.format(date="20180928", made="20200909", band=4))
    for bands, message in (
        (["red", "SR_B4"], "none twice"),
        ([], "at least one"),
        (["purple"], r"no band 'purple'.*SR_B4 \(red\)"),
    ):
        with pytest.raises(gx.errors.ArgumentError, match=message):
            gx.open_product("landsat8-l2-sr", tmp_path, bands=bands)
    assert gx.open_product("landsat8-l2-sr", tmp_path, bands="red").shape == (1, 20, 20)


def test_near_infrared_goes_by_two_common_names() -> None:
    known = products()
    assert known["landsat8-l2-sr"].band("nir08").name == "SR_B5"
    assert known["landsat5-mss-l1"].band("nir").name == "B3"
    assert known["sentinel2-l2a"].band("nir").name == "B08"  # has both
    assert known["sentinel2-l2a"].band("nir08").name == "B8A"
    with pytest.raises(gx.errors.ArgumentError, match="no band 'nir08'"):
        known["worldcover"].band("nir08")


def test_products_of_ones_own_are_checked() -> None:
    with pytest.raises(gx.errors.ArgumentError, match="not a regular expression"):
        gx.Product(name="x", pattern="(", bands=(gx.Band("a"),))
    with pytest.raises(gx.errors.ArgumentError, match="no bands"):
        gx.Product(name="x", pattern="a", bands=())
    with pytest.raises(gx.errors.ArgumentError, match="same name"):
        gx.Product(name="x", pattern="a", bands=(gx.Band("a"), gx.Band("A")))


def test_a_product_of_ones_own_with_scales_by_band_and_a_mask(tmp_path: Path) -> None:
    mine = gx.Product(
        name="drone",
        pattern=r"flight_(?P<date>\d{8})_(?P<band>red|heat|flags)\.tif",
        bands=(gx.Band("red", "red", scale=1e-3), gx.Band("heat", scale=0.1)),
        qa=(gx.QA("flags", bits=(1,), values=(4,)),),
        nodata=0,
    )
    for name, number in (("red", 500), ("heat", 3000)):
        write(tmp_path / f"flight_20230601_{name}.tif", number)
    flags = np.arange(400, dtype="uint8").reshape(20, 20) % 8
    write_geotiff(
        tmp_path / "flight_20230601_flags.tif", flags, crs="EPSG:32632",
        transform=Affine(30, 0, 300_000, 0, -30, 5_000_000),
    )  # fmt: skip
    layer = gx.open_product(mine, tmp_path, mask_clouds=True, decode=True)
    good = np.isin(flags, [0, 1, 5])
    np.testing.assert_allclose(layer.values[0], np.where(good, 0.5, np.nan), rtol=1e-6)
    np.testing.assert_allclose(layer.values[1], np.where(good, 300, np.nan), rtol=1e-6)


def test_the_table_of_products() -> None:
    table = gx.list_products()
    assert set(table.index) == set(products())
    assert table.loc["sentinel2-l2a", "resolution"] == "10, 20, 60"
    assert re.search("clouds", table.loc["landsat9-l2-sr", "masks"])
    assert table.loc["cdl", "classes"] > 100


def test_years_are_one_or_several(tmp_path: Path) -> None:
    for year in (2020, 2021):
        write(tmp_path / f"{year}_30m_cdls.tif", year - 2000)
    assert (gx.open_product("cdl", tmp_path, years=2021).values == 21).all()
    assert gx.open_product("cdl", tmp_path, years=[2020, 2021]).sizes["time"] == 2
    assert (gx.open_product("cdl", tmp_path, years=np.array([2020])).values == 20).all()
    for wrong in ("2021", [2020.5], [], ["twenty"]):
        with pytest.raises(gx.errors.ArgumentError, match=r"years is .* must be a year or a list"):
            gx.open_product("cdl", tmp_path, years=wrong)

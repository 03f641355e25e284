"""What metadata files beside the bands tell: cloud cover, baselines."""

from pathlib import Path

import numpy as np
import pytest
from affine import Affine

import geoxr as gx
from geoxr.products import Metadata
from geoxr.testing import write_geotiff

PLACE = {"crs": "EPSG:32615", "transform": Affine(30, 0, 600_000, 0, -30, 4_600_000)}
SCENES = ("LC08_L2SP_025031_20230601_20230610_02_T1", "LC08_L2SP_025031_20230617_20230626_02_T1")
TOLD = {
    "txt": "  GROUP = IMAGE_ATTRIBUTES\n    CLOUD_COVER = 63.25\n    CLOUD_COVER_LAND = 1.0\n",
    "xml": "<CLOUD_COVER_LAND>1</CLOUD_COVER_LAND><CLOUD_COVER>63.25</CLOUD_COVER>",
    "json": '{"CLOUD_COVER_LAND": "1.0", "CLOUD_COVER": "63.25"}',
}


def write_landsat(folder: Path, scene: str, value: int) -> None:
    write_geotiff(folder / f"{scene}_SR_B4.TIF", np.full((8, 8), value, "uint16"), **PLACE)


@pytest.mark.parametrize("ending", list(TOLD))
def test_cloud_cover_comes_from_the_metadata_of_the_same_scene(tmp_path: Path, ending: str) -> None:
    for number, scene in enumerate(SCENES, 1):
        write_landsat(tmp_path, scene, number)
    (tmp_path / f"{SCENES[0]}_MTL.{ending}").write_text(TOLD[ending])
    (tmp_path / f"{SCENES[1]}_MTL.{ending}").write_text(TOLD[ending].replace("63.25", "4"))
    catalog = gx.Catalog.scan(tmp_path, product="landsat8-l2-sr", bands=["red"])
    assert catalog.frame["id"].tolist() == list(SCENES)
    assert catalog.frame["cloud_cover"].tolist() == [63.25, 4.0]


def test_the_clearest_scene_is_on_top(tmp_path: Path) -> None:
    for number, scene in enumerate(SCENES, 1):
        write_landsat(tmp_path, scene, number)
        (tmp_path / f"{scene}_MTL.txt").write_text(f"CLOUD_COVER = {50 / number}\n")
    options = {"bands": ["red"], "time": "1MS"}
    first = gx.open_product("landsat8-l2-sr", tmp_path, **options)
    clear = gx.open_product("landsat8-l2-sr", tmp_path, sortby="cloud_cover", **options)
    assert np.unique(first.values).tolist() == [1]
    assert np.unique(clear.values).tolist() == [2]
    cloudy = gx.open_product("landsat8-l2-sr", tmp_path, sortby="-cloud_cover", **options)
    assert np.unique(cloudy.values).tolist() == [1]


def test_an_unknown_cloud_cover_is_missing(tmp_path: Path) -> None:
    write_landsat(tmp_path, SCENES[0], 1)
    (tmp_path / f"{SCENES[0]}_MTL.txt").write_text("CLOUD_COVER = -1.00\n")
    write_landsat(tmp_path, SCENES[1], 2)
    (tmp_path / f"{SCENES[1]}_MTL.txt").write_text("CLOUD_COVER = 12\n")
    catalog = gx.Catalog.scan(tmp_path, product="landsat8-l2-sr", bands=["red"])
    np.testing.assert_array_equal(catalog.frame["cloud_cover"], [np.nan, 12.0])


def test_sentinel2_trees_tell_cloud_cover_in_a_folder_above(tmp_path: Path) -> None:
    safe = tmp_path / "S2A_MSIL2A_20220601T101031_N0400_R022_T32TLS_20220601T180000.SAFE"
    file = (
        safe / "GRANULE" / "L2A_T32TLS" / "IMG_DATA" / "R10m" / "T32TLS_20220601T101031_B04_10m.tif"
    )
    write_geotiff(file, np.full((8, 8), 1500, "uint16"), **PLACE)
    (safe / "MTD_MSIL2A.xml").write_text(
        "<Cloud_Coverage_Assessment>7.5</Cloud_Coverage_Assessment>"
    )
    catalog = gx.Catalog.scan(tmp_path, product="sentinel2-l2a", bands=["red"])
    assert catalog.frame["cloud_cover"].tolist() == [7.5]
    assert catalog.frame["baseline"].tolist() == ["0400"]


def test_a_changed_metadata_value_wins_over_the_one_read_before(tmp_path: Path) -> None:
    write_landsat(tmp_path, SCENES[0], 1)
    write_landsat(tmp_path, SCENES[1], 1)
    told = tmp_path / f"{SCENES[0]}_MTL.txt"
    told.write_text("CLOUD_COVER = 5\n")
    first = gx.Catalog.scan(tmp_path, product="landsat8-l2-sr", bands=["red"])
    first = gx.Catalog(first.frame.assign(cloud_cover=[5.0, 80.0], note=["a", "b"]))
    told.write_text("CLOUD_COVER = 66\n")
    for scene in SCENES:
        write_geotiff(
            tmp_path / f"{scene}_SR_B4.TIF", np.ones((9, 9), "uint16"), **PLACE
        )  # another size: both are read again
    again = first.update(tmp_path, product="landsat8-l2-sr", bands=["red"])
    assert again.frame["shape"].tolist() == [(9, 9), (9, 9)]
    assert again.frame["cloud_cover"].tolist() == [66.0, 80.0]  # the second only its user knows
    assert again.frame["note"].tolist() == ["a", "b"]


def test_metadata_of_a_sensor_of_ones_own(tmp_path: Path) -> None:
    drone = gx.Product(
        name="drone",
        pattern=r"(?P<scene>flight_(?P<date>\d{8}))_(?P<band>red|nir)\.tif",
        bands=(gx.Band("red"), gx.Band("nir")),
        metadata=(Metadata("{scene}.log", r"pilot (?P<pilot>\w+)"),),
    )
    for band in ("red", "nir"):
        write_geotiff(tmp_path / f"flight_20230601_{band}.tif", np.ones((4, 4), "uint8"), **PLACE)
    (tmp_path / "flight_20230601.log").write_text("started by pilot Ada at 10:00")
    catalog = gx.Catalog.scan(tmp_path, product=drone)
    assert catalog.frame[["id", "pilot"]].values.tolist() == [["flight_20230601", "Ada"]]


def test_a_pattern_that_is_no_expression_is_refused() -> None:
    with pytest.raises(gx.errors.ArgumentError, match=r"not a regular expression"):
        gx.Product(
            name="x", pattern="x.tif", bands=(gx.Band("x"),), metadata=(Metadata("x.txt", "("),)
        )

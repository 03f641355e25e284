"""Scans: products, mappings, what is left out, footprints of valid pixels, scans again."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.features import shapes as polygons

import geoxr as gx
from geoxr.catalog import scan as scanning
from geoxr.testing import LandsatCDL, write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def one(name: str, value: float = 1, *, col: int = 0, nodata: float | None = 0) -> Path:
        return write_geotiff(
            tmp_path / name, np.full((8, 8), value, "uint8"), crs=32633, nodata=nodata,
            transform=UTM @ Affine.translation(col, 0),
        )  # fmt: skip

    return one


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose headers are read."""
    names: list[str] = []
    inner = scanning.open_given

    def spy(path: str, *args: object, **options: object) -> object:
        names.append(Path(path).name)
        return inner(path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(scanning, "open_given", spy)
    return names


def test_names_of_a_product_become_scenes_bands_and_dates(farmland: LandsatCDL) -> None:
    files = [path for scene in farmland.images for path in scene]
    catalog = gx.Catalog.scan(files, product="landsat8-l2-sr")
    frame = catalog.frame
    assert len(catalog) == 2
    assert frame["product"].tolist() == ["landsat8-l2-sr"] * 2
    assert frame["path"].tolist() == [[str(path) for path in scene] for scene in farmland.images]
    assert frame["start"].dt.strftime("%Y%m%d").tolist() == ["20230601", "20230712"]
    assert all(str(path).find(name) > 0 for name, path in zip(frame["id"], frame["path"].str[0],
                                                              strict=True))  # fmt: skip
    few = gx.Catalog.scan(files, product="landsat8-l2-sr", bands=["red", "SR_B5"])
    assert few.frame["bands"].tolist() == [["SR_B4", "SR_B5"]] * 2
    assert catalog.product is not None
    assert catalog.product.name == "landsat8-l2-sr"


def test_scenes_that_lack_a_band_are_reported(farmland: LandsatCDL) -> None:
    files = [*farmland.images[0], farmland.images[1][3]]
    with pytest.raises(gx.errors.MissingFileError, match=r"has no file for SR_B1"):
        gx.Catalog.scan(files, product="landsat8-l2-sr")
    with pytest.warns(UserWarning, match=r"1 of 2 scenes were left out: .*no file for SR_B1"):
        catalog = gx.Catalog.scan(files, product="landsat8-l2-sr", errors="skip")
    assert len(catalog) == 1
    assert catalog.skipped["path"].tolist() == [None]
    assert "no file for SR_B1" in catalog.skipped["reason"][0]
    with pytest.raises(gx.errors.ArgumentError, match="bands= needs a product"):
        gx.Catalog.scan(files, bands=["red"])


def test_a_mapping_is_a_scene_or_several(write: Write) -> None:
    red, nir, other = write("r.tif", 1), write("n.tif", 2), write("o.tif", 3, col=8)
    one = gx.Catalog.scan({"red": red, "nir": nir})
    assert one.frame["path"].tolist() == [[str(red), str(nir)]]
    assert one.frame["bands"].tolist() == [["red", "nir"]]
    two = gx.Catalog.scan({"west": {"red": red, "nir": nir}, "east": {"red": other, "nir": other}})
    assert two.frame["id"].tolist() == ["west", "east"]
    layer = gx.open_raster(two)
    np.testing.assert_array_equal(layer.values[:, 0, ::8], [[1, 3], [2, 3]])
    with pytest.raises(gx.errors.ArgumentError, match="but 'east' is a path"):
        gx.Catalog.scan({"west": {"red": red}, "east": other})  # type: ignore[dict-item]
    with pytest.raises(gx.errors.ArgumentError, match="Scene 'west' is empty"):
        gx.Catalog.scan({"west": {}})
    with pytest.raises(gx.errors.ArgumentError, match="mapping of paths is empty"):
        gx.Catalog.scan({})


def test_mappings_take_the_common_names_of_a_product(farmland: LandsatCDL) -> None:
    scene = farmland.images[0]
    files = {"red": scene[3], "SR_B5": scene[4]}
    catalog = gx.Catalog.scan(files, product="landsat8-l2-sr")
    assert catalog.frame["bands"].tolist() == [["SR_B4", "SR_B5"]]
    with pytest.raises(gx.errors.ArgumentError, match=r"no file for SR_B3; it has SR_B4, SR_B5"):
        gx.Catalog.scan(files, product="landsat8-l2-sr", bands=["green"])


def test_what_is_left_out_is_a_table(write: Write, tmp_path: Path) -> None:
    write("a.tif")
    for name in ("b.tif", "c.tif"):
        (tmp_path / name).write_text("no raster")
    with pytest.raises(gx.errors.NotARasterError, match=r"b\.tif"):
        gx.Catalog.scan(tmp_path)
    with pytest.warns(UserWarning, match=r"2 of 3 scenes were left out"):
        catalog = gx.Catalog.scan(tmp_path, errors="skip")
    skipped = catalog.skipped
    assert skipped["path"].tolist() == [str(tmp_path / "b.tif"), str(tmp_path / "c.tif")]
    assert skipped["reason"].str.contains("not a raster that GDAL can open").all()
    assert gx.Catalog.scan(tmp_path / "a.tif").skipped.empty
    with pytest.raises(gx.errors.NotARasterError, match=r"None of 1 files.*b\.tif is not a raster"):
        gx.Catalog.scan(tmp_path / "b.tif", errors="skip")


def test_a_file_given_twice_is_taken_once_and_reported(write: Write, tmp_path: Path) -> None:
    path = write("a.tif")
    with pytest.warns(UserWarning, match=r"a\.tif was given more than once"):
        catalog = gx.Catalog.scan([tmp_path, path])
    assert len(catalog) == 1
    assert catalog.skipped["path"].tolist() == [str(path)]


def test_hidden_files_of_a_directory_are_no_scenes(write: Write, tmp_path: Path) -> None:
    write("deep/a.TIF")
    (tmp_path / "deep" / "._a.TIF").write_text("resource fork")
    assert gx.Catalog.scan(tmp_path).frame["id"].tolist() == ["a"]


@pytest.mark.parametrize("crs", [32633, 32601, 3031])
def test_valid_footprints_follow_the_valid_pixels(tmp_path: Path, crs: int) -> None:
    rows, cols = np.mgrid[:300, :400]
    valid = (rows + 0.4 * cols > 80) & (np.hypot(rows - 200, cols - 300) > 50)
    left, top = {32633: (5e5, 5.2e6), 32601: (2e5, 7.3e6), 3031: (-6e5, 5e5)}[crs]
    place = Affine(1000, 0, left, 0, -1000, top)
    path = write_geotiff(
        tmp_path / "a.tif", valid.astype("uint8"), crs=crs, transform=place, nodata=0
    )
    whole = gx.Catalog.scan(path).frame.geometry[0]
    shape = gx.Catalog.scan(path, footprint="valid").frame.geometry[0]
    assert shape.is_valid
    assert -180 <= shape.bounds[0] < shape.bounds[2] <= 180
    rng = np.random.default_rng(0)
    col, row = rng.uniform(0, 400, 4000), rng.uniform(0, 300, 4000)
    lon, lat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(*place @ (col, row))
    inside = shapely.contains_xy(shape, lon, lat)
    outline = shapely.union_all([shapely.geometry.shape(one) for one, _ in polygons(
        valid.astype("uint8"), mask=valid)])  # fmt: skip
    far = shapely.distance(shapely.boundary(outline), shapely.points(col, row)) > 4
    far &= np.abs([col, col - 400, row, row - 300]).min(axis=0) > 1
    np.testing.assert_array_equal(inside[far], valid[row.astype(int), col.astype(int)][far])
    assert shapely.contains_xy(whole, lon, lat)[far].all()


def test_valid_footprints_of_full_and_of_empty_scenes(write: Write) -> None:
    full, empty = write("full.tif", 1), write("none.tif", 0)
    frame = gx.Catalog.scan([full, empty], footprint="valid").frame
    assert frame.geometry[0].equals(gx.Catalog.scan(full).frame.geometry[0])
    assert frame.geometry[1].is_empty
    with pytest.raises(gx.errors.ArgumentError, match="footprint is 'mask'"):
        gx.Catalog.scan(full, footprint="mask")  # type: ignore[arg-type]


def test_scenes_whose_pixels_cannot_be_read_are_reported(write: Write, tmp_path: Path) -> None:
    write("a.tif")
    rng = np.random.default_rng(0)
    path = write_geotiff(
        tmp_path / "b.tif", rng.integers(0, 9, (512, 512), "uint8"), crs=32633, transform=UTM,
        nodata=0, compress="deflate",
    )  # fmt: skip
    with rasterio.open(path) as file:
        assert file.nodata == 0
    with open(path, "r+b") as file:
        file.seek(2000)
        file.write(b"\xff" * 100_000)
    with pytest.raises(gx.errors.ReadFailedError, match=r"b\.tif"):
        gx.Catalog.scan(tmp_path, footprint="valid")
    with pytest.warns(UserWarning, match=r"1 of 2 scenes were left out: .*b\.tif"):
        catalog = gx.Catalog.scan(tmp_path, footprint="valid", errors="skip")
    assert catalog.frame["id"].tolist() == ["a"]
    assert catalog.skipped["path"].tolist() == [str(path)]


def test_an_update_reads_new_and_changed_files_only(
    write: Write, tmp_path: Path, opened: list[str]
) -> None:
    for name in ("a.tif", "b.tif", "d.tif"):
        write(name)
    frame = gx.Catalog.scan(tmp_path).frame.assign(cloud_cover=[1.0, 2.0, 4.0])
    catalog = gx.Catalog(frame)
    opened.clear()
    assert catalog.update(tmp_path).frame.equals(frame)
    assert opened == []
    write("c.tif", 3)
    write("b.tif", 2, nodata=9)
    os.utime(tmp_path / "b.tif", ns=(0, 10**18))
    (tmp_path / "d.tif").unlink()
    again = catalog.update(tmp_path)
    assert sorted(opened) == ["b.tif", "c.tif"]
    assert again.frame["id"].tolist() == ["a", "b", "c"]
    assert again.frame["cloud_cover"].tolist()[:2] == [1.0, 2.0]
    assert np.isnan(again.frame["cloud_cover"][2])
    assert again.frame["nodata"].tolist() == [0, 9, 0]
    fresh = gx.Catalog.scan(tmp_path)
    assert repr(list(again.table)) == repr(list(fresh.table))
    layer = gx.open_raster(again, time="collapse")
    assert layer.shape == (1, 8, 8)


def test_an_update_sees_a_change_of_any_file_of_a_scene(
    farmland: LandsatCDL, opened: list[str]
) -> None:
    scene = farmland.images[0]
    catalog = gx.Catalog.scan(scene, product="landsat8-l2-sr")
    before = catalog.to_xarray().values
    last = Path(scene[-1])
    os.utime(last, ns=(0, last.stat().st_mtime_ns + 10**9))
    opened.clear()
    again = catalog.update(scene)
    assert last.name in opened
    with pytest.raises(gx.errors.ReadFailedError, match="changed after its header was read"):
        np.asarray(catalog.to_xarray())
    np.testing.assert_array_equal(again.to_xarray().values, before)


def test_an_update_knows_products_and_reports_what_it_leaves_out(
    farmland: LandsatCDL, opened: list[str], tmp_path: Path
) -> None:
    first, second = farmland.images
    catalog = gx.Catalog.scan(first, product="landsat8-l2-sr")
    opened.clear()
    both = catalog.update([*first, *second])
    assert set(opened) == {Path(path).name for path in second}
    assert both.frame["product"].tolist() == ["landsat8-l2-sr"] * 2
    with pytest.raises(gx.errors.MissingFileError, match="named like landsat8-l2-sr"):
        catalog.update(farmland.cdl)
    broken = tmp_path / "broken.tif"
    broken.write_text("no raster")
    plain = gx.Catalog.scan(first[0])
    with pytest.warns(UserWarning, match=r"1 of 2 scenes were left out"):
        again = plain.update([first[0], broken], errors="skip")
    assert len(again) == 1
    assert again.skipped["path"].tolist() == [str(broken)]


def test_scans_of_many_files_do_not_list_directories(write: Write) -> None:
    seen = []

    def look(*args: object, **options: object) -> object:
        from rasterio.env import getenv

        seen.append(getenv().get("GDAL_DISABLE_READDIR_ON_OPEN"))
        return inner(*args, **options)  # type: ignore[arg-type]

    inner = scanning.open_given
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanning, "open_given", look)
        patch.delenv("GDAL_DISABLE_READDIR_ON_OPEN", raising=False)
        gx.Catalog.scan([write("a.tif"), write("b.tif")])
    assert seen == ["TRUE", "TRUE"]


def test_files_beside_an_image_are_found_without_a_listing(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", np.ones((4, 4), "uint8"), crs=32633, transform=UTM)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="NO"), rasterio.open(path, "r+") as file:
        file.write_mask(np.eye(4, dtype=bool))
    (tmp_path / "a.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><Description>red</Description></PAMRasterBand>"
        "</PAMDataset>"
    )
    assert (tmp_path / "a.tif.msk").exists()
    catalog = gx.Catalog.scan([path])
    assert catalog.table.header(0).masked
    assert catalog.frame["bands"].tolist() == [["red"]]
    layer = gx.open_raster(catalog)
    np.testing.assert_array_equal(layer.geoxr.valid, np.eye(4, dtype=bool))


def test_the_bar_counts_scenes(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    gx.Catalog.scan([write("a.tif"), write("b.tif")], progress=True)
    assert "2/2" in capsys.readouterr().err

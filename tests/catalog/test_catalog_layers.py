"""Catalogs as one layer, and as a tree of native grids."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

import geoxr as gx
from geoxr.testing import LandsatCDL, write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)
NODES = {
    "a": (32633, UTM),
    "b": (32633, UTM @ Affine.translation(40, 3)),
    "c": (32634, UTM),
    "d": (32633, Affine(10, 0, 500_003, 0, -10, 5_200_000)),
    "e": (4326, Affine(1e-4, 0, 15, 0, -1e-4, 47)),
    "f": (32633, Affine(20, 0, 500_000, 0, -10, 5_200_000)),
}


@pytest.fixture
def zones(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Two zones and degrees, two lattices in one of them, pixels that are not square."""
    for name, (crs, place) in NODES.items():
        pixels = rng.integers(1, 255, (2, 40, 40), dtype="uint8")
        write_geotiff(tmp_path / f"{name}.tif", pixels, crs=crs, transform=place, nodata=0)
    return tmp_path


def test_a_tree_has_a_node_for_every_grid(zones: Path) -> None:
    tree = gx.Catalog.scan(zones).to_datatree()
    assert list(tree.children) == [
        "epsg32633_10m", "epsg32633_10m_2", "epsg32633_20x10m", "epsg32634_10m", "epsg4326_0.0001deg",
    ]  # fmt: skip
    files = {"epsg32633_10m_2": "d", "epsg32633_20x10m": "f", "epsg32634_10m": "c",
             "epsg4326_0.0001deg": "e"}  # fmt: skip
    for node, name in files.items():
        with rasterio.open(zones / f"{name}.tif") as file:
            np.testing.assert_array_equal(tree[node]["image"], file.read())
            assert tree[node].to_dataset().geoxr.geobox.affine == file.transform
    both = tree["epsg32633_10m"]["image"]
    assert both.shape == (2, 43, 80)
    with rasterio.open(zones / "b.tif") as file:
        np.testing.assert_array_equal(both[:, 3:, 40:], file.read())


def test_chips_of_a_tree_have_the_pixels_of_the_files(zones: Path) -> None:
    tree = gx.Catalog.scan(zones).to_datatree()
    plan = tree.geoxr.random_chips(16, 40, seed=0)
    assert len({chip.node for chip in plan}) > 2
    [batch] = tree.geoxr.to_torch(plan, batch_size=40, threads=0)
    sources = {node: tree[node]["image"].values for node in tree.children}
    for at, chip in enumerate(plan):
        expected = sources[chip.node][:, *chip.window.slices]
        np.testing.assert_array_equal(batch["image"][at].numpy(), expected)
    grid = tree.geoxr.grid_chips(20)
    assert {chip.node for chip in grid} == set(tree.children)


def test_nodes_of_a_product_have_its_bands_and_dates(farmland: LandsatCDL) -> None:
    files = [path for scene in farmland.images for path in scene]
    catalog = gx.Catalog.scan(files, product="landsat8-l2-sr")
    tree = catalog.to_datatree(bands=["red", "nir"])
    assert [node["image"].sizes["time"] for node in tree.children.values()] == [1, 1]
    for number, node in enumerate(tree.children.values()):
        assert node["image"].dims == ("time", "band", "y", "x")
        assert node["band"].values.tolist() == ["SR_B4", "SR_B5"]
        assert node["image"].attrs["scale"] == 2.75e-5
        with rasterio.open(farmland.images[number][3]) as file:
            np.testing.assert_array_equal(node["image"][0, 0], file.read(1))
    flat = catalog.to_datatree(bands=["red"], time="collapse")
    assert all(node["image"].dims == ("band", "y", "x") for node in flat.children.values())
    labels = gx.Catalog.scan(farmland.cdl, product="cdl").to_datatree()
    [node] = labels.children.values()
    assert list(node.data_vars) == ["mask"]
    named = gx.Catalog.scan(farmland.cdl, product="cdl").to_datatree(name="crop")
    assert list(next(iter(named.children.values())).data_vars) == ["crop"]


def test_trees_refuse_grids_and_mixed_scenes(zones: Path) -> None:
    catalog = gx.Catalog.scan(zones)
    with pytest.raises(gx.errors.ArgumentError, match=r"crs, resolution names .*to_xarray\(crs="):
        catalog.to_datatree(crs="auto", resolution=10)
    write_geotiff(zones / "g.tif", np.ones((2, 9, 9), "uint16"), crs=32635, transform=UTM, nodata=0)
    with pytest.raises(gx.errors.ArgumentError, match=r"type uint8 .* type uint16 and bands 1, 2"):
        gx.Catalog.scan(zones).to_datatree()


def test_a_catalog_opens_as_its_product(farmland: LandsatCDL, tmp_path: Path) -> None:
    files = [path for scene in farmland.images for path in scene]
    catalog = gx.Catalog.scan(files, product="landsat8-l2-sr")
    options = {"crs": "auto", "time": "collapse"}
    expected = gx.open_product("landsat8-l2-sr", files, **options)  # type: ignore[arg-type]
    stored = gx.Catalog.from_parquet(catalog.to_parquet(tmp_path / "a.parquet"))
    for one in (catalog, stored, catalog.filter(time="2023")):
        layer = one.to_xarray(**options)
        assert layer.identical(expected)
    red = catalog.to_xarray(bands=["red"], **options)
    np.testing.assert_array_equal(red[0], expected.sel(band="SR_B4"))
    label = gx.Catalog.scan(farmland.cdl, product="cdl").to_xarray(years=[2023])
    assert label.identical(gx.open_product("cdl", farmland.cdl, years=[2023]))
    with pytest.raises(
        gx.errors.MissingFileError, match=r"no scenes of \[1999\]; it has .*\[2023\]"
    ):
        gx.Catalog.scan(farmland.cdl, product="cdl").to_xarray(years=[1999])
    plain = gx.Catalog.scan(files[0])
    assert plain.to_xarray().identical(gx.open_raster(files[0]))


def test_products_of_ones_own_are_named_after_a_round_trip(
    farmland: LandsatCDL, tmp_path: Path
) -> None:
    mine = gx.Product(
        name="mine", pattern=r".*_(?P<date>\d{8})_\d{8}_02_T1_(?P<band>SR_B[45])\.TIF",
        bands=(gx.Band("SR_B4", "red"), gx.Band("SR_B5", "nir")), nodata=0,
    )  # fmt: skip
    catalog = gx.Catalog.scan(farmland.images[0], product=mine)
    expected = gx.open_product(mine, farmland.images[0])
    assert catalog.to_xarray().identical(expected)
    stored = gx.Catalog.from_parquet(catalog.to_parquet(tmp_path / "a.parquet"))
    with pytest.raises(gx.errors.ArgumentError, match=r"product 'mine', which geoxr does not know"):
        stored.to_xarray()
    assert stored.to_xarray(product=mine).identical(expected)
    mixed = catalog | gx.Catalog.scan(farmland.cdl, product="cdl")
    with pytest.raises(gx.errors.ArgumentError, match="several products: mine, cdl"):
        mixed.to_xarray()
    only = mixed.filter(where=lambda frame: frame["product"] == "mine")
    assert only.to_xarray().identical(expected)

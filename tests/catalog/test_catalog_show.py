"""What a catalog says of itself, and its pictures."""

import sys
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine

import geoxr as gx
from geoxr.testing import LandsatCDL, write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)


@pytest.fixture
def catalog(tmp_path: Path) -> gx.Catalog:
    """Two scenes in two zones with dates and clouds, and one without CRS."""
    for name, crs in (("a<b", 32633), ("c", 32634), ("d", None)):
        write_geotiff(tmp_path / f"{name}.tif", np.ones((20, 30), "uint8"), crs=crs, transform=UTM)
    frame = gx.Catalog.scan(tmp_path).frame
    frame["start"] = np.array(["2021-05-31T10:00", "2021-07-01", "NaT"], "datetime64[ns]")
    return gx.Catalog(frame.assign(cloud_cover=[10.0, 30.0, np.nan]))


def test_a_summary_says_what_scenes_share(catalog: gx.Catalog, farmland: LandsatCDL) -> None:
    assert repr(catalog).splitlines() == [
        "Catalog: 3 scenes in 3 CRSs, (15, 46.95, 21, 46.95) in EPSG:4326, 2021-05-31 to 2021-07-01",
        "  CRS         EPSG:32633 (1), EPSG:32634 (1), no CRS (1)",
        "  resolution  10 [CRS units]",
        "  bands       1",
        "  dtype       uint8",
        "  dates       2021-05-31 to 2021-07-01 (2 days, 1 without date)",
        "  cloud cover 10 to 30, median 20",
    ]
    labels = gx.Catalog.scan(farmland.cdl, product="cdl")
    assert "  product     cdl" in repr(labels).splitlines()
    twice = gx.Catalog(catalog.frame.iloc[[0, 0, 1]])
    assert "  repeated    1 scene" in repr(twice).splitlines()


def test_many_values_are_counted(tmp_path: Path) -> None:
    for number in range(7):
        write_geotiff(
            tmp_path / f"{number}.tif", np.ones((2, 2), "uint8"), crs=32631 + number,
            transform=Affine(10 + number, 0, 5e5, 0, -10, 5e6),
        )  # fmt: skip
    lines = repr(gx.Catalog.scan(tmp_path)).splitlines()
    assert lines[1].endswith("EPSG:32634 (1), and 3 more")
    assert "10 (1), 11 x 10 (1), 12 x 10 (1), 13 x 10 (1), and 3 more [CRS units]" in lines[2]


def test_scenes_without_place_are_summed_up(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "a.tif", np.ones((8, 8), "uint8"), crs=None, transform=Affine.scale(2))
    first = repr(gx.Catalog.scan(tmp_path)).splitlines()[0]
    assert first == "Catalog: 1 scene in 1 CRS, no footprint known"


def test_a_notebook_shows_summary_and_footprints(catalog: gx.Catalog) -> None:
    html = catalog._repr_html_()
    assert "<svg" in html
    assert html.count("M") >= 2
    assert "EPSG:32633 (1)" in html
    bare = catalog.filter(where=[False, False, True])._repr_html_()
    assert "<svg" not in bare


def test_footprints_are_plotted(catalog: gx.Catalog) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    [drawn] = catalog.plot().collections
    assert len(drawn.get_paths()) == 2
    [alone] = catalog.filter(where=[True, False, False]).plot().collections
    [path] = alone.get_paths()
    assert shapely.Polygon(path.vertices).equals(catalog.frame.geometry[0])
    coloured = catalog.plot(column="cloud_cover", ax=plt.subplots()[1])
    assert coloured.collections[0].get_array().tolist() == [10.0, 30.0]
    with pytest.raises(gx.errors.ArgumentError, match="no column 'clouds'"):
        catalog.plot(column="clouds")
    with pytest.raises(gx.errors.ArgumentError, match="No scene has a footprint"):
        catalog.filter(where=[False, False, True]).plot()
    plt.close("all")


def test_scenes_far_from_each_other_can_be_seen(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    import matplotlib.pyplot as plt

    for name, left in (("west", -90), ("east", 100)):
        write_geotiff(
            tmp_path / f"{name}.tif", np.ones((8, 8), "uint8"), crs=4326,
            transform=Affine(0.001, 0, left, 0, -0.001, 40),
        )  # fmt: skip
    catalog = gx.Catalog.scan(tmp_path)
    figure, ax = plt.subplots(figsize=(5, 5), dpi=100)
    ax.set_axis_off()
    catalog.plot(ax=ax)
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())[100:-100, :, :3]  # without the title
    dark = drawn.min(axis=2) < 230
    assert dark[:, :250].sum() > 5
    assert dark[:, 250:].sum() > 5
    centres = [path.get_extents().p0 + path.get_extents().size / 2
               for path in ax.collections[0].get_paths()]  # fmt: skip
    np.testing.assert_allclose(centres, [(100.004, 39.996), (-89.996, 39.996)], atol=1e-6)
    plt.close("all")


def test_footprints_are_put_on_a_map_without_tiles(catalog: gx.Catalog) -> None:
    folium = pytest.importorskip("folium")
    chart = catalog.explore()
    kinds = [type(child) for child in chart._children.values()]
    assert folium.GeoJson in kinds
    assert folium.TileLayer not in kinds
    [drawn] = [child for child in chart._children.values() if isinstance(child, folium.GeoJson)]
    features = drawn.data["features"]
    assert [feature["properties"]["id"] for feature in features] == ["a<b", "c"]
    assert features[0]["properties"]["cloud_cover"] == "10.0"
    few = catalog.explore(columns=["cloud_cover"], tiles="OpenStreetMap")
    assert folium.TileLayer in [type(child) for child in few._children.values()]
    with pytest.raises(gx.errors.ArgumentError, match="no column 'clouds'"):
        catalog.explore(columns=["clouds"])


def test_a_map_of_many_scenes_shows_some(
    catalog: gx.Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    folium = pytest.importorskip("folium")
    monkeypatch.setattr("geoxr.catalog.show._MAPPED", 1)
    with pytest.warns(UserWarning, match="shows 1 of 2 scenes"):
        chart = catalog.explore()
    [drawn] = [child for child in chart._children.values() if isinstance(child, folium.GeoJson)]
    assert len(drawn.data["features"]) == 1


def test_missing_packages_are_named_with_their_extra(
    catalog: gx.Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package, show in (("folium", catalog.explore), ("matplotlib.pyplot", catalog.plot)):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(gx.errors.MissingDependencyError, match=r"geoxr\[viz\]"):
            show()


def test_the_extent_of_a_small_place_can_be_told_from_a_point(tmp_path: Path) -> None:
    place = Affine(1, 0, 500_000, 0, -1, 5_200_000)
    write_geotiff(tmp_path / "a.tif", np.ones((100, 100), "uint8"), crs=32633, transform=place)
    assert "(15, 46.9526, 15.0013, 46.9535) in EPSG:4326" in repr(gx.Catalog.scan(tmp_path))
    write_geotiff(tmp_path / "plain.tif", np.ones((4, 4), "uint8"), crs=None, transform=place)
    assert "no footprint known" in repr(gx.Catalog.scan(tmp_path / "plain.tif"))

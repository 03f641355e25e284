"""STAC items over local files: pixels of the files, metadata of the items, and clear refusals."""

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

import geoxr as gx
from geoxr.catalog import table as table_module
from geoxr.catalog.stac_items import StacItem
from geoxr.testing import write_geotiff

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
LANDSAT = {  # key: (common name, centre, number of the band)
    "SR_B4": ("red", 0.65, 1),
    "SR_B5": ("nir08", 0.87, 2),
}
SENTINEL = {"B04": ("red", 0.665, 10), "B08": ("nir", 0.842, 10), "B11": ("swir16", 1.61, 20)}


def outline(crs: str, transform: Affine, shape: tuple[int, int]) -> dict[str, Any]:
    """Return the corners of a grid as a polygon in EPSG:4326."""
    change = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    height, width = shape
    ring = [transform @ corner for corner in ((0, 0), (width, 0), (width, height), (0, height))]
    lon, lat = change.transform(*zip(*ring, strict=True))
    return shapely.geometry.mapping(shapely.Polygon(zip(lon, lat, strict=True)))


def new_item(name: str, when: str, geometry: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "collection": "made",
        "geometry": geometry,
        "bbox": list(shapely.geometry.shape(geometry).bounds),
        "properties": {"datetime": when, **properties},
        "links": [],
        "assets": {},
    }


def landsat_item(folder: Path, number: int, when: str, cloud: float, zone: int = 33) -> dict:
    """Return an item of two bands at 30 m with all metadata, STAC 1.0, hrefs relative to it."""
    name, crs = f"LC08_{number:03}", f"EPSG:{32600 + zone}"
    transform, shape = Affine(30, 0, 399_990 + 300 * number, 0, -30, 5_200_020), (40, 50)
    item = new_item(
        name, when, outline(crs, transform, shape), platform="landsat-8",
        **{"eo:cloud_cover": cloud, "proj:epsg": 32600 + zone, "proj:shape": list(shape),
           "proj:transform": [*transform], "instruments": ["oli", "tirs"]},
    )  # fmt: skip
    rng = np.random.default_rng(number)
    for key, (common, centre, _) in LANDSAT.items():
        pixels = rng.integers(1, 30_000, shape, dtype="uint16")
        pixels[rng.random(shape) < 0.1] = 0
        write_geotiff(
            folder / name / f"{name}_{key}.tif", pixels, crs=crs, transform=transform, nodata=0
        )
        item["assets"][key] = {
            "href": f"./{name}_{key}.tif", "type": COG, "roles": ["data"],
            "eo:bands": [{"name": key, "common_name": common, "center_wavelength": centre}],
            "raster:bands": [{"nodata": 0, "data_type": "uint16", "scale": 2.75e-05,
                              "offset": -0.2, "unit": "1"}],
        }  # fmt: skip
    item["assets"]["thumbnail"] = {
        "href": "./thumb.png",
        "type": "image/png",
        "roles": ["thumbnail"],
    }
    item["assets"]["MTL"] = {
        "href": "./mtl.json",
        "type": "application/json",
        "roles": ["metadata"],
    }
    item["links"] = [{"rel": "self", "href": str(folder / name / f"{name}.json")}]
    return item


def sentinel_item(folder: Path, name: str, when: str, cloud: float) -> dict[str, Any]:
    """Return an item of bands at 10 and 20 m as STAC 1.1 writes it, with absolute hrefs."""
    crs = "EPSG:32633"
    corner = Affine.translation(600_000, 5_300_040)
    geometry = outline(crs, corner @ Affine.scale(10, -10), (60, 80))
    item = new_item(name, when, geometry, **{"eo:cloud_cover": cloud, "proj:code": crs})
    item["stac_version"] = "1.1.0"
    rows, cols = np.mgrid[:60, :80]
    for key, (common, centre, size) in SENTINEL.items():
        many = size // 10
        wave = 2000 + 900 * np.sin(rows / 9 + size) * np.cos(cols / 7) + cloud
        pixels = wave[::many, ::many].astype("uint16")
        transform = corner @ Affine.scale(size, -size)
        path = write_geotiff(
            folder / name / f"{key}.tif", pixels, crs=crs, transform=transform, nodata=0
        )
        item["assets"][key] = {
            "href": str(path), "type": COG, "roles": ["data", "reflectance"], "gsd": size,
            "proj:shape": list(pixels.shape), "proj:transform": list(transform)[:6],
            "data_type": "uint16", "nodata": 0,
            "bands": [{"name": key, "eo:common_name": common, "eo:center_wavelength": centre}],
            "raster:scale": 1e-4, "raster:offset": -0.1,
        }  # fmt: skip
    return item


def pixels_of(item: dict[str, Any], *keys: str) -> np.ndarray:
    """Read the files of assets with rasterio."""
    folder = Path(item["links"][0]["href"]).parent if item["links"] else Path()
    found = []
    for key in keys:
        with rasterio.open(folder / item["assets"][key]["href"]) as file:
            found.append(file.read())
    return np.concatenate(found)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of files in the order they are opened."""
    paths: list[str] = []
    original: Callable = table_module.open_file

    def open_file(path: str, **options: Any) -> Any:
        paths.append(str(path))
        return original(path, **options)

    monkeypatch.setattr(table_module, "open_file", open_file)
    return paths


@pytest.fixture
def landsat(tmp_path: Path) -> list[dict[str, Any]]:
    """Three dates that overlap."""
    return [
        landsat_item(tmp_path, 0, "2021-06-01T10:00:00Z", 40.0),
        landsat_item(tmp_path, 1, "2021-06-17T10:00:00.250Z", 5.5),
        landsat_item(tmp_path, 2, "2021-07-03T12:00:00+02:00", 80.0),
    ]


def test_an_item_with_all_metadata_opens_no_file_until_it_is_read(
    landsat: list[dict[str, Any]], opened: list[str]
) -> None:
    before = copy.deepcopy(landsat)
    layer = gx.open_stac(landsat[0])
    assert layer.dims == ("band", "y", "x")
    assert layer["band"].values.tolist() == ["SR_B4", "SR_B5"]
    assert layer["common_name"].values.tolist() == ["red", "nir08"]
    assert layer["wavelength"].values.tolist() == [0.65, 0.87]
    assert (layer.attrs["scale"], layer.attrs["offset"]) == (2.75e-05, -0.2)
    assert layer.geoxr.nodata == 0
    catalog = gx.Catalog.from_stac(landsat)
    assert repr(layer)
    assert repr(catalog)
    assert not opened
    values = layer.values
    assert len(opened) == 2
    np.testing.assert_array_equal(values, pixels_of(landsat[0], "SR_B4", "SR_B5"))
    alone = gx.open_raster(opened[0])
    assert layer.geoxr.geobox == alone.geoxr.geobox
    np.testing.assert_array_equal(layer.geoxr.valid.values, (values > 0).all(axis=0))
    decoded = gx.open_stac(landsat[0], decode=True, assets="red")
    np.testing.assert_allclose(
        decoded.values[0], np.where(values[0] > 0, values[0] * 2.75e-05 - 0.2, np.nan), rtol=1e-6
    )
    assert landsat == before


def test_what_an_item_lacks_is_read_from_its_files(
    landsat: list[dict[str, Any]], opened: list[str]
) -> None:
    full = gx.open_stac(landsat[0])
    bare = copy.deepcopy(landsat[0])
    for key in ("proj:epsg", "proj:shape", "proj:transform"):
        del bare["properties"][key]
    for key in LANDSAT:
        del bare["assets"][key]["raster:bands"]
    layer = gx.open_stac(bare)
    assert len(opened) == 2
    assert layer.geoxr.geobox == full.geoxr.geobox
    assert layer.geoxr.nodata == 0
    assert "scale" not in layer.attrs
    np.testing.assert_array_equal(layer.values, full.values)
    # A type without a word on nodata could let missing pixels pass for numbers.
    opened.clear()
    for key in LANDSAT:
        landsat[1]["assets"][key]["raster:bands"] = [{"data_type": "uint16"}]
    assert gx.Catalog.from_stac(landsat[1]).frame["nodata"][0] == 0
    assert len(opened) == 2
    opened.clear()
    for key in LANDSAT:
        landsat[1]["assets"][key]["raster:bands"] = [{"data_type": "uint16", "nodata": None}]
    assert gx.Catalog.from_stac(landsat[1]).frame["nodata"][0] is None
    assert not opened


@pytest.mark.parametrize(
    "crs",
    [
        {"proj:code": "EPSG:32633"},
        {"proj:epsg": 32633},
        {"proj:epsg": None, "proj:wkt2": pyproj.CRS(32633).to_wkt()},
        {"proj:epsg": None, "proj:projjson": pyproj.CRS(32633).to_json_dict()},
    ],
    ids=["code", "epsg", "wkt2", "projjson"],
)
@pytest.mark.parametrize("level", ["item", "asset"])
def test_every_spelling_of_the_projection_is_read(
    landsat: list[dict[str, Any]], opened: list[str], crs: dict[str, Any], level: str
) -> None:
    item = landsat[0]
    transform, shape = item["properties"]["proj:transform"], item["properties"]["proj:shape"]
    left, top = transform[2], transform[5]
    box = [left, top - 30 * shape[0], left + 30 * shape[1], top]
    known = [
        {"proj:transform": transform, "proj:shape": shape},
        {"proj:transform": transform[:6], "proj:bbox": box},
        {"proj:shape": shape, "proj:bbox": box},
    ]
    for more in known:
        given = copy.deepcopy(item)
        for key in ("proj:epsg", "proj:shape", "proj:transform"):
            del given["properties"][key]
        places = [given["properties"]] if level == "item" else list(given["assets"].values())
        for place in places:
            place.update(crs | more)
        frame = gx.Catalog.from_stac(given).frame
        assert frame["crs"][0] == "EPSG:32633"
        assert frame["transform"][0] == tuple(transform[:6])
        assert frame["shape"][0] == tuple(shape)
    assert not opened


def test_bands_of_several_resolutions_lie_on_the_finest_grid(
    tmp_path: Path, opened: list[str]
) -> None:
    item = sentinel_item(tmp_path, "S2A_1", "2022-03-01T10:10:10Z", 12.0)
    layer = gx.open_stac(item, assets=["swir16", "red", "nir"], resampling="bilinear")
    assert not opened
    assert layer["band"].values.tolist() == ["swir16", "red", "nir"]
    assert layer.geoxr.resolution == (10, 10)
    assert layer.shape == (3, 60, 80)
    np.testing.assert_array_equal(layer.values[1:], pixels_of(item, "B04", "B08"))
    with (
        rasterio.open(item["assets"]["B11"]["href"]) as file,
        WarpedVRT(
            file, crs=file.crs, transform=layer.geoxr.geobox.affine, width=80, height=60,
            resampling=Resampling.bilinear, tolerance=1e-9, XSCALE=1, YSCALE=1,
        ) as warped,
    ):  # fmt: skip
        expected = warped.read(1).astype("int64")
    assert np.abs(layer.values[0].astype("int64") - expected).max() <= 1
    assert (layer.attrs["scale"], layer.attrs["offset"]) == (1e-4, -0.1)


def test_items_come_in_many_shapes(landsat: list[dict[str, Any]], tmp_path: Path) -> None:
    pystac = pytest.importorskip("pystac")
    expected = gx.Catalog.from_stac(landsat).frame
    collection = {"type": "FeatureCollection", "features": landsat}
    for item in landsat:
        Path(item["links"][0]["href"]).write_text(json.dumps(item))
    (tmp_path / "collection.json").write_text('{"type": "Collection", "id": "made"}')
    whole = tmp_path / "elsewhere" / "all.geojson"
    whole.parent.mkdir()
    whole.write_text(json.dumps(collection))
    objects = [pystac.Item.from_dict(copy.deepcopy(item)) for item in landsat]
    places = [Path(item["links"][0]["href"]) for item in landsat]
    for items in (
        collection,
        iter(landsat),
        objects,
        pystac.ItemCollection(objects),
        [objects[0], landsat[1], places[2]],
        whole,
        [whole],
        [str(path) for path in places],
        f"{tmp_path}/LC08*/*.json",
        [path.as_uri() for path in places],
        [pystac.Item.from_file(str(path)) for path in places],
    ):
        pd.testing.assert_frame_equal(gx.Catalog.from_stac(items).frame, expected)
    whole.unlink()
    pd.testing.assert_frame_equal(gx.Catalog.from_stac(tmp_path).frame, expected)
    # An item that was moved together with its files has them beside it still.
    (tmp_path / "LC08_000").rename(tmp_path / "moved")
    moved = gx.Catalog.from_stac(tmp_path / "moved")
    assert moved.frame["path"][0][0] == str(tmp_path / "moved" / "LC08_000_SR_B4.tif")
    assert gx.open_raster(moved).values.any()


@pytest.mark.parametrize(
    ("base", "href", "path"),
    [
        ("/a/b/item.json", "./c.tif", "/a/b/c.tif"),
        ("/a/b/item.json", "../c.tif", "/a/c.tif"),
        ("/a/b/item.json", "/d/c.tif", "/d/c.tif"),
        ("/a/b/item.json", "file:///d/c%20e.tif", "/d/c e.tif"),
        ("/a/b/item.json", "/vsizip/d.zip/c.tif", "/vsizip/d.zip/c.tif"),
        ("/a/b/item.json", "https://h/c.tif", "https://h/c.tif"),
        ("https://h/x/b/item.json", "../c.tif", "https://h/x/c.tif"),
        ("s3://bucket/b/item.json", "c.tif", "s3://bucket/b/c.tif"),
        ("/vsizip/d.zip/b/item.json", "./c.tif", "/vsizip/d.zip/b/c.tif"),
        (None, "c.tif", f"{Path.cwd()}/c.tif"),
    ],
)
def test_hrefs_start_from_the_item(base: str | None, href: str, path: str) -> None:
    assert StacItem({}, base).path(href) == path


def test_properties_become_columns(landsat: list[dict[str, Any]], tmp_path: Path) -> None:
    catalog = gx.Catalog.from_stac(landsat)
    frame = catalog.frame
    assert frame["id"].tolist() == ["LC08_000", "LC08_001", "LC08_002"]
    assert frame["collection"].unique().tolist() == ["made"]
    assert frame["cloud_cover"].tolist() == [40.0, 5.5, 80.0]
    assert frame["platform"].tolist() == ["landsat-8"] * 3
    assert frame["instruments"][0] == "oli, tirs"
    assert not [name for name in frame.columns if str(name).startswith("proj:")]
    texts = ["2021-06-01 10:00", "2021-06-17 10:00:00.25", "2021-07-03 10:00"]
    days = [pd.Timestamp(text) for text in texts]
    assert frame["start"].tolist() == days == frame["end"].tolist()
    for found, item in zip(frame.geometry, landsat, strict=True):
        assert found.equals(shapely.geometry.shape(item["geometry"]))
    assert len(catalog.filter(time="2021-06")) == 2
    again = gx.Catalog.from_parquet(catalog.to_parquet(tmp_path / "items.parquet"))
    assert again.frame["cloud_cover"].tolist() == [40.0, 5.5, 80.0]
    assert repr(list(again.table)) == repr(list(catalog.table))
    assert repr(list(pickle.loads(pickle.dumps(catalog)).table)) == repr(list(catalog.table))


def test_a_property_does_not_replace_a_column_that_layers_need(
    landsat: list[dict[str, Any]],
) -> None:
    landsat[0]["properties"].update(
        path=12, row=34, dtype="many", start_datetime="2021-05-30T00:00Z"
    )
    frame = gx.Catalog.from_stac(landsat[0]).frame
    assert frame["path"][0][0].endswith("SR_B4.tif")
    assert (frame["stac:path"][0], frame["row"][0], frame["stac:dtype"][0]) == (12, 34, "many")
    assert frame["dtype"][0] == "uint16"
    assert frame["start"][0] == pd.Timestamp("2021-05-30")
    assert frame["end"][0] == pd.Timestamp("2021-06-01 10:00")


def test_dates_become_a_time_axis_and_clear_items_go_first(landsat: list[dict[str, Any]]) -> None:
    layer = gx.open_stac(landsat, assets=["red"])
    assert layer.sizes["time"] == 3
    assert layer["band"].values.tolist() == ["red"]
    first = pixels_of(landsat[0], "SR_B4")[0]
    # Items start 10 pixels apart.
    np.testing.assert_array_equal(layer.values[0, 0, :, :50], first)
    stack = np.zeros((3, 40, 70), "uint16")
    for i, item in enumerate(landsat):
        stack[i, :, 10 * i : 10 * i + 50] = pixels_of(item, "SR_B4")[0]
    np.testing.assert_array_equal(layer.values[:, 0], stack)
    clear = gx.open_stac(landsat, assets=["red"], time="collapse", sortby="cloud_cover").values[0]
    by_hand = np.zeros_like(clear)
    for i in (2, 0, 1):  # the clearest is laid down last
        by_hand = np.where(stack[i] > 0, stack[i], by_hand)
    np.testing.assert_array_equal(clear, by_hand)


def test_sensors_with_other_keys_meet_under_common_names(tmp_path: Path) -> None:
    one = landsat_item(tmp_path, 0, "2021-06-01T10:00:00Z", 1.0)
    other = landsat_item(tmp_path, 1, "2021-06-01T10:00:00Z", 2.0)
    other["assets"] = {"B4": other["assets"]["SR_B4"], "B5": other["assets"]["SR_B5"]}
    layer = gx.open_stac([one, other], assets=["nir08", "red"])
    assert layer["band"].values.tolist() == ["nir08", "red"]
    np.testing.assert_array_equal(
        layer.values[..., :10], pixels_of(one, "SR_B5", "SR_B4")[..., :10]
    )
    np.testing.assert_array_equal(layer.values[..., 50:], pixels_of(other, "B5", "B4")[..., 40:])


def naip_item(folder: Path) -> dict[str, Any]:
    """Return an item with one file of four bands."""
    pixels = np.random.default_rng(0).integers(1, 255, (4, 20, 30), dtype="uint8")
    transform = Affine(1, 0, 500_000, 0, -1, 4_000_000)
    path = write_geotiff(folder / "naip.tif", pixels, crs="EPSG:26911", transform=transform)
    item = new_item("naip", "2020-04-15T00:00:00Z", outline("EPSG:26911", transform, (20, 30)))
    names = {"Red": "red", "Green": "green", "Blue": "blue", "NIR": "nir"}
    item["assets"]["image"] = {
        "href": str(path), "type": COG, "roles": ["data"],
        "eo:bands": [{"name": name, "common_name": common} for name, common in names.items()],
    }  # fmt: skip
    return item


def test_bands_inside_one_file_are_picked_by_common_name(tmp_path: Path) -> None:
    item = naip_item(tmp_path)
    with rasterio.open(item["assets"]["image"]["href"]) as file:
        pixels = file.read()
    whole = gx.open_stac(item)
    assert whole["band"].values.tolist() == ["Red", "Green", "Blue", "NIR"]
    assert whole["common_name"].values.tolist() == ["red", "green", "blue", "nir"]
    np.testing.assert_array_equal(whole.values, pixels)
    np.testing.assert_array_equal(gx.open_stac(item, assets="image").values, pixels)
    some = gx.open_stac(item, assets=["nir", "red"])
    assert some["band"].values.tolist() == ["nir", "red"]
    assert some["common_name"].values.tolist() == ["nir", "red"]
    np.testing.assert_array_equal(some.values, pixels[[3, 0]])
    np.testing.assert_array_equal(gx.open_stac(item, bands=["Blue"]).values, pixels[[2]])
    item["assets"]["copy"] = copy.deepcopy(item["assets"]["image"])
    with pytest.raises(gx.errors.ArgumentError, match="several assets for 'red': image"):
        gx.open_stac(item, assets=["red"])


def test_the_same_band_in_several_files_is_taken_once(tmp_path: Path) -> None:
    item = sentinel_item(tmp_path, "S2A_1", "2022-03-01T10:10:10Z", 12.0)
    red = item["assets"]["B04"]
    coarse = copy.deepcopy(red) | {"gsd": 20, "href": "/nowhere/B04_20m.tif"}
    jp2 = copy.deepcopy(red) | {"type": "image/jp2", "href": "/nowhere/B04.jp2"}
    assets = {"B04_20m": coarse, **item["assets"], "B04-jp2": jp2}
    del assets["B11"]
    item["assets"] = assets
    assert gx.open_stac(item)["band"].values.tolist() == ["B04", "B08"]
    frame = gx.Catalog.from_stac(item, assets=["red"]).frame
    assert frame["path"][0] == red["href"]


def test_classes_of_an_asset_come_along(tmp_path: Path) -> None:
    codes = np.array([[0, 1], [2, 1]], "uint8")
    transform = Affine(10, 0, 600_000, 0, -10, 5_300_040)
    path = write_geotiff(tmp_path / "scl.tif", codes, crs="EPSG:32633", transform=transform)
    item = new_item("scl", "2022-01-01T00:00:00Z", outline("EPSG:32633", transform, (2, 2)))
    asset = {"href": str(path), "roles": ["data"], "nodata": 0, "data_type": "uint8"}
    rows = [{"value": 1, "name": "vegetation", "color_hint": "00FF00"},
            {"value": 2, "name": "water", "color_hint": "0000ff"}]  # fmt: skip
    item["assets"]["scl"] = asset | {"classification:classes": rows}
    layer = gx.open_stac(item)
    assert layer.geoxr.kind == "categorical"
    assert layer.geoxr.classes.names == ("vegetation", "water")
    assert layer.geoxr.classes.colors == ("#00ff00", "#0000ff")
    values = [{"values": [1], "summary": "clear"}, {"values": [2, 3], "summary": "cloud"}]
    item["assets"]["scl"] = asset | {"file:values": values}
    assert gx.open_stac(item).geoxr.classes.names == ("clear", "cloud", "cloud")


def test_nodata_may_be_nan_or_differ_between_assets(tmp_path: Path, opened: list[str]) -> None:
    transform, shape = Affine(10, 0, 600_000, 0, -10, 5_300_040), (4, 5)
    item = new_item("vv", "2022-01-01T00:00:00Z", outline("EPSG:32633", transform, shape))
    item["properties"].update(
        {"proj:epsg": 32633, "proj:shape": shape, "proj:transform": list(transform)}
    )
    pixels = np.linspace(-30, 5, 20, dtype="float32").reshape(shape)
    for name, mark in (("vv", -9999.0), ("vh", 0.0)):
        pixels[0, 0] = mark
        path = write_geotiff(
            tmp_path / f"{name}.tif", pixels, crs=32633, transform=transform, nodata=mark
        )
        item["assets"][name] = {
            "href": str(path), "type": COG, "roles": ["data"],
            "raster:bands": [{"data_type": "float32", "nodata": mark, "unit": "dB"}],
        }  # fmt: skip
    layer = gx.open_stac(item)
    assert layer.attrs["units"] == "dB"
    assert layer["nodata"].values.tolist() == [-9999.0, 0.0]
    assert not layer.geoxr.valid.values[0, 0]
    assert layer.geoxr.valid.values.sum() == 19
    assert (layer.values[:, 0, 1:] < 0).all()
    item["assets"]["vv"]["raster:bands"][0]["nodata"] = 5.0
    with pytest.raises(gx.errors.ArgumentError, match=r"'vv' is 5\.0 in the item but -9999\.0"):
        gx.open_stac(item)
    opened.clear()
    del item["assets"]["vh"]
    item["assets"]["vv"]["raster:bands"][0]["nodata"] = "nan"
    assert np.isnan(gx.open_stac(item).geoxr.nodata)
    assert not opened


def _without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda item: item.update({key: None})


def _property(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda item: item["properties"].update(
        {key.replace("proj_", "proj:"): value for key, value in values.items()}
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without("geometry"), "LC08_001' has no geometry"),
        (lambda item: item.update(geometry={"type": "Circle"}), "a geometry that is no GeoJSON"),
        (lambda item: item["assets"].pop("SR_B5"), r"LC08_001' has no asset 'SR_B5'.*SR_B4 \(red\)"),
        (lambda item: item["assets"]["SR_B4"].pop("href"), "'SR_B4' has no href"),
        (_property(datetime="yesterday-ish"), "'yesterday-ish' is no datetime"),
        (_property(start_datetime="2022-01-01T00:00:00Z"), "ends before it starts"),
        (_property(proj_shape=[1, 2, 3]), r"proj:shape is \[1, 2, 3\], but must be 2 numbers"),
        (_property(proj_transform="north"), "proj:transform is 'north'"),
        (_property(proj_epsg=999_999), "'EPSG:999999' is not a coordinate reference system"),
        (_property(proj_epsg=None, proj_projjson={"type": "x"}), "proj:projjson is no coordinate"),
        (lambda item: item.update(id="LC08_000"), "LC08_000' of collection 'made' comes more than"),
        (lambda item: item["assets"]["SR_B4"].update({"raster:bands": [
            {"data_type": "float32", "nodata": 0}]}), "several types .float32: SR_B4; uint16: SR_B5"),
        (lambda item: item["assets"]["SR_B4"].update(
            {"raster:bands": [], "href": "gone.tif"}), r"gone\.tif does not exist"),
    ],
)  # fmt: skip
def test_items_that_cannot_be_used_are_named_or_left_out(
    landsat: list[dict[str, Any]], spoil: Callable[[dict[str, Any]], None], message: str
) -> None:
    spoil(landsat[1])
    keys = ["SR_B4", "SR_B5"]
    with pytest.raises(gx.errors.GeoxrError, match=message):
        gx.Catalog.from_stac(landsat, assets=keys)
    with pytest.warns(UserWarning, match=f"1 of 3 .* left out: .*{message}"):
        assert len(gx.Catalog.from_stac(landsat, assets=keys, errors="skip")) == 2
    with pytest.warns(UserWarning, match=f"1 of 3 .* left out: .*{message}"):
        assert gx.open_stac(landsat, assets=keys, errors="skip").sizes["time"] == 2
    if "comes more" not in message:
        with pytest.raises(gx.errors.ArgumentError, match=f"None of 1 items.*{message}"):
            gx.Catalog.from_stac(landsat[1], assets=keys, errors="skip")


def test_what_is_no_item_is_refused(landsat: list[dict[str, Any]], tmp_path: Path) -> None:
    text = tmp_path / "text.json"
    text.write_text("{")
    many = copy.deepcopy(landsat[0])
    for asset in many["assets"].values():
        asset["roles"] = ["overview"]
    rows: list[tuple[Any, str]] = [
        ([], "it is empty"),
        (7, "A int is no STAC item"),
        ({"type": "Feature", "id": "a"}, "a has no assets, so it is no STAC item"),
        ({"type": "Collection", "id": "c"}, "c has type 'Collection'.*the directory they are in"),
        (text, r"text\.json is not JSON"),
        (tmp_path / "none.json", r"none\.json"),
        ("https://host/item.json", r"pystac\.Item\.from_file"),
        (many, "no raster asset with the role 'data'. Its assets are SR_B4"),
    ]
    for items, message in rows:
        with pytest.raises(gx.errors.GeoxrError, match=message):
            gx.open_stac(items)
    with pytest.raises(gx.errors.ArgumentError, match="assets is empty"):
        gx.open_stac(landsat, assets=[])
    with pytest.raises(gx.errors.ArgumentError, match="errors is 'ignore'"):
        gx.open_stac(landsat, errors="ignore")  # type: ignore[arg-type]
    with pytest.raises(gx.errors.ArgumentError, match="are 'SR_B4'"):
        gx.open_stac(landsat, assets=["red", "SR_B4"])


def test_metadata_that_is_wrong_is_found_when_pixels_are_read(
    landsat: list[dict[str, Any]],
) -> None:
    landsat[0]["properties"]["proj:shape"] = [40, 51]
    layer = gx.open_stac(landsat[0])
    with pytest.raises(gx.errors.ReadFailedError, match="does not fit its row"):
        layer.load()


def test_a_mask_in_a_file_counts_where_an_item_names_no_nodata(tmp_path: Path) -> None:
    transform, shape = Affine(10, 0, 600_000, 0, -10, 5_300_040), (16, 16)
    path = tmp_path / "masked.tif"
    good = np.random.default_rng(0).random(shape) < 0.7
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", driver="GTiff", dtype="uint8", count=1, height=16, width=16,
            crs="EPSG:32633", transform=transform,
        ) as file,
    ):  # fmt: skip
        file.write(np.full((1, *shape), 7, "uint8"))
        file.write_mask(good)
    item = new_item("m", "2022-01-01T00:00:00Z", outline("EPSG:32633", transform, shape))
    item["assets"]["data"] = {"href": str(path), "type": COG, "roles": ["data"]}
    assert gx.Catalog.from_stac(item).frame["masked"].tolist() == [True]
    np.testing.assert_array_equal(gx.open_stac(item).geoxr.valid.values, good)


def test_the_clearest_of_sentinel_scenes_is_on_top_as_merged_by_hand(tmp_path: Path) -> None:
    """What users of odc.stac do by sorting items first: the clearest valid pixel wins."""
    clouds = {"S2A_a": 60.0, "S2B_b": 2.0, "S2A_c": 30.0}
    items, stack, cover = [], [], []
    rng = np.random.default_rng(0)
    for day, (name, cloud) in enumerate(clouds.items(), 1):
        item = sentinel_item(tmp_path, name, f"2022-03-0{day}T10:10:10Z", cloud)
        href = item["assets"]["B04"]["href"]
        with rasterio.open(href, "r+") as file:
            pixels = file.read()
            pixels[0, rng.random((60, 80)) < 0.3] = 0
            file.write(pixels)
        items.append(item)
        stack.append(pixels[0].astype("float64"))
        cover.append(cloud)
    layer = gx.open_stac(
        items, assets=["red"], time="collapse", sortby="cloud_cover", decode=True
    ).isel(band=0)
    expected = np.full((60, 80), np.nan)
    for i in np.argsort(cover):
        take = np.isnan(expected) & (stack[i] > 0)
        expected[take] = stack[i][take] * 1e-4 - 0.1
    assert np.isnan(expected).any()
    np.testing.assert_allclose(layer.values, expected, rtol=1e-6)
    series = gx.open_stac(items, assets=["red"])
    np.testing.assert_array_equal(series.values[:, 0], np.array(stack))

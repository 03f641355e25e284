"""How CRSs are read, named and told apart."""

import time
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from odc.geo.crs import CRS

import geoxr as gx
from geoxr.errors import ArgumentError
from geoxr.grid.crs import crs_from_wkt, crs_name, full_turn, parse_crs, same_crs
from geoxr.testing import write_geotiff

PIXELS = np.arange(1, 1 + 40 * 50, dtype="uint16").reshape(40, 50)
UTM = Affine(30, 0, 500_000, 0, -30, 5_200_000)
SINUSOIDAL = "+proj=sinu +R=6371007.181 +units=m"


def test_a_crs_prints_as_its_code_where_that_says_the_same(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", PIXELS, crs=32633, transform=UTM)
    layer = gx.open_raster(path)
    assert str(layer.geoxr.crs) == "EPSG:32633"
    assert str(layer.geoxr.reproject("EPSG:3035").geoxr.crs) == "EPSG:3035"
    assert str(parse_crs(pyproj.CRS(4326))) == "EPSG:4326"
    assert not str(parse_crs(SINUSOIDAL)).startswith("EPSG")


def test_reading_the_crs_of_a_layer_costs_microseconds(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", PIXELS, crs=SINUSOIDAL, transform=UTM)
    layer = gx.open_raster(path)
    assert layer.geoxr.crs is layer.geoxr.crs  # remembered by its text
    start = time.process_time()
    for _ in range(200):
        layer.geoxr.crs  # noqa: B018
    assert (time.process_time() - start) / 200 < 1e-3


def test_a_crs_with_its_own_datum_shift_is_not_the_one_without() -> None:
    with_shift = crs_from_wkt(
        'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563],'
        'TOWGS84[100,2,3,0,0,0,0]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],'
        'AUTHORITY["EPSG","4326"]]'
    )
    assert with_shift.proj.is_bound
    assert not same_crs(with_shift, CRS("EPSG:4326"))
    assert not same_crs(CRS("EPSG:4326"), with_shift)
    assert same_crs(with_shift, crs_from_wkt(with_shift.to_wkt()))
    assert "shift of its own" in crs_name(with_shift)
    assert crs_name(CRS("EPSG:4326")) == "EPSG:4326"


def test_the_same_crs_in_other_words_is_the_same() -> None:
    for code in (4326, 32633, 3857, 5070, 27700):
        one = pyproj.CRS.from_epsg(code)
        for text in (
            one.to_wkt(),
            one.to_wkt("WKT1_GDAL"),
            rasterio.crs.CRS.from_epsg(code).to_wkt(),
        ):
            assert same_crs(CRS(text), CRS(f"EPSG:{code}"))
    assert not same_crs(CRS("EPSG:32633"), CRS("EPSG:32632"))
    assert not same_crs(CRS(SINUSOIDAL), CRS("+proj=sinu +R=6371000 +units=m"))


def test_nonsense_is_no_crs() -> None:
    with pytest.raises(ArgumentError, match="not a coordinate reference system"):
        parse_crs("EPSG:nonsense")


def test_a_turn_is_told_in_the_units_of_the_crs() -> None:
    assert full_turn(CRS("EPSG:4326")) == 360
    assert full_turn(CRS("EPSG:4807")) == 400  # grads
    assert full_turn(CRS("EPSG:32633")) == 0
    assert full_turn(None) == 0


def test_a_crs_without_a_name_is_told_by_its_method() -> None:
    crs = parse_crs("+proj=laea +lat_0=41.6 +lon_0=-90")
    assert crs_name(crs) == "a CRS without a name (Lambert Azimuthal Equal Area)"

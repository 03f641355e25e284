"""What files say besides their pixels is kept."""

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

import geoxr as gx
from geoxr.grid.window import Window
from geoxr.io.gdal import open_file
from geoxr.io.geotiff import GeotiffReader
from geoxr.testing import write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)
SHARED = Path(
    os.environ.get("GEOXR_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data")
)


def write(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    return write_geotiff(path, pixels, crs="EPSG:32633", transform=UTM, **options)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Three bands of which the last one has another unit, scale and offset."""
    path = write(tmp_path / "a.tif", np.ones((3, 8, 8), "int16"), nodata=-1)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.1, 0.1, 0.5), (0.0, 0.0, 7.0)
        file.units = ("m", "m", "K")
    return path


def test_what_differs_between_bands_is_a_coordinate(packed: Path) -> None:
    layer = gx.open_raster(packed)
    assert layer["scale"].values.tolist() == [0.1, 0.1, 0.5]
    assert layer["offset"].values.tolist() == [0.0, 0.0, 7.0]
    assert layer["units"].values.tolist() == ["m", "m", "K"]
    assert not {"scale", "offset", "units"} & set(layer.attrs)
    assert layer.attrs["nodata"] == -1
    assert layer.isel(band=[2, 0])["units"].values.tolist() == ["K", "m"]


def test_what_bands_share_is_an_attribute(packed: Path) -> None:
    first = gx.open_raster(packed, bands=[1, 2])
    assert (first.attrs["scale"], first.attrs["offset"], first.attrs["units"]) == (0.1, 0.0, "m")
    last = gx.open_raster(packed, bands=[3])
    assert (last.attrs["scale"], last.attrs["offset"], last.attrs["units"]) == (0.5, 7.0, "K")
    assert set(last.coords) == {"band", "y", "x", "spatial_ref"}


def test_a_file_per_band_brings_what_each_says(tmp_path: Path) -> None:
    paths = {}
    for name, scale in (("a", 0.5), ("b", 0.25)):
        paths[name] = write(tmp_path / f"{name}.tif", np.ones((8, 8), "int16"))
        with rasterio.open(paths[name], "r+") as file:
            file.scales = (scale,)
    layer = gx.open_raster(paths)
    assert layer["scale"].values.tolist() == [0.5, 0.25]
    assert layer.attrs["units"] == "DN"


def test_scales_of_one_layer_do_not_pass_for_those_of_another(packed: Path, tmp_path: Path) -> None:
    plain = write(tmp_path / "b.tif", np.ones((3, 8, 8), "int16"))
    ds = gx.merge({"packed": gx.open_raster(packed), "plain": gx.open_raster(plain)})
    assert ds["packed"]["scale_packed"].values.tolist() == [0.1, 0.1, 0.5]
    assert not {"scale", "scale_packed"} & set(ds["plain"].coords)


def test_each_band_has_its_nodata(tmp_path: Path) -> None:
    pixels = np.array([[[1, 2, 3]], [[1, 2, 3]], [[1, 2, 3]]], "uint8")
    write(tmp_path / "a.tif", pixels)
    with rasterio.open(tmp_path / "a.tif") as source:
        text = source.profile
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{i}">{mark}<SimpleSource><SourceFilename '
        f'relativeToVRT="1">a.tif</SourceFilename><SourceBand>{i}</SourceBand></SimpleSource>'
        f"</VRTRasterBand>"
        for i, mark in enumerate(
            ["<NoDataValue>1</NoDataValue>", "<NoDataValue>3</NoDataValue>", ""], 1
        )
    )
    path = tmp_path / "a.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="{text["width"]}" rasterYSize="1"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>500000,10,0,5200000,0,-10</GeoTransform>{bands}</VRTDataset>"
    )
    layer = gx.open_raster(path)
    np.testing.assert_array_equal(layer["nodata"].values, [1, 3, np.nan])
    assert layer.geoxr.nodata is None
    np.testing.assert_array_equal(layer.geoxr.valid.values, [[False, True, False]])
    np.testing.assert_array_equal(layer.isel(band=[1, 2]).geoxr.valid.values, [[True, True, False]])
    np.testing.assert_array_equal(layer.isel(band=[2]).geoxr.valid.values, [[True] * 3])
    assert gx.open_raster(path, nodata=2).geoxr.nodata == 2


def test_names_of_codes_become_classes(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tif", np.array([[1, 3]], "uint8"), colormap={1: (255, 211, 0), 3: (9, 9, 9)}
    )
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><CategoryNames><Category></Category>'
        "<Category>corn field</Category><Category></Category><Category>soy</Category>"
        "</CategoryNames></PAMRasterBand></PAMDataset>"
    )
    layer = gx.open_raster(path)
    assert layer.geoxr.kind == "categorical"
    assert layer.geoxr.classes.values == (1, 3)
    assert layer.geoxr.classes.names == ("corn field", "soy")
    assert layer.geoxr.classes.colors == ("#ffd300", "#090909")
    assert layer.dtype == "uint8"


@pytest.mark.parametrize("name", ["NETCDF", "HDF5"])
def test_a_file_of_rasters_says_how_to_open_each(tmp_path: Path, name: str) -> None:
    import xarray as xr

    coords = {"y": [1.5, 0.5], "x": [0.5, 1.5]}
    grid = xr.DataArray(np.array([[1, 2], [3, 4]], "int16"), coords, ("y", "x"))
    path = tmp_path / ("a.nc" if name == "NETCDF" else "a.h5")
    xr.Dataset({"one": grid, "two": grid * 2}).to_netcdf(path, engine="netcdf4")
    with pytest.raises(
        gx.errors.NotARasterError, match=r"rasters inside.*gx\.open_raster\('"
    ) as info:
        gx.open_raster(path)
    call = str(info.value).split("gx.open_raster('")[2].split("')")[0]
    layer = gx.open_raster(call)
    assert layer.values.sum() == 20
    assert path.name in call


def rasters() -> list[str]:
    if not (SHARED / "INVENTORY.json").exists():
        return []
    known = json.loads((SHARED / "INVENTORY.json").read_text())["files"]
    return [file["file"] for file in known if file["kind"] == "raster"]


@pytest.mark.skipif(not rasters(), reason="needs the real files")
def test_real_files_have_the_pixels_that_gdal_gives(rng: np.random.Generator) -> None:
    own = total = 0
    for name in rasters():
        try:
            reader = open_file(SHARED / name).reader
        except (gx.errors.NotARasterError, gx.errors.MissingFileError):
            continue
        total += 1
        own += isinstance(reader, GeotiffReader)
        height, width = reader.geobox.shape
        row, col = rng.integers(0, height), rng.integers(0, width)
        window = Window(int(row), int(col), min(height - row, 99), min(width - col, 99))
        bands = tuple(range(len(reader.bands)))
        pixels = np.empty((1, len(bands), window.height, window.width), reader.dtype)
        valid = np.empty(pixels.shape, bool)
        reader.read(window, pixels, valid, bands=bands, times=(0,))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            file = rasterio.open(SHARED / name)
        with file:
            area = rasterio.windows.Window(col, row, window.width, window.height)
            np.testing.assert_array_equal(pixels[0], file.read(window=area), err_msg=name)
            # GDAL looks at the real part of complex numbers only.
            if ColorInterp.alpha not in file.colorinterp and reader.dtype.kind != "c":
                mask = file.read_masks(window=area) > 0
                if reader.dtype.kind == "f":
                    mask &= np.isfinite(pixels[0])
                np.testing.assert_array_equal(valid[0], mask, err_msg=name)
    assert own > 0.9 * total

"""Real files open by the names of their products; the files are not part of the repository."""

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio

import geoxr as gx

ROOT = Path(
    os.environ.get("GEOXR_SHARED_DATA") or Path(__file__).parents[2].parent / "shared" / "data"
)
#: Product, folder or file, and the type and number of bands.
OPENS = [
    ("landsat8-l2-sr", "landsat_c2l2/assets4", "uint16", 7),
    ("landsat8-l2-st", "landsat_c2l2/assets", "uint16", 1),
    ("naip", "naip_series_nd", "uint8", 4),
    ("naip", "naip_stac/m_3211605_ne_11_060_20200415.tif", "uint8", 4),
    ("cdl", "usda_cdl", "uint8", None),
    ("worldcover", "esa_worldcover", "uint8", None),
    ("chesapeake-lc", "chesapeake_cvpr", "uint8", None),
    ("chesapeake-lu2013", "chesapeake_lulc", "uint8", None),
    ("jrc-gsw-occurrence", "jrc_gsw", "uint8", 1),
    ("jrc-gsw-change", "jrc_gsw", "uint8", 1),
    ("jrc-gsw-transitions", "jrc_gsw", "uint8", None),
]


def found(name: str) -> Path:
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


@pytest.mark.parametrize(("product", "name", "dtype", "bands"), OPENS)
@pytest.mark.filterwarnings("ignore:Besides:UserWarning")
def test_it_opens_and_has_data(product: str, name: str, dtype: str, bands: int | None) -> None:
    layer = gx.open_product(product, found(name))
    assert layer.dtype == dtype
    assert layer.sizes.get("band") == bands
    part = layer[..., :: -(-layer.sizes["y"] // 200), :: -(-layer.sizes["x"] // 200)]
    valid = part.geoxr.valid.values
    assert valid.any()
    classes = layer.geoxr.classes
    if classes is not None:
        seen = np.unique(part.values[valid])
        assert set(seen.tolist()) <= set(classes.values)


def test_the_mask_of_a_real_scene_is_that_of_its_bits() -> None:
    folder = found("landsat_c2l2/assets")
    layer = gx.open_product("landsat8-l2-sr", folder, mask_clouds=True)
    with rasterio.open(next(folder.glob("*QA_PIXEL.TIF"))) as file:
        quality = file.read(1)
    clear = np.ones(quality.shape, bool)
    for bit in range(5):
        clear &= quality // 2**bit % 2 == 0
    assert 0.01 < clear.mean() < 0.99
    for band in layer["band"].values:
        with rasterio.open(next(folder.glob(f"*{band}.TIF"))) as file:
            stored = file.read(1)
        np.testing.assert_array_equal(layer.sel(band=band).values, np.where(clear, stored, 0))


def test_a_real_band_after_the_change_of_the_baseline_is_shifted() -> None:
    folder = found("sentinel2_t32tls")
    layer = gx.open_product("sentinel2-l2a", folder, bands=["coastal"])
    with rasterio.open(next(folder.rglob("*N04.00_R60m_B01.jp2"))) as file:
        stored = file.read(1).astype(int)
    expected = np.where(stored == 0, 0, np.maximum(stored - 1000, 1))
    np.testing.assert_array_equal(layer.values[0], expected)

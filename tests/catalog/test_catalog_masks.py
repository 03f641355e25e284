"""Catalogs of products bring along quality files, and what names tell."""

from pathlib import Path

import numpy as np
import pytest
from affine import Affine

import geoxr as gx
from geoxr.testing import write_geotiff

NAME = "LC08_L2SP_023031_{date}_20230711_02_T1"
UTM = Affine(30, 0, 600_000, 0, -30, 4_600_000)


@pytest.fixture
def cloudy(tmp_path: Path) -> Path:
    """Two scenes of one place; the first has clouds (QA_PIXEL bit 3) on its left half."""
    for number, date in enumerate(("20230601", "20230603"), start=1):
        name = NAME.format(date=date)
        red = np.full((6, 8), number * 1000, "uint16")
        quality = np.full((6, 8), 1 << 6, "uint16")
        quality[:, :4] = (1 << 3) if number == 1 else (1 << 6)
        for band, pixels, nodata in (("SR_B4", red, 0), ("QA_PIXEL", quality, 1)):
            write_geotiff(
                tmp_path / f"{name}_{band}.TIF", pixels, crs=32615, transform=UTM, nodata=nodata
            )
    return tmp_path


def test_scenes_are_masked_as_by_open_product(cloudy: Path, tmp_path: Path) -> None:
    catalog = gx.Catalog.scan(cloudy, product="landsat8-l2-sr", bands=["red"], mask_clouds=True)
    assert len(catalog) == 2
    stored = gx.Catalog.from_parquet(catalog.to_parquet(tmp_path / "a.parquet"))
    expected = gx.open_product(
        "landsat8-l2-sr", cloudy, bands=["red"], mask_clouds=True, time="collapse"
    )
    assert expected.values[0, 0].tolist() == [2000] * 4 + [1000] * 4
    for one in (catalog, stored, catalog.update(cloudy, bands=["red"], mask_clouds=True)):
        np.testing.assert_array_equal(one.to_xarray(time="collapse"), expected)
    bare = gx.Catalog.scan(cloudy, product="landsat8-l2-sr", bands=["red"])
    assert np.unique(bare.to_xarray(time="collapse").values).tolist() == [1000]
    with pytest.raises(
        gx.errors.ArgumentError, match=r"masked when they are scanned.*Catalog\.scan"
    ):
        bare.to_xarray(mask_clouds=True)
    with pytest.raises(gx.errors.ArgumentError, match="need a product"):
        gx.Catalog.scan(cloudy, mask_clouds=True)


def test_what_names_tell_becomes_columns(cloudy: Path) -> None:
    frame = gx.Catalog.scan(cloudy, product="landsat8-l2-sr", bands=["red"]).frame
    assert frame["id"].tolist() == [NAME.format(date=date) for date in ("20230601", "20230603")]
    assert frame["tile"].tolist() == ["023031"] * 2
    assert frame["category"].tolist() == ["T1"] * 2

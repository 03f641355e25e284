"""Ways from one CRS to another."""

import warnings

import pyproj
import pytest
from odc.geo.crs import CRS

from geoxr.grid import change
from geoxr.grid.change import change_between


def test_a_missing_grid_file_is_told_once_with_the_accuracy() -> None:
    group = pyproj.transformer.TransformerGroup
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if group("EPSG:27700", "EPSG:4326", always_xy=True).best_available:
            pytest.skip("PROJ has the grid here")
    change._change.cache_clear()
    with pytest.warns(
        UserWarning, match=r"OSGB36 to WGS 84.*, 1 m\) needs uk_os_OSTN15.*right to 2 m"
    ):
        change_between(CRS("EPSG:27700"), CRS("EPSG:4326"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        change_between(CRS("EPSG:27700"), CRS("EPSG:4326"))

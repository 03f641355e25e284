"""Makers of small, realistic data for tests, notebooks, benchmarks and the demo."""

from geoxr.testing.geotiff import write_geotiff
from geoxr.testing.landsat_cdl import LandsatCDL, make_landsat_cdl
from geoxr.testing.world import World

__all__ = ["LandsatCDL", "World", "make_landsat_cdl", "write_geotiff"]

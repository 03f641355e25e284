"""Grids: the one place that knows how CRS, transform, nodata and classes are stored."""

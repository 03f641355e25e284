"""Layers to files: Zarr and Cloud Optimized GeoTIFF."""

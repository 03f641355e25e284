"""Landsat Collection 2.

References
----------
USGS, Landsat 8-9 Collection 2 Level 2 Science Product Guide, LSDS-1619, version 5: file names
(section 2), scale factors of surface reflectance (section 6).
"""

from __future__ import annotations

from geoxr.products.product import Band, Product

LANDSAT8_L2_SR = Product(
    name="landsat8-l2-sr",
    title="Landsat 8 OLI surface reflectance, Collection 2 Level 2",
    pattern=(
        r"LC08_(?:L2SP|L2SR)_\d{6}_(?P<date>\d{8})_\d{8}_02_(?:RT|T1|T2)_(?P<band>SR_B[1-7])"
        r"\.(?:TIF|tif)"
    ),
    bands=(
        Band("SR_B1", "coastal", 0.44),
        Band("SR_B2", "blue", 0.48),
        Band("SR_B3", "green", 0.56),
        Band("SR_B4", "red", 0.655),
        Band("SR_B5", "nir", 0.865),
        Band("SR_B6", "swir16", 1.61),
        Band("SR_B7", "swir22", 2.2),
    ),
    nodata=0,
    scale=2.75e-5,
    offset=-0.2,
    license="public domain",
    citation="U.S. Geological Survey, Landsat Collection 2 Level 2",
)

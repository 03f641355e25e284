"""Land cover maps: NLCD and ESA WorldCover.

References
----------
Multi-Resolution Land Characteristics Consortium, National Land Cover Database class legend and
description. Zanaga et al., ESA WorldCover 10 m 2020 v100, Product User Manual, table of classes;
doi 10.5281/zenodo.5571936.
"""

from __future__ import annotations

from geoxr.grid.classes import Classes
from geoxr.products.product import Band, Product

Legend = tuple[tuple[int, str, str], ...]


def classes_of(legend: Legend) -> Classes:
    """Classes of rows of code, name and colour."""
    values, names, colors = zip(*legend, strict=True)
    return Classes(values, names, colors)


NLCD = Product(
    name="nlcd",
    title="National Land Cover Database, land cover",
    pattern=(
        r"(?i:nlcd)_(?P<date>\d{4})_(?i:land_cover)_\w+\.(?:img|tiff?)",
        r"(?i:annual_nlcd_lndcov)_(?P<date>\d{4})_\w+\.tiff?",
    ),
    bands=(Band("class", resolution=30),),
    kind="categorical",
    nodata=0,
    units="1",
    classes=classes_of((
        (11, "Open Water", "#466b9f"),
        (12, "Perennial Ice/Snow", "#d1def8"),
        (21, "Developed, Open Space", "#dec5c5"),
        (22, "Developed, Low Intensity", "#d99282"),
        (23, "Developed, Medium Intensity", "#eb0000"),
        (24, "Developed, High Intensity", "#ab0000"),
        (31, "Barren Land (Rock/Sand/Clay)", "#b3ac9f"),
        (41, "Deciduous Forest", "#68ab5f"),
        (42, "Evergreen Forest", "#1c5f2c"),
        (43, "Mixed Forest", "#b5c58f"),
        (51, "Dwarf Scrub", "#af963c"),
        (52, "Shrub/Scrub", "#ccb879"),
        (71, "Grassland/Herbaceous", "#dfdfc2"),
        (72, "Sedge/Herbaceous", "#d1d182"),
        (73, "Lichens", "#a3cc51"),
        (74, "Moss", "#82ba9e"),
        (81, "Pasture/Hay", "#dcd939"),
        (82, "Cultivated Crops", "#ab6c28"),
        (90, "Woody Wetlands", "#b8d9eb"),
        (95, "Emergent Herbaceous Wetlands", "#6c9fb8"),
    )),
    date_format="%Y",
    license="public domain",
    citation="U.S. Geological Survey, National Land Cover Database",
)  # fmt: skip

WORLDCOVER = Product(
    name="worldcover",
    title="ESA WorldCover, land cover at 10 m",
    pattern=(
        r"ESA_WorldCover_10m_(?P<date>\d{4})_(?P<version>v\d{3})_(?P<tile>[NS]\d\d[EW]\d{3})_Map"
        r"\.tiff?"
    ),
    bands=(Band("class", resolution=10),),
    kind="categorical",
    nodata=0,
    units="1",
    classes=classes_of((
        (10, "Tree cover", "#006400"),
        (20, "Shrubland", "#ffbb22"),
        (30, "Grassland", "#ffff4c"),
        (40, "Cropland", "#f096ff"),
        (50, "Built-up", "#fa0000"),
        (60, "Bare / sparse vegetation", "#b4b4b4"),
        (70, "Snow and ice", "#f0f0f0"),
        (80, "Permanent water bodies", "#0064c8"),
        (90, "Herbaceous wetland", "#0096a0"),
        (95, "Mangroves", "#00cf75"),
        (100, "Moss and lichen", "#fae6a0"),
    )),
    date_format="%Y",
    license="CC-BY-4.0",
    citation="ESA WorldCover project, contains modified Copernicus Sentinel data",
)  # fmt: skip

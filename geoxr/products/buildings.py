"""Building footprints as features.

References
----------
Microsoft, Canadian Building Footprints, https://github.com/Microsoft/CanadianBuildingFootprints: one
GeoJSON file for each province and territory, in EPSG:4326.
"""

from __future__ import annotations

from geoxr.grid.classes import Classes
from geoxr.products.product import Band, Product

_PROVINCES = (
    "Alberta|BritishColumbia|Manitoba|NewBrunswick|NewfoundlandAndLabrador|NorthwestTerritories|"
    "NovaScotia|Nunavut|Ontario|PrinceEdwardIsland|Quebec|Saskatchewan|YukonTerritory"
)

CANADIAN_BUILDINGS = Product(
    name="canadian-buildings",
    title="Canadian Building Footprints",
    pattern=rf"(?P<province>{_PROVINCES})\.(?:geojson|gpkg|fgb|parquet|shp)",
    bands=(Band("class"),),
    kind="categorical",
    units="1",
    classes=Classes((0, 1), ("background", "building"), ("#ffffff", "#c00000")),
    vector=True,
    license="ODbL-1.0",
    citation="Microsoft, Canadian Building Footprints",
)

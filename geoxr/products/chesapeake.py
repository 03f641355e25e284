"""Land cover and land use of the Chesapeake Bay watershed.

References
----------
Robinson et al. 2019, Large Scale High-Resolution Land Cover Mapping with Multi-Resolution Data, CVPR,
doi 10.1109/CVPR.2019.01301: land cover of the tiles. Chesapeake Bay Program, Land Use and Land Cover
Database 2022 Edition, doi 10.5066/P981GV1L: codes and colours. Chesapeake Bay Program, Phase 6 land
use at 1 m, 2013/2014: codes and names.
"""

from __future__ import annotations

from geoxr.products.land_cover import classes_of
from geoxr.products.product import Band, Product

_BAND = (Band("class", resolution=1),)

LAND_COVER = Product(
    name="chesapeake-lc",
    title="Chesapeake land cover (CVPR 2019)",
    pattern=r"m_(?P<tile>\d{7}_[ns][ew]_\d{1,2})_1_lc\.tiff?",
    bands=_BAND,
    kind="categorical",
    nodata=15,
    missing=(0,),
    units="1",
    classes=classes_of((
        (1, "Water", "#00c5ff"),
        (2, "Tree canopy / forest", "#267300"),
        (3, "Low vegetation / field", "#a3ff73"),
        (4, "Barren", "#ffaa00"),
        (5, "Impervious (other)", "#9c9c9c"),
        (6, "Impervious (road)", "#000000"),
    )),
    license="CC0-1.0",
    citation="Robinson et al. 2019, CVPR",
)  # fmt: skip

#: Colours of the codes of the 2022 edition; names of codes are not published with the files.
_LULC_COLORS = {
    "#005ce6": (11, 12, 13, 14, 15), "#000000": (21,), "#eb0602": (22,), "#595959": (23,),
    "#8a8a88": (24, 25, 26), "#737300": (27,), "#e9ffbe": (28,), "#ffff73": (29, 51, 52, 53),
    "#267300": (41, 65, 75, 95), "#38a800": (42, 64, 74, 94), "#aaff00": (54, 55, 56),
    "#4dd194": (62, 63), "#baf5d9": (72, 73), "#ffd37f": (83, 84, 85), "#00a884": (91, 92, 93),
    "#ffffff": (127,),
}  # fmt: skip

LAND_USE = Product(
    name="chesapeake-lulc",
    title="Chesapeake Bay land use and land cover, 2022 edition",
    pattern=r"(?P<state>dc|de|md|ny|pa|va|wv)_lulc_(?P<date>\d{4})_2022-Edition\.tiff?",
    bands=_BAND,
    kind="categorical",
    units="1",
    classes=classes_of(
        tuple(
            sorted((c, f"Code {c}", color) for color, codes in _LULC_COLORS.items() for c in codes)
        )
    ),
    date_format="%Y",
    license="CC0-1.0",
    citation="Chesapeake Bay Program and U.S. Geological Survey, doi 10.5066/P981GV1L",
)

LAND_USE_2013 = Product(
    name="chesapeake-lu2013",
    title="Chesapeake Bay land use of 2013/2014, Phase 6",
    pattern=r"BayWide_1m_LU_E(?P<east>\d+)_N(?P<north>\d+)\.tiff?",
    bands=_BAND,
    kind="categorical",
    nodata=0,
    missing=(255,),
    units="1",
    classes=classes_of((
        (1, "Impervious Roads", "#000000"),
        (2, "Impervious Non-Roads", "#730000"),
        (3, "Tree Canopy over Impervious", "#55ff00"),
        (4, "Water", "#0070ff"),
        (5, "Tidal Wetlands", "#00ffc5"),
        (6, "Floodplain Wetlands", "#00e6a9"),
        (7, "Other Wetlands", "#00e6a9"),
        (8, "Forest", "#267300"),
        (9, "Tree Canopy over Turf Grass", "#aaff00"),
        (10, "Mixed Open", "#a87000"),
        (11, "Fractional Turf Grass (small)", "#ffbee8"),
        (12, "Fractional Turf Grass (medium)", "#ffbee8"),
        (13, "Fractional Turf Grass (large)", "#ffbee8"),
        (14, "Fractional Impervious", "#c500ff"),
        (15, "Turf Grass", "#ffff73"),
        (16, "Cropland", "#e69800"),
        (17, "Pasture", "#e69800"),
    )),
    license="public domain",
    citation="Chesapeake Bay Program, Phase 6 land use",
)  # fmt: skip

CHESAPEAKE = (LAND_COVER, LAND_USE, LAND_USE_2013)

"""National Agriculture Imagery Program: aerial images of the United States.

References
----------
USDA Farm Production and Conservation, NAIP Quarter Quad imagery: names of files
(``m_<quadrangle>_<quarter>_<zone>_<resolution>_<date>``), bands red, green, blue, near infrared.
"""

from __future__ import annotations

from geoxr.products.product import Band, Product

NAIP = Product(
    name="naip",
    title="National Agriculture Imagery Program, aerial image",
    pattern=(
        r"m_(?P<tile>\d{7}_[ns][ew]_\d{1,2})_(?:h|\d{1,3})_(?P<date>\d{8})(?:_\d{8})?"
        r"(?:[-_][A-Za-z]\w*)?\.(?:tiff?|TIFF?|jp2)"
    ),
    # In four-band files the fourth is often marked as alpha, but it is near infrared.
    bands=(Band("R", "red"), Band("G", "green"), Band("B", "blue"), Band("N", "nir")),
    license="public domain",
    citation="USDA Farm Production and Conservation, National Agriculture Imagery Program",
)

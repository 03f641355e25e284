"""JRC Global Surface Water: where and when there was water, 1984 on.

References
----------
Pekel et al. 2016, Nature 540, 418-422, doi 10.1038/nature20584; European Commission, Joint Research
Centre, Global Surface Water Data Users Guide: layers, symbology and numbers that are no data.
"""

from __future__ import annotations

from typing import Any

from geoxr.products.land_cover import classes_of
from geoxr.products.product import Band, Product


def _layer(layer: str, title: str, **more: Any) -> Product:
    return Product(
        name=f"jrc-gsw-{layer}",
        title=f"JRC Global Surface Water, {title}",
        pattern=(
            rf"{layer}-\d{{10}}-\d{{10}}\.tiff?",
            rf"{layer}_\d+[EW]_\d+[NS](?:_?v\d_\d(?:_\d{{4}})?)?\.tiff?",
        ),
        nodata=255,
        family="jrc-gsw",
        license="Copernicus programme, free of charge",
        citation="European Commission, Joint Research Centre, Global Surface Water",
        **{"bands": (Band(layer, resolution=30),), **more},
    )


SURFACE_WATER = (
    _layer("occurrence", "occurrence", units="%"),
    _layer("recurrence", "recurrence between years", units="%"),
    _layer("seasonality", "months of water in a year", units="month"),
    _layer("change", "change of occurrence", missing=(253, 254), offset=-100.0, decoded_units="%"),
    _layer(
        "extent",
        "maximum extent",
        kind="categorical",
        units="1",
        classes=classes_of(((0, "Not water", "#ffffff"), (1, "Water detected", "#6666ff"))),
    ),
    _layer(
        "transitions",
        "transitions",
        kind="categorical",
        units="1",
        classes=classes_of((
            (0, "Not water", "#ffffff"),
            (1, "Permanent", "#0000ff"),
            (2, "New permanent", "#22b14c"),
            (3, "Lost permanent", "#d1102d"),
            (4, "Seasonal", "#99d9ea"),
            (5, "New seasonal", "#b5e61d"),
            (6, "Lost seasonal", "#e6a1aa"),
            (7, "Seasonal to permanent", "#ff7f27"),
            (8, "Permanent to seasonal", "#ffc90e"),
            (9, "Ephemeral permanent", "#7f7f7f"),
            (10, "Ephemeral seasonal", "#c3c3c3"),
        )),
    ),
)  # fmt: skip

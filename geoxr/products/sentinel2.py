"""Sentinel-2 MSI, Level-1C and Level-2A.

References
----------
ESA, Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), sections 3.4 (naming) and 3.6
(bands), and the note on processing baseline 04.00 of 25 January 2022: ``RADIO_ADD_OFFSET`` and
``BOA_ADD_OFFSET`` of -1000, quantification value 10,000. Classes of the scene classification (SCL):
Sen2Cor, Level-2A Algorithm Theoretical Basis Document, with the colours of its figure.
"""

from __future__ import annotations

from geoxr.grid.classes import Classes
from geoxr.products.product import QA, Band, Metadata, Product

_BANDS = (
    Band("B01", "coastal", 0.4427, 60), Band("B02", "blue", 0.4927, 10),
    Band("B03", "green", 0.5598, 10), Band("B04", "red", 0.6646, 10),
    Band("B05", "rededge1", 0.7041, 20), Band("B06", "rededge2", 0.7405, 20),
    Band("B07", "rededge3", 0.7828, 20), Band("B08", "nir", 0.8328, 10),
    Band("B8A", "nir08", 0.8647, 20), Band("B09", "nir09", 0.9451, 60),
    Band("B10", "cirrus", 1.3735, 60), Band("B11", "swir16", 1.6137, 20),
    Band("B12", "swir22", 2.2024, 20),
)  # fmt: skip

_NAMES = "B0[1-9]|B8A|B1[0-2]"
_TILE = r"(?P<tile>\d{2}[C-X][A-Z]{2})"
#: Folders: SAFE with or without a baseline, and the short names of COG archives.
_FOLDERS = (
    r"^S2(?P<platform>[A-D])_MSI(?P<level>L1C|L2A)_(?P<date>\d{8}T\d{6})_N(?P<baseline>\d{4})"
    r"_R(?P<orbit>\d{3})_T(?P<tile>\d{2}[C-X][A-Z]{2})",
    r"^S2(?P<platform>[A-D])_MSI(?P<level>L1C|L2A)_(?P<date>\d{8}T\d{6})_R(?P<orbit>\d{3})"
    r"_T(?P<tile>\d{2}[C-X][A-Z]{2})",
    r"^S2(?P<platform>[A-D])_T?(?P<tile>\d{2}[C-X][A-Z]{2})_(?P<date>\d{8}(?:T\d{6})?)_\d+"
    r"_(?P<level>L1C|L2A)$",
    r"^R(?P<resolution>10|20|60)m$",
)
_SUFFIX = r"\.(?:jp2|JP2|tiff?|TIFF?)"
#: The metadata of a SAFE tree, and the STAC item beside the COGs of a scene.
_METADATA = (
    Metadata("*.SAFE/MTD_MSI*.xml",
             r"<Cloud_Coverage_Assessment>\s*(?P<cloud_cover>\d[\d.]*)"),
    Metadata("*.SAFE/MTD_MSI*.xml", r"<PROCESSING_BASELINE>\s*(?P<baseline>\d\d\.?\d\d)\s*<"),
    Metadata("S2*_L[12][AC]/S2*_L[12][AC].json", r'"eo:cloud_cover": ?(?P<cloud_cover>\d[\d.]*)'),
)  # fmt: skip


def _patterns(names: str, sizes: str) -> tuple[str, ...]:
    """Names in the granules of a SAFE tree, of a band alone, and of the format before 2016."""
    return (
        rf"(?:L2A_)?T{_TILE}_(?P<date>\d{{8}}T\d{{6}})_(?P<band>{names})"
        rf"(?:_(?P<resolution>{sizes})m)?{_SUFFIX}",
        rf"(?P<band>{names})(?:_(?P<resolution>{sizes})m)?{_SUFFIX}",
        rf"S2[A-D]_OPER_MSI_L(?:1C|2A)_TL_\w{{4}}_\d{{8}}T\d{{6}}_A\d{{6}}_T{_TILE}"
        rf"_N(?P<baseline>\d\d\.\d\d)(?:_R(?P<resolution>{sizes})m)?_(?P<band>{names}){_SUFFIX}",
    )


_CITATION = "Copernicus Sentinel-2 data, European Space Agency"
_LICENSE = "Copernicus Sentinel data terms"

L1C = Product(
    name="sentinel2-l1c",
    title="Sentinel-2 MSI top-of-atmosphere reflectance, Level-1C",
    pattern=_patterns(_NAMES, "10|20|60"),
    bands=_BANDS,
    folder=_FOLDERS,
    metadata=_METADATA,
    exclude=r"MSI_?L2A|_L2A(?:$|[/\\])|[/\\]R\d0m[/\\]|\d0m\.\w+$",
    nodata=0,
    scale=1e-4,
    baseline_shift=(("04.00", -1000),),
    date_format="%Y%m%dT%H%M%S",
    license=_LICENSE,
    citation=_CITATION,
)

_CLOUDY = QA("SCL", values=(0, 1, 3, 8, 9, 10))

L2A = Product(
    name="sentinel2-l2a",
    title="Sentinel-2 MSI surface reflectance, Level-2A",
    pattern=_patterns(f"{_NAMES}|SCL", "10|20|60"),
    bands=tuple(band for band in _BANDS if band.name != "B10"),
    qa=(_CLOUDY,),
    folder=_FOLDERS,
    metadata=_METADATA,
    exclude=r"MSI_?L1C|_L1C(?:$|[/\\])",
    nodata=0,
    scale=1e-4,
    baseline_shift=(("04.00", -1000),),
    family="sentinel2-l2a",
    date_format="%Y%m%dT%H%M%S",
    license=_LICENSE,
    citation=_CITATION,
)

_SCL = (
    (1, "Saturated or defective", "#ff0000"), (2, "Dark area pixels", "#2f2f2f"),
    (3, "Cloud shadows", "#643200"), (4, "Vegetation", "#00a000"),
    (5, "Not vegetated", "#ffe65a"), (6, "Water", "#0000ff"), (7, "Unclassified", "#808080"),
    (8, "Cloud medium probability", "#c0c0c0"), (9, "Cloud high probability", "#ffffff"),
    (10, "Thin cirrus", "#64c8ff"), (11, "Snow or ice", "#ff96ff"),
)  # fmt: skip

SCL = Product(
    name="sentinel2-scl",
    title="Sentinel-2 scene classification, Level-2A",
    pattern=_patterns("SCL", "20|60"),
    bands=(Band("SCL"),),
    folder=_FOLDERS,
    metadata=_METADATA,
    exclude=L2A.exclude,
    kind="categorical",
    nodata=0,
    units="1",
    classes=Classes(*(tuple(column) for column in zip(*_SCL, strict=True))),
    family="sentinel2-l2a",
    date_format="%Y%m%dT%H%M%S",
    license=_LICENSE,
    citation=_CITATION,
)

SENTINEL2 = (L2A, L1C, SCL)

"""Landsat Collection 2: multispectral scanner to Landsat 9, Level 1 and Level 2.

References
----------
USGS, Landsat 8-9 Collection 2 Level 2 Science Product Guide, LSDS-1619, and Landsat 4-7 Collection 2
Level 2 Science Product Guide, LSDS-1618: file names, scale factors of surface reflectance and surface
temperature, bits of QA_PIXEL and QA_RADSAT. USGS, Landsat 8-9 OLI/TIRS and Landsat 1-5 MSS Collection
2 Level 1 Data Format Control Books, LSDS-1822 and LSDS-1829: bands and bits of Level 1.
"""

from __future__ import annotations

from typing import NamedTuple

from geoxr.products.product import QA, Band, Metadata, Product

#: (number, common name, wavelength of the centre [micrometre], pixel size [m])
_Row = tuple[str, str, float, float]


class _Sensor(NamedTuple):
    """An instrument: its names in file names, its bands by number."""

    title: str
    codes: str
    reflective: tuple[_Row, ...]
    thermal: tuple[_Row, ...] = ()
    level1_only: tuple[_Row, ...] = ()
    clouds: tuple[int, ...] = (0, 1, 3, 4)
    dropped: tuple[int, ...] = (9,)


_MSS = (("green", 0.55), ("red", 0.65), ("nir08", 0.75), ("nir09", 0.95))
_TM: tuple[_Row, ...] = (
    ("1", "blue", 0.485, 30), ("2", "green", 0.56, 30), ("3", "red", 0.66, 30),
    ("4", "nir", 0.83, 30), ("5", "swir16", 1.65, 30), ("7", "swir22", 2.215, 30),
)  # fmt: skip
_ETM: tuple[_Row, ...] = (
    ("1", "blue", 0.485, 30), ("2", "green", 0.56, 30), ("3", "red", 0.66, 30),
    ("4", "nir", 0.835, 30), ("5", "swir16", 1.65, 30), ("7", "swir22", 2.22, 30),
)  # fmt: skip
_OLI: tuple[_Row, ...] = (
    ("1", "coastal", 0.44, 30), ("2", "blue", 0.48, 30), ("3", "green", 0.56, 30),
    ("4", "red", 0.655, 30), ("5", "nir", 0.865, 30), ("6", "swir16", 1.61, 30),
    ("7", "swir22", 2.2, 30),
)  # fmt: skip


def _mss(first: int) -> tuple[_Row, ...]:
    return tuple((str(i), common, length, 60) for i, (common, length) in enumerate(_MSS, first))


def _mss_sensor(number: int) -> _Sensor:
    rows = _mss(4 if number < 4 else 1)
    return _Sensor(f"Landsat {number} MSS", f"LM0{number}", rows, clouds=(0, 3))


def _tm_sensor(number: int) -> _Sensor:
    return _Sensor(f"Landsat {number} TM", f"LT0{number}", _TM, thermal=(("6", "lwir", 11.45, 30),))


def _oli_sensor(number: int) -> _Sensor:
    return _Sensor(
        f"Landsat {number} OLI/TIRS",
        f"LC0{number}|LO0{number}",
        _OLI,
        thermal=(("10", "lwir11", 10.895, 30),),
        level1_only=(("8", "pan", 0.59, 15), ("9", "cirrus", 1.37, 30), ("11", "lwir12", 12.005, 30)),
        clouds=(0, 1, 2, 3, 4),
        dropped=(),
    )  # fmt: skip


_ETM_SENSOR = _Sensor(
    "Landsat 7 ETM+",
    "LE07",
    _ETM,
    thermal=(("6", "lwir", 11.45, 30),),
    level1_only=(("8", "pan", 0.71, 15),),
)


#: The metadata of a scene; -1 stands for a cloud cover nobody knows.
_METADATA = (
    Metadata("{scene}_MTL.txt", r"\bCLOUD_COVER = (?P<cloud_cover>\d[\d.]*)"),
    Metadata("{scene}_MTL.xml", r"<CLOUD_COVER>(?P<cloud_cover>\d[\d.]*)</CLOUD_COVER>"),
    Metadata("{scene}_MTL.json", r'"CLOUD_COVER": ?"?(?P<cloud_cover>\d[\d.]*)'),
)


def _pattern(codes: str, levels: str, bands: str) -> str:
    return (
        rf"(?P<scene>(?:{codes})_(?P<level>{levels})_(?P<tile>\d{{6}})_(?P<date>\d{{8}})_\d{{8}}_02_"
        rf"(?P<category>RT|T1|T2))_(?P<band>{bands}|QA_PIXEL|QA_RADSAT)\.(?:TIF|tif)"
    )


def _bands(rows: tuple[_Row, ...], prefix: str) -> tuple[Band, ...]:
    return tuple(
        Band(prefix + number, common, wavelength, resolution)
        for number, common, wavelength, resolution in rows
    )


def _qa(bands: tuple[Band, ...], sensor: _Sensor) -> tuple[QA, ...]:
    saturation = _saturation(bands, sensor)
    found = (QA("QA_PIXEL", bits=sensor.clouds), saturation)
    return found if saturation.bits or saturation.band_bits else found[:1]


def _saturation(bands: tuple[Band, ...], sensor: _Sensor) -> QA:
    """QA_RADSAT: bit n - 1 for band n; of ETM+ bit 5 for the low and bit 8 for the high gain of 6."""
    special = {"B6_VCID_1": 5, "B6_VCID_2": 8}
    bits = []
    for band in bands:
        number = band.name.rpartition("B")[2]
        if band.common not in ("pan", "lwir11", "lwir12"):
            bits.append((band.name, special.get(band.name) or int(number) - 1))
    return QA("QA_RADSAT", bits=sensor.dropped, band_bits=tuple(bits), use="saturation")


def _level1(name: str, sensor: _Sensor) -> Product:
    thermal = sensor.thermal
    if sensor is _ETM_SENSOR:
        thermal = (("6_VCID_1", "lwir_low", 11.45, 30), ("6_VCID_2", "lwir_high", 11.45, 30))
    rows = sorted(
        (*sensor.reflective, *thermal, *sensor.level1_only),
        key=lambda row: int(row[0].partition("_")[0]),
    )
    bands = _bands(tuple(rows), "B")
    return Product(
        name=f"{name}-l1",
        title=f"{sensor.title} digital numbers, Collection 2 Level 1",
        pattern=_pattern(sensor.codes, "L1TP|L1GT|L1GS", r"B\d+(?:_VCID_\d)?"),
        bands=bands,
        default_bands=tuple(band.name for band in bands if band.common != "pan"),
        nodata=0,
        qa=_qa(bands, sensor),
        metadata=_METADATA,
        family=f"{name}-l1",
        license="public domain",
        citation="U.S. Geological Survey, Landsat Collection 2 Level 1",
    )


def _level2(name: str, sensor: _Sensor) -> tuple[Product, Product]:
    made = []
    for kind, title, rows, scale, offset, unit in (
        ("SR", "surface reflectance", sensor.reflective, 2.75e-5, -0.2, "1"),
        ("ST", "surface temperature", sensor.thermal, 0.00341802, 149.0, "K"),
    ):
        bands = _bands(rows, f"{kind}_B")
        numbers = "|".join(row[0] for row in rows)
        made.append(
            Product(
                name=f"{name}-l2-{kind.lower()}",
                title=f"{sensor.title} {title}, Collection 2 Level 2",
                pattern=_pattern(sensor.codes, "L2SP|L2SR", f"{kind}_B(?:{numbers})"),
                bands=bands,
                nodata=0,
                scale=scale,
                offset=offset,
                decoded_units=unit,
                qa=_qa(bands, sensor),
                metadata=_METADATA,
                family=f"{name}-l2",
                license="public domain",
                citation="U.S. Geological Survey, Landsat Collection 2 Level 2",
            )
        )
    return made[0], made[1]


def _family() -> tuple[Product, ...]:
    found: list[Product] = []
    for number, name in ((8, "landsat8"), (9, "landsat9")):
        found += [*_level2(name, _oli_sensor(number)), _level1(name, _oli_sensor(number))]
    found += [*_level2("landsat7", _ETM_SENSOR), _level1("landsat7", _ETM_SENSOR)]
    for number in (5, 4):
        name = f"landsat{number}"
        found += [*_level2(name, _tm_sensor(number)), _level1(name, _tm_sensor(number))]
        found.append(_level1(f"{name}-mss", _mss_sensor(number)))
    found += [_level1(f"landsat{number}", _mss_sensor(number)) for number in (3, 2, 1)]
    return tuple(found)


LANDSAT = _family()

"""What a STAC item says of the pixels of an asset, so that its file need not be opened.

References
----------
SpatioTemporal Asset Catalog specification 1.1.0: common metadata, section "Bands". Extensions:
projection 1.0 to 2.0 (``proj:``), raster 1.0 to 2.0 (``raster:``), electro-optical 1.0 to 2.0
(``eo:``), classification 1.0 to 2.0 (``classification:``), file 2.1 (``file:values``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
from affine import Affine

from geoxr.catalog.table import crs_from_text, crs_text
from geoxr.errors import ArgumentError
from geoxr.grid.classes import Classes
from geoxr.io.facts import BandFacts, storable

#: Types of the raster extension, by the name NumPy has for what they are read into.
TYPES: Mapping[str, str] = {
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "cint16": "complex64",
    "cint32": "complex128",
    "cfloat32": "complex64",
    "cfloat64": "complex128",
}

#: Names of a fact of a band: STAC 1.1, the extensions to 1.1, those before.
_FACTS: Mapping[str, tuple[str, ...]] = {
    "nodata": ("nodata", "raster:nodata"),
    "data_type": ("data_type", "raster:data_type"),
    "unit": ("unit", "raster:unit"),
    "scale": ("raster:scale", "scale"),
    "offset": ("raster:offset", "offset"),
    "common": ("eo:common_name", "common_name"),
    "wavelength": ("eo:center_wavelength", "center_wavelength"),
    "name": ("name",),
}


@dataclass(frozen=True)
class AssetBands:
    """Bands of an asset, as its metadata describes them; one that says nothing has one unknown band.

    Attributes
    ----------
    records : tuple of mapping
        For each band what is known, by the keys "name", "common", "wavelength", "nodata",
        "data_type", "unit", "scale", "offset".
    counted : bool
        Whether the metadata says how many bands there are.
    """

    records: tuple[Mapping[str, Any], ...]
    counted: bool

    @classmethod
    def of(cls, asset: Mapping[str, Any], properties: Mapping[str, Any]) -> AssetBands:
        """Join what the extensions say of each band; asset goes before item."""
        lists = [asset.get(key) for key in ("raster:bands", "eo:bands", "bands")]
        known = [one for one in lists if isinstance(one, list) and one]
        many = max((len(one) for one in known), default=1)
        whole = [_facts(properties), _facts(asset, own=False)]
        records = []
        for i in range(many):
            parts = [_facts(one[i]) for one in known if i < len(one) and isinstance(one[i], dict)]
            record: dict[str, Any] = {}
            for part in [*whole, *parts]:
                record |= part
            records.append(record)
        return cls(tuple(records), bool(known))

    def each(self, key: str) -> list[Any]:
        """Values of all bands; None where nothing is said."""
        return [record.get(key) for record in self.records]

    @property
    def dtype(self) -> str | None:
        """Type of the pixels, if it is the same for all bands and NumPy has it."""
        found = set(self.each("data_type"))
        return TYPES.get(str(found.pop())) if len(found) == 1 else None

    @property
    def marks(self) -> float | None:
        """The nodata value of all bands, NaN included; None if none, or they differ."""
        values = [None if value is None else float(value) for value in self.each("nodata")]
        return values[0] if len(set(map(repr, values))) == 1 else None

    @property
    def marked(self) -> bool:
        """Whether it is said which number marks missing pixels, or that none does."""
        said = all("nodata" in record for record in self.records)
        return said and len(set(map(repr, self.each("nodata")))) == 1

    def facts(self, dtype: str, read: Sequence[BandFacts] | None = None) -> list[BandFacts]:
        """What the numbers of each band mean; what nothing is said of comes from `read`."""
        base = read or [BandFacts("DN", 1.0, 0.0, None)] * len(self.records)
        records = self.records if len(self.records) == len(base) else self.records[:1] * len(base)
        number = storable(self.marks, np.dtype(dtype)) if self.marked else None
        return [
            BandFacts(
                str(record.get("unit") or one.units),
                float(record.get("scale", one.scale)),
                float(record.get("offset", one.offset)),
                number if self.marked else one.nodata,
            )
            for record, one in zip(records, base, strict=True)
        ]


def _facts(record: Mapping[str, Any], *, own: bool = True) -> dict[str, Any]:
    """What a record says, by the names used here; without `own`, not what names a band."""
    found = {}
    for fact, keys in _FACTS.items():
        for key in keys:
            general = key in (
                "name",
                "scale",
                "offset",
            )  # of an asset they would mean something else
            if key in record and (own or not general):
                found[fact] = record[key]
                break
    return found


@dataclass(frozen=True)
class AssetGrid:
    """The grid of an asset as far as metadata says it; None where it does not.

    Attributes
    ----------
    crs : str or None
        As in `Header`.
    affine : Affine or None
    shape : (height, width) or None [pixel]
    """

    crs: str | None
    affine: Affine | None
    shape: tuple[int, int] | None

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return self.crs is not None and self.affine is not None and self.shape is not None

    @classmethod
    def of(cls, asset: Mapping[str, Any], properties: Mapping[str, Any]) -> AssetGrid:
        """Read the projection extension. Transform and shape come from the same level.

        A transform and a shape of different levels may be of different resolutions.

        Raises
        ------
        ArgumentError
            If a value makes no sense.
        """
        own = _lattice(asset)
        said = any(key in asset for key in ("proj:transform", "proj:shape"))
        affine, shape = own if said else _lattice(properties)
        return cls(_crs(asset) or _crs(properties), affine, shape)


def _lattice(level: Mapping[str, Any]) -> tuple[Affine | None, tuple[int, int] | None]:
    """Transform and shape; one of them may be derived from the bounds."""
    transform = _numbers(level, "proj:transform", (6, 9))
    pair = _numbers(level, "proj:shape", (2,))
    box = _numbers(level, "proj:bbox", (4, 6))
    affine = None if transform is None else Affine(*transform[:6])
    shape = None if pair is None else (int(pair[0]), int(pair[1]))
    if box is not None:
        left, bottom, right, top = box if len(box) == 4 else (box[0], box[1], box[3], box[4])
        if affine is None and shape is not None and min(shape) > 0:
            width, height = (right - left) / shape[1], (top - bottom) / shape[0]
            affine = Affine(width, 0, left, 0, -height, top)
        elif shape is None and affine is not None and affine.b == affine.d == 0 and affine.a:
            shape = (round(abs((top - bottom) / affine.e)), round(abs((right - left) / affine.a)))
    return affine, shape


def _numbers(level: Mapping[str, Any], key: str, many: Sequence[int]) -> list[float] | None:
    value = level.get(key)
    if value is None:
        return None
    try:
        numbers = [float(one) for one in value]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in many or not np.isfinite(numbers).all():
        raise ArgumentError(
            f"{key} is {value!r}, but must be {' or '.join(map(str, many))} numbers."
        )
    return numbers


def _crs(level: Mapping[str, Any]) -> str | None:
    if level.get("proj:code"):
        return _crs_named(str(level["proj:code"]))
    if level.get("proj:epsg"):
        return _crs_named(f"EPSG:{level['proj:epsg']}")
    if level.get("proj:wkt2"):
        return _crs_named(str(level["proj:wkt2"]))
    if level.get("proj:projjson"):
        return _crs_described(json.dumps(level["proj:projjson"], sort_keys=True))
    return None


@lru_cache(maxsize=1024)
def _crs_named(text: str) -> str | None:
    return crs_text(crs_from_text(text))


@lru_cache(maxsize=1024)
def _crs_described(text: str) -> str | None:
    try:
        return _crs_named(pyproj.CRS.from_json(text).to_wkt())
    except pyproj.exceptions.CRSError as error:
        raise ArgumentError(f"proj:projjson is no coordinate reference system: {error}.") from error


def classes_of(asset: Mapping[str, Any]) -> Classes | None:
    """Classes that an asset or its only band names, by the classification or file extension."""
    bands = [band for key in ("bands", "raster:bands") for band in asset.get(key) or []]
    for record in [asset, *(bands if len(bands) <= 2 else [])]:
        rows = record.get("classification:classes")
        if rows:
            colors = [row.get("color_hint") for row in rows]
            names = [str(row.get("name") or row.get("description")) for row in rows]
            shown = tuple(f"#{color}".lower() for color in colors) if all(colors) else ()
            return Classes(tuple(int(row["value"]) for row in rows), tuple(names), shown)
    rows = asset.get("file:values")
    if rows:
        pairs = [(int(value), str(row["summary"])) for row in rows for value in row["values"]]
        return Classes(*zip(*pairs, strict=True))
    return None

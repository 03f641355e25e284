"""What a file says of its bands besides their pixels: units, scale, colours, names of codes."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import xarray as xr
from rasterio.io import MemoryFile

from geoxr.grid.classes import Classes, default_colors

#: Drivers that keep names of codes in the file itself; others have them in ``.aux.xml`` beside it.
_NAMING = {"HFA", "VRT"}

#: What may differ between bands, as names of coordinates.
FACTS = ("units", "scale", "offset", "nodata")


@dataclass(frozen=True)
class BandFacts:
    """What the numbers of one band mean.

    Attributes
    ----------
    units : str
        "DN" where the file names none.
    scale, offset : float
        number * scale + offset is the quantity.
    nodata : float, int or None
    """

    units: str
    scale: float
    offset: float
    nodata: float | int | None


def band_attrs(facts: BandFacts) -> dict[str, Any]:
    """Attributes of a layer whose numbers all mean this."""
    attrs: dict[str, Any] = {"units": facts.units}
    if (facts.scale, facts.offset) != (1.0, 0.0):
        attrs.update(scale=facts.scale, offset=facts.offset)
    return attrs


def band_coords(facts: Sequence[BandFacts], dim: str = "band") -> dict[str, xr.Variable]:
    """Coordinates along the bands for the facts in which bands differ: units, scale, offset, nodata.

    A band without a nodata value has NaN there.
    """
    coords = {}
    for name in FACTS:
        values = [getattr(fact, name) for fact in facts]
        if len(set(map(repr, values))) > 1:
            if name == "nodata":
                values = [np.nan if value is None else value for value in values]
            coords[name] = xr.Variable(dim, np.array(values))
    return coords


def band_names(descriptions: Sequence[str | None]) -> tuple[str, ...]:
    """Descriptions of bands, or their numbers; numbers for all where names are not distinct."""
    names = [text or str(i) for i, text in enumerate(descriptions, 1)]
    distinct = len(set(names)) == len(names)
    return tuple(names if distinct else map(str, range(1, len(names) + 1)))


def storable(nodata: float | None, dtype: np.dtype) -> float | int | None:
    """Return a nodata value as a number of `dtype`; None if no pixel can have it."""
    if nodata is None:
        return None
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        whole = nodata == nodata and float(nodata).is_integer() and info.min <= nodata <= info.max
        return int(nodata) if whole else None
    with np.errstate(over="ignore"):
        return float(dtype.type(nodata).real) if dtype.kind in "fc" else None


def palette_of(file: rasterio.DatasetReader) -> tuple[str, ...]:
    """Colours of the values 0, 1, ... as "#rrggbb"; empty if the file has none."""
    try:
        table = file.colormap(1)
    except ValueError:
        return ()
    last = max((value for value, color in table.items() if any(color[:3])), default=-1)
    black = (0, 0, 0)
    return tuple("#{:02x}{:02x}{:02x}".format(*table.get(v, black)[:3]) for v in range(last + 1))


def classes_in(file: rasterio.DatasetReader, palette: Sequence[str]) -> Classes | None:
    """Classes of the first band: tags as `to_cog` writes them, else GDAL's category names."""
    tags = file.tags(1)
    if "flag_values" in tags and "flag_meanings" in tags:
        values = [int(value) for value in tags["flag_values"].split()]
        return Classes.from_attrs({**tags, "flag_values": values})
    names = _categories(file) if file.dtypes[0].startswith(("int", "uint")) else {}
    if not names:
        return None
    colors = default_colors(len(names))
    known = [palette[v] if v < len(palette) else colors[i] for i, v in enumerate(names)]
    return Classes(tuple(names), tuple(names.values()), tuple(known))


def _categories(file: rasterio.DatasetReader) -> Mapping[int, str]:
    """Names that GDAL has for the values 0, 1, ... of the first band, without empty ones.

    rasterio has no call for them, but GDAL writes them into a VRT.
    """
    if file.driver not in _NAMING and not os.path.exists(f"{file.name}.aux.xml"):
        return {}
    with MemoryFile(ext=".vrt") as memory:
        rasterio.shutil.copy(file, memory.name, driver="VRT")
        memory.seek(0)
        band = ElementTree.fromstring(memory.read()).find("VRTRasterBand")
    found = [] if band is None else band.findall("CategoryNames/Category")
    names = {value: (category.text or "").strip() for value, category in enumerate(found)}
    return {value: name for value, name in names.items() if name}

"""Which assets of a STAC item are its bands.

References
----------
SpatioTemporal Asset Catalog specification 1.1.0, "Asset roles" and "Common media types";
electro-optical extension 1.1 (common names).
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from geoxr.catalog.paths import RASTERS
from geoxr.catalog.stac_items import StacItem
from geoxr.catalog.stac_metadata import AssetBands
from geoxr.errors import ArgumentError

#: Media types of rasters that hold measurements, without parameters.
MEDIA = (
    "image/tiff",
    "image/vnd.stac.geotiff",
    "image/jp2",
    "application/x-hdf",
    "application/x-hdf5",
    "application/netcdf",
    "application/x-netcdf",
)
#: Roles of assets that are made for looking at, or say something of others.
ASIDE = {"thumbnail", "overview", "visual", "metadata", "date", "graphic"}


@dataclass(frozen=True, eq=False)
class Band:
    """One asset that was picked.

    Attributes
    ----------
    name : str
        As asked for, else the key.
    key : str
    content : mapping
    bands : AssetBands
    asked : tuple of str
        All names by which bands in it were asked for.
    """

    name: str
    key: str
    content: Mapping[str, Any]
    bands: AssetBands
    asked: tuple[str, ...] = ()

    @property
    def names(self) -> list[str] | None:
        """Names of several bands in one file; None if some have none."""
        found = [
            next((one for one in self.asked if one in (name, common)), name or common)
            for name, common in zip(self.bands.each("name"), self.bands.each("common"), strict=True)
        ]
        named = self.bands.counted and all(found) and len(set(found)) == len(found)
        return [str(name) for name in found] if named else None


def assets_of(item: StacItem) -> list[Band]:
    """All assets of an item."""
    return [
        Band(key, key, asset, AssetBands.of(asset, item.properties))
        for key, asset in item.assets.items()
    ]


def pick_assets(item: StacItem, wanted: Sequence[str] | None) -> list[Band]:
    """Choose the assets of an item: those wanted, or all that hold measurements.

    Raises
    ------
    ArgumentError
        If there is no such asset, several could be meant, or an asset names no file.
    """
    known = assets_of(item)
    if wanted is None:
        picked = _by_default(item, known)
    else:
        picked = _by_name(item, known, wanted)
    for one in picked:
        if not isinstance(one.content.get("href"), str):
            raise ArgumentError(f"{item.name}: the asset {one.key!r} has no href.")
        if len(picked) > 1 and len(one.bands.records) > 1:
            several = [band.key for band in picked if len(band.bands.records) > 1]
            single = [band.key for band in picked if len(band.bands.records) == 1] or several[:1]
            raise ArgumentError(
                f"{item.name}: the assets {', '.join(several)} have several bands each. A scene is "
                f"one file, or files of one band each. Pick what belongs together: assets={single}."
            )
    return picked


def _by_name(item: StacItem, known: Sequence[Band], wanted: Sequence[str]) -> list[Band]:
    """Find every asset that is asked for; bands of one file give it once."""
    picked: dict[str, Band] = {}
    for name in wanted:
        one = asset_named(item, known, name)
        before = picked.get(one.key)
        if before is not None and len(one.bands.records) == 1:
            raise ArgumentError(f"{item.name}: two of assets={list(wanted)} are {one.key!r}.")
        picked[one.key] = before or one
        picked[one.key] = replace(picked[one.key], asked=(*picked[one.key].asked, name))
    return list(picked.values())


def _by_default(item: StacItem, known: Sequence[Band]) -> list[Band]:
    rasters = [one for one in known if _is_raster(one.content)]
    data = [one for one in rasters if "data" in _roles(one)]
    plain = data or [one for one in rasters if not ASIDE & _roles(one)]
    if not plain:
        raise ArgumentError(
            f"{item.name} has no raster asset with the role 'data'. Its assets are {_listed(known)}. "
            f"Name those you want: assets=[...]."
        )
    # The same band may come in two formats or resolutions; one that has no name is none twice.
    groups: dict[str, list[Band]] = {}
    for one in plain:
        name = one.bands.each("name")[0] if len(one.bands.records) == 1 else None
        groups.setdefault(str(name) if name else f"asset {one.key}", []).append(one)
    return [finest(group)[0] for group in groups.values()]


def asset_named(item: StacItem, known: Sequence[Band], name: str) -> Band:
    """Find an asset by its key, the common name of a band in it, or the own name of one."""
    for one in known:
        if one.key == name:
            return one
    rasters = [one for one in known if _is_raster(one.content)]
    for names in ("common", "name"):
        found = [one for one in rasters if name in one.bands.each(names)]
        alone = [one for one in found if len(one.bands.records) == 1]
        found = finest(alone or found)
        own = {str(one.bands.each("name")[0]) if alone else one.key for one in found}
        if len(own) > 1:
            raise ArgumentError(
                f"{item.name} has several assets for {name!r}: {_listed(found)}. Name one by its key."
            )
        if found:
            one = found[0]
            return Band(name, one.key, one.content, one.bands)
    raise ArgumentError(
        f"{item.name} has no asset {name!r}. Its assets are {_listed(known)}; common names count too."
    )


def finest(found: Sequence[Band]) -> list[Band]:
    """Keep those of the smallest pixels, as far as all name a size."""
    sizes = [_pixel(one.content) for one in found]
    known = [size for size in sizes if size is not None]
    if not found or len(known) < len(found):
        return list(found)
    return [one for one, size in zip(found, sizes, strict=True) if size == min(known)]


def _pixel(asset: Mapping[str, Any]) -> float | None:
    """Size of a pixel in metres or CRS units; None where nothing is said."""
    transform = asset.get("proj:transform") or [None]
    size = asset.get("gsd") or asset.get("raster:spatial_resolution") or transform[0]
    return abs(float(size)) if isinstance(size, int | float) else None


def _is_raster(asset: Mapping[str, Any]) -> bool:
    media = str(asset.get("type") or "").split(";")[0].strip().lower()
    if media:
        return media in MEDIA
    return posixpath.splitext(str(asset.get("href")))[1].lower() in RASTERS


def _roles(band: Band) -> set[str]:
    return set(band.content.get("roles") or ())


def _listed(bands: Sequence[Band]) -> str:
    parts = []
    for one in bands:
        common = [name for name in one.bands.each("common") if name and name != one.key]
        parts.append(f"{one.key} ({', '.join(common)})" if common else one.key)
    return ", ".join(parts) or "none"

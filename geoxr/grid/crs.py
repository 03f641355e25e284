"""Coordinate reference systems: reading, naming and comparing them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Protocol

import pyproj
from odc.geo.crs import CRS

from geoxr.errors import ArgumentError, MissingCRSError
from geoxr.typing import CRSLike


class HasCRS(Protocol):
    """Anything that may have a CRS: a grid, an image placed by control points."""

    @property
    def crs(self) -> CRS | None:
        """Coordinate reference system, or None."""
        ...


def parse_crs(crs: CRSLike) -> CRS:
    """Read a CRS in any form that pyproj, rasterio or odc-geo write.

    Examples
    --------
    >>> parse_crs(32633).epsg
    32633
    """
    if isinstance(crs, CRS):
        return crs
    try:
        if hasattr(crs, "to_wkt"):
            return crs_from_wkt(crs.to_wkt())
        if isinstance(crs, str | int):
            return crs_from_wkt(crs) if isinstance(crs, str) else CRS(crs)
        return crs_from_wkt(pyproj.CRS.from_user_input(crs).to_wkt())
    except Exception as error:
        raise ArgumentError(
            f"{crs!r} is not a coordinate reference system. Give something like "
            f'"EPSG:32633", 4326, a WKT string or a pyproj CRS.'
        ) from error


@lru_cache(maxsize=1024)
def crs_from_wkt(wkt: str) -> CRS:
    """Read a CRS from WKT, or from another text that PROJ understands.

    Where an EPSG code says exactly the same, the CRS is made from the code, so that it prints
    briefly. Comparing takes milliseconds, so texts read before are remembered.

    Examples
    --------
    >>> str(crs_from_wkt(CRS("EPSG:3035").to_wkt()))
    'EPSG:3035'
    """
    crs = CRS(wkt)
    code = None if crs.proj.is_bound else crs.proj.to_epsg()
    if code is not None and pyproj.CRS.from_epsg(code) == crs.proj:
        return CRS(f"EPSG:{code}")
    return crs


def crs_name(crs: CRS | None) -> str:
    """Name a CRS in messages: its EPSG code if it has one."""
    if crs is None:
        return "no CRS"
    if crs.proj.is_bound and crs.proj.source_crs is not None:
        return f"{crs.proj.source_crs.name} with a datum shift of its own"
    if crs.epsg is not None:
        return f"EPSG:{crs.epsg}"
    if crs.proj.name not in ("unknown", "unnamed", "undefined"):
        return str(crs.proj.name)
    operation = crs.proj.coordinate_operation
    return f"a CRS without a name ({operation.method_name if operation else crs.proj.type_name})"


def same_crs(first: CRS | None, second: CRS | None) -> bool:
    """Whether two CRSs are the same, whatever order or spelling they were written in.

    A CRS that brings its own way to another datum (TOWGS84) is not the same as the one without.
    """
    if first is None or second is None:
        return first is second
    return str(first) == str(second) or _equal(str(first), str(second))


@lru_cache(maxsize=4096)
def _equal(first: str, second: str) -> bool:
    one, other = CRS(first), CRS(second)
    bound = one.proj.is_bound or other.proj.is_bound
    if not bound and one.epsg is not None and one.epsg == other.epsg:
        return True
    if one.proj.equals(other.proj, ignore_axis_order=True):
        return True
    return _made_alike(one.proj, other.proj)


def _made_alike(one: pyproj.CRS, other: pyproj.CRS) -> bool:
    """Whether two projected CRSs without names are the same formula on the same datum.

    WKT that GDAL writes for projections it has no full names for carries them as PROJ text, which
    PROJ compares as a name.
    """
    if not (one.is_projected and other.is_projected) or one.is_bound or other.is_bound:
        return False
    first, second = one.coordinate_operation, other.coordinate_operation
    units = [
        [axis.unit_conversion_factor for axis in crs.axis_info if axis.unit_conversion_factor]
        for crs in (one, other)
    ]
    return (
        first is not None
        and second is not None
        and first.to_proj4() == second.to_proj4()
        and units[0] == units[1]
        and bool(one.geodetic_crs and one.geodetic_crs.equals(other.geodetic_crs, True))
    )


def require_crs(geobox: HasCRS, what: str) -> CRS:
    """Return the CRS of `geobox` or say how to set it."""
    if geobox.crs is None:
        raise MissingCRSError(
            f"{what} has no coordinate reference system, and one is needed to place it on the "
            f'earth. Set it with da.geoxr.write_crs("EPSG:...") or open it with crs="EPSG:...".'
        )
    return geobox.crs


def full_turn(crs: CRS | None) -> float:
    """Length of a whole turn of longitude in the units of a geographic CRS; 0 for other CRSs."""
    if crs is None or not crs.geographic:
        return 0.0
    axes = crs.proj.axis_info or (crs.proj.source_crs.axis_info if crs.proj.source_crs else [])
    factor = axes[0].unit_conversion_factor if axes else math.pi / 180
    turn = 2 * math.pi / factor
    # 360 degrees are not to miss by a rounding error.
    return round(turn, 9)

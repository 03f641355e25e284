"""The way from one CRS to another with PROJ."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyproj
from odc.geo.crs import CRS
from pyproj.transformer import TransformerGroup

from geoxr.errors import CRSMismatchError
from geoxr.grid.crs import crs_name
from geoxr.grid.quiet import quiet

#: A position that comes back this close to where it was is the same place [share of the position and
#: of the radius of the earth: near the origin of a map the position alone is next to nothing].
_CLOSE = 1e-6
#: Longitudes and latitudes this far apart are not two places [share of a whole turn].
_SAME = 1e-4


@dataclass(frozen=True)
class Change:
    """The way from one CRS to another, x before y.

    Attributes
    ----------
    transformer : pyproj.Transformer
    degrees : pyproj.Transformer or None
        From the first CRS to longitude and latitude of its own datum; None where that is no
        projection, or one whose x simply goes on after a whole turn.
    radius : float
        Of the earth [units of the first CRS].
    """

    transformer: pyproj.Transformer
    degrees: pyproj.Transformer | None
    radius: float

    def forward(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Transform positions; infinity where PROJ has no answer."""
        return self.transformer.transform(x, y)

    def back(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Transform positions of the second CRS to the first."""
        return self.transformer.transform(x, y, direction="INVERSE")

    def comes_back(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Whether positions of the first CRS are places on earth.

        Beside the lobes of a pseudocylindrical map, PROJ gives longitudes that have gone round the
        globe: numbers of another place, whose projection is not the position that was asked for.
        """
        if self.degrees is None:
            return np.ones(np.shape(x), bool)
        lon, lat = self.degrees.transform(x, y)
        again = self.degrees.transform(lon, lat, direction="INVERSE")
        with np.errstate(invalid="ignore"):
            away = np.hypot(again[0] - x, again[1] - y)
            return away <= _CLOSE * (np.hypot(x, y) + self.radius)

    def returns(
        self, lon: np.ndarray, lat: np.ndarray, x: np.ndarray, y: np.ndarray, turn: float
    ) -> np.ndarray:
        """Whether positions (x, y) of the second CRS are those of longitudes and latitudes.

        About 90 degrees beside its meridian, PROJ gives numbers of transverse Mercator that are those
        of another place.
        """
        again = self.back(x, y)
        with np.errstate(invalid="ignore"):
            off = np.abs((again[0] - lon + turn / 2) % turn - turn / 2)
            off *= np.cos(lat * (2 * math.pi / turn))  # at a pole any longitude will do
            return np.maximum(off, np.abs(again[1] - lat)) <= _SAME * turn


@lru_cache(maxsize=256)
def _change(source_wkt: str, target_wkt: str) -> Change:
    source, target = pyproj.CRS.from_wkt(source_wkt), pyproj.CRS.from_wkt(target_wkt)
    names = crs_name(CRS(source_wkt)), crs_name(CRS(target_wkt))
    try:
        transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)
    except pyproj.exceptions.ProjError as error:
        apart = "celestial body" in str(error)
        reason = "they are on different celestial bodies" if apart else str(error)
        raise CRSMismatchError(
            f"PROJ knows no way from {names[0]} to {names[1]}: {reason}. Layers must be tied to the "
            f"same body to be aligned. If one of the CRSs is wrong, set the right one: "
            f'da.geoxr.write_crs("EPSG:...") for a layer, '
            f'gdf.set_crs("EPSG:...", allow_override=True) for features.'
        ) from error
    _warn_of_missing_grids(source, target, names)
    return Change(transformer, _degrees(source), _radius(source))


def change_between(source: CRS, target: CRS) -> Change:
    """Return the way from one CRS to another; making it the first time takes milliseconds.

    Raises
    ------
    CRSMismatchError
        If PROJ knows none, as from the Moon to the Earth.

    Warns
    -----
    UserWarning
        Once, if PROJ has to do with less than its best operation because a grid file is missing.
    """
    return _change(source.to_wkt(), target.to_wkt())


def _warn_of_missing_grids(source: pyproj.CRS, target: pyproj.CRS, names: tuple[str, str]) -> None:
    with quiet():  # pyproj names the file, but not what that costs
        group = TransformerGroup(source, target, always_xy=True)
    if group.best_available or not group.unavailable_operations:
        return
    best = group.unavailable_operations[0]
    files = ", ".join(grid.short_name for grid in best.grids if not grid.available)
    used = group.transformers[0].accuracy if group.transformers else -1
    warnings.warn(
        f"{names[0]} to {names[1]}: the best operation ({best.name}, {_metres(best.accuracy)}) needs "
        f"{files}, which PROJ does not have here. The one used is right to {_metres(used)}. To "
        f"get the file: pyproj sync --file {files.split(',')[0]}",
        stacklevel=2,
    )


def _metres(accuracy: float) -> str:
    return f"{accuracy:g} m" if accuracy >= 0 else "an unknown distance, perhaps hundreds of metres"


def _degrees(crs: pyproj.CRS) -> pyproj.Transformer | None:
    base = crs.source_crs if crs.is_bound else crs
    if base is None or not base.is_projected or base.geodetic_crs is None:
        return None
    degrees = pyproj.Transformer.from_crs(base, base.geodetic_crs, always_xy=True)
    return None if _cylindrical(degrees) else degrees


def _radius(crs: pyproj.CRS) -> float:
    """Radius of the earth, or of whatever a map shows [CRS units]."""
    if crs.ellipsoid is None or not crs.axis_info:
        return 1.0
    return crs.ellipsoid.semi_major_metre / crs.axis_info[0].unit_conversion_factor


def _cylindrical(degrees: pyproj.Transformer) -> bool:
    """Whether meridians are straight, parallel lines, so that the map goes on beyond a turn."""
    lon, lat = np.meshgrid([-170.0, -80.0, 10.0, 100.0], [0.0, 40.0, -60.0])
    x, _ = degrees.transform(lon, lat, direction="INVERSE")
    with np.errstate(invalid="ignore"):
        return bool((np.ptp(x, axis=0) <= _CLOSE * np.abs(x).max()).all())

"""Where the pixels of an image without a transform lie: control points and rational polynomials.

Both say at which pixel a place on the map is. The way back, from a pixel to the map, is found by
Newton's method, so that the two always agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoxr.errors import GridError

#: Points along each side of an image that stand for its outline.
_SIDE = 65
#: Positions are given this far around the outline, as a share of its size: polynomials that were
#: fitted to an image mean nothing far away from it, and may come back into the image there.
_REACH = 0.1


@dataclass(frozen=True)
class ControlPoints:
    """Polynomials through ground control points, of first or second degree by their number.

    Parameters
    ----------
    points : tuple of (column, row, x, y)
        Pixel positions and the places there; longitudes run on across 180 degrees.

    Notes
    -----
    The degree is that of GDAL: 1 for up to five points, 2 from six on, fitted by least squares from
    map to pixel. GDAL does not take the third degree by itself, since it is unstable.
    """

    points: tuple[tuple[float, float, float, float], ...]

    @property
    def start(self) -> tuple[float, float]:
        """Place near the middle of the image."""
        x, y = np.mean(self._array[:, 2:], axis=0)
        return float(x), float(y)

    @cached_property
    def _array(self) -> np.ndarray:
        return np.array(self.points, dtype="float64").reshape(-1, 4)

    @cached_property
    def _fit(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Middle and size of the points on the map, and coefficients (terms, 2)."""
        places, pixels = self._array[:, 2:], self._array[:, :2]
        middle, size = places.mean(axis=0), np.ptp(places, axis=0)
        degree = 1 if len(places) < 6 else 2
        if len(places) < 3 or not (size > 0).all():
            raise GridError(_too_few(len(places)))
        x, y = ((places - middle) / size).T
        terms = np.stack(_terms(x, y, degree), axis=1)
        coefficients, _, rank, _ = np.linalg.lstsq(terms, pixels, rcond=1e-10)
        if rank < terms.shape[1]:
            raise GridError(_too_few(len(places)))
        return middle, size, coefficients

    def to_pixels(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Column and row of places."""
        middle, size, coefficients = self._fit
        degree = 1 if len(coefficients) == 3 else 2
        terms = _terms((x - middle[0]) / size[0], (y - middle[1]) / size[1], degree)
        return _sum(terms, coefficients[:, 0]), _sum(terms, coefficients[:, 1])


@dataclass(frozen=True)
class RationalPolynomials:
    """Ratios of cubic polynomials in longitude, latitude and height, as delivered with imagery.

    Parameters
    ----------
    offsets, scales : (line, sample, latitude, longitude)
    line, sample : (numerator, denominator), 20 coefficients each

    Notes
    -----
    The height is the height offset everywhere: the image is laid onto a flat ground at its mean
    height, and mountains are off by their height above it times the tangent of the view angle.

    References
    ----------
    NIMA, "The Compendium of Controlled Extensions (CE) for the National Imagery Transmission
    Format (NITF)", STDI-0002, section 8.2.4, RPC00B.
    """

    offsets: tuple[float, ...]
    scales: tuple[float, ...]
    line: tuple[tuple[float, ...], tuple[float, ...]]
    sample: tuple[tuple[float, ...], tuple[float, ...]]

    @property
    def start(self) -> tuple[float, float]:
        """Place near the middle of the image."""
        return self.offsets[3], self.offsets[2]

    def to_pixels(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Column and row of places at the mean height."""
        lon, lat = (x - self.offsets[3]) / self.scales[3], (y - self.offsets[2]) / self.scales[2]
        terms = [np.ones_like(lon), lon, lat, lon * lat, lon**2, lat**2]
        terms += [lon**3, lon * lat**2, lon**2 * lat, lat**3]
        row = _sum(terms, _flat(self.line[0])) / _sum(terms, _flat(self.line[1]))
        col = _sum(terms, _flat(self.sample[0])) / _sum(terms, _flat(self.sample[1]))
        # In these models (0, 0) is the centre of the first pixel.
        return (
            col * self.scales[1] + self.offsets[1] + 0.5,
            row * self.scales[0] + self.offsets[0] + 0.5,
        )


def _flat(coefficients: tuple[float, ...]) -> list[float]:
    """Coefficients of the terms without height, which is zero at the height offset."""
    return [coefficients[i] for i in (0, 1, 2, 4, 7, 8, 11, 12, 14, 15)]


@dataclass(frozen=True)
class Placement:
    """An image of some size placed by a model.

    Parameters
    ----------
    shape : (height, width) [pixel]
    model : ControlPoints or RationalPolynomials
    crs : CRS or None
        Of the map.
    """

    shape: tuple[int, int]
    model: ControlPoints | RationalPolynomials
    crs: CRS | None

    @cached_property
    def outline(self) -> shapely.Polygon:
        """Outline of the image on the map."""
        height, width = self.shape
        side = np.linspace(0, 1, _SIDE)[:-1]
        cols = np.concatenate([side, np.ones_like(side), 1 - side, np.zeros_like(side)]) * width
        rows = np.concatenate([np.zeros_like(side), side, np.ones_like(side), 1 - side]) * height
        shape = shapely.Polygon(np.stack(self.to_map(cols, rows), axis=1))
        return shape if shape.is_valid else shape.convex_hull

    @property
    def middle(self) -> tuple[float, float]:
        """Middle of the outline on the map."""
        left, bottom, right, top = self.outline.bounds
        return (left + right) / 2, (bottom + top) / 2

    @cached_property
    def _reach(self) -> tuple[float, float, float, float]:
        left, bottom, right, top = self.outline.bounds
        wide, high = _REACH * (right - left), _REACH * (top - bottom)
        return left - wide, bottom - high, right + wide, top + high

    def to_pixels(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Column and row of places; NaN far away from the image."""
        left, bottom, right, top = self._reach
        near = (x >= left) & (x <= right) & (y >= bottom) & (y <= top)
        cols, rows = self.model.to_pixels(np.where(near, x, np.nan), np.where(near, y, np.nan))
        return cols, rows

    def to_map(self, cols: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places of pixel positions.

        Raises
        ------
        GridError
            If the model cannot be inverted there.
        """
        x = np.full(np.shape(cols), self.model.start[0])
        y = np.full(np.shape(rows), self.model.start[1])
        position = self.model.to_pixels
        delta = 1e-5 * max(abs(self.model.start[0]), abs(self.model.start[1]), 1.0)
        with np.errstate(all="ignore"):  # what does not converge is told at the end
            for _ in range(50):
                col, row = position(x, y)
                off_col, off_row = col - cols, row - rows
                if max(np.abs(off_col).max(), np.abs(off_row).max()) < 1e-6:
                    return x, y
                dx, dy = _newton(position, x, y, delta, off_col, off_row)
                x, y = x - dx, y - dy
        raise GridError(
            "The control points or rational polynomials of the image contradict each other: not every "
            "pixel has a place on the map. Check them with gdalinfo."
        )

    def regular_grid(self) -> GeoBox:
        """North-up grid with square pixels about as large as those of the image, which it covers."""
        height, width = self.shape
        cols = np.array([width / 2, width / 2 + 1, width / 2])
        rows = np.array([height / 2, height / 2, height / 2 + 1])
        x, y = self.to_map(cols, rows)
        size = math.sqrt(abs((x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])))
        left, bottom, right, top = self.outline.bounds
        shape = (math.ceil((top - bottom) / size), math.ceil((right - left) / size))
        return GeoBox(shape, Affine(size, 0, left, 0, -size, top), self.crs)


def _newton(
    position: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    x: np.ndarray,
    y: np.ndarray,
    delta: float,
    off_col: np.ndarray,
    off_row: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """One step of Newton's method, with central differences."""
    east, west = position(x + delta, y), position(x - delta, y)
    north, south = position(x, y + delta), position(x, y - delta)
    col_x, row_x = ((a - b) / (2 * delta) for a, b in zip(east, west, strict=True))
    col_y, row_y = ((a - b) / (2 * delta) for a, b in zip(north, south, strict=True))
    scale = col_x * row_y - col_y * row_x
    dx, dy = off_col * row_y - off_row * col_y, off_row * col_x - off_col * row_x
    return dx / scale, dy / scale


def _too_few(number: int) -> str:
    return (
        f"{number} ground control points place no image: at least three are needed, not on one line. "
        f"Add points, for example with gdal_translate -gcp."
    )


def _terms(x: np.ndarray, y: np.ndarray, degree: int) -> list[np.ndarray]:
    """Terms of a polynomial."""
    return [np.ones_like(x), x, y] + ([x * x, x * y, y * y] if degree == 2 else [])


def _sum(terms: Sequence[np.ndarray], weights: Iterable[float]) -> np.ndarray:
    """Weighted sum, the same to the last bit whatever else is summed along."""
    total = np.zeros_like(terms[0])
    for term, weight in zip(terms, weights, strict=True):
        total += weight * term
    return total

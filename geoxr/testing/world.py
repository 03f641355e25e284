"""A piece of farmland that exists nowhere, as a function of EPSG:5070 coordinates.

Every raster of one world samples the same function at its own pixel centres, so no raster, warp or
rounding convention is shared with the code under test, and half a pixel of misregistration shows.

What grows somewhere shows in texture and context, hardly in the colour of one pixel: fields of one
class differ in greenness and brightness more than classes do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoxr.testing.noise import FloatArray, cell_uniform, fractal_noise, salt, value_noise, wave
from geoxr.testing.parcels import Parcels, locate

#: CRS of the coordinates of a world.
CRS = "EPSG:5070"

CORN, SOYBEANS, WHEAT, ALFALFA = 1, 5, 24, 36
WATER, DEVELOPED, FOREST, GRASS = 111, 121, 141, 176

#: Codes and names of the Cropland Data Layer, USDA NASS, https://www.nass.usda.gov/Research_and_Science/Cropland/
CLASSES: dict[int, str] = {
    CORN: "Corn",
    SOYBEANS: "Soybeans",
    WHEAT: "Winter Wheat",
    ALFALFA: "Alfalfa",
    WATER: "Open Water",
    DEVELOPED: "Developed/Open Space",
    FOREST: "Deciduous Forest",
    GRASS: "Grassland/Pasture",
}
#: Colours (red, green, blue) of the same classes in the palette of the published rasters.
COLORS: dict[int, tuple[int, int, int]] = {
    CORN: (255, 211, 0),
    SOYBEANS: (37, 111, 0),
    WHEAT: (166, 111, 0),
    ALFALFA: (255, 166, 226),
    WATER: (73, 111, 162),
    DEVELOPED: (153, 153, 153),
    FOREST: (147, 204, 147),
    GRASS: (232, 255, 190),
}

# What a field carries, and how often.
_CROPS = np.array([CORN, SOYBEANS, WHEAT, ALFALFA, GRASS], dtype="uint8")
_CROP_SHARE = np.array([0.26, 0.26, 0.18, 0.16, 0.14])
_IRRIGATED = np.array([CORN, ALFALFA, SOYBEANS], dtype="uint8")
_IRRIGATED_SHARE = np.array([0.4, 0.35, 0.25])

# Surface reflectance of pure covers in the bands of Landsat 8 SR_B1 to SR_B7: coastal, blue, green,
# red, near infrared, short-wave infrared 1 and 2.
_SPECTRA: dict[str, tuple[float, ...]] = {
    "soil": (0.070, 0.085, 0.120, 0.155, 0.240, 0.300, 0.250),
    "leaf": (0.025, 0.030, 0.065, 0.040, 0.430, 0.200, 0.095),
    "tree": (0.018, 0.022, 0.045, 0.026, 0.310, 0.140, 0.060),
    "water": (0.045, 0.050, 0.055, 0.040, 0.030, 0.015, 0.010),
    "built": (0.110, 0.125, 0.150, 0.165, 0.230, 0.250, 0.230),
}
BANDS = 7


class _Places(NamedTuple):
    """What is known of many places before they are coloured."""

    code: npt.NDArray[np.uint8]
    parcels: Parcels
    pivot: npt.NDArray[np.bool_]
    ring: FloatArray  # metres from the centre of the field
    built: FloatArray  # above 0 in a town


@dataclass(frozen=True)
class World:
    """Farmland as a function of place.

    Attributes
    ----------
    seed : int
        Worlds of different seeds have nothing in common but their rules.
    field_size : float [m]
        Typical side of a field. Sections of land, which roads enclose, have 2.7 times that.

    Examples
    --------
    >>> world = World(seed=0)
    >>> x, y = np.array([500_000.0, 500_400.0]), np.array([2_080_000.0, 2_080_000.0])
    >>> [CLASSES[int(code)] for code in world.classify(x, y)]
    ['Grassland/Pasture', 'Winter Wheat']
    >>> world.reflectance(x, y).shape
    (7, 2)
    """

    seed: int = 0
    field_size: float = 600.0

    @property
    def section(self) -> float:
        """Side of a section of land [m]; most fields are a quarter or an eighth of one."""
        return 2.7 * self.field_size

    def classify(self, x: FloatArray, y: FloatArray) -> npt.NDArray[np.uint8]:
        """Return what covers each place.

        Parameters
        ----------
        x, y : array of float64 [m], EPSG:5070
            Places, of one shape.

        Returns
        -------
        array of uint8
            Codes, keys of `CLASSES`.
        """
        return self._survey(x, y).code

    def reflectance(
        self, x: FloatArray, y: FloatArray, *, greenness: float = 0.0
    ) -> npt.NDArray[np.float32]:
        """Return the noise-free surface reflectance of each place.

        Parameters
        ----------
        x, y : array of float64 [m], EPSG:5070
            Places, of one shape.
        greenness : float
            Added to the share of the ground that leaves cover: how far the season is.

        Returns
        -------
        array of float32, (7, *shape of x)
            Bands 1 to 7 of Landsat 8, between 0 and about 0.7.
        """
        places = self._survey(x, y)
        texture = self._texture(x, y, places)
        return self._colour(x, y, places, texture, greenness)

    # What is where.

    def _survey(self, x: FloatArray, y: FloatArray) -> _Places:
        parcels = locate(x, y, section=self.section, seed=self.seed)
        ring = np.hypot(parcels.along, parcels.across)
        pivot = self._has_pivot(parcels)
        code = _choose(parcels.draw(self._salt("crop")), _CROPS, _CROP_SHARE)
        irrigated = _choose(parcels.draw(self._salt("crop")), _IRRIGATED, _IRRIGATED_SHARE)
        inside = ring < 0.49 * parcels.width
        code = np.where(pivot, np.where(inside, irrigated, np.uint8(GRASS)), code)

        river = np.abs(fractal_noise(x, y, 11_000.0, self._salt("river"), octaves=2))
        woods = fractal_noise(x, y, 2_200.0, self._salt("woods"), octaves=5)
        lake = value_noise(x, y, 2_400.0, self._salt("lake"))
        built = self._towns(x, y)
        code[(woods > 0.38) | (river < 0.045 + 0.04 * woods)] = FOREST
        code[(built > 0) | (parcels.road < 30.0)] = DEVELOPED
        code[(river < 0.016) | (lake > 0.8)] = WATER
        return _Places(code, parcels, pivot & inside, ring, built)

    def _has_pivot(self, parcels: Parcels) -> npt.NDArray[np.bool_]:
        nearly_square = parcels.width > 0.75 * parcels.length
        large = parcels.width > 0.36 * self.section
        chosen = parcels.draw(self._salt("pivot")) < 0.6
        return np.asarray(nearly_square & large & chosen)

    def _towns(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """One town in some cells of a grid; its radius minus the distance from it, in metres."""
        cell = 5_500.0
        i, j = np.floor(x / cell).astype("int64"), np.floor(y / cell).astype("int64")
        share_x = 0.25 + 0.5 * cell_uniform(i, j, self._salt("town x")).astype("float64")
        share_y = 0.25 + 0.5 * cell_uniform(i, j, self._salt("town y")).astype("float64")
        radius = 900.0 * cell_uniform(i, j, self._salt("town size")) - 150.0
        ragged = 1 + 0.5 * value_noise(x, y, 400.0, self._salt("town edge"))
        distance = np.hypot(x - (i + share_x) * cell, y - (j + share_y) * cell)
        return np.asarray(radius * ragged - distance)

    # What it looks like.

    def _texture(self, x: FloatArray, y: FloatArray, places: _Places) -> FloatArray:
        """The pattern that tells one class from another: about -1 to 1, mean about 0."""
        parcels = places.parcels
        stretch = 0.94 + 0.12 * parcels.draw(self._salt("stretch"))
        shift = parcels.draw(self._salt("shift"))
        rows = np.where(places.pivot, places.ring, parcels.across)

        out = np.zeros(x.shape, dtype="float32")
        code = places.code

        def fill(which: int, values: FloatArray) -> None:
            np.copyto(out, values, where=code == which)

        fill(CORN, wave(rows / (135.0 * stretch) + shift))
        fill(SOYBEANS, wave(rows / (255.0 * stretch) + shift))
        checks = wave(parcels.across / (190.0 * stretch)) * wave(
            parcels.along / (190.0 * stretch) + shift
        )
        fill(WHEAT, 1.4 * checks)
        fill(ALFALFA, 0.1 * value_noise(x, y, 90.0, self._salt("fine")))
        fill(GRASS, 2.4 * value_noise(x, y, 85.0, self._salt("tussock")))
        fill(FOREST, 1.6 * value_noise(x, y, 65.0, self._salt("crowns")))
        block = cell_uniform(
            np.floor(x / 150.0).astype("int64"),
            np.floor(y / 150.0).astype("int64"),
            self._salt("block"),
        )
        fill(DEVELOPED, np.where(places.built > 0, 2 * block - 1, 0.3))
        return out

    def _colour(
        self,
        x: FloatArray,
        y: FloatArray,
        places: _Places,
        texture: FloatArray,
        greenness: float,
    ) -> npt.NDArray[np.float32]:
        code, draw = places.code, places.parcels.draw
        growth = _normal(draw, self._salt("growth"))
        bright = _normal(draw, self._salt("bright"))
        smooth = fractal_noise(x, y, 3_000.0, self._salt("soil"))
        vigour = fractal_noise(x, y, 900.0, self._salt("vigour"))

        wild = (code == FOREST) | (code == WATER) | (code == DEVELOPED)
        growth = np.where(wild, 0, growth)
        cover = _lookup(code, _COVER) + 0.19 * growth + 0.14 * vigour + np.float32(greenness)
        cover = np.clip(cover + 0.13 * texture, 0.02, 0.98)
        light = 1 + np.where(wild, 0, 0.10 * bright) + 0.16 * smooth
        light = np.maximum(light * (1 + _lookup(code, _CONTRAST) * texture), 0.25)

        tree = _lookup(code, _TREE)
        water = np.where(code == WATER, 0.85 + 0.15 * vigour, 0)
        built = np.where(code == DEVELOPED, 0.45 + 0.25 * vigour, 0)
        ground = (1 - water) * (1 - built)
        shares = {
            "soil": light * ground * (1 - cover),
            "leaf": light * ground * cover * (1 - tree),
            "tree": light * ground * cover * tree,
            "water": water,
            "built": light * (1 - water) * built,
        }
        # Sums written out: a matrix product would round differently from one thread count to another.
        out = np.zeros((BANDS, *x.shape), dtype="float32")
        for name, share in shares.items():
            share = share.astype("float32")
            for band, value in enumerate(_SPECTRA[name]):
                out[band] += np.float32(value) * share
        return out

    def _salt(self, name: str) -> int:
        return salt(self.seed, name)


# Share of the ground that leaves cover, contrast of the texture, and share of trees among leaves.
_COVER = {CORN: 0.52, SOYBEANS: 0.46, WHEAT: 0.37, ALFALFA: 0.62, GRASS: 0.48, FOREST: 0.66}
_COVER |= {WATER: 0.3, DEVELOPED: 0.45}
_CONTRAST = {CORN: 0.05, SOYBEANS: 0.05, WHEAT: 0.05, ALFALFA: 0.02, GRASS: 0.05, FOREST: 0.12}
_CONTRAST |= {WATER: 0.0, DEVELOPED: 0.2}
_TREE = {GRASS: 0.15, FOREST: 0.7, DEVELOPED: 0.3}


def _lookup(code: npt.NDArray[np.uint8], table: dict[int, float]) -> FloatArray:
    values = np.zeros(256, dtype="float32")
    values[list(table)] = list(table.values())
    return values[code]


def _choose(
    draw: FloatArray, codes: npt.NDArray[np.uint8], shares: FloatArray
) -> npt.NDArray[np.uint8]:
    edges = np.cumsum(shares)[:-1].astype("float32")
    return codes[np.searchsorted(edges, draw, side="right")]


def _normal(draw: Callable[[int], FloatArray], stream: int) -> FloatArray:
    """A nearly normal number of variance 1: the sum of three uniform ones."""
    return np.asarray(2 * (draw(stream) + draw(stream + 1) + draw(stream + 2)) - 3)

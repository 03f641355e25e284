"""What a sensor or label product is: names, bands, numbers, quality, classes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

import numpy as np

from geoxr.errors import ArgumentError
from geoxr.grid.classes import Classes
from geoxr.io.facts import BandFacts, band_attrs, band_coords
from geoxr.typing import Kind

#: Common names of near infrared, of which most sensors have one.
_SAME = {"nir": "nir08", "nir08": "nir"}


@dataclass(frozen=True)
class Band:
    """One band of a product.

    Parameters
    ----------
    name : str
        As in file names, whose case does not count.
    common : str, optional
        What it shows: "red", "nir", ...
    wavelength : float, optional [micrometre]
        Centre.
    resolution : float, optional [m]
        Nominal pixel size.
    scale, offset : float, optional
        Where they are not those of the product.
    units : str, optional
        Of the stored numbers, likewise.
    """

    name: str
    common: str | None = None
    wavelength: float | None = None
    resolution: float | None = None
    scale: float | None = None
    offset: float | None = None
    units: str | None = None


@dataclass(frozen=True)
class QA:
    """A quality file beside the bands, and what in it means "do not use".

    Parameters
    ----------
    band : str
        Its name, where those of bands are.
    bits : tuple of int or (first, width, values)
        Bits that spoil a pixel when they are set, counted from 0 for the least significant; or
        fields of several bits with the values that do.
    values : tuple of int
        Whole numbers that spoil a pixel.
    band_bits : tuple of (str, int)
        Names of bands, each with a bit that spoils this band alone.
    use : {"clouds", "saturation"}
        Which option of `open_product` asks for it: ``mask_clouds`` or ``mask_saturated``.
    """

    band: str
    bits: tuple[int | tuple[int, int, tuple[int, ...]], ...] = ()
    values: tuple[int, ...] = ()
    band_bits: tuple[tuple[str, int], ...] = ()
    use: Literal["clouds", "saturation"] = "clouds"

    @property
    def fields(self) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
        """`bits` as fields."""
        return tuple((one, 1, (1,)) if isinstance(one, int) else one for one in self.bits)


@dataclass(frozen=True)
class Metadata:
    r"""A text file beside the bands of a scene, and what in it tells of the scene.

    Parameters
    ----------
    file : str
        Its name, or folder and name, as for ``glob``: "{scene}_MTL.txt" is in the folder of the
        bands, "*.SAFE/MTD_MSI*.xml" in a folder above them that is named like that. ``{scene}`` is
        the group ``scene`` of the name of a band.
    pattern : str
        Regular expression, searched for in the text. Its named groups tell of the scene what names
        do not: ``cloud_cover`` [%] is a number, others are text.
    """

    file: str
    pattern: str


@dataclass(frozen=True)
class Product:
    r"""A sensor or label product, described so that its files open as a layer.

    Parameters
    ----------
    name : str
        Platform, level and kind: "landsat8-l2-sr".
    pattern : str or tuple of str
        Regular expressions, one of which a whole file name has to match. Named groups: ``date`` is
        the acquisition, ``band`` the band; files that agree in all but the band and ``resolution``
        are one scene, without the group ``band`` a file holds all bands in the order of `bands`.
        ``tile`` and ``date`` together name a place and a time, so that the same scene is not taken
        twice; ``scene`` is the name of the scene. Other groups (``level``, ``state``, ...) tell
        more of it.
    bands : tuple of Band
        All that there are.
    title : str
    kind : {"continuous", "categorical"}
    nodata : float, optional
        Where files do not name one themselves.
    units : str
        Of the numbers in the files.
    scale, offset : float
        Physical value = number * scale + offset.
    decoded_units : str
        Of the physical value.
    classes : Classes, optional
    qa : tuple of QA
    default_bands : tuple of str
        Bands to open where none are asked for. Default: all.
    folder : str or tuple of str
        Regular expressions, searched for in the folders of a file from the nearest up; their named
        groups add what the name of the file does not tell.
    metadata : tuple of Metadata
        Text files that tell more of a scene: ``cloud_cover``.
    exclude : str
        Regular expression; a path in which it is found is not of this product.
    baseline_shift : tuple of (str, int)
        (baseline, number): scenes whose group ``baseline`` is that or later have the number added to
        what is stored, so that scenes before and after mean the same.
    baseline : str
        Where nothing tells it.
    missing : tuple of int
        Numbers besides nodata that are no data.
    vector : bool
        Whether files hold features, which are burnt onto the grid of another layer.
    family : str
        Products of one family lie in the same folders.
    date_format : str
        Of the group ``date``, as for ``datetime.strptime``.
    license, citation : str

    Examples
    --------
    A sensor of your own takes a few lines:

    >>> drone = Product(
    ...     name="drone",
    ...     pattern=r"flight_(?P<date>\d{8})_(?P<band>red|nir)\.tif",
    ...     bands=(Band("red", "red", 0.66), Band("nir", "nir", 0.83)),
    ... )
    >>> drone.match("flight_20230601_nir.tif")["band"]
    'nir'
    """

    name: str
    pattern: str | tuple[str, ...]
    bands: tuple[Band, ...]
    title: str = ""
    kind: Kind = "continuous"
    nodata: float | None = None
    units: str = "DN"
    scale: float = 1.0
    offset: float = 0.0
    decoded_units: str = "1"
    classes: Classes | None = None
    qa: tuple[QA, ...] = ()
    default_bands: tuple[str, ...] = ()
    folder: str | tuple[str, ...] = ()
    metadata: tuple[Metadata, ...] = ()
    exclude: str = ""
    baseline_shift: tuple[tuple[str, int], ...] = ()
    baseline: str = ""
    missing: tuple[int, ...] = ()
    vector: bool = False
    family: str = ""
    date_format: str = "%Y%m%d"
    license: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        if not self.bands:
            raise ArgumentError(f"Product {self.name!r} has no bands.")
        names = [band.name.casefold() for band in self.bands]
        if len(set(names)) != len(names):
            raise ArgumentError(f"Two bands of product {self.name!r} have the same name: {names}.")
        texts = (one.pattern for one in self.metadata)
        for pattern in (*self.patterns, *self.folders, self.exclude, *texts):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ArgumentError(
                    f"The pattern {pattern!r} of product {self.name!r} is not a regular "
                    f"expression: {error}."
                ) from error
        for name in self.default_bands:
            self.band(name)

    @property
    def patterns(self) -> tuple[str, ...]:
        """What file names look like."""
        return (self.pattern,) if isinstance(self.pattern, str) else self.pattern

    @property
    def folders(self) -> tuple[str, ...]:
        """What folders look like."""
        return (self.folder,) if isinstance(self.folder, str) else self.folder

    def match(self, filename: str) -> re.Match[str] | None:
        """Match a file name, without its directory."""
        for pattern in self.patterns:
            found = re.fullmatch(pattern, filename)
            if found is not None:
                return found
        return None

    def groups(self, path: str) -> dict[str, str] | None:
        """Named groups of a path: those of the file name, then those of its folders.

        None if it is not a file of this product.
        """
        found = self.match(os.path.basename(path))
        if found is None or (self.exclude and re.search(self.exclude, path)):
            return None
        groups = {key: text for key, text in found.groupdict().items() if text is not None}
        for folder in reversed(PurePath(path).parts[:-1]) if self.folders else ():
            for pattern in self.folders:
                above = re.search(pattern, folder)
                for key, text in above.groupdict().items() if above else ():
                    if text is not None:
                        groups.setdefault(key, text)
        return groups

    def band(self, name: str) -> Band:
        """Find a band by its own or its common name; "nir" and "nir08" stand for each other.

        Raises
        ------
        ArgumentError
            If there is none, or several share the common name.
        """
        found = [b for b in self.bands if name == b.name] or [
            b for b in self.bands if name in (b.common, b.name.casefold())
        ]
        if not found and name in _SAME:  # catalogs differ in what they call it
            found = [b for b in self.bands if b.common == _SAME[name]]
        if len(found) != 1:
            known = ", ".join(f"{b.name} ({b.common})" if b.common else b.name for b in self.bands)
            which = ", ".join(b.name for b in found)
            raise ArgumentError(
                f"{self.name} has no band {name!r}. Its bands are {known}."
                if not found
                else f"{self.name} has several bands {name!r}: {which}. Ask for one of them."
            )
        return found[0]

    def pick(self, bands: Sequence[str] | None) -> list[Band]:
        """Bands by own or common name; those opened by default if left out.

        Raises
        ------
        ArgumentError
            If one is unknown, or asked for twice.
        """
        if bands is None:
            return [self.band(name) for name in self.default_bands] or list(self.bands)
        if isinstance(bands, str):
            bands = [bands]
        found = [self.band(name) for name in bands]
        if not found or len(set(found)) != len(found):
            raise ArgumentError(f"bands is {list(bands)}: name at least one, and none twice.")
        return found

    def facts(self, band: Band) -> BandFacts:
        """What the numbers of a band mean."""
        return BandFacts(
            self.units if band.units is None else band.units,
            self.scale if band.scale is None else band.scale,
            self.offset if band.offset is None else band.offset,
            None,
        )

    def attrs(self, bands: Sequence[Band] | None = None) -> dict[str, Any]:
        """Attributes of a layer of some bands of this product; without what differs between them."""
        kept = list(bands or self.pick(None))
        attrs: dict[str, Any] = {"long_name": self.title or self.name, "product": self.name}
        facts = [self.facts(band) for band in kept]
        differing = band_coords(facts)
        attrs |= {key: value for key, value in band_attrs(facts[0]).items() if key not in differing}
        if any((one.scale, one.offset) != (1.0, 0.0) for one in facts):
            attrs["decoded_units"] = self.decoded_units
        if self.license:
            attrs["license"] = self.license
        return attrs

    def coords(self, bands: Sequence[Band]) -> dict[str, Any]:
        """Coordinates along some bands: names, wavelengths, and the facts in which bands differ."""
        coords: dict[str, Any] = dict(band_coords([self.facts(band) for band in bands]))
        if all(band.common for band in bands):
            coords["common_name"] = ("band", np.array([band.common for band in bands]))
        if all(band.wavelength for band in bands):
            coords["wavelength"] = ("band", np.array([band.wavelength for band in bands]))
        return coords

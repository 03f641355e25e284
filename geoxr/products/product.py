"""What a sensor or label product is: names, bands, numbers, classes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from geoxr.errors import ArgumentError
from geoxr.grid.classes import Classes
from geoxr.typing import Kind


@dataclass(frozen=True)
class Band:
    """One band of a product.

    Parameters
    ----------
    name : str
        As in file names.
    common : str, optional
        What it shows: "red", "nir", ...
    wavelength : float, optional [micrometre]
        Centre.
    """

    name: str
    common: str | None = None
    wavelength: float | None = None


@dataclass(frozen=True)
class Product:
    r"""A sensor or label product, described so that its files open as a layer.

    Parameters
    ----------
    name : str
        Platform, level and kind: "landsat8-l2-sr".
    pattern : str
        Regular expression for a whole file name. The named group ``date`` is the acquisition date,
        ``band`` the band; files that agree in all but the band are one scene.
    bands : tuple of Band
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
    pattern: str
    bands: tuple[Band, ...]
    title: str = ""
    kind: Kind = "continuous"
    nodata: float | None = None
    units: str = "DN"
    scale: float = 1.0
    offset: float = 0.0
    decoded_units: str = "1"
    classes: Classes | None = None
    date_format: str = "%Y%m%d"
    license: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        if not self.bands:
            raise ArgumentError(f"Product {self.name!r} has no bands.")
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ArgumentError(
                f"The pattern of product {self.name!r} is not a regular expression: {error}."
            ) from error

    def match(self, filename: str) -> re.Match[str] | None:
        """Match a file name, without its directory."""
        return re.fullmatch(self.pattern, filename)

    def band(self, name: str) -> Band:
        """Find a band by its own or its common name.

        Raises
        ------
        ArgumentError
            If there is none, or several share the common name.
        """
        found = [b for b in self.bands if name == b.name] or [
            b for b in self.bands if name == b.common
        ]
        if len(found) != 1:
            known = ", ".join(f"{b.name} ({b.common})" if b.common else b.name for b in self.bands)
            raise ArgumentError(
                f"{self.name} has {'no band' if not found else 'several bands'} {name!r}. "
                f"Its bands are {known}."
            )
        return found[0]

    def attrs(self) -> dict[str, Any]:
        """Attributes of a layer of this product."""
        attrs: dict[str, Any] = {"long_name": self.title or self.name, "product": self.name}
        attrs["units"] = self.units
        if (self.scale, self.offset) != (1.0, 0.0):
            attrs.update(scale=self.scale, offset=self.offset, decoded_units=self.decoded_units)
        if self.license:
            attrs["license"] = self.license
        return attrs

"""STAC items of a known product: its bands, quality files and numbers.

References
----------
Earth Search by Element 84: property ``earthsearch:boa_offset_applied`` of Sentinel-2 items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from geoxr.catalog.stac_assets import Band, asset_named, assets_of, finest, pick_assets
from geoxr.catalog.stac_items import StacItem
from geoxr.derive.screen import Treatment
from geoxr.errors import ArgumentError
from geoxr.products.baseline import baseline_of, shift_of
from geoxr.products.files import flags_of
from geoxr.products.metadata import told_by
from geoxr.products.product import QA, Product
from geoxr.products.strangers import owner_of


@dataclass(frozen=True)
class ProductBands:
    """What to open of the items of a product.

    Attributes
    ----------
    product : Product
    bands : tuple of str
        By the names of the product.
    qa : tuple of QA
        Quality files to mask by.
    """

    product: Product
    bands: tuple[str, ...]
    qa: tuple[QA, ...] = ()

    @property
    def by_file(self) -> bool:
        """Whether every band is a file of its own."""
        return any("(?P<band>" in pattern for pattern in self.product.patterns)

    def pick(self, item: StacItem) -> list[Band]:
        """Find the assets of the bands: by the names of their files, else by keys and common names.

        Raises
        ------
        ArgumentError
            If an item lacks a band, or has files of another product.
        """
        if self.by_file:
            return [replace(self._named(item, name), name=name) for name in self.bands]
        named = [one for one in assets_of(item) if self._groups(item, one) is not None]
        picked = finest(named or pick_assets(item, None))[:1]
        for band in picked:
            self._check_owner(item, band)
        return picked

    def names(self, many: int) -> tuple[str, ...]:
        """Names of the bands of an item that is one file."""
        return tuple(band.name for band in self.product.bands)[:many]

    def quality(self, item: StacItem) -> list[str]:
        """Files of the quality bands.

        Raises
        ------
        ArgumentError
            If an item lacks one.
        """
        return [item.path(self._named(item, one.band).content["href"]) for one in self.qa]

    def treatment(self, item: StacItem, picked: Sequence[Band]) -> Treatment:
        """What is done to a scene: masks, and the shift of its baseline."""
        names = [one.name for one in picked]
        many = max(len(one.bands.records) for one in picked)
        return Treatment(
            tuple(flags_of(one, names) for one in self.qa),
            self._shift(item, picked[0]),
            self.product.missing,
            plain=many > 1,
        )

    def _named(self, item: StacItem, name: str) -> Band:
        """Find the asset of a band or quality file."""
        known = assets_of(item)
        told = [(self._groups(item, one) or {}).get("band", "") for one in known]
        same = [one for one, band in zip(known, told, strict=True) if _alike(band, name)]
        by_key = [one for one in known if _alike(one.key, name)]
        if same or by_key:
            found = finest(same or by_key)[0]
        else:
            common = {band.name: band.common for band in self.product.bands}
            found = asset_named(item, known, common.get(name) or name)
        self._check_owner(item, found)
        return found

    def _check_owner(self, item: StacItem, band: Band) -> None:
        """Refuse a file that its name tells to be of another product: a key alone tells less."""
        href = band.content.get("href")
        if not isinstance(href, str):
            return
        path = _unsigned(item.path(href))
        owner = owner_of(self.product, path)
        if owner is not None:
            raise ArgumentError(
                f"{item.name}: asset {band.key!r} is {PurePath(path).name}, a file of {owner.name}, "
                f"not of {self.product.name}. Pass product={owner.name!r}, or leave such items out "
                f'with errors="skip".'
            )

    def _groups(self, item: StacItem, band: Band) -> dict[str, str] | None:
        """What the name of a file tells; None if it is none of the product, or none at all."""
        href = band.content.get("href")
        return self.product.groups(_unsigned(item.path(href))) if isinstance(href, str) else None

    def _shift(self, item: StacItem, band: Band) -> int:
        product = self.product
        if not product.baseline_shift or item.properties.get("earthsearch:boa_offset_applied"):
            return 0
        scale, offset = band.bands.each("scale")[0], band.bands.each("offset")[0]
        if scale is not None and offset is not None:
            return round((float(offset) - product.offset) / float(scale))
        named = self._groups(item, band) or {}
        path = _unsigned(item.path(band.content["href"]))
        return shift_of(product, baseline_of(product, told_by(product, path, named) | named))


def product_bands(
    product: Product, assets: str | Sequence[str] | None, qa: Sequence[QA]
) -> ProductBands:
    """Choose bands of a product by own or common name; those opened by default if left out.

    Raises
    ------
    ArgumentError
        If one is unknown, or the product has features.
    """
    if product.vector:
        raise ArgumentError(
            f"{product.name} has features, and assets of STAC items are opened as rasters. Pass the "
            f"file: gx.open_product({product.name!r}, path, like=image)."
        )
    wanted = [assets] if isinstance(assets, str) else assets
    return ProductBands(product, tuple(one.name for one in product.pick(wanted)), tuple(qa))


def _alike(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def _unsigned(path: str) -> str:
    """Leave out the query of an address, where signatures are."""
    return path.partition("?")[0] if "://" in path or path.startswith("/vsi") else path

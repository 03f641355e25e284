"""STAC items, however people have them: dictionaries, objects of pystac, files, directories.

References
----------
SpatioTemporal Asset Catalog specification 1.1.0, "Item"; RFC 7946 (GeoJSON).
"""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from geoxr.catalog.paths import find_files
from geoxr.errors import ArgumentError, GeoxrError

#: Endings of files that may hold items.
ENDINGS = (".json", ".geojson")


@dataclass(frozen=True, eq=False)
class StacItem:
    """One item.

    Attributes
    ----------
    content : mapping
        The item as a dictionary, not changed.
    base : str or None
        The file or address of the item, which relative hrefs start from; None is the working
        directory.
    """

    content: Mapping[str, Any]
    base: str | None

    @property
    def name(self) -> str:
        """Name of the item in messages."""
        return f"Item {self.content.get('id')!r}"

    @property
    def properties(self) -> Mapping[str, Any]:
        """What holds for all assets."""
        return self.content.get("properties") or {}

    @property
    def assets(self) -> Mapping[str, Mapping[str, Any]]:
        """The files of the item by key."""
        return self.content.get("assets") or {}

    def path(self, href: str) -> str:
        """Return an href as a path or address that GDAL opens."""
        if href.startswith("file:"):
            return local_path(href)
        if "://" in href or href.startswith("/"):
            return href
        if self.base is None:
            return os.path.abspath(href)
        if "://" in self.base or self.base.startswith("/vsi"):
            scheme, mark, rest = self.base.rpartition("://")
            return scheme + mark + posixpath.normpath(posixpath.join(posixpath.dirname(rest), href))
        return os.path.normpath(os.path.join(os.path.dirname(self.base), href))


def local_path(href: str) -> str:
    """Return the path that a ``file:`` address stands for."""
    return unquote(urlsplit(href).path)


def load_items(items: Any) -> tuple[list[StacItem], list[GeoxrError]]:
    """Bring together the items that something holds; also the errors of files that hold none.

    Raises
    ------
    MissingFileError
        If a path, pattern or directory is not there.
    ArgumentError
        If something is neither items nor files of them.
    """
    found: list[StacItem] = []
    failed: list[GeoxrError] = []
    for one in _each(items, None):
        if isinstance(one, StacItem):
            found.append(one)
        else:
            failed.append(one)
    if not found and not failed:
        raise ArgumentError("There are no STAC items in what was passed: it is empty.")
    return found, failed


def _each(items: Any, base: str | None) -> Iterator[StacItem | GeoxrError]:
    if isinstance(items, str | os.PathLike):
        yield from _of_paths(os.fspath(items))
    elif isinstance(items, Mapping):
        yield from _of_mapping(items, base)
    elif hasattr(items, "assets") and hasattr(items, "to_dict"):  # an Item of pystac
        content = items.to_dict(include_self_link=False, transform_hrefs=False)
        yield from _of_mapping(content, items.get_self_href())
    elif hasattr(items, "get_items"):
        raise ArgumentError(
            f"{items!r} is a catalog of items, which may be far away. Pass the items of it that you "
            f"need: list(catalog.get_items(recursive=True))."
        )
    elif callable(getattr(items, "items", None)):  # a search of pystac-client
        yield from _each(items.items(), base)
    elif isinstance(items, Iterable) and not isinstance(items, bytes):
        for one in items:
            yield from _each(one, base)
    else:
        raise ArgumentError(
            f"A {type(items).__name__} is no STAC item. Pass items or item collections of pystac, "
            f"dictionaries, or paths of JSON files of them."
        )


def _of_mapping(content: Mapping[str, Any], base: str | None) -> Iterator[StacItem]:
    kind = content.get("type")
    if kind == "FeatureCollection":
        for feature in content.get("features") or []:
            yield from _of_mapping(feature, _own_link(feature, base) or base)
    elif kind == "Feature" and isinstance(content.get("assets"), Mapping):
        yield StacItem(content, base or _own_link(content, base))
    else:
        found = f"type {kind!r}" if kind != "Feature" else "no assets"
        advice = "Pass the items of it, or the directory they are in."
        raise ArgumentError(
            f"{base or content.get('id', 'A dictionary')} has {found}, so it is no STAC item, which "
            f"is a GeoJSON Feature with assets, nor a FeatureCollection of such. "
            f"{advice if kind in ('Catalog', 'Collection') else 'Pass items.'}"
        )


def _own_link(content: Mapping[str, Any], base: str | None) -> str | None:
    """Where an item says that it is; nothing for a relative link that starts nowhere."""
    for link in content.get("links") or []:
        href = link.get("href")
        if link.get("rel") == "self" and href:
            absolute = "://" in href or href.startswith(("/", "file:"))
            return StacItem({}, base).path(href) if absolute or base else None
    return None


def _of_paths(path: str) -> Iterator[StacItem | GeoxrError]:
    """Items in a file, in those that match a pattern, or in all of a directory.

    What else is in a directory is passed over.
    """
    if path.startswith("file:"):
        path = local_path(path)
    if "://" in path:
        raise ArgumentError(
            f"{path} is not on a local disk. Fetch it with pystac: "
            f"gx.open_stac(pystac.Item.from_file({path!r}))."
        )
    several = os.path.isdir(path)
    for file in find_files(path, ENDINGS):
        try:
            content = json.loads(Path(file).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            yield ArgumentError(f"{file} is not JSON that can be read ({error}).")
            continue
        if several and not _may_hold_items(content):
            continue
        try:
            yield from _each(content, os.path.abspath(file))
        except ArgumentError as error:
            yield ArgumentError(f"{file}: {error}")


def _may_hold_items(content: Any) -> bool:
    """Whether a file of a directory is meant to be read: an item, or features that are items."""
    if isinstance(content, Mapping) and content.get("type") == "FeatureCollection":
        features = content.get("features") or [{}]
        return "assets" in features[0]
    return isinstance(content, Mapping) and "assets" in content and content.get("type") == "Feature"

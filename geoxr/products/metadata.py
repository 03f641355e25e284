"""What text files beside the bands of a scene tell of it: cloud cover, processing baseline."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import PurePath
from typing import Any

from geoxr.io.bytes import Stamp, stamp_of
from geoxr.products.product import Metadata, Product

#: Groups that are numbers; the others are text.
_NUMBERS = ("cloud_cover",)


def told_by(product: Product, path: str, groups: Mapping[str, str]) -> dict[str, Any]:
    """Read what the metadata of a product tells of the scene of a file; nothing where there is none.

    Parameters
    ----------
    path : str
        A file of the scene. Metadata of files that are not local are not looked for.
    groups : mapping of str to str
        What its name tells, for names of metadata files.
    """
    told: dict[str, Any] = {}
    if "://" in path or path.startswith("/vsi"):
        return told
    for one in product.metadata:
        file = _find(one, path, groups)
        found = re.search(one.pattern, _text(file, stamp_of(file))) if file else None
        for key, text in found.groupdict().items() if found else ():
            if text is not None:
                told.setdefault(key, float(text) if key in _NUMBERS else text)
    return told


def _find(metadata: Metadata, path: str, groups: Mapping[str, str]) -> str | None:
    """Return the first metadata file in the folder of a file, or in one above that is named."""
    above, _, name = metadata.file.rpartition("/")
    if "{scene}" in name:
        if "scene" not in groups:
            return None
        name = name.replace("{scene}", glob.escape(groups["scene"]))
    parents = PurePath(path).parents
    folders = [one for one in parents if fnmatch(one.name, above)] if above else parents[:1]
    for folder in folders:
        file = _first(str(folder), name)
        if file is not None:
            return file
    return None


def _first(folder: str, name: str) -> str | None:
    if not glob.has_magic(name):
        file = os.path.join(folder, name)
        return file if os.path.exists(file) else None
    return min(glob.glob(os.path.join(glob.escape(folder), name)), default=None)


@lru_cache(maxsize=16)
def _text(file: str, stamp: Stamp) -> str:
    # Two patterns of a product, and all its bands, look into the same file.
    with open(file, encoding="utf-8", errors="replace") as content:
        return content.read()

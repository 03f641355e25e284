"""Files that are not of a product: what to say of them, and whose they are."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from geoxr.products.product import Product
from geoxr.products.registry import products

#: Files that are looked at to find out whose they are.
_LOOKED_AT = 2000


def no_match(product: Product, paths: Sequence[str]) -> str:
    """Say that no file is named like a product, and like which other product files are."""
    looked_at = paths[:_LOOKED_AT]
    if all("://" not in path and not path.startswith("/vsi") for path in looked_at) and not any(
        map(os.path.exists, looked_at)
    ):
        rest = f" and {len(paths) - 1} more do" if len(paths) > 1 else " does"
        return f"{paths[0]}{rest} not exist (looked in {Path.cwd()})."
    examples = ", ".join(PurePath(path).name for path in paths[:3])
    others = _owners(product, looked_at)
    known = _listed(others, "like")
    hint = f" geoxr knows {known}: open them by that name." if known else ""
    return (
        f"None of {len(paths)} files is named like "
        f"{product.name}: {examples}. The pattern is {' or '.join(product.patterns)}.{hint}"
    )


def strangers(product: Product, paths: Sequence[str]) -> str | None:
    """Say which files beside those of a product are of another family; None if there are none.

    Products of one's own may well be other names for the same files.
    """
    if product.name not in products():
        return None
    family = product.family or product.name
    left = [path for path in paths if product.groups(path) is None][:_LOOKED_AT]
    others: Counter[str] = Counter()
    for name, number in _owners(product, left).items():
        other = products()[name]
        if (other.family or other.name) != family:
            others[name] += number
    if not others:
        return None
    return (
        f"Besides {product.name} there are files of other products, which are left out: "
        f"{_listed(others, 'of')}. "
        f"Pass a pattern that only names what you mean, or open the others by their names."
    )


def owner_of(product: Product, path: str) -> Product | None:
    """Return the known product that a file is of, if its numbers or bands are not those of `product`.

    None where a name tells nothing, and for a product of one's own. The products of sensors of one
    kind, such as those of Landsat 8 and 9, may be opened as one another.
    """
    if product.name not in products() or product.groups(path) is not None:
        return None
    owners = [other for other in products().values() if other.groups(path) is not None]
    return None if any(_alike(product, other) for other in owners) else next(iter(owners), None)


def _alike(one: Product, other: Product) -> bool:
    """Whether files of two products have bands of the same names and numbers of the same meaning."""
    first, second = (
        [(band.name, band.common, product.facts(band)) for band in product.bands]
        for product in (one, other)
    )
    return first == second and one.classes == other.classes


def _listed(found: Counter[str], word: str) -> str:
    """Numbers of files with the products that know them, the most frequent ones by name."""
    listed = ", ".join(f"{number} {word} {name}" for name, number in found.most_common(5))
    rest = len(found) - 5
    return f"{listed}, and some of {rest} more" if rest > 0 else listed


def _owners(product: Product, paths: Sequence[str]) -> Counter[str]:
    """Products that know files, each with their number; the first that knows a file has it."""
    found: Counter[str] = Counter()
    known = [other for other in products().values() if other.name != product.name]
    for path in paths:
        owner = next((other for other in known if other.groups(path) is not None), None)
        if owner is not None:
            found[owner.name] += 1
    return found

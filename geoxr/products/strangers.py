"""Files that are not of a product: what to say of them, and whose they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from geoxr.products.product import Product
from geoxr.products.registry import products

#: Files that are looked at to find out whose they are.
_LOOKED_AT = 2000


def no_match(product: Product, paths: Sequence[str]) -> str:
    """Say that no file is named like a product, and like which other product files are."""
    if len(paths) == 1 and "://" not in paths[0] and not Path(paths[0]).exists():
        return f"{paths[0]} does not exist (looked in {Path.cwd()})."
    examples = ", ".join(PurePath(path).name for path in paths[:3])
    others = _owners(product, paths[:_LOOKED_AT])
    known = ", ".join(f"{number} like {name}" for name, number in others.most_common(5))
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
    listed = ", ".join(f"{number} of {name}" for name, number in others.most_common(5))
    return (
        f"Besides {product.name} there are files of other products, which are left out: {listed}. "
        f"Pass a pattern that only names what you mean, or open the others by their names."
    )


def _owners(product: Product, paths: Sequence[str]) -> Counter[str]:
    """Products that know files, each with their number; the first that knows a file has it."""
    found: Counter[str] = Counter()
    known = [other for other in products().values() if other.name != product.name]
    for path in paths:
        owner = next((other for other in known if other.groups(path) is not None), None)
        if owner is not None:
            found[owner.name] += 1
    return found

"""From what people pass to a scan to scenes: one file each, one by band, or by names of a product."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeAlias

from geoxr.catalog.paths import find_files
from geoxr.catalog.scan import Errors, SceneFiles, check_errors
from geoxr.errors import ArgumentError
from geoxr.products.files import scenes_of
from geoxr.products.product import QA, Product
from geoxr.products.strangers import strangers
from geoxr.typing import PathLike

#: Paths, patterns, directories; bands and their files; scenes and their bands.
Paths: TypeAlias = (
    PathLike | Sequence[PathLike] | Mapping[str, PathLike] | Mapping[str, Mapping[str, PathLike]]
)


@dataclass(frozen=True)
class GivenScenes:
    """Scenes before any file was opened.

    Attributes
    ----------
    scenes : tuple of SceneFiles
    columns : tuple of mapping of str to value
        What is known of each scene before its files are opened: ``id``, ``product``.
    skipped : tuple of (str or None, str)
        Files left out, if it is known which, and why.
    """

    scenes: tuple[SceneFiles, ...]
    columns: tuple[Mapping[str, Any], ...]
    skipped: tuple[tuple[str | None, str], ...] = ()


def given_scenes(
    paths: Paths,
    product: Product | None,
    bands: Sequence[str] | None,
    errors: Errors,
    *,
    clouds: bool = False,
    saturated: bool = False,
) -> GivenScenes:
    """Sort paths into scenes, with the quality files that mask them.

    Raises
    ------
    MissingFileError
        If something matches no file, or no file is named like the product.
    ArgumentError
        If a mapping is empty, or mixes bands and scenes.
    """
    check_errors(errors)
    if bands is not None and product is None:
        raise ArgumentError(
            "bands= needs a product, which knows the band of a file by its name. Without one give "
            "a mapping of scenes: {name: {band: path}}."
        )
    if (clouds or saturated) and (product is None or isinstance(paths, Mapping)):
        raise ArgumentError(
            "mask_clouds= and mask_saturated= need a product, which knows the quality files of a "
            "scene by their names, and files, a directory or a pattern to find them in."
        )
    of = {} if product is None else {"product": product.name}
    if isinstance(paths, Mapping):
        scenes, names = _of_mapping(paths, product, bands)
        return GivenScenes(scenes, tuple({"id": name, **of} for name in names))
    files, twice = _once(find_files(paths))
    skipped: list[tuple[str | None, str]] = [
        (path, f"{path} was given more than once and is taken once.") for path in twice
    ]
    told: list[Mapping[str, Any]] = [{}] * len(files)
    if product is None:
        found = [SceneFiles((path,)) for path in files]
    else:
        qa = masks_of(product, clouds=clouds, saturated=saturated)
        named, incomplete = scenes_of(
            product, files, product.pick(bands), qa=qa, skip=errors == "skip"
        )
        found = [
            SceneFiles(one.paths, one.bands, one.start, one.end, one.treatment) for one in named
        ]
        told = [one.columns for one in named]
        skipped += [(None, reason) for reason in incomplete]
        others = strangers(product, files)
        if others is not None:
            warnings.warn(others, stacklevel=3)
    columns = tuple(
        {"id": more.get("scene") or scene_name(one.treatment.split(one.paths)[0]), **of}
        | {key: value for key, value in more.items() if key != "scene"}
        for one, more in zip(found, told[: len(found)], strict=True)
    )
    return GivenScenes(tuple(found), columns, tuple(skipped))


def masks_of(product: Product, *, clouds: bool, saturated: bool) -> list[QA]:
    """Quality files that were asked for.

    Raises
    ------
    ArgumentError
        If the product has none of that use.
    """
    found: list[QA] = []
    for asked, use, option in (
        (clouds, "clouds", "mask_clouds"),
        (saturated, "saturation", "mask_saturated"),
    ):
        some = [one for one in product.qa if one.use == use]
        if asked and not some:
            raise ArgumentError(
                f"{product.name} has no quality band that tells {use}, so {option}=True cannot be "
                f"done. Leave it out; a mask of your own goes in with da.geoxr.mask(keep)."
            )
        found += some if asked else []
    return found


def scene_name(paths: Sequence[str]) -> str:
    """Name of a scene: that of its file, or what the files of its bands have in common.

    Examples
    --------
    >>> scene_name(["archive/m_4209_ne.tif"])
    'm_4209_ne'
    >>> scene_name(["a/LC08_20230601_SR_B4.TIF", "a/LC08_20230601_SR_B5.TIF"])
    'LC08_20230601_SR'
    >>> scene_name(["a/S2A_T32TLS_20230601/B04.tif", "a/S2A_T32TLS_20230601/B08.tif"])
    'S2A_T32TLS_20230601'
    """
    folder, _, file = paths[0].rpartition("/")
    if len(paths) == 1:
        return file.rpartition(".")[0] or file
    names = [path.rpartition("/")[2] for path in paths]
    alike = takewhile(lambda marks: len(set(marks)) == 1, zip(*names, strict=False))
    common = "".join(marks[0] for marks in alike)
    cut = max(common.rfind(mark) for mark in "_-.")
    return common[:cut] if cut > 0 else folder.rpartition("/")[2] or file


def _of_mapping(
    paths: Mapping[str, Any], product: Product | None, bands: Sequence[str] | None
) -> tuple[tuple[SceneFiles, ...], tuple[str, ...]]:
    """Scenes of a mapping of bands to paths, or of names to such mappings."""
    if not paths:
        raise ArgumentError("The mapping of paths is empty.")
    nested = [isinstance(value, Mapping) for value in paths.values()]
    if not any(nested):
        scene = _by_band(paths, product, bands, "The mapping of bands to paths")
        return (scene,), (scene_name(scene.paths),)
    if not all(nested):
        first = next(name for name, scene in zip(paths, nested, strict=True) if not scene)
        raise ArgumentError(
            f"The mapping has scenes, which are mappings of bands to paths, but {first!r} is a path. "
            f"Give all as {{scene: {{band: path}}}}, or one scene as {{band: path}}."
        )
    scenes = (_by_band(files, product, bands, f"Scene {name!r}") for name, files in paths.items())
    return tuple(scenes), tuple(map(str, paths))


def _by_band(
    files: Mapping[str, PathLike], product: Product | None, bands: Sequence[str] | None, what: str
) -> SceneFiles:
    """One scene of a file per band; a product knows bands by their common names, too."""
    if not files:
        raise ArgumentError(f"{what} is empty.")
    named = {str(band): os.fspath(path) for band, path in files.items()}
    if product is not None:
        named = {product.band(band).name: path for band, path in named.items()}
        wanted = [product.band(band).name for band in bands] if bands is not None else list(named)
        missing = [band for band in wanted if band not in named]
        if missing:
            raise ArgumentError(
                f"{what} has no file for {', '.join(missing)}; it has {', '.join(named)}."
            )
        named = {band: named[band] for band in wanted}
    return SceneFiles(tuple(named.values()), tuple(named))


def _once(files: Sequence[str]) -> tuple[list[str], list[str]]:
    """Files without repetition, and those that were repeated."""
    known: dict[str, str] = {}
    twice: dict[str, str] = {}
    for file in files:
        key = os.path.abspath(file) if "://" not in file and not file.startswith("/vsi") else file
        if key in known:
            twice[key] = file
        known.setdefault(key, file)
    return list(known.values()), list(twice.values())

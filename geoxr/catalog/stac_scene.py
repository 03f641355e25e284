"""From a STAC item to a row of a catalog; files are opened only for what the item does not say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import shapely
from affine import Affine

from geoxr.catalog.scan import file_attrs
from geoxr.catalog.stac_assets import Band, pick_assets
from geoxr.catalog.stac_items import StacItem
from geoxr.catalog.stac_metadata import AssetGrid, classes_of
from geoxr.catalog.stac_product import ProductBands
from geoxr.catalog.table import (
    NO_TIME,
    UNKNOWN,
    Header,
    Row,
    crs_from_text,
    crs_text,
    open_given,
    stamp_of_scene,
)
from geoxr.errors import ArgumentError, MissingCRSError
from geoxr.io.bytes import Stamp
from geoxr.io.facts import BandFacts, storable
from geoxr.typing import Kind
from geoxr.warp.control_points import place


@dataclass(frozen=True, eq=False)
class StacScene:
    """One item as a scene.

    Attributes
    ----------
    item : StacItem
    row : Row
    footprint : shapely.Geometry
        The geometry of the item.
    commons : tuple of str or None
        Common name of each band.
    wavelengths : tuple of float or None [micrometre]
        Centre of each band.
    """

    item: StacItem
    row: Row
    footprint: shapely.Geometry
    commons: tuple[str | None, ...]
    wavelengths: tuple[float | None, ...]


@dataclass(frozen=True, eq=False)
class _File:
    """What is known of the file of one asset, whoever said it."""

    path: str
    names: tuple[str, ...]
    crs: str | None
    affine: Affine
    shape: tuple[int, int]
    dtype: str
    facts: tuple[BandFacts, ...]
    nodata: float | int | None
    masked: bool
    attrs: dict[str, Any]
    opened: bool = False


def scene_of(item: StacItem, wanted: Sequence[str] | ProductBands | None) -> StacScene:
    """Make a scene of an item.

    Parameters
    ----------
    wanted : sequence of str or ProductBands, optional
        Assets, or bands of a product. Default: all that hold measurements.

    Raises
    ------
    ArgumentError
        If the item lacks an asset or a geometry, or says what makes no sense.
    MissingFileError, NotARasterError
        If a file that has to be opened cannot be.
    """
    start, end = _interval(item)
    footprint = _footprint(item)
    if isinstance(wanted, ProductBands):
        known, picked = wanted, wanted.pick(item)
    else:
        known, picked = None, pick_assets(item, wanted)
    default = known.product.nodata if known else None
    files = [_file(item, band, default, alone=len(picked) == 1) for band in picked]
    if known and not known.by_file and len(files[0].names) <= len(known.product.bands):
        files = [replace(files[0], names=known.names(len(files[0].names)))]
    _check_types(item, picked, files)
    if len({repr(file.nodata) for file in files}) > 1:
        files = [_own_marks(item, band, file) for band, file in zip(picked, files, strict=True)]
    grid = _finest(files)
    marks = {repr(file.nodata): file.nodata for file in files}
    facts = [fact for file in files for fact in file.facts]
    attrs = files[0].attrs if len(files) == 1 else {}
    kind: Kind = "categorical" if attrs else "continuous"
    quality: list[str] = []
    if known:
        kind, quality = known.product.kind, known.quality(item)
        treatment = known.treatment(item, picked).to_attrs()
        attrs = attrs | ({"treatment": treatment} if treatment else {})
    header = Header(
        grid.crs,
        files[0].dtype,
        tuple(name for file in files for name in file.names),
        files[0].nodata if len(marks) == 1 else None,
        len(marks) > 1 or any(file.masked for file in files),
        kind,
        json.dumps(attrs | {"facts": [astuple(fact) for fact in facts]}),
    )
    affine = tuple(grid.affine)[:6]
    paths = (*(file.path for file in files), *quality)
    row = Row(paths, header, affine, grid.shape, _stamp(files, paths), start, end)
    commons, wavelengths = _optics(picked, header)
    return StacScene(item, row, footprint, commons, wavelengths)


def _stamp(files: Sequence[_File], paths: Sequence[str]) -> Stamp:
    """Stamp of a scene whose files were all opened."""
    return stamp_of_scene(paths) if all(file.opened for file in files) else (UNKNOWN, UNKNOWN)


def _file(item: StacItem, band: Band, default: float | None, *, alone: bool) -> _File:
    """What an item says of an asset, if that is all that is needed; else its header, too."""
    try:
        grid = AssetGrid.of(band.content, item.properties)
    except ArgumentError as error:
        raise ArgumentError(f"{item.name}, asset {band.key!r}: {error}") from error
    path, dtype = item.path(band.content["href"]), band.bands.dtype
    counted = band.bands.counted or not alone
    if not (grid.whole and dtype and band.bands.marked and counted):
        return _opened(item, band, grid, path, default)
    assert grid.affine is not None and grid.shape is not None and dtype is not None
    many = len(band.bands.records)
    numbers = [str(i + 1) for i in range(many)]
    facts = tuple(band.bands.facts(dtype))
    classes = classes_of(band.content) if many == 1 else None
    return _File(
        path,
        (band.name,) if many == 1 else tuple(band.names or numbers),
        grid.crs,
        grid.affine,
        grid.shape,
        dtype,
        facts,
        facts[0].nodata if facts[0].nodata is not None else storable(default, np.dtype(dtype)),
        False,
        {} if classes is None else classes.to_attrs(),
    )


def _opened(item: StacItem, band: Band, grid: AssetGrid, path: str, default: float | None) -> _File:
    """What the header of a file says, and the item of what it does not."""
    nodata = band.bands.marks if band.bands.marked else None
    info = open_given(path, crs_from_text(grid.crs), nodata, default)
    reader = place(info, "nearest")
    many = len(reader.bands)
    names = band.names if band.names is not None and len(band.names) == many else reader.bands
    if reader.geobox.crs is None:
        raise MissingCRSError(
            f"{item.name}: neither the item (proj:code) nor the file of its asset {band.key!r} names "
            f"a CRS ({path})."
        )
    facts = band.bands.facts(str(reader.dtype), info.facts)
    classes = classes_of(band.content) if many == 1 else None
    attrs = file_attrs(info) if classes is None else classes.to_attrs()
    return _File(
        path if "://" in path or path.startswith("/vsi") else info.reader.path,
        (band.name,) if many == 1 else tuple(names),
        crs_text(reader.geobox.crs),
        reader.geobox.affine,
        (reader.geobox.height, reader.geobox.width),
        str(reader.dtype),
        tuple(facts),
        reader.nodata,
        reader.masked,
        attrs,
        opened=True,
    )


def _own_marks(item: StacItem, band: Band, file: _File) -> _File:
    """Let a file name its nodata value itself, since one number cannot stand for those of others.

    Raises
    ------
    ArgumentError
        If the item names another.
    """
    info = open_given(file.path, crs_from_text(file.crs), None)
    if file.nodata is not None and repr(info.reader.nodata) != repr(file.nodata):
        raise ArgumentError(
            f"{item.name}: the assets have different nodata values, and that of {band.key!r} is "
            f"{file.nodata} in the item but {info.reader.nodata} in the file, so nobody could tell "
            f"which pixels are missing. Open the assets apart and use gx.merge."
        )
    return replace(file, nodata=info.reader.nodata, masked=info.reader.masked, opened=True)


def _check_types(item: StacItem, picked: Sequence[Band], files: Sequence[_File]) -> None:
    """Raise unless files can be the bands of one scene."""
    dtypes = list(dict.fromkeys(file.dtype for file in files))
    if len(dtypes) > 1:
        pairs = list(zip(picked, files, strict=True))
        groups = [[band.name for band, file in pairs if file.dtype == dtype] for dtype in dtypes]
        listed = "; ".join(
            f"{dtype}: {', '.join(names)}" for dtype, names in zip(dtypes, groups, strict=True)
        )
        raise ArgumentError(
            f"{item.name} has assets of several types ({listed}). Bands of one layer have one type. "
            f"Pick some: assets={max(groups, key=len)}; open the others apart and use gx.merge."
        )
    for band, file in zip(picked, files, strict=True):
        if len(files) > 1 and len(file.names) > 1:
            raise ArgumentError(
                f"{item.name}: the asset {band.key!r} has {len(file.names)} bands. A scene is one "
                f"file, or files of one band each. Pick what belongs together: assets=[...]."
            )


def _finest(files: Sequence[_File]) -> _File:
    """The file whose grid the scene has: as in scenes of files, the first with the smallest pixels."""
    if any(file.crs != files[0].crs for file in files):
        return files[0]
    areas = [abs(file.affine.determinant) for file in files]
    return next(
        file for file, area in zip(files, areas, strict=True) if area <= min(areas) * (1 + 1e-6)
    )


def _interval(item: StacItem) -> tuple[np.datetime64, np.datetime64]:
    """First and last moment [UTC]; NaT where an item names none."""
    moment = item.properties.get("datetime")
    start = _moment(item, "start_datetime", item.properties.get("start_datetime") or moment)
    end = _moment(item, "end_datetime", item.properties.get("end_datetime") or moment)
    if end < start:
        raise ArgumentError(f"{item.name} ends before it starts: {start} to {end}.")
    return start, end


def _moment(item: StacItem, key: str, text: Any) -> np.datetime64:
    if text is None:
        return NO_TIME
    try:
        moment = pd.Timestamp(text)
        if moment.tzinfo is not None:
            moment = moment.tz_convert("UTC").tz_localize(None)
        return moment.to_datetime64().astype("datetime64[ns]")
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"{item.name}: {text!r} is no {key.removeprefix('start_').removeprefix('end_')} as in "
            f"RFC 3339, such as 2021-06-05T10:20:30Z."
        ) from error


def _footprint(item: StacItem) -> shapely.Geometry:
    geometry = item.content.get("geometry")
    if not geometry:
        raise ArgumentError(
            f"{item.name} has no geometry, so nobody knows where it is. Set it in EPSG:4326, for "
            f"example from its bbox: shapely.geometry.mapping(shapely.box(*item['bbox']))."
        )
    try:
        shape = shapely.geometry.shape(geometry)
    except Exception as error:
        raise ArgumentError(f"{item.name} has a geometry that is no GeoJSON: {error}.") from error
    return shape if shape.is_valid else shapely.make_valid(shape)


def _optics(
    picked: Sequence[Band], header: Header
) -> tuple[tuple[str | None, ...], tuple[float | None, ...]]:
    """Common names and wavelengths of the bands of a scene."""
    commons = [name for band in picked for name in band.bands.each("common")]
    wavelengths = [length for band in picked for length in band.bands.each("wavelength")]
    if len(commons) != len(header.bands):
        return (None,) * len(header.bands), (None,) * len(header.bands)
    return tuple(commons), tuple(wavelengths)

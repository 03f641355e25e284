"""From the files of one scene to one reader: bands on one grid, without what quality files spoil."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from odc.geo.geobox import GeoBox

from geoxr.derive.screen import Treatment
from geoxr.errors import ArgumentError, NotARasterError
from geoxr.grid.geobox import lattice_offset
from geoxr.io.gdal import FileInfo, GdalReader
from geoxr.io.reader import WindowReader
from geoxr.io.stacks import BandStack
from geoxr.io.views import Labelled
from geoxr.typing import Kind, Resampling
from geoxr.warp.control_points import place
from geoxr.warp.reproject import check_complex, onto


@dataclass(frozen=True)
class SceneBands(BandStack):
    """Bands that were resampled onto the grid of the finest; see `BandStack`.

    Parameters
    ----------
    natives : tuple of WindowReader
        The bands as stored, so that another grid resamples them once.
    """

    natives: tuple[WindowReader, ...] = ()

    def onto(self, geobox: GeoBox, resampling: Resampling) -> WindowReader:
        """Return the bands on another grid."""
        return BandStack(
            tuple(onto(source, geobox, resampling) for source in self.natives), self.bands
        )


def read_scene(
    paths: Sequence[str],
    bands: Sequence[str] | None,
    treatment: Treatment,
    kind: Kind | None,
    resampling: Resampling | None,
    open_band: Callable[[str], FileInfo],
    open_quality: Callable[[str], FileInfo],
) -> tuple[WindowReader, list[FileInfo]]:
    """Open the files of a scene.

    Parameters
    ----------
    bands : sequence of str, optional
        A name for each path of a band, or for each band of the one file.
    kind : {"continuous", "categorical"}, optional
        Default: what the first file says.
    resampling : str, optional
        How coarser bands come onto the grid of the finest, unless `treatment` says it. Default: by
        kind.

    Returns
    -------
    reader : WindowReader
    infos : list of FileInfo
        What the files of bands say.
    """
    images, quality = treatment.split(paths)
    infos = [open_band(path) for path in images]
    dtype = infos[0].reader.dtype
    whole = dtype.kind == "c" or (kind or kind_of_file(infos[0])) == "categorical"
    resampling = treatment.resampling or resampling or ("nearest" if whole else "bilinear")
    check_complex(dtype, resampling)
    if treatment.plain:
        infos = [without_alpha(info) for info in infos]
    many = len(infos[0].reader.bands) > 1
    if bands is not None and (len(infos) > 1 or (many and len(bands) == 1)):
        reader = stack_bands(dict(zip(bands, infos, strict=True)), resampling)
    else:
        reader = _one_file(infos[0], bands, resampling)
    masks = [onto(place(open_quality(path), "nearest"), reader.geobox, "nearest")
             for path in quality]  # fmt: skip
    return treatment.apply(reader, masks), infos


def _one_file(info: FileInfo, bands: Sequence[str] | None, resampling: Resampling) -> WindowReader:
    """One file, its bands named; it may have fewer than there are names."""
    reader = place(info, resampling)
    if bands is None or tuple(bands) == reader.bands:
        return reader
    if len(reader.bands) > len(bands):
        raise NotARasterError(
            f"{info.reader.path} has {len(reader.bands)} bands, but there are only names for "
            f"{len(bands)}: {', '.join(bands)}. Open it with gx.open_raster."
        )
    return Labelled(reader, tuple(bands[: len(reader.bands)]), reader.times)


def kind_of_file(info: FileInfo) -> Kind:
    """Whether a file says that it holds classes."""
    return "categorical" if info.palette or info.classes else "continuous"


def without_alpha(info: FileInfo) -> FileInfo:
    """Take every band of a file for data, also one that is marked as alpha."""
    reader: Any = info.reader
    if isinstance(reader, GdalReader):
        plain = replace(reader, alpha=0) if reader.alpha else reader
    else:
        plain = replace(reader, source=replace(reader.source, alpha=0))
    return replace(info, reader=plain) if info.reader.masked else info


def stack_bands(infos: Mapping[str, FileInfo], resampling: Resampling) -> WindowReader:
    """One file per band as one reader on the grid of the finest; of the first where none is finer."""
    if not infos:
        raise ArgumentError("The mapping of bands to paths is empty.")
    natives = []
    head = next(iter(infos.values())).reader
    for name, info in infos.items():
        if len(info.reader.bands) != 1:
            raise ArgumentError(
                f"{info.reader.path} has {len(info.reader.bands)} bands, so it is not the one band "
                f"{name!r}. Open the file alone, or pick one of its bands."
            )
        if info.reader.dtype != head.dtype:
            raise ArgumentError(
                f"{info.reader.path} (band {name!r}) is {info.reader.dtype}, {head.path} is "
                f"{head.dtype}. Bands of one layer have one type. Open them apart and use gx.merge."
            )
        natives.append(place(info, resampling))
    grid = _finest([native.geobox for native in natives])
    sources = tuple(onto(native, grid, resampling) for native in natives)
    names = tuple(str(name) for name in infos)
    if all(lattice_offset(native.geobox, grid) is not None for native in natives):
        return BandStack(sources, names)
    return SceneBands(sources, names, tuple(natives))


def _finest(grids: Sequence[GeoBox]) -> GeoBox:
    """The grid of the smallest pixels, if all are in one CRS; the first of those that are alike."""
    if any(grid.crs != grids[0].crs for grid in grids):
        return grids[0]
    areas = [abs(grid.affine.determinant) for grid in grids]
    return next(
        grid for grid, area in zip(grids, areas, strict=True) if area <= min(areas) * (1 + 1e-6)
    )

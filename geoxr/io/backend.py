"""``xr.open_dataset(path, engine="geoxr")``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint
from xarray.core import indexing

from geoxr.errors import ArgumentError, GridError
from geoxr.grid.geobox import geobox_of, same_grid
from geoxr.io.open import open_zarr
from geoxr.typing import CRSLike, Kind, PathLike


class GeoxrBackendEntrypoint(BackendEntrypoint):
    """Open rasters and Zarr stores as layers, lazily and without dask.

    Examples
    --------
    ``xr.open_dataset("scene.tif", engine="geoxr")`` has one variable, ``scene``.
    """

    description = "Rasters as lazy, CRS-aware layers: all that geoxr.open_raster and open_zarr open"

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: PathLike | Sequence[PathLike] | Mapping[str, PathLike],
        *,
        drop_variables: str | Iterable[str] | None = None,
        bands: Sequence[str | int] | None = None,
        crs: CRSLike | None = None,
        nodata: float | None = None,
        kind: Kind | None = None,
        group: str | None = None,
    ) -> xr.Dataset:
        """Open files that share a grid as variables of one Dataset. Reads headers, no pixels.

        Parameters
        ----------
        filename_or_obj : path, list of paths, or mapping of name to path
            Each file is a variable, named as the file is without its suffix. A Zarr store comes with
            the variables it has.
        drop_variables : str or iterable of str, optional
            Variables to leave out.
        bands, crs, nodata, kind : optional
            As for `geoxr.open_raster`.
        group : str, optional
            Of a Zarr store.

        Returns
        -------
        Dataset
            Its variables stay lazy however ``cache`` is set: what is read is not kept.

        Raises
        ------
        GridError
            If the files are on different grids.
        """
        dropped = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
        named = _named(filename_or_obj)
        if len(named) == 1 and _is_zarr(path := next(iter(named.values()))):
            ds = open_zarr(path, group=group).drop_vars(dropped, errors="ignore")
        else:
            from geoxr.catalog.open import open_raster

            layers = {
                name: open_raster(path, bands=bands, crs=crs, nodata=nodata, kind=kind)
                for name, path in named.items()
                if name not in dropped
            }
            ds = _together(layers)
        for name in ds.data_vars:
            ds.variables[name].__class__ = _Bare
        return ds

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether to be chosen without being asked for: never, since other engines may be meant."""
        return False


class _Bare(xr.Variable):
    """A variable that `xarray.open_dataset` cannot wrap; it becomes a plain one in the attempt.

    xarray wraps what a backend opens so that whatever is read whole is kept in memory and sent along
    when pickled. Layers are to be read again instead.
    """

    __slots__ = ()

    @property
    def data(self) -> Any:
        """Values, as of any variable."""
        return xr.Variable.data.fget(self)  # type: ignore[attr-defined]

    @data.setter
    def data(self, data: Any) -> None:
        self.__class__ = xr.Variable  # type: ignore[assignment]
        if not isinstance(data, indexing.MemoryCachedArray | indexing.CopyOnWriteArray):
            self.data = data


def _named(paths: Any) -> dict[str, PathLike]:
    """Paths by the name of their variable."""
    if isinstance(paths, Mapping):
        return dict(paths)
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not listed or not all(isinstance(path, str | os.PathLike) for path in listed):
        raise ArgumentError(f"geoxr opens paths, a list of paths or a mapping, not {paths!r}.")
    named = {Path(path).stem: path for path in listed}
    if len(named) < len(listed):
        raise ArgumentError(
            f"Of {len(listed)} files some have the same name, and each is a variable named as its "
            f"file. Name them: {{'before': path, 'after': path}}; or open them as one mosaic with "
            f"gx.open_raster."
        )
    return named


def _is_zarr(path: PathLike) -> bool:
    return any((Path(path) / name).exists() for name in ("zarr.json", ".zgroup", ".zmetadata"))


def _together(layers: Mapping[str, xr.DataArray]) -> xr.Dataset:
    """Put layers of one grid into a Dataset."""
    if not layers:
        return xr.Dataset()
    first_name, first = next(iter(layers.items()))
    grid = geobox_of(first)
    for name, layer in layers.items():
        if not same_grid(geobox_of(layer), grid):
            raise GridError(
                f"{name!r} and {first_name!r} are on different grids, and a Dataset has one. Open "
                f"them with gx.open_raster and align them with gx.merge, or as one mosaic with "
                f"gx.open_raster([...])."
            )
    from geoxr.catalog.merge import merge

    return merge(layers) if len(layers) > 1 else first.rename(first_name).to_dataset()

"""``.geoxr`` on DataArrays and Datasets: each method calls the function of the same name.

Nothing is cached here, since xarray keeps an accessor as long as its object.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr

if TYPE_CHECKING:
    import geopandas
    import matplotlib.axes
    import shapely
    import torch
    from odc.geo.crs import CRS
    from odc.geo.geobox import GeoBox

    from geoxr.derive.remap import Default
    from geoxr.grid.classes import Classes
    from geoxr.load.cache import Cache
    from geoxr.load.dataset import ChipDataset
    from geoxr.load.loader import Batch, ChipLoader, OnError
    from geoxr.sample.area import Units, Within
    from geoxr.sample.batches import BatchGenerator
    from geoxr.sample.chip import ChipPlan
    from geoxr.sample.grid import Edge
    from geoxr.sample.stratified import Weights
    from geoxr.typing import Area, Bounds, CRSLike, Kind, PathLike, Resampling, Seed


class _Common:
    """What layers and Datasets share."""

    def __init__(self, obj: Any) -> None:
        self._given = obj

    @property
    def _obj(self) -> Any:
        """The object in the form of layers, as it is now."""
        from geoxr.grid.adopt import adopt

        return adopt(self._given)

    @property
    def geobox(self) -> GeoBox:
        """Shape, affine and CRS, derived from the coordinates."""
        from geoxr.grid.geobox import geobox_of

        return geobox_of(self._obj)

    @property
    def crs(self) -> CRS | None:
        """Coordinate reference system, or None."""
        from geoxr.grid.geobox import crs_of

        return crs_of(self._obj)

    @property
    def resolution(self) -> tuple[float, float]:
        """Pixel size (x, y), positive [CRS units]."""
        from geoxr.grid.geobox import resolution

        return resolution(self.geobox)

    @property
    def bounds(self) -> Bounds:
        """(left, bottom, right, top) [CRS units]."""
        from geoxr.grid.geobox import bounds

        return bounds(self.geobox)

    @property
    def footprint(self) -> shapely.Geometry:
        """Outline of the data in its CRS; of what all layers of a Dataset cover."""
        from geoxr.sample.area import footprint

        return footprint(self._obj)

    def write_crs(self, crs: CRSLike) -> Any:
        """Return a copy with another CRS written on it; pixels stay where they are."""
        from geoxr.derive.write import write_crs

        return write_crs(self._obj, crs)

    def reproject(
        self,
        crs: CRSLike | None = None,
        *,
        resolution: float | tuple[float, float] | None = None,
        geobox: GeoBox | None = None,
        resampling: Resampling | None = None,
    ) -> Any:
        """See `geoxr.reproject`."""
        from geoxr.warp.reproject import reproject

        return reproject(
            self._obj, crs, resolution=resolution, geobox=geobox, resampling=resampling
        )

    def reproject_match(
        self, other: xr.DataArray | xr.Dataset, *, resampling: Resampling | None = None
    ) -> Any:
        """See `geoxr.reproject_match`."""
        from geoxr.warp.reproject import reproject_match

        return reproject_match(self._obj, other, resampling=resampling)

    def decode(self) -> Any:
        """See `geoxr.derive.decode.decode`."""
        from geoxr.derive.decode import decode

        return decode(self._obj)

    def mask(self, keep: xr.DataArray) -> Any:
        """See `geoxr.derive.mask.mask`."""
        from geoxr.derive.mask import mask

        return mask(self._obj, keep)

    def clip(self, aoi: Area, *, all_touched: bool = False, crop: bool = True) -> Any:
        """See `geoxr.derive.clip.clip`."""
        from geoxr.derive.clip import clip

        return clip(self._obj, aoi, all_touched=all_touched, crop=crop)

    def sample_points(
        self,
        points: geopandas.GeoDataFrame | geopandas.GeoSeries,
        *,
        method: Literal["nearest"] = "nearest",
    ) -> Any:
        """See `geoxr.derive.points.sample_points`."""
        from geoxr.derive.points import sample_points

        return sample_points(self._obj, points, method=method)

    def batch_generator(
        self,
        input_dims: Mapping[Hashable, int],
        *,
        input_overlap: Mapping[Hashable, int] | None = None,
        batch_dims: Mapping[Hashable, int] | None = None,
        concat_input_dims: bool = False,
        preload_batch: bool = True,
    ) -> BatchGenerator:
        """See `geoxr.sample.batches.batch_generator`."""
        from geoxr.sample.batches import batch_generator

        return batch_generator(
            self._obj, input_dims, input_overlap=input_overlap, batch_dims=batch_dims,
            concat_input_dims=concat_input_dims, preload_batch=preload_batch,
        )  # fmt: skip

    def cache(self, path: PathLike, *, overwrite: bool = False, progress: bool = False) -> Any:
        """See `geoxr.export.cache.cache`."""
        from geoxr.export.cache import cache

        return cache(self._obj, path, overwrite=overwrite, progress=progress)

    def chunk(self, size: int | Mapping[str, Any] = 2048) -> Any:
        """See `geoxr.io.chunks.chunk`."""
        from geoxr.io.chunks import chunk

        return chunk(self._obj, size)

    def to_zarr(
        self,
        store: PathLike,
        *,
        chunks: int = 256,
        shards: int | None = 2048,
        overwrite: bool = False,
        progress: bool = False,
    ) -> Path:
        """See `geoxr.export.zarr.to_zarr`."""
        from geoxr.export.zarr import to_zarr

        return to_zarr(
            self._obj, store, chunks=chunks, shards=shards, overwrite=overwrite, progress=progress
        )


@xr.register_dataarray_accessor("geoxr")
class LayerAccessor(_Common):
    """Methods of a layer: ``da.geoxr``."""

    @property
    def nodata(self) -> float | int | None:
        """Number that marks missing pixels, or None; raises where computing made it doubtful."""
        from geoxr.io.resolve import nodata

        return nodata(self._obj)

    @property
    def kind(self) -> Kind:
        """Whether it has classes ("categorical") or quantities ("continuous")."""
        from geoxr.grid.meaning import kind_of

        return kind_of(self._obj)

    @property
    def classes(self) -> Classes | None:
        """Codes, names and colours of a label raster, or None; raises like `nodata`."""
        from geoxr.grid.meaning import classes_of

        return classes_of(self._obj)

    @property
    def valid(self) -> xr.DataArray:
        """Lazy boolean layer, True where all bands may be used."""
        from geoxr.derive.validity import valid

        return valid(self._obj)

    def write_nodata(self, value: float) -> xr.DataArray:
        """Return a layer in which `value` marks missing pixels."""
        from geoxr.derive.write import write_nodata

        return write_nodata(self._obj, value)

    def write_classes(
        self, classes: Classes | Mapping[int, str] | Sequence[str] | int
    ) -> xr.DataArray:
        """Return a label raster with these classes."""
        from geoxr.derive.write import write_classes

        return write_classes(self._obj, classes)

    def present_classes(self) -> Classes:
        """Read the layer and return the classes that occur in it."""
        from geoxr.derive.present import present_classes

        return present_classes(self._obj)

    def astype(self, dtype: Any, *, nodata: float | None = None) -> xr.DataArray:
        """See `geoxr.derive.cast.astype`."""
        from geoxr.derive.cast import astype

        return astype(self._obj, dtype, nodata=nodata)

    def remap(
        self,
        mapping: Mapping[int, int] | Mapping[str, int | str | Iterable[int | str]] | Classes,
        *,
        default: Default = "nodata",
        classes: Classes | Mapping[int, str] | Sequence[str] | None = None,
    ) -> xr.DataArray:
        """See `geoxr.derive.remap.remap`."""
        from geoxr.derive.remap import remap

        return remap(self._obj, mapping, default=default, classes=classes)

    def to_cog(self, path: PathLike, *, overwrite: bool = False) -> Path:
        """See `geoxr.export.cog.to_cog`."""
        from geoxr.export.cog import to_cog

        return to_cog(self._obj, path, overwrite=overwrite)

    def plot(
        self,
        *,
        bands: Sequence[str | int] | None = None,
        ax: matplotlib.axes.Axes | None = None,
        max_pixels: int = 1_000_000,
        legend: bool = True,
    ) -> matplotlib.axes.Axes:
        """See `geoxr.plot.plot`."""
        from geoxr.plot import plot

        return plot(self._obj, bands=bands, ax=ax, max_pixels=max_pixels, legend=legend)


class _Chips:
    """What plans and feeds chips: on Datasets and DataTrees."""

    _obj: Any

    def grid_chips(
        self,
        size: float | tuple[float, float],
        *,
        stride: float | tuple[float, float] | None = None,
        edge: Edge = "shift",
        aoi: Area | None = None,
        toi: Any = None,
        steps: int | None = None,
        time_stride: int | None = None,
        ragged: bool = False,
        min_valid: float = 0.0,
        within: Within = "window",
        units: Units = "pixels",
    ) -> ChipPlan:
        """See `geoxr.sample.grid.grid_chips`."""
        from geoxr.sample.grid import grid_chips

        return grid_chips(
            self._obj, size, stride=stride, edge=edge, aoi=aoi, toi=toi, steps=steps,
            time_stride=time_stride, ragged=ragged, min_valid=min_valid, within=within, units=units,
        )  # fmt: skip

    def random_chips(
        self,
        size: float | tuple[float, float],
        length: int,
        *,
        weights: xr.DataArray | Sequence[float] | None = None,
        aoi: Area | None = None,
        toi: Any = None,
        steps: int | None = None,
        ragged: bool = False,
        seed: Seed = 0,
        min_valid: float = 0.0,
        within: Within = "window",
        units: Units = "pixels",
    ) -> ChipPlan:
        """See `geoxr.sample.random.random_chips`."""
        from geoxr.sample.random import random_chips

        return random_chips(
            self._obj, size, length, weights=weights, aoi=aoi, toi=toi, steps=steps, ragged=ragged,
            seed=seed, min_valid=min_valid, within=within, units=units,
        )  # fmt: skip

    def random_batch_chips(
        self,
        size: float | tuple[float, float],
        length: int,
        *,
        batch_size: int,
        spread: float | None = None,
        aoi: Area | None = None,
        toi: Any = None,
        steps: int | None = None,
        ragged: bool = False,
        seed: Seed = 0,
        min_valid: float = 0.0,
        within: Within = "window",
        units: Units = "pixels",
    ) -> ChipPlan:
        """See `geoxr.sample.nearby.random_batch_chips`."""
        from geoxr.sample.nearby import random_batch_chips

        return random_batch_chips(
            self._obj, size, length, batch_size=batch_size, spread=spread, aoi=aoi, toi=toi,
            steps=steps, ragged=ragged, seed=seed, min_valid=min_valid, within=within, units=units,
        )  # fmt: skip

    def stratified_chips(
        self,
        size: float | tuple[float, float],
        length: int,
        *,
        by: str = "mask",
        weights: Weights = "balanced",
        index: PathLike | None = None,
        aoi: Area | None = None,
        toi: Any = None,
        seed: Seed = 0,
        min_valid: float = 0.0,
        within: Within = "window",
        units: Units = "pixels",
    ) -> ChipPlan:
        """See `geoxr.sample.stratified.stratified_chips`."""
        from geoxr.sample.stratified import stratified_chips

        return stratified_chips(
            self._obj, size, length, by=by, weights=weights, index=index, aoi=aoi, toi=toi,
            seed=seed, min_valid=min_valid, within=within, units=units,
        )  # fmt: skip

    def chips_around(
        self,
        geometries: geopandas.GeoDataFrame | geopandas.GeoSeries | Sequence[shapely.Geometry],
        size: float | tuple[float, float],
        *,
        jitter: float = 0,
        time: str | Sequence[Any] | None = None,
        tolerance: Any = None,
        edge: Edge = "shift",
        aoi: Area | None = None,
        toi: Any = None,
        seed: Seed = 0,
        min_valid: float = 0.0,
        within: Within = "window",
        units: Units = "pixels",
    ) -> ChipPlan:
        """See `geoxr.sample.around.chips_around`."""
        from geoxr.sample.around import chips_around

        return chips_around(
            self._obj, geometries, size, jitter=jitter, time=time, tolerance=tolerance, edge=edge,
            aoi=aoi, toi=toi, seed=seed, min_valid=min_valid, within=within, units=units,
        )  # fmt: skip

    def triplet_chips(
        self,
        size: float | tuple[float, float],
        length: int,
        *,
        near: float,
        far: float,
        aoi: Area | None = None,
        toi: Any = None,
        seed: Seed = 0,
        min_valid: float = 0.0,
        within: Within = "window",
        units: Units = "pixels",
    ) -> ChipPlan:
        """See `geoxr.sample.triplet.triplet_chips`."""
        from geoxr.sample.triplet import triplet_chips

        return triplet_chips(
            self._obj, size, length, near=near, far=far, aoi=aoi, toi=toi, seed=seed,
            min_valid=min_valid, within=within, units=units,
        )  # fmt: skip

    def iter_chips(self, plan: ChipPlan) -> Iterator[xr.Dataset]:
        """See `geoxr.sample.iterate.iter_chips`."""
        from geoxr.sample.iterate import iter_chips

        return iter_chips(self._obj, plan)

    def to_torch(
        self,
        plan: ChipPlan,
        *,
        batch_size: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        transform: Callable[[Batch], Batch] | None = None,
        concat: Mapping[str, Sequence[str]] | None = None,
        threads: int | None = None,
        prefetch: int = 2,
        device: str | torch.device | None = None,
        cache: Cache = "tiles",
        dtype: str = "float32",
        fill: float = 0.0,
        ignore_index: int = -100,
        on_error: OnError = "raise",
        progress: bool = False,
        shard: bool = True,
    ) -> ChipLoader | ChipDataset:
        """See `geoxr.load.torch.to_torch`."""
        from geoxr.load.torch import to_torch

        return to_torch(
            self._obj, plan, batch_size=batch_size, shuffle=shuffle, seed=seed,
            transform=transform, concat=concat, threads=threads, prefetch=prefetch, device=device,
            cache=cache, dtype=dtype, fill=fill, ignore_index=ignore_index, on_error=on_error,
            progress=progress, shard=shard,
        )  # fmt: skip


@xr.register_dataset_accessor("geoxr")
class DatasetAccessor(_Common, _Chips):
    """Methods of layers on one grid: ``ds.geoxr``."""

    @property
    def valid(self) -> xr.DataArray:
        """Lazy boolean layer, True where all layers may be used."""
        from geoxr.derive.validity import all_valid

        return all_valid(self._obj)

    def valid_footprint(self) -> shapely.Geometry:
        """See `geoxr.sample.footprint.valid_footprint`."""
        from geoxr.sample.footprint import valid_footprint

        return valid_footprint(self._obj)

    def plot(
        self, *, max_pixels: int = 1_000_000, legend: bool = True
    ) -> list[matplotlib.axes.Axes]:
        """See `geoxr.plot.plot_layers`."""
        from geoxr.plot import plot_layers

        return plot_layers(self._obj, max_pixels=max_pixels, legend=legend)

    def predict(
        self,
        model: Callable[..., torch.Tensor],
        *,
        size: int,
        halo: int = 0,
        batch_size: int = 8,
        key: str = "image",
        concat: Mapping[str, Sequence[str]] | None = None,
        classes: Classes | Mapping[int, str] | Sequence[str] | None = None,
        device: str | torch.device | None = None,
        out: PathLike | None = None,
        overwrite: bool = False,
        progress: bool = False,
    ) -> xr.Dataset:
        """See `geoxr.predict.run.predict`."""
        from geoxr.predict.run import predict

        return predict(
            self._obj, model, size=size, halo=halo, batch_size=batch_size, key=key, concat=concat,
            classes=classes, device=device, out=out, overwrite=overwrite, progress=progress,
        )  # fmt: skip


@xr.register_datatree_accessor("geoxr")
class TreeAccessor(_Chips):
    """Methods of Datasets that each have a grid of their own: ``dt.geoxr``."""

    def __init__(self, obj: xr.DataTree) -> None:
        self._obj = obj

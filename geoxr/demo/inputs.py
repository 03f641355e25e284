"""From files to the aligned Dataset of the demo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import shapely
import xarray as xr

from geoxr.catalog.merge import merge
from geoxr.catalog.open import open_raster
from geoxr.catalog.open_product import open_product
from geoxr.demo.settings import Settings
from geoxr.derive.present import present_classes
from geoxr.derive.write import write_classes, write_nodata
from geoxr.errors import ClassesError
from geoxr.grid.geobox import geobox_of, same_grid
from geoxr.grid.shapes import covered
from geoxr.io.dataset import layer_reader
from geoxr.io.gdal import FileInfo, open_file
from geoxr.sample.area import footprint
from geoxr.testing import LandsatCDL

#: Grids up to this many pixels are predicted and written as one, whatever they cover.
_ONE_PIECE = 100_000_000


@dataclass(frozen=True)
class Layers:
    """The aligned Dataset, and how its images join to one.

    Attributes
    ----------
    ds : Dataset
        Images ``image``, ``image_2``, ... and labels ``mask`` with classes.
    concat : dict
        For `to_torch`: all images on the channel axis.
    notes : tuple of str
        What was decided on the way and a user should know.
    """

    ds: xr.Dataset
    concat: dict[str, list[str]]
    notes: tuple[str, ...]

    @property
    def channels(self) -> int:
        """Bands of all images together."""
        return sum(len(layer_reader(self.ds, name).bands) for name in self.concat["image"])


def open_made(made: LandsatCDL) -> Layers:
    """Open the data that the demo made, as products."""
    image = open_product("landsat8-l2-sr", made.scenes, time="collapse", crs="auto")
    label = open_product("cdl", made.cdl)
    ds = merge({"image": image, "mask": label}, like="mask")
    ds["mask"] = write_classes(ds["mask"], present_classes(ds["mask"]))
    return Layers(ds, {"image": ["image"]}, ())


def open_given(settings: Settings) -> Layers:
    """Open files of any kind: stacked where they share a grid, mosaicked where they do not.

    Raises
    ------
    ClassesError
        If the labels are not a few whole numbers, or outside of ``num_classes``.
    """
    infos = [open_file(path) for path in settings.images]
    groups = group_images(infos)
    notes = []
    layers: dict[str, xr.DataArray] = {}
    for number, group in enumerate(groups, 1):
        name = "image" if number == 1 else f"image_{number}"
        layers[name] = open_raster(group, crs="auto", kind="continuous")
        notes.append(f"{name}: {', '.join(Path(path).name for path in group[:3])}"
                     + (f" and {len(group) - 3} more" if len(group) > 3 else "")
                     + (", laid over each other" if len(group) > 1 else ""))  # fmt: skip
    masks = [str(path) for path in settings.masks]
    label = open_raster(
        masks, crs="auto", kind="categorical", nodata=settings.mask_nodata, resampling="nearest"
    )
    label = label.isel(band=0, drop=True)
    images = list(layers)
    ds = merge(layers | {"mask": label}, like="image")
    ds, more = _with_classes(ds, settings)
    return Layers(ds, {"image": images}, (*notes, *more))


def group_images(infos: Sequence[FileInfo]) -> list[list[str]]:
    """Sort files into layers: the same bands elsewhere join a mosaic, anything else is its own.

    Two files on one and the same grid are never mosaicked, since one would hide the other.
    """
    layers: list[list[FileInfo]] = []
    for info in infos:
        for layer in layers:
            first = layer[0].reader
            alike = (first.bands, first.dtype) == (info.reader.bands, info.reader.dtype)
            apart = not any(same_grid(one.reader.geobox, info.reader.geobox) for one in layer)
            if alike and apart:
                layer.append(info)
                break
        else:
            layers.append([info])
    return [[info.reader.path for info in layer] for layer in layers]


def _with_classes(ds: xr.Dataset, settings: Settings) -> tuple[xr.Dataset, list[str]]:
    """Find the classes in the labels; negative numbers count as missing."""
    notes = []
    found = present_classes(ds["mask"])
    for value in found.values:
        if value < 0 and settings.mask_nodata is None:
            ds["mask"] = write_nodata(ds["mask"], value)
            notes.append(f"mask: {value} is no class, since it is negative; it counts as missing")
    if notes:
        found = present_classes(ds["mask"])
    if settings.num_classes is not None:
        outside = [value for value in found.values if not 0 <= value < settings.num_classes]
        if outside:
            raise ClassesError(
                f"The mask has the values {outside[:10]}, but --num-classes {settings.num_classes} "
                f"allows 0 to {settings.num_classes - 1}. Raise it, leave it out to take the values "
                f"as they are, or mark a value as missing with --mask-nodata."
            )
    if len(found) < 2:
        raise ClassesError(
            f"The mask has only the value {found.values[0]} where it meets the images, so there is "
            f"nothing to tell apart."
        )
    ds["mask"] = write_classes(ds["mask"], found)
    return ds, notes


def sites(ds: xr.Dataset) -> list[xr.Dataset]:
    """Cut a Dataset whose data lies in patches far apart into one Dataset for each."""
    geobox = geobox_of(ds)
    if geobox.height * geobox.width <= _ONE_PIECE:
        return [ds]
    parts = shapely.get_parts(footprint(ds))
    return [ds.isel(dict(zip(("y", "x"), covered(part, geobox, margin=0).slices, strict=True)))
            for part in parts]  # fmt: skip

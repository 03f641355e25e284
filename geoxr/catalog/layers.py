"""Catalogs as layers: one on a common grid, or one for each grid that files have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from geoxr.catalog.table import SceneTable
from geoxr.errors import ArgumentError
from geoxr.grid.crs import crs_name
from geoxr.grid.geobox import SAME_LATTICE, resolution
from geoxr.grid.meaning import kind_of

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from geoxr.catalog.catalog import Catalog
    from geoxr.products.product import Product

#: Options of a layer that name a grid.
_GRID = ("crs", "resolution", "bounds", "like", "align")
#: Units of a CRS as they are written in names.
_UNITS = {"metre": "m", "meter": "m", "degree": "deg", "US survey foot": "ft", "foot": "ft"}


def to_xarray(catalog: Catalog, product: Product | None, options: dict[str, Any]) -> xr.DataArray:
    """Open a catalog as one layer; see `Catalog.to_xarray`."""
    from geoxr.catalog.open import open_raster
    from geoxr.catalog.open_product import open_product

    product = product or catalog.product
    if product is None:
        return open_raster(catalog, **options)
    return open_product(product, catalog, **options)


def to_datatree(
    catalog: Catalog, product: Product | None, name: str | None, options: dict[str, Any]
) -> xr.DataTree:
    """Open a catalog as one layer for each grid; see `Catalog.to_datatree`."""
    given = [key for key in _GRID if options.get(key) is not None]
    if given:
        raise ArgumentError(
            f"to_datatree keeps the grids of the files, but {', '.join(given)} names another one. "
            f"Leave it out, or put all scenes on one grid: catalog.to_xarray({given[0]}=...)."
        )
    dates = np.unique(catalog.table.starts)
    if options.get("time") is None and not np.isnat(dates).any() and len(dates) > 1:
        options = {**options, "time": "each"}  # a time axis in all nodes or in none
    nodes: dict[str, xr.DataArray] = {}
    for label, rows in native_grids(catalog.table):
        nodes[label] = to_xarray(catalog.take(rows), product, options)
    _check_alike(nodes)
    if name is None:
        kind = kind_of(next(iter(nodes.values())))
        name = "mask" if kind == "categorical" else "image"
    return xr.DataTree.from_dict({label: layer.to_dataset(name=name)
                                  for label, layer in nodes.items()})  # fmt: skip


def native_grids(table: SceneTable) -> list[tuple[str, np.ndarray]]:
    """Sort scenes by CRS and lattice.

    Returns
    -------
    list of (str, int array)
        Names such as "epsg32615_30m", and positions of scenes. Lattices of one CRS and resolution
        are counted: "epsg32615_30m_2".
    """
    found: dict[str, np.ndarray] = {}
    for _, rows in table.crs_groups():
        for same in _lattices(table, rows):
            label = base = _label(table.row(int(same[0])).geobox)
            number = 1
            while label in found:
                number += 1
                label = f"{base}_{number}"
            found[label] = same
    return list(found.items())


def _lattices(table: SceneTable, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Split scenes of one CRS into those whose grids are windows of one lattice."""
    while rows.size:
        first = np.vstack([table.affines[rows[0]].reshape(2, 3), [0.0, 0.0, 1.0]])
        others = np.zeros((len(rows), 3, 3))
        others[:, :2] = table.affines[rows].reshape(-1, 2, 3)
        others[:, 2, 2] = 1.0
        step = np.linalg.inv(first) @ others
        height, width = table.shapes[rows].T
        drift = np.maximum(
            (np.abs(step[:, 0, 0] - 1) + np.abs(step[:, 1, 0])) * width,
            (np.abs(step[:, 1, 1] - 1) + np.abs(step[:, 0, 1])) * height,
        )
        off = np.abs(step[:, :2, 2] - np.rint(step[:, :2, 2])).max(axis=1)
        same = drift + off <= SAME_LATTICE
        same[0] = True
        yield rows[same]
        rows = rows[~same]


def _label(geobox: GeoBox) -> str:
    """Name of a grid: its CRS and resolution."""
    crs = crs_name(geobox.crs).lower().replace(":", "")
    crs = "".join(mark if mark.isalnum() else "_" for mark in crs)
    x, y = resolution(geobox)
    sizes = (x,) if abs(x - y) <= 1e-6 * x else (x, y)
    size = "x".join(np.format_float_positional(one, 6, fractional=False, trim="-") for one in sizes)
    axes = geobox.crs.proj.axis_info if geobox.crs is not None else []
    unit = axes[0].unit_name if axes else ""
    return f"{crs}_{size}{_UNITS.get(unit, unit.replace(' ', ''))}"


def _check_alike(nodes: dict[str, xr.DataArray]) -> None:
    """Raise unless all nodes have the same type and bands, so that they can feed one network."""
    (first, one), *others = nodes.items()
    for name, layer in others:
        mine, yours = (_traits(layer) for layer in (one, layer))
        if mine != yours:
            raise ArgumentError(
                f"Scenes of {first!r} have {mine}, those of {name!r} {yours}. Nodes of one tree have "
                f"the same type and bands: pick them with bands=[...], or open them apart after "
                f"catalog.filter(where=...)."
            )


def _traits(layer: xr.DataArray) -> str:
    bands = ", ".join(map(str, layer["band"].values)) if "band" in layer.dims else "one"
    return f"type {layer.dtype} and bands {bands}"

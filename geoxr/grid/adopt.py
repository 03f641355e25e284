"""Arrays that others made, in the form that layers have.

A layer has the dimensions ``y`` and ``x`` and its CRS in the coordinate ``spatial_ref``. Elsewhere the
dimensions are called ``latitude`` or ``lon``, the CRS is in a coordinate of another name or among the
attributes, in any of the spellings of CF, GDAL, rioxarray, odc-geo and the Zarr conventions.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, TypeAlias, overload

import numpy as np
import pyproj
import xarray as xr
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError, CRSMismatchError, GridError
from geoxr.grid.coords import GRID_MAPPING, coords_of, spatial_ref
from geoxr.grid.crs import crs_name, parse_crs, same_crs

Layers: TypeAlias = xr.DataArray | xr.Dataset

#: Names of dimensions, in lower case, that mean rows and columns.
_Y_NAMES = ("y", "lat", "latitude", "northing", "projection_y_coordinate", "yc", "rlat")
_X_NAMES = ("x", "lon", "longitude", "easting", "projection_x_coordinate", "xc", "rlon", "long")
_STANDARD_NAMES = {
    "y": {"latitude", "projection_y_coordinate", "grid_latitude"},
    "x": {"longitude", "projection_x_coordinate", "grid_longitude"},
}
#: Attributes that hold a CRS, the most exact first.
_CRS_ATTRS = ("crs_wkt", "spatial_ref", "proj:wkt2", "proj:projjson", "proj:code", "_CRS", "crs")
#: Attributes of arrays that place them, and would be stale on another grid.
PLACING = (*_CRS_ATTRS, "grid_mapping", "transform", "res", "spatial:transform", "spatial:shape",
           "spatial:dimensions", "spatial:bbox", "spatial:registration", "proj:epsg",
           "proj:bbox", "zarr_conventions")  # fmt: skip


@overload
def adopt(obj: xr.DataArray) -> xr.DataArray: ...
@overload
def adopt(obj: xr.Dataset) -> xr.Dataset: ...
@overload
def adopt(obj: Layers) -> Layers: ...
def adopt(obj: Layers) -> Layers:
    """Return an object with dimensions ``y`` and ``x`` and its CRS in ``spatial_ref``.

    An object that has them is returned as it is. Pixels are not touched.

    Raises
    ------
    CRSMismatchError
        If it names several CRSs.
    GridError
        If it has several grids.
    """
    mapping = _mapping_name(obj)
    if mapping in (None, GRID_MAPPING) and {"y", "x"} <= set(obj.dims):
        reference = obj.coords.get(GRID_MAPPING)
        if reference is not None and _is_ours(reference.attrs):
            return obj
    return _placed(_renamed(obj))


def _is_ours(attrs: Mapping[Hashable, Any]) -> bool:
    """Whether a grid mapping says what it has to say in the way layers do."""
    return "crs_wkt" in attrs or ("GeoTransform" in attrs and "grid_mapping_name" not in attrs)


def _renamed(obj: Layers) -> Layers:
    """Call the dimensions of rows and columns ``y`` and ``x``."""
    grids = _grids(obj)
    if len(grids) > 1:
        listed = "; ".join(f"{pair} of {', '.join(names)}" for pair, names in grids.items())
        first = next(iter(grids.values()))
        raise GridError(
            f"There are several grids here: {listed}. Layers of one Dataset share a grid: select "
            f"the variables of one, with ds[{first}] or open_zarr(path, variables={first})."
        )
    pair = next(iter(grids), ("y", "x"))
    changes = {dim: name for dim, name in zip(pair, ("y", "x"), strict=True) if dim != name}
    # GDAL writes "Band".
    changes |= {str(d): str(d).lower() for d in obj.dims if d in ("Band", "BAND", "Time", "TIME")}
    # Coordinates that take the names without being those dimensions give way.
    taken = [name for name in changes.values() if name in obj.coords and name not in obj.dims]
    return obj.drop_vars(taken).rename(changes) if changes else obj


def _grids(obj: Layers) -> dict[tuple[str, str], list[str]]:
    """Dimensions that are rows and columns, with the names of what has them."""
    if isinstance(obj, xr.DataArray):
        parts = {str(obj.name): obj.dims}
    else:
        parts = {str(name): obj.variables[name].dims for name in obj.data_vars}
    grids: dict[tuple[str, str], list[str]] = {}
    for name, dims in parts.items():
        y, x = _dim_like(obj, dims, "y", _Y_NAMES), _dim_like(obj, dims, "x", _X_NAMES)
        if y is not None and x is not None:
            grids.setdefault((y, x), []).append(name)
    return grids


def _dim_like(
    obj: Layers, dims: tuple[Hashable, ...], dim: str, names: tuple[str, ...]
) -> str | None:
    if dim in dims:
        return dim
    by_name = [d for d in dims if str(d).lower() in names]
    found = by_name or [d for d in dims if d in obj.coords and _means(obj[d], dim)]
    return str(found[0]) if found else None


def _means(coord: xr.DataArray, dim: str) -> bool:
    attrs = coord.attrs
    if coord.dtype.kind not in "iuf":
        return False
    return attrs.get("axis") == dim.upper() or attrs.get("standard_name") in _STANDARD_NAMES[dim]


def _placed(obj: Layers) -> Layers:
    """Move what says where the object is into coordinates."""
    if not {"y", "x"} <= set(obj.dims):
        return obj
    attrs = _attributes(obj)
    name = _mapping_name(obj)
    crs, affine = _found_crs(obj), _found_affine(attrs, _mapping_attrs(obj, name))
    bare = [dim for dim in ("y", "x") if dim not in obj.coords]
    if bare and affine is not None:
        shape = (obj.sizes["y"], obj.sizes["x"])
        coords = coords_of(GeoBox(shape, affine, crs))
        obj = obj.assign_coords({dim: coords[dim] for dim in ("y", "x")})
    elif bare or (crs is None and affine is None):
        return obj
    obj = _in_units_of(obj, crs)
    if name is not None and name != GRID_MAPPING:
        obj = obj.drop_vars([name])
    reference = spatial_ref(crs, affine if affine is not None else Affine.identity())
    if affine is None:
        del reference.attrs["GeoTransform"]
    return _cleaned(obj.assign_coords({GRID_MAPPING: reference}))


def _found_affine(attrs: Mapping[Any, Any], mapping: Mapping[Any, Any]) -> Affine | None:
    """Transform that attributes tell, or None."""
    gdal = _numbers(mapping.get("GeoTransform"))
    if gdal is not None:
        return Affine.from_gdal(*gdal)
    ours = _numbers(attrs.get("spatial:transform")) or _numbers(attrs.get("transform"))
    return None if ours is None else Affine(*ours)


def _numbers(value: Any) -> list[float] | None:
    """Six numbers of a transform; None if it is something else."""
    try:
        found = [float(part) for part in (value.split() if isinstance(value, str) else value)]
    except (TypeError, ValueError):
        return None
    whole = len(found) == 6 or (len(found) == 9 and found[6:] == [0.0, 0.0, 1.0])
    return found[:6] if whole and np.isfinite(found).all() else None


def _attributes(obj: Layers) -> dict[Hashable, Any]:
    """Attributes of a layer; of a Dataset with those of its layers."""
    if isinstance(obj, xr.DataArray):
        return dict(obj.attrs)
    attrs: dict[Hashable, Any] = {}
    for name in obj.data_vars:
        if {"y", "x"} <= set(obj.variables[name].dims):
            attrs = {**obj.variables[name].attrs, **attrs}
    return {**obj.attrs, **attrs}


def _mapping_name(obj: Layers) -> Hashable | None:
    """Name of the variable that holds the CRS, or None."""
    variables = obj.coords if isinstance(obj, xr.DataArray) else obj.variables
    parts = [obj] if isinstance(obj, xr.DataArray) else [obj.variables[n] for n in obj.data_vars]
    named = []
    for part in parts:
        value = part.encoding.get("grid_mapping", part.attrs.get("grid_mapping"))
        name = str(value).split(":")[0].split()[0] if value else None
        if name is not None and name in variables and name not in named:
            named.append(name)
    if len(named) > 1:
        found = {name: _crs_in(variables[name].attrs) for name in named}
        first = found[named[0]]
        if not all(same_crs(first, crs) for crs in found.values()):
            listed = ", ".join(f"{name!r} is {crs_name(crs)}" for name, crs in found.items())
            raise CRSMismatchError(
                f"The variables are in several coordinate reference systems: {listed}. Layers of "
                f"one Dataset share a grid: select the variables of one."
            )
    if named:
        return named[0]
    if GRID_MAPPING in variables:
        return GRID_MAPPING
    scalars = [name for name, v in variables.items() if not v.dims and _crs_in(v.attrs)]
    return scalars[0] if len(scalars) == 1 else None


def _mapping_attrs(obj: Layers, name: Hashable | None) -> Mapping[Any, Any]:
    if name is None:
        return {}
    return (obj.coords if isinstance(obj, xr.DataArray) else obj.variables)[name].attrs


def _found_crs(obj: Layers) -> CRS | None:
    crs = _crs_in(_mapping_attrs(obj, _mapping_name(obj)))
    return crs if crs is not None else _crs_in(_attributes(obj))


def _crs_in(attrs: Mapping[Any, Any]) -> CRS | None:
    """CRS that attributes tell, in whatever spelling, or None.

    References
    ----------
    CF Conventions 1.11, section 5.6 and appendix F; GDAL drivers netCDF and Zarr; Zarr convention
    ``proj:``, version 0.1.
    """
    for key in _CRS_ATTRS:
        value = attrs.get(key)
        if key == "_CRS" and isinstance(value, Mapping):
            value = value.get("wkt") or value.get("projjson") or value.get("url")
        if value is not None and not isinstance(value, float) and np.size(value) and value != "":
            try:
                return parse_crs(value)
            except ArgumentError:
                continue  # a word that names no CRS; whoever needs one asks for it
    if "grid_mapping_name" in attrs:
        try:
            return CRS(pyproj.CRS.from_cf(dict(attrs)).to_wkt())
        except (pyproj.exceptions.CRSError, KeyError):
            return None
    return None


def _in_units_of(obj: Layers, crs: CRS | None) -> Layers:
    """Turn coordinates in kilometres into metres where the CRS is in metres."""
    if crs is None or crs.geographic or crs.proj.axis_info[0].unit_name not in ("metre", "meter"):
        return obj
    scaled = {}
    for dim in ("y", "x"):
        if obj[dim].attrs.get("units") in ("km", "kilometer", "kilometre", "kilometers"):
            attrs = {**obj[dim].attrs, "units": "metre"}
            scaled[dim] = xr.Variable(dim, obj[dim].values * 1000.0, attrs)
    return obj.assign_coords(scaled) if scaled else obj


def _cleaned(obj: Layers) -> Layers:
    """Leave out attributes that say again, or otherwise, where the object is."""
    obj = obj.copy(deep=False)
    parts = [obj] if isinstance(obj, xr.DataArray) else [obj, *obj.data_vars.values()]
    for part in parts:
        part.attrs = {key: value for key, value in part.attrs.items() if key not in PLACING}
        if isinstance(part, xr.DataArray) and {"y", "x"} <= set(part.dims):
            part.encoding = {**part.encoding, "grid_mapping": GRID_MAPPING}
    return obj

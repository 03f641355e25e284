"""Between xarray objects and GeoBoxes: how CRS, transform, nodata and classes are stored.

A layer keeps its grid in three places: the coordinates ``y`` and ``x`` (pixel centres), and the
scalar coordinate ``spatial_ref`` with the attributes ``crs_wkt`` and ``GeoTransform`` (GDAL order).
The GeoTransform is the lattice the layer was opened on; the coordinates say which of its pixels are
there. A rotated grid has no coordinates along ``y`` and ``x``, so these count pixels (0.5, 1.5, ...).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NoReturn, Protocol

import numpy as np
import pyproj
import xarray as xr
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError, ClassesError, GridError, MissingCRSError
from geoxr.grid.classes import Classes
from geoxr.grid.window import Window
from geoxr.typing import Bounds, CRSLike, Kind


class _Placed(Protocol):
    """Anything that may have a CRS: a grid, an image placed by control points."""

    @property
    def crs(self) -> CRS | None:
        """Coordinate reference system, or None."""
        ...


GRID_MAPPING = "spatial_ref"
#: Source of ``spatial_ref`` in the encoding of layers that geoxr made.
MADE_HERE = "geoxr"
#: Steps between coordinates may differ by this much [pixel]; float32 coordinates need it.
_UNIFORM = 1e-3
#: Grids whose pixels are this close to each other are on one lattice [pixel].
_SAME_LATTICE = 1e-4


def parse_crs(crs: CRSLike) -> CRS:
    """Read a CRS in any form that pyproj, rasterio or odc-geo write.

    Examples
    --------
    >>> parse_crs(32633).epsg
    32633
    """
    if isinstance(crs, CRS):
        return crs
    try:
        if hasattr(crs, "to_wkt"):
            return crs_from_wkt(crs.to_wkt())
        if isinstance(crs, str | int):
            return crs_from_wkt(crs) if isinstance(crs, str) else CRS(crs)
        return crs_from_wkt(pyproj.CRS.from_user_input(crs).to_wkt())
    except Exception as error:
        raise ArgumentError(
            f"{crs!r} is not a coordinate reference system. Give something like "
            f'"EPSG:32633", 4326, a WKT string or a pyproj CRS.'
        ) from error


@lru_cache(maxsize=1024)
def crs_from_wkt(wkt: str) -> CRS:
    """Read a CRS from WKT, or from another text that PROJ understands.

    Where an EPSG code says exactly the same, the CRS is made from the code, so that it prints
    briefly. Comparing takes milliseconds, so texts read before are remembered.

    Examples
    --------
    >>> str(crs_from_wkt(CRS("EPSG:3035").to_wkt()))
    'EPSG:3035'
    """
    crs = CRS(wkt)
    code = None if crs.proj.is_bound else crs.proj.to_epsg()
    if code is not None and pyproj.CRS.from_epsg(code) == crs.proj:
        return CRS(f"EPSG:{code}")
    return crs


def crs_name(crs: CRS | None) -> str:
    """Name a CRS in messages: its EPSG code if it has one."""
    if crs is None:
        return "no CRS"
    if crs.proj.is_bound and crs.proj.source_crs is not None:
        return f"{crs.proj.source_crs.name} with a datum shift of its own"
    return f"EPSG:{crs.epsg}" if crs.epsg is not None else str(crs.proj.name)


def same_crs(first: CRS | None, second: CRS | None) -> bool:
    """Whether two CRSs are the same, whatever order or spelling they were written in.

    A CRS that brings its own way to another datum (TOWGS84) is not the same as the one without.
    """
    if first is None or second is None:
        return first is second
    return str(first) == str(second) or _equal(str(first), str(second))


@lru_cache(maxsize=4096)
def _equal(first: str, second: str) -> bool:
    one, other = CRS(first), CRS(second)
    bound = one.proj.is_bound or other.proj.is_bound
    if not bound and one.epsg is not None and one.epsg == other.epsg:
        return True
    if one.proj.equals(other.proj, ignore_axis_order=True):
        return True
    return _made_alike(one.proj, other.proj)


def _made_alike(one: pyproj.CRS, other: pyproj.CRS) -> bool:
    """Whether two projected CRSs without names are the same formula on the same datum.

    WKT that GDAL writes for projections it has no full names for carries them as PROJ text, which
    PROJ compares as a name.
    """
    if not (one.is_projected and other.is_projected) or one.is_bound or other.is_bound:
        return False
    first, second = one.coordinate_operation, other.coordinate_operation
    units = [
        [axis.unit_conversion_factor for axis in crs.axis_info if axis.unit_conversion_factor]
        for crs in (one, other)
    ]
    return (
        first is not None
        and second is not None
        and first.to_proj4() == second.to_proj4()
        and units[0] == units[1]
        and bool(one.geodetic_crs and one.geodetic_crs.equals(other.geodetic_crs, True))
    )


def require_crs(geobox: _Placed, what: str) -> CRS:
    """Return the CRS of `geobox` or say how to set it."""
    if geobox.crs is None:
        raise MissingCRSError(
            f"{what} has no coordinate reference system, and one is needed to place it on the "
            f'earth. Set it with da.geoxr.write_crs("EPSG:...") or open it with crs="EPSG:...".'
        )
    return geobox.crs


def rotated(affine: Affine) -> bool:
    """Whether rows and columns of the grid are not parallel to the axes of its CRS."""
    return affine.b != 0 or affine.d != 0


def map_points(a: Affine, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Apply an affine map to points given as two arrays; NaN where one is not finite."""
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        return a.a * x + a.b * y + a.c, a.d * x + a.e * y + a.f


def resolution(geobox: GeoBox) -> tuple[float, float]:
    """Pixel size (x, y), positive [CRS units]."""
    a = geobox.affine
    return float(np.hypot(a.a, a.d)), float(np.hypot(a.b, a.e))


def bounds(geobox: GeoBox) -> Bounds:
    """(left, bottom, right, top) [CRS units]."""
    corners = [geobox.affine @ (c, r) for c in (0, geobox.width) for r in (0, geobox.height)]
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def describe_bounds(geobox: GeoBox) -> str:
    """Bounds in EPSG:4326 for messages; in the CRS of the grid where that is not possible."""
    if geobox.crs is None:
        return "({:.6g}, {:.6g}, {:.6g}, {:.6g}) without CRS".format(*bounds(geobox))
    try:
        to_wgs84 = pyproj.Transformer.from_crs(geobox.crs.proj, "EPSG:4326", always_xy=True)
        box = to_wgs84.transform_bounds(*bounds(geobox), densify_pts=21)
    except pyproj.exceptions.ProjError:  # another celestial body, or beyond the projection
        box = (np.nan,) * 4
    if not np.isfinite(box).all():
        return "({:.6g}, {:.6g}, {:.6g}, {:.6g}) in its own CRS".format(*bounds(geobox))
    return "({:.5f}, {:.5f}, {:.5f}, {:.5f}) in EPSG:4326".format(*box)


def check_grid(geobox: GeoBox, what: str) -> GeoBox:
    """Return `geobox`, or raise `GridError` if its transform places no pixels.

    Examples
    --------
    >>> check_grid(GeoBox((2, 2), Affine.scale(0), None), "The layer")
    Traceback (most recent call last):
        ...
    geoxr.errors.GridError: The layer has the transform (0.0, 0.0, 0.0, 0.0, 0.0, 0.0), ...
    """
    a = geobox.affine
    numbers = tuple(float(number) for number in a[:6])
    area, sides = abs(a.a * a.e - a.b * a.d), np.hypot(a.a, a.d) * np.hypot(a.b, a.e)
    # A comparison with NaN is False.
    if not np.isfinite(numbers).all() or not area > 1e-9 * sides > 0:
        raise GridError(
            f"{what} has the transform {numbers}, which gives its pixels no place or no area. A "
            f"transform (a, b, c, d, e, f) has finite numbers, and columns and rows run in different "
            f"directions. Repair the file, for example with gdal_edit.py -a_ullr."
        )
    return geobox


def extent(geobox: GeoBox) -> Window:
    """Return the window of the whole grid."""
    return Window(0, 0, geobox.height, geobox.width)


def crop(geobox: GeoBox, window: Window) -> GeoBox:
    """Return the grid of a window, which may reach outside."""
    affine = geobox.affine @ Affine.translation(window.col, window.row)
    return GeoBox((window.height, window.width), affine, geobox.crs)


def lattice_offset(source: GeoBox, target: GeoBox) -> tuple[int, int] | None:
    """Rows and columns from `source` to `target` if both are windows of one lattice, else None.

    Examples
    --------
    >>> grid = GeoBox((10, 10), Affine(30, 0, 600_000, 0, -30, 5_000_000), "EPSG:32633")
    >>> lattice_offset(grid, crop(grid, Window(2, 3, 4, 4)))
    (2, 3)
    >>> lattice_offset(grid, GeoBox((10, 10), grid.affine, "EPSG:32632"))
    """
    if not same_crs(source.crs, target.crs):
        return None
    step = ~source.affine @ target.affine
    drift = max(
        (abs(step.a - 1) + abs(step.d)) * target.width,
        (abs(step.e - 1) + abs(step.b)) * target.height,
    )
    row, col = round(step.f), round(step.c)
    if drift + max(abs(step.f - row), abs(step.c - col)) > _SAME_LATTICE:
        return None
    return row, col


def same_grid(first: GeoBox, second: GeoBox) -> bool:
    """Whether two grids have the same pixels."""
    return first.shape == second.shape and lattice_offset(first, second) == (0, 0)


def coords_of(geobox: GeoBox) -> dict[str, xr.Variable]:
    """Coordinates ``y``, ``x`` and ``spatial_ref`` of a grid."""
    a = geobox.affine
    rows, cols = np.arange(geobox.height) + 0.5, np.arange(geobox.width) + 0.5
    if rotated(a):
        y, x, units = rows, cols, "1"
        y_attrs = {"long_name": "row of the pixel centre", "units": units}
        x_attrs = {"long_name": "column of the pixel centre", "units": units}
    else:
        y, x = a.f + rows * a.e, a.c + cols * a.a
        y_attrs, x_attrs = _axis_attrs(geobox.crs)
    return {
        "y": xr.Variable("y", y, y_attrs),
        "x": xr.Variable("x", x, x_attrs),
        GRID_MAPPING: spatial_ref(geobox.crs, a),
    }


def spatial_ref(crs: CRS | None, affine: Affine) -> xr.Variable:
    """Return the scalar coordinate that carries CRS and lattice.

    References
    ----------
    CF Conventions 1.11, section 5.6 "Grid Mappings"; GDAL raster data model, "Affine GeoTransform".
    """
    attrs: dict[str, str] = {}
    if crs is not None:
        wkt = crs.to_wkt()
        attrs = {"crs_wkt": wkt, "spatial_ref": wkt}
    attrs["GeoTransform"] = " ".join(repr(float(value)) for value in affine.to_gdal())
    return xr.Variable((), np.int64(0), attrs)


def _axis_attrs(crs: CRS | None) -> tuple[dict[str, str], dict[str, str]]:
    if crs is not None and crs.geographic:
        return (
            {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
            {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
        )
    unit = crs.proj.axis_info[0].unit_name if crs is not None and crs.proj.axis_info else "metre"
    return (
        {"standard_name": "projection_y_coordinate", "units": unit, "axis": "Y"},
        {"standard_name": "projection_x_coordinate", "units": unit, "axis": "X"},
    )


def _stored(obj: xr.DataArray | xr.Dataset) -> tuple[CRS | None, Affine | None]:
    """CRS and lattice as written in ``spatial_ref``."""
    reference = obj.coords.get(GRID_MAPPING)
    if reference is None:
        return None, None
    numbers = reference.attrs.get("GeoTransform")
    values = [float(value) for value in numbers.split()] if isinstance(numbers, str) else numbers
    affine = Affine.from_gdal(*values) if values is not None else None
    return read_crs(reference), affine


def read_crs(reference: xr.DataArray | xr.Variable) -> CRS | None:
    """CRS in the attributes of ``spatial_ref``, or None."""
    wkt = reference.attrs.get("crs_wkt") or reference.attrs.get("spatial_ref")
    return crs_from_wkt(wkt) if wkt else None


def crs_of(obj: xr.DataArray | xr.Dataset) -> CRS | None:
    """CRS of a layer, or None."""
    from geoxr.grid.adopt import adopt

    return _stored(adopt(obj))[0]


def geobox_of(obj: xr.DataArray | xr.Dataset) -> GeoBox:
    """Shape, affine and CRS of a layer, derived from its coordinates.

    Raises
    ------
    GridError
        If the coordinates are missing, irregular, or a single pixel of unknown size.
    """
    from geoxr.grid.adopt import adopt

    obj = adopt(obj)
    for dim in ("y", "x"):
        if dim not in obj.dims or dim not in obj.coords:
            raise GridError(_no_axis(obj, dim))
    if GRID_MAPPING in obj.coords and not obj.coords[GRID_MAPPING].attrs:
        raise GridError(
            "The attributes of spatial_ref were dropped, and with them the CRS and the transform. "
            "Keep them: da.drop_attrs(deep=False)."
        )
    crs, base = _stored(obj)
    turned = base is not None and rotated(base)
    if base is None or turned:
        lattice_x: tuple[float, float] | None = (0.0, 1.0) if turned else None
        lattice_y = lattice_x
    else:
        lattice_x, lattice_y = (base.c, base.a), (base.f, base.e)
    xs, ys = (_numbers(obj, dim) for dim in ("x", "y"))
    x0, dx = _axis(xs, "x", lattice_x)
    y0, dy = _axis(ys, "y", lattice_y)
    for dim, size, step, lattice in (("x", xs.size, dy, lattice_y), ("y", ys.size, dx, lattice_x)):
        if size == 1 and lattice is not None and abs(abs(step / lattice[1]) - 1) > _UNIFORM:
            _raise_one_pixel(
                dim, "the other axis has steps that its pixels did not have in the file"
            )
    affine = Affine(dx, 0.0, x0, 0.0, dy, y0)
    if turned and base is not None:
        affine = base @ affine
    return GeoBox((obj.sizes["y"], obj.sizes["x"]), affine, crs)


def _numbers(obj: xr.DataArray | xr.Dataset, dim: str) -> np.ndarray:
    labels = obj[dim].values
    if labels.dtype.kind not in "iuf":
        raise GridError(
            f"The coordinate {dim!r} holds {type(labels.flat[0]).__name__}, not the numbers of a grid. "
            f"Give it the centres of pixels: da.assign_coords({dim}=...)."
        )
    return labels.astype("float64")


def _no_axis(obj: xr.DataArray | xr.Dataset, dim: str) -> str:
    """Say what is missing of an axis and how to add it."""
    curved = [str(name) for name, coord in obj.coords.items() if coord.ndim == 2]
    if curved:
        return (
            f"The places of pixels are in {' and '.join(map(repr, curved))}, which have two "
            f"dimensions: a curvilinear grid or a swath. A layer has a regular grid, with the "
            f"coordinates 'y' and 'x' along its axes. Resample it first, as with pyresample, or give "
            f"it the 'y' and 'x' of its projection."
        )
    if dim in obj.dims:
        return (
            f"The coordinate {dim!r} is missing, so nobody knows where the pixels are. Give it their "
            f"centres: da.assign_coords({dim}=...)."
        )
    return (
        f"A layer has the dimensions and coordinates 'y' and 'x'; here {dim!r} is missing from "
        f"{tuple(map(str, obj.dims))}. Rename your dimensions, as in "
        f"da.rename(rows='y', columns='x'), and give them coordinates."
    )


def _axis(values: np.ndarray, dim: str, lattice: tuple[float, float] | None) -> tuple[float, float]:
    """Outer edge of the first pixel and signed step between pixels along one axis."""
    size = values.size
    if size == 0:
        raise GridError(f"The layer has no pixels along {dim!r}.")
    if size == 1:
        if lattice is None:
            _raise_one_pixel(dim, "the layer carries no GeoTransform")
        start, step = lattice
        place = (values[0] - start) / step - 0.5
        if not np.isfinite(place) or abs(place - round(place)) > _UNIFORM:
            _raise_one_pixel(dim, "it lies between the pixels of the file")
    else:
        step = float(values[-1] - values[0]) / (size - 1)
        even = values[0] + step * np.arange(size)
        if step == 0 or not np.max(np.abs(values - even)) <= _UNIFORM * abs(step):
            raise GridError(
                f"The coordinates along {dim!r} are not evenly spaced, so they are no pixel grid. "
                f"Select with slices, not with single positions."
            )
    if lattice is not None:
        start, cell = lattice
        first, stride = (values[0] - start) / cell - 0.5, step / cell
        if abs(first - round(first)) < _UNIFORM and abs(stride - round(stride)) < _UNIFORM / size:
            stride = round(stride)
            return start + (round(first) + 0.5 - stride / 2) * cell, stride * cell
    return float(values[0]) - step / 2, step


def grid_like(like: xr.DataArray | xr.Dataset | GeoBox) -> GeoBox:
    """Return the grid of a layer, or a GeoBox that places pixels as it is.

    Raises
    ------
    GridError
        If there is no regular grid, or its transform is degenerate.
    """
    if isinstance(like, GeoBox):
        return check_grid(like, "The GeoBox")
    if isinstance(like, xr.DataArray | xr.Dataset):
        return geobox_of(like)
    raise ArgumentError(
        f"A grid is a layer or a GeoBox, not a {type(like).__name__}. Pass one of them."
    )


def _raise_one_pixel(dim: str, why: str) -> NoReturn:
    raise GridError(
        f"One pixel along {dim!r} has no size of its own, and {why}. Keep at least two pixels, or "
        f"select the one before steps and coarsening."
    )


def band_dim(dims: Iterable[Hashable]) -> str | None:
    """Name of the band dimension: "band", or "band_<layer>" where layers have different bands."""
    names = (dim for dim in dims if isinstance(dim, str))
    return next((dim for dim in names if dim == "band" or dim.startswith("band_")), None)


def nodata_of(array: xr.DataArray) -> float | int | None:
    """Number that marks missing pixels, as stored in ``attrs["nodata"]`` or the attributes of CF.

    References
    ----------
    CF Conventions 1.11, section 2.5.1 "Missing data"; rioxarray leaves ``_FillValue`` there too.
    """
    marks = (array.attrs.get(key) for key in ("nodata", "_FillValue", "missing_value"))
    value = next((mark for mark in marks if mark is not None), None)
    return np.asarray(value).item() if value is not None and np.size(value) == 1 else None


def kind_of(array: xr.DataArray) -> Kind:
    """Whether a layer has classes ("categorical") or quantities ("continuous")."""
    kind = array.attrs.get("kind")
    if array.dtype == bool:  # the answer to a comparison, whatever attributes came along
        return "categorical"
    if kind in ("categorical", "continuous"):
        return kind
    return "categorical" if "flag_values" in array.attrs else "continuous"


def classes_of(array: xr.DataArray) -> Classes | None:
    """Classes of a label raster, or None; a comparison has none.

    Raises
    ------
    ClassesError
        If the array was computed from a layer, so that its numbers may be other codes.
    """
    if array.dtype == bool:
        return None
    known = Classes.from_attrs(array.attrs)
    if known is not None and computed(array):
        raise ClassesError(
            f"{array.name!r} was computed, and its attributes still name the {len(known)} classes of "
            f"the layer it was computed from, whose codes it may not have any more. If it has, say "
            f"so: da.geoxr.write_classes(label.geoxr.classes); if not, drop them: "
            f"del da.attrs['flag_values'], da.attrs['flag_meanings']."
        )
    return known


def made_here(array: xr.DataArray) -> bool:
    """Whether geoxr made the layer that this array is, or was computed from."""
    reference = array.coords.get(GRID_MAPPING)
    if reference is None:
        return "kind" in array.attrs and not {"y", "x"} <= set(array.dims)
    return GRID_MAPPING in array.xindexes or reference.encoding.get("source") == MADE_HERE


def computed(array: xr.DataArray) -> bool:
    """Whether xarray made new numbers of those of a layer; to load it, or a part, does not.

    xarray carries attributes through arithmetic. What changes numbers loses the encoding of the array,
    or the index of its CRS.
    """
    untouched = GRID_MAPPING in array.xindexes and "grid_mapping" in array.encoding
    return made_here(array) and not untouched


def layer_attrs(
    *, kind: Kind, nodata: float | None, classes: Classes | None, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Attributes of a layer."""
    attrs = dict(extra)
    attrs["kind"] = kind
    if nodata is not None:
        attrs["nodata"] = nodata
    if classes is not None:
        attrs.update(classes.to_attrs())
    return attrs

"""Control points and rational polynomials of files that have no transform."""

from __future__ import annotations

import numpy as np
import rasterio
from odc.geo.crs import CRS

from geoxr.errors import GridError
from geoxr.grid.control_points import ControlPoints, Placement, RationalPolynomials
from geoxr.grid.crs import parse_crs


def read_placement(name: str, file: rasterio.DatasetReader, crs: CRS | None) -> Placement | None:
    """Return what places the image if its file has no transform, control points first.

    Parameters
    ----------
    crs : CRS, optional
        Of the control points, where the file names none.

    Raises
    ------
    GridError
        If the control points or polynomials place no pixels.
    """
    if not file.transform.is_identity:
        return None
    model: ControlPoints | RationalPolynomials
    points, points_crs = file.gcps
    if points:
        crs = crs if points_crs is None else parse_crs(points_crs)
        model = _control_points(points, crs)
    elif file.rpcs is not None:
        crs = parse_crs("EPSG:4326")
        model = _rational_polynomials(file.rpcs)
    else:
        return None
    placement = Placement(file.shape, model, crs)
    try:
        placement.regular_grid()
    except GridError as error:
        raise GridError(f"{name}: {error}") from error
    return placement


def _control_points(
    points: list[rasterio.control.GroundControlPoint], crs: CRS | None
) -> ControlPoints:
    x = np.array([point.x for point in points], dtype="float64")
    if crs is not None and crs.geographic and np.ptp(x) > 180:
        x = np.where(x < 0, x + 360, x)  # the image lies across 180 degrees
    return ControlPoints(
        tuple(
            (float(point.col), float(point.row), float(east), float(point.y))
            for point, east in zip(points, x, strict=True)
        )
    )


def _rational_polynomials(rpc: rasterio.rpc.RPC) -> RationalPolynomials:
    return RationalPolynomials(
        (rpc.line_off, rpc.samp_off, rpc.lat_off, rpc.long_off),
        (rpc.line_scale, rpc.samp_scale, rpc.lat_scale, rpc.long_scale),
        (tuple(rpc.line_num_coeff), tuple(rpc.line_den_coeff)),
        (tuple(rpc.samp_num_coeff), tuple(rpc.samp_den_coeff)),
    )

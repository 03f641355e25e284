import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geoxr.errors import GridError
from geoxr.grid.coords import coords_of
from geoxr.grid.geobox import bounds, crop, geobox_of, lattice_offset
from geoxr.grid.window import Window

GRID = GeoBox((40, 60), Affine(30, 0, 600_015, 0, -30, 5_000_025), "EPSG:32633")
ROTATED = GeoBox(
    (40, 60),
    Affine.translation(6e5, 5e6) @ Affine.rotation(20) @ Affine.scale(30, -30),
    "EPSG:32633",
)


def layer(geobox: GeoBox) -> xr.DataArray:
    data = np.arange(geobox.height * geobox.width).reshape(geobox.shape)
    return xr.DataArray(data, dims=("y", "x"), coords=coords_of(geobox))


@pytest.mark.parametrize("geobox", [GRID, ROTATED], ids=["north-up", "rotated"])
def test_a_grid_survives_the_way_through_coordinates(geobox: GeoBox) -> None:
    assert geobox_of(layer(geobox)) == geobox


@pytest.mark.parametrize("geobox", [GRID, ROTATED], ids=["north-up", "rotated"])
@given(data=st.data())
def test_the_grid_of_any_slice_is_that_of_its_pixels(geobox: GeoBox, data: st.DataObject) -> None:
    """Independent check: the centre of every pixel stays where it was."""
    slices = []
    for size in geobox.shape:
        step = data.draw(st.sampled_from([1, 2, 3, -1, -2]))
        start = data.draw(st.integers(0, size - 1))
        stop = data.draw(st.integers(0, size))
        piece = slice(start, stop, step)
        if len(range(*piece.indices(size))) < 2:
            piece = slice(None, None, step)
        slices.append(piece)
    rows, cols = slices
    part = layer(geobox).isel(y=rows, x=cols)
    found = geobox_of(part)
    all_rows, all_cols = np.mgrid[: geobox.height, : geobox.width] + 0.5
    east, north = geobox.affine @ (all_cols, all_rows)
    part_rows, part_cols = np.mgrid[: found.height, : found.width] + 0.5
    here = found.affine @ (part_cols, part_rows)
    np.testing.assert_allclose(here[0], east[rows, cols], atol=1e-6)
    np.testing.assert_allclose(here[1], north[rows, cols], atol=1e-6)


def test_one_pixel_keeps_the_size_of_its_lattice() -> None:
    one = layer(GRID).isel(y=slice(3, 4), x=slice(5, 6))
    assert geobox_of(one) == crop(GRID, Window(3, 5, 1, 1))


def test_irregular_picks_raise() -> None:
    with pytest.raises(GridError, match="not evenly spaced"):
        geobox_of(layer(GRID).isel(x=[1, 2, 5]))


def test_missing_coordinates_raise() -> None:
    with pytest.raises(GridError, match="'y' is missing"):
        geobox_of(xr.DataArray(np.zeros((2, 2)), dims=("lat", "lon")))


def test_a_lattice_is_recognised_only_by_whole_pixels() -> None:
    assert lattice_offset(GRID, crop(GRID, Window(-3, 7, 5, 5))) == (-3, 7)
    half = GeoBox((5, 5), GRID.affine @ Affine.translation(0.5, 0), GRID.crs)
    assert lattice_offset(GRID, half) is None
    finer = GeoBox((5, 5), GRID.affine @ Affine.scale(0.999), GRID.crs)
    assert lattice_offset(GRID, finer) is None


def test_bounds_of_a_rotated_grid_hold_its_corners() -> None:
    corners = [ROTATED.affine @ (c, r) for c in (0, 60) for r in (0, 40)]
    xs, ys = zip(*corners, strict=True)
    assert bounds(ROTATED) == (min(xs), min(ys), max(xs), max(ys))

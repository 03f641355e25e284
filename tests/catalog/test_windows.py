"""Windows of scenes in a target hold every pixel that a scene has there."""

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import geoxr as gx
from geoxr.catalog.bounds import common_bounds
from geoxr.catalog.outlines import outlines
from geoxr.catalog.table import Header, Row, SceneTable, crs_from_text
from geoxr.catalog.windows import scene_windows
from geoxr.testing import write_geotiff
from geoxr.warp.lattice import Lattice


def row(crs: str, affine: Affine, shape: tuple[int, int] = (100, 100)) -> Row:
    return Row(("a.tif",), Header(crs, "uint8", ("1",), None, False), tuple(affine)[:6], shape)


def on_scene(scene: Row, target: GeoBox) -> np.ndarray:
    """Which pixel centres of a target lie on a scene, by PROJ for every one."""
    rows, cols = np.mgrid[: target.height, : target.width] + 0.5
    with np.errstate(invalid="ignore"):
        x, y = Lattice(scene.geobox, target).exact(cols, rows)
        return (x >= 0) & (x < scene.shape[1]) & (y >= 0) & (y < scene.shape[0])


def check(scene: Row, target: GeoBox) -> None:
    top, left, bottom, right = scene_windows(SceneTable.of([scene]), target).windows[0]
    down, along = np.nonzero(on_scene(scene, target))
    if down.size:
        assert top <= down.min() <= down.max() < bottom
        assert left <= along.min() <= along.max() < right


TARGETS = {
    "EPSG:3035": Affine(20_000, 0, 3_000_000, 0, -20_000, 4_500_000),
    "EPSG:4326": Affine(0.4, 0, -20, 0, -0.4, 75),
    "EPSG:32632": Affine(20_000, 0, -500_000, 0, -20_000, 7_500_000),
    "EPSG:3857": Affine(30_000, 0, -1_000_000, 0, -30_000, 9_000_000),
}


@settings(max_examples=60, deadline=None)
@given(
    zone=st.integers(31, 35),
    east=st.integers(100_000, 900_000),
    north=st.integers(4_500_000, 7_500_000),
    pixel=st.sampled_from([100, 1000, 4000]),
    angle=st.sampled_from([0, 0, 30]),
    crs=st.sampled_from(sorted(TARGETS)),
)
def test_windows_hold_every_pixel(
    zone: int, east: int, north: int, pixel: int, angle: int, crs: str
) -> None:
    affine = Affine.translation(east, north) @ Affine.rotation(angle) @ Affine.scale(pixel, -pixel)
    check(row(f"EPSG:326{zone}", affine), GeoBox((120, 150), TARGETS[crs], crs))


@pytest.mark.parametrize(
    ("scene", "target"),
    [
        # Across 180 degrees, in a target on either side and across.
        (row("EPSG:32601", Affine(4000, 0, 100_000, 0, -4000, 7_400_000)),
         GeoBox((100, 200), Affine(0.1, 0, 170, 0, -0.1, 70), "EPSG:4326")),
        (row("EPSG:32601", Affine(4000, 0, 100_000, 0, -4000, 7_400_000)),
         GeoBox((100, 200), Affine(0.1, 0, -190, 0, -0.1, 70), "EPSG:4326")),
        (row("EPSG:32660", Affine(1000, 0, 400_000, 0, -1000, 100_000)),
         GeoBox((100, 720), Affine(0.5, 0, -180, 0, -0.5, 10), "EPSG:4326")),
        # A pole inside.
        (row("EPSG:3413", Affine(20_000, 0, -900_000, 0, -20_000, 1_000_000)),
         GeoBox((100, 360), Affine(1, 0, -180, 0, -0.5, 90), "EPSG:4326")),
        (row("EPSG:4326", Affine(3.6, 0, -180, 0, -0.3, 90)),
         GeoBox((120, 120), Affine(50_000, 0, -3e6, 0, -50_000, 3e6), "EPSG:3413")),
        (row("EPSG:3031", Affine(1000, 0, 500_000, 0, -1000, 500_000)),
         GeoBox((80, 360), Affine(1, 0, -180, 0, -1, -60), "EPSG:4326")),
    ],
)  # fmt: skip
def test_windows_hold_every_pixel_where_longitudes_break(scene: Row, target: GeoBox) -> None:
    assert on_scene(scene, target).any()
    check(scene, target)


def test_bounds_hold_all_scenes_and_little_more() -> None:
    rows = [
        row(f"EPSG:326{zone}", Affine(500, 0, 300_000, 0, -500, north))
        for zone in (31, 32, 33)
        for north in (5_000_000, 5_500_000)
    ]
    table, crs = SceneTable.of(rows), crs_from_text("EPSG:3035")
    assert crs is not None
    left, bottom, right, top = common_bounds(table, crs)
    frame = GeoBox((1, 1), Affine.identity(), crs)
    expected = np.array([one.bounds for one in outlines(table, frame)])
    np.testing.assert_allclose([left, bottom], expected[:, :2].min(axis=0), atol=50)
    np.testing.assert_allclose([right, top], expected[:, 2:].max(axis=0), atol=50)


def test_scenes_around_180_degrees_make_a_narrow_layer(tmp_path: Path) -> None:
    for crs, east in (("EPSG:32660", 600_000), ("EPSG:32601", 200_000), ("EPSG:32601", 400_000)):
        write_geotiff(
            tmp_path / f"{crs[-2:]}_{east}.tif", np.ones((40, 40), "uint8"), crs=crs,
            transform=Affine(5000, 0, east, 0, -5000, 6_000_000), nodata=0,
        )  # fmt: skip
    layer = gx.open_raster(tmp_path, crs="EPSG:4326", resolution=0.05, resampling="nearest")
    left, _, right, _ = layer.geoxr.bounds
    assert 178 < left < 180 or -182 < left < -178
    assert right - left < 9
    valid = layer.geoxr.valid.values
    assert valid.mean() > 0.9
    assert valid[:, 0].any()
    assert valid[:, -1].any()

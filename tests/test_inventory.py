"""Every raster of a collection of real files opens, reads and reprojects, or says why not.

The files are not part of the repository: they are looked for beside it, or in the folder named by the
environment variable GEOXR_SHARED_DATA.
"""

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

import geoxr as gx
from geoxr.errors import CRSMismatchError, GeoxrError, MissingCRSError, NotARasterError
from geoxr.io.gdal import open_file

ROOT = Path(
    os.environ.get("GEOXR_SHARED_DATA") or Path(__file__).parents[1].parent / "shared" / "data"
)
INVENTORY = ROOT / "INVENTORY.json"
FILES = (
    sorted(
        entry["file"]
        for entry in json.loads(INVENTORY.read_text(encoding="utf-8"))["files"]
        if entry["kind"] == "raster"
    )
    if INVENTORY.is_file()
    else []
)

_PARTS = "several arrays in one file: the message names them, and each opens alone"
_NOWHERE = "says nothing of where it is: the message asks for a CRS"
#: What does not open, with the error and the reason.
CLOSED: dict[str, tuple[type[GeoxrError], str, str]] = {
    "tricky_rasterio/RGB.nc": (NotARasterError, "Open one of them", _PARTS),
    "tricky_rasterio/two-subs.h5": (NotARasterError, "Open one of them", _PARTS),
    "tricky_rioxarray/PLANET_SCOPE_3D.nc": (NotARasterError, "Open one of them", _PARTS),
    "tricky_rioxarray/test_find_crs.nc": (NotARasterError, "Open one of them", _PARTS),
    "tricky_stars/nc/bcsd_obs_1999.nc": (NotARasterError, "Open one of them", _PARTS),
    "tricky_stars/nc/reduced.nc": (NotARasterError, "Open one of them", _PARTS),
    "tricky_rioxarray/MOD09GA.A2008296.h14v17.006.2015181011753.hdf": (
        NotARasterError,
        "not a raster that GDAL can open",
        "HDF4, which the wheels of rasterio are built without",
    ),
}
#: What opens and reads, but does not go into another CRS, with the error and the reason.
UNPLACED: dict[str, tuple[type[GeoxrError], str, str]] = {
    "tricky_rasterio/float_nan.tif": (MissingCRSError, "write_crs", _NOWHERE),
    "tricky_rasterio/rotated.tif": (MissingCRSError, "write_crs", _NOWHERE),
    "tricky_riotiler/no_geo.jpg": (MissingCRSError, "write_crs", _NOWHERE),
    "tricky_stars/nc/test_stageiv_xyt.nc": (MissingCRSError, "write_crs", _NOWHERE),
    "tricky_riotiler/cog_nonearth.tif": (
        CRSMismatchError,
        "different celestial bodies",
        "a map of Europa, which has no place on earth",
    ),
}

pytestmark = [
    pytest.mark.skipif(not FILES, reason=f"no {INVENTORY}"),
    # What a missing grid file of PROJ costs is told once per pair of CRSs.
    pytest.mark.filterwarnings("ignore:.*the best operation:UserWarning"),
]


def open_with_rasterio(path: Path) -> rasterio.DatasetReader:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path)


def middle(length: int, size: int = 40) -> slice:
    start = max((length - size) // 2, 0)
    return slice(start, min(start + size, length))


@pytest.mark.parametrize("name", FILES)
def test_a_real_file_opens_reads_and_reprojects_or_says_why_not(name: str) -> None:
    path = ROOT / name
    if name in CLOSED:
        error, message, _ = CLOSED[name]
        with pytest.raises(error, match=message):
            gx.open_raster(path)
        return
    layer = gx.open_raster(path)
    if open_file(path).placement is None:
        rows, cols = middle(layer.sizes["y"]), middle(layer.sizes["x"])
        with open_with_rasterio(path) as file:
            area = Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
            expected = file.read(window=area)
        found = layer.isel(y=rows, x=cols).values
        np.testing.assert_array_equal(found, expected.astype(found.dtype))
    resampling = "nearest" if layer.dtype.kind == "c" else None
    other = "EPSG:4326" if layer.geoxr.crs is None or layer.geoxr.crs.projected else "EPSG:3857"
    if name in UNPLACED:
        error, message, _ = UNPLACED[name]
        with pytest.raises(error, match=message):
            layer.geoxr.reproject(other, resampling=resampling)
        return
    moved = layer.geoxr.reproject(other, resampling=resampling)
    # About as many pixels as before; a disk seen from space is stretched at its limb.
    assert moved.sizes["y"] * moved.sizes["x"] < 8 * layer.sizes["y"] * layer.sizes["x"] + 1000
    part = moved.isel(y=middle(moved.sizes["y"]), x=middle(moved.sizes["x"]))
    pixels = part.values
    assert pixels.size
    whole = moved.geoxr.footprint
    assert not whole.is_empty
    assert np.isfinite(whole.bounds).all()


@pytest.mark.parametrize(
    "name", sorted(name for name, (_, message, _) in CLOSED.items() if "parts" in message)
)
def test_the_parts_that_the_message_names_open(name: str) -> None:
    with open_with_rasterio(ROOT / name) as file:
        parts = file.subdatasets
    for part in parts:
        layer = gx.open_raster(part)
        assert layer.isel(y=middle(layer.sizes["y"]), x=middle(layer.sizes["x"])).values.size


def test_the_lists_name_files_that_are_there() -> None:
    assert set(CLOSED) | set(UNPLACED) <= set(FILES)

"""What every public xarray operation does to a layer: each cell of the table in the docs is tried.

The table is ``docs/xarray-operations.csv``; ``docs/xarray.md`` shows it. The first column is run as it
stands, once on an image and once on labels, and what comes out is judged without geoxr where possible:
coordinates by NumPy, validity and pixels by the same operation on plain arrays.
"""

import copy
import csv
import io
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from affine import Affine

import geoxr as gx
from geoxr.errors import ChipError, GeoxrError, TooLargeError
from geoxr.io.layer import as_layer
from geoxr.io.reader import View, WindowReader
from geoxr.io.resolve import resolve
from geoxr.io.stacks import TimeStack
from geoxr.testing import write_geotiff

TABLE = Path(__file__).parents[1] / "docs" / "xarray-operations.csv"
ROWS = list(csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines()))
COLUMNS = ("pixels", "geobox", "valid", "nodata", "classes", "guard", "to_torch")
#: What a cell may say; nothing stands for a question that makes no sense.
WORDS = {
    "pixels": {"lazy", "dask", "reads", "raises"},
    "geobox": {"right", "raises", ""},
    "valid": {"right", "everywhere", "raises", ""},
    "nodata": {"right", "none", "raises", ""},
    "classes": {"right", "none", "raises", ""},
    "guard": {"kept", "lost", ""},
    "to_torch": {"fast", "slow", "raises", ""},
}
CLASSES = gx.Classes.of({1: "water", 2: "forest", 3: "field", 4: "town"})
GRID = Affine(10, 0, 500_000, 0, -10, 5_200_000)
HEIGHT, WIDTH = 12, 16
DATES = tuple(np.array(["2020-01-05", "2020-02-07"], "datetime64[ns]"))


@dataclass(frozen=True)
class Watched(View):
    """A reader that counts how often it is read."""

    source: WindowReader
    counted: list[int]

    @property
    def geobox(self) -> Any:
        return self.source.geobox

    def read(self, *args: Any, **kwargs: Any) -> None:
        self.counted.append(1)
        self.source.read(*args, **kwargs)


@dataclass(frozen=True)
class World:
    """Layers of one grid on disk, and how often they were read."""

    image: xr.DataArray
    label: xr.DataArray
    series: xr.DataArray
    foreign: xr.DataArray
    reads: list[int]
    folder: Path

    def names(self, da: xr.DataArray) -> dict[str, Any]:
        """Names that an operation may use, fresh, since some load in place."""
        ds = xr.Dataset({"image": self.image.copy(), "mask": self.label.copy()})
        return {
            "da": da.copy(), "ds": ds, "series": self.series.copy(), "foreign": self.foreign.copy(),
            "xr": xr, "np": np, "gx": gx, "copy": copy, "io": io, "pickle": pickle, "folder": self.folder,
            "weights": xr.DataArray(np.arange(12.0), dims="y", coords={"y": da.y}),
        }  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    reads: list[int] = []

    def saved(name: str, pixels: np.ndarray, crs: str = "EPSG:32633") -> xr.DataArray:
        write_geotiff(folder / name, pixels, crs=crs, transform=GRID, nodata=0)
        return gx.open_raster(folder / name)

    def watched(layer: xr.DataArray, **options: Any) -> xr.DataArray:
        reader = Watched(resolve(layer).reader, reads)
        return as_layer(reader, name=str(layer.name), **options)

    pixels = rng.integers(100, 900, (3, HEIGHT, WIDTH), dtype="uint16")
    pixels[:, 2:5, 3:9] = 0
    codes = rng.integers(1, 5, (1, HEIGHT, WIDTH), dtype="uint8")
    codes[:, 7:, 11:] = 0
    image = saved("image.tif", pixels)
    label = saved("label.tif", codes)
    second = resolve(saved("second.tif", pixels[:, ::-1].copy())).reader
    return World(
        watched(image),
        watched(label, kind="categorical", classes=CLASSES, band=None),
        as_layer(Watched(TimeStack((resolve(image).reader, second), DATES), reads), name="image"),
        saved("foreign.tif", pixels, crs="EPSG:32634"),
        reads,
        folder,
    )


def run(world: World, code: str, da: xr.DataArray) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return eval(code, world.names(da))


def layer_of(result: Any, name: str) -> xr.DataArray | None:
    """The layer that a result holds, if it holds one."""
    if isinstance(result, list | tuple):
        result = result[0]
    if isinstance(result, xr.DataTree):
        result = result.to_dataset()
    if isinstance(result, xr.Dataset):
        names = [n for n in (name, *result.data_vars) if n in result.data_vars]
        result = result[names[0]] if names else None
    return result if isinstance(result, xr.DataArray) else None


def pixels(world: World, code: str) -> str:
    """Whether pixels are read to do it, judged by the limit and by counting."""
    world.reads.clear()
    with gx.options.set(max_read=1):
        try:
            result = layer_of(run(world, code, world.image), "image")
        except TooLargeError:
            return "reads"
        except (GeoxrError, ValueError):
            return "raises"
    if world.reads:
        return "read without a limit"
    return "dask" if result is not None and result.chunks else "lazy"


def geobox(layer: xr.DataArray) -> str:
    """Whether pixel centres of the geobox are the coordinates, and its pixels meet edge to edge."""
    try:
        box = layer.geoxr.geobox
    except GeoxrError:
        return "raises"
    x, y = (layer[dim if dim in layer.dims else layer.dims[-1]].values for dim in ("x", "y"))
    cols, rows = np.arange(x.size) + 0.5, np.arange(y.size) + 0.5
    right = np.allclose((box.affine @ (cols, 0 * cols))[0], x)
    right &= np.allclose((box.affine @ (0 * rows, rows))[1], y)
    right &= x.size > 1 or abs(box.affine.a) == 10
    right &= y.size > 1 or abs(box.affine.e) == 10
    expected = 32633 if "spatial_ref" in layer.coords else None
    return "right" if right and getattr(box.crs, "epsg", None) == expected else "wrong"


def valid(world: World, code: str, layer: xr.DataArray) -> str:
    """Whether validity is that of the same operation on floats with NaN where nothing is."""
    try:
        found = layer.geoxr.valid.load()
    except GeoxrError:
        return "raises"
    if layer.dtype == bool:
        return "everywhere" if bool(found.all()) else "wrong"
    expected = np.isfinite(on_floats(world, code))
    expected = expected.all("band") if "band" in expected.dims else expected
    expected = expected.transpose(*found.dims)
    return "right" if np.array_equal(found.values, expected.values) else "wrong"


def on_floats(world: World, code: str) -> xr.DataArray:
    """The same operation on plain arrays in memory, with NaN where the layers have nodata."""

    def plain(layer: xr.DataArray) -> xr.DataArray:
        values = layer.values.astype("float64")
        values[values == 0] = np.nan
        return xr.DataArray(values, coords=layer.coords, dims=layer.dims, name=layer.name)

    bare = World(
        plain(world.image), plain(world.label), plain(world.series), plain(world.foreign), [],
        world.folder,
    )  # fmt: skip
    found = layer_of(run(bare, code, bare.image), "image")
    assert found is not None
    return found


def nodata(layer: xr.DataArray) -> str:
    try:
        number = layer.geoxr.nodata
    except GeoxrError:
        return "raises"
    return {None: "none", 0: "right"}.get(number, "wrong")


def classes(world: World, code: str) -> str:
    """Whether the classes are those of the labels, and every pixel has one of their codes."""
    try:
        layer = layer_of(run(world, code, world.label), "mask")
    except (ValueError, KeyError, AttributeError):
        return ""
    if layer is None or "band" in layer.dims:
        return ""
    try:
        found = layer.geoxr.classes
    except GeoxrError:
        return "raises"
    if found is None:
        return "none"
    known = np.isin(layer.values, [0, *CLASSES.values]) | ~np.isfinite(layer.values)
    return "right" if found == CLASSES and known.all() else "wrong"


def guard(world: World, layer: xr.DataArray) -> str:
    """Whether meeting a layer of another CRS raises."""
    try:
        xr.align(layer, world.foreign.isel(band=0, y=0, x=0, drop=True)[()])
    except gx.errors.CRSMismatchError:
        return "kept"
    return "lost"


def to_torch(layer: xr.DataArray) -> str:
    """How batches are read, if they are, and whether they hold the pixels of the layer."""
    ds = layer.to_dataset(name="image")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            plan = ds.geoxr.grid_chips((layer.sizes["y"], layer.sizes["x"]))
            (batch,) = list(ds.geoxr.to_torch(plan, batch_size=1, threads=0))
        except ChipError:
            raise
        except GeoxrError:
            return "raises"
    order = ["time", *(d for d in layer.dims if str(d).startswith("band")), "y", "x"]
    expected = layer.transpose(*(d for d in order if d in layer.dims)).values.astype("float64")
    image = batch["image"][0].numpy().reshape(expected.shape)
    good = np.broadcast_to(batch["valid"][0].numpy(), expected.shape)
    if not np.allclose(image[good], expected[good]) or (np.isfinite(expected) & good).sum() == 0:
        return "wrong"
    return "slow" if any("through xarray" in str(w.message) for w in caught) else "fast"


def judge(world: World, code: str) -> dict[str, str]:
    """Fill in a row of the table."""
    cells = dict.fromkeys(COLUMNS, "") | {"pixels": pixels(world, code)}
    if cells["pixels"] == "raises":
        return cells
    layer = layer_of(run(world, code, world.image), "image")
    if layer is None:
        return cells
    cells["geobox"] = geobox(layer)
    cells["guard"] = guard(world, layer)
    cells["nodata"] = nodata(layer)
    cells["classes"] = classes(world, code)
    if cells["geobox"] != "raises":
        cells["valid"] = valid(world, code, layer)
        cells["to_torch"] = to_torch(layer)
    return cells


@pytest.mark.parametrize("row", ROWS, ids=[row["operation"].strip("`") for row in ROWS])
def test_each_cell_of_the_table_is_so(world: World, row: dict[str, str]) -> None:
    code = row["operation"].strip("`")
    assert judge(world, code) == {name: row[name] for name in COLUMNS}


def test_the_table_knows_no_wrong_cell() -> None:
    assert len(ROWS) >= 80
    for row in ROWS:
        assert {name: row[name] for name in COLUMNS if row[name] not in WORDS[name]} == {}


def test_the_docs_show_the_table() -> None:
    assert f":file: {TABLE.name}" in TABLE.with_name("xarray.md").read_text(encoding="utf-8")

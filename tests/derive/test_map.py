"""`gx.map`: any function, lazily, with the same answer for every window."""

from __future__ import annotations

import functools
import os
import pickle
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask.base
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import geoxr as gx
from geoxr.grid.window import Window
from geoxr.io import mapped
from geoxr.io.geotiff import GeotiffReader
from geoxr.io.reader import everything
from geoxr.io.resolve import resolve
from geoxr.testing import LandsatCDL


def ndvi(image: np.ndarray) -> np.ndarray:
    """(nir - red) / (nir + red) of (band, y, x)."""
    red, nir = image[0].astype("float32"), image[2].astype("float32")
    return (nir - red) / (nir + red)


def double(image: np.ndarray) -> np.ndarray:
    return image * np.float32(2)


def test_a_function_of_bands_gives_what_numpy_gives(image: xr.DataArray) -> None:
    layer = gx.map(ndvi, image, units="1", name="ndvi")
    stored = image.values
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.where((stored != 0).all(axis=0), ndvi(stored), np.nan)
    assert (layer.dims, layer.dtype, layer.name) == (("y", "x"), "float32", "ndvi")
    assert layer.attrs == {"units": "1", "kind": "continuous"}
    np.testing.assert_array_equal(layer.values, expected)
    np.testing.assert_array_equal(layer.geoxr.valid.values, (stored != 0).all(axis=0))


def test_nothing_is_read_before_it_is_needed(
    image: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("pixels were read")

    monkeypatch.setattr(GeotiffReader, "read", fail)
    layer = gx.map(ndvi, image).geoxr.astype("float64").isel(x=slice(10, 90))
    layer = layer.geoxr.mask(gx.map(lambda a: a > 0, layer)).geoxr.reproject("EPSG:3035")
    assert repr(layer)
    with pytest.raises(AssertionError, match="pixels were read"):
        _ = layer.values


@pytest.fixture(scope="module")
def roots(farmland: LandsatCDL) -> xr.DataArray:
    """Square roots of the reflectance of two scenes, each band alone."""
    image = gx.open_product("landsat8-l2-sr", farmland.scenes, time="collapse", crs="auto")
    return gx.map(np.sqrt, image.geoxr.decode(), along=())


@settings(max_examples=25, deadline=None)
@given(
    row=st.integers(0, 149), col=st.integers(0, 199),
    height=st.integers(1, 150), width=st.integers(1, 200), band=st.integers(0, 2),
)  # fmt: skip
def test_any_window_equals_the_whole_bit_for_bit(
    roots: xr.DataArray, row: int, col: int, height: int, width: int, band: int
) -> None:
    rows, cols = slice(row, row + height), slice(col, col + width)
    part = roots.isel(band=[band, 6], y=rows, x=cols).values
    whole = roots.isel(y=slice(300), x=slice(400)).values
    assert part.tobytes() == whole[[band, 6], rows, cols].tobytes()


def test_large_windows_are_read_in_pieces_with_the_same_result(
    image: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = gx.map(ndvi, image)
    whole, largest = layer.values, []
    read = GeotiffReader.read

    def watched(self: GeotiffReader, window: Window, *args: object, **kwargs: object) -> None:
        largest.append(window.height * window.width)
        read(self, window, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(mapped, "PIECE", 4 * 64 * 64)
    monkeypatch.setattr(GeotiffReader, "read", watched)
    np.testing.assert_array_equal(layer.values, whole)
    assert max(largest) <= 64 * 64 and len(largest) > 6


@pytest.mark.parametrize("step", [2, 3, 7])
def test_a_step_passes_through(
    image: xr.DataArray, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, layer = resolve(image).reader, resolve(gx.map(double, image, along=())).reader
    window, (bands, times) = Window(3, 5, 140, 190), everything(source)
    shape = (1, 3, -(-140 // step), -(-190 // step))
    small, good = np.empty(shape, "uint16"), np.empty(shape, bool)
    source.read(window, small, good, bands=bands, times=times, step=step)
    out, here = np.empty(shape, "float32"), np.empty(shape, bool)
    layer.read(window, out, here, bands=bands, times=times, step=step)
    np.testing.assert_array_equal(here, good)
    np.testing.assert_array_equal(out[good], small[good] * np.float32(2))
    monkeypatch.setattr(mapped, "PIECE", 6 * 64 * 64)
    again = np.empty(shape, "float32")
    layer.read(window, again, None, bands=bands, times=times, step=step)
    assert again.shape == out.shape and not np.isnan(again[good]).any()


def test_bands_are_kept_named_or_reduced(image: xr.DataArray) -> None:
    kept = gx.map(double, image)
    assert kept["band"].values.tolist() == ["red", "green", "nir"]
    named = gx.map(lambda a: a[:2] + 0.5, image, bands=["a", "b"])
    assert named.dims == ("band", "y", "x") and named["band"].values.tolist() == ["a", "b"]
    assert gx.map(lambda a: a[:1], image, bands=["a"]).dims == ("band", "y", "x")
    assert gx.map(lambda a: a.max(axis=0), image).dims == ("y", "x")
    grown = gx.map(lambda a: np.stack([a, a + 1.0]), image.isel(band=0), bands=["a", "b"])
    np.testing.assert_array_equal(grown.isel(band=1).values[image.values[0] != 0],
                                  image.values[0][image.values[0] != 0] + 1.0)  # fmt: skip
    with pytest.raises(gx.errors.ArgumentError, match=r"returns 2 bands.*bands=\['b1', 'b2'\]"):
        gx.map(lambda a: a[:2], image)
    with pytest.raises(gx.errors.ArgumentError, match="not that many distinct names"):
        gx.map(lambda a: a[:2], image, bands=["a"])
    with pytest.raises(gx.errors.ArgumentError, match="returns no bands"):
        gx.map(ndvi, image, bands=["a"])


def test_only_the_bands_that_are_asked_for_are_read_when_each_is_alone(
    image: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, seen = GeotiffReader.read, []

    def watched(self: GeotiffReader, *args: object, **kwargs: object) -> None:
        seen.append(kwargs["bands"])
        read(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(GeotiffReader, "read", watched)
    alone = gx.map(double, image, along=()).isel(band=1).values
    assert seen == [(1,)]
    together = gx.map(double, image).isel(band=1).values
    assert seen[1:] == [(0, 1, 2)]
    good = image.values[1] != 0
    np.testing.assert_array_equal(alone[good], together[good])


def test_validity_is_per_band_when_each_is_alone_and_joint_otherwise(image: xr.DataArray) -> None:
    holed = image.geoxr.mask(gx.map(lambda a: a % 7 != 0, image, along=()))
    good = (image.values != 0) & (image.values % 7 != 0)
    np.testing.assert_array_equal(np.isfinite(gx.map(double, holed, along=()).values), good)
    joint = np.isfinite(gx.map(double, holed).values)
    np.testing.assert_array_equal(joint, np.broadcast_to(good.all(axis=0), joint.shape))


def test_layers_combine_and_one_without_bands_goes_with_each(
    image: xr.DataArray, labels: xr.DataArray
) -> None:
    layer = gx.map(lambda a, b: a + b * np.uint16(3), image, labels, along=(), nodata=0)
    a, b = image.values, labels.values.astype("uint16")
    good = (a != 0) & (b != 255)
    np.testing.assert_array_equal(layer.values, np.where(good, a + 3 * b, 0))
    assert layer.geoxr.nodata == 0 and layer.dtype == "uint16"


def test_dates_come_one_at_a_time(farmland: LandsatCDL) -> None:
    series = gx.open_product("landsat8-l2-sr", farmland.scenes, crs="auto", decode=True)
    layer = gx.map(lambda a: (a[4] - a[3]) / (a[4] + a[3]), series)
    assert layer.dims == ("time", "y", "x")
    values = series.values
    expected = (values[:, 4] - values[:, 3]) / (values[:, 4] + values[:, 3])
    expected[np.isnan(values).any(axis=1)] = np.nan
    np.testing.assert_array_equal(layer.values, expected)
    np.testing.assert_array_equal(layer.isel(time=1).values, expected[1])
    still = series.isel(time=0, drop=True)
    change = gx.map(lambda a, b: a - b, series, still, along=())
    np.testing.assert_array_equal(change.values, values - values[0])


def test_dates_can_be_combined(farmland: LandsatCDL) -> None:
    series = gx.open_product("landsat8-l2-sr", farmland.scenes, crs="auto", decode=True)
    values = series.values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.nanmax(values, axis=0)
        layer = gx.map(lambda a: np.fmax.reduce(a, axis=0), series, along="time", invalid="func")
        strict = gx.map(lambda a: a.max(axis=0), series, along="time")
    assert layer.dims == ("band", "y", "x")
    np.testing.assert_array_equal(layer.values, expected)
    np.testing.assert_array_equal(layer.sel(band=["SR_B5"]).values, expected[4:5])
    np.testing.assert_array_equal(strict.values, values.max(axis=0))
    anomaly = gx.map(lambda a: a - a[:1], series, along=("time", "band"))
    np.testing.assert_array_equal(
        anomaly.isel(time=[1], band=[2]).values[0, 0],
        np.where(np.isnan(values).any(axis=(0, 1)), np.nan, values[1, 2] - values[0, 2]),
    )
    count = gx.map(lambda a: np.isfinite(a[:, 0]).sum(axis=0, dtype="uint8"), series,
                   along=("time", "band"), invalid="func")  # fmt: skip
    np.testing.assert_array_equal(count.values, np.isfinite(values[:, 0]).sum(axis=0))


def test_missing_pixels_can_be_left_to_the_function(image: xr.DataArray) -> None:
    floats = image.geoxr.astype("float32")
    assert floats.geoxr.nodata == 0
    filled = gx.map(lambda a: np.where(np.isnan(a), -1, a), floats, along=(), invalid="func")
    expected = np.where(image.values == 0, -1, image.values.astype("float32"))
    np.testing.assert_array_equal(filled.values, expected)
    assert filled.geoxr.valid.values.all()
    with pytest.raises(gx.errors.ArgumentError, match=r"a layer is uint16.*decode"):
        gx.map(double, image, invalid="func")


def test_what_the_function_cannot_compute_is_missing(image: xr.DataArray) -> None:
    layer = gx.map(lambda a: 1 / (a[0].astype("float32") // 100 - 5), image)
    red = image.values[0].astype("float32")
    good = (image.values != 0).all(axis=0) & (red // 100 != 5)
    np.testing.assert_array_equal(np.isfinite(layer.values), good)
    np.testing.assert_array_equal(layer.geoxr.valid.values, good)
    assert not np.isinf(layer.values).any()


def test_booleans_and_integers_carry_their_validity_beside_them(image: xr.DataArray) -> None:
    bright = gx.map(lambda a: a[0] > 500, image, name="bright")
    assert (bright.dtype, bright.geoxr.kind, bright.geoxr.nodata) == (bool, "categorical", None)
    good = (image.values != 0).all(axis=0)
    np.testing.assert_array_equal(bright.geoxr.valid.values, good)
    ds = gx.merge({"bright": bright})
    assert "bright_valid" in ds
    batch = next(iter(ds.geoxr.to_torch(ds.geoxr.grid_chips(50), batch_size=12)))
    assert int(batch["valid"].sum()) == good.sum()


def test_results_can_be_classes(image: xr.DataArray) -> None:
    layer = gx.map(lambda a: np.digitize(a[0], [400, 600]).astype("uint8"), image, nodata=255,
                   classes=["low", "middle", "high"])  # fmt: skip
    assert layer.geoxr.classes.names == ("low", "middle", "high")
    assert layer.geoxr.kind == "categorical"
    good = (image.values != 0).all(axis=0)
    np.testing.assert_array_equal(
        layer.values, np.where(good, np.digitize(image.values[0], [400, 600]), 255)
    )


def test_the_type_is_known_without_reading_and_checked_when_reading(image: xr.DataArray) -> None:
    assert gx.map(lambda a: a / 3, image).dtype == "float64"
    assert gx.map(lambda a: a / 3, image, dtype="float32").dtype == "float32"
    wide = gx.map(lambda a: a[0].astype("int64") * 100, image, dtype="uint16", nodata=0)
    with pytest.raises(gx.errors.ArgumentError, match=r"returned \d{5,}, but uint16 holds 0 to"):
        _ = wide.values
    with pytest.raises(gx.errors.ArgumentError, match="not turned into uint8 silently"):
        gx.map(lambda a: a / 3, image, dtype="uint8")
    fickle = gx.map(lambda a: a[0] if a.shape[-1] < 50 else a[0] / 2, image)
    with pytest.raises(
        gx.errors.ArgumentError, match="float64 for a window and uint16 in its trial"
    ):
        _ = fickle.values


def blurred(image: np.ndarray) -> np.ndarray:
    scipy = pytest.importorskip("scipy.ndimage")
    return scipy.uniform_filter(image.astype("float32"), (1, 3, 3))


@pytest.mark.parametrize(
    ("func", "message"),
    [
        (lambda a: a - a.mean(), "looks at other pixels"),
        (blurred, "blurred gives other values"),
        (lambda a: a[:, ::2, ::2], "must return an array that ends in the same y and x"),
        (lambda a: a.sum(), "must return an array"),
        (lambda a: a.astype(str), "no type of pixels"),
        (lambda a: 1 / 0, "failed in a trial run.*ZeroDivisionError"),
        (lambda a, b: a, "failed in a trial run.*TypeError"),
        (lambda a: np.random.default_rng().random(a.shape), "random numbers"),
    ],
)
def test_functions_that_cannot_be_lazy_are_refused(
    image: xr.DataArray, func: object, message: str
) -> None:
    with pytest.raises(gx.errors.ArgumentError, match=message):
        gx.map(func, image)  # type: ignore[arg-type]


def test_a_function_that_mixes_bands_is_found_out(image: xr.DataArray) -> None:
    with pytest.raises(gx.errors.ArgumentError, match=r'combines bands. Say along="band"'):
        gx.map(lambda a: a - a[:1], image, along=())
    with pytest.raises(gx.errors.ArgumentError, match="combines bands"):
        gx.map(ndvi, image, along=())


def test_lookups_that_only_know_their_codes_work(labels: xr.DataArray) -> None:
    table = np.array([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, *[0] * 246])
    layer = gx.map(lambda a: table[a], labels, nodata=-1)
    np.testing.assert_array_equal(
        layer.values, np.where(labels.values == 255, -1, table[labels.values])
    )
    known = {1: 1.5, 2: 2.5, 3: 3.5, 4: 4.5, 5: 5.5}
    assert gx.map(np.vectorize(known.__getitem__, otypes=["f4"]), labels).dtype == "float32"


def test_grids_and_dates_must_agree(image: xr.DataArray, farmland: LandsatCDL) -> None:
    with pytest.raises(gx.errors.GridError, match="reproject_match"):
        gx.map(lambda a, b: a + b, image, image.isel(x=slice(1, None)))
    moved = image.geoxr.reproject("EPSG:32632")
    with pytest.raises(gx.errors.CRSMismatchError, match=r"EPSG:32633 but .* EPSG:32632"):
        gx.map(lambda a, b: a + b, image, moved)
    series = gx.open_product("landsat8-l2-sr", farmland.scenes, crs="auto")
    with pytest.raises(gx.errors.ArgumentError, match="different dates: 2 and 1"):
        gx.map(lambda a, b: a, series, series.isel(time=[0]))
    with pytest.raises(gx.errors.ArgumentError, match=r"not Dataset.*ds\['image'\]"):
        gx.map(double, image.to_dataset(name="a"))  # type: ignore[arg-type]
    with pytest.raises(gx.errors.ArgumentError, match="no layer to map"):
        gx.map(double)
    with pytest.raises(gx.errors.ArgumentError, match="must name"):
        gx.map(double, image, along="y")


def test_the_operands_are_not_changed(image: xr.DataArray) -> None:
    before = dict(image.attrs), image.variable._data
    gx.map(ndvi, image).load()
    assert (dict(image.attrs), image.variable._data) == before


def test_computed_arrays_can_be_operands(image: xr.DataArray) -> None:
    weights = (image * 0.5).isel(band=0, drop=True)
    weights.attrs = {"kind": "continuous"}
    layer = gx.map(lambda a, w: a[1] * w, image, weights)
    good = (image.values != 0).all(axis=0)
    np.testing.assert_array_equal(layer.values[good], (image.values[1] * weights.values)[good])


def test_training_takes_the_fast_path(image: xr.DataArray, labels: xr.DataArray) -> None:
    ds = gx.merge({"image": gx.map(ndvi, image), "mask": labels.geoxr.remap({1: 1, 2: 2})})
    assert resolve(ds["image"]).slow is None
    batch = next(iter(ds.geoxr.to_torch(ds.geoxr.grid_chips(50), batch_size=2)))
    assert batch["image"].shape[-2:] == (50, 50)
    assert batch["mask"].unique().tolist() == [-100, 0, 1]


def test_threads_read_the_same(image: xr.DataArray) -> None:
    layer = gx.map(ndvi, image)
    whole, start = layer.values, threading.Barrier(4)

    def part(at: int) -> bool:
        start.wait()
        rows = slice(at * 30, at * 30 + 50)
        return all(layer[rows].values.tobytes() == whole[rows].tobytes() for _ in range(5))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(part, range(4)))


def test_layers_pickle_with_functions_of_every_kind(image: xr.DataArray) -> None:
    shift = 5
    for func in (ndvi, np.sqrt, lambda a: a + shift):
        layer = gx.map(func, image)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(layer)).values, layer.values)


def test_a_function_that_cannot_be_sent_is_named(image: xr.DataArray) -> None:
    lock = threading.Lock()

    def guarded(a: np.ndarray) -> np.ndarray:
        with lock:
            return a

    layer = gx.map(guarded, image)
    with pytest.raises(gx.errors.ArgumentError, match=r"guarded cannot be sent.*top of a module"):
        pickle.dumps(layer)


def scaled(image: np.ndarray, by: float) -> np.ndarray:
    return image * by


def test_another_function_is_another_token(image: xr.DataArray) -> None:
    def token(func: object) -> str:
        return dask.base.tokenize(resolve(gx.map(func, image)).reader)  # type: ignore[arg-type]

    assert token(ndvi) == token(ndvi) != token(double)
    assert token(lambda a: a + 1) != token(lambda a: a + 2)
    by = [token(lambda a, k=k: a * k) for k in (2, 3)]
    within = [token(functools.partial(scaled, by=k)) for k in (2, 3)]
    assert len({*by, *within}) == 4
    assert token(functools.partial(scaled, by=2)) == within[0]
    assert gx.map(functools.partial(scaled, by=2), image).dtype == "uint16"


def test_tokens_are_the_same_in_every_process() -> None:
    code = (
        "import dask, geoxr.derive.call as c; "
        "f = lambda a: a if 'x' in {'x', 'yy', 'z', 'abc'} else -a; "
        "print(dask.base.tokenize(c.Call(f, (('y', 'x'),), ('y', 'x'), None)))"
    )
    tokens = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in (1, 2)
    }  # fmt: skip
    assert len(tokens) == 1


def test_dask_computes_the_same(image: xr.DataArray) -> None:
    layer = gx.map(ndvi, image)
    xr.testing.assert_identical(layer.geoxr.chunk(64).compute(), layer.compute())


def test_scales_of_the_operands_are_not_those_of_the_result(image: xr.DataArray) -> None:
    facts = {"scale": ("band", [0.1, 0.2, 0.3]), "units": ("band", ["m", "m", "K"])}
    packed = image.assign_coords(facts)
    doubled = gx.map(lambda a: a * 2, packed, dtype="uint16")
    assert not set(facts) & set(doubled.coords)
    single = gx.map(lambda a: a * 2, packed.isel(band=0), units="km", name="double")
    assert not set(facts) & set(single.coords)
    assert single.attrs["units"] == "km"


def test_arrays_of_others_are_mapped_and_masked(image: xr.DataArray) -> None:
    """Dimensions called Band, lat and lon, the CRS in a coordinate of another name."""
    crs = xr.DataArray(0, attrs={"crs_wkt": image.geoxr.crs.to_wkt()})
    whole = xr.DataArray(image.values, image.drop_vars("spatial_ref").coords, image.dims)
    others = whole.rename(band="Band", y="lat", x="lon").assign_coords(crs=crs)
    others.encoding["grid_mapping"] = "crs"
    summed = gx.map(lambda a, b: a[0] + b[0], image, others)
    np.testing.assert_array_equal(summed.values, (2 * image.values)[0])
    alone = gx.map(lambda a: a.max(axis=0), others)
    assert (alone.dims, alone.geoxr.crs) == (("y", "x"), image.geoxr.crs)
    np.testing.assert_array_equal(alone.values, image.values.max(axis=0))
    keep = gx.qa_mask(others.isel(Band=0), values=[0])
    assert keep.geoxr.geobox == image.geoxr.geobox
    np.testing.assert_array_equal(keep.values, image.values[0] != 0)
    np.testing.assert_array_equal(
        image.geoxr.mask(keep).geoxr.valid.values, image.geoxr.valid.values
    )

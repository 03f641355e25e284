"""Other classes for label rasters."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import geoxr as gx
from geoxr.io.resolve import resolve
from geoxr.testing import LandsatCDL, write_geotiff


def looked_up(codes: np.ndarray, table: dict[int, int], other: int) -> np.ndarray:
    return np.vectorize(lambda code: table.get(int(code), other), otypes=["int64"])(codes)


def test_codes_become_others_and_the_rest_missing(labels: xr.DataArray) -> None:
    layer = labels.geoxr.remap({1: 7, 2: 7, 5: 9})
    np.testing.assert_array_equal(layer.values, looked_up(labels.values, {1: 7, 2: 7, 5: 9}, 255))
    assert (layer.dtype, layer.geoxr.nodata, layer.geoxr.kind) == ("uint8", 255, "categorical")
    assert layer.geoxr.classes.values == (7, 9)
    assert layer.geoxr.classes.names == ("7", "Water")
    assert layer.geoxr.classes.colors[1] == labels.geoxr.classes.colors[4]
    assert resolve(layer).slow is None
    assert labels.geoxr.classes.names[0] == "Corn"


def test_names_gather_codes_and_names(labels: xr.DataArray) -> None:
    layer = labels.geoxr.remap(
        {"crops": ["Corn", 2], "woods": "Forest", "other": [0, *range(6, 10)]}
    )
    table = {1: 0, 2: 0, 3: 1, 0: 2, 6: 2, 7: 2, 8: 2, 9: 2}
    np.testing.assert_array_equal(layer.values, looked_up(labels.values, table, 255))
    assert layer.geoxr.classes.names == ("crops", "woods", "other")
    with pytest.raises(gx.errors.ClassesError, match="no class 'Rice'; it has Corn, Soybeans"):
        labels.geoxr.remap({"crops": ["Rice"]})
    with pytest.raises(gx.errors.ClassesError, match="code 1 is in two"):
        labels.geoxr.remap({"a": [1], "b": [1, 2]})


def test_classes_choose_what_stays(labels: xr.DataArray) -> None:
    chosen = gx.Classes.of({5: "Water", 1: "Corn"})
    layer = labels.geoxr.remap(chosen)
    assert layer.geoxr.classes == chosen
    np.testing.assert_array_equal(layer.values, looked_up(labels.values, {1: 1, 5: 5}, 255))


def test_other_codes_stay_become_a_code_or_raise(labels: xr.DataArray) -> None:
    missing = labels.values == 255
    kept = labels.geoxr.remap({9: 1}, default="keep")
    np.testing.assert_array_equal(kept.values, np.where(labels.values == 9, 1, labels.values))
    assert kept.geoxr.classes == labels.geoxr.classes and kept.geoxr.nodata == 255
    renamed = labels.geoxr.remap(gx.Classes.of({1: "Maize"}), default="keep")
    assert renamed.geoxr.classes.names == ("Maize", "Soybeans", "Forest", "Pasture", "Water")
    with pytest.raises(gx.errors.ArgumentError, match="Say which codes they get"):
        labels.geoxr.remap({"crops": [1, 2]}, default="keep")
    zero = labels.geoxr.remap({1: 1, 2: 2}, default=0)
    expected = np.where(missing, 255, looked_up(labels.values, {1: 1, 2: 2}, 0))
    np.testing.assert_array_equal(zero.values, expected)
    assert zero.geoxr.classes.names == ("Corn", "Soybeans", "other")
    strict = labels.geoxr.remap({code: code for code in range(9)}, default="error")
    with pytest.raises(gx.errors.ClassesError, match="'labels' has the code 9, which is none"):
        _ = strict.values
    assert (labels.geoxr.remap({c: c for c in range(10)}, default="error").values == labels).all()


def test_the_type_grows_with_the_codes(labels: xr.DataArray, unmarked: xr.DataArray) -> None:
    wide = labels.geoxr.remap({1: 1000, 2: -5}, classes={1000: "a", -5: "b"})
    assert (wide.dtype, wide.geoxr.nodata) == ("int16", 255)
    np.testing.assert_array_equal(wide.values, looked_up(labels.values, {1: 1000, 2: -5}, 255))
    full = unmarked.geoxr.remap({code: code for code in range(256)})
    assert (full.dtype, full.geoxr.nodata) == ("int16", 32767)
    np.testing.assert_array_equal(full.values, unmarked.values)
    assert unmarked.geoxr.remap({3: 0}, default=1).geoxr.nodata is None


def test_class_ids_count_in_training(labels: xr.DataArray) -> None:
    ds = gx.merge({"mask": labels.geoxr.remap({"water": 5, "crops": [1, 2]})})
    batch = next(iter(ds.geoxr.to_torch(ds.geoxr.grid_chips(50), batch_size=12)))
    counts = {int(value): int((batch["mask"] == value).sum()) for value in batch["mask"].unique()}
    codes = labels.values
    assert counts[0] == (codes == 5).sum() and counts[1] == np.isin(codes, [1, 2]).sum()
    assert set(counts) == {-100, 0, 1}


def test_a_warped_label_is_the_warp_of_the_remapped(farmland: LandsatCDL) -> None:
    label = gx.open_product("cdl", farmland.cdl)
    groups = {"corn": "Corn", "soy": "Soybeans"}
    first = label.geoxr.remap(groups).geoxr.reproject("EPSG:32615")
    then = label.geoxr.reproject("EPSG:32615").geoxr.remap(groups)
    np.testing.assert_array_equal(first.values, then.values)


def test_bad_mappings_are_named(labels: xr.DataArray, image: xr.DataArray) -> None:
    with pytest.raises(gx.errors.ArgumentError, match="is float32; class codes are integers"):
        image.geoxr.astype("float32").geoxr.remap({1: 2})
    with pytest.raises(gx.errors.ArgumentError, match="no class code"):
        labels.geoxr.remap({1: 0.5})  # type: ignore[dict-item]
    with pytest.raises(gx.errors.ArgumentError, match="no class code"):
        labels.geoxr.remap({1: 2, "a": 3})  # type: ignore[dict-item]
    with pytest.raises(gx.errors.ArgumentError, match=r"must be {old code"):
        labels.geoxr.remap({})
    with pytest.raises(gx.errors.ArgumentError, match='must be "nodata"'):
        labels.geoxr.remap({1: 2}, default="drop")  # type: ignore[arg-type]
    with pytest.raises(gx.errors.ClassesError, match="does not name the new codes"):
        labels.geoxr.remap({1: 2, 3: 4}, classes={2: "two"})
    with pytest.raises(gx.errors.ClassesError, match=r"None of the codes \[300\] can be a pixel"):
        labels.geoxr.remap({300: 1})


@settings(max_examples=60, deadline=None)
@given(
    codes=st.sampled_from(["bool", "uint8", "int8", "int16", "uint16", "int32", "uint32"]).flatmap(
        lambda name: npst.arrays(name, (2, 3))
    ),
    data=st.data(),
    default=st.sampled_from(["nodata", 7]),
)
def test_any_type_and_any_mapping(codes: np.ndarray, data: st.DataObject, default: object) -> None:
    present = [int(code) for code in np.unique(codes)]
    olds = data.draw(st.lists(st.sampled_from(present), min_size=1, unique=True))
    table = {old: data.draw(st.integers(-300, 70_000)) for old in olds}
    layer = xr.DataArray(codes, {"y": [1.5, 0.5], "x": [0.5, 1.5, 2.5]}, ("y", "x"))
    result = layer.geoxr.remap({**table, 65_535: 1} if -1 in table else table, default=default)
    other = result.geoxr.nodata if default == "nodata" else 7
    np.testing.assert_array_equal(result.values, looked_up(codes, table, other))
    known = np.isin(codes.astype("int64"), list(table))
    np.testing.assert_array_equal(result.geoxr.valid.values, known | (default == 7))


def test_pickles_are_small_and_read_the_same(labels: xr.DataArray) -> None:
    layer = labels.geoxr.remap({"crops": [1, 2]})
    _ = layer.values
    data = pickle.dumps(layer)
    assert len(data) < 12_000
    xr.testing.assert_identical(pickle.loads(data).compute(), layer.compute())


def test_signed_codes_of_a_file(tmp_path: Path, rng: np.random.Generator) -> None:
    codes = rng.integers(-1, 2, (30, 40), dtype="int16")
    affine = Affine(10, 0, 500_000, 0, -10, 5_200_000)
    path = write_geotiff(tmp_path / "f.tif", codes, crs=32633, transform=affine, nodata=-1)
    water = gx.open_raster(path, kind="categorical").geoxr.remap({"dry": 0, "water": 1})
    assert water.geoxr.nodata == -1
    np.testing.assert_array_equal(water.values[0], codes)

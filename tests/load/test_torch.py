import threading
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import geoxr as gx
from geoxr.testing import LandsatCDL


@pytest.fixture(scope="module")
def ds(farmland: LandsatCDL) -> xr.Dataset:
    image = gx.open_product("landsat8-l2-sr", farmland.scenes, time="collapse", crs="auto")
    merged = gx.merge({"image": image, "mask": gx.open_product("cdl", farmland.cdl)}, like="mask")
    merged["mask"] = merged["mask"].geoxr.write_classes(merged["mask"].geoxr.present_classes())
    return merged


def test_batches_hold_the_pixels_of_their_chips(ds: xr.Dataset) -> None:
    """Judge: the whole Dataset in memory, sliced by NumPy."""
    now = ds.compute()
    image, mask = now["image"].values, now["mask"].values
    values = ds["mask"].geoxr.classes.values
    plan = ds.geoxr.random_chips(40, 50, seed=4)
    seen = 0
    for batch in ds.geoxr.to_torch(plan, batch_size=16, fill=-7.0):
        assert batch["image"].dtype == torch.float32
        assert batch["mask"].dtype == torch.int64
        for k, index in enumerate(batch["index"].tolist()):
            chip = plan[seen + k]
            assert chip.index == index
            rows, cols = chip.window.slices
            good = (image[:, rows, cols] != 0).all(axis=0)
            known = mask[rows, cols] != 0
            expected = np.where(good, image[:, rows, cols], -7.0)
            np.testing.assert_array_equal(batch["image"][k].numpy(), expected)
            np.testing.assert_array_equal(batch["valid_image"][k].numpy(), good)
            np.testing.assert_array_equal(batch["valid_mask"][k].numpy(), known)
            np.testing.assert_array_equal(batch["valid"][k].numpy(), good & known)
            codes = np.where(known, np.searchsorted(values, mask[rows, cols]), -100)
            np.testing.assert_array_equal(batch["mask"][k].numpy(), codes)
            np.testing.assert_allclose(batch["bounds"][k].numpy(), chip.bounds)
        seen += len(batch["index"])
    assert seen == 50


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_batches_are_the_same_for_any_number_of_threads(ds: xr.Dataset, threads: int) -> None:
    plan = ds.geoxr.random_chips(32, 21, seed=1)
    first = list(ds.geoxr.to_torch(plan, batch_size=4, threads=1))
    other = list(ds.geoxr.to_torch(plan, batch_size=4, threads=threads))
    assert len(first) == len(other) == 6
    for a, b in zip(first, other, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_loader_starts_over_with_fresh_draws(ds: xr.Dataset) -> None:
    loader = ds.geoxr.to_torch(ds.geoxr.random_chips(32, 8, seed=1), batch_size=8)
    first, second = next(iter(loader))["bounds"], next(iter(loader))["bounds"]
    assert not torch.equal(first, second)
    loader.set_epoch(0)
    assert torch.equal(next(iter(loader))["bounds"], first)
    assert len(loader) == 1


def test_shuffling_deals_all_chips_in_another_order(ds: xr.Dataset) -> None:
    plan = ds.geoxr.grid_chips(64)
    loader = ds.geoxr.to_torch(plan, batch_size=3, shuffle=True, seed=5)
    orders = [torch.cat([batch["index"] for batch in loader]).tolist() for _ in range(2)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(len(plan)))
    assert orders[0] != orders[1] != list(range(len(plan)))


def test_an_early_break_leaves_no_thread(ds: xr.Dataset) -> None:
    loader = ds.geoxr.to_torch(ds.geoxr.random_chips(32, 60), batch_size=4, threads=3)
    for _ in loader:
        break
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("geoxr-load")]


def test_kept_batches_do_not_change(ds: xr.Dataset) -> None:
    loader = ds.geoxr.to_torch(ds.geoxr.grid_chips(48), batch_size=2)
    kept = list(loader)
    copies = [
        batch["image"].clone() for batch in ds.geoxr.to_torch(ds.geoxr.grid_chips(48), batch_size=2)
    ]
    assert all(torch.equal(batch["image"], copy) for batch, copy in zip(kept, copies, strict=True))


def test_without_batch_size_it_is_a_map_style_dataset(ds: xr.Dataset) -> None:
    plan = ds.geoxr.random_chips(32, 9, seed=2)
    chips = ds.geoxr.to_torch(plan)
    batch = next(iter(ds.geoxr.to_torch(plan, batch_size=9)))
    assert len(chips) == 9
    for k in (0, 5, 8):
        assert torch.equal(chips[k]["image"], batch["image"][k])
        assert torch.equal(chips[k]["mask"], batch["mask"][k])
    loader = torch.utils.data.DataLoader(chips, batch_size=9, num_workers=0)
    assert torch.equal(next(iter(loader))["image"], batch["image"])
    with pytest.raises(IndexError, match="out of range"):
        chips[9]


def test_variables_join_on_the_channel_axis(ds: xr.Dataset) -> None:
    two = ds["image"].isel(band=slice(0, 2)).drop_vars(["band", "common_name", "wavelength"])
    both = xr.Dataset({"a": two, "mask": ds["mask"]})
    both["b"] = both["a"]
    batch = next(
        iter(
            both.geoxr.to_torch(
                both.geoxr.grid_chips(64), batch_size=2, concat={"image": ["a", "b"]}
            )
        )
    )
    assert batch["image"].shape == (2, 4, 64, 64)
    assert torch.equal(batch["image"][:, :2], batch["image"][:, 2:])
    with pytest.raises(gx.errors.ArgumentError, match=r"concat names \['c'\]"):
        both.geoxr.to_torch(both.geoxr.grid_chips(64), batch_size=2, concat={"image": ["c"]})


def test_native_types_are_those_of_the_files(ds: xr.Dataset) -> None:
    batch = next(iter(ds.geoxr.to_torch(ds.geoxr.grid_chips(64), batch_size=2, dtype="native")))
    assert batch["image"].dtype == torch.uint16
    assert batch["mask"].dtype == torch.uint8


def test_dates_become_an_axis(farmland: LandsatCDL) -> None:
    series = gx.open_product("landsat8-l2-sr", farmland.scenes, crs="auto")
    ds = series.to_dataset(name="image")
    batch = next(iter(ds.geoxr.to_torch(ds.geoxr.grid_chips(64), batch_size=3)))
    assert batch["image"].shape == (3, 2, 7, 64, 64)


def test_codes_outside_the_classes_raise(ds: xr.Dataset) -> None:
    few = ds.assign(mask=ds["mask"].geoxr.write_classes({1: "Corn", 5: "Soybeans"}))
    with pytest.raises(
        gx.errors.ClassesError, match=r"'mask' has the values .* none of its 2 classes"
    ):
        list(few.geoxr.to_torch(few.geoxr.grid_chips(64), batch_size=8))


def test_the_slow_path_is_right_and_says_so(ds: xr.Dataset) -> None:
    plan = ds.geoxr.grid_chips(64)
    expected = next(iter(ds.geoxr.to_torch(plan, batch_size=4)))
    chunked = ds.geoxr.chunk(100)
    with pytest.warns(UserWarning, match="is read through xarray .* dask") as told:
        slow = chunked.geoxr.to_torch(plan, batch_size=4)
    assert {str(w.message).split("'")[1] for w in told} == set(ds.data_vars)
    for name, values in next(iter(slow)).items():
        assert torch.equal(values, expected[name])
    # Once numbers are computed of the chunks, what nodata means must be said again.
    computed = chunked.assign(image=chunked["image"] + 0)
    with pytest.raises(gx.errors.ValidityError, match="write_nodata"):
        computed.geoxr.to_torch(plan, batch_size=4)
    marked = computed["image"].geoxr.write_nodata(ds["image"].attrs["nodata"])
    with pytest.warns(UserWarning, match="is read through xarray"):
        slow = computed[["image"]].assign(image=marked).geoxr.to_torch(plan, batch_size=4)
    assert torch.equal(next(iter(slow))["image"], expected["image"])


def test_a_transposed_layer_gives_the_same_batches(ds: xr.Dataset) -> None:
    plan = ds.geoxr.grid_chips(64)
    turned = ds.assign(image=ds["image"].transpose("x", "y", "band"))
    for before, after in zip(
        ds.geoxr.to_torch(plan, batch_size=4),
        turned.geoxr.to_torch(plan, batch_size=4),
        strict=True,
    ):
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_padded_chip_is_invalid_outside(ds: xr.Dataset) -> None:
    plan = ds.geoxr.grid_chips(100, edge="pad")
    batch = list(ds.geoxr.to_torch(plan, batch_size=4))[-1]
    assert not batch["valid"][-1, -1, -1]
    assert batch["image"][-1, :, -1, -1].abs().sum() == 0
    assert batch["mask"][-1, -1, -1] == -100


def test_no_dask_graph_on_the_way_to_batches(
    ds: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dask.array

    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("a dask graph was built")

    monkeypatch.setattr(dask.array.Array, "__new__", fail)
    assert len(list(ds.geoxr.to_torch(ds.geoxr.grid_chips(64), batch_size=8))) > 0


def test_stats_are_those_of_the_valid_pixels(ds: xr.Dataset) -> None:
    plan = ds.geoxr.grid_chips(32, edge="drop")
    stats = gx.stats(ds, plan)
    image = ds["image"].values.astype(float)
    parts = np.concatenate([image[:, *chip.window.slices].reshape(7, -1) for chip in plan], axis=1)
    good = (parts != 0).all(axis=0)
    np.testing.assert_allclose(stats.mean, parts[:, good].mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(stats.std, parts[:, good].std(axis=1), rtol=1e-3)


def test_single_band_quantities_keep_no_channel_axis(tmp_path: Path, utm_image: Path) -> None:
    height = gx.open_raster(utm_image).isel(band=0, drop=True).to_dataset(name="height")
    batch = next(iter(height.geoxr.to_torch(height.geoxr.grid_chips(50), batch_size=2)))
    assert batch["height"].shape == (2, 50, 50)
    assert set(batch) == {"height", "valid", "bounds", "index"}


def test_names_that_batches_use_are_refused(ds: xr.Dataset) -> None:
    named = ds.rename(mask="index")
    with pytest.raises(gx.errors.ArgumentError, match=r"\['index'\] would hide"):
        named.geoxr.to_torch(named.geoxr.grid_chips(64), batch_size=2)


def test_a_comparison_makes_labels(ds: xr.Dataset) -> None:
    near_infrared = ds["image"].isel(band=4, drop=True).geoxr.write_nodata(0).load()
    bright = xr.Dataset({"mask": near_infrared > 12_000})
    batch = next(iter(bright.geoxr.to_torch(bright.geoxr.grid_chips(64), batch_size=2)))
    assert batch["mask"].dtype == torch.int64
    assert set(batch["mask"].unique().tolist()) <= {0, 1}


def rank_of_two(rank: int, address: str, data: str, out: str) -> None:
    """Run in a process of its own: shares chips, but predicts and measures everything."""
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    ds = gx.open_zarr(data)
    plan = ds.geoxr.grid_chips(64)
    loader = ds.geoxr.to_torch(plan, batch_size=2)
    seen = torch.cat([batch["index"] for batch in loader])
    pred = ds.geoxr.predict(lambda image: image[:, :2], size=50, batch_size=2)
    result = {"seen": seen, "length": len(loader), "mask": torch.from_numpy(pred["mask"].values)}
    torch.save(result | {"mean": torch.tensor(gx.stats(ds, plan).mean)}, f"{out}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_share_chips_and_predict_alike(ds: xr.Dataset, tmp_path: Path) -> None:
    import torch.multiprocessing as mp

    ds.geoxr.to_zarr(tmp_path / "c.zarr", chunks=64)
    address = f"file://{tmp_path / 'meeting'}"
    mp.spawn(rank_of_two, (address, str(tmp_path / "c.zarr"), str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    plan = ds.geoxr.grid_chips(64)
    assert first["length"] == second["length"]
    assert len(first["seen"]) == len(second["seen"]) == -(-len(plan) // 2)
    assert set(first["seen"].tolist()) | set(second["seen"].tolist()) == set(range(len(plan)))
    alone = ds.geoxr.predict(lambda image: image[:, :2], size=50, batch_size=2)["mask"].values
    np.testing.assert_array_equal(first["mask"].numpy(), alone)
    np.testing.assert_array_equal(second["mask"].numpy(), alone)
    assert torch.equal(first["mean"], second["mean"])

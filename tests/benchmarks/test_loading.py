"""The benchmark of loading, small: what it compares is the same, and what it says follows from it."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import formats, loading
from benchmarks.race.case import CHIP, Case, caching, required, sizes_and_orders, without
from benchmarks.race.clock import measure
from benchmarks.race.layers import cube_of, make_data, open_layers, write_cube
from benchmarks.race.loaders import Setup, batches_of
from benchmarks.race.peer import Peer
from benchmarks.race.places import asked_for, plan_chips
from benchmarks.race.report import memory_bound, table, verdicts

#: Stands in for the script that measures TorchGeo.
SCRIPT = """
import json, sys
given = dict(zip(sys.argv[2::2], sys.argv[3::2]))
if given["--samplers"] == "grid":
    sys.exit("no grid today")
if "--queries" in given:
    with open(given["--queries"], "w") as out:
        for left in (0, 600):
            bounds = [{left} + left, {top} - 1934, {left} + left + 1920, {top} - 14]
            out.write(json.dumps(dict(sampler=given["--samplers"], bounds=bounds)) + "\\n")
else:
    row = dict(patches=int(given["--patches"]), seconds=2.0, rate=8.0, first_batch_s=1.0,
               rate_steady=int(given["--seed"]) + 1.0, cpu_ms_per_patch=50.0, peak_anon_mb=1,
               checksum=0, version="0")
    print("noise")
    print(json.dumps(row))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_data(tmp_path_factory.mktemp("race"), 256)
    write_cube(root, cube_of(root))
    return root


def figures(rate: float, cpu: float, memory: int = 100) -> dict[str, float]:
    return {
        "rate_steady": rate, "cpu_ms_per_chip": cpu, "peak_anon_mb": memory, "start_anon_mb": 90,
        "batch_mb": 4.0,
    }  # fmt: skip


def images(case: Case, root: Path) -> np.ndarray:
    batches = batches_of(case, Setup(root, chips=8, size=64))()
    return np.concatenate([batch["image"].numpy().copy() for batch in batches])


def test_every_loader_delivers_the_same_pixels(root: Path) -> None:
    """Judge: rioxarray, up to the few pixels that GDAL's approximation moves by one."""
    case = Case(batch_size=4)
    ours = images(case, root)
    np.testing.assert_array_equal(images(replace(case, system="memory"), root), ours)
    gdal = images(replace(case, system="rioxarray"), root)
    assert gdal.shape == ours.shape == (8, 7, 64, 64)
    assert ours.any()
    assert (gdal == ours).mean() > 0.99


@pytest.mark.parametrize("data", ["deflate", "multiband", "pre", "zarr"])
def test_all_variants_hold_the_same_scenes(root: Path, data: str) -> None:
    """What was warped beforehand was warped by GDAL, and lies on all of the labels."""
    raw, other = (open_layers(root, variant, "nearest") for variant in ("raw", data))
    other = other.sel(y=raw["y"], x=raw["x"])
    same = other["image"].values == raw["image"].values
    assert same.mean() > (0.95 if data in ("pre", "zarr") else 1 - 1e-12)
    np.testing.assert_array_equal(other["mask"].values, raw["mask"].values)


def test_xbatcher_delivers_chips_of_the_grid(root: Path) -> None:
    case = Case(order="grid", system="xbatcher", batch_size=4)
    chips = images(case, root)
    held = open_layers(root, "raw", "nearest")["image"].values
    np.testing.assert_array_equal(chips[0], held[:, :64, :64])
    np.testing.assert_array_equal(chips[1], held[:, :64, 32:96])


def test_chips_of_the_peer_are_moved_by_less_than_a_pixel(root: Path, tmp_path: Path) -> None:
    ds = open_layers(root, "raw", "nearest")
    left, _, _, top = ds.geoxr.bounds
    asked = [(left + 100.2, top - 1000.0), (left + 14.9, top - 15.1)]
    rows = [
        {"sampler": order, "bounds": [x, y - 1920, x + 1920, y]}
        for order in ("grid", "random") for x, y in asked
    ]  # fmt: skip
    queries = tmp_path / "chips.jsonl"
    queries.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    plan = asked_for(ds, queries, "random", 64)
    assert len(plan) == 2
    for chip, (x, y) in zip(plan, asked, strict=True):
        assert chip.bounds[0] == pytest.approx(x, abs=15.01)
        assert chip.bounds[3] == pytest.approx(y, abs=15.01)


@pytest.mark.parametrize("order", ["random", "batch", "grid"])
def test_a_plan_has_as_many_chips_as_asked_for(root: Path, order: str) -> None:
    ds = open_layers(root, "raw", "nearest")
    plan = plan_chips(ds, Case(order=order, batch_size=4), 10, 0, None, 64)
    assert (len(plan), plan.size) == (10, (64, 64))


def test_rates_leave_out_the_first_batch() -> None:
    def batches():
        for _ in range(3):
            yield {"mask": torch.ones((4, 64, 64), dtype=torch.int64)}

    found = measure(batches())
    assert found.chips == 12
    assert found.checksum == 12 * 2 * 2
    assert found.rate_steady == pytest.approx(8 / (found.seconds - found.first_batch_s))
    assert found.batch_mb == pytest.approx(4 * 64 * 64 * 8 / 2**20)


def test_ratios_are_those_within_a_round() -> None:
    case = Case()
    runs = {
        case: [figures(35, 2), figures(90, 2), None],
        case.peer: [figures(1, 50), figures(2, 50), figures(9, 50)],
    }
    said = verdicts(runs, cache_mb=0)
    assert "raw random: w0, wall" in said
    assert "40.00 [35.00-45.00]" in said
    assert "MISS" not in said
    slower = {case: [figures(34, 2)], case.peer: [figures(1, 50)]}
    assert "34.00 [34.00-34.00]      35  MISS" in verdicts(slower, cache_mb=0)
    row = table(runs).splitlines()[1]
    assert "25.0 [25.0-25.0]" in row
    assert row.endswith("FAILED")


def test_more_memory_than_promised_is_told() -> None:
    case = Case(workers=2)
    assert memory_bound(case, figures(1, 1), 10) == 90 + 5 * 4 + 10 + 4
    assert "MISS" not in verdicts({case: [figures(1, 1, memory=124)]}, 10)
    assert "memory: geoxr" in verdicts({case: [figures(1, 1, memory=125)]}, 10)


def test_each_case_is_measured_once_and_without_a_peer_the_rest() -> None:
    groups = without(
        [*required(["raw"]), *sizes_and_orders([32, 64], [0]), *caching([32])], peer=True
    )
    cases = [case for group in groups for case in group]
    assert len(cases) == len(set(cases))
    assert {case.system for case in cases} == {"geoxr", "torchgeo"}
    alone = [case for group in without(groups, peer=False) for case in group]
    assert {(case.system, case.places) for case in alone} == {("geoxr", "own")}


def test_a_run_goes_on_where_it_stopped_and_is_reported(root: Path, tmp_path: Path) -> None:
    ds = open_layers(root, "raw", "nearest")
    left, _, _, top = ds.geoxr.bounds
    script = tmp_path / "peer.py"
    text = SCRIPT.replace("{left}", repr(left)).replace("{top}", repr(top))
    script.write_text(text, encoding="utf-8")
    bench = loading.Bench(root, Peer(Path(sys.executable), script), 4, 4, 64, tmp_path, 64)
    case, log = Case(batch_size=2), tmp_path / "measurements.jsonl"
    peers = replace(case, places="peer")
    loading.run(bench, [(peers, case.peer)], 1, log)
    loading.run(bench, [(peers, case.peer)], 1, log)
    runs = loading.runs_of(log)
    assert list(runs) == [peers, case.peer]
    assert [len(rows) for rows in runs.values()] == [1, 1]
    assert runs[peers][0]["chips"] == 2
    assert runs[case.peer][0]["rate_steady"] == 1.0
    broken = replace(case, order="grid").peer
    loading.run(bench, [(broken,)], 1, log)
    assert loading.runs_of(log)[broken] == [None]
    loading.report(bench, log)
    found = json.loads((tmp_path / "loading.json").read_text())
    assert len(found["measurements"]) == 3
    assert "TorchGeo failed:\nno grid today" in found["measurements"][2]["error"]
    assert (tmp_path / "loading.png").stat().st_size > 10_000
    assert "FAILED" in (tmp_path / "loading.txt").read_text()


def test_the_command_line_chooses_what_runs() -> None:
    quick = loading.groups_of(loading.parse([]))
    peer = ["--peer-python", "p", "--peer-script", "s"]
    full = loading.groups_of(loading.parse(["--full", *peer]))
    sizes = {case.batch_size for group in full for case in group}
    assert sizes == {16, 32, 64, 128, 256, 512}
    assert {case.system for group in quick for case in group} == {
        "geoxr", "rioxarray", "xbatcher", "memory",
    }  # fmt: skip
    assert loading.parse([]).chip_size == CHIP


@pytest.mark.parametrize("row", formats.ROWS[:2], ids=lambda row: row.name)
def test_formats_are_read_through_torch_and_alone(root: Path, row: formats.Row) -> None:
    found = formats.compare(row, root, chips=4, size=64, rounds=2)
    assert {name: len(times) for name, times in found.items()} == {
        "to_torch": 2, "alone": 2, "native": 2,
    }  # fmt: skip
    assert all(time > 0 for times in found.values() for time in times)
    assert row.name in formats.line(row.name, found)


def test_somebodys_own_arrays_are_the_pixels_of_the_files(root: Path) -> None:
    ds = open_layers(root, "pre", "nearest")
    for own in (formats.in_memory(root), formats.in_dask(root)):
        np.testing.assert_array_equal(own["image"].values, ds["image"].values)
        np.testing.assert_array_equal(own["mask"].values, ds["mask"].values)

"""Chips in worker processes of torch, in Lightning, and shared among processes that train together."""

import json
import subprocess
import sys
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
import xarray as xr
from affine import Affine
from torch.utils.data import DataLoader

import geoxr as gx
from geoxr.load.dataset import ChipDataset
from geoxr.sample.chip import ChipPlan
from geoxr.testing import write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.random.default_rng(0).integers(1, 5000, (2, 300, 400), dtype="uint16")
    pixels[:, 100:110] = 0
    target = tmp_path_factory.mktemp("workers") / "image.tif"
    return write_geotiff(target, pixels, crs=32633, transform=UTM, nodata=0, compress="deflate")


@pytest.fixture(scope="module")
def ds(path: Path) -> xr.Dataset:
    return gx.open_raster(path).geoxr.reproject("EPSG:3035", resolution=11).to_dataset(name="image")


def plans(ds: xr.Dataset) -> list[ChipPlan]:
    return [
        ds.geoxr.random_chips(40, 14, seed=1, min_valid=0.5),
        ds.geoxr.grid_chips(64, stride=50)[:14],
        ds.geoxr.random_batch_chips(40, 14, batch_size=4, seed=2),
        ds.geoxr.triplet_chips(32, 14, near=500, far=1000, seed=3),
    ]


@pytest.mark.parametrize("start", [None, "fork", "forkserver", "spawn"])
def test_worker_processes_load_what_a_loader_does(ds: xr.Dataset, start: str | None) -> None:
    for plan in plans(ds) if start in (None, "fork") else plans(ds)[:1]:
        expected = list(ds.geoxr.to_torch(plan, batch_size=4, threads=0))
        workers = {} if start is None else {"num_workers": 2, "multiprocessing_context": start}
        loader = DataLoader(ds.geoxr.to_torch(plan), batch_size=4, **workers)
        batches = list(loader)
        assert len(batches) == len(expected)
        for batch, wanted in zip(batches, expected, strict=True):
            assert batch.keys() == wanted.keys()
            assert all(torch.equal(batch[name], wanted[name]) for name in batch)


def test_chips_one_by_one(ds: xr.Dataset) -> None:
    chips = ds.geoxr.to_torch(plans(ds)[0], transform=lambda b: {**b, "image": b["image"] + 1})
    assert isinstance(chips, ChipDataset)
    assert len(chips) == 14
    assert chips[0]["image"].shape == (2, 40, 40)
    assert torch.equal(chips[-1]["image"], chips[13]["image"])
    several = chips.__getitems__([5, 0, 5])
    assert torch.equal(several[1]["image"], chips[0]["image"])
    assert torch.equal(several[0]["bounds"], several[2]["bounds"])
    with pytest.raises(IndexError, match="out of range"):
        chips[14]
    first = chips[0]["bounds"]
    chips.set_epoch(1)
    assert not torch.equal(chips[0]["bounds"], first)


class Mean(L.LightningModule):
    """Learns the mean, and remembers which chips it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[float]] = []

    def training_step(self, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
        self.seen.append(batch["bounds"][:, 0].tolist())
        return (batch["image"].mean() / 5000 - self.mean).square()

    def validation_step(self, batch: dict[str, torch.Tensor], index: int) -> None:
        self.log("error", (batch["image"].mean() / 5000 - self.mean).abs())

    def predict_step(self, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
        return batch["index"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(folder: Path, **more: object) -> L.Trainer:
    options = {
        "accelerator": "cpu", "logger": False, "enable_checkpointing": False,
        "enable_progress_bar": False, "enable_model_summary": False, "default_root_dir": folder,
        "num_sanity_val_steps": 0,
    }  # fmt: skip
    return L.Trainer(**{**options, **more})  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_lightning_trains_validates_and_predicts(ds: xr.Dataset, tmp_path: Path) -> None:
    model = Mean()
    train = ds.geoxr.to_torch(plans(ds)[0], batch_size=4, shuffle=True)
    grid = ds.geoxr.to_torch(plans(ds)[1], batch_size=5)
    trainer(tmp_path, max_epochs=2).fit(model, train, grid)
    assert len(model.seen) == 2 * 4
    assert model.seen[:4] != model.seen[4:]  # fresh draws
    assert 0 < float(model.mean.detach()) < 1
    predicted = trainer(tmp_path).predict(model, grid)
    assert predicted is not None
    assert torch.cat(predicted).tolist() == list(range(14))


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*no `val_dataloader`", "ignore:Be aware"
)
def test_lightning_goes_on_in_mid_epoch(ds: xr.Dataset, tmp_path: Path) -> None:
    def loader() -> object:
        return ds.geoxr.to_torch(plans(ds)[0], batch_size=2)

    save = L.pytorch.callbacks.ModelCheckpoint(
        tmp_path, "{step}", every_n_train_steps=3, save_top_k=-1
    )
    whole, second = Mean(), Mean()
    run = trainer(tmp_path, max_epochs=2, callbacks=[save], enable_checkpointing=True)
    run.fit(whole, loader())
    assert len(whole.seen) == 14
    more = trainer(tmp_path, max_epochs=2)
    more.fit(second, loader(), ckpt_path=tmp_path / "step=3.ckpt", weights_only=False)
    assert second.seen == whole.seen[3:]
    assert float(second.mean.detach()) == float(whole.mean.detach())


DDP = """
import json, sys
import geoxr.tasks  # makes torchvision importable, which lightning needs
sys.path.insert(0, sys.argv[3])
import geoxr as gx
from test_workers import Mean, trainer
import pathlib

if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[2])
    ds = gx.open_raster(sys.argv[1]).to_dataset(name="image")
    loader = ds.geoxr.to_torch(ds.geoxr.random_chips(40, 15, seed=1), batch_size=4, shuffle=True)
    model = Mean()
    run = trainer(folder, max_epochs=2, strategy="ddp", devices=2)
    run.fit(model, loader)
    (folder / f"rank{run.global_rank}.json").write_text(json.dumps(model.seen))
"""


def test_lightning_shares_chips_among_processes(path: Path, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(DDP)
    arguments = [sys.executable, str(script), str(path), str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    plan = gx.open_raster(path).to_dataset(name="image").geoxr.random_chips(40, 15, seed=1)
    for epoch in (0, 1):
        shares = [batches[2 * epoch] + batches[2 * epoch + 1] for batches in seen]
        assert [len(share) for share in shares] == [8, 8]
        lefts = [chip.bounds[0] for chip in plan.epoch(epoch).chips()]
        both = shares[0] + shares[1]
        assert set(both) == set(lefts)
        assert len(both) - len(set(both)) == 1 + len(lefts) - len(set(lefts))  # one fills up

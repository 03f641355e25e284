"""The command line end to end, small, and what bad input gets."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine

import geoxr as gx
from geoxr import cli
from geoxr.demo.inputs import group_images, open_given, sites
from geoxr.demo.plan import plan_chips, shifted
from geoxr.demo.settings import Settings
from geoxr.io.gdal import open_file
from geoxr.testing import LandsatCDL, write_geotiff

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)
SHORT = ["--quiet", "--epochs", "1", "--chips", "16", "--chip", "32"]


@pytest.fixture
def pair(tmp_path: Path, rng: np.random.Generator) -> tuple[str, str]:
    """An image of 160 x 160 pixels and labels 0..2 that show in its first band."""
    labels = np.kron(rng.integers(0, 3, (10, 10), dtype="uint8"), np.ones((16, 16), "uint8"))
    bands = np.stack([labels * 40 + rng.integers(0, 60, labels.shape) for _ in range(2)])
    image = write_geotiff(tmp_path / "i.tif", bands.astype("uint8"), crs=32633, transform=UTM)
    mask = write_geotiff(tmp_path / "m.tif", labels, crs=32633, transform=UTM)
    return str(image), str(mask)


def run(out: Path, *arguments: str) -> int:
    return cli.main(["demo", "--out", str(out), *arguments])


def test_the_demo_writes_everything_on_one_grid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(out, "--size", "256", *SHORT) == 0
    names = {item.name for item in out.iterdir()}
    assert names == {
        "cube.zarr", "prediction.tif", "checkpoint.ckpt", "report.json", "report.png", "data",
    }  # fmt: skip
    report = json.loads((out / "report.json").read_text())
    cube = gx.open_zarr(out / "cube.zarr")
    with rasterio.open(out / "prediction.tif") as file:
        assert file.shape == cube.geoxr.geobox.shape
        assert file.transform == cube.geoxr.geobox.affine
        assert file.crs.to_epsg() == cube.geoxr.crs.epsg == 5070
        assert file.nodata == 0
        assert file.colormap(1)[1] == (255, 211, 0, 255)
        codes = set(np.unique(file.read(1)))
    assert codes <= {0, *map(int, report["classes"])}
    assert set(report["scores"]) == {"model", "per-pixel linear", "majority class"}
    assert report["grid"]["shape"] == list(cube.geoxr.geobox.shape)
    task = gx.load_task(out / "checkpoint.ckpt")
    again = cube.geoxr.predict(task, size=256, halo=32)
    with rasterio.open(out / "prediction.tif") as file:
        assert (again["mask"].values == file.read(1)).mean() > 0.999
    printed = capsys.readouterr().out
    assert "mean IoU" in printed
    assert "cube.zarr" in printed
    assert "chips of 32 pixels per second" in printed

    # It refuses to write over all that, before doing anything.
    assert run(out, "--size", "256", *SHORT) == 1
    assert "exists" in capsys.readouterr().err


def test_given_files_are_stacked_and_mosaicked(tmp_path: Path, pair: tuple[str, str]) -> None:
    image, mask = pair
    second = write_geotiff(
        tmp_path / "j.tif",
        np.ones((2, 160, 160), "uint8"),
        crs=32633,
        transform=UTM @ Affine.translation(160, 0),
    )
    other = write_geotiff(
        tmp_path / "k.tif", np.ones((160, 160), "float32"), crs=32633, transform=UTM
    )
    groups = group_images([open_file(path) for path in (image, second, other)])
    assert groups == [[image, str(second)], [str(other)]]
    settings = Settings(tmp_path / "o", images=(Path(image), other), masks=(Path(mask),))
    layers = open_given(settings)
    assert layers.concat == {"image": ["image", "image_2"]}
    assert layers.channels == 3
    assert layers.ds["mask"].geoxr.classes.values == (0, 1, 2)


def test_negative_labels_are_missing(tmp_path: Path, pair: tuple[str, str]) -> None:
    labels = np.ones((160, 160), "int16")
    labels[:80], labels[:10] = 3, -1
    mask = write_geotiff(tmp_path / "n.tif", labels, crs=32633, transform=UTM)
    layers = open_given(Settings(tmp_path / "o", images=(Path(pair[0]),), masks=(mask,)))
    assert layers.ds["mask"].geoxr.classes.values == (1, 3)
    np.testing.assert_array_equal(layers.ds["mask"].geoxr.valid.values, labels >= 0)
    assert any("-1" in note for note in layers.notes)


def test_patches_far_apart_are_predicted_one_by_one(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    images, masks = [], []
    for number, shift in enumerate((0, 200_000)):
        grid = UTM @ Affine.translation(shift, shift)
        pixels = rng.integers(1, 200, (96, 96), dtype="uint8")
        images.append(write_geotiff(tmp_path / f"i{number}.tif", pixels, crs=32633, transform=grid))
        masks.append(
            write_geotiff(tmp_path / f"m{number}.tif", pixels // 100, crs=32633, transform=grid)
        )
    layers = open_given(Settings(tmp_path / "o", images=tuple(images), masks=tuple(masks)))
    assert layers.ds.sizes["x"] > 200_000
    pieces = sites(layers.ds)
    assert [piece.sizes["x"] for piece in pieces] == [96, 96]
    for piece, path in zip(sorted(pieces, key=lambda p: float(p.x[0])), masks, strict=True):
        np.testing.assert_array_equal(piece["mask"].values, gx.open_raster(path).values[0])
    plans = plan_chips(layers.ds, Settings(tmp_path / "o", chip=32, chips=20))
    assert len(plans.train) == 20


def test_the_negative_control_shifts_labels_by_a_pixel(farmland: LandsatCDL) -> None:
    ds = gx.merge(
        {
            "image": gx.open_product("cdl", farmland.cdl),
            "mask": gx.open_product("cdl", farmland.cdl),
        }
    )
    moved = shifted(ds, 1)
    np.testing.assert_array_equal(moved["mask"].values[:-1, :-1], ds["mask"].values[1:, 1:])
    xr.testing.assert_equal(moved["x"], ds["x"])


def test_bad_input_gets_one_line_and_leaves_nothing(
    tmp_path: Path, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    image, mask = pair
    far = write_geotiff(
        tmp_path / "far.tif",
        np.ones((64, 64), "uint8"),
        crs=32633,
        transform=Affine(10, 0, 5e5, 0, -10, 1e5),
    )
    bare = write_geotiff(
        tmp_path / "bare.tif", np.ones((160, 160), "uint8"), crs=None, transform=UTM
    )
    text = tmp_path / "text.tif"
    text.write_text("no raster")
    cases = {
        ("--image", str(tmp_path / "none.tif"), "--mask", mask): r"none.tif does not exist",
        ("--image", str(text), "--mask", mask): "is not a raster",
        ("--image", str(bare), "--mask", mask): "no coordinate reference system",
        ("--image", image, "--mask", str(far)): "in EPSG:4326",
        ("--image", image, "--mask", mask, "--chip", "500"): "Chips of 500 pixels do not fit",
        ("--image", image, "--mask", mask, "--num-classes", "2"): "values [2]",
        ("--image", image): "--image was given without --mask",
    }
    for arguments, message in cases.items():
        out = tmp_path / "out"
        assert run(out, *arguments, "--quiet", "--epochs", "1", "--chips", "4") == 1
        printed = capsys.readouterr().err
        assert message in printed
        assert len(printed.strip().splitlines()) == 1
        assert "Traceback" not in printed
        assert not out.exists()


def test_debug_shows_where_an_error_came_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = ["--image", "none.tif", "--mask", "none.tif", "--debug"]
    assert run(tmp_path / "out", *missing) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_disk_that_fills_up_leaves_nothing(
    tmp_path: Path,
    pair: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import errno

    from geoxr.demo import run as stages

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stages, "draw", full)
    out = tmp_path / "out"
    assert run(out, "--image", pair[0], "--mask", pair[1], *SHORT) == 1
    assert "disk filled up" in capsys.readouterr().err
    assert not out.exists()

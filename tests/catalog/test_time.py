"""Steps of the time axis of layers of many dates."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from affine import Affine

import geoxr as gx
from geoxr.catalog.table import Header, Row, SceneTable
from geoxr.catalog.time import steps_of
from geoxr.errors import ArgumentError
from geoxr.products.dates import interval_of_date
from geoxr.testing import write_geotiff

DATES = ("20200103", "20200117", "20200202", "20200511", "20200512", "20210601")
SIZE = 20
PLOTS = gx.Product(
    name="plots",
    pattern=r"plot_(?P<date>\d{8})_(?P<tile>[ab])\.tif",
    bands=(gx.Band("red"), gx.Band("nir")),
    nodata=0,
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiles that overlap by half, on six dates, with gaps; the second lacks two dates."""
    folder = tmp_path_factory.mktemp("archive")
    rng = np.random.default_rng(0)
    for number, date in enumerate(DATES):
        for tile, left in (("a", 0), ("b", SIZE // 2)):
            if tile == "b" and number in (1, 4):
                continue
            pixels = rng.integers(0, 9, (2, SIZE, SIZE)).astype("uint16")
            transform = Affine(10, 0, 500_000 + 10 * left, 0, -10, 5_200_000)
            write_geotiff(
                folder / f"plot_{date}_{tile}.tif", pixels, crs=32633, transform=transform
            )
    return folder


def stack_of(archive: Path, dates: tuple[str, ...]) -> np.ndarray:
    """All scenes of some dates on one grid (scene, band, y, x), by date and tile; NaN is missing."""
    found = []
    for date in dates:
        for tile, left in (("a", 0), ("b", SIZE // 2)):
            path = archive / f"plot_{date}_{tile}.tif"
            if path.exists():
                full = np.full((2, SIZE, SIZE * 3 // 2), np.nan)
                full[..., left : left + SIZE] = gx.open_raster(path).values
                found.append(np.where(full == 0, np.nan, full))
    return np.array(found)


def first(stack: np.ndarray) -> np.ndarray:
    result = stack[0].copy()
    for scene in stack[1:]:
        result = np.where(np.isnan(result), scene, result)
    return result


COMBINE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "first": first,
    "last": lambda stack: first(stack[::-1]),
    "max": lambda stack: np.nanmax(stack, axis=0),
    "median": lambda stack: np.nanmedian(stack, axis=0),
}


@pytest.mark.filterwarnings("ignore:All-NaN")
@pytest.mark.parametrize("overlap", COMBINE)
@pytest.mark.parametrize(
    ("time", "steps"),
    [
        ("each", [DATES[i : i + 1] for i in range(6)]),
        (None, [DATES[i : i + 1] for i in range(6)]),
        ("1MS", [DATES[:2], DATES[2:3], DATES[3:5], DATES[5:]]),
        ("QS", [DATES[:3], DATES[3:5], DATES[5:]]),
        ("YS", [DATES[:5], DATES[5:]]),
        ("collapse", [DATES]),
    ],
)
def test_scenes_of_a_step_are_combined_by_the_overlap_rule(
    archive: Path, time: str | None, steps: list[tuple[str, ...]], overlap: str
) -> None:
    layer = gx.open_product(PLOTS, archive, time=time, overlap=overlap)
    assert ("time" in layer.dims) == (time != "collapse")
    values = layer.geoxr.valid.values, layer.values.astype("float64")
    for at, dates in enumerate(steps):
        valid, got = values if time == "collapse" else (values[0][at], values[1][at])
        expected = COMBINE[overlap](stack_of(archive, tuple(dates)))
        where = np.broadcast_to(valid, expected.shape)
        np.testing.assert_array_equal(where.all(axis=0), ~np.isnan(expected).any(axis=0))
        both = where & ~np.isnan(expected)
        if overlap == "median":
            assert np.abs(got[both] - expected[both]).max() <= 0.5  # whole numbers
        else:
            np.testing.assert_array_equal(got[both], expected[both])


@pytest.mark.parametrize("freq", ["1MS", "QS", "YS", "16D", "W", "1D"])
def test_periods_are_labelled_as_pandas_labels_them(archive: Path, freq: str) -> None:
    layer = gx.open_product(PLOTS, archive, time=freq)
    stamps = pd.to_datetime(sorted(path.name[5:13] for path in archive.iterdir()))
    counts = pd.Series(1, index=stamps).resample(freq).sum()
    assert layer.indexes["time"].tolist() == counts.index[counts > 0].tolist()


def table(*scenes: tuple[str, float], ends: dict[str, str] | None = None) -> SceneTable:
    """Scenes (start, longitude) of 10 pixels on a grid of degrees."""
    header = Header("EPSG:4326", "uint8", ("1",), None, False)
    rows = []
    for start, longitude in scenes:
        moment = np.datetime64(start, "ns")
        end = np.datetime64((ends or {}).get(start, start), "ns")
        affine = (0.1, 0.0, longitude - 0.5, 0.0, -0.1, 0.5)
        rows.append(Row((start,), header, affine, (10, 10), (-1, -1), moment, end))
    return SceneTable.of(rows)


def test_solar_days_follow_the_sun() -> None:
    # New Zealand: two scenes of one morning lie on two days in UTC.
    south = steps_of(table(("2021-01-31T22:59", 174.0), ("2021-02-01T00:01", 174.0)), "day")
    assert [str(label)[:10] for label in south.labels] == ["2021-02-01"]
    # Honolulu: noon is in the evening in UTC, and after midnight it is still the day before.
    hawaii = steps_of(table(("2021-01-31T22:30", -157.8), ("2021-02-01T00:30", -157.8)), "day")
    assert [str(label)[:10] for label in hawaii.labels] == ["2021-01-31"]
    # At Greenwich midnight is midnight.
    greenwich = steps_of(table(("2021-01-31T23:59", 0.0), ("2021-02-01T00:01", 0.0)), "day")
    assert len(greenwich.labels) == 2
    # Where only the day is known, it is the day.
    day = {"2021-01-31T00:00": "2021-01-31T23:59:59"}
    known = steps_of(table(("2021-01-31T00:00", -157.8), ends=day), "day")
    assert str(known.labels[0])[:10] == "2021-01-31"


def test_two_dates_at_one_place_stay_two(archive: Path) -> None:
    layer = gx.open_product(PLOTS, archive, toi=("2020-05-11", "2020-05-12"))
    assert layer.sizes["time"] == 2
    assert not np.array_equal(layer.values[0], layer.values[1])
    one = gx.open_product(PLOTS, archive, toi="2020-05-11")
    assert "time" not in one.dims
    assert gx.open_product(PLOTS, archive, toi="2020-05-11", time="each").sizes["time"] == 1


def test_dates_are_chosen_and_missing_ones_are_told(archive: Path) -> None:
    layer = gx.open_product(PLOTS, archive, toi=("2020-02", None))
    assert [str(date)[:10] for date in layer["time"].values] == [
        "2020-02-02", "2020-05-11", "2020-05-12", "2021-06-01",
    ]  # fmt: skip
    catalog = gx.Catalog.scan(archive, product=PLOTS)
    same = gx.open_raster(catalog, toi=("2020-02", None))
    assert same["time"].equals(layer["time"])
    with pytest.raises(ArgumentError, match="There are 10, from 2020-01-03 to 2021-06-01"):
        gx.open_product(PLOTS, archive, toi="2019")
    with pytest.raises(ArgumentError, match="time is '1XX', but must be"):
        gx.open_product(PLOTS, archive, time="1XX")
    plain = sorted(archive.glob("*_a.tif"))
    for options in ({"time": "day"}, {"time": "1MS"}, {"toi": "2020"}):
        with pytest.raises(ArgumentError, match="needs dates"):
            gx.open_raster(plain, **options)


def test_the_least_cloudy_scene_of_a_month(archive: Path) -> None:
    frame = gx.Catalog.scan(archive, product=PLOTS).frame
    frame["cloud_cover"] = np.arange(len(frame))[::-1]
    layer = gx.open_raster(gx.Catalog(frame), time="1MS", sortby="cloud_cover")
    january = stack_of(archive, DATES[:2])[::-1]
    expected = first(january)
    valid = np.broadcast_to(layer.isel(time=0).geoxr.valid.values, expected.shape)
    assert valid.any()
    np.testing.assert_array_equal(layer.values[0][valid], expected[valid])


@pytest.mark.parametrize(
    ("text", "form", "start", "end"),
    [
        ("2021", "%Y", "2021-01-01", "2021-12-31T23:59:59.999999999"),
        ("202102", "%Y%m", "2021-02-01", "2021-02-28T23:59:59.999999999"),
        ("20210615", "%Y", "2021-06-15", "2021-06-15T23:59:59.999999999"),
        ("2021166", "%Y%j", "2021-06-15", "2021-06-15T23:59:59.999999999"),
        ("20210615T101112", "%Y%m%dT%H%M%S", "2021-06-15T10:11:12", "2021-06-15T10:11:12"),
    ],
)
def test_partial_dates_are_intervals(text: str, form: str, start: str, end: str) -> None:
    assert interval_of_date(text, form) == (np.datetime64(start, "ns"), np.datetime64(end, "ns"))


def test_dates_of_metadata_are_found_and_file_dates_are_not(tmp_path: Path) -> None:
    import rasterio

    for name, tags in (
        ("a.tif", {"ACQUISITION_DATE": "2021-06-15"}),
        ("b.tif", {"ACQUISITIONDATETIME": "2021-06-16 10:20:30"}),
        ("c.tif", {"TIFFTAG_DATETIME": "2021:06:17 10:20:30"}),
        ("d.tif", {"DATE_ACQUIRED": "some day in June"}),
    ):
        write_geotiff(
            tmp_path / name, np.ones((1, 8, 8), "uint8"), crs=32633,
            transform=Affine(10, 0, 500_000, 0, -10, 5_200_000),
        )  # fmt: skip
        with rasterio.open(tmp_path / name, "r+") as file:
            file.update_tags(**tags)
    frame = gx.Catalog.scan(tmp_path).frame
    assert frame["start"].dt.strftime("%Y-%m-%dT%H:%M:%S").tolist()[:2] == [
        "2021-06-15T00:00:00", "2021-06-16T10:20:30",
    ]  # fmt: skip
    assert frame["start"].isna().tolist() == [False, False, True, True]
    assert pd.Timestamp("2021-06-15T23:59:59.99") < frame["end"][0] < pd.Timestamp("2021-06-16")
    assert gx.open_raster(sorted(tmp_path.glob("[ab].tif"))).sizes["time"] == 2


def test_chips_of_composites_have_their_dates(archive: Path) -> None:
    layer = gx.open_product(PLOTS, archive, time="1MS", overlap="max")
    ds = xr.Dataset({"image": layer})
    plan = ds.geoxr.random_chips(8, 12, steps=2, seed=0)
    batch = next(iter(ds.geoxr.to_torch(plan, batch_size=12)))
    assert tuple(batch["image"].shape) == (12, 2, 2, 8, 8)
    loaded = layer.values
    for chip, pixels, dates in zip(plan, batch["image"], batch["time"], strict=True):
        rows, cols = chip.window.slices
        assert [np.datetime64(date, "ns") for date in dates.tolist()] == [
            layer["time"].values[at] for at in chip.times
        ]
        expected = loaded[list(chip.times)][..., rows, cols].astype("float32")
        expected *= (expected != 0).all(axis=1, keepdims=True)  # invalid in a band, invalid
        np.testing.assert_array_equal(pixels.numpy(), expected)


def test_a_chip_of_one_date_opens_the_files_it_needs(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geoxr.catalog import table as tables

    layer = gx.open_product(PLOTS, archive)
    opened = []
    real = tables.open_given
    monkeypatch.setattr(
        tables,
        "open_given",
        lambda path, *args, **more: opened.append(path) or real(path, *args, **more),
    )
    assert layer.isel(time=3, x=slice(0, 5)).values.any()
    assert [Path(path).name for path in opened] == ["plot_20200511_a.tif"]

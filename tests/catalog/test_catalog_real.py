"""Catalogs of real files, as far as they are there; see tests/test_inventory.py."""

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely

import geoxr as gx

ROOT = Path(
    os.environ.get("GEOXR_SHARED_DATA") or Path(__file__).parents[2].parent / "shared" / "data"
)
INVENTORY = ROOT / "INVENTORY.json"
FOLDERS = (
    sorted({
        entry["file"].split("/")[0]
        for entry in json.loads(INVENTORY.read_text(encoding="utf-8"))["files"]
        if entry["kind"] == "raster" and entry["file"].lower().endswith((".tif", ".tiff", ".jp2"))
    })
    if INVENTORY.is_file()
    else []
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_are_scanned_stored_and_shown(folder: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        catalog = gx.Catalog.scan(ROOT / folder, errors="skip")
        valid = gx.Catalog.scan(ROOT / folder, errors="skip", footprint="valid")
    again = gx.Catalog.from_parquet(catalog.to_parquet(tmp_path / "a.parquet"))
    assert repr(list(again.table)) == repr(list(catalog.table))
    assert repr(catalog).startswith(f"Catalog: {len(catalog):,} scene")
    assert valid.frame["path"].tolist() == catalog.frame["path"].tolist()
    whole, inner = np.asarray(catalog.frame.geometry), np.asarray(valid.frame.geometry)
    assert shapely.is_valid(whole).all()
    assert shapely.is_valid(inner).all()
    beyond = shapely.area(shapely.difference(inner, whole))
    assert (beyond <= 1e-3 * shapely.area(whole)).all()
    for row in catalog.table:
        with rasterio.open(row.name) as file:
            if not (file.gcps[0] or file.rpcs):
                assert row.shape == file.shape
                assert row.affine == tuple(file.transform)[:6]
            assert len(row.header.bands) == file.count


def test_nothing_is_read_again_where_nothing_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    if "usda_cdl" not in FOLDERS:
        pytest.skip("no real files here")
    catalog = gx.Catalog.scan(ROOT / "usda_cdl")
    monkeypatch.setattr("geoxr.catalog.scan.open_given", None)
    assert catalog.update(ROOT / "usda_cdl").frame.equals(catalog.frame)

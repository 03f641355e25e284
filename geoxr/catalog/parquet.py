"""Catalogs as GeoParquet: the columns of a catalog, beside them those of STAC-GeoParquet.

References
----------
GeoParquet specification 1.1.0 (file metadata, bounding box columns).
stac-geoparquet specification 1.0.0 (``id``, ``datetime``, ``start_datetime``, ``end_datetime``,
``bbox``, properties as columns).
STAC projection extension 2.0.0 (``proj:code``, ``proj:shape``, ``proj:transform``), and 1.1.0
(``proj:epsg``).
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from geoxr.catalog.combine import as_objects, paths_of
from geoxr.catalog.frame import times_of
from geoxr.catalog.table import crs_from_text
from geoxr.errors import ArgumentError, MissingFileError, NotARasterError
from geoxr.typing import PathLike

if TYPE_CHECKING:
    import geopandas
    import pyarrow

#: Of the columns of a catalog. Readers refuse a newer one.
VERSION = 1
_KEY = b"geoxr:catalog"
#: Columns for other readers, made when a file is written and left alone when it is read.
STAC = (
    "datetime",
    "start_datetime",
    "end_datetime",
    "bbox",
    "proj:code",
    "proj:epsg",
    "proj:shape",
    "proj:transform",
)
#: Fields of ``bbox``.
_EDGES = ("xmin", "ymin", "xmax", "ymax")
#: Between names and between paths, none of which has it.
_SEPARATOR = "\x1f"


def write_parquet(frame: geopandas.GeoDataFrame, path: PathLike) -> Path:
    """Write the table of a catalog.

    Raises
    ------
    ArgumentError
        If a column holds what Parquet cannot.
    """
    import pyarrow as pa
    import pyarrow.parquet

    own = frame.drop(columns=["geometry", *(name for name in STAC if name in frame.columns)])
    paths = own["path"].tolist()
    if any(not isinstance(one, str) for one in paths):
        own["path"] = as_objects([list(paths_of(one)) for one in paths])
    for name in ("bands", "transform", "shape"):
        own[name] = as_objects([list(values) for values in own[name]])
    # Text keeps integers, NaN and nothing apart, which a column of floats does not.
    own["nodata"] = as_objects([None if one is None else repr(one) for one in own["nodata"]])
    try:
        table = pa.Table.from_pandas(own, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise ArgumentError(
            f"A column cannot be written to Parquet: {'; '.join(map(str, error.args))}. Turn it into "
            f"numbers or text, or drop it from catalog.frame."
        ) from error
    shapes = np.asarray(frame.geometry.values)
    for name, column in _stac_columns(frame, shapes).items():
        table = table.append_column(name, column)
    table = table.append_column("geometry", pa.array(shapely.to_wkb(shapes), pa.binary()))
    table = table.select([*(name for name in frame.columns if name not in STAC), *STAC])
    metadata = {
        **(table.schema.metadata or {}),
        b"geo": json.dumps(_geo(shapes)).encode(),
        _KEY: json.dumps({"version": VERSION}).encode(),
    }
    pa.parquet.write_table(table.replace_schema_metadata(metadata), os.fspath(path))
    return Path(path)


def _stac_columns(frame: geopandas.GeoDataFrame, shapes: np.ndarray) -> dict[str, pyarrow.Array]:
    import pyarrow as pa

    starts, ends = (times_of(frame[name]).astype("datetime64[us]") for name in ("start", "end"))
    one = np.isnat(ends) | (starts == ends)
    moments, moment = pa.timestamp("us", tz="UTC"), np.where(one, starts, np.datetime64("NaT"))
    edges = [pa.array(edge, from_pandas=True) for edge in shapely.bounds(shapes).T]  # NaN: none
    codes = {text: _epsg(text) for text in set(frame["crs"].tolist())}
    epsg = [codes[text] for text in frame["crs"].tolist()]
    return {
        "datetime": pa.array(moment, moments),
        "start_datetime": pa.array(starts, moments),
        "end_datetime": pa.array(np.where(np.isnat(ends), starts, ends), moments),
        "bbox": pa.StructArray.from_arrays(edges, names=list(_EDGES)),
        "proj:code": pa.array([None if code is None else f"EPSG:{code}" for code in epsg]),
        "proj:epsg": pa.array(epsg, pa.int32()),
        "proj:shape": pa.array([list(pair) for pair in frame["shape"]]),
        "proj:transform": pa.array([list(numbers) for numbers in frame["transform"]]),
    }


def _epsg(text: Any) -> int | None:
    crs = crs_from_text(text) if isinstance(text, str) else None
    return None if crs is None else crs.epsg


def _geo(shapes: np.ndarray) -> dict[str, Any]:
    """Metadata of a GeoParquet file."""
    import pyproj

    box = {edge: ["bbox", edge] for edge in _EDGES}
    types = sorted({shape.geom_type for shape in shapes})
    total = shapely.total_bounds(shapes)
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": types,
        "crs": pyproj.CRS.from_epsg(4326).to_json_dict(),
        "covering": {"bbox": box},
    }
    if np.isfinite(total).all():
        column["bbox"] = total.tolist()
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def read_parquet(path: PathLike) -> geopandas.GeoDataFrame:
    """Read the table of a catalog, or any GeoParquet file.

    Raises
    ------
    MissingFileError
        If there is no such file.
    NotARasterError
        If it is no GeoParquet.
    ArgumentError
        If a newer geoxr wrote it.
    """
    import geopandas
    import pyarrow as pa
    import pyarrow.parquet

    name = os.fspath(path)
    if "://" not in name and not os.path.exists(name):
        raise MissingFileError(f"{name} does not exist (looked in {Path.cwd()}).")
    try:
        if "://" in name:
            return geopandas.read_parquet(name)
        schema = pa.parquet.read_schema(name)
        written = (schema.metadata or {}).get(_KEY)
        if written is None:
            return geopandas.read_parquet(name)
        _check_version(name, json.loads(written)["version"])
        wanted = [column for column in schema.names if column not in STAC]
        return _frame(pa.parquet.read_table(name, columns=wanted))
    except (ValueError, OSError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise NotARasterError(f"{path} is not a GeoParquet file ({error}).") from error


def _check_version(path: str, version: int) -> None:
    if version > VERSION:
        raise ArgumentError(
            f"{path} is a catalog of version {version}, but this geoxr reads version {VERSION} and "
            f"older. Update it: pip install --upgrade geoxr. Or scan the files again: "
            f"gx.Catalog.scan(paths)."
        )


def _frame(table: pyarrow.Table) -> geopandas.GeoDataFrame:
    """Return a table of 100,000 scenes in a fraction of a second: lists are made all at once."""
    import geopandas
    import pyarrow as pa
    import pyarrow.compute as pc

    with _uncollected():
        made = {
            "bands": _texts(pc.binary_join(table["bands"], _SEPARATOR)),
            "transform": _rows(table["transform"], 6),
            "shape": _rows(table["shape"], 2),
            "nodata": _numbers(table["nodata"]),
            "geometry": shapely.from_wkb(table["geometry"].to_numpy()),
        }
        if pa.types.is_list(table.schema.field("path").type):
            joined = pc.binary_join(table["path"], _SEPARATOR).to_pylist()
            made["path"] = as_objects([text.split(_SEPARATOR) for text in joined])
        flat = table.drop_columns(list(made)).to_pandas()
    columns = {name: made[name] if name in made else flat[name] for name in table.column_names}
    return geopandas.GeoDataFrame(columns, geometry="geometry", crs=4326)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep Python from looking for garbage among hundreds of thousands of new objects."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _texts(column: pyarrow.ChunkedArray) -> np.ndarray:
    """Lists of text; equal ones are one list."""
    coded = column.combine_chunks().dictionary_encode()
    known = [text.split(_SEPARATOR) for text in coded.dictionary.to_pylist()]
    return as_objects([known[i] for i in coded.indices.to_pylist()])


def _numbers(column: pyarrow.ChunkedArray) -> np.ndarray:
    """Numbers of their text, as a scan has them: whole ones as int, and None for none."""
    coded = column.combine_chunks().dictionary_encode()
    known = [_number(text) for text in coded.dictionary.to_pylist()]
    return as_objects([None if i is None else known[i] for i in coded.indices.to_pylist()])


def _number(text: Any) -> Any:
    """Read a number that was written by ``repr``; what is none stays, for the catalog to name."""
    for kind in (int, float):
        try:
            return kind(text) if isinstance(text, str) else text
        except ValueError:
            continue
    return text


def _rows(column: pyarrow.ChunkedArray, many: int) -> np.ndarray:
    """Tuples of numbers."""
    numbers = column.combine_chunks().flatten().to_numpy().reshape(-1, many)
    return as_objects(list(map(tuple, numbers.tolist())))

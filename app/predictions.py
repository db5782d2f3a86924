"""Predictions as files: columns behind a table, or a map.

Owns the names of the columns and bands, and the four formats. A table goes out as Parquet (GeoParquet, with its
points), CSV or GeoJSON; a map as GeoTIFF with the sea left out. Each is whole or not there. Knows nothing of the
command line.

Source:
    GeoParquet 1.1.0 (geoparquet.org); RFC 7946, The GeoJSON Format; RFC 4180 for CSV.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import rasterio
import shapely
from rasterio.io import MemoryFile

from data.errors import QueryError
from data.files import disk_errors, durable
from data.geo import BBox, Floats
from data.land import is_land

if TYPE_CHECKING:
    from model.predict import Prediction, Predictor

TABLES = (".parquet", ".geoparquet", ".csv", ".geojson", ".json")
MAPS = (".tif", ".tiff")
MOST_PIXELS = 50_000_000
NODATA = -9999.0


def about_of(predictor: Predictor, level: float) -> dict[str, Any]:
    """What made a prediction, for files and JSON: one name for each figure, wherever it is written."""
    variable = predictor.variable
    return {
        "variable": variable.name,
        "title": variable.title,
        "unit": variable.unit,
        "kind": variable.kind,
        "head": predictor.method,
        "checkpoint": predictor.checkpoint,
        "fingerprint": predictor.fingerprint,
        "level": level,
        **{f"score_{check.split}": round(check.score, 4) for check in predictor.checks},
        **{f"coverage_{check.split}": round(check.coverage, 4) for check in predictor.checks},
    }


def columns_of(predictor: Predictor, found: Prediction) -> dict[str, pa.Array]:
    """The columns that a prediction adds to a table, by name."""
    name = predictor.variable.name
    if found.labels is None or found.probabilities is None or found.sets is None:
        columns = {name: found.values, f"{name}_low": found.low, f"{name}_high": found.high}
        made = {key: pa.array(values.astype(np.float32)) for key, values in columns.items()}
    else:
        classes = predictor.variable.classes
        best = found.probabilities.max(axis=1).astype(np.float32)
        sets = [";".join(classes[n] for n in np.flatnonzero(row)) for row in found.sets]
        made = {name: pa.array(found.labels.tolist()), f"{name}_probability": pa.array(best)}
        made[f"{name}_set"] = pa.array(sets, type=pa.string())
    return made | {f"{name}_unfamiliar": pa.array(found.unfamiliar)}


def add_columns(table: pa.Table, predictor: Predictor, found: Prediction) -> pa.Table:
    """A table with the prediction's columns behind its own; columns of the same names are replaced."""
    for name, values in columns_of(predictor, found).items():
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, values)
        else:
            table = table.append_column(name, values)
    return table


def check_out(out: Path, *, force: bool, suffixes: tuple[str, ...]) -> None:
    """Refuse a file that cannot be written, before the work.

    Raises:
        QueryError: another format, no such folder, or the file is there already.
    """
    if out.suffix.lower() not in suffixes:
        raise QueryError(f"--out {out}: give a name that ends in {', '.join(suffixes)}.")
    if not out.parent.is_dir():
        raise QueryError(f"--out {out}: {out.parent} is no folder; make it, or write elsewhere.")
    if out.is_dir() or (out.exists() and not force):
        raise QueryError(f"--out {out}: it is there already. Choose another name, or give --force to replace it.")


def write_table(out: Path, table: pa.Table, lonlat: Floats, about: dict[str, Any]) -> None:
    """Write a table of places.

    Args:
        out: ``.parquet`` or ``.geoparquet``, ``.csv``, ``.geojson`` or ``.json``.
        table: the columns.
        lonlat: (N, 2) degrees.
        about: what made it; kept where the format has room: in Parquet's metadata, and beside GeoJSON's features.

    Raises:
        QueryError: the disk refuses, or a column does not fit the format.
    """
    writer = {".csv": _csv, ".geojson": _geojson, ".json": _geojson}.get(out.suffix.lower(), _parquet)
    _write(out, writer(table, lonlat, about))


def _write(out: Path, content: bytes) -> None:
    advice = "Free some space and run it again."
    with disk_errors(out, "Writing", kind=QueryError, full=advice, denied="Write elsewhere."), durable(out) as file:
        file.write(content)


def _parquet(table: pa.Table, lonlat: Floats, about: dict[str, Any]) -> bytes:
    metadata = dict(table.schema.metadata or {})
    if b"geo" not in metadata and "geometry" not in table.column_names:
        points = shapely.to_wkb(shapely.points(lonlat))
        table = table.append_column("geometry", pa.array(points, type=pa.binary()))
        column = {"encoding": "WKB", "geometry_types": ["Point"]}
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        metadata[b"geo"] = json.dumps(geo, sort_keys=True).encode()
    metadata[b"samewhere"] = json.dumps(about, sort_keys=True, ensure_ascii=False).encode()
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
    return sink.getvalue()


def _csv(table: pa.Table, lonlat: Floats, about: dict[str, Any]) -> bytes:
    kept = [name for name in table.column_names if not pa.types.is_binary(table.schema.field(name).type)]
    table = table.select(kept)
    if table.num_columns and not {"lon", "lat"} & {name.casefold() for name in kept} and "geo" in _keys(table):
        table = table.append_column("lon", pa.array(lonlat[:, 0])).append_column("lat", pa.array(lonlat[:, 1]))
    sink = io.BytesIO()
    try:
        pyarrow.csv.write_csv(table, sink)
    except pa.ArrowException as error:
        raise QueryError(f"A column of lists or the like fits no CSV ({error}). Write Parquet instead.") from error
    return sink.getvalue()


def _keys(table: pa.Table) -> set[str]:
    return {key.decode() for key in (table.schema.metadata or {})}


def _geojson(table: pa.Table, lonlat: Floats, about: dict[str, Any]) -> bytes:
    kept = [name for name in table.column_names if not pa.types.is_binary(table.schema.field(name).type)]
    parts = []
    for row, place in zip(table.select(kept).to_pylist(), lonlat.round(7).tolist(), strict=True):
        geometry = {"type": "Point", "coordinates": place}
        properties = {key: _plain(value) for key, value in row.items()}
        feature = {"type": "Feature", "geometry": geometry, "properties": properties}
        parts.append(json.dumps(feature, ensure_ascii=False, allow_nan=False, default=str))
    head = json.dumps({"type": "FeatureCollection", "samewhere": about}, ensure_ascii=False)[:-1]
    return (head + ', "features": [\n' + ",\n".join(parts) + "\n]}\n").encode()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.7g}") if np.isfinite(value) else None
    return value


def write_map(
    out: Path,
    predictor: Predictor,
    bbox: BBox,
    step_deg: float,
    *,
    level: float,
    about: dict[str, Any],
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, int]:
    """Predict every land pixel of a box and write a GeoTIFF.

    Bands of values: value, low, high, unfamiliar (1 or 0). Bands of classes: the class's number (names in the tag
    ``classes``), its probability, how many classes are in the set, unfamiliar. The sea is nodata.

    Args:
        out: the file.
        predictor: of a variable that needs the place alone.
        bbox: where; west > east crosses the antimeridian, and the map's longitudes then pass 180.
        step_deg: side of a pixel.
        level: of the intervals and sets.
        about: tags of the file.
        progress: told how much is done, 0…1.

    Returns:
        ``width``, ``height`` and how many pixels are on ``land``.

    Raises:
        QueryError: too many pixels, none, or the disk refuses.
    """
    east = bbox.east if bbox.east > bbox.west else bbox.east + 360
    if not (np.isfinite(step_deg) and step_deg > 0):
        raise QueryError(f"--step-deg is {step_deg:g}; give the side of a pixel in degrees, as 0.1.")
    width, height = (max(0, round(side / step_deg)) for side in (east - bbox.west, bbox.north - bbox.south))
    if not 1 <= width * height <= MOST_PIXELS:
        raise QueryError(
            f"A map of {width:,} × {height:,} pixels is {'too large' if width * height else 'empty'}; at most "
            f"{MOST_PIXELS:,} pixels fit. Change --bbox or --step-deg."
        )
    lon = bbox.west + (np.arange(width) + 0.5) * step_deg
    lat = bbox.north - (np.arange(height) + 0.5) * step_deg
    bands = np.full((4, height, width), NODATA, dtype=np.float32)
    land, rows = 0, max(1, 65_536 // width)
    for top in range(0, height, rows):
        grid = np.stack(np.meshgrid((lon + 180) % 360 - 180, lat[top : top + rows]), axis=-1)  # (rows, W, 2)
        here = is_land(grid)
        if here.any():
            found = predictor.predict(grid[here], level=level)
            bands[:, top : top + rows][:, here] = _bands(found)
            land += int(here.sum())
        if progress:
            progress(min(1.0, (top + rows) / height), "predicting")
    names = ("value", "low", "high", "unfamiliar")
    if predictor.variable.classes:
        names = ("class", "probability", "set_size", "unfamiliar")
        about = about | {"classes": json.dumps(dict(enumerate(predictor.variable.classes)), ensure_ascii=False)}
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=width,
            height=height,
            count=4,
            dtype="float32",
            nodata=NODATA,
            crs="EPSG:4326",
            transform=rasterio.transform.from_origin(bbox.west, bbox.north, step_deg, step_deg),
            compress="zstd",
            predictor=3,
            tiled=True,
            bigtiff="if_safer",
        ) as file:
            file.write(bands)
            file.descriptions = names
            file.units = [predictor.variable.unit] * (3 if not predictor.variable.classes else 0) + [""] * (
                1 if not predictor.variable.classes else 4
            )
            file.update_tags(**{key: str(value) for key, value in about.items()})
        _write(out, bytes(memory.read()))
    return {"width": width, "height": height, "land": land}


def _bands(found: Prediction) -> Floats:
    """A prediction of n places as (4, n) bands."""
    if found.probabilities is None or found.sets is None:
        layers = [found.values, found.low, found.high]
    else:
        layers = [found.values, found.probabilities.max(axis=1), found.sets.sum(axis=1)]
    return np.stack([*layers, found.unfamiliar]).astype(np.float64)

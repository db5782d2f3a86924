"""Embeddings of another model, read from its GeoParquet as tiles of an image-only gallery.

Owns what a row of such a file becomes; which of its columns mean what is ``indexer.gallery_columns``'s to find. Refuses
vectors without a direction and rows without a place, by number. Files are read a few thousand rows at a time, whatever
the size of their row groups.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from data.errors import CoordinateError, SourceError
from data.geo import Floats, validate_lonlat, wrap_lon
from indexer.encoder import Vectors
from indexer.export import PROVENANCE
from indexer.files import disk_errors, durable
from indexer.gallery_columns import CLOUD, GSD, Columns, common_type, extra_types, first, is_number
from indexer.rows import make_rows, open_writer, sort_rows

BATCH_ROWS = 4096
SHARD_ROWS = 65_536


def read_embeddings(
    path: Path,
    *,
    source: str,
    columns: Columns | None = None,
    dim: int | None = None,
    extra: dict[str, pa.DataType] | None = None,
) -> Iterator[pa.Table]:
    """Rows of a GeoParquet file of embeddings, as tiles.

    Args:
        path: the file.
        source: name under which its tiles stand in the index.
        columns: what the rules do not find.
        dim: D, if it must be a given one; by default the first row's.
        extra: columns that the tables shall have, some of them of other files; by default those of this one.

    Yields:
        Tables as ``indexer.rows.make_rows`` makes them, each sorted by itself, with unit vectors.

    Raises:
        SourceError: the file cannot be read, its columns are not clear, or a row cannot be used; names the row.
    """
    file = _open(path)
    found = (columns or Columns()).find(file.schema_arrow, where=path)
    kept = extra if extra is not None else extra_types(file.schema_arrow, found)
    wanted = [found.embedding, found.id, *(found.lonlat or ()), found.geometry, found.thumbnail, found.acquired]
    measures = [name for names in (CLOUD, GSD) if (name := first(names, file.schema_arrow))]
    names = sorted({name for name in (*wanted, *measures, *found.extra) if name is not None})
    row = 0
    with file:
        try:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=names):
                table = pa.Table.from_batches([batch])
                if len(table):
                    rows = _make(table, found, path, row, source=source, dim=dim, extra=kept)
                    dim = rows.schema.field("embedding").type.list_size
                    yield rows
                row += len(table)
        except (OSError, pa.ArrowInvalid) as error:
            raise SourceError(f"{path} is damaged after row {row:,}: {error}. Fetch it again.") from error


def _make(
    table: pa.Table,
    found: Columns,
    path: Path,
    start: int,
    *,
    source: str,
    dim: int | None,
    extra: dict[str, pa.DataType],
) -> pa.Table:
    """Rows of one batch."""
    where = f"{path}, rows from {start:,}"
    vectors = _unit_vectors(table[str(found.embedding)], path, start, dim)
    lonlat = _places(table, found, path, start)
    given = table[found.id].cast(pa.string()).to_pylist() if found.id else [None] * len(table)
    if found.id and (None in given or "" in given):
        row = next(i for i, name in enumerate(given) if not name)
        raise SourceError(f"{path}, row {start + row:,}: its id ({found.id}) is empty. Name another with --id-column.")
    ids = [name or f"{path.stem}-{start + row}" for row, name in enumerate(given)]
    long = next((i for i, name in enumerate(ids) if len(name) > 200 or len(name.splitlines()) != 1), None)
    if long is not None:
        raise SourceError(
            f"{path}, row {start + long:,}: its id has a line break or over 200 letters. Name another column."
        )
    columns: dict[str, Any] = {
        "source": [source] * len(table),
        "content": [_content(vector, place) for vector, place in zip(vectors, lonlat, strict=True)],
    }
    for target, names in (("cloud_percent", CLOUD), ("gsd_m", GSD)):
        name = first(names, table.schema)
        if name is not None and is_number(table.schema.field(name).type):
            columns[target] = _numbers(table[name], pa.float32())
    if found.acquired:
        columns["acquired"] = _times(table[found.acquired])
    if found.thumbnail:
        columns["thumbnail"] = [value or b"" for value in table[found.thumbnail].to_pylist()]
    for name, kind in extra.items():
        if name in table.column_names:
            columns[name] = _numbers(table[name], kind) if is_number(kind) else table[name].cast(kind).combine_chunks()
    try:
        return make_rows("tiles", ids, lonlat=lonlat, vectors=vectors, columns=columns, extra=extra)
    except pa.ArrowInvalid as error:
        raise SourceError(f"{where}: {error}.") from error


def write_gallery_shards(
    paths: Sequence[Path], folder: Path, name: str, *, columns: Columns | None = None
) -> tuple[list[Path], int, str]:
    """Write the rows of some files as sorted shards of tiles.

    Args:
        paths: files, or folders of ``*.parquet``.
        folder: where the shards appear, ``gallery-00000.parquet`` and so on; made where there is none.
        name: the source of the tiles.
        columns: what the rules do not find.

    Returns:
        The shards, each sorted by itself; D; and the fingerprint of the model: that of the checkpoint where the files
        are our own exports and say it, else a hash of ``name`` and D, so that no query of another model fits.

    Raises:
        SourceError: there is no file, the files do not belong together, an id is doubled, or a row cannot be used.
    """
    files = [one for path in paths for one in (sorted(path.glob("*.parquet")) if path.is_dir() else [path])]
    if not files:
        raise SourceError(f"There is no Parquet file in {', '.join(map(str, paths)) or 'an empty list'}.")
    extra: dict[str, pa.DataType] = {}
    claims: dict[str, Path] = {}
    for path in files:
        with _open(path) as file:
            layout = file.schema_arrow
        for column, kind in extra_types(layout, (columns or Columns()).find(layout, where=path)).items():
            extra[column] = common_type(extra.get(column, kind), kind, column, path)
        claims.setdefault(_claim(layout), path)
    if len(claims) > 1:
        raise SourceError(f"{' and '.join(map(str, claims.values()))} are of different models. Import them apart.")
    dim: int | None = None
    shards: list[Path] = []
    with disk_errors(folder, "Writing"):
        folder.mkdir(parents=True, exist_ok=True)
        for path in files:
            held: list[pa.Table] = []
            for rows in read_embeddings(path, source=name, columns=columns, dim=dim, extra=extra):
                dim = rows.schema.field("embedding").type.list_size
                held.append(rows)
                if sum(map(len, held)) >= SHARD_ROWS:
                    shards.append(_write(held, folder, len(shards)))
                    held = []
            if held:
                shards.append(_write(held, folder, len(shards)))
    if dim is None:
        raise SourceError(f"{', '.join(map(str, files))}: there are no rows.")
    _check_unique(shards)
    fingerprint = next(iter(claims)) or hashlib.sha256(json.dumps(["gallery", name, dim]).encode()).hexdigest()
    return shards, dim, fingerprint


def _write(held: list[pa.Table], folder: Path, number: int) -> Path:
    table = pa.concat_tables(held)
    order = sort_rows(table["key"].to_numpy(), table["id"].to_numpy())
    held.clear()
    path = folder / f"gallery-{number:05d}.parquet"
    with durable(path) as file, open_writer(file, table.schema) as writer:
        for start in range(0, len(order), BATCH_ROWS):
            writer.write_table(table.take(order[start : start + BATCH_ROWS]), 128)
    return path


def _check_unique(shards: list[Path]) -> None:
    """Refuse doubled ids, over all shards; on the disk where they do not fit."""
    text = "SELECT id, count(*) FROM read_parquet(?) GROUP BY id HAVING count(*) > 1 ORDER BY id LIMIT 1"
    doubled = duckdb.connect().execute(text, [[str(path) for path in shards]]).fetchone()
    if doubled:
        for path in shards:
            path.unlink()
        raise SourceError(
            f"The id {doubled[0]!r} stands in {doubled[1]} rows; every tile needs one of its own. Name another column "
            "with --id-column, or import each file once."
        )


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, buffer_size=1 << 20)  # else a whole column of a row group is read at once
    except FileNotFoundError:
        raise SourceError(f"There is no file {path}.") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise SourceError(f"{path} is no Parquet file, or is damaged: {error}. Fetch it again.") from error


def _claim(layout: pa.Schema) -> str:
    """Fingerprint of the checkpoint that made an export of ours, '' for files of others."""
    try:
        found = json.loads((layout.metadata or {})[PROVENANCE])["checkpoint"]["fingerprint"]
    except (KeyError, ValueError, TypeError):
        return ""
    return found if isinstance(found, str) and re.fullmatch(r"[0-9a-f]{64}", found) else ""


def _unit_vectors(column: pa.ChunkedArray, path: Path, start: int, dim: int | None) -> Vectors:
    """Rows of a column of lists as (N, D) float32 of length 1."""
    lists = column.combine_chunks()
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    dim = dim or int(lengths[0])
    if (lengths != dim).any() or not dim:
        row = int(np.argmax((lengths != dim) | (lengths == 0)))
        raise SourceError(
            f"{path}, row {start + row:,}: its embedding has {lengths[row]} numbers where {dim} are expected."
        )
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64).reshape(-1, dim)
    with np.errstate(over="ignore", invalid="ignore"):
        largest = np.abs(values).max(axis=1, keepdims=True)  # so that squares neither overflow nor vanish
        usable = np.isfinite(largest[:, 0]) & (largest[:, 0] > 0)
    if not usable.all():
        row = int(np.argmin(usable))
        seen = "only zeros" if largest[row, 0] == 0 else "numbers that are not finite, or missing"
        raise SourceError(
            f"{path}, row {start + row:,}: its embedding holds {seen}, so it has no direction. Remove the row."
        )
    values /= largest
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), dtype=np.float32)


def _places(table: pa.Table, found: Columns, path: Path, start: int) -> Floats:
    """(N, 2) degrees of a batch's rows."""
    if found.lonlat:
        lonlat = np.stack([_numbers(table[name], pa.float64()).to_numpy(False) for name in found.lonlat], axis=1)
    else:
        lonlat = _centroids(table[str(found.geometry)], path, start)
    bad = ~np.isfinite(lonlat).all(axis=1)
    if bad.any():
        raise SourceError(f"{path}, row {start + int(np.argmax(bad)):,}: it has no place. Remove the row.")
    try:
        return validate_lonlat(lonlat)
    except CoordinateError as error:
        raise SourceError(f"{path}, rows from {start:,}: {error}") from error


def _centroids(column: pa.ChunkedArray, path: Path, start: int) -> Floats:
    """Centroids of WKB geometries; one that spans more than half the globe is taken to cross ±180°."""
    try:
        shapes = shapely.from_wkb(column.to_numpy(zero_copy_only=False))
    except shapely.errors.GEOSException as error:
        raise SourceError(f"{path}, rows from {start:,}: a geometry is not WKB ({error}).") from error
    bounds = shapely.bounds(shapes)
    around = np.array([360.0, 0.0])
    for row in np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180):
        shapes[row] = shapely.transform(shapes[row], lambda points: points + (points[:, :1] < 0) * around)
    centres = shapely.centroid(shapes)
    return np.stack([wrap_lon(shapely.get_x(centres)), shapely.get_y(centres)], axis=1)


def _numbers(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    """A column of numbers in another type; what is missing stays so."""
    values = column.combine_chunks()
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    return values.cast(kind, safe=False)


def _times(column: pa.ChunkedArray) -> pa.Array:
    """A column of times or ISO 8601 text as UTC; one without a zone is taken as that."""
    kind = pa.timestamp("us", tz="UTC")
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        plain = column if pa.types.is_timestamp(column.type) else column.cast(pa.timestamp("us"))
        return plain.combine_chunks().cast(kind, safe=False)
    return pa.array([_time(value) for value in column.to_pylist()], type=kind)


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        read = datetime.fromisoformat(value.strip())
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _content(vector: Vectors, place: Floats) -> str:
    """32 hex digits that are the same for the same vector at the same place (to 0.01°)."""
    digest = hashlib.sha256(vector.astype("<f4").tobytes())
    digest.update(np.rint(place * 100).astype("<i8").tobytes())
    return digest.hexdigest()[:32]

"""Embeddings of another model, read from its GeoParquet as tiles of an image-only gallery.

Owns how such a file's columns are found (:class:`Columns` states the rules) and what its rows become. Refuses what it
would have to guess, with the option that says it, and vectors without a direction, by row. Files are read a few
thousand rows at a time, whatever the size of their row groups.

Source:
    GeoParquet 1.0 and 1.1 (geoparquet.org); the layouts that Major TOM, EarthEmbeddings and Clay publish.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from data.errors import SourceError
from indexer.files import disk_errors, durable
from indexer.rows import make_rows, open_writer, schema, sort_rows

BATCH_ROWS = 4096
SHARD_ROWS = 65_536
EMBEDDING = ("embedding", "embeddings", "vector", "vectors", "vec")
ID = ("unique_id", "id", "chips_id", "chip_id", "item_id")
LON_LAT = (("centre_lon", "centre_lat"), ("center_lon", "center_lat"), ("lon", "lat"), ("longitude", "latitude"))
TIME = ("acquired", "timestamp", "datetime", "date")
CLOUD = ("cloud_percent", "eo:cloud_cover", "cloud_cover")
GSD = ("gsd_m", "gsd", "eo:gsd")
PLACES_IN_DEGREES = ("EPSG:4326", "OGC:CRS84", "OGC:CRS84H", "EPSG:4979")


@dataclass(frozen=True)
class Columns:
    """Which columns of a file mean what. What is not given is found by these rules, on names as they are written.

    Attributes:
        embedding: the only column of lists of floating-point numbers; of several, the first of ``EMBEDDING``.
        id: the first of ``ID``; without any, rows are named by their file and number.
        lonlat: longitude and latitude: the first pair of ``LON_LAT``.
        geometry: without those, GeoParquet's primary column, or ``geometry``: WKB in degrees, of which the centroid is
            the place.
        thumbnail: ``thumbnail``, if it holds bytes.
        acquired: the first of ``TIME``; text is read as ISO 8601, and is no time where it cannot be.
        extra: numbers and text that are left; every column under its own name. A name that an index's own columns have
            already (upper or lower case) is left out.
    """

    embedding: str | None = None
    id: str | None = None
    lonlat: tuple[str, str] | None = None
    geometry: str | None = None
    thumbnail: str | None = None
    acquired: str | None = None
    extra: tuple[str, ...] = ()

    def find(self, layout: pa.Schema, *, where: Path) -> Columns:
        """The columns of a file.

        Raises:
            SourceError: one that is needed is missing, of the wrong type, or one of several that could be meant.
        """
        given = (self.embedding, self.id, *(self.lonlat or ()), self.geometry, self.thumbnail, self.acquired)
        for name in given:
            if name is not None and name not in layout.names:
                raise SourceError(f"{where} has no column {name!r}. It has: {', '.join(layout.names)}.")
        embedding = self.embedding or _the_embedding(layout, where)
        if not _is_vector(layout.field(embedding).type):
            raise SourceError(
                f"{where}: the column {embedding!r} holds {layout.field(embedding).type}, not lists of floating-point "
                "numbers. Name another with --embedding-column."
            )
        lonlat = self.lonlat
        if lonlat is None and self.geometry is None:
            lonlat = next((pair for pair in LON_LAT if all(name in layout.names for name in pair)), None)
        geometry = None if lonlat else self.geometry or _the_geometry(layout, where)
        if geometry is not None:
            _check_degrees(layout, geometry, where)
        name = self.id or _first(ID, layout)
        acquired = self.acquired or _first(TIME, layout)
        thumbnail = self.thumbnail or _first(("thumbnail",), layout)
        if thumbnail is not None and not _is_binary(layout.field(thumbnail).type):
            thumbnail = None
        used = {embedding, name, geometry, thumbnail, *(lonlat or ())}
        taken = {own.casefold() for own in schema("tiles", 1).names}
        extra: list[str] = []
        for field in layout:
            if field.name not in used and field.name.casefold() not in taken and _kept_type(field.type) is not None:
                taken.add(field.name.casefold())
                extra.append(field.name)
        return replace(
            self,
            embedding=embedding,
            id=name,
            lonlat=lonlat,
            geometry=geometry,
            thumbnail=thumbnail,
            acquired=acquired,
            extra=tuple(extra),
        )


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
    measures = [name for names in (CLOUD, GSD) if (name := _first(names, file.schema_arrow))]
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
    first: int,
    *,
    source: str,
    dim: int | None,
    extra: dict[str, pa.DataType],
) -> pa.Table:
    """Rows of one batch."""
    where = f"{path}, rows from {first:,}"
    vectors = _unit_vectors(table[str(found.embedding)], path, first, dim)
    lonlat = _places(table, found, path, first)
    given = table[found.id].cast(pa.string()).to_pylist() if found.id else [None] * len(table)
    if found.id and (None in given or "" in given):
        row = next(i for i, name in enumerate(given) if not name)
        raise SourceError(f"{path}, row {first + row:,}: its id ({found.id}) is empty. Name another with --id-column.")
    ids = [name or f"{path.stem}-{first + row}" for row, name in enumerate(given)]
    long = next((i for i, name in enumerate(ids) if len(name) > 200 or len(name.splitlines()) != 1), None)
    if long is not None:
        raise SourceError(
            f"{path}, row {first + long:,}: its id has a line break or over 200 letters. Name another column."
        )
    columns: dict[str, Any] = {
        "source": [source] * len(table),
        "content": [_content(vector, place) for vector, place in zip(vectors, lonlat, strict=True)],
    }
    for target, names in (("cloud_percent", CLOUD), ("gsd_m", GSD)):
        name = _first(names, table.schema)
        if name is not None and _is_number(table.schema.field(name).type):
            columns[target] = _numbers(table[name], pa.float32())
    if found.acquired:
        columns["acquired"] = _times(table[found.acquired])
    if found.thumbnail:
        columns["thumbnail"] = [value or b"" for value in table[found.thumbnail].to_pylist()]
    for name, kind in extra.items():
        if name in table.column_names:
            columns[name] = _numbers(table[name], kind) if _is_number(kind) else table[name].cast(kind).combine_chunks()
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
            extra[column] = _common(extra.get(column, kind), kind, column, path)
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

"""Rows of a snapshot as files for other programs: GeoParquet, GeoJSON, CSV, and vectors as ``.npy`` with their ids.

Owns what leaves the index and in which form. Cells and their parents leave as hex strings, because no JSON reader keeps
64-bit integers; ``key`` and pictures stay. Rows are streamed in their order, so memory does not grow with the index.
Files hold no time and no path: the same rows give the same bytes. Refuses to replace a file unless told to.

Source:
    GeoParquet 1.1.0 (geoparquet.org); RFC 7946, The GeoJSON Format; RFC 4180 for CSV; numpy.lib.format for ``.npy``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from data.errors import IndexStoreError, QueryError
from data.geo import cell_to_hex
from data.rows import BBOX, geo_metadata
from indexer.cell_shapes import cell_shapes, shape_boxes
from indexer.files import disk_errors, durable
from indexer.rows import HEAVY, KINDS, PARENT_RESOLUTIONS, vectors_of
from indexer.rowset import RowSet
from indexer.snapshot import MANIFEST

Format = Literal["geoparquet", "geojson", "csv", "npy"]
Shape = Literal["point", "cell"]
SUFFIXES: dict[str, Format] = {
    ".parquet": "geoparquet",
    ".geoparquet": "geoparquet",
    ".geojson": "geojson",
    ".json": "geojson",
    ".csv": "csv",
    ".npy": "npy",
}
PIECE_ROWS = 4096
"""Rows held at once, and rows of a written row group."""
PROVENANCE = b"samewhere"
"""Key of the Parquet metadata that says which checkpoint made the vectors."""


def export_rows(
    directory: Path,
    kind: str,
    out: Path,
    *,
    rows: RowSet | None = None,
    format: Format | None = None,
    geometry: Shape = "point",
    force: bool = False,
) -> int:
    """Write rows of one kind to a file.

    Args:
        directory: the snapshot.
        kind: ``cells`` or ``tiles``.
        out: the file; ``.npy`` has its ids, one a line, beside it in ``NAME.ids.txt``.
        rows: which; None for all.
        format: by the name's suffix unless it is given. Only GeoParquet and ``npy`` hold vectors.
        geometry: what GeoParquet and GeoJSON show of a cell: its centre, or its outline.
        force: whether to replace ``out``.

    Returns:
        How many rows.

    Raises:
        QueryError: the format, the kind or the file cannot be used.
        IndexStoreError: the snapshot cannot be read, or the file cannot be written.
    """
    chosen = format or SUFFIXES.get(out.suffix.lower())
    if chosen is None or chosen not in get_args(Format):
        raise QueryError(
            f"{out.name}: what format {format or out.suffix or 'a name without a suffix'!r} is, is not known. "
            f"Use one of {', '.join(SUFFIXES)}, or --format with one of {', '.join(get_args(Format))}."
        )
    if kind not in KINDS:
        raise QueryError(f"An index holds {' and '.join(KINDS)}, no {kind!r}.")
    if geometry == "cell" and kind != "cells":
        raise QueryError("Only cells have an outline of their own; export tiles as points.")
    for file in [out, _ids_of(out)] if chosen == "npy" else [out]:
        if file.is_dir() or (file.exists() and not force):
            raise QueryError(f"{file} exists already. Choose another name, or give --force to replace it.")
    if not out.parent.is_dir():
        raise QueryError(f"{out.parent} is no directory; make it, or write elsewhere.")
    try:
        source = pq.ParquetFile(directory / f"{kind}.parquet", memory_map=True)
    except (OSError, pa.ArrowInvalid) as error:
        raise IndexStoreError(f"{directory / f'{kind}.parquet'} cannot be read: {error}") from error
    total = source.metadata.num_rows
    wanted = RowSet.from_runs([[0, total]]) if rows is None else rows
    if wanted.count and (wanted.runs[0, 0] < 0 or wanted.runs[-1, 1] > total):
        raise QueryError(f"Rows up to {int(wanted.runs[-1, 1]) - 1:,} were asked for; {kind} has {total:,}.")
    writer = {"geoparquet": _geoparquet, "geojson": _geojson, "csv": _csv, "npy": _npy}[chosen]
    with source, disk_errors(out, "Writing"):
        writer(_Job(source, directory, wanted, out, geometry))
    return wanted.count


@dataclass(frozen=True)
class _Job:
    """What is written and where."""

    source: pq.ParquetFile
    directory: Path
    rows: RowSet
    out: Path
    geometry: Shape

    @property
    def columns(self) -> list[str]:
        """Names of the light columns that leave the index."""
        return [name for name in self.source.schema_arrow.names if name not in (*HEAVY, "key")]


def _pieces(job: _Job, columns: list[str]) -> Iterator[pa.Table]:
    """The rows in order, up to ``PIECE_ROWS`` at a time; only row groups that hold some of them are read."""
    source, held = job.source, list[pa.Table]()
    count = stop = 0
    for group in range(source.metadata.num_row_groups):
        start, stop = stop, stop + source.metadata.row_group(group).num_rows
        here = job.rows & RowSet.from_runs([[start, stop]])
        if not here.count:
            continue
        table = source.read_row_group(group, columns=columns)
        held.append(table if here.count == len(table) else table.take(here.rows() - start))
        count += here.count
        if count >= PIECE_ROWS:
            together = pa.concat_tables(held)
            whole = count - count % PIECE_ROWS
            for first in range(0, whole, PIECE_ROWS):
                yield together.slice(first, PIECE_ROWS)
            held, count = [together.slice(whole)], count - whole
    if count:
        yield pa.concat_tables(held)


def _open(table: pa.Table) -> pa.Table:
    """A piece with its cells as hex strings."""
    for name in _cells(table.schema):
        column, place = table[name], table.column_names.index(name)
        text = cell_to_hex(column.fill_null(0).to_numpy())
        table = table.set_column(place, name, pa.array(text, type=pa.string(), mask=column.is_null().to_numpy()))
    return table


def _cells(layout: pa.Schema) -> list[str]:
    """Columns that hold cells; other whole numbers stay what they are."""
    names = ["id", *(f"parent_{r}" for r in PARENT_RESOLUTIONS)]
    return [name for name in names if name in layout.names and layout.field(name).type == pa.uint64()]


def _shapes(table: pa.Table, geometry: Shape) -> NDArray[Any]:
    """(N,) shapely geometries of a piece as it is stored."""
    if geometry == "cell":
        return cell_shapes(table["id"].to_numpy())
    return np.asarray(shapely.points(table["lon"].to_numpy(), table["lat"].to_numpy()))


def _geoparquet(job: _Job) -> None:
    light, stored = job.columns, job.source.schema_arrow
    fields = [pa.field(name, pa.string()) if name in _cells(stored) else stored.field(name) for name in light]
    vectors = pa.field("embedding", pa.list_(pa.field("element", pa.float32(), nullable=False)), nullable=False)
    fields += [pa.field("bbox", BBOX, nullable=False), pa.field("geometry", pa.binary(), nullable=False), vectors]
    example = shapely.Point(0, 0) if job.geometry == "point" else shapely.box(0, 0, 1, 1)
    about = geo_metadata(pa.table({"geometry": pa.array([shapely.to_wkb(example)])}))
    if job.geometry == "cell":  # those across ±180° are in two parts
        about = {b"geo": about[b"geo"].replace(b'["Polygon"]', b'["Polygon", "MultiPolygon"]')}
    layout = pa.schema(fields, metadata=about | _provenance(job))
    with (
        durable(job.out) as file,
        pq.ParquetWriter(
            file,
            layout,
            compression={"embedding.list.element": "NONE"} | dict.fromkeys([*light, "geometry"], "ZSTD"),
            use_dictionary=[name for name in ("country", "continent", "source") if name in light],
        ) as writer,
    ):
        for table in _pieces(job, [*light, "embedding"]):
            shapes = _shapes(table, job.geometry)
            values = vectors_of(table)
            offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1])
            lists = pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1)), type=vectors.type)
            opened = _open(table)
            arrays: dict[str, Any] = {name: opened[name] for name in light}
            arrays["bbox"] = pa.array(shape_boxes(shapes), type=BBOX)
            arrays["geometry"] = pa.array(shapely.to_wkb(shapes), type=pa.binary())
            arrays["embedding"] = lists
            writer.write_table(pa.table([arrays[field.name] for field in layout], schema=layout), PIECE_ROWS)


def _provenance(job: _Job) -> dict[bytes, bytes]:
    """Which checkpoint made the vectors, as the manifest says, so that they can be searched with it again."""
    path = job.directory / MANIFEST
    if not path.is_file():
        return {}
    try:
        checkpoint = json.loads(path.read_bytes())["checkpoint"]
    except (ValueError, KeyError, TypeError) as error:
        raise IndexStoreError(f"{path} cannot be read ({type(error).__name__}: {error}).") from error
    return {PROVENANCE: json.dumps({"checkpoint": checkpoint}, sort_keys=True).encode()}


def _geojson(job: _Job) -> None:
    names = [name for name in job.columns if job.geometry == "cell" or name not in ("lon", "lat")]
    with durable(job.out) as file:
        file.write(b'{"type": "FeatureCollection", "features": [')
        between = b"\n"
        for table in _pieces(job, job.columns):
            outlines = shapely.to_geojson(_rounded(_shapes(table, job.geometry)))
            for row, outline in zip(_open(table).select(names).to_pylist(), outlines.tolist(), strict=True):
                properties = {name: _plain(value) for name, value in row.items() if name != "id"}
                head = json.dumps({"type": "Feature", "id": row["id"]}, ensure_ascii=False)[:-1]
                tail = json.dumps(properties, ensure_ascii=False, allow_nan=False)
                file.write(between + f'{head}, "geometry": {outline}, "properties": {tail}}}'.encode())
                between = b",\n"
        file.write(b"\n]}\n")


def _rounded(shapes: NDArray[Any]) -> NDArray[Any]:
    """To seven digits, a centimetre."""
    return np.asarray(shapely.transform(shapes, lambda points: np.round(points, 7)))


def _plain(value: Any) -> Any:
    """A value as JSON and CSV hold it: times as ISO 8601, what is no number as nothing."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _csv(job: _Job) -> None:
    names = job.columns
    with durable(job.out) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(names)
        for table in _pieces(job, names):
            opened = _open(table)
            columns = [opened[name].to_pylist() for name in names]
            writer.writerows([_plain(value) for value in row] for row in zip(*columns, strict=True))
        text.flush()
        text.detach()


def _ids_of(out: Path) -> Path:
    """The file of ids beside one of vectors."""
    return out.with_name(f"{out.stem}.ids.txt")


def _npy(job: _Job) -> None:
    """Vectors and ids, row by row; the vectors appear last, so where they are, their ids are."""
    dim = job.source.schema_arrow.field("embedding").type.list_size
    header = {"descr": "<f4", "fortran_order": False, "shape": (job.rows.count, dim)}
    with durable(job.out) as vectors, durable(_ids_of(job.out)) as ids:
        np.lib.format.write_array_header_1_0(vectors, header)
        for table in _pieces(job, ["id", "embedding"]):
            vectors.write(vectors_of(table).astype("<f4").tobytes())
            for name in _open(table)["id"].to_pylist():
                if len(name.splitlines()) != 1:
                    raise IndexStoreError(f"The id {name!r} fits no list of one id a line. Export GeoParquet instead.")
                ids.write(f"{name}\n".encode())

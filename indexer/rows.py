"""The rows of an index: their columns, and how they are written to and read from Parquet and Arrow.

Owns the schema. A row's id and its vector stand side by side in Parquet, so that neither is lost without the other; the
light columns stand once more in an Arrow file, which is mapped and not read. Rows ascend by ``key``, then by id:
``key`` is the row's H3 cell without its resolution, so whatever lies in one cell is one run of rows, at mixed
resolutions too. Written files hold no time and no path: the same rows give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from data import atlas
from data.geo import Cells, Floats, cell_key, cell_of, cell_parent
from indexer.encoder import Vectors

KINDS = ("cells", "tiles")
PARENT_RESOLUTIONS = (0, 1, 2, 3)
HEAVY = ("thumbnail", "embedding")
TEXT = ("country", "continent", "source")
"""Columns of few different values; in the Arrow file they are dictionaries."""
ROW_GROUP = {"cells": 4096, "tiles": 128}
"""Rows a group. Small for tiles, because one thumbnail is read by reading its group (about 0.2 MB)."""
TILE_KEY_RESOLUTION = 9
"""Of the cell whose key a tile of a dataset has: 350 m across."""


def schema(kind: str, dim: int, extra: Mapping[str, pa.DataType] | None = None) -> pa.Schema:
    """Columns of ``cells`` or ``tiles`` with embeddings of length ``dim``.

    Args:
        kind: a cell's id is its uint64 H3 index, a tile's is text.
        dim: D.
        extra: further columns of tiles, numbers or text, each of which may be missing in a row.
    """
    fields = [pa.field("id", pa.uint64() if kind == "cells" else pa.string(), nullable=False)]
    fields += [pa.field("key", pa.uint64(), nullable=False)]
    fields += [pa.field(name, pa.float64(), nullable=False) for name in ("lon", "lat")]
    fields += [pa.field(f"parent_{r}", pa.uint64()) for r in PARENT_RESOLUTIONS]
    fields += [pa.field(name, pa.string(), nullable=False) for name in ("country", "continent")]
    if kind == "cells":
        fields += [pa.field("resolution", pa.uint8(), nullable=False)]
    else:
        fields += [
            pa.field("source", pa.string(), nullable=False),
            pa.field("content", pa.string(), nullable=False),
            pa.field("acquired", pa.timestamp("us", tz="UTC")),
            *(pa.field(name, pa.float32()) for name in ("cloud_percent", "gsd_m", "footprint_km")),
            *(pa.field(name, kept) for name, kept in sorted((extra or {}).items())),
            pa.field("thumbnail", pa.binary(), nullable=False),
        ]
    item = pa.field("element", pa.float32(), nullable=False)
    return pa.schema([*fields, pa.field("embedding", pa.list_(item, dim), nullable=False)])


def extra_columns(layout: pa.Schema) -> dict[str, pa.DataType]:
    """The columns of a tiles' schema that not every index has."""
    common = schema("tiles", 1).names
    return {field.name: field.type for field in layout if field.name not in common}


def light(layout: pa.Schema) -> list[str]:
    """Names of every column but the two heavy ones."""
    return [name for name in layout.names if name not in HEAVY]


def make_rows(
    kind: str,
    ids: Sequence[str] | Cells,
    *,
    lonlat: Floats,
    vectors: Vectors,
    cells: Cells | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
    extra: Mapping[str, pa.DataType] | None = None,
) -> pa.Table:
    """Rows, sorted.

    Args:
        kind: ``cells`` or ``tiles``.
        ids: N ids: H3 cells, or text for tiles.
        lonlat: (N, 2) degrees.
        vectors: (N, D) float32 unit rows.
        cells: (N,) H3 cells to which the rows belong; by default the ids of cells, and for tiles the cells of
            resolution 9 at their places.
        columns: the others of the kind by name; a missing one is null, or '' or b'' where null is not allowed.
        extra: further columns, of tiles.
    """
    layout = schema(kind, vectors.shape[1], extra)
    at = cells
    if at is None:
        at = np.asarray(ids, dtype=np.uint64) if kind == "cells" else cell_of(lonlat, TILE_KEY_RESOLUTION)
    own = ((at >> np.uint64(52)) & np.uint64(15)).astype(np.uint8)
    given: dict[str, Any] = {"id": ids, "key": cell_key(at), "lon": lonlat[:, 0], "lat": lonlat[:, 1]}
    given["country"] = atlas.country_of(lonlat).tolist() if len(lonlat) else []
    given["continent"] = atlas.continent_of(lonlat).tolist() if len(lonlat) else []
    given["resolution"] = own
    for r in PARENT_RESOLUTIONS:  # a coarse cell has no parent finer than itself
        parents = cell_parent(np.where(own >= r, at, at | np.uint64(15 << 52)), r) if len(at) else at
        given[f"parent_{r}"] = pa.array(parents, mask=own < r)
    given |= columns or {}
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    given["embedding"] = pa.FixedSizeListArray.from_arrays(flat, type=layout.field("embedding").type)
    empty = {pa.string(): "", pa.binary(): b""}
    arrays = []
    for field in layout:
        values = given.get(field.name)
        if values is None:
            values = [None if field.nullable else empty[field.type]] * len(ids)
        arrays.append(values if isinstance(values, pa.Array) else pa.array(values, type=field.type))
    table = pa.table(arrays, schema=layout)
    order = sort_rows(table["key"].to_numpy(), table["id"].to_numpy())
    return table if np.array_equal(order, np.arange(len(order))) else table.take(order)


def sort_rows(keys: Cells, ids: NDArray[Any]) -> NDArray[np.int64]:
    """The order of rows: (N,) positions by key, then by id."""
    if ids.dtype != np.uint64:
        ids = ids.astype(np.str_)
    return np.lexsort((ids, keys)).astype(np.int64)


def open_writer(file: BinaryIO | Any, layout: pa.Schema) -> pq.ParquetWriter:
    """A Parquet writer. Vectors and pictures do not shrink, so only the other columns are compressed."""
    columns = light(layout)
    return pq.ParquetWriter(
        file,
        layout,
        compression={"embedding.list.element": "NONE", "thumbnail": "NONE"} | dict.fromkeys(columns, "ZSTD"),
        use_dictionary=[name for name in TEXT if name in layout.names],
        write_statistics=columns,
    )


def write_light(file: BinaryIO | Any, rows: Path) -> None:
    """Write the light columns of a row file as an Arrow file; texts of few values as dictionaries in their order."""
    table = pq.read_table(rows, columns=light(pq.read_schema(rows)))
    for name in TEXT:
        if name in table.column_names:
            place = table.column_names.index(name)
            values = table[name].combine_chunks()
            names = pa.array(sorted(set(values.unique().to_pylist())), type=pa.string())
            codes = pa.compute.index_in(values, names)
            table = table.set_column(place, name, pa.DictionaryArray.from_arrays(codes.cast(pa.int32()), names))
    table = table.combine_chunks()
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def read_light(path: Path) -> pa.Table:
    """The light columns, mapped from an Arrow file: nothing is read before it is looked at."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def read_ids(path: Path) -> NDArray[Any]:
    """The ids of a row file, (N,) uint64 or objects, without touching its vectors."""
    ids = pq.read_table(path, columns=["id"], memory_map=True)["id"].to_numpy()
    return np.asarray(ids)


def row_numbers(rows: ArrayLike) -> pa.Array:
    """Row numbers for Arrow's ``take``. Its own way from NumPy loads pandas first, some 300 ms of a first search."""
    numbers = np.ascontiguousarray(rows, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])


def numbers_of(column: pa.ChunkedArray) -> NDArray[Any]:
    """A column of numbers or times as NumPy looks at it, without a copy where it is one piece, and without pandas.

    What is missing has any value; times are counted.
    """
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    dtype = np.int64 if pa.types.is_timestamp(whole.type) else whole.type.to_pandas_dtype()
    return np.frombuffer(whole.buffers()[1] or b"", dtype=dtype)[whole.offset :][: len(whole)]


def vectors_of(table: pa.Table) -> Vectors:
    """The embedding column as (N, D) float32."""
    column = table["embedding"].combine_chunks()
    flat = np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
    return flat.reshape(len(table), -1) if len(table) else np.empty((0, column.type.list_size), dtype=np.float32)


def vector_batches(path: Path) -> Iterator[Vectors]:
    """The vectors of a row file in order, a few thousand at a time."""
    for batch in pq.ParquetFile(path).iter_batches(columns=["embedding"], batch_size=8192):
        yield vectors_of(pa.Table.from_batches([batch]))

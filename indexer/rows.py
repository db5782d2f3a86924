"""The rows of an index: their columns, and how they are written to and read from Parquet.

Owns the schema. A row's id and its vector stand side by side, so that neither can be lost without the other. Written
files hold no time and no path: the same rows give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.geo import Cells, Floats, cell_parent
from indexer.encoder import Vectors

PARENT_RESOLUTIONS = (0, 1, 2, 3)
METADATA = ("id", "lon", "lat", *(f"parent_{r}" for r in PARENT_RESOLUTIONS), "country")
"""Every column but the two heavy ones, thumbnail and embedding."""
ROW_GROUP = {"cells": 4096, "tiles": 128}
"""Rows a group. Small for tiles, because one thumbnail is read by reading its group (about 0.2 MB)."""


def schema(kind: str, dim: int) -> pa.Schema:
    """Columns of ``cells`` or ``tiles`` with embeddings of length ``dim``."""
    fields = [pa.field("id", pa.uint64(), nullable=False)]
    fields += [pa.field(name, pa.float64(), nullable=False) for name in ("lon", "lat")]
    fields += [pa.field(f"parent_{r}", pa.uint64()) for r in PARENT_RESOLUTIONS]
    fields += [pa.field("country", pa.string(), nullable=False)]
    if kind == "tiles":
        fields += [pa.field("thumbnail", pa.binary(), nullable=False)]
    item = pa.field("element", pa.float32(), nullable=False)
    return pa.schema([*fields, pa.field("embedding", pa.list_(item, dim), nullable=False)])


def make_rows(
    kind: str,
    ids: Cells,
    *,
    lonlat: Floats,
    countries: NDArray[np.str_],
    vectors: Vectors,
    thumbnails: Sequence[bytes] | None = None,
) -> pa.Table:
    """Rows of one shard.

    Args:
        kind: ``cells`` or ``tiles``.
        ids: (N,) uint64 H3 ids, ascending.
        lonlat: (N, 2) degrees.
        countries: (N,) ISO 3166 alpha-3, '' for none.
        vectors: (N, D) float32 unit rows.
        thumbnails: N JPEG files, for tiles.
    """
    resolution = (int(ids[0]) >> 52) & 15 if len(ids) else 0
    columns: dict[str, Any] = {"id": ids, "lon": lonlat[:, 0], "lat": lonlat[:, 1], "country": countries.tolist()}
    for r in PARENT_RESOLUTIONS:  # a coarse cell has no parent finer than itself
        columns[f"parent_{r}"] = cell_parent(ids, r) if r <= resolution else [None] * len(ids)
    if thumbnails is not None:
        columns["thumbnail"] = thumbnails
    layout = schema(kind, vectors.shape[1])
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, type=layout.field("embedding").type)
    return pa.table([pa.array(columns[field.name], type=field.type) for field in layout], schema=layout)


def open_writer(file: BinaryIO, layout: pa.Schema) -> pq.ParquetWriter:
    """A Parquet writer. Vectors and pictures do not shrink, so only the other columns are compressed."""
    heavy = [name for name in layout.names if name not in METADATA]
    return pq.ParquetWriter(
        file,
        layout,
        compression={"embedding.list.element": "NONE", "thumbnail": "NONE"}
        | {name: "ZSTD" for name in layout.names if name not in heavy},
        use_dictionary=["country"],
        write_statistics=[name for name in layout.names if name not in heavy],
    )


def read_ids(path: Path) -> Cells:
    """The ids of a row file, (N,) uint64, without touching its vectors."""
    return np.asarray(pq.read_table(path, columns=["id"], memory_map=True)["id"].to_numpy(), dtype=np.uint64)


def vectors_of(table: pa.Table) -> Vectors:
    """The embedding column as (N, D) float32."""
    column = table["embedding"].combine_chunks()
    flat = np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
    return flat.reshape(len(table), -1) if len(table) else np.empty((0, column.type.list_size), dtype=np.float32)

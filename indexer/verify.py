"""Reads a whole snapshot and finds what is damaged: every file against its checksum, rows against their copies.

Owns also the check of what checksums cannot see: whether the approximate indexes find what the exact search finds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from indexer.ann import AnnIndex
from indexer.ann_build import QUERIES, Recall, measure_recall, sample_queries
from indexer.commit import Weightings
from indexer.files import disk_errors, sha256
from indexer.rows import KINDS, light, read_light, sort_rows, vectors_of
from indexer.snapshot import Manifest, held_snapshot
from indexer.vectors import VectorIndex


def find_damage(index: Path, name: str | None = None) -> list[str]:
    """Compare every file of a snapshot with what its manifest promises.

    Args:
        index: the index's directory.
        name: of the snapshot, where a directory keeps several.

    Returns:
        One sentence for each damaged file; none when all is well.

    Raises:
        IndexStoreError: there is no snapshot, or its manifest is not to be trusted.
    """
    damage = []
    with held_snapshot(index, name) as directory, disk_errors(directory, "Reading"):
        manifest = Manifest.read(directory, index=index)
        for file, promised in manifest.files.items():
            path = directory / file
            if not path.is_file():
                damage.append(f"{path} is missing.")
            elif path.stat().st_size != promised["size"]:
                damage.append(f"{path} has {path.stat().st_size:,} bytes where {promised['size']:,} were written.")
            elif sha256(path) != promised["sha256"]:
                damage.append(f"{path} was changed: its SHA-256 is not that of what was written.")
        if not damage:  # files are as they were written; were they written right?
            for kind in KINDS:
                count, dim = manifest.counts[kind], manifest.checkpoint["dim"]
                vectors = VectorIndex(directory / f"{kind}.faiss", count=count, dim=dim)
                damage += _compare(directory / f"{kind}.parquet", vectors)
                damage += _compare_light(directory / f"{kind}.parquet", directory / f"{kind}.arrow")
    return damage


def recall_of(index: Path, weightings: Weightings, name: str | None = None) -> dict[str, dict[str, Recall]]:
    """What the approximate indexes of a snapshot find of the exact ten, on 1,000 queries that they were not made with.

    Args:
        index: the index's directory.
        weightings: the views of its checkpoint; asked for only where there is an approximate index.
        name: of the snapshot, where a directory keeps several.

    Returns:
        By kind and view; empty where everything is answered exactly.

    Raises:
        IndexStoreError: there is no snapshot, or a file of it is damaged.
    """
    found: dict[str, dict[str, Recall]] = {}
    with held_snapshot(index, name) as directory, disk_errors(directory, "Reading"):
        manifest = Manifest.read(directory, index=index)
        dim = manifest.checkpoint["dim"]
        rows = {kind: VectorIndex(directory / f"{kind}.faiss", count=manifest.counts[kind], dim=dim) for kind in KINDS}
        for kind, other in zip(KINDS, reversed(KINDS), strict=True):
            settings = manifest.search[kind]
            if settings["method"] == "flat":
                continue
            ann = AnnIndex(directory / f"{kind}.ann", rows[kind], settings)
            queries = sample_queries(rows[kind], rows[other], seed=1, count=QUERIES)
            found[kind] = dict(measure_recall(ann, rows[kind], settings, weightings(), queries))
    return found


def _compare(path: Path, vectors: VectorIndex) -> list[str]:
    """Compare a row file with its FAISS file row by row, and check that its rows are in order and their ids unique."""
    columns = pq.read_table(path, columns=["key", "id"])
    keys, ids = columns["key"].to_numpy(), columns["id"].to_numpy()
    if not np.array_equal(sort_rows(keys, ids), np.arange(len(ids))):
        return [f"{path}: rows are not in order."]
    if len(set(ids.tolist())) != len(ids):
        return [f"{path}: an id stands in two rows."]
    rows = 0
    for batch in pq.ParquetFile(path).iter_batches(columns=["embedding"]):
        stored = vectors_of(pa.Table.from_batches([batch]))
        if rows + len(stored) > vectors.count or not np.array_equal(stored, vectors.block(rows, len(stored))):
            return [f"{path}: embeddings differ from those in its FAISS file near row {rows}."]
        if not np.allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-4):
            return [f"{path}: embeddings near row {rows} are not of unit length."]
        rows += len(stored)
    return [] if rows == vectors.count else [f"{path} holds {rows} rows, its FAISS file {vectors.count}."]


def _same(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    """Whether two columns hold the same, whatever their encoding; what is no number equals itself."""
    one, other = (
        column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        for column in (one, other)
    )
    if pa.types.is_floating(one.type) and one.type == other.type:
        nulls = one.is_null().equals(other.is_null())
        return bool(nulls and np.array_equal(one.to_numpy(), other.to_numpy(), equal_nan=True))
    return bool(one.equals(other.cast(one.type)))


def _compare_light(rows: Path, columns: Path) -> list[str]:
    """Compare the light columns of a row file with their copy."""
    wanted = pq.read_table(rows, columns=light(pq.read_schema(rows)))
    seen = read_light(columns)
    for name in wanted.column_names:
        if name not in seen.column_names or not _same(seen[name], wanted[name]):
            return [f"{columns}: the column {name} differs from that of {rows.name}."]
    return []

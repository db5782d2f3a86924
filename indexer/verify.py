"""Reads a whole snapshot and finds what is damaged: every file against its checksum, rows against vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from indexer.files import disk_errors, sha256
from indexer.rows import vectors_of
from indexer.snapshot import CATALOGUE, DATA_FILES, KINDS, Manifest, current_snapshot
from indexer.vectors import VectorIndex


def find_damage(index: Path) -> list[str]:
    """Compare every file of the current snapshot with what its manifest promises.

    Returns:
        One sentence for each damaged file; none when all is well.

    Raises:
        IndexStoreError: there is no snapshot, or its manifest is not to be trusted.
    """
    directory = current_snapshot(index)
    manifest = Manifest.read(directory, index=index)
    damage = []
    with disk_errors(directory, "Reading"):
        for name in (*DATA_FILES, CATALOGUE):
            path, promised = directory / name, manifest.files[name]
            if not path.is_file():
                damage.append(f"{path} is missing.")
            elif path.stat().st_size != promised["size"]:
                damage.append(f"{path} has {path.stat().st_size:,} bytes where {promised['size']:,} were written.")
            elif sha256(path) != promised["sha256"]:
                damage.append(f"{path} was changed: its SHA-256 is not that of what was written.")
        if not damage:  # files are as they were written; were they written right?
            for kind in KINDS:
                vectors = VectorIndex(
                    directory / f"{kind}.faiss", count=manifest.counts[kind], dim=manifest.checkpoint["dim"]
                )
                damage += _compare(directory / f"{kind}.parquet", vectors)
    return damage


def _compare(path: Path, vectors: VectorIndex) -> list[str]:
    """Compare a row file with its FAISS file row by row, and check that its ids ascend."""
    rows, last = 0, -1
    for batch in pq.ParquetFile(path).iter_batches(columns=["id", "embedding"]):
        table = pa.Table.from_batches([batch])
        ids = table["id"].to_numpy().astype(np.int64)
        if not (np.diff(ids, prepend=last) > 0).all():
            return [f"{path}: ids do not ascend strictly near row {rows}."]
        stored = vectors_of(table)
        if rows + len(ids) > vectors.count or not np.array_equal(stored, vectors.block(rows, len(ids))):
            return [f"{path}: embeddings differ from those in its FAISS file near row {rows}."]
        if not np.allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-4):
            return [f"{path}: embeddings near row {rows} are not of unit length."]
        rows, last = rows + len(ids), int(ids[-1])
    return [] if rows == vectors.count else [f"{path} holds {rows} rows, its FAISS file {vectors.count}."]

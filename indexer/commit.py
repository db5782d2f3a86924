"""Turns row files into a snapshot: merge, vectors, light columns, manifest, pointer.

Owns the last steps of every job, whatever made the rows. Nothing that readers see changes before the pointer does.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from indexer.files import durable
from indexer.merge import Input, merge_rows
from indexer.rows import KINDS, ROW_GROUP, extra_columns, read_light, schema, vector_batches, write_light
from indexer.snapshot import Manifest, publish, sweep
from indexer.vectors import write_vectors


def commit(
    index: Path,
    work: Path,
    inputs: Mapping[str, Sequence[Input]],
    *,
    checkpoint: Mapping[str, Any],
    parameters: Mapping[str, Any],
    plan: str,
    name: str | None = None,
    failed: Sequence[tuple[str, str]] = (),
) -> Manifest:
    """Make a snapshot of the rows of some files, and make it the current one.

    Args:
        index: the index's directory, locked by the caller.
        work: a directory in it for what is unfinished; removed at the end.
        inputs: row files by kind.
        checkpoint: of the vectors.
        parameters: to be stored.
        plan: digest of what was asked for.
        name: of the pointer.
        failed: rows that could not be made, with reasons; stored beside the parameters.
    """
    staged = work / "snapshot"
    if staged.exists():
        shutil.rmtree(staged)
    staged.mkdir(parents=True)
    dim = int(checkpoint["dim"])
    counts = {}
    for kind in KINDS:
        extra: dict[str, Any] = {}
        for source in inputs[kind]:
            extra |= extra_columns(pq.read_schema(source.path)) if kind == "tiles" else {}
        rows = staged / f"{kind}.parquet"
        with durable(rows) as file:
            counts[kind] = merge_rows(file, inputs[kind], schema(kind, dim, extra), row_group=ROW_GROUP[kind])
        with durable(staged / f"{kind}.faiss") as file:
            write_vectors(file, vector_batches(rows), dim=dim, count=counts[kind])
        with durable(staged / f"{kind}.arrow") as file:
            write_light(file, rows)
    tiles = read_light(staged / "tiles.arrow")["source"].to_pylist()
    names, rows_of = np.unique(np.array(tiles, dtype=np.str_), return_counts=True)
    manifest = Manifest.describe(
        staged,
        checkpoint=checkpoint,
        parameters=parameters,
        plan=plan,
        counts=counts,
        sources=dict(zip(names.tolist(), rows_of.tolist(), strict=True)),
        failed=[list(entry) for entry in failed],
        search={kind: {"method": "flat"} for kind in KINDS},
    )
    manifest.write(staged)
    publish(index, staged, name=name)
    shutil.rmtree(work)
    sweep(index)
    return manifest

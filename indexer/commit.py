"""Turns row files into a snapshot: merge, vectors, light columns, search structures, manifest, pointer.

Owns the last steps of every job, whatever made the rows. Nothing that readers see changes before the pointer does.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from indexer.encoder import Vectors
from indexer.files import durable
from indexer.merge import Input, merge_rows
from indexer.rows import KINDS, ROW_GROUP, extra_columns, read_light, schema, vector_batches, write_light
from indexer.snapshot import Manifest, publish, sweep
from indexer.vectors import VectorIndex, write_vectors

QUERIES = 2000
"""Of which an approximate search is adjusted on one half and measured on the other."""


def commit(
    index: Path,
    work: Path,
    inputs: Mapping[str, Sequence[Input]],
    *,
    checkpoint: Mapping[str, Any],
    parameters: Mapping[str, Any],
    plan: str,
    reweight: Callable[[Vectors, str], Vectors],
    views: Sequence[str],
    name: str | None = None,
    method: str | None = None,
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
        reweight: of the checkpoint; an approximate search is adjusted for each view.
        views: of the checkpoint.
        name: of the pointer.
        method: of search; by default chosen by size.
        failed: rows that could not be made, with reasons; stored beside the parameters.

    Raises:
        IndexStoreError: an approximate search stays under its bar of recall.
    """
    staged = work / "snapshot"
    if staged.exists():
        shutil.rmtree(staged)
    staged.mkdir(parents=True)
    dim = int(checkpoint["dim"])
    counts, search = {}, {}
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
    for kind in KINDS:
        search[kind] = _search(staged, kind, counts, dim, reweight, views, method)
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
        search=search,
    )
    manifest.write(staged)
    publish(index, staged, name=name)
    shutil.rmtree(work)
    sweep(index)
    return manifest


def _search(
    staged: Path,
    kind: str,
    counts: Mapping[str, int],
    dim: int,
    reweight: Callable[[Vectors, str], Vectors],
    views: Sequence[str],
    method: str | None,
) -> dict[str, Any]:
    """How the rows of a kind are searched: exactly, or by an approximate index made here."""
    from indexer.ann import choose_method

    chosen = method or choose_method(counts[kind], dim)
    if chosen == "flat" or not counts[kind]:
        return {"method": "flat"}
    from indexer.ann import build_ann

    queries = []
    for other in KINDS:  # either kind may be asked with the vectors of the other
        vectors = VectorIndex(staged / f"{other}.faiss", count=counts[other], dim=dim)
        some = np.random.default_rng(0).choice(counts[other], min(QUERIES // 2, counts[other]), replace=False)
        queries.append(vectors.take(np.sort(some)))
    weightings = {view: functools.partial(reweight, view=view) for view in views}
    mine = VectorIndex(staged / f"{kind}.faiss", count=counts[kind], dim=dim)
    return dict(
        build_ann(
            staged / f"{kind}.ann",
            mine.array,
            method=chosen,
            weightings=weightings,
            queries=np.random.default_rng(1).permutation(np.concatenate(queries)),
        )
    )

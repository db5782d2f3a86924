"""Turns row files into a snapshot: merge, vectors, light columns, search structures, manifest, pointer.

Owns the last steps of every job, whatever made the rows. Nothing that readers see changes before the pointer does.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from indexer.ann import choose_method
from indexer.ann_build import Weighting, build_ann, sample_queries
from indexer.encoder import LocationEncoder
from indexer.files import durable
from indexer.merge import Input, merge_rows
from indexer.rows import KINDS, ROW_GROUP, extra_columns, read_light, schema, vector_batches, write_light
from indexer.snapshot import Manifest, publish, sweep
from indexer.vectors import VectorIndex, write_vectors

Weightings = Callable[[], Mapping[str, Weighting]]
"""Gives what each view of a checkpoint does to queries; called only where an approximate index is made."""


def weightings_of(encoder: LocationEncoder) -> dict[str, Weighting]:
    """The views of a checkpoint."""
    return {view: partial(encoder.reweight, view=view) for view in encoder.views}


def plain() -> dict[str, Weighting]:
    """The only view of imported vectors."""
    return {"both": lambda queries: queries}


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
    weightings: Weightings = plain,
) -> Manifest:
    """Make a snapshot of the rows of some files, and make it the current one.

    Args:
        index: the index's directory, locked by the caller.
        work: a directory in it for what is unfinished; removed at the end.
        inputs: row files by kind.
        checkpoint: of the vectors.
        parameters: to be stored; ``method`` among them says how rows are to be searched, by default by their number.
        plan: digest of what was asked for.
        name: of the pointer.
        failed: rows that could not be made, with reasons; stored beside the parameters.
        weightings: the views that an approximate index is calibrated for.

    Raises:
        IndexStoreError: the disk refuses, or the approximate index finds too few.
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
    search = _search_structures(staged, counts, dim, str(parameters.get("method", "auto")), weightings)
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


def _search_structures(
    staged: Path, counts: Mapping[str, int], dim: int, method: str, weightings: Weightings
) -> dict[str, dict[str, Any]]:
    """Write the approximate indexes that the numbers of rows call for; how each kind is searched."""
    search: dict[str, dict[str, Any]] = {}
    rows = {kind: VectorIndex(staged / f"{kind}.faiss", count=counts[kind], dim=dim) for kind in KINDS}
    for kind, other in zip(KINDS, reversed(KINDS), strict=True):
        chosen = choose_method(counts[kind]) if method == "auto" else method
        search[kind] = {"method": "flat"}
        if chosen != "flat" and counts[kind]:
            search[kind] = build_ann(
                staged / f"{kind}.ann",
                rows[kind],
                method=chosen,
                weightings=weightings(),
                queries=sample_queries(rows[kind], rows[other]),
            )
    return search

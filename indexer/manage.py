"""Changes to an index that embed nothing: removing rows, importing, comparing, cleaning up.

Owns what stays when rows go. Each change is a new snapshot beside the old one; whoever has that open keeps it.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import IndexStoreError, QueryError
from indexer.ann import check_method
from indexer.build import at_work
from indexer.commit import Weightings, commit, plain, weightings_of
from indexer.encoder import load_encoder
from indexer.gallery_columns import Columns
from indexer.job import JOB
from indexer.merge import Input
from indexer.rows import KINDS, read_light
from indexer.select import RowFilter
from indexer.snapshot import BUILDING, Manifest, current_snapshot, pointer_of, sweep
from indexer.where import Where


def remove_rows(
    path: str | Path,
    where: Where,
    *,
    kinds: Sequence[str] = ("tiles",),
    name: str | None = None,
    force: bool = False,
) -> Manifest:
    """Remove the rows that a filter chooses.

    Args:
        path: the index's directory.
        where: which rows go.
        kinds: among which.
        name: of the snapshot, where a directory keeps several.
        force: whether the unfinished work of a job may be thrown away.

    Raises:
        QueryError: the filter chooses all of the index or none of it, or a column is unknown.
        IndexStoreError: there is no index, or a job on it is unfinished.
    """
    if where.is_empty:
        raise QueryError("No filter was given, and everything would be removed. Say which rows, or delete the index.")
    index = Path(path)
    current_snapshot(index, name)  # nothing is made where there is none
    with at_work(index, "Removing from the index at"):
        directory, manifest = _unchanged(index, name, force=force)
        inputs, gone = {}, 0
        for kind in KINDS:
            rows, table = directory / f"{kind}.parquet", read_light(directory / f"{kind}.arrow")
            kept = np.ones(len(table), dtype=bool)
            if kind in kinds:
                chosen = RowFilter(rows, table).select(where)
                kept = np.zeros(len(table), dtype=bool) if chosen is None else ~chosen.mask(len(table))
            gone += int((~kept).sum())
            inputs[kind] = [Input(rows, kept)]
        if not gone:
            raise QueryError(f"No row of {index} passes this filter, so there is nothing to remove.")
        if gone == sum(manifest.counts.values()):
            raise QueryError(f"Every row of {index} passes this filter. Delete the directory instead.")
        parameters = dict(manifest.parameters)
        if where == Where(sources=where.sources) and "sources" in parameters:  # whole sources: a build leaves them out
            parameters["sources"] = [one for one in parameters["sources"] if one not in (where.sources or ())]
        return commit(
            index,
            index / BUILDING,
            inputs,
            checkpoint=manifest.checkpoint,
            parameters=parameters,
            plan="",
            name=name,
            weightings=views_of(manifest),
        )


def compact(path: str | Path, *, method: str | None = None, name: str | None = None, force: bool = False) -> Manifest:
    """Write the rows of a snapshot anew, and choose again how they are searched; nothing is embedded.

    Done after many additions and removals, or to search by another method: rows are joined to full groups, the
    approximate index is trained on what stands now, and its recall is measured again.

    Args:
        path: the index's directory.
        method: how rows are to be searched, one of :data:`indexer.ann.METHODS` or ``auto``; by default as before.
        name: of the snapshot, where a directory keeps several.
        force: whether the unfinished work of a job may be thrown away.

    Raises:
        IndexStoreError: there is no index, a job on it is unfinished, or the method finds too few rows.
    """
    index = Path(path)
    current_snapshot(index, name)  # nothing is made where there is none
    with at_work(index, "Compacting the index at"):
        directory, manifest = _unchanged(index, name, force=force)
        chosen = check_method(method) if method is not None else manifest.parameters.get("method", "auto")
        return commit(
            index,
            index / BUILDING,
            {kind: [Input(directory / f"{kind}.parquet")] for kind in KINDS},
            checkpoint=manifest.checkpoint,
            parameters=manifest.parameters | {"method": chosen},
            plan=manifest.plan,
            name=name,
            failed=[(row, reason) for row, reason in manifest.failed],
            weightings=views_of(manifest),
        )


def views_of(manifest: Manifest) -> Weightings:
    """The views of a snapshot's checkpoint, which is loaded only when they are asked for."""
    if manifest.checkpoint.get("imported"):
        return plain
    return functools.cache(lambda: weightings_of(load_encoder(manifest.checkpoint["name"], "location")))


def collect_garbage(path: str | Path, *, unfinished: bool = False) -> list[str]:
    """Remove snapshots that no pointer names and no reader holds.

    Args:
        path: the index's directory.
        unfinished: remove the work of an unfinished job too.

    Returns:
        What was removed.

    Raises:
        IndexStoreError: there is no index, or a job is running.
    """
    index = Path(path)
    if not index.is_dir():
        raise IndexStoreError(f"{index} does not exist, so there is nothing to clean up.")
    with at_work(index, "Cleaning up the index at"):
        removed = sweep(index)
        if unfinished and (index / BUILDING).exists():
            shutil.rmtree(index / BUILDING)
            removed.append(BUILDING)
    return removed


@dataclass(frozen=True)
class Difference:
    """How one snapshot differs from another, by kind.

    Attributes:
        added: ids of rows that only the second has, as users see them.
        removed: ids of rows that only the first has.
        changed: ids of rows in both whose vectors differ.
        same: how many are the same.
    """

    added: list[str]
    removed: list[str]
    changed: list[str]
    same: int


def compare(first: str | Path, second: str | Path) -> dict[str, Difference]:
    """Compare two indexes or snapshots, row by row.

    Raises:
        IndexStoreError: one of them is missing, or their vectors are of different lengths.
    """
    from indexer.local import LocalStore

    stores = [LocalStore(Path(path)) for path in (first, second)]
    try:
        dims = [store.manifest.checkpoint["dim"] for store in stores]
        if dims[0] != dims[1]:
            raise IndexStoreError(
                f"{first} holds vectors of {dims[0]} numbers, {second} of {dims[1]}: they cannot be compared."
            )
        found = {}
        for kind in KINDS:
            names = [_names(store.table(kind), kind) for store in stores]
            there = {name: row for row, name in enumerate(names[1])}
            both = [(row, there[name]) for row, name in enumerate(names[0]) if name in there]
            changed: list[str] = []
            for start in range(0, len(both), 8192):
                pairs = np.array(both[start : start + 8192])
                differ = (stores[0].vectors(kind, pairs[:, 0]) != stores[1].vectors(kind, pairs[:, 1])).any(axis=1)
                changed += [names[0][row] for row in pairs[differ, 0].tolist()]
            here = set(names[0])
            found[kind] = Difference(
                added=[name for name in names[1] if name not in here],
                removed=[name for name in names[0] if name not in there],
                changed=changed,
                same=len(both) - len(changed),
            )
        return found
    finally:
        for store in stores:
            store.close()


def import_gallery(
    path: str | Path,
    files: Sequence[Path],
    *,
    name: str | None,
    model: str,
    columns: Columns | None = None,
    force: bool = False,
) -> Manifest:
    """Make an index of another model's embeddings: tiles that can be asked with each other and with its vectors.

    Args:
        path: the index's directory; made if need be.
        files: GeoParquet files of one model.
        name: under which the snapshot is kept beside others of the directory.
        model: name of the model; the tiles' source.
        columns: names of columns, where they are not the usual ones.
        force: whether an index that was not imported from this model may be replaced.

    Raises:
        SourceError: a file cannot be used.
        IndexStoreError: the disk refuses, a job is running there, or another index would be replaced.
    """
    from indexer.gallery import write_gallery_shards

    with at_work(Path(path), "Importing into") as index:
        work = index / BUILDING
        if (work / JOB).exists():
            raise IndexStoreError(f"A build of {index} is unfinished. Finish it with `samewhere index resume` first.")
        if not force and (index / pointer_of(name)).exists():
            there = Manifest.read(current_snapshot(index, name), index=index).checkpoint
            if not there.get("imported") or there["name"] != model:
                raise IndexStoreError(
                    f"An index of {there['name']} stands at {index} and would be replaced. Choose another --path, keep "
                    "this one beside it with --name, or replace it with --force."
                )
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        shards, dim, fingerprint = write_gallery_shards(list(files), work, model, columns=columns)
        return commit(
            index,
            work,
            {"cells": [], "tiles": [Input(shard) for shard in shards]},
            checkpoint={"name": model, "fingerprint": fingerprint, "dim": dim, "imported": True},
            parameters={"sources": [model]},
            plan="",
            name=name,
        )


def _unchanged(index: Path, name: str | None, *, force: bool) -> tuple[Path, Manifest]:
    """The snapshot to be changed."""
    if (index / BUILDING / JOB).exists() and not force:
        raise IndexStoreError(
            f"A job on {index} is unfinished. Finish it with `samewhere index resume`, or throw its work away with "
            "`samewhere index gc --unfinished`."
        )
    directory = current_snapshot(index, name)
    return directory, Manifest.read(directory, index=index)


def _names(table: Any, kind: str) -> list[str]:
    """Ids as users see them."""
    ids = table["id"].to_pylist()
    return [f"{cell:x}" for cell in ids] if kind == "cells" else ids

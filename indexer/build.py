"""Builds an index: plan, embed shard by shard, join, commit. A killed build goes on where it stopped.

Owns the job. Its state is files in ``building/``: what is being built (``job.json``) and each finished shard under its
final name. A shard depends on nothing but its own ids, so a build that was killed ten times ends with the same bytes as
an unbroken one. The index that stood before stays in service until the new one is complete, and whenever this fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pyarrow.parquet as pq

from data.errors import IndexStoreError
from data.land import land_cells
from indexer.catalogue import write_catalogue
from indexer.encoder import EncoderPair, Vectors
from indexer.files import disk_errors, durable
from indexer.plan import Shard, plan_digest, plan_shards
from indexer.progress import Clock, Progress
from indexer.rows import ROW_GROUP, open_writer, read_ids, schema, vectors_of
from indexer.shard import BuildParameters, make_shard, warm_up
from indexer.snapshot import (
    BUILDING,
    FORMAT,
    KINDS,
    LOCK,
    MANIFEST,
    POINTER,
    Manifest,
    check_files,
    current_snapshot,
    publish,
    sweep,
)
from indexer.vectors import import_faiss, write_vectors

SHARD_ROWS = {"cells": 2401, "tiles": 343}
"""Some 25 shards of each kind over the Earth's land: a kill costs about a second of work."""

Report = Callable[[Progress], None]


def build_index(
    path: str | Path,
    *,
    pair: EncoderPair,
    progress: Report | None = None,
    cell_resolution: int = 4,
    tile_resolution: int = 3,
    antarctica: bool = True,
    force: bool = False,
) -> Manifest:
    """Build the index at ``path``, or finish building it.

    Nothing is done where a complete index of the same checkpoint and parameters stands already. Tiles are cut out of
    the Blue Marble; a checkpoint whose image encoder cannot see it (SatCLIP's on Sentinel-2) gets cells alone.

    Args:
        path: the index's directory; made if need be.
        pair: the encoders.
        progress: called after every shard.
        cell_resolution: H3 resolution of the cells, 0…15; 4 gives 82 thousand.
        tile_resolution: H3 resolution of the tiles, 0…15; 3 gives 12 thousand.
        antarctica: whether land south of 60° S counts.
        force: build anew even where a complete index stands; unfinished work is kept all the same.

    Raises:
        IndexStoreError: another build is running there, or the disk refuses.
        MissingDependencyError: FAISS is not installed.
    """
    index = Path(path)
    import_faiss()  # better now than after minutes of work
    parameters = BuildParameters(cell_resolution, tile_resolution, antarctica, pair.tile_footprint_km)
    with disk_errors(index, "Building the index at"):
        index.mkdir(parents=True, exist_ok=True)
        _refuse_strangers(index)
        with _only_builder(index):
            standing = None if force else _standing(index, pair, parameters)
            if standing is None:
                return _build(index, pair, parameters, progress or (lambda _: None))
            if (index / BUILDING).exists():  # of a build that was ended just before it would have cleaned up
                shutil.rmtree(index / BUILDING)
            sweep(index)
            return standing


def _refuse_strangers(index: Path) -> None:
    """Refuse directories that hold something else: a build replaces and removes what lies in its own."""
    if (index / MANIFEST).is_file():
        raise IndexStoreError(f"{index} is one snapshot of an index, which never changes. Name the directory above it.")
    names = {entry.name for entry in index.iterdir()}
    if names and not names & {POINTER, LOCK}:
        raise IndexStoreError(f"{index} is not empty and not an index. Choose an empty or new directory with --path.")


def _standing(index: Path, pair: EncoderPair, parameters: BuildParameters) -> Manifest | None:
    """The manifest of a complete index that is already what is wanted."""
    with contextlib.suppress(IndexStoreError):
        directory = current_snapshot(index)
        manifest = Manifest.read(directory, index=index)
        check_files(directory, manifest, index=index)
        if manifest.checkpoint["fingerprint"] == pair.fingerprint and manifest.parameters == asdict(parameters):
            return manifest
    return None


def _build(index: Path, pair: EncoderPair, parameters: BuildParameters, report: Report) -> Manifest:
    resolutions = {"cells": parameters.cell_resolution, "tiles": parameters.tile_resolution}
    made = [kind for kind in KINDS if kind != "tiles" or parameters.tile_footprint_km is not None]
    shards = [
        shard
        for kind in made
        for shard in plan_shards(
            kind, land_cells(resolutions[kind], antarctica=parameters.antarctica), rows=SHARD_ROWS[kind]
        )
    ]
    checkpoint = {"name": pair.name, "fingerprint": pair.fingerprint, "dim": pair.dim}
    work = _open_job(index / BUILDING, checkpoint, parameters, shards)
    missing = [shard for shard in shards if not _is_made(work / "shards" / shard.file_name, shard)]
    totals = {kind: sum(len(s.ids) for s in shards if s.kind == kind) for kind in KINDS}
    left = {kind: sum(len(s.ids) for s in missing if s.kind == kind) for kind in KINDS}
    clock = Clock(totals, resumed={kind: totals[kind] - left[kind] for kind in KINDS})
    report(clock.progress("prepare"))
    if missing:
        warm_up(pair, parameters)
    # One shard of each kind first, so that both rates are known from the start; then the slow kind.
    first = {shard.kind: shard for shard in reversed(missing)}
    missing.sort(key=lambda shard: (shard is not first[shard.kind], shard.kind == "cells", shard.number))
    for shard in missing:
        begun = time.monotonic()
        make_shard(work / "shards" / shard.file_name, shard, pair=pair, parameters=parameters)
        clock.record(shard.kind, len(shard.ids), time.monotonic() - begun)
        report(clock.progress(shard.kind))
    report(clock.progress("finish"))
    staged = _join(work, shards, pair.dim)
    manifest = Manifest.describe(staged, checkpoint=checkpoint, parameters=asdict(parameters), counts=totals)
    manifest.write(staged)
    publish(index, staged)
    shutil.rmtree(work)
    clock.finished = True
    report(clock.progress("finish"))
    return manifest


def _open_job(work: Path, checkpoint: dict[str, Any], parameters: BuildParameters, shards: list[Shard]) -> Path:
    """The directory of this very job; unfinished work of any other is thrown away."""
    job = {
        "format": FORMAT,
        "checkpoint": checkpoint,
        "parameters": asdict(parameters),
        "plan": plan_digest(shards),
        "shards": len(shards),
    }
    try:
        same = json.loads((work / "job.json").read_bytes()) == job
    except (OSError, ValueError):
        same = False
    if not same:
        if work.exists():
            shutil.rmtree(work)
        (work / "shards").mkdir(parents=True)
        with durable(work / "job.json") as file:
            file.write(json.dumps(job, indent=2).encode())
    return work


def _is_made(path: Path, shard: Shard) -> bool:
    """Whether a shard's file stands and holds its ids; one that does not fit is made again."""
    if not path.is_file():
        return False
    try:
        return np.array_equal(read_ids(path), shard.ids)
    except (OSError, ValueError, KeyError):  # pyarrow's errors are ValueErrors
        return False


def _join(work: Path, shards: list[Shard], dim: int) -> Path:
    """Join the shards to the snapshot's files, in id order, and return their directory."""
    staged = work / "snapshot"
    if staged.exists():
        shutil.rmtree(staged)
    staged.mkdir()
    for kind in KINDS:
        paths = [work / "shards" / shard.file_name for shard in shards if shard.kind == kind]
        layout = schema(kind, dim)
        with durable(staged / f"{kind}.parquet") as file, open_writer(file, layout) as writer:
            for path in paths:
                writer.write_table(pq.read_table(path), row_group_size=ROW_GROUP[kind])

        def batches(paths: list[Path] = paths) -> Iterator[Vectors]:
            for path in paths:
                yield vectors_of(pq.read_table(path, columns=["embedding"]))

        with durable(staged / f"{kind}.faiss") as file:
            write_vectors(file, batches(), dim=dim)
    write_catalogue(staged)
    return staged


@contextlib.contextmanager
def _only_builder(index: Path) -> Iterator[None]:
    """Hold the index's build lock, which the system drops even when the process is killed.

    Raises:
        IndexStoreError: another process holds it; names that process.
    """
    owner = index / "build.owner"
    lock = filelock.FileLock(index / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        try:
            who = owner.read_text(encoding="utf-8").strip()
        except OSError:
            who = "an unknown process"
        raise IndexStoreError(
            f"Another build of {index} is running ({who}). Wait for it, or end it and run this again."
        ) from None
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        owner.write_text(f"process {os.getpid()} on {socket.gethostname()}, since {since}\n", encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()

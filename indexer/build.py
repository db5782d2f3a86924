"""Builds an index and changes it: plan, embed shard by shard, merge, commit. A killed job goes on where it stopped.

Owns the course of a job. Rows that the standing snapshot holds with the same content and checkpoint are taken over, all
others are embedded; so adding a source embeds that source alone. The index that stood before stays in service until the
new snapshot is complete, and whenever this fails. However often a job was killed, it ends with the same bytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data import atlas
from data.errors import IndexStoreError
from data.geo import BBox
from indexer.ann import check_method
from indexer.commit import commit, weightings_of
from indexer.encoder import EncoderPair, load_encoder
from indexer.engines import Engine, Inline
from indexer.files import disk_errors
from indexer.job import PAUSE, SHARDS, Job, JobPaused, Ledger, only_writer, write_state
from indexer.merge import Input
from indexer.plan import SHARD_ROWS, Shard, plan_digest, plan_shards
from indexer.progress import Clock, Progress
from indexer.rows import KINDS, read_light
from indexer.snapshot import (
    BUILDING,
    LOCK,
    MANIFEST,
    POINTER,
    Manifest,
    check_files,
    current_snapshot,
    pointer_of,
    sweep,
)
from indexer.sources import BLUE_MARBLE, BuildParameters, Wanted, open_sources, warm_up
from indexer.vectors import import_faiss

Report = Callable[[Progress], None]
WARM_ROWS = 2048
"""With fewer rows to make nobody reads the time left, and warming up would take longer than they do."""


def build_index(
    path: str | Path,
    *,
    pair: EncoderPair,
    progress: Report | None = None,
    cell_resolution: int = 4,
    tile_resolution: int = 3,
    antarctica: bool = True,
    sources: Sequence[str] = (BLUE_MARBLE,),
    fine_resolution: int | None = None,
    dense: int = 3,
    method: str = "auto",
    engine: Engine | None = None,
    name: str | None = None,
    force: bool = False,
    bbox: BBox | None = None,
    countries: Sequence[str] | None = None,
) -> Manifest:
    """Build the index at ``path``, or finish building it.

    Nothing is done where a complete index of the same checkpoint, parameters and contents stands already. A checkpoint
    whose image encoder cannot see the Blue Marble (SatCLIP's on Sentinel-2) gets no tiles of it.

    Args:
        path: the index's directory; made if need be.
        pair: the encoders.
        progress: called after every shard.
        cell_resolution: H3 resolution of the cells, 0…15; 4 gives 82 thousand.
        tile_resolution: H3 resolution of the Blue Marble's tiles, 0…15; 3 gives 12 thousand.
        antarctica: whether land south of 60° S counts.
        sources: of tiles: ``blue-marble`` and names of datasets.
        fine_resolution: of cells where ``dense`` tiles of datasets or more lie in one cell; by default none are finer.
        dense: see there.
        method: how rows are to be searched, one of :data:`indexer.ann.METHODS`; by default by their number.
        engine: makes the shards; by default this process.
        name: under which the snapshot is kept beside others of the same directory; by default it is the index's own.
        force: build anew even where a complete index stands; unfinished work is kept all the same.
        bbox: only cells and tiles whose centres lie inside; by default the whole Earth.
        countries: only those in any of these, by ISO 3166 alpha-3 code or name; by default the whole Earth.

    Raises:
        IndexStoreError: another build is running there, or the disk refuses.
        JobPaused: somebody asked the job to pause.
        SourceError: there is no such dataset.
        QueryError: there is no such country.
        MissingDependencyError: FAISS is not installed.
    """
    import_faiss()  # better now than after minutes of work
    parameters = BuildParameters(
        cell_resolution,
        tile_resolution,
        antarctica,
        pair.tile_footprint_km,
        sources=tuple(dict.fromkeys(sources)),
        fine_resolution=fine_resolution,
        dense=dense,
        bbox=(bbox.west, bbox.south, bbox.east, bbox.north) if bbox is not None else None,
        method=check_method(method),
        countries=tuple(sorted({atlas.country_code(text) for text in countries})) if countries else None,
    )
    with at_work(Path(path), "Building the index at") as index:
        return _run(index, pair, parameters, engine or Inline(pair), progress, name=name, force=force)


def add_sources(
    path: str | Path,
    sources: Sequence[str],
    *,
    pair: EncoderPair,
    progress: Report | None = None,
    engine: Engine | None = None,
    name: str | None = None,
) -> Manifest:
    """Add tiles of datasets to an index; what stands is not embedded again. A dataset that has grown adds what is new.

    Raises:
        IndexStoreError: there is no index, it is of another checkpoint, or its vectors were imported.
        SourceError: there is no such dataset.
    """
    index = Path(path)
    current_snapshot(index, name)  # there is one
    with at_work(index, "Adding to the index at"):
        manifest = Manifest.read(current_snapshot(index, name), index=index)
        manifest.check_checkpoint(pair.name, pair.fingerprint, index=index)
        standing = _parameters(manifest)
        parameters = dataclasses.replace(standing, sources=tuple(dict.fromkeys([*standing.sources, *sources])))
        return _run(index, pair, parameters, engine or Inline(pair), progress, name=name, force=False)


def resume_job(
    path: str | Path,
    *,
    progress: Report | None = None,
    pair: EncoderPair | None = None,
    engine: Callable[[EncoderPair], Engine] = Inline,
    device: str = "cpu",
) -> Manifest:
    """Go on with the unfinished job of an index, whatever began it.

    Args:
        path: the index's directory.
        progress: called after every shard.
        pair: the encoders, when they are loaded already; by default those of the job.
        engine: makes the engine that makes the shards.
        device: where the encoders of the job are loaded.

    Raises:
        IndexStoreError: nothing is unfinished, or the checkpoint has changed since.
    """
    index = Path(path)
    job = Job.read(index)
    encoders = pair or load_encoder(job.checkpoint["name"], "pair", device)
    if encoders.fingerprint != job.checkpoint["fingerprint"]:
        raise IndexStoreError(
            f"The job of {index} was begun with {job.checkpoint['name']} ({job.checkpoint['fingerprint'][:12]}), which "
            f"is {encoders.fingerprint[:12]} by now. Run the build again to begin anew."
        )
    with at_work(index, "Building the index at"):
        if Job.read(index) != job:
            raise IndexStoreError(f"The job of {index} was replaced by another one meanwhile. Resume it again.")
        return _run(
            index,
            encoders,
            job.parameters,
            engine(encoders),
            progress,
            name=job.name,
            force=job.base is None,
        )


def _run(
    index: Path,
    pair: EncoderPair,
    parameters: BuildParameters,
    engine: Engine,
    progress: Report | None,
    *,
    name: str | None,
    force: bool,
) -> Manifest:
    (index / PAUSE).unlink(missing_ok=True)
    sources = open_sources(parameters)
    wanted = [(source.kind, source.name, source.wanted()) for source in sources]
    plan = plan_digest([(name, rows) for _, name, rows in wanted])
    base = None if force else _standing(index, pair, name)
    standing = Manifest.read(base, index=index) if base is not None else None
    if standing is not None and (standing.plan != plan or _parameters(standing) != parameters):
        standing = None  # of something else
    if standing is not None and not standing.failed:
        return _nothing_new(index, standing)
    if not any(len(rows.ids) for _, _, rows in wanted):
        raise IndexStoreError("No land cell and no tile lies in that area, so there is nothing to build. Widen it.")
    inputs, shards = _divide(base, wanted)
    checkpoint = {"name": pair.name, "fingerprint": pair.fingerprint, "dim": pair.dim}
    job = Job(checkpoint, parameters, plan, len(shards), base.name if base is not None else None, name)
    work = job.open(index)
    ledger = Ledger(work)
    report = _reporter(work, ledger, progress)
    missing = [shard for shard in shards if not ledger.is_made(shard)]
    totals = {kind: sum(len(rows.ids) for k, _, rows in wanted if k == kind) for kind in KINDS}
    left = {kind: sum(len(s.ids) for s in missing if s.kind == kind) for kind in KINDS}
    clock = Clock(totals, resumed={kind: totals[kind] - left[kind] for kind in KINDS})
    report(clock.progress("prepare"))
    if sum(left.values()) > WARM_ROWS and isinstance(engine, Inline):
        warm_up(pair, parameters)
    # One shard of each kind first, so that both rates are known from the start; then the slow kind.
    first = {shard.kind: shard for shard in reversed(missing)}
    missing.sort(key=lambda shard: (shard is not first[shard.kind], shard.kind == "cells", shard.source, shard.number))
    for made in engine.run(work / SHARDS, missing, parameters):
        ledger.record(made)
        clock.record(made.kind, made.rows, made.seconds / engine.workers)
        report(clock.progress(made.kind))
        if (index / PAUSE).exists():
            (index / PAUSE).unlink(missing_ok=True)
            raise JobPaused(f"The job of {index} is paused. `samewhere index resume` goes on from here.")
    report(clock.progress("finish"))
    if standing is not None and sorted(ledger.failures(shards)) == sorted(map(tuple, standing.failed)):
        return _nothing_new(index, standing)  # what failed was tried again, and failed again
    for shard in shards:
        inputs[shard.kind].append(Input(work / SHARDS / shard.file_name))
    manifest = commit(
        index,
        work,
        inputs,
        checkpoint=checkpoint,
        parameters=dataclasses.asdict(parameters),
        plan=plan,
        name=name,
        failed=ledger.failures(shards),
        weightings=partial(weightings_of, pair),
    )
    clock.finished = True
    report(clock.progress("finish"))
    return manifest


def _nothing_new(index: Path, standing: Manifest) -> Manifest:
    """Leave what stands, without the leavings of a job that was ended just before it cleaned up."""
    shutil.rmtree(index / BUILDING, ignore_errors=True)
    sweep(index)
    return standing


def _reporter(work: Path, ledger: Ledger, progress: Report | None) -> Report:
    """Tells whoever started the job, and writes it down for everybody else."""

    def report(now: Progress) -> None:
        write_state(work, now, failed=ledger.failed)
        if progress is not None:
            progress(now)

    return report


def _divide(base: Path | None, wanted: Sequence[tuple[str, str, Wanted]]) -> tuple[dict[str, list[Input]], list[Shard]]:
    """What the standing snapshot holds already, and shards of all the rest."""
    inputs: dict[str, list[Input]] = {kind: [] for kind in KINDS}
    shards: list[Shard] = []
    kept: dict[str, Any] = {}
    names = {source for _, source, _ in wanted}
    tables: dict[str, Any] = {}
    if base is not None:
        tables = {kind: read_light(base / f"{kind}.arrow") for kind in KINDS}
        kept = {kind: np.zeros(len(table), dtype=bool) for kind, table in tables.items()}
    for kind, source, rows in wanted:
        new = np.ones(len(rows.ids), dtype=bool)
        if base is not None and len(tables[kind]):
            table = tables[kind]
            ids = table["id"].to_numpy()
            contents, origins = [""] * len(table), [source] * len(table)
            if kind == "tiles":
                contents, origins = table["content"].to_pylist(), table["source"].to_pylist()
            # A patch that two datasets hold stays that of the first, as long as that one is wanted.
            standing = enumerate(zip(ids.tolist(), contents, origins, strict=True))
            row_of = {(id_, content): row for row, (id_, content, origin) in standing if origin in names}
            found = [row_of.get(pair, -1) for pair in zip(rows.ids.tolist(), rows.content.tolist(), strict=True)]
            rows_there = np.array(found, dtype=np.int64)
            new = rows_there < 0
            kept[kind][rows_there[~new]] = True
        shards += plan_shards(kind, source, rows.ids[new], rows.keys[new], rows=SHARD_ROWS[kind])
    if base is not None:
        inputs = {kind: [Input(base / f"{kind}.parquet", kept[kind])] for kind in KINDS}
    return inputs, shards


def _standing(index: Path, pair: EncoderPair, name: str | None) -> Path | None:
    """The complete snapshot of the same checkpoint that stands, or None."""
    if not (index / pointer_of(name)).is_file():
        return None
    try:
        directory = current_snapshot(index, name)
        manifest = Manifest.read(directory, index=index)
        check_files(directory, manifest, index=index)
    except IndexStoreError:
        return None
    same = manifest.checkpoint == {"name": pair.name, "fingerprint": pair.fingerprint, "dim": pair.dim}
    return directory if same else None


def _parameters(manifest: Manifest) -> BuildParameters:
    """The parameters of a snapshot.

    Raises:
        IndexStoreError: its vectors were imported.
    """
    if manifest.checkpoint.get("imported"):
        raise IndexStoreError(
            f"The vectors of {manifest.checkpoint['name']} were imported: there is no checkpoint here to add more. "
            "Import another file instead."
        )
    content = dict(manifest.parameters)
    content["sources"] = tuple(content["sources"])
    return BuildParameters(**content)


@contextlib.contextmanager
def at_work(index: Path, doing: str) -> Iterator[Path]:
    """The index's directory, made and locked, with the disk's refusals as sentences."""
    with disk_errors(index, doing):
        index.mkdir(parents=True, exist_ok=True)
        refuse_strangers(index)
        with only_writer(index):
            yield index


def refuse_strangers(index: Path) -> None:
    """Refuse directories that hold something else: a build replaces and removes what lies in its own."""
    if (index / MANIFEST).is_file():
        raise IndexStoreError(f"{index} is one snapshot of an index, which never changes. Name the directory above it.")
    names = {entry.name for entry in index.iterdir()}
    if names and not any(name == LOCK or name.startswith(POINTER) for name in names):
        raise IndexStoreError(f"{index} is not empty and not an index. Choose an empty or new directory with --path.")

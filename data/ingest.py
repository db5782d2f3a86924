"""From a source of patches to a dataset on disk: shard by shard, resumable, each patch once.

::

    NAME/
      patches.parquet      what is known of every patch, sorted by H3 cell; GeoParquet
      pixels/*.parquet     id and GeoTIFF, where pixels are kept; never rewritten
      report.json          what came of the last source that was added, in all and by shard
      adding/              an unfinished job: shards and their reports; the next run of the same goes on from there

Owns the job. A shard is committed by its report, which is written last; the dataset by the renaming of
``patches.parquet``. Refuses a second writer.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.errors import SamewhereError, SourceError
from data.files import disk_errors, durable
from data.rows import PIXELS, SCHEMA, encode_pixels, geo_metadata, make_table
from data.sources.base import Failure, ShardReport, Source, read_all, shard_ranges

ROWS, REPORT, ADDING, KEPT, LOCK = "patches.parquet", "report.json", "adding", "pixels", "lock"
ROW_GROUP = 8192
SHARD = 64
"""Patches a shard: some 200 MB of float32 pixels of 12 bands in memory."""
PIXEL_GROUP = 8
"""Pictures a row group: one is read by reading its group, some 7 MB."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class IngestReport:
    """What came of a source.

    Attributes:
        read: patches that could be read.
        added: of these, how many the dataset did not have.
        skipped: reason → how many were left out on purpose.
        failed: what could not be read, and why.
        total: patches in the dataset now.
        resumed_shards: shards that an earlier, broken off run had made.
    """

    read: int
    added: int
    skipped: Counter[str]
    failed: tuple[Failure, ...]
    total: int
    resumed_shards: int


@dataclass
class _Job:
    """One source on its way into one dataset."""

    source: Source
    dataset: Path
    root: str
    keep_pixels: bool
    shard_size: int
    trust_addresses: bool
    known: set[str] = field(default_factory=set)
    at_hand: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The same for the same addresses cut in the same way, so that a rerun finds its shards."""
        content = [self.source.kind, self.root, self.keep_pixels, self.shard_size, list(self.source.addresses)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @property
    def folder(self) -> Path:
        return self.dataset / ADDING / self.name

    def shard(self, number: int) -> tuple[Path, Path]:
        """Rows and report of a shard."""
        return self.folder / f"{number:06d}.parquet", self.folder / f"{number:06d}.json"


def ingest(
    source: Source,
    dataset: Path,
    *,
    keep_pixels: bool,
    shard_size: int = SHARD,
    progress: Progress | None = None,
    root: str | Path = "",
    threads: int = 4,
    trust_addresses: bool = False,
) -> IngestReport:
    """Add what a source holds to a dataset.

    Args:
        source: of patches.
        dataset: folder; made where it is not there.
        keep_pixels: copy the pixels; otherwise the patches stay where they are and only their addresses are kept.
        shard_size: patches a shard; after a kill at most one shard is read again.
        progress: called with patches done and patches in all, after every shard.
        root: from which ``data.sources.open_source`` opens the source again.
        threads: patches that are read at a time.
        trust_addresses: do not read again what the dataset has from the same root and address, as where reading is a
            download. Files on a disk may have changed; those are read, and known by their content.

    Raises:
        SourceError: another process is writing, or the disk refuses; nothing half-written is left under its name.
    """
    job = _Job(source, dataset, str(root), keep_pixels, shard_size, trust_addresses)
    with disk_errors(
        dataset,
        "Writing",
        kind=SourceError,
        full="Free some space and run it again: it goes on where it stopped.",
        denied="Choose a directory you may write to, with SAMEWHERE_HOME.",
    ):
        job.folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(dataset / LOCK)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout as error:
            raise SourceError(f"{dataset}: another process is adding patches. Wait until it has ended.") from error
        try:
            # One pool for the whole job: sources keep files open for each thread.
            with ThreadPoolExecutor(threads, "read") as pool:
                return _run(job, pool, progress)
        finally:
            lock.release()


def _run(job: _Job, pool: ThreadPoolExecutor, progress: Progress | None) -> IngestReport:
    there = read_rows(job.dataset)
    job.known = set(there["id"].to_pylist())
    if job.trust_addresses:
        job.at_hand = set(there.filter(pc.field("root") == job.root)["address"].to_pylist())
    addresses, resumed = job.source.addresses, 0
    ranges = shard_ranges(len(addresses), job.shard_size)
    for number, rows in enumerate(ranges):
        if job.shard(number)[1].exists():
            resumed += 1
            job.known.update(pq.read_table(job.shard(number)[0], columns=["id"])["id"].to_pylist())
        else:
            _make_shard(job, number, [addresses[row] for row in rows if addresses[row] not in job.at_hand], pool)
        if progress:
            progress(rows.stop, len(addresses))
    report = _merge(job, there, len(ranges), resumed)
    with durable(job.dataset / REPORT) as file:
        shards = [json.loads(job.shard(number)[1].read_bytes()) for number in range(len(ranges))]
        file.write(json.dumps({**as_plain(report), "shards": shards}, indent=2).encode())
    shutil.rmtree(job.folder)
    return report


def _make_shard(job: _Job, number: int, addresses: Sequence[str], pool: ThreadPoolExecutor) -> None:
    """Read a shard and commit it."""
    path, report_path = job.shard(number)
    report, tables = ShardReport(), [SCHEMA.empty_table()]
    kept: list[dict[str, object]] = []
    for record in read_all(job.source, addresses, report, pool=pool):
        try:
            row = make_table([record], kind=job.source.kind, root=job.root)
        except SamewhereError as error:
            report.failed.append(Failure(record.address, str(error)))
            report.read -= 1
            continue
        (name,) = row["id"].to_pylist()
        if name in job.known:
            continue
        job.known.add(name)
        tables.append(row)
        if job.keep_pixels:
            kept.append({"id": name, "tiff": encode_pixels(record.patch)})
    rows = pa.concat_tables(tables)
    if kept:
        # Named by the patches in it: the same addresses again, when some had failed, must not write over this file.
        pixels = hashlib.sha256("".join(rows["id"].to_pylist()).encode()).hexdigest()[:32] + ".parquet"
        (job.dataset / KEPT).mkdir(exist_ok=True)
        with durable(job.dataset / KEPT / pixels) as file:
            pq.write_table(pa.Table.from_pylist(kept, PIXELS), file, compression="none", row_group_size=PIXEL_GROUP)
        place = SCHEMA.get_field_index("pixels")
        rows = rows.set_column(place, SCHEMA.field(place), pa.array([pixels] * len(rows), pa.string()))
    with durable(path) as file:
        pq.write_table(rows, file)
    with durable(report_path) as file:
        file.write(json.dumps(as_plain(report)).encode())


def _merge(job: _Job, there: pa.Table, shards: int, resumed: int) -> IngestReport:
    """Put the shards' rows beside those that are there, and their reports together."""
    tables, read, skipped, failed = [SCHEMA.empty_table()], 0, Counter[str](), []
    for number in range(shards):
        path, report_path = job.shard(number)
        tables.append(pq.read_table(path, schema=SCHEMA))
        content = json.loads(report_path.read_bytes())
        read += content["read"]
        skipped.update(content["skipped"])
        failed += [Failure(**failure) for failure in content["failed"]]
    # Shards may be older than the rows: another job came between, or this one was killed after it had merged them.
    new = pa.concat_tables(tables)
    new = new.filter(pc.invert(pc.is_in(new["id"], value_set=there["id"])))
    table = pa.concat_tables([there, new]).sort_by([("h3_7", "ascending"), ("id", "ascending")])
    added = len(new)
    if added or not (job.dataset / ROWS).exists():
        write_rows(job.dataset, table)
    return IngestReport(read, added, skipped, tuple(failed), len(table), resumed)


def read_rows(dataset: Path) -> pa.Table:
    """Every row of a dataset; none where there is no file yet.

    Raises:
        SourceError: the file is damaged.
    """
    path = dataset / ROWS
    if not path.exists():
        return SCHEMA.empty_table()
    try:
        return pq.read_table(path, schema=SCHEMA)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SourceError(f"{path}: damaged or of another version ({error}). Add the sources anew.") from error


def write_rows(dataset: Path, table: pa.Table) -> None:
    """Write a dataset's rows, sorted before, in groups whose statistics let a search leave most of them out."""
    table = table.replace_schema_metadata(geo_metadata(table) if len(table) else None)
    with durable(dataset / ROWS) as file:
        pq.write_table(table, file, compression="zstd", row_group_size=ROW_GROUP)


def as_plain(report: ShardReport | IngestReport) -> dict[str, Any]:
    """A report as JSON takes it."""
    return {**vars(report), "skipped": dict(report.skipped), "failed": [vars(failure) for failure in report.failed]}

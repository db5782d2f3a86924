"""Makes one shard: embeds its rows and commits them as one Parquet file. Idempotent, and the same in every engine."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from indexer.encoder import EncoderPair
from indexer.files import durable
from indexer.plan import Shard
from indexer.rows import open_writer
from indexer.sources import BuildParameters, Failed, RowSource, open_sources, versions


@dataclass(frozen=True)
class Made:
    """What came of a shard.

    Attributes:
        shard: its file's name.
        kind: of its rows.
        rows: how many were asked for.
        seconds: that it took.
        failed: rows that could not be made, and why.
    """

    shard: str
    kind: str
    rows: int
    seconds: float
    failed: Failed


def make_shard(folder: Path, shard: Shard, *, pair: EncoderPair, parameters: BuildParameters) -> Made:
    """Make one shard's rows and commit them as a Parquet file. The same shard always gives the same bytes.

    Args:
        folder: where the file is to appear.
        shard: what to make.
        pair: the encoders.
        parameters: of the build.
    """
    return commit_shard(folder, shard, *embed_shard(shard, pair=pair, parameters=parameters))


def embed_shard(shard: Shard, *, pair: EncoderPair, parameters: BuildParameters) -> tuple[pa.Table, Failed, float]:
    """A shard's rows, what could not be made, and the seconds that it took; nothing is written."""
    begun = time.monotonic()
    source = next(
        source
        for source in _sources(parameters, versions(parameters))
        if (source.kind, source.name) == (shard.kind, shard.source)
    )
    return *source.make(shard.ids, pair), time.monotonic() - begun


def commit_shard(folder: Path, shard: Shard, rows: pa.Table, failed: Failed, seconds: float) -> Made:
    """Write the rows of :func:`embed_shard` as a Parquet file that is on the disk when this returns."""
    begun = time.monotonic()
    with durable(folder / shard.file_name) as file, open_writer(file, rows.schema) as writer:
        writer.write_table(rows)
    return Made(shard.file_name, shard.kind, len(shard.ids), seconds + time.monotonic() - begun, failed)


@functools.lru_cache(maxsize=2)
def _sources(parameters: BuildParameters, _versions: tuple[int, ...]) -> list[RowSource]:
    """The sources of a build, opened once in a process and again when a dataset has changed."""
    return open_sources(parameters)

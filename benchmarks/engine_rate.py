"""Embedding through each engine beside a bare loop over the same cells, with the same encoder, batches and threads.

    python -m benchmarks.engine_rate [--rows 60000] [--rounds 3]

The bare loop calls the encoder for the ids of one shard after the other and keeps nothing. Engines make the same shards
as a job does: embed, look up country and continent, write Parquet, fsync. ``inline`` works in this process, ``pool`` in
processes of as many threads in all, ``ray`` in tasks on this machine. The rate counts from the moment at which every
worker has made its first shard, so that a start of seconds is not divided by a job of a minute; the seconds to that
moment stand beside it. Loop and engines take turns, and a ratio is that of the medians. Wanted is .95.
"""

from __future__ import annotations

import functools
import os
import shutil
import statistics
import time

import torch

from benchmarks.snapshots import CHECKPOINT, cells, scratch
from benchmarks.timing import Result, Row, Times, find_peer, main
from data.geo import cell_key, cell_lonlat
from indexer.encoder import load_encoder
from indexer.engines import Engine, Inline, Pool, Ray
from indexer.plan import SHARD_ROWS, Shard, plan_shards
from indexer.sources import BuildParameters
from model import load

QUICK = {"rows": 2_000, "rounds": 1, "shard_rows": 300, "engines": "inline"}


def run(
    rows: int = 60_000, rounds: int = 3, shard_rows: int = SHARD_ROWS["cells"], engines: str = "inline,pool,ray"
) -> Result:
    """Make the shards every way in turns."""
    missing: list[str] = []
    pair = load(CHECKPOINT)
    threads = torch.get_num_threads()
    ids = cells(rows)
    shards = plan_shards("cells", "cells", ids, cell_key(ids), rows=shard_rows)
    parameters = BuildParameters(6, 3, True, pair.tile_footprint_km)
    loader = functools.partial(load_encoder, CHECKPOINT, "pair")
    workers = threads
    made: dict[str, Engine] = {"inline": Inline(pair)}
    if "pool" in engines:
        made["pool"] = Pool(loader, pair.fingerprint, workers)
    if "ray" in engines and find_peer("ray", missing):
        made["ray"] = Ray(loader, pair.fingerprint, workers)

    def bare() -> tuple[float, float]:
        begun = time.perf_counter()
        pair.encode_location(cell_lonlat(shards[0].ids))
        first = time.perf_counter()
        for shard in shards[1:]:
            pair.encode_location(cell_lonlat(shard.ids))
        return first - begun, (time.perf_counter() - first) / (len(ids) - len(shards[0].ids))

    found: dict[str, list[tuple[float, float]]] = {"bare loop": [], **{name: [] for name in made}}
    for _ in range(rounds):
        for name in found:
            found[name].append(bare() if name == "bare loop" else through(made[name], shards, parameters))
    loop = statistics.median(each for _, each in found["bare loop"])
    table = []
    for name, rounds_ in found.items():
        times = Times(tuple(each for _, each in rounds_))
        value, low, high = times.rate(1)
        table.append(
            Row(
                name,
                value,
                "cells a second",
                low,
                high,
                "" if name == "bare loop" else "bare loop",
                None if name == "bare loop" else loop / times.median,
                part=f"{rows:,} cells in {len(shards)} shards, {threads} threads",
                more={"first shard of all workers, s": statistics.median(first for first, _ in rounds_)},
            )
        )
    return Result(
        "Embedding of cells through the engines beside a bare loop of the encoder; wanted is .95.",
        tuple(table),
        tuple(missing),
    )


def through(engine: Engine, shards: list[Shard], parameters: BuildParameters) -> tuple[float, float]:
    """Seconds until every worker has made a shard, and seconds a row after that."""
    folder = scratch() / f"shards-{os.getpid()}"
    folder.mkdir()
    begun = started = time.perf_counter()
    rows = 0
    for done, made in enumerate(engine.run(folder, shards, parameters), start=1):
        now = time.perf_counter()
        if done <= engine.workers:
            started = now
        else:
            rows += made.rows
    shutil.rmtree(folder)
    return started - begun, (now - started) / rows


if __name__ == "__main__":
    main(run, QUICK)

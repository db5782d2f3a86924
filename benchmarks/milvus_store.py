"""What an embedded Milvus costs beside the store on disk: pushing, opening, and one query.

Makes an index of random tiles, pushes it, and asks both stores the same: their answers must be identical.

    python -m benchmarks.milvus_store [--rows 50000] [--rounds 7]
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.timing import Result, Row, Times, in_turns, main, timed_row
from indexer.commit import commit
from indexer.local import LocalStore
from indexer.merge import Input
from indexer.milvus import MilvusStore
from indexer.milvus_push import push
from indexer.rows import make_rows
from indexer.where import Compare, Where

QUICK = {"rows": 500, "rounds": 1}
DIM = 256
DISK, MILVUS = "on disk", "embedded Milvus"
PICTURE = 4000
"""Bytes of a thumbnail."""


def make_index(folder: Path, rows: int) -> Path:
    """An index of random tiles."""
    rng = np.random.default_rng(0)
    lonlat = np.stack([rng.uniform(-180, 180, rows), np.degrees(np.arcsin(rng.uniform(-1, 1, rows)))], axis=1)
    vectors = rng.normal(size=(rows, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    picture = rng.bytes(PICTURE)
    columns: dict[str, Sequence[Any]] = {
        "source": ["made"] * rows,
        "cloud_percent": rng.uniform(0, 100, rows).tolist(),
        "thumbnail": [picture] * rows,
    }
    table = make_rows("tiles", [f"t{i}" for i in range(rows)], lonlat=lonlat, vectors=vectors, columns=columns)
    (folder / "index").mkdir()
    pq.write_table(table, folder / "rows.parquet")
    checkpoint = {"name": "made", "fingerprint": "0" * 64, "dim": DIM}
    inputs: dict[str, Any] = {"cells": [], "tiles": [Input(folder / "rows.parquet")]}
    commit(folder / "index", folder / "work", inputs, checkpoint=checkpoint, parameters={}, plan="")
    return folder / "index"


def compared(what: str, times: Mapping[str, Times]) -> list[Row]:
    """Both stores' rows of one question."""
    rows = [timed_row(name, times, peer=DISK, part="one query, k = 10") for name in times]
    return [dataclasses.replace(row, name=f"{what}, {row.name}") for row in rows]


def run(rows: int = 50_000, rounds: int = 7) -> Result:
    """Push, open, ask."""
    table: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index = make_index(folder, rows)
        marks = [time.perf_counter()]
        address = push(index, f"milvus://{folder}/world.db")
        marks.append(time.perf_counter())
        there = MilvusStore(address, cache=folder / "cache")
        marks.append(time.perf_counter())
        here = LocalStore(index)
        query = np.random.default_rng(1).normal(size=(1, DIM)).astype(np.float32)
        cases = {
            "all rows": (10, Where()),
            "a tenth, by cloud": (10, Where(compare=(Compare("cloud_percent", "<", 10.0),))),
            "a hundredth, by cloud": (10, Where(compare=(Compare("cloud_percent", "<", 1.0),))),
            "all rows, k = 640 (spaced hits)": (640, Where()),
        }
        for what, (k, where) in cases.items():
            asked = {
                name: partial(store.search, "tiles", query, k, where=where, view="both")
                for name, store in ((DISK, here), (MILVUS, there))
            }
            if not np.array_equal(asked[DISK]().rows, asked[MILVUS]().rows):
                raise SystemExit(f"{what}: the stores do not agree")
            times = in_turns(asked, rounds=rounds)
            table += compared(what, times)
        scores = {DISK: partial(here.scores, "tiles", query), MILVUS: partial(there.scores, "tiles", query)}
        times = in_turns(scores, rounds=1, warm=False)
        table += compared("the score of every row", times)
        there.close()
    pushed, opened = np.diff(marks).tolist()
    table.append(Row("push", rows / pushed, "rows a second", part="once", more={"seconds": pushed}))
    table.append(Row("first open", 1000 * opened, "ms", part="once", more={"seconds": opened}))
    title = (
        f"{rows:,} tiles × {DIM} with thumbnails of {PICTURE:,} bytes: an embedded Milvus beside the snapshot on disk."
    )
    return Result(title, tuple(table))


if __name__ == "__main__":
    main(run, QUICK)

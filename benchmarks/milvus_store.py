"""What an embedded Milvus costs beside the store on disk: pushing, opening, and one query.

Makes an index of random tiles, pushes it, and asks both stores the same: their answers must be identical.

    python -m benchmarks.milvus_store [--rows 50000] [--dim 256]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from indexer.commit import commit
from indexer.local import LocalStore
from indexer.merge import Input
from indexer.milvus import MilvusStore
from indexer.milvus_push import push
from indexer.rows import make_rows
from indexer.where import Compare, Where

PICTURE = 4000
"""Bytes of a thumbnail."""


def make_index(folder: Path, rows: int, dim: int) -> Path:
    """An index of random tiles."""
    rng = np.random.default_rng(0)
    lonlat = np.stack([rng.uniform(-180, 180, rows), np.degrees(np.arcsin(rng.uniform(-1, 1, rows)))], axis=1)
    vectors = rng.normal(size=(rows, dim)).astype(np.float32)
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
    checkpoint = {"name": "made", "fingerprint": "0" * 64, "dim": dim}
    inputs: dict[str, Any] = {"cells": [], "tiles": [Input(folder / "rows.parquet")]}
    commit(folder / "index", folder / "work", inputs, checkpoint=checkpoint, parameters={}, plan="")
    return folder / "index"


def median_ms(call: Callable[[], Any], times: int) -> float:
    """Median milliseconds of some calls, after one that does not count."""
    call()
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return 1000 * statistics.median(taken)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=256)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index = make_index(folder, asked.rows, asked.dim)
        begun = time.perf_counter()
        address = push(index, f"milvus://{folder}/world.db")
        pushed = time.perf_counter() - begun
        begun = time.perf_counter()
        there = MilvusStore(address, cache=folder / "cache")
        opened = time.perf_counter() - begun
        here = LocalStore(index)
        print(f"{asked.rows:,} tiles × {asked.dim}, thumbnails of {PICTURE:,} bytes, embedded Milvus, one thread\n")
        print(f"push {pushed:.1f} s, {asked.rows / pushed:,.0f} rows a second; first open {1000 * opened:.0f} ms\n")
        print("| one query, k = 10 | on disk, ms | Milvus, ms |")
        print("|---|---|---|")
        query = np.random.default_rng(1).normal(size=(1, asked.dim)).astype(np.float32)
        cases = {
            "all rows": (10, Where()),
            "a tenth, by cloud": (10, Where(compare=(Compare("cloud_percent", "<", 10.0),))),
            "a hundredth, by cloud": (10, Where(compare=(Compare("cloud_percent", "<", 1.0),))),
            "all rows, k = 640 (spaced hits)": (640, Where()),
        }
        for what, (k, where) in cases.items():
            stores = (here, there)

            def ask(store: Any, k: int = k, where: Where = where) -> Any:
                return store.search("tiles", query, k, where=where, view="both")

            answers = [ask(store) for store in stores]
            if not np.array_equal(answers[0].rows, answers[1].rows):
                raise SystemExit(f"{what}: the stores do not agree")
            times = [median_ms(lambda store=store: ask(store), 7) for store in stores]  # type: ignore[misc]
            print(f"| {what} | {times[0]:.1f} | {times[1]:.1f} |")
        times = [median_ms(lambda store=store: store.scores("tiles", query), 1) for store in (here, there)]  # type: ignore[misc]
        print(f"| the score of every row | {times[0]:.1f} | {times[1]:.1f} |")
        there.close()


if __name__ == "__main__":
    main()

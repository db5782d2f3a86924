"""Approximate search of a million embeddings of places beside HNSW: questions a second, build, bytes, recall.

    python -m benchmarks.approximate_search [--rows 1000000] [--peers hnswlib,usearch,faiss] [--links 32]

The rows are embeddings of land cells by the built-in pair, in the order of an index; the questions are those by which
an index is calibrated, of the default view, others than it was calibrated with. Every graph is asked with the least ef
that finds 99 % of the true ten, or with the largest tried, and with less; we are, with what calibration chose. All
answer the same batch on the same threads in one process, in turns. Bytes are those that must stay in memory: codes and
lists for us (rows that refine lie mapped in a file), the graph and its vectors for the others. Our build is without
calibration, which takes about as long again for each view. Then exact batches beside the matrix product alone, and one
exact question beside reading all vectors once, on as many threads.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.hnsw import PEERS, Graph, least_ef
from benchmarks.snapshots import scratch, vector_index
from benchmarks.timing import Result, Row, Work, find_peer, in_turns, main, seconds, timed_row
from data.cores import cores
from indexer.ann import AnnIndex
from indexer.ann_build import QUERIES, build_ann, compare, fill, sample_queries
from indexer.vectors import VectorIndex

QUICK = {"rows": 5_000, "rounds": 1, "links": 8, "candidates": 40}
K, BLOCK, READ_ROWS = 10, 8192, 256
LESS = (64, 256, 1024)
"""Efforts with which graphs are asked besides, for what they find in less time."""


def run(
    rows: int = 1_000_000,
    rounds: int = 5,
    peers: str = "hnswlib,usearch,faiss",
    links: int = 32,
    candidates: int = 200,
) -> Result:
    """Build, ask, compare."""
    exact, missing = vector_index(rows), list[str]()
    views = {"both": lambda queries: queries}
    path = scratch() / f"approximate-{rows}.ann"
    build_s = seconds(lambda: fill(exact, method="ivf-rabitq"))
    questions = sample_queries(exact, exact)
    settings = build_ann(path, exact, method="ivf-rabitq", weightings=views, queries=questions)
    asked = np.ascontiguousarray(sample_queries(exact, exact, seed=1, count=QUERIES), dtype=np.float32)
    truth = exact.search_batch(asked, K)
    asks: dict[str, Any] = {"samewhere": partial(AnnIndex(path, exact, settings).search_batch, k=K, view="both")}
    facts: dict[str, dict[str, float | str]] = {"samewhere": {"built in, s": build_s, "bytes a row": settings["bytes"]}}
    vectors = np.asarray(exact.array)
    for peer in filter(None, peers.split(",")):
        if not find_peer(peer, missing):
            continue
        begun = time.perf_counter()
        ask, size = PEERS[peer](vectors, Graph(links, candidates, cores()))
        took = time.perf_counter() - begun
        for ef in sorted({*LESS, least_ef(ask, asked, truth)}):
            asks[f"{peer}, ef {ef}"] = lambda queries, ask=ask, ef=ef: ask(queries, ef)
            facts[f"{peer}, ef {ef}"] = {"built in, s": took, "bytes a row": size}
    for name, ask in asks.items():
        found = compare(ask(asked), truth)
        facts[name] = {"recall@10": found.rows, "score recall": found.scores, **facts[name]}
        facts[name]["build beside ours"] = float(facts[name]["built in, s"]) / build_s
    times = in_turns({name: partial(ask, asked) for name, ask in asks.items()}, rounds=rounds)
    part = f"{rows:,} × {exact.dim}, {len(asked):,} questions at once"
    table = [
        timed_row(
            name,
            times,
            peer="samewhere",
            count=len(asked),
            unit="questions a second",
            part=part,
            more=facts[name],
        )
        for name in asks
    ]
    title = (
        f"Approximate search beside graphs of {links} links a row and {candidates} candidates, rows shuffled. Wanted: "
        "twice the rate of the best graph at 99 % of the true ten, at most 64 bytes a row, built in a quarter of the "
        "time."
    )
    return Result(title, (*table, *exact_rows(exact, asked, rounds)), tuple(missing))


def exact_rows(exact: VectorIndex, asked: NDArray[np.float32], rounds: int) -> list[Row]:
    """Exact batches beside the product alone (wanted .85), one question beside reading once (wanted .67)."""
    array, rows = exact.array, list[Row]()
    for count in (32, 256, 1000):
        some = asked[:count]
        columns, block = np.ascontiguousarray(some.T), np.empty((BLOCK, count), dtype=np.float32)

        def multiply(columns: NDArray[np.float32] = columns, block: NDArray[np.float32] = block) -> None:
            for start in range(0, exact.count - BLOCK + 1, BLOCK):
                np.matmul(array[start : start + BLOCK], columns, out=block)

        if exact.count < BLOCK:
            continue
        name = f"exact, {count:,} at once"
        floor = f"the product alone, {count:,} columns"
        times = in_turns({name: partial(exact.search_batch, some, K), floor: multiply}, rounds=rounds)
        unit = "questions a second"
        rows += [timed_row(one, times, peer=floor, count=count, unit=unit, part="exact batches") for one in times]
    name, floor = "one exact question", "copying the vectors through the cache, all threads"
    work: dict[str, Work] = {name: partial(exact.search, asked[0], K), floor: partial(read_once, array)}
    times = in_turns(work, rounds=rounds)
    return rows + [timed_row(one, times, peer=floor, part="one exact question") for one in times]


def read_once(array: NDArray[np.float32]) -> None:
    """Read all of it as fast as memory gives it: every thread copies its part to one small place of its own."""

    def read(part: NDArray[np.float32]) -> None:
        place = np.empty((READ_ROWS, part.shape[1]), dtype=np.float32)
        for start in range(0, len(part), READ_ROWS):
            rows = part[start : start + READ_ROWS]
            np.copyto(place[: len(rows)], rows)

    with ThreadPoolExecutor(cores()) as threads:
        list(threads.map(read, np.array_split(array, cores())))


if __name__ == "__main__":
    main(run, QUICK)

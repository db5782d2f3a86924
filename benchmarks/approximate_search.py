"""Approximate search of a million embeddings of places beside HNSW: questions a second, build, bytes, recall.

    python -m benchmarks.approximate_search [--rows 1000000] [--vectors FILE.npy] [--peers hnswlib,usearch,faiss]

The rows are embeddings of land cells by the built-in pair, in the order of an index; the questions are those by which
an index is calibrated, of the default view, others than it was calibrated with. Every peer is built with 16 links a row
and asked with the least ef that finds 99 % of the true ten; so are we, with what calibration chose. All of them answer
the same batch on the same threads in one process, in turns; a ratio is that of the medians of five rounds. Bytes are
those that must stay in memory: codes and lists for us (rows that refine lie mapped in a file), the graph and its
vectors for the peers. Also printed: exact batches beside the matrix product alone, and a single exact question beside
reading the vectors once.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.geo import cell_lonlat
from data.land import land_cells
from indexer.ann import AnnIndex
from indexer.ann_build import QUERIES, build_ann, compare, fill, sample_queries
from indexer.vectors import VectorIndex, import_faiss, write_vectors
from model import load

K, LINKS, TARGET, ROUNDS = 10, 16, 0.99, 5
Answer = tuple[NDArray[np.int64], NDArray[np.float32]]


def embeddings(count: int) -> NDArray[np.float32]:
    """Vectors of so many land cells of resolution 6, evenly drawn, in the order of an index."""
    cells = land_cells(6, antarctica=True)
    cells = cells[np.linspace(0, len(cells) - 1, count).astype(np.int64)]
    return np.asarray(load("blue-marble-l40", part="location").encode_location(cell_lonlat(cells)))


def hnswlib_peer(rows: NDArray[np.float32], threads: int) -> tuple[Callable[[NDArray[np.float32], int], Answer], float]:
    """Built, and how it is asked with an ef; its bytes a row."""
    import hnswlib

    index = hnswlib.Index(space="ip", dim=rows.shape[1])
    index.init_index(max_elements=len(rows), M=LINKS, ef_construction=100)
    index.set_num_threads(threads)
    index.add_items(rows)

    def ask(queries: NDArray[np.float32], ef: int) -> Answer:
        index.set_ef(ef)
        found, distances = index.knn_query(queries, K)
        return found.astype(np.int64), 1 - distances

    return ask, 4.0 * rows.shape[1] + 8.0 * LINKS + 8 + 4.0 * LINKS / 15


def usearch_peer(rows: NDArray[np.float32], threads: int) -> tuple[Callable[[NDArray[np.float32], int], Answer], float]:
    """Likewise."""
    from usearch.index import Index

    index = Index(ndim=rows.shape[1], metric="ip", dtype="f32", connectivity=LINKS, expansion_add=100)
    index.add(np.arange(len(rows)), rows, threads=threads)

    def ask(queries: NDArray[np.float32], ef: int) -> Answer:
        index.expansion_search = ef
        matches = index.search(queries, K, threads=threads)
        return matches.keys.astype(np.int64), 1 - matches.distances

    return ask, index.memory_usage / len(rows)


def faiss_peer(rows: NDArray[np.float32], threads: int) -> tuple[Callable[[NDArray[np.float32], int], Answer], float]:
    """Likewise."""
    faiss = import_faiss()
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexHNSWFlat(rows.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 100
    index.add(rows)

    def ask(queries: NDArray[np.float32], ef: int) -> Answer:
        scores, found = index.search(queries, K, params=faiss.SearchParametersHNSW(efSearch=ef))
        return found, scores

    return ask, 4.0 * rows.shape[1] + 8.0 * LINKS + 16


PEERS: dict[str, Callable[[NDArray[np.float32], int], tuple[Callable[[NDArray[np.float32], int], Answer], float]]] = {
    "hnswlib": hnswlib_peer,
    "usearch": usearch_peer,
    "faiss": faiss_peer,
}


def seconds(work: Callable[[], Any]) -> float:
    """How long a call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def least_ef(ask: Callable[[NDArray[np.float32], int], Answer], queries: NDArray[np.float32], truth: Answer) -> int:
    """The least of a row of doubling and half-doubling efs that finds enough; the last where none does."""
    for ef in (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096):
        if compare(ask(queries, ef), truth).rows >= TARGET:
            break
    return ef


def exact_figures(exact: VectorIndex, queries: NDArray[np.float32]) -> None:
    """Print exact batches beside the product alone, and one question beside reading everything once."""
    array, batches = exact.array, (32, 256, 1000)
    for count in batches:
        asked = queries[:count]
        columns, block = np.ascontiguousarray(asked.T), np.empty((8192, count), dtype=np.float32)

        def multiply(columns: NDArray[np.float32] = columns, block: NDArray[np.float32] = block) -> None:
            for start in range(0, exact.count - 8191, 8192):
                np.matmul(array[start : start + 8192], columns, out=block)

        floor, ours = [], []
        for _ in range(ROUNDS):
            floor.append(seconds(multiply))
            ours.append(seconds(partial(exact.search_batch, asked, K)))
        ratio = statistics.median(floor) / statistics.median(ours)
        print(
            f"exact batch of {count}: {count / statistics.median(ours):,.0f} a second, {ratio:.2f} of the product alone"
        )
    words = array.reshape(-1).view(np.int64)
    reading = [seconds(lambda: np.bitwise_or.reduce(words)) for _ in range(ROUNDS)]
    single = [seconds(partial(exact.search, query, K)) for query in queries[:ROUNDS]]
    ratio = statistics.median(single) / statistics.median(reading)
    print(f"exact single: {1e3 * statistics.median(single):.0f} ms, {ratio:.2f} x reading the vectors once (NumPy, or)")


def main() -> None:
    """Build, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--vectors", type=Path, help="a .npy of embeddings made before")
    parser.add_argument("--peers", default=",".join(PEERS))
    given = parser.parse_args()
    threads = os.cpu_count() or 1
    rows = np.load(given.vectors, allow_pickle=False)[: given.rows] if given.vectors else embeddings(given.rows)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "x.faiss"
        with path.open("wb") as file:
            write_vectors(file, [rows], dim=rows.shape[1], count=len(rows))
        exact = VectorIndex(path, count=len(rows), dim=rows.shape[1])
        build_s = seconds(lambda: fill(exact, method="ivf-rabitq"))
        views = {"both": lambda queries: queries}
        settings = build_ann(
            Path(name) / "x.ann", exact, method="ivf-rabitq", weightings=views, queries=sample_queries(exact, exact)
        )
        ann = AnnIndex(Path(name) / "x.ann", exact, settings)
        queries = sample_queries(exact, exact, seed=1, count=QUERIES)
        truth = exact.search_batch(queries, K)
        contenders = {"ours": (partial(ann.search_batch, k=K, view="both"), build_s, settings["bytes"], "")}
        for peer in filter(None, given.peers.split(",")):
            made: list[Any] = []
            peer_s = seconds(lambda peer=peer, made=made: made.append(PEERS[peer](rows, threads)))
            ask, size = made[0]
            ef = least_ef(ask, queries, truth)
            contenders[peer] = (partial(ask, ef=ef), peer_s, size, f"ef {ef}")
        times: dict[str, list[float]] = {contender: [] for contender in contenders}
        for _ in range(ROUNDS):
            for contender, (ask, *_rest) in contenders.items():
                times[contender].append(seconds(partial(ask, queries)))
        print(
            f"\n| {len(rows):,} × {rows.shape[1]} | recall@10 | score recall | QPS | ours beside "
            "| build, s | bytes a row |"
        )
        print("|---|---|---|---|---|---|---|")
        ours = statistics.median(times["ours"])
        for contender, (ask, made_s, size, note) in contenders.items():
            recall, median = compare(ask(queries), truth), statistics.median(times[contender])
            print(
                f"| {contender} {note} | {recall.rows:.3f} | {recall.scores:.3f} | {len(queries) / median:,.0f} | "
                f"{median / ours:.1f} × its rate, {made_s / build_s:.1f} × sooner built | {made_s:.0f} | {size:.0f} |"
            )
        print()
        exact_figures(exact, queries)


if __name__ == "__main__":
    main()

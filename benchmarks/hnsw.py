"""Graphs of neighbours in three libraries, asked alike: what the approximate searches are measured beside."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from indexer.ann_build import compare
from indexer.vectors import import_faiss

K, LINKS, TARGET = 10, 16, 0.99
EFS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096)
Answer = tuple[NDArray[np.int64], NDArray[np.float32]]
AskWithEf = Callable[[NDArray[np.float32], int], Answer]


def hnswlib_peer(rows: NDArray[np.float32], threads: int) -> tuple[AskWithEf, float]:
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


def usearch_peer(rows: NDArray[np.float32], threads: int) -> tuple[AskWithEf, float]:
    """Likewise."""
    from usearch.index import Index

    index = Index(ndim=rows.shape[1], metric="ip", dtype="f32", connectivity=LINKS, expansion_add=100)
    index.add(np.arange(len(rows)), rows, threads=threads)

    def ask(queries: NDArray[np.float32], ef: int) -> Answer:
        index.expansion_search = ef
        matches = index.search(queries, K, threads=threads)
        return matches.keys.astype(np.int64), 1 - matches.distances

    return ask, index.memory_usage / len(rows)


def faiss_peer(rows: NDArray[np.float32], threads: int) -> tuple[AskWithEf, float]:
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


PEERS: dict[str, Callable[[NDArray[np.float32], int], tuple[AskWithEf, float]]] = {
    "hnswlib": hnswlib_peer,
    "usearch": usearch_peer,
    "faiss": faiss_peer,
}


def least_ef(ask: AskWithEf, queries: NDArray[np.float32], truth: Answer) -> int:
    """The least of a row of doubling and half-doubling efs that finds enough; the last where none does."""
    for ef in EFS:
        if compare(ask(queries, ef), truth).rows >= TARGET:
            break
    return ef

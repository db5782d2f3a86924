"""Graphs of neighbours in three libraries, asked alike: what the approximate searches are measured beside.

Rows that are alike stand side by side in an index, and a graph that is given them in that order is a poor one: so it is
given them shuffled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.ann_build import compare
from indexer.vectors import import_faiss

K, TARGET = 10, 0.99
EFS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096)
Answer = tuple[NDArray[np.int64], NDArray[np.float32]]
AskWithEf = Callable[[NDArray[np.float32], int], Answer]


@dataclass(frozen=True)
class Graph:
    """How a graph is made.

    Attributes:
        links: of each row.
        candidates: that are looked at for the links of a row.
        threads: that make it and that answer.
    """

    links: int = 16
    candidates: int = 100
    threads: int = 1


def hnswlib_peer(rows: NDArray[np.float32], graph: Graph) -> tuple[AskWithEf, float]:
    """Built, and how it is asked with an ef; its bytes a row."""
    import hnswlib

    index = hnswlib.Index(space="ip", dim=rows.shape[1])
    index.init_index(max_elements=len(rows), M=graph.links, ef_construction=graph.candidates)
    index.set_num_threads(graph.threads)
    order = shuffled(len(rows))
    index.add_items(rows[order], order)

    def ask(queries: NDArray[np.float32], ef: int) -> Answer:
        index.set_ef(ef)
        found, distances = index.knn_query(queries, K)
        return found.astype(np.int64), 1 - distances

    return ask, 4.0 * rows.shape[1] + 8.0 * graph.links + 8 + 4.0 * graph.links / 15


def usearch_peer(rows: NDArray[np.float32], graph: Graph) -> tuple[AskWithEf, float]:
    """Likewise."""
    from usearch.index import Index

    links, candidates = graph.links, graph.candidates
    index: Any = Index(ndim=rows.shape[1], metric="ip", dtype="f32", connectivity=links, expansion_add=candidates)
    order = shuffled(len(rows))
    index.add(order, rows[order], threads=graph.threads)

    def ask(queries: NDArray[np.float32], ef: int) -> Answer:
        index.expansion_search = ef
        matches = index.search(queries, K, threads=graph.threads)
        return matches.keys.astype(np.int64), 1 - matches.distances

    return ask, index.memory_usage / len(rows)


def faiss_peer(rows: NDArray[np.float32], graph: Graph) -> tuple[AskWithEf, float]:
    """Likewise."""
    faiss = import_faiss()
    faiss.omp_set_num_threads(graph.threads)
    index = faiss.IndexHNSWFlat(rows.shape[1], graph.links, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = graph.candidates
    order = shuffled(len(rows))
    index.add(rows[order])

    def ask(queries: NDArray[np.float32], ef: int) -> Answer:
        scores, found = index.search(queries, K, params=faiss.SearchParametersHNSW(efSearch=ef))
        return np.where(found < 0, -1, order[found]), scores

    return ask, 4.0 * rows.shape[1] + 8.0 * graph.links + 16


PEERS: dict[str, Callable[[NDArray[np.float32], Graph], tuple[AskWithEf, float]]] = {
    "hnswlib": hnswlib_peer,
    "usearch": usearch_peer,
    "faiss": faiss_peer,
}


def shuffled(count: int) -> NDArray[np.int64]:
    """Row numbers in the order in which a graph is given them."""
    return np.random.default_rng(0).permutation(count)


def least_ef(ask: AskWithEf, queries: NDArray[np.float32], truth: Answer) -> int:
    """The least of a row of doubling and half-doubling efs that finds enough; the last where none does."""
    for ef in EFS:
        if compare(ask(queries, ef), truth).rows >= TARGET:
            break
    return ef

"""The approximate index: inverted lists over codes of one bit a dimension, every answer refined from the full rows.

Owns which method suits how many rows, the building of its FAISS file, how far each view must look, and its search.
Embeddings of places hold near-duplicates, which codes cannot tell apart: so every candidate is compared again by its
float32 row, and two figures are reported, the share of the true ten that are found and the share of answers whose
score is within 0.001 of the tenth best. Refuses to commit an index that finds too few.

Source:
    Gao and Long 2024, RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound for Approximate Nearest
    Neighbor Search, SIGMOD, for the codes; Jégou, Douze and Schmid 2011, Product Quantization for Nearest Neighbor
    Search, §V, for inverted lists.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import IndexStoreError
from indexer.encoder import Vectors
from indexer.files import durable
from indexer.rowset import RowSet
from indexer.vectors import Rows, VectorIndex, import_faiss

Weighting = Callable[[Vectors], Vectors]

METHODS = ("flat", "ivf-flat", "ivf-rabitq", "ivf-hnsw-rabitq")
K = 10
TARGET = 0.99
QUERIES = 1000
"""For the calibration, and as many others for the measurement."""
POINTS_PER_LIST = 64
"""Rows that each list's centre is trained on."""
ITERATIONS = 8
REFINE = (10, 20, 40, 80, 160)
"""Candidates compared again, for each row wanted; the first that suffices is taken."""
CLOSE = 1e-3
BLOCK = 65_536


def choose_method(count: int) -> str:
    """The method for so many rows: exact to 2·10⁵, full rows in lists to 5·10⁵, codes, and a graph of lists from 10⁷.

    Reading 2·10⁵ rows of 256 numbers takes 15–30 ms, which nobody waits for.
    """
    if count <= 200_000:
        return "flat"
    if count <= 500_000:
        return "ivf-flat"
    return "ivf-rabitq" if count < 10_000_000 else "ivf-hnsw-rabitq"


def check_method(method: str) -> str:
    """A method's name, or ``auto``.

    Raises:
        IndexStoreError: it is neither.
    """
    if method != "auto" and method not in METHODS:
        raise IndexStoreError(f"There is no search method {method!r}; choose auto, {', '.join(METHODS)}.")
    return method


def list_count(count: int) -> int:
    """Lists for N rows: the power of two next to 2·√N, so that looking up centres and reading a list cost alike."""
    return max(1, 2 ** round(math.log2(max(1.0, 2 * math.sqrt(count)))))


class AnnIndex:
    """An approximate index beside the exact one whose rows refine it. Many threads may search at once."""

    def __init__(self, path: Path, exact: VectorIndex, settings: Mapping[str, Any]) -> None:
        """Map a file.

        Raises:
            IndexStoreError: the file is damaged or of other rows.
        """
        faiss = import_faiss()
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
        except RuntimeError as error:
            raise IndexStoreError(f"{path} is not a readable FAISS file: it is damaged. Rebuild the index.") from error
        if (index.ntotal, index.d) != (exact.count, exact.dim):
            raise IndexStoreError(
                f"{path} holds {index.ntotal} vectors of length {index.d}; there are {exact.count} rows of length "
                f"{exact.dim}. Rebuild the index."
            )
        self._searcher = _Searcher(index, exact, str(settings["method"]))
        self._exact = exact
        self._refine = int(settings["refine"])
        self._lists = int(settings["nlist"])

    def search(
        self, queries: Vectors, k: int, *, probes: int, among: RowSet | None = None
    ) -> tuple[Rows, Vectors, int]:
        """The best rows by the largest product with any query, as :meth:`VectorIndex.search`, found approximately.

        Lists that are near a query may hold few of the rows that pass a filter. So a filtered search looks again, each
        time through twice as many lists, until k rows are found and the answer no longer changes.

        Args:
            queries: (Q, D) float32.
            k: how many.
            probes: lists to look through.
            among: which rows may be answered.

        Returns:
            (M,) row numbers, (M,) products that equal the exact search's bit by bit, and the lists looked through.
        """
        queries = np.ascontiguousarray(np.atleast_2d(queries), dtype=np.float32)
        selector = None if among is None else _Selector(among, self._exact.count)
        wanted = min(k, self._exact.count if among is None else among.count)
        last: Rows | None = None
        while True:
            probes = min(probes, self._lists)
            found, _ = self._searcher.run(queries, k, probes=probes, refine=self._refine, selector=selector)
            rows = np.unique(found[found >= 0])
            rows, scores = self._exact.search(queries, k, among=RowSet.from_rows(rows), route="gather")
            settled = len(rows) >= wanted and (among is None or (last is not None and np.array_equal(rows, last)))
            if settled or probes >= self._lists:
                return rows, scores, probes
            last, probes = rows, probes * 2

    def search_batch(self, queries: Vectors, k: int, *, probes: int) -> tuple[Rows, Vectors]:
        """Each query's own best rows: (Q, k) row numbers, −1 where there are fewer, and (Q, k) products."""
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        return self._searcher.run(queries, k, probes=min(probes, self._lists), refine=self._refine)


def build_ann(
    path: Path,
    exact: VectorIndex,
    *,
    method: str,
    weightings: Mapping[str, Weighting],
    queries: Vectors,
    target: float = TARGET,
    seed: int = 0,
) -> dict[str, Any]:
    """Write the approximate index of some rows and find out how far each view must look.

    Lists are trained on a sample and filled block by block. A view weights a query's dimensions and so has neighbours
    of its own: for each, the refinement and the number of lists are calibrated on one half of the queries to halfway
    between ``target`` and 1, and recall@10 is measured on the other half.

    Args:
        path: of the file.
        exact: the rows.
        method: one of :data:`METHODS` but ``flat``.
        weightings: by view, what it does to (n, D) queries.
        queries: (n, D) of the kind that will be asked.
        target: least share of the true ten.
        seed: of the sample and of the training.

    Returns:
        Settings for the manifest: ``method``, ``nlist``, ``seed``, ``refine``, ``bytes`` a row and by view ``nprobe``
        (None where looking far enough costs more than reading every row, so the answer is exact), ``recall`` and
        ``score_recall``. Equal input gives equal settings and bytes.

    Raises:
        IndexStoreError: a view finds too few.
    """
    faiss = import_faiss()
    count, dim, array = exact.count, exact.dim, exact.array
    lists = list_count(count)
    index = _empty(method, dim, lists, seed)
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(count, min(count, POINTS_PER_LIST * lists), replace=False))
    index.train(np.ascontiguousarray(array[sample]))
    for start in range(0, count, BLOCK):
        index.add(np.ascontiguousarray(array[start : start + BLOCK]))
    with durable(path) as file:
        file.write(memoryview(faiss.serialize_index(index)))
    searcher = _Searcher(index, exact, method)
    order = rng.permutation(len(queries))
    halves = queries[order[: len(order) // 2]], queries[order[len(order) // 2 :]]
    weighted = {
        view: [np.asarray(weight(half), dtype=np.float32) for half in halves] for view, weight in weightings.items()
    }
    truth = {view: [exact.search_batch(half, K) for half in pair] for view, pair in weighted.items()}
    aim = (1 + target) / 2
    refine = 1 if method == "ivf-flat" else _enough(searcher, weighted, truth, lists, aim)
    settings: dict[str, Any] = {
        "method": method,
        "nlist": lists,
        "seed": seed,
        "refine": refine,
        "bytes": round(path.stat().st_size / count, 1),
        "nprobe": {},
        "recall": {},
        "score_recall": {},
    }
    for view, (calibration, measured) in weighted.items():
        probes = _probes(searcher, calibration, truth[view][0], lists, refine, aim)
        found = searcher.run(measured, K, probes=probes, refine=refine)
        recall = measure(found, truth[view][1])
        if recall.rows < target:
            raise IndexStoreError(
                f"The {method} index finds {recall.rows:.4f} of the true {K} in view {view!r} with {probes} of {lists} "
                f"lists and {refine * K} refined rows; {target:g} are asked for. Choose another method "
                "(`samewhere index compact --method ivf-flat`, or flat for exact answers)."
            )
        worth = probes <= lists // 4
        settings["nprobe"][view] = probes if worth else None
        settings["recall"][view] = round(recall.rows, 4) if worth else 1.0
        settings["score_recall"][view] = round(recall.scores, 4) if worth else 1.0
    return settings


@dataclass(frozen=True)
class Recall:
    """What of the truth was found: the share of the true rows, and of answers within 0.001 of the worst true score."""

    rows: float
    scores: float


def measure(found: tuple[Rows, Vectors], truth: tuple[Rows, Vectors]) -> Recall:
    """Compare (Q, k) rows and scores with the exact ones."""
    hits = [len(np.intersect1d(a, b)) for a, b in zip(found[0], truth[0], strict=True)]
    close = found[1] >= truth[1][:, -1:] - CLOSE
    return Recall(float(np.sum(hits) / truth[0].size), float(close.mean()))


def sample_queries(rows: VectorIndex, others: VectorIndex, *, seed: int = 0, count: int = 2 * QUERIES) -> Vectors:
    """Queries such as people ask: half are rows of the other kind (image against place), half lie between own rows.

    Args:
        rows: those to be searched.
        others: those of the other kind, maybe none.
        seed: of the choice.
        count: how many at most.
    """
    rng = np.random.default_rng(seed)
    cross = min(others.count, count // 2)
    own = count - cross
    a, b, c = (rows.take(rng.integers(0, rows.count, own)) for _ in range(3))
    between = a + 0.3 * (b - c)
    between /= np.linalg.norm(between, axis=1, keepdims=True)
    across = others.take(np.sort(rng.choice(others.count, cross, replace=False))) if cross else between[:0]
    return np.ascontiguousarray(np.concatenate([across, between]), dtype=np.float32)


class _Selector:
    """A FAISS selector over a bitmap, which must outlive it."""

    def __init__(self, rows: RowSet, count: int) -> None:
        faiss = import_faiss()
        self.bits = np.packbits(rows.mask(count), bitorder="little")
        self.faiss = faiss.IDSelectorBitmap(count, faiss.swig_ptr(self.bits))


class _Searcher:
    """Lists, then full rows."""

    def __init__(self, index: Any, exact: VectorIndex, method: str) -> None:
        self._faiss = import_faiss()
        self._index, self._exact = index, exact
        self._codes = "rabitq" in method
        self._refined = self._faiss.IndexRefine(index, exact.faiss) if self._codes else index

    def run(
        self, queries: Vectors, k: int, *, probes: int, refine: int, selector: _Selector | None = None
    ) -> tuple[Rows, Vectors]:
        """(Q, k) rows, −1 where there are fewer, and (Q, k) products."""
        chosen = {} if selector is None else {"sel": selector.faiss}
        if not self._codes:
            parameters = self._faiss.SearchParametersIVF(nprobe=probes, **chosen)
        else:
            base = self._faiss.IVFRaBitQSearchParameters(nprobe=probes, qb=8, **chosen)
            parameters = self._faiss.IndexRefineSearchParameters(k_factor=float(refine), base_index_params=base)
        scores, rows = self._refined.search(queries, k, params=parameters)
        return np.asarray(rows), np.asarray(scores)


def _empty(method: str, dim: int, lists: int, seed: int) -> Any:
    """An untrained FAISS index."""
    faiss = import_faiss()
    coarse = f"IVF{lists}_HNSW32" if "hnsw" in method else f"IVF{lists}"
    index = faiss.index_factory(
        dim, f"{coarse},{'RaBitQ' if 'rabitq' in method else 'Flat'}", faiss.METRIC_INNER_PRODUCT
    )
    index.cp.niter = ITERATIONS
    index.cp.max_points_per_centroid = POINTS_PER_LIST
    index.cp.min_points_per_centroid = 1
    index.cp.seed = 1234 + seed
    return index


def _enough(searcher: _Searcher, weighted: Any, truth: Any, lists: int, aim: float) -> int:
    """The least refinement with which every view reaches the aim when it looks through a quarter of the lists."""
    far = max(1, lists // 4)
    for refine in REFINE[:-1]:
        found = {view: searcher.run(pair[0], K, probes=far, refine=refine) for view, pair in weighted.items()}
        if all(measure(found[view], truth[view][0]).rows >= aim for view in weighted):
            return refine
    return REFINE[-1]


def _probes(
    searcher: _Searcher, queries: Vectors, truth: tuple[Rows, Vectors], lists: int, refine: int, aim: float
) -> int:
    """The least number of lists that reaches the aim, to within an eighth; all lists where none does."""

    def reaches(probes: int) -> bool:
        return measure(searcher.run(queries, K, probes=probes, refine=refine), truth).rows >= aim

    low, high = 0, 1
    while high < lists and not reaches(high):
        low, high = high, min(lists, 2 * high)
    while high - low > max(1, high // 8):
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high

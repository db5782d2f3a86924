"""The approximate index: inverted lists over codes of one bit a dimension, every answer refined from the full rows.

Owns which method suits how many rows, and the search of a mapped file; :mod:`indexer.ann_build` makes it. Embeddings of
places hold near-duplicates, which codes cannot tell apart: so every candidate is compared again by its float32 row,
and what is answered has the very scores of the exact search.

Source:
    Gao and Long 2024, RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound for Approximate
    Nearest Neighbor Search, SIGMOD, for the codes; Jégou, Douze and Schmid 2011, Product Quantization for Nearest
    Neighbor Search, §V, for inverted lists.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import IndexStoreError
from indexer.encoder import Vectors
from indexer.planner import DEPTHS, graph_effort
from indexer.rowset import RowSet
from indexer.vectors import Rows, VectorIndex, import_faiss

METHODS = ("flat", "ivf-flat", "ivf-rabitq", "ivf-hnsw-rabitq")
ID_BYTES = 8
"""Of a row's number, beside its code in a list."""


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
    """Lists for N rows: the power of two next to 2·√N, so that looking up centres and reading a list cost alike.

    Never more than there are rows.
    """
    return min(1 << round(math.log2(max(1.0, 2 * math.sqrt(count)))), max(1, count))


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
            lists = index.invlists if hasattr(index, "invlists") else None
            if lists is None or path.stat().st_size < index.ntotal * (lists.code_size + ID_BYTES):
                raise RuntimeError("shorter than its lists")  # FAISS before 1.15 maps what is not there
        except RuntimeError as error:
            raise IndexStoreError(f"{path} is not a readable FAISS file: it is damaged. Rebuild the index.") from error
        if (index.ntotal, index.d) != (exact.count, exact.dim):
            raise IndexStoreError(
                f"{path} holds {index.ntotal} vectors of length {index.d}; there are {exact.count} rows of length "
                f"{exact.dim}. Rebuild the index."
            )
        self._lists = Lists(index, exact, codes="rabitq" in str(settings["method"]))
        self._exact = exact
        self._views = settings["views"]

    def search(
        self, queries: Vectors, k: int, *, view: str, depth: int, among: RowSet | None = None
    ) -> tuple[Rows, Vectors] | None:
        """The best rows by the largest product with any query, as :meth:`VectorIndex.search`, found approximately.

        A filter drops rows of the unfiltered ranking, whose recall was measured down to ``depth``; so the answer has
        that recall whatever the filter is. A filter inside the search would not: where the rows that pass lie far from
        the query, codes cannot rank them (.3 to .9 of the true ten were found so).

        Args:
            queries: (Q, D) float32.
            k: how many.
            view: of the queries.
            depth: one of :data:`DEPTHS` that was calibrated for the view.
            among: which rows may be answered.

        Returns:
            (M,) row numbers and (M,) products that equal the exact search's bit by bit; None where the ranking ends
            before k rows have passed.
        """
        queries = np.ascontiguousarray(np.atleast_2d(queries), dtype=np.float32)
        found, products = self._search(queries, depth, view, depth)
        seen = np.unique(found[found >= 0])
        end = float(products[:, -1].max()) if len(seen) < self._exact.count else -np.inf  # what lies below is not known
        if among is not None:
            seen = seen[among.contains(seen)]
        rows, scores = self._exact.search(queries, k, among=RowSet.from_rows(seen), route="gather")
        if len(rows) < k or (len(queries) > 1 and scores[-1] < end):
            return None
        return rows, scores

    def search_batch(self, queries: Vectors, k: int, *, view: str) -> tuple[Rows, Vectors]:
        """Each query's own best rows: (Q, k) row numbers, −1 where there are fewer, and (Q, k) products.

        Raises:
            IndexStoreError: the view is not calibrated for so many.
        """
        depth = next((d for d in DEPTHS if d >= k and self._views[view]["depths"].get(str(d))), None)
        if depth is None:
            raise IndexStoreError(f"View {view!r} is not calibrated for {k} rows a query. Ask the exact index.")
        return self._search(np.ascontiguousarray(queries, dtype=np.float32), k, view, depth)

    def _search(self, queries: Vectors, k: int, view: str, depth: int) -> tuple[Rows, Vectors]:
        return self._lists.search(queries, k, **self._views[view]["depths"][str(depth)])


class Lists:
    """Inverted lists, then full rows."""

    def __init__(self, index: Any, exact: VectorIndex, *, codes: bool) -> None:
        """Take an index and the rows that refine it where it holds ``codes``."""
        self._faiss = import_faiss()
        self._index, self._codes = index, codes
        self._graph = isinstance(self._faiss.downcast_index(index.quantizer), self._faiss.IndexHNSW)
        self._refined = self._faiss.IndexRefine(index, exact.faiss) if codes else index

    def search(self, queries: Vectors, k: int, *, probes: int, refine: int) -> tuple[Rows, Vectors]:
        """(Q, k) rows, −1 where there are fewer, and (Q, k) products. ``refine``·k candidates are compared again."""
        if not self._codes:
            parameters = self._faiss.SearchParametersIVF(nprobe=probes)
        else:
            graph = self._faiss.SearchParametersHNSW(efSearch=graph_effort(probes)) if self._graph else None
            base = self._faiss.IVFRaBitQSearchParameters(nprobe=probes, qb=8, quantizer_params=graph)
            parameters = self._faiss.IndexRefineSearchParameters(k_factor=float(refine), base_index_params=base)
        scores, rows = self._refined.search(queries, k, params=parameters)
        return np.asarray(rows), np.asarray(scores)

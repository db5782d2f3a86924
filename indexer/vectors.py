"""Exact nearest neighbours by inner product: FAISS's flat index, written once and memory-mapped ever after.

Owns the exact search. The embedded index holds some 90 thousand vectors of 256 numbers: reading all of them takes
about 3 ms, so nothing approximate is worth its error, and ``IndexFlatIP`` it is. A file opened by mapping costs 4 ms
instead of 60, adds nothing to the private memory of a process, and is as fast once the pages are in the cache.
Measured on 2 cores with 82,000 vectors, one query: one thread 3.3 ms, two threads 8-24 ms (they wait for each other),
NumPy's product 21 ms. So a query runs on one thread.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from data.cores import cores
from data.errors import IndexStoreError, MissingDependencyError
from indexer import gpu
from indexer.encoder import Vectors
from indexer.planner import Route
from indexer.rowset import RowSet

Rows = NDArray[np.int64]


def import_faiss() -> Any:
    """The faiss module.

    Raises:
        MissingDependencyError: neither of the two packages that bring it is installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(
            'Searching needs FAISS, which is not installed. Run: pip install -e ".[cpu]" '
            '(or, with an NVIDIA GPU: pip install -e ".[gpu]")'
        ) from error
    return faiss


THREADS = cores()
SHARED_BYTES = 128 << 20
"""Rows of so many bytes are read by all cores together; handing fewer out costs more than it saves."""
ROW_BLOCK = 4096
"""Rows multiplied at a time (beside the product alone: 1.4 with 32 queries, .94 with 1,000; of 1,024 rows 1.3, .83)."""
GPU_PRODUCTS = 10_000_000
"""From so many products on a GPU is worth the way there."""
_TURNED = (1, 2, 4, 8)
"""Lengths for which FAISS turns eight rows at a time and rounds the last few rows of an array otherwise."""
SHORT_RUN = 8
"""Runs of fewer rows on average are read row by row."""


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """Threads that read vectors, as many as there are cores."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="vectors")


def write_vectors(file: BinaryIO, batches: Iterable[Vectors], *, dim: int, count: int) -> None:
    """Write a FAISS file with the rows of all batches, in order, without holding them all.

    Args:
        file: to write to.
        batches: (n, dim) float32 each.
        dim: D.
        count: rows of all batches together.

    Raises:
        ValueError: the batches hold another number of rows.
    """
    faiss = import_faiss()
    empty = bytes(memoryview(faiss.serialize_index(faiss.IndexFlatIP(dim))))
    # fourcc, d, then the number of rows; at the end the number of floats. The rows follow as they are.
    file.write(empty[:8] + np.int64(count).tobytes() + empty[16:-8] + np.uint64(count * dim).tobytes())
    written = 0
    for batch in batches:
        file.write(np.ascontiguousarray(batch, dtype=np.float32).tobytes())
        written += len(batch)
    if written != count:
        raise ValueError(f"{written} rows were written where {count} were announced")


class _MappedRows:
    """Rows of an ``IndexFlatIP`` for NumPy. An array of them keeps this, and this keeps the mapping."""

    def __init__(self, index: Any) -> None:
        self.index = index
        self.__array_interface__ = {
            "version": 3,
            "shape": (index.ntotal, index.d),
            "typestr": np.dtype(np.float32).str,
            "data": (int(index.get_xb()), True),  # True: read only
        }


class VectorIndex:
    """The vectors of one row file, searchable. Row numbers are those of the row file."""

    def __init__(
        self,
        path: Path,
        *,
        count: int,
        dim: int,
    ) -> None:
        """Map a file.

        Raises:
            MissingDependencyError: FAISS is not installed.
            IndexStoreError: the file is damaged or does not hold ``count`` vectors of length ``dim``.
        """
        self._faiss = import_faiss()
        try:
            index = self._faiss.read_index(str(path), self._faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise IndexStoreError(f"{path} is not a readable FAISS file: it is damaged. Rebuild the index.") from error
        if not isinstance(index, self._faiss.IndexFlatIP) or (index.ntotal, index.d) != (count, dim):
            raise IndexStoreError(
                f"{path} holds {index.ntotal} vectors of length {index.d} in a {type(index).__name__}; its manifest "
                f"promises {count} of length {dim} in an IndexFlatIP. Rebuild the index."
            )
        self._index = index
        self.count, self.dim = count, dim

    @property
    def faiss(self) -> Any:
        """The mapped ``IndexFlatIP`` itself."""
        return self._index

    @property
    def array(self) -> Vectors:
        """(N, D) float32, mapped from the file as long as any view of it lives; read only."""
        if not self.count:
            return np.empty((0, self.dim), dtype=np.float32)
        return np.asarray(_MappedRows(self._index))

    def row(self, number: int) -> Vectors:
        """One stored vector, (D,) float32."""
        return np.array(self.array[number], dtype=np.float32)

    def take(self, rows: NDArray[np.int64]) -> Vectors:
        """Some stored vectors, (n, D) float32."""
        return np.asarray(self.array[np.asarray(rows, dtype=np.int64)])

    def block(self, start: int, count: int) -> Vectors:
        """Consecutive stored vectors, (count, D) float32."""
        return np.array(self.array[start : start + count], dtype=np.float32)

    def scores(self, queries: Vectors) -> Vectors:
        """The largest inner product of each row with any of (Q, D) queries: (N,) float32, as :meth:`search` gives."""
        return inner_products(queries, self.array)

    def search(
        self,
        queries: Vectors,
        k: int,
        *,
        among: RowSet | None = None,
        route: Route | None = None,
    ) -> tuple[Rows, Vectors]:
        """The rows with the largest inner products with any of the queries, best first; of equals the lower row first.

        Args:
            queries: (Q, D) float32.
            k: how many; fewer come back when fewer are allowed.
            among: which rows may be answered.
            route: how they are read, which changes no answer: compare ``all`` rows and drop the others, ``scan`` runs
                as they lie, or ``gather`` single rows; by default by the length of the runs.

        Returns:
            (M,) row numbers and (M,) float32 products, M <= k.
        """
        array = self.array
        if among is None:
            rows, scores = None, inner_products(queries, array)
        else:
            rows = among.rows()
            if route == "all":
                scores = inner_products(queries, array)[rows]
                best = best_rows(scores, k)
                return rows[best], scores[best]
            if route == "gather" or (route is None and len(among.runs) * SHORT_RUN > len(rows)):
                scores = inner_products(queries, array, rows)
            else:
                scores, at = np.empty(len(rows), dtype=np.float32), 0
                for start, stop in among.runs.tolist():
                    scores[at : at + stop - start] = inner_products(queries, array[start:stop])
                    at += stop - start
        best = best_rows(scores, k)
        return (best if rows is None else rows[best]), scores[best]

    def search_batch(self, queries: Vectors, k: int) -> tuple[Rows, Vectors]:
        """Each query's own best rows, exactly, by products of whole blocks.

        Args:
            queries: (Q, D) float32.
            k: how many.

        Returns:
            (Q, k) row numbers, best first, of equals the lower row first, -1 where there are fewer rows, and (Q, k)
            float32 products; they may differ from :meth:`search`'s in the last bits. On a GPU equals come in any order,
            and there are no more columns than rows.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if self.count * len(queries) >= GPU_PRODUCTS and gpu.available():
            return gpu.search_batch(self.array, queries, k)
        with _whole_blocks(self._faiss):
            scores, rows = self._index.search(queries, k)
        scores[rows < 0] = -np.inf
        order = np.lexsort((rows, -scores))
        return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)


@contextmanager
def _whole_blocks(faiss: Any) -> Iterator[None]:
    """Have FAISS multiply blocks of rows with all queries at once, however few they are.

    By itself it does so from some 500 queries of 256 numbers on. What is set holds for the whole process, but changes
    only how fast others are who ask meanwhile.
    """
    settings = faiss.cvar
    before = settings.distance_compute_blas_threshold, settings.distance_compute_blas_database_bs
    settings.distance_compute_blas_threshold, settings.distance_compute_blas_database_bs = 1, ROW_BLOCK
    try:
        yield
    finally:
        settings.distance_compute_blas_threshold, settings.distance_compute_blas_database_bs = before


def inner_products(queries: Vectors, rows: Vectors, chosen: Rows | None = None) -> Vectors:
    """The largest inner product of each of (N, D) rows, or of the chosen ones, with any of (Q, D) queries.

    Chosen rows are read where they lie: copying them together first took half as long again and more.

    Args:
        queries: (Q, D) float32.
        rows: (N, D) float32, one after the other in memory.
        chosen: (n,) numbers of those that are asked for; None for all.

    Returns:
        (n,) float32; each row's bits depend on that row and the queries alone.
    """
    faiss = import_faiss()
    dim = rows.shape[1]
    if chosen is not None and dim in _TURNED:
        rows, chosen = rows[chosen], None
    count = len(rows) if chosen is None else len(chosen)
    best: Vectors | None = None
    pointer = faiss.swig_ptr
    for query in np.ascontiguousarray(np.atleast_2d(queries), dtype=np.float32):
        out = np.empty(count, dtype=np.float32)

        def multiply(start: int, stop: int, query: Vectors = query, out: Vectors = out) -> None:
            some = out[start:stop]
            if chosen is not None:
                numbers = chosen[start:stop]
                faiss.fvec_inner_products_by_idx(
                    pointer(some), pointer(query), pointer(rows), pointer(numbers), dim, 1, len(some)
                )
            elif dim in _TURNED:
                some[:] = (rows[start:stop] * query).sum(axis=1, dtype=np.float32)
            else:
                faiss.fvec_inner_products_ny(pointer(some), pointer(query), pointer(rows[start:stop]), dim, len(some))

        if 4 * dim * count >= SHARED_BYTES:
            edges = np.linspace(0, count, THREADS + 1).astype(int).tolist()
            list(_pool().map(multiply, edges[:-1], edges[1:]))
        elif count:
            multiply(0, count)
        best = out if best is None else np.maximum(best, out)
    return np.empty(0, dtype=np.float32) if best is None else best


def best_rows(scores: Vectors, k: int) -> Rows:
    """Positions of the k largest, best first; of equals the earlier first."""
    if k >= len(scores):
        return np.argsort(-scores, kind="stable").astype(np.int64)
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    over = np.flatnonzero(scores > least)
    chosen = np.concatenate([over, np.flatnonzero(scores == least)[: k - len(over)]])
    return chosen[np.lexsort((chosen, -scores[chosen]))].astype(np.int64)

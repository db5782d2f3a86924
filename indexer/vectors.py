"""Exact nearest neighbours by inner product: FAISS's flat index, written once and memory-mapped ever after.

Owns every use of FAISS. The embedded index holds some 90 thousand vectors of 256 numbers: reading all of them takes
about 3 ms, so nothing approximate is worth its error, and ``IndexFlatIP`` it is. A file opened by mapping costs 4 ms
instead of 60, adds nothing to the private memory of a process, and is as fast once the pages are in the cache.
Measured on 2 cores with 82,000 vectors, one query: one thread 3.3 ms, two threads 8-24 ms (they wait for each other),
NumPy's product 21 ms. So a query runs on one thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from data.errors import IndexStoreError, MissingDependencyError
from indexer.encoder import Vectors

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


@contextlib.contextmanager
def _one_thread(faiss: Any) -> Iterator[None]:
    """Run FAISS on one thread inside the block; the setting belongs to the calling thread and is put back."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def write_vectors(file: BinaryIO, batches: Iterable[Vectors], *, dim: int) -> None:
    """Write a FAISS file with the rows of all batches, in order."""
    faiss = import_faiss()
    index = faiss.IndexFlatIP(dim)
    for batch in batches:
        index.add(np.ascontiguousarray(batch, dtype=np.float32))
    file.write(memoryview(faiss.serialize_index(index)))


class VectorIndex:
    """The vectors of one row file, searchable. Row numbers are those of the row file."""

    def __init__(self, path: Path, *, count: int, dim: int) -> None:
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

    def row(self, number: int) -> Vectors:
        """One stored vector, (D,) float32."""
        return np.asarray(self._index.reconstruct(number), dtype=np.float32)

    def block(self, start: int, count: int) -> Vectors:
        """Consecutive stored vectors, (count, D) float32."""
        return np.asarray(self._index.reconstruct_n(start, count), dtype=np.float32)

    def scores(self, query: Vectors) -> Vectors:
        """Inner products of one (D,) query with every row: (N,) float32, the same bits that :meth:`search` gives."""
        out = np.empty(self.count, dtype=np.float32)
        vector = np.ascontiguousarray(query, dtype=np.float32)
        pointer = self._faiss.swig_ptr
        self._faiss.fvec_inner_products_ny(pointer(out), pointer(vector), self._index.get_xb(), self.dim, self.count)
        return out

    def search(self, query: Vectors, k: int, *, among: NDArray[np.bool_] | None = None) -> tuple[Rows, Vectors]:
        """The rows with the largest inner products, best first.

        Args:
            query: (D,) float32.
            k: how many; fewer come back when fewer are allowed.
            among: (N,) which rows may be answered; the others are not even compared.

        Returns:
            (M,) row numbers and (M,) float32 products, M <= k.
        """
        allowed = self.count if among is None else int(among.sum())
        k = min(k, allowed)
        if k == 0:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        options = None
        if among is not None and allowed < self.count:
            chosen = self._faiss.IDSelectorBitmap(np.packbits(among, bitorder="little"))
            options = self._faiss.SearchParameters(sel=chosen)
        with _one_thread(self._faiss):
            products, rows = self._index.search(np.ascontiguousarray(query[None], dtype=np.float32), k, params=options)
        return rows[0], products[0]

"""An index in Milvus as a store: the same answers as a snapshot's on disk, bit for bit.

At the client lie the manifest and the light columns, fetched once a snapshot, checked, and mapped from a cache; there
the same code as everywhere chooses the rows that pass a filter. Vectors and thumbnails stay in Milvus. What travels in
one search: the query vectors, weighted by their view already; an expression that narrows the rows; the best row
numbers with Milvus's products; and the vectors of those few rows, which are compared again here, because two machines
round differently and equal rows must keep their order. Milvus's index is FLAT: it compares every row, so every answer
is exact, at every selectivity.

What Milvus cannot express never changes an answer. A filter that chooses few runs of rows, or few rows, is sent as row
numbers. Of any other the plain conditions (countries, continents, sources, latitudes, times, numbers) are sent, which
let through at least the right rows; more is asked for than is wanted, and what does not pass is dropped here. If that
does not suffice, all products of the rows in question come, 16,384 a request.

Light columns take some 100 bytes a row: 1 GB at the client for 10⁷ rows, which is as many as one index should have. 10⁹
rows are 100 prefixes of 10⁷ (``docs/scale.md``), whose best rows whoever asks them all has to merge.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.errors import IndexStoreError
from data.home import home
from indexer.encoder import Vectors
from indexer.light import LightColumns
from indexer.milvus_address import Address
from indexer.milvus_client import LIMIT, VECTOR, Milvus
from indexer.milvus_filter import plain_expression
from indexer.milvus_layout import fetch_light, no_index, rows_name
from indexer.planner import EXACT_BELOW
from indexer.rows import KINDS
from indexer.rowset import RowSet
from indexer.store import Found
from indexer.vectors import Rows, best_rows, import_faiss, inner_products
from indexer.where import Where

MARGIN = 16
"""So many more rows are asked for than are wanted, to see where products that are almost equal end."""
GROWTH = 4
FEW_RUNS = 8
"""So many runs of rows are sent as they are; longer chains of alternatives are slow to read for Milvus."""
FEW_ROWS = 8192
"""So many row numbers go into one expression (60 kB)."""
FEW_PIECES = 4
VECTOR_BYTES = 16 << 20
_SINGLE = 2.0**-24
"""Rounding of one operation in single precision."""


@dataclass(frozen=True)
class _Piece:
    """One request's part of the rows.

    Attributes:
        expression: that lets it through.
        rows: how many it is, None where that is not known.
    """

    expression: str
    rows: int | None


class MilvusStore(LightColumns):
    """An open index in Milvus; safe to use from many threads. Keeps its snapshot when another is pushed meanwhile."""

    def __init__(self, address: str, *, cache: Path | None = None) -> None:
        """Open the current snapshot at an address.

        Args:
            address: as :meth:`indexer.milvus_address.Address.parse` reads it.
            cache: folder for light tables; in ``SAMEWHERE_HOME`` by default.

        Raises:
            IndexStoreError: there is no index, Milvus cannot be reached, or it holds something else than it promises.
            MissingDependencyError: the client or FAISS is not installed.
        """
        place = Address.parse(address)
        self.where = place.text
        import_faiss()  # compares the last few rows
        self._client = Milvus(place)
        try:
            self.manifest, tables = fetch_light(self._client, cache or home() / "cache" / "milvus")
            super().__init__(tables)
            self._names = {kind: rows_name(self._client, kind, self.manifest) for kind in KINDS}
            for kind, name in self._names.items():
                if not self._client.has(name):
                    raise no_index(self._client, f"lacks the collection {name}")
                self._client.load(name)
                if (seen := self._client.count(name)) != (promised := self.manifest.counts[kind]):
                    raise no_index(self._client, f"({name}) has {seen:,} rows where its manifest promises {promised:,}")
        except BaseException:
            self._client.close()
            raise
        self._dim = int(self.manifest.checkpoint["dim"])

    def vectors(self, kind: str, rows: ArrayLike) -> Vectors:
        """(n, D) stored vectors, fetched."""
        wanted = np.asarray(rows, dtype=np.int64)
        numbers, places = np.unique(wanted, return_inverse=True)
        found = np.empty((len(numbers), self._dim), dtype=np.float32)
        step = max(1, min(FEW_ROWS, VECTOR_BYTES // (4 * self._dim)))
        for start in range(0, len(numbers), step):
            part = numbers[start : start + step]
            answer = self._client.query(self._names[kind], f"row in {part.tolist()}", ["row", VECTOR])
            by_row = {row["row"]: row[VECTOR] for row in answer}
            try:
                found[start : start + step] = [by_row[number] for number in part.tolist()]
            except (KeyError, ValueError, TypeError) as error:
                raise no_index(self._client, f"({self._names[kind]}) lacks rows, or their vectors") from error
        if not np.isfinite(found).all():
            raise no_index(self._client, f"({self._names[kind]}) holds vectors that are no numbers")
        return np.asarray(found[places.reshape(-1)])

    def scores(self, kind: str, queries: Vectors) -> Vectors:
        """The largest inner product of each row, computed by Milvus: within 1e-6 of a search's for unit queries."""
        count = self.manifest.counts[kind]
        best = np.full(count, -np.inf, dtype=np.float32)
        for piece in _ranges(None, count):
            for rows, scores in self._ask(kind, np.atleast_2d(queries), LIMIT, piece):
                best[rows] = np.maximum(best[rows], scores)
        return best

    def search(self, kind: str, queries: Vectors, k: int, *, where: Where, view: str) -> Found:
        """The k best rows that pass. The view weighted the queries; an index by inner product needs no more."""
        count, asked = self.manifest.counts[kind], np.atleast_2d(np.asarray(queries, dtype=np.float32))
        selected = self.select(kind, where)
        passing = count if selected is None else selected.count
        if not passing:
            return Found(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), ("No row passes the filter.",))
        selected = None if passing == count else selected
        pieces, reason = self._pieces(kind, selected, where)
        reasons = [f"{passing:,} of {count:,} rows pass the filter ({100 * passing / count:.3g} %).", reason]
        wanted = min(k, passing) + MARGIN
        while True:
            rows, scores, settled = self._best(kind, asked, k, pieces, min(wanted, LIMIT), selected)
            if settled:
                reasons.append(
                    "Milvus compared every row of those (FLAT); of the best ones the vectors were fetched and compared "
                    "again, so the answer is exact."
                )
                return Found(rows, scores, tuple(reasons))
            if wanted >= LIMIT:
                pieces = _ranges(selected, count)
                reasons.append(f"That did not settle the order, so all products came, in {len(pieces):,} requests.")
            wanted *= GROWTH

    def _pieces(self, kind: str, selected: RowSet | None, where: Where) -> tuple[list[_Piece], str]:
        """What Milvus is asked, which together lets through all rows that pass, and the sentence about it."""
        count = self.manifest.counts[kind]
        if selected is None:
            return [_Piece("", count)], "Milvus is asked without a filter."
        if len(selected.runs) <= FEW_RUNS:
            return [_piece(selected.runs)], f"They are sent as {len(selected.runs)} runs of rows."
        if selected.count < EXACT_BELOW * count and selected.count <= FEW_ROWS * FEW_PIECES:
            numbers = selected.rows()
            parts = [numbers[start : start + FEW_ROWS] for start in range(0, len(numbers), FEW_ROWS)]
            pieces = [_Piece(f"row in {part.tolist()}", len(part)) for part in parts]
            return pieces, f"They are sent as row numbers, in {len(pieces)} requests."
        plain = plain_expression(where, self._tables[kind].schema)
        if plain:
            return [_Piece(plain, None)], f"Milvus narrows by {plain!r}; what else does not pass is dropped here."
        return [_Piece("", count)], "Milvus cannot express the filter; what does not pass is dropped here."

    def _best(
        self, kind: str, queries: Vectors, k: int, pieces: Sequence[_Piece], limit: int, selected: RowSet | None
    ) -> tuple[Rows, Vectors, bool]:
        """The k best of the rows that Milvus ranks first, and whether no other row can be among them.

        Two products of D numbers in single precision, however they are summed, are at most 2·D·2⁻²⁴·‖q‖·‖x‖ apart, and
        rows have length 1. So a row that was not seen is at most that much better than the last that was.

        Source:
            Higham, Accuracy and Stability of Numerical Algorithms, section 3.1.
        """
        length = float(np.linalg.norm(queries.astype(np.float64), axis=1).max(initial=0.0))
        slack = 2.05 * self._dim * _SINGLE * length
        unseen = -math.inf
        ranked: list[tuple[Rows, Vectors]] = []
        for piece in pieces:
            for rows, scores in self._ask(kind, queries, limit, piece):
                ranked.append((rows, scores))
                if len(rows) >= limit and len(rows) != piece.rows:
                    unseen = max(unseen, float(scores.min()))
        candidates, places = np.unique(np.concatenate([rows for rows, _ in ranked]), return_inverse=True)
        best = np.full(len(candidates), -np.inf, dtype=np.float32)
        np.maximum.at(best, places.reshape(-1), np.concatenate([scores for _, scores in ranked]))
        if selected is not None:
            inside = selected.contains(candidates)
            candidates, best = candidates[inside], best[inside]
        if len(candidates) > k:
            least = np.partition(best, len(best) - k)[len(best) - k]
            candidates = candidates[best >= least - 2 * slack]
        exact = inner_products(queries, self.vectors(kind, candidates))
        order = best_rows(exact, k)
        settled = unseen == -math.inf or (len(order) == k and float(exact[order[-1]]) - slack > unseen)
        return candidates[order].astype(np.int64), exact[order], settled

    def _ask(self, kind: str, queries: Vectors, limit: int, piece: _Piece) -> Iterator[tuple[Rows, Vectors]]:
        """Milvus's best rows of each query."""
        count, name = self.manifest.counts[kind], self._names[kind]
        found = self._client.search(name, queries, limit, piece.expression)
        for rows, scores in zip(found.rows, found.scores, strict=True):
            sane = len(np.unique(rows)) == len(rows) and np.isfinite(scores).all()
            if not sane or (len(rows) and not 0 <= rows.min() <= rows.max() < count):
                raise no_index(self._client, f"({name}) answers with rows that are not of this index")
            if piece.rows is not None and len(rows) != min(limit, piece.rows):
                raise no_index(
                    self._client,
                    f"({name}) answers with {len(rows):,} of {piece.rows:,} rows where {limit:,} may come",
                )
            yield rows, scores

    def thumbnail(self, row: int) -> bytes:
        """A tile's picture as JPEG; empty where there is none."""
        found = self._client.query(self._names["tiles"], f"row in [{int(row)}]", ["row", "thumbnail"])
        try:
            return base64.b64decode(found[0]["thumbnail"], validate=True)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise no_index(self._client, f"({self._names['tiles']}) holds no thumbnail of row {row}") from error

    def close(self) -> None:
        """Let go of the connection, and of an embedded file."""
        self._client.close()

    def describe(self) -> dict[str, Any]:
        """How each kind is searched."""
        return {kind: {"method": "flat", "store": "milvus", "collection": self._names[kind]} for kind in KINDS}


def milvus_status(address: str) -> dict[str, Any]:
    """State of the index at an address, as :func:`indexer.snapshot.index_status` tells that of a directory.

    Raises:
        IndexStoreError: it is no address.
        MissingDependencyError: the client is not installed.
    """
    status: dict[str, Any] = {"path": Address.parse(address).text, "state": "ready", "problem": None, "manifest": None}
    status |= {"building": None, "names": {}}
    try:
        store = MilvusStore(address)
    except IndexStoreError as error:
        return status | {"state": "missing" if "holds no index" in str(error) else "damaged", "problem": str(error)}
    store.close()
    manifest = store.manifest
    return status | {"manifest": asdict(manifest), "bytes": sum(entry["size"] for entry in manifest.files.values())}


def _piece(runs: NDArray[np.int64]) -> _Piece:
    """Runs of rows."""
    parts = [f"(row >= {start} and row < {stop})" for start, stop in runs.tolist()]
    return _Piece(" or ".join(parts), int((runs[:, 1] - runs[:, 0]).sum()))


def _ranges(selected: RowSet | None, count: int) -> list[_Piece]:
    """Ranges of at most ``LIMIT`` rows that together hold all that pass."""
    ranges = [np.array([[start, min(start + LIMIT, count)]]) for start in range(0, count, LIMIT)]
    return [_piece(one) for one in ranges if selected is None or (selected & RowSet(one)).count]

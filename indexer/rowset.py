"""A set of row numbers as ascending, disjoint runs: what a filter hands to the search.

Owns the one form in which "these rows and no others" travels. Rows lie in H3 order, so what a map's filter chooses is a
few long runs, which can be read as they lie; what a column's filter chooses may be many short ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class RowSet:
    """Row numbers of one kind.

    Attributes:
        runs: (R, 2) int64, ``start, stop`` of each run; ascending, no two of them touch, none is empty.
    """

    runs: NDArray[np.int64]

    @classmethod
    def from_runs(cls, runs: ArrayLike) -> Self:
        """Any ``start, stop`` pairs: sorted, joined where they touch or overlap, the empty ones left out."""
        pairs = np.asarray(runs, dtype=np.int64).reshape(-1, 2)
        pairs = pairs[pairs[:, 0] < pairs[:, 1]]
        pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
        if not len(pairs):
            return cls(pairs)
        reach = np.maximum.accumulate(pairs[:, 1])
        first = np.flatnonzero(np.r_[True, pairs[1:, 0] > reach[:-1]])
        last = np.r_[first[1:] - 1, len(pairs) - 1]
        return cls(np.stack([pairs[first, 0], reach[last]], axis=1))

    @classmethod
    def from_mask(cls, mask: NDArray[np.bool_]) -> Self:
        """The rows where (N,) bool is true."""
        edges = np.flatnonzero(np.diff(np.r_[False, mask, False].view(np.int8)))
        return cls(edges.reshape(-1, 2).astype(np.int64))

    @classmethod
    def from_rows(cls, rows: ArrayLike) -> Self:
        """Row numbers in any order, doubled or not."""
        numbers = np.unique(np.asarray(rows, dtype=np.int64))
        return cls.from_runs(np.stack([numbers, numbers + 1], axis=1))

    @cached_property
    def count(self) -> int:
        """How many rows."""
        return int((self.runs[:, 1] - self.runs[:, 0]).sum())

    def rows(self) -> NDArray[np.int64]:
        """(count,) row numbers, ascending."""
        lengths = self.runs[:, 1] - self.runs[:, 0]
        before = np.cumsum(lengths) - lengths
        return np.asarray(np.arange(self.count) + np.repeat(self.runs[:, 0] - before, lengths), dtype=np.int64)

    def contains(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) bool for (n,) row numbers: whether each is in the set."""
        run = np.searchsorted(self.runs[:, 1], rows, side="right")
        starts = np.append(self.runs[:, 0], np.iinfo(np.int64).max)
        return np.asarray(rows >= starts[run], dtype=np.bool_)

    def mask(self, size: int) -> NDArray[np.bool_]:
        """(size,) bool, true at the rows of the set."""
        edges = np.zeros(size + 1, dtype=np.int8)
        edges[self.runs[:, 0]] += 1
        edges[self.runs[:, 1]] -= 1
        return np.asarray(np.cumsum(edges[:-1], dtype=np.int8), dtype=np.bool_)

    def __and__(self, other: RowSet) -> RowSet:
        """Rows of both."""
        starts, ends = other.runs[:, 0], other.runs[:, 1]
        first = np.searchsorted(ends, self.runs[:, 0], side="right")
        last = np.searchsorted(starts, self.runs[:, 1], side="left")
        lengths = np.maximum(last - first, 0)
        mine = np.repeat(np.arange(len(self.runs)), lengths)
        theirs = np.arange(lengths.sum()) + np.repeat(first - (np.cumsum(lengths) - lengths), lengths)
        low = np.maximum(self.runs[mine, 0], starts[theirs])
        high = np.minimum(self.runs[mine, 1], ends[theirs])
        return RowSet(np.stack([low, high], axis=1).astype(np.int64))

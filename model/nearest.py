"""Neighbours for many folds of the same places.

Owns one table of neighbours of all places, found once, from which the neighbours within any training set are read off.
Gives the same answers as searching each training set anew (``model.neighbours``), in a hundredth of the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.encoder import Vectors
from model.knn import COUNTS
from model.neighbours import Near, Neighbours

KEPT = 192
"""Neighbours kept of each place; where fewer than wanted are in the training set, the set itself is searched."""


class AllPairs:
    """The nearest other places of each place."""

    def __init__(self, vectors: Vectors) -> None:
        """Take (N, D) vectors."""
        self.vectors = vectors
        self.near = Neighbours(vectors).leave_one_out(KEPT)

    def within(self, train: NDArray[np.int64], test: NDArray[np.int64], k: int = max(COUNTS)) -> tuple[Near, Near]:
        """Neighbours among the training rows only, numbered from 0 in the order of ``train``.

        Args:
            train: row numbers.
            test: row numbers.
            k: how many neighbours.

        Returns:
            Of each training row its nearest others, and of each test row its nearest: (n, k) each.
        """
        number = np.full(len(self.vectors), -1, dtype=np.int64)
        number[train] = np.arange(len(train))
        wanted = min(k, len(train) - 1)
        return self._pick(train, number, train, wanted), self._pick(test, number, train, wanted)

    def _pick(self, rows: NDArray[np.int64], number: NDArray[np.int64], train: NDArray[np.int64], k: int) -> Near:
        mapped = number[self.near.row[rows]]  # (n, KEPT), -1 where it is not in the training set
        first = np.argsort(mapped < 0, axis=1, kind="stable")[:, :k]
        row = np.take_along_axis(mapped, first, axis=1)
        distance = np.take_along_axis(self.near.distance[rows], first, axis=1)
        if row.shape[1] < k:
            short = np.arange(len(rows))
            row, distance = np.empty((len(rows), k), dtype=np.int64), np.empty((len(rows), k))
        else:
            short = np.flatnonzero((row < 0).any(axis=1))
        if len(short):
            found = Neighbours(self.vectors[train]).query(self.vectors[rows[short]], k + 1)
            own = found.row == number[rows[short]][:, None]
            keep = np.argsort(own, axis=1, kind="stable")[:, :k]  # itself goes last, where it is there
            row[short] = np.take_along_axis(found.row, keep, axis=1)
            distance[short] = np.take_along_axis(found.distance, keep, axis=1)
        return Near(distance, row)

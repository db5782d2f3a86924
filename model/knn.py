"""The k nearest training places in the embedding, as a head.

Owns the choice of k and of the weights, by leaving out one place at a time, and the two kinds of vote. Outputs are a
mean of the neighbours' values, or the logarithm of the classes' shares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.neighbours import Near

Floats = NDArray[np.float64]
COUNTS = (1, 2, 3, 5, 8, 12, 20, 32)
"""Tried for k."""
SMALLEST = 1e-12
"""Added to squared distances, so that a place that was trained on answers with its own value."""
DOUBT = 0.02
"""Weight, of the whole, of the shares that classes have over all places: no class is ever impossible."""


@dataclass(frozen=True)
class Knn:
    """A fitted k-nearest-neighbours head.

    Attributes:
        targets: (n,) float64 values, or the classes' numbers.
        shares: (C,) of the classes over all places; empty for values.
        k: how many neighbours.
        by_distance: neighbours weigh one over their squared distance; otherwise all the same.
    """

    targets: Floats
    shares: Floats
    k: int
    by_distance: bool

    def __call__(self, near: Near) -> Floats:
        """Neighbours of N places to (N, 1) values or (N, C) logarithms of shares."""
        near = near.first(self.k)
        weight = 1 / (near.distance**2 + SMALLEST) if self.by_distance else np.ones_like(near.distance)
        weight /= weight.sum(axis=1, keepdims=True)
        if not len(self.shares):
            return np.asarray((weight * self.targets[near.row]).sum(axis=1, keepdims=True), dtype=np.float64)
        votes = np.zeros((len(weight), len(self.shares)))
        rows, chosen = np.arange(len(weight)), self.targets[near.row].astype(np.int64)
        for place in range(weight.shape[1]):
            votes[rows, chosen[:, place]] += weight[:, place]
        return np.asarray(np.log((1 - DOUBT) * votes + DOUBT * self.shares), dtype=np.float64)


def choose_knn(targets: Floats, classes: int, near: Near) -> Knn:
    """Choose k and the weights by least leave-one-out error (squared; or the negative log-likelihood of the classes).

    Args:
        targets: (n,) values, or the classes' numbers.
        classes: how many; 0 for values.
        near: the nearest other places of each.

    Raises:
        ValueError: there is no other place.
    """
    if not near.row.shape[1]:
        raise ValueError("there is no neighbour")
    shares = np.bincount(targets.astype(np.int64), minlength=classes) / len(targets) if classes else np.empty(0)
    neighbour = targets[near.row]  # (n, k)
    if classes:
        neighbour = (neighbour == targets[:, None]).astype(np.float64)
    best = float("inf"), 0, False
    for by_distance in (True, False):
        weight = 1 / (near.distance**2 + SMALLEST) if by_distance else np.ones_like(near.distance)
        mean = np.cumsum(weight * neighbour, axis=1) / np.cumsum(weight, axis=1)
        for k in sorted({min(count, near.row.shape[1]) for count in COUNTS}):
            if classes:
                chance = (1 - DOUBT) * mean[:, k - 1] + DOUBT * shares[targets.astype(np.int64)]
                error = float(-np.log(chance).mean())
            else:
                error = float(((mean[:, k - 1] - targets) ** 2).mean())
            best = min(best, (error, k, by_distance), key=lambda tried: tried[0])
    return Knn(targets, np.asarray(shares, dtype=np.float64), best[1], best[2])

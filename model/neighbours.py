"""The nearest training places in the embedding, exactly.

Owns one search: by Euclidean distance, in blocks of matrix products on all processors (``model.chunks``), so that
memory does not grow with the number of questions, and an answer does not depend on what else is asked. A tree was
measured eight times as slow: with 256 dimensions it prunes next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from model.chunks import encode_chunks

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]

SPARE = 4
"""Places looked at beyond the k, because the short form may rank near ones wrongly."""
CLOSE = 1e-3
"""Squared distance below which the short form has lost too many digits, and the difference is taken instead."""


@dataclass(frozen=True)
class Near:
    """The nearest places of N questions, nearest first.

    Attributes:
        distance: (N, k) float64, Euclidean, in the embedding.
        row: (N, k) int64, which place.
    """

    distance: Floats
    row: NDArray[np.int64]

    def first(self, k: int) -> Near:
        """The first k of each."""
        return Near(self.distance[:, :k], self.row[:, :k])


class Neighbours:
    """Places that can be searched by their embeddings."""

    def __init__(self, points: ArrayLike) -> None:
        """Take (n, D) embeddings."""
        self.points: Vectors = np.ascontiguousarray(points, dtype=np.float32)
        self._matrix = torch.from_numpy(self.points)
        self._own: Near | None = None
        self._half_square = (self._matrix.double().square().sum(dim=1) / 2).float()

    def __len__(self) -> int:
        """How many places."""
        return len(self.points)

    def query(self, features: ArrayLike, k: int) -> Near:
        """The k nearest places of each of (N, D) embeddings; fewer where there are fewer places."""
        return self._search(np.ascontiguousarray(features, dtype=np.float32), min(k, len(self)), skip_self=False)

    def leave_one_out(self, k: int) -> Near:
        """The k nearest *other* places of each place: (n, k), fewer where there are fewer."""
        wanted = min(k, len(self) - 1)
        if self._own is None or self._own.row.shape[1] < wanted:
            self._own = self._search(self.points, wanted, skip_self=True)
        return self._own.first(wanted)

    def _search(self, features: Vectors, k: int, *, skip_self: bool) -> Near:
        numbers = torch.arange(len(features), dtype=torch.float32)[:, None]  # exact up to 16 million
        asked = torch.cat([torch.from_numpy(features), numbers], dim=1)
        both = encode_chunks(lambda part: self._nearest(part, k, skip_self), asked, dim=2 * k, dtype=torch.float64)
        return Near(both[:, :k].numpy(), both[:, k:].long().numpy())

    def _nearest(self, asked: Tensor, k: int, skip_self: bool) -> Tensor:
        """(n, D + 1) questions and their row numbers to (n, 2k) distances and rows of places."""
        part, own = asked[:, :-1], asked[:, -1].long()
        # |x − p|² / 2 without |x|², which is the same for all of a row
        closeness = torch.addmm(-self._half_square, part, self._matrix.T)  # (n, places)
        if skip_self:
            closeness[torch.arange(len(part)), own] = -torch.inf
        close = closeness.topk(min(k + SPARE, self._matrix.shape[0] - skip_self), dim=1)
        exact = (part.double().square().sum(dim=1, keepdim=True) - 2 * close.values.double()).clamp_(min=0)
        row, column = torch.nonzero(exact < CLOSE, as_tuple=True)
        others = self._matrix[close.indices[row, column]]
        exact[row, column] = (others - part[row]).double().square().sum(dim=1)
        best = exact.sort(dim=1, stable=True)
        rows = close.indices.gather(1, best.indices)
        return torch.cat([best.values[:, :k].sqrt(), rows[:, :k].double()], dim=1)

"""What every baseline has in common: a name, a dimension, and places in, vectors out.

Owns :class:`Baseline`, the interface that evaluation knows. A baseline encodes places only; vectors are as its authors
define them, **not** of unit length. Where a baseline knows nothing of a place (no imagery, no network for that zone)
its row is zeros, and :meth:`Baseline.covers` says so.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from data.geo import Floats
from model.chunks import encode_chunks
from model.encoder import Vectors, check_points


class Baseline(abc.ABC):
    """A location encoder to compare with.

    Attributes:
        name: under which :func:`model.baselines.load_baseline` finds it.
        dim: D, length of a vector.
        card: what it is: description, source, weights, licence.
    """

    def __init__(self, name: str, dim: int, *, card: Mapping[str, Any]) -> None:
        """Take its name, its dimension and its card."""
        self.name, self.dim, self.card = name, dim, dict(card)

    @abc.abstractmethod
    def encode_location(self, lonlat: ArrayLike | Tensor) -> Vectors:
        """Embed places in little memory, whatever their number.

        Args:
            lonlat: (N, 2) degrees, longitude first; poles and ±180 are valid.

        Returns:
            (N, D) float32, zeros where :meth:`covers` is false.

        Raises:
            CoordinateError: a coordinate is off the globe.
        """

    def covers(self, lonlat: ArrayLike | Tensor) -> NDArray[np.bool_]:
        """Which of (N, 2) places the baseline knows anything of, (N,); all of them unless a baseline says otherwise."""
        return np.ones(len(check_points(lonlat)), dtype=bool)


class PointBaseline(Baseline):
    """A baseline that is a function of one point: blocks of points go through it on all processors."""

    def encode_location(self, lonlat: ArrayLike | Tensor) -> Vectors:
        """As :meth:`Baseline.encode_location`; a row does not depend on the others in the call."""
        points: Floats = check_points(lonlat)
        rows = encode_chunks(self._locate, torch.from_numpy(points), dim=self.dim)
        return np.asarray(rows.numpy())

    @abc.abstractmethod
    def _locate(self, points: Tensor) -> Tensor:
        """(n, 2) degrees float64 to (n, D)."""

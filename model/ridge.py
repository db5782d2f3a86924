"""Ridge regression in closed form, its strength chosen by leaving out one place at a time.

Owns the linear algebra. All outputs share one decomposition and one strength. Classes are taken one against the rest:
the output of a class is fitted to +1 for its places and −1 for all others.

Source:
    Hastie, Tibshirani & Friedman 2009, The Elements of Statistical Learning, eq. 3.47 (ridge by the singular value
    decomposition) and 7.64 (leave-one-out residuals of a linear smoother).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STRENGTHS = tuple(np.logspace(-5, 3, 25).tolist())
"""Tried for features of unit length."""


@dataclass(frozen=True)
class Ridge:
    """A fitted ridge.

    Attributes:
        weights: (D, T) float64.
        offset: (T,) float64.
        strength: α, of the penalty α·|w|².
    """

    weights: Floats
    offset: Floats
    strength: float

    def __call__(self, features: NDArray[np.floating]) -> Floats:
        """(N, D) features to (N, T) outputs."""
        return np.asarray(features @ self.weights + self.offset, dtype=np.float64)


class Spectrum:
    """Features taken apart once, for any number of targets that stand beside them."""

    def __init__(self, features: NDArray[np.floating]) -> None:
        """Take (n, D) features."""
        x = np.asarray(features, dtype=np.float64)
        self.centre = x.mean(axis=0)
        x = x - self.centre
        square, self.turn = np.linalg.eigh(x.T @ x)  # (D,) ascending, (D, D)
        self.square = np.maximum(square, 0.0)
        self.turned = x @ self.turn  # (n, D)
        self._pulls: dict[float, Floats] = {}

    def fit(self, targets: Floats, *, strengths: Sequence[float] = STRENGTHS) -> tuple[Ridge, Floats]:
        """As :func:`fit_ridge`, of (n, T) targets. The error has one valley over the strengths, so not all are tried.

        Raises:
            ValueError: there is no strength.
        """
        mean = targets.mean(axis=0)
        y = targets - mean
        across = self.turned.T @ y  # (D, T)
        tried: dict[int, tuple[float, Floats, Floats]] = {}

        def error(number: int) -> float:
            if number not in tried:
                strength = strengths[number]
                weights = across / (self.square + strength)[:, None]
                left_out = y - (y - self.turned @ weights) / np.maximum(1 - self._pull(strength), 1e-12)[:, None]
                tried[number] = float(((left_out - y) ** 2).mean()), weights, left_out
                for worse in sorted(tried, key=lambda other: tried[other][0])[1:]:
                    tried[worse] = tried[worse][0], np.empty(0), np.empty(0)  # only the best one's arrays are needed
            return tried[number][0]

        if not len(strengths):
            raise ValueError("strengths is empty")
        step = max(1, len(strengths) // 6)
        best = min(range(0, len(strengths), step), key=error)
        while step > 1:
            step = (step + 1) // 2
            best = min({max(0, best - step), best, min(len(strengths) - 1, best + step)}, key=error)
        _, weights, left_out = tried[best]
        weights = self.turn @ weights
        return Ridge(weights, mean - self.centre @ weights, float(strengths[best])), left_out + mean

    def _pull(self, strength: float) -> Floats:
        """How much each place pulls on its own output, (n,); the 1/n is the offset's."""
        if strength not in self._pulls:
            pull = 1 / len(self.turned) + (self.turned**2) @ (1 / (self.square + strength))
            self._pulls[strength] = np.asarray(pull, dtype=np.float64)
        return self._pulls[strength]


def fit_ridge(
    features: NDArray[np.floating], targets: Floats, *, strengths: Sequence[float] = STRENGTHS
) -> tuple[Ridge, Floats]:
    """Fit, with the strength of least squared leave-one-out error.

    Args:
        features: (n, D).
        targets: (n, T) float64. The offset is not penalised.
        strengths: values of α to choose from.

    Returns:
        The ridge, and (n, T) its outputs for each place when that place is left out.
    """
    return Spectrum(features).fit(targets, strengths=strengths)

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
    x = np.asarray(features, dtype=np.float64)
    centre, mean = x.mean(axis=0), targets.mean(axis=0)
    x, y = x - centre, targets - mean
    square, turn = np.linalg.eigh(x.T @ x)  # (D,) ascending, (D, D)
    square = np.maximum(square, 0.0)
    turned = x @ turn  # (n, D)
    across = turned.T @ y  # (D, T)
    best: tuple[float, float, Floats, Floats] | None = None
    for strength in strengths:
        weights = across / (square + strength)[:, None]
        # How much a place pulls on its own output; the 1/n is the offset's.
        leverage = 1 / len(x) + (turned**2 / (square + strength)).sum(axis=1)
        left_out = y - (y - turned @ weights) / np.maximum(1 - leverage, 1e-12)[:, None]
        error = float(((left_out - y) ** 2).mean())
        if best is None or error < best[0]:
            best = error, strength, weights, left_out
    if best is None:
        raise ValueError("strengths is empty")
    _, strength, weights, left_out = best
    weights = turn @ weights
    return Ridge(weights, mean - centre @ weights, float(strength)), left_out + mean

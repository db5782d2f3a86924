"""How sure a head is: intervals and sets of classes that hold the truth with a given probability.

Owns the calibration. Both kinds compare a head with places that it had not seen: every training place is predicted by a
head fitted without it (leave-one-out for ridge and neighbours, out-of-fold for the network). An interval is as wide as
the errors around a place were: residuals are divided by their local mean before they are ranked. What is promised is
coverage on average over places like the training places. Unfamiliar places get a quantile of their own, from held-out
blocks (``model.validate``); what both are worth is measured and shown.

Source:
    Barber, Candès, Ramdas & Tibshirani 2021, Predictive inference with the jackknife+ (leave-one-out and CV residuals);
    Lei, G'Sell, Rinaldo, Tibshirani & Wasserman 2018, Distribution-free predictive inference for regression, section
    5.2 (locally weighted scores); Sadinle, Lei & Wasserman 2019, Least ambiguous set-valued classifiers; Guo, Pleiss,
    Sun & Weinberger 2017, On calibration of modern neural networks (temperature scaling).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from model.neighbours import Near

Floats = NDArray[np.float64]
LOCAL = 24
"""Neighbours whose errors say how wide an interval is."""
PRIOR = 1.0
"""Neighbours' worth of the mean error over all places that is mixed in, so that no interval shrinks to nothing."""
CLOSEST = 4
"""Neighbours whose mean distance says how far a place is from all that is known."""
LEVEL = 0.9


@dataclass(frozen=True)
class Intervals:
    """What is needed for an interval around a prediction.

    Attributes:
        errors: (n,) absolute errors of the training places when left out.
        spacing: (n,) mean distances of the training places from their nearest others.
        scores: (n,) errors over their local mean, ascending.
    """

    errors: Floats
    spacing: Floats
    scores: Floats

    @classmethod
    def fit(cls, truth: Floats, left_out: Floats, near: Near) -> Intervals:
        """Calibrate.

        Args:
            truth: (n,) targets.
            left_out: (n,) predictions by heads that had not seen them.
            near: (n, k) the nearest other places of each.
        """
        errors = np.abs(truth - left_out)
        made = cls(errors, _mean_distance(near), np.empty(0))
        return replace(made, scores=np.sort(errors / made.scale(near)))

    def scale(self, near: Near) -> Floats:
        """(N,) typical error at places whose neighbours these are.

        It is the mean error around, times the factor by which the place is farther from its neighbours than they are
        from theirs: errors grow with distance.
        """
        local = self.errors[near.row[:, :LOCAL]]
        mean = max(float(self.errors.mean()), np.finfo(np.float64).tiny)
        error = (local.sum(axis=1) + PRIOR * mean) / (local.shape[1] + PRIOR)
        usual = self.spacing[near.row[:, :LOCAL]].mean(axis=1)
        return np.asarray(error * np.maximum(1.0, _mean_distance(near) / np.maximum(usual, 1e-9)), dtype=np.float64)


def _mean_distance(near: Near) -> Floats:
    return np.asarray(near.distance[:, :CLOSEST].mean(axis=1), dtype=np.float64)


@dataclass(frozen=True)
class Sets:
    """What turns a classifier's outputs into probabilities, and these into sets.

    Attributes:
        temperature: by which outputs are divided before the softmax.
        scores: (n,) one minus the probability that the true class had when its place was left out, ascending.
    """

    temperature: float
    scores: Floats

    @classmethod
    def fit(cls, truth: NDArray[np.int64], left_out: Floats) -> Sets:
        """Calibrate on (n,) classes and (n, C) outputs of heads that had not seen them."""
        rows = np.arange(len(truth))

        def surprise(log_temperature: float) -> float:
            return float(-log_softmax(left_out / np.exp(log_temperature))[rows, truth].mean())

        found = minimize_scalar(surprise, bounds=(-6.0, 4.0), method="bounded")
        temperature = float(np.exp(found.x))
        return cls(temperature, np.sort(1 - softmax(left_out / temperature)[rows, truth]))

    def probabilities(self, outputs: Floats) -> Floats:
        """(N, C) probabilities, rows sum to 1."""
        return softmax(outputs / self.temperature)


def upper_quantile(ascending: Floats, level: float) -> float:
    """The ⌈(n + 1)·level⌉-th smallest of n scores; infinite where n is too small for the level."""
    rank = int(np.ceil((len(ascending) + 1) * level - 1e-9))
    return float(ascending[rank - 1]) if rank <= len(ascending) else float("inf")


def log_softmax(outputs: Floats) -> Floats:
    """Logarithms of the softmax over the last axis."""
    shifted = outputs - outputs.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype=np.float64)


def softmax(outputs: Floats) -> Floats:
    """Softmax over the last axis."""
    return np.asarray(np.exp(log_softmax(outputs)), dtype=np.float64)

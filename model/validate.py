"""Honest measurement of a head: on held-out random places, and on held-out blocks of the globe.

Owns both kinds of folds and what is read from them. Places next to training places are easy: their neighbours give them
away. Whole blocks are what a map of an unvisited region is like. The truth about a head lies between the two, and every
table shows both.

Source:
    Roberts et al. 2017, Cross-validation strategies for data with temporal, spatial, hierarchical, or phylogenetic
    structure (block cross-validation).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data.geo import Floats
from data.splits import BLOCK_DEG, block_of
from model.conformal import LEVEL
from model.heads import FEWEST, Estimate, Head, fit_head, r2

FOLDS = 5
SIZES_DEG = (BLOCK_DEG, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
"""Sides of blocks, coarse to fine; the first that cuts the places into enough blocks is taken."""
ENOUGH_BLOCKS = 10
Split = Literal["random", "blocks"]


@dataclass(frozen=True)
class Check:
    """How a head did on places that it had not seen.

    Attributes:
        split: "random" or "blocks".
        score: R² of values on the scale of the fit, accuracy of classes.
        error: root mean squared error of values on that scale, macro-averaged F1 of classes.
        coverage: share of intervals, or sets of classes, that hold the truth; 0.9 is aimed at.
        unfamiliar: share of the places that were flagged.
        truth: (n,) values, or numbers of classes; −1 for a class that the training folds had not.
        predicted: (n,) likewise.
    """

    split: Split
    score: float
    error: float
    coverage: float
    unfamiliar: float
    truth: Floats
    predicted: Floats


def random_folds(lonlat: Floats, *, seed: int, count: int = FOLDS) -> NDArray[np.int64]:
    """(n,) fold numbers at random; places at one coordinate share theirs."""
    rng = np.random.default_rng(seed)
    group = np.unique(np.round(lonlat, 6), axis=0, return_inverse=True)[1].reshape(-1)
    return np.asarray((rng.permutation(int(group.max()) + 1) % count)[group], dtype=np.int64)


def block_size(lonlat: Floats) -> float:
    """Side of the blocks for these places, in degrees: 10 where they span enough of the globe, finer otherwise."""
    for size in SIZES_DEG:
        if len(np.unique(block_of(lonlat, size))) >= ENOUGH_BLOCKS:
            return size
    return SIZES_DEG[-1]


def block_folds(lonlat: Floats, *, seed: int, count: int = FOLDS, block_deg: float = BLOCK_DEG) -> NDArray[np.int64]:
    """(n,) fold numbers by blocks: the fullest block first, each into the fold that is emptiest."""
    rng = np.random.default_rng(seed)
    names, block, sizes = np.unique(block_of(lonlat, block_deg), return_inverse=True, return_counts=True)
    shuffled = rng.permutation(len(names))
    fold_of, filled = np.zeros(len(names), dtype=np.int64), np.zeros(count)
    for number in shuffled[np.argsort(-sizes[shuffled], kind="stable")].tolist():
        fold_of[number] = int(filled.argmin())
        filled[fold_of[number]] += sizes[number]
    return np.asarray(fold_of[block.reshape(-1)], dtype=np.int64)


def cross_validate(
    features: NDArray[np.float32],
    target: NDArray[Any],
    lonlat: Floats,
    fold: NDArray[np.int64],
    *,
    head: str,
    kind: str,
    split: Split,
    seed: int = 0,
    level: float = LEVEL,
    progress: Callable[[], None] | None = None,
) -> Check:
    """Fit on all folds but one, predict that one, in turn.

    Args:
        features: (n, D) embeddings.
        target: (n,) values or classes.
        lonlat: (n, 2) degrees.
        fold: (n,) fold numbers.
        head: ridge, knn or mlp.
        kind: regression or classification.
        split: what the folds are.
        seed: of the network's draws.
        level: of the intervals.
        progress: called after each fold.

    Raises:
        HeadError: a fold's training places are too few, or all alike.
    """
    classes = np.unique(target) if kind == "classification" else np.empty(0)
    parts: list[tuple[NDArray[np.intp], Floats, NDArray[np.bool_], NDArray[np.bool_]]] = []
    for number in np.unique(fold).tolist():
        held = np.flatnonzero(fold == number)
        rest = np.flatnonzero(fold != number)
        if len(rest) < FEWEST or len(np.unique(target[rest])) < 2:
            continue
        fitted = fit_head(features[rest], target[rest], head=head, kind=kind, seed=seed, lonlat=lonlat[rest])
        answer = fitted.estimate(features[held], level=level)
        predicted = answer.values
        if kind == "classification":
            predicted = np.searchsorted(classes, np.asarray(fitted.classes)[predicted.astype(np.int64)]).astype(float)
        parts.append((held, predicted, covered(fitted, answer, target[held]), answer.unfamiliar))
        if progress:
            progress()
    rows = np.concatenate([part[0] for part in parts])
    predicted, inside, unfamiliar = (np.concatenate([part[column] for part in parts]) for column in (1, 2, 3))
    truth = np.searchsorted(classes, target[rows]).astype(float) if len(classes) else target[rows].astype(float)
    return summarise(split, truth, predicted, inside, unfamiliar, classification=bool(len(classes)))


def covered(head: Head, answer: Estimate, truth: NDArray[Any]) -> NDArray[np.bool_]:
    """(n,) whether each interval, or set of classes, holds the truth. A class never seen is in no set."""
    if answer.sets is None:
        return np.asarray((answer.low <= truth) & (truth <= answer.high), dtype=bool)
    number = {name: place for place, name in enumerate(head.classes)}
    places = np.array([number.get(name, -1) for name in truth.tolist()], dtype=np.int64)
    return np.asarray((places >= 0) & answer.sets[np.arange(len(places)), places], dtype=bool)


def summarise(
    split: Split,
    truth: Floats,
    predicted: Floats,
    inside: Sequence[bool] | NDArray[np.bool_],
    unfamiliar: Sequence[bool] | NDArray[np.bool_],
    *,
    classification: bool,
) -> Check:
    """The figures of a check."""
    if classification:
        score, error = float((truth == predicted).mean()), macro_f1(truth, predicted)
    else:
        score, error = r2(truth, predicted), float(np.sqrt(((truth - predicted) ** 2).mean()))
    return Check(split, score, error, float(np.mean(inside)), float(np.mean(unfamiliar)), truth, predicted)


def macro_f1(truth: Floats, predicted: Floats) -> float:
    """F1 of each class that is true or predicted anywhere, averaged without weights."""
    scores = []
    for name in np.union1d(truth, predicted).tolist():
        hit = float(((truth == name) & (predicted == name)).sum())
        scores.append(2 * hit / float((truth == name).sum() + (predicted == name).sum()))
    return float(np.mean(scores))

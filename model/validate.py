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

from data.errors import HeadError
from data.geo import Floats
from data.splits import BLOCK_DEG, block_of, folds_by_place
from model.conformal import LEVEL
from model.heads import FEWEST, Head, far_reach, fit_head, r2
from model.neighbours import Neighbours

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
        far: (m,) scores of the unfamiliar among them, ascending; :attr:`model.heads.Head.far`.
    """

    split: Split
    score: float
    error: float
    coverage: float
    unfamiliar: float
    truth: Floats
    predicted: Floats
    far: Floats


def random_folds(lonlat: Floats, *, seed: int, count: int = FOLDS) -> NDArray[np.int64]:
    """(n,) fold numbers at random; places at one coordinate share theirs."""
    return folds_by_place(lonlat, count, np.random.default_rng(seed))


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
    heads: Sequence[str],
    kind: str,
    split: Split,
    seed: int = 0,
    level: float = LEVEL,
    progress: Callable[[], None] | None = None,
) -> dict[str, Check]:
    """Fit on all folds but one, predict that one, in turn.

    Args:
        features: (n, D) embeddings.
        target: (n,) values or classes.
        lonlat: (n, 2) degrees.
        fold: (n,) fold numbers.
        heads: any of ridge, knn, mlp.
        kind: regression or classification.
        split: what the folds are.
        seed: of the network's draws.
        level: of the intervals.
        progress: called after each fold.

    Returns:
        A check of each head.

    Raises:
        HeadError: no fold leaves enough places, or more than one value of the target, to fit a head on.
    """
    classes = np.unique(target) if kind == "classification" else np.empty(0)
    parts: dict[str, list[tuple[NDArray[Any], ...]]] = {head: [] for head in heads}
    for number in np.unique(fold).tolist():
        held, rest = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        if len(rest) >= FEWEST and len(np.unique(target[rest])) > 1:
            places = Neighbours(features[rest])
            for head in heads:
                fitted = fit_head(
                    features[rest], target[rest], head=head, kind=kind, seed=seed, lonlat=lonlat[rest], places=places
                )
                answer = fitted.estimate(features[held], level=level)
                predicted = answer.values
                if len(classes):
                    names = np.asarray(fitted.classes)[predicted.astype(np.int64)]
                    predicted = np.searchsorted(classes, names).astype(np.float64)
                near = np.full(len(held), fitted.reach(np.zeros(1, dtype=bool), level)[0])
                score = fitted.scores(answer, target[held])
                parts[head].append((held, predicted, score, near, answer.unfamiliar))
        if progress:
            progress()
    checks = {}
    for head, found in parts.items():
        if not found:
            raise HeadError(
                f"The {split} folds leave too few places, or one value of the target, to fit a head on. "
                "Give more places, farther apart."
            )
        rows, predicted, score, reach, unfamiliar = (np.concatenate(column) for column in zip(*found, strict=True))
        truth = np.searchsorted(classes, target[rows]) if len(classes) else target[rows]
        if split == "blocks":  # each fold's unfamiliar places by the quantile of those in the other folds
            for number in np.unique(fold[rows]).tolist():
                others, own = unfamiliar & (fold[rows] != number), unfamiliar & (fold[rows] == number)
                if own.any():
                    reach[own] = far_reach(float(reach[own][0]), np.sort(score[others]), level)
        checks[head] = summarise(
            split, truth.astype(np.float64), predicted, score, reach, unfamiliar, classification=bool(len(classes))
        )
    return checks


def check_head(head: Head, features: NDArray[np.float32], target: NDArray[Any]) -> Check:
    """How a head does on (n, D) embeddings of random places that it has not seen, with (n,) targets."""
    answer = head.estimate(features)
    truth = target
    if head.classes:
        number = {name: place for place, name in enumerate(head.classes)}
        truth = np.array([number.get(name, -1) for name in target.tolist()])
    score, reach = head.scores(answer, target), head.reach(answer.unfamiliar)
    return summarise(
        "random",
        truth.astype(np.float64),
        answer.values,
        score,
        reach,
        answer.unfamiliar,
        classification=bool(head.classes),
    )


def summarise(
    split: Split,
    truth: Floats,
    predicted: Floats,
    score: Floats,
    reach: Floats,
    unfamiliar: NDArray[np.bool_],
    *,
    classification: bool,
) -> Check:
    """The figures of a check: an interval or a set holds the truth where its score is within reach."""
    if classification:
        value, error = float((truth == predicted).mean()), macro_f1(truth, predicted)
    else:
        value, error = r2(truth, predicted), float(np.sqrt(((truth - predicted) ** 2).mean()))
    coverage = float(((score <= reach) & np.isfinite(score)).mean())  # a class never seen is in no set
    far = np.sort(np.minimum(score[unfamiliar], np.finfo(np.float32).max))
    return Check(split, value, error, coverage, float(unfamiliar.mean()), truth, predicted, far)


def macro_f1(truth: Floats, predicted: Floats) -> float:
    """F1 of each class that is true or predicted anywhere, averaged without weights."""
    scores = []
    for name in np.union1d(truth, predicted).tolist():
        hit = float(((truth == name) & (predicted == name)).sum())
        scores.append(2 * hit / float((truth == name).sum() + (predicted == name).sum()))
    return float(np.mean(scores))

"""What a classifier of examples is worth: how it ranks examples that it has not seen.

Owns the held-out check of ``Query.examples``. Each fold leaves some examples out, learns from the others, and looks
where the ones left out would rank; an example never scores itself. With a single positive there is nothing to hold out,
and nothing is claimed.

Source:
    Fawcett 2006, An introduction to ROC analysis: the area under the curve is the share of pairs in the right order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from indexer.ask import learn
from indexer.encoder import Vectors

FOLDS = 3
BACKGROUND = 300
"""Rows drawn at random: half to learn against, half to rank among."""


@dataclass(frozen=True)
class Check:
    """How held-out examples rank.

    Attributes:
        positives: how many there are.
        negatives: how many there are.
        above_world: share of random rows that a positive left out outranks, 0…1; 0.5 is chance.
        above_negatives: share of pairs of left-out positive and negative in the right order; None without negatives.
    """

    positives: int
    negatives: int
    above_world: float
    above_negatives: float | None


def check_examples(
    positives: Vectors, negatives: Vectors, background: Vectors, reweight: Callable[[Vectors], Vectors]
) -> Check | None:
    """Check a classifier on examples held out, in up to three folds.

    Args:
        positives: (n, D) unit rows.
        negatives: (m, D) unit rows, perhaps none.
        background: (b, D) unit rows drawn at random.
        reweight: the view, as :func:`indexer.ask.learn` takes it.

    Returns:
        The check, or None with fewer than two positives.
    """
    if len(positives) < 2:
        return None
    against, among = background[::2], background[1::2]
    folds = min(FOLDS, len(positives))
    world, pairs = [], []
    for fold in range(folds):
        out = np.arange(len(positives)) % folds == fold
        gone = np.arange(len(negatives)) % folds == fold if len(negatives) > 1 else np.zeros(len(negatives), dtype=bool)
        vector, _ = learn(positives[~out], negatives[~gone], against, reweight)
        mine = positives[out] @ vector
        world.append(_share(mine, among @ vector))
        if gone.any():
            pairs.append(_share(mine, negatives[gone] @ vector))
    return Check(len(positives), len(negatives), float(np.mean(world)), float(np.mean(pairs)) if pairs else None)


def _share(above: Vectors, below: Vectors) -> float:
    """Share of pairs in which the first is greater; ties count half."""
    gap = above[:, None] - below[None]
    return float((gap > 0).mean() + 0.5 * (gap == 0).mean())

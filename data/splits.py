"""Which places train a model and which only measure it.

Owns the held-out sets: 10,000 places drawn uniformly over the land (*random split*), and whole 10° blocks (*block
split*) whose patches share not a pixel with any training patch. The same seed always gives the same places; ``samewhere
train`` and ``samewhere evaluate`` both take them from here, so neither can see the other's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from data.blue_marble import FOOTPRINT_KM
from data.geo import EARTH_RADIUS_KM, Floats, unit_vectors
from data.land import sample_land

SEED = 2026
PLACES = 10_000
BLOCK_PLACES = 5_000
BLOCK_DEG = 10.0
BLOCK_SHARE = 0.1
MIN_BLOCK_POINTS = 50
"""Blocks with fewer of the 260,000 drawn points (0.02 % of the land) are never held out: too little to measure."""
DRAWN = 260_000
APART_KM = 10.0
"""No training patch is centred nearer than this to a held-out place: more than one pixel of the picture."""
DISJOINT_KM = FOOTPRINT_KM * np.sqrt(2)
"""Centres at least this far apart have footprints without a common point, however they are turned."""


def folds_by_place(lonlat: Floats, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n,) fold numbers at random, of even sizes; (n, 2) places at one coordinate share theirs."""
    group = np.unique(np.round(np.asarray(lonlat, dtype=np.float64), 6), axis=0, return_inverse=True)[1].reshape(-1)
    return np.asarray((rng.permutation(int(group.max()) + 1) % count)[group], dtype=np.int64)


@dataclass(frozen=True)
class Split:
    """The three sets of centres, each (N, 2) degrees.

    Attributes:
        train: where training patches may be centred.
        places: held-out places of the random split.
        blocks: held-out places inside the held-out 10° blocks. Unless ``train`` was made with ``hold_out_blocks``,
            training patches lie among them.
    """

    train: Floats
    places: Floats
    blocks: Floats


def block_of(lonlat: Floats, block_deg: float = BLOCK_DEG) -> NDArray[np.int64]:
    """Number of the ``block_deg`` × ``block_deg`` block in which each of (N, 2) points lies."""
    column = np.floor((lonlat[:, 0] + 180) / block_deg).astype(np.int64)
    row = np.floor((np.minimum(lonlat[:, 1], 90 - 1e-9) + 90) / block_deg).astype(np.int64)
    return np.asarray(row * round(360 / block_deg) + column, dtype=np.int64)


def make_split(n_train: int, *, hold_out_blocks: bool, seed: int = SEED) -> Split:
    """Draw the sets.

    Args:
        n_train: training centres wanted; beyond about 170,000 more are drawn, the held-out sets stay what they are.
        hold_out_blocks: keep a tenth of the 10° blocks out of ``train``, and a margin of √2 footprints around their
            places, so that no two footprints overlap.
        seed: of every draw here.
    """
    rng = np.random.default_rng(seed)
    drawn = sample_land(DRAWN, rng=rng)
    block = block_of(drawn)
    numbers, counts = np.unique(block, return_counts=True)
    candidates = rng.permutation(numbers[counts > MIN_BLOCK_POINTS])
    chosen = candidates[: max(1, int(len(candidates) * BLOCK_SHARE))]
    held = np.isin(block, chosen)
    inside, outside = drawn[held], drawn[~held]
    clear = ~within_km(outside, inside, DISJOINT_KM)
    places, rest = outside[clear][:PLACES], outside[clear][PLACES:]
    if not hold_out_blocks:
        rest = np.concatenate([rest, outside[~clear], inside])[rng.permutation(len(drawn) - PLACES)]
    train = rest[~within_km(rest, places, APART_KM)]
    while len(train) < n_train:
        more = sample_land(DRAWN, rng=rng)
        more = more[~within_km(more, places, APART_KM)]
        if hold_out_blocks:
            more = more[~np.isin(block_of(more), chosen) & ~within_km(more, inside, DISJOINT_KM)]
        train = np.concatenate([train, more])
    return Split(train=train[:n_train], places=places, blocks=inside[:BLOCK_PLACES])


def within_km(points: Floats, others: Floats, limit_km: float) -> NDArray[np.bool_]:
    """Which of (N, 2) points lie within a great-circle distance of any of (M, 2) others."""
    chord = 2 * np.sin(limit_km / EARTH_RADIUS_KM / 2)
    nearest, _ = cKDTree(unit_vectors(others)).query(unit_vectors(points), distance_upper_bound=chord * 1.001)
    return np.asarray(nearest <= chord, dtype=bool)

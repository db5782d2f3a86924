"""How places are split for the tables: at random, by blocks, by continents.

Owns the four splits of ``samewhere evaluate downstream``. *random* and *blocks* are those of ``model.validate``;
*continent* trains on all continents but one, *few* lends 1 % of that one to the training. Each place is tested once
for each seed. Refuses places that lie on one continent alone where continents are to be held out.

Source:
    Roberts et al. 2017, Cross-validation strategies for data with temporal, spatial, hierarchical, or phylogenetic
    structure; Klemmer et al. 2023, SatCLIP, section 4 (held-out continents, and few samples of them).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from data import atlas
from data.errors import HeadError
from data.geo import Floats
from model.validate import block_folds, block_size, random_folds

Split = Literal["random", "blocks", "continent", "few"]
SPLITS: tuple[Split, ...] = get_args(Split)
TITLES: dict[Split, str] = {
    "random": "Random folds (5)",
    "blocks": "Folds of 10° blocks (5)",
    "continent": "A continent held out, none of it seen",
    "few": "A continent held out, 1 % of it seen",
}
FEW = 0.01
LEAST = 100
"""Continents with fewer places are never held out: too little to measure, and no whole per cent of them."""


@dataclass(frozen=True)
class Fold:
    """One part of a split.

    Attributes:
        name: its number, or the continent that is held out.
        train: row numbers.
        test: row numbers, none of them in ``train``.
    """

    name: str
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def make_folds(split: Split, lonlat: Floats, *, seed: int) -> list[Fold]:
    """The folds of a split.

    Args:
        split: one of :data:`SPLITS`.
        lonlat: (N, 2) degrees.
        seed: of the draws; the same seed gives the same folds.

    Raises:
        HeadError: continents are to be held out and there is only one.
    """
    if split in ("continent", "few"):
        return _continents(lonlat, few=FEW if split == "few" else 0.0, seed=seed)
    if split == "random":
        number = random_folds(lonlat, seed=seed)
    else:
        number = block_folds(lonlat, seed=seed, block_deg=block_size(lonlat))
    return [
        Fold(str(fold), np.flatnonzero(number != fold), np.flatnonzero(number == fold))
        for fold in np.unique(number).tolist()
    ]


def can_split(split: Split, lonlat: Floats) -> bool:
    """Whether places lie on several continents, where that is asked for."""
    return split not in ("continent", "few") or bool(_held(atlas.continent_of(lonlat)))


def repeats(split: Split, head: str, seeds: int) -> int:
    """How many seeds change anything: whole continents are no draw, and only the network draws itself."""
    return 1 if split == "continent" and head != "mlp" else seeds


def _continents(lonlat: Floats, *, few: float, seed: int) -> list[Fold]:
    """One fold for each continent with enough places; places without a continent are only ever trained on."""
    of = atlas.continent_of(lonlat)
    held = _held(of)
    if not held:
        there = ", ".join(np.unique(of[of != ""]).tolist()) or "none"
        raise HeadError(
            f"No continent can be held out: the {len(lonlat):,} places lie on {there}, and a continent is held out "
            f"where {LEAST} places or more lie on it and as many elsewhere. Leave the splits continent and few out."
        )
    folds = []
    for name in held:
        inside, outside = np.flatnonzero(of == name), np.flatnonzero(of != name)
        lent = np.zeros(len(inside), dtype=bool)
        if few:
            rng = np.random.default_rng([seed, *map(ord, name)])
            lent[rng.permutation(len(inside))[: max(1, round(few * len(inside)))]] = True
        folds.append(Fold(name, np.concatenate([outside, inside[lent]]), inside[~lent]))
    return folds


def _held(of: NDArray[np.str_]) -> list[str]:
    """Continents that can be held out, of the continent of each place."""
    names, counts = np.unique(of[of != ""], return_counts=True)
    return [str(name) for name in names[(counts >= LEAST) & (len(of) - counts >= LEAST)]]

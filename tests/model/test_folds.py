"""Folds: every place is tested once, and what is held out is not trained on."""

from __future__ import annotations

import numpy as np
import pytest

from data import atlas
from data.errors import HeadError
from data.land import sample_land
from data.splits import block_of
from model.folds import SPLITS, can_split, make_folds, repeats

PLACES = sample_land(4000, rng=np.random.default_rng(0), antarctica=False)


@pytest.mark.parametrize("split", SPLITS)
def test_train_and_test_share_nothing_and_cover_all(split) -> None:
    folds = make_folds(split, PLACES, seed=3)
    for fold in folds:
        assert not set(fold.train.tolist()) & set(fold.test.tolist())
        assert len(np.unique(fold.train)) == len(fold.train)
        assert len(fold.train) + len(fold.test) == len(PLACES)
    tested = np.concatenate([fold.test for fold in folds])
    assert len(np.unique(tested)) == len(tested)
    if split in ("random", "blocks"):
        assert len(tested) == len(PLACES) and len(folds) == 5


def test_blocks_are_whole() -> None:
    block = block_of(PLACES)
    for fold in make_folds("blocks", PLACES, seed=0):
        assert not set(block[fold.train].tolist()) & set(block[fold.test].tolist())


def test_continents_are_whole_and_few_lends_one_per_cent() -> None:
    of = atlas.continent_of(PLACES)
    whole = {fold.name: fold for fold in make_folds("continent", PLACES, seed=0)}
    lent = {fold.name: fold for fold in make_folds("few", PLACES, seed=0)}
    assert set(whole) == set(lent) == {"AF", "AS", "EU", "NA", "OC", "SA"}
    for name, fold in whole.items():
        assert set(of[fold.test].tolist()) == {name} and name not in of[fold.train]
        few = of[lent[name].train] == name
        assert few.sum() == max(1, round(0.01 * (of == name).sum()))
        assert set(of[lent[name].test].tolist()) == {name}


def test_seeds_change_what_is_drawn_and_nothing_else() -> None:
    for split in ("random", "blocks", "few"):
        first, again, other = (make_folds(split, PLACES, seed=seed) for seed in (0, 0, 1))
        assert all((a.test == b.test).all() for a, b in zip(first, again, strict=True))
        assert any(len(a.test) != len(b.test) or (a.test != b.test).any() for a, b in zip(first, other, strict=True))
    assert repeats("continent", "ridge", 10) == 1 and repeats("continent", "mlp", 10) == repeats("few", "knn", 10) == 10


def test_one_continent_cannot_be_held_out() -> None:
    africa = PLACES[atlas.continent_of(PLACES) == "AF"]
    assert can_split("random", africa) and not can_split("few", africa) and can_split("few", PLACES)
    with pytest.raises(HeadError, match=r"places lie on AF, and a continent"):
        make_folds("continent", africa, seed=0)

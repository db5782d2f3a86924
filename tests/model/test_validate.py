"""Folds, their figures, and the cross-fitted coverage of unfamiliar places."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, r2_score

from data.errors import HeadError
from data.splits import block_of
from model.heads import fit_head, r2
from model.validate import block_folds, block_size, cross_validate, macro_f1, random_folds


@pytest.fixture(scope="module")
def places():
    rng = np.random.default_rng(0)
    return np.stack([rng.uniform(-180, 180, 600), rng.uniform(-60, 70, 600)], axis=1)


def bumps(lonlat):
    """A cheap embedding of places, and a value that varies over tens of degrees."""
    lon, lat = np.radians(lonlat).T
    x = np.stack([np.cos(lon) * np.cos(lat), np.sin(lon) * np.cos(lat), np.sin(lat)], axis=1)
    return x.astype(np.float32), np.sin(5 * lon) * np.cos(4 * lat)


def test_no_block_lies_in_two_folds_and_folds_are_even(places):
    fold = block_folds(places, seed=1)
    for number in np.unique(block_of(places)):
        assert len(np.unique(fold[block_of(places) == number])) == 1
    assert np.bincount(fold).max() - np.bincount(fold).min() <= np.bincount(block_of(places)).max()


def test_random_folds_keep_one_coordinate_together(places):
    twice = np.concatenate([places, places])
    fold = random_folds(twice, seed=2)
    np.testing.assert_array_equal(fold[:600], fold[600:])
    assert np.bincount(fold).tolist() == [240] * 5


@pytest.mark.parametrize(("span", "size"), [(300, 10), (9, 1), (0.9, 0.1)])
def test_blocks_shrink_with_the_region(span, size):
    rng = np.random.default_rng(3)
    lonlat = rng.uniform(0, span, (500, 2)) * [1, 0.2] + [0.01, 0.01]
    found = block_size(lonlat)
    assert found == size
    assert len(np.unique(block_of(lonlat, found))) >= 10


def test_figures_are_scikit_learns():
    rng = np.random.default_rng(4)
    truth, guess = rng.integers(0, 4, 200).astype(float), rng.integers(0, 5, 200).astype(float)
    assert macro_f1(truth, guess) == pytest.approx(f1_score(truth, guess, average="macro"))
    y = rng.normal(size=50)
    assert r2(y, y + 0.3) == pytest.approx(r2_score(y, y + 0.3))


def test_every_place_is_predicted_once_by_a_head_that_had_not_seen_it(places):
    x, y = bumps(places)
    fold = random_folds(places, seed=0)
    check = cross_validate(x, y, places, fold, heads=["knn"], kind="regression", split="random")["knn"]
    assert len(check.truth) == 600
    held = fold == 2
    by_hand = fit_head(x[~held], y[~held], head="knn").predict(x[held])
    order = np.concatenate([np.flatnonzero(fold == number) for number in range(5)])
    np.testing.assert_array_equal(check.truth, y[order])
    np.testing.assert_allclose(check.predicted[fold[order] == 2], by_hand, rtol=1e-6)
    assert check.score == pytest.approx(r2_score(check.truth, check.predicted))
    assert check.error == pytest.approx(np.sqrt(((check.truth - check.predicted) ** 2).mean()))


def test_blocks_are_harder_and_their_intervals_wider(monkeypatch):
    rng = np.random.default_rng(5)
    lonlat = np.stack([rng.uniform(-180, 180, 3000), rng.uniform(-60, 70, 3000)], axis=1)
    x, y = bumps(lonlat)
    near = cross_validate(x, y, lonlat, random_folds(lonlat, seed=0), heads=["knn"], kind="regression", split="random")[
        "knn"
    ]
    fold = block_folds(lonlat, seed=0, block_deg=20)
    far = cross_validate(x, y, lonlat, fold, heads=["knn"], kind="regression", split="blocks")["knn"]
    assert far.score < near.score
    assert far.unfamiliar > 0.3 > near.unfamiliar
    assert near.coverage == pytest.approx(0.9, abs=0.03)
    monkeypatch.setattr("model.validate.far_reach", lambda near, far, level: near)
    naive = cross_validate(x, y, lonlat, fold, heads=["knn"], kind="regression", split="blocks")["knn"]
    assert naive.coverage + 0.05 < far.coverage < 0.93  # what the quantile of unfamiliar places is good for
    assert (np.diff(far.far) >= 0).all() and len(far.far) == round(far.unfamiliar * 3000)


def test_a_class_that_training_folds_had_not_is_covered_by_no_set(places):
    x, _ = bumps(places)
    block = block_of(places, 60)
    y = np.array([f"c{number}" for number in block])
    fold = block_folds(places, seed=0, block_deg=60)
    check = cross_validate(x, y, places, fold, heads=["ridge"], kind="classification", split="blocks")["ridge"]
    assert check.score == 0
    assert check.coverage == 0


def test_folds_without_enough_places_are_told():
    lonlat = np.array([[float(i), 0.0] for i in range(22)])
    x, y = bumps(lonlat)
    with pytest.raises(HeadError, match="too few places"):
        cross_validate(x, y, lonlat, np.arange(22) % 2, heads=["knn"], kind="regression", split="random")

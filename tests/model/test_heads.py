"""Heads: against scikit-learn where it has the same, against known functions where it has not."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifierCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from data.errors import HeadError
from model import mlp_head
from model.heads import FAMILIAR, fit_head, r2
from model.knn import DOUBT
from model.ridge import STRENGTHS


def waves(count, seed):
    """Unit vectors on a closed curve, a smooth function of them with noise, and three classes."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, count)
    x = np.stack([f(k * angle) for k in (1, 2, 3) for f in (np.cos, np.sin)], axis=1) / np.sqrt(3)
    value = 10 + 5 * np.sin(angle) + 2 * np.cos(4 * angle) + rng.normal(size=count) * 0.5
    classes = np.array(["north", "mid", "south"])[
        np.digitize(np.sin(angle) + rng.normal(size=count) * 0.2, [-0.5, 0.5])
    ]
    return x.astype(np.float32), value, classes


@pytest.fixture(autouse=True)
def quick_network(monkeypatch):
    """One setting and a third of the steps: enough for one curve."""
    monkeypatch.setattr(mlp_head, "GRID", mlp_head.GRID[2:3])
    monkeypatch.setattr(mlp_head, "EPOCHS", 10)


@pytest.fixture(scope="module")
def known():
    return waves(700, 0)


@pytest.fixture(scope="module")
def fresh():
    return waves(3000, 1)


def test_knn_regression_is_scikit_learns(known, fresh):
    x, y, _ = known
    head = fit_head(x, y, head="knn")

    def weights(distance):
        return 1 / (distance**2 + 1e-12) if head.facts["weights"] == "distance" else np.ones_like(distance)

    peer = KNeighborsRegressor(head.facts["k"], weights=weights, algorithm="brute").fit(x, y)
    np.testing.assert_allclose(head.predict(fresh[0]), peer.predict(fresh[0]), rtol=1e-3)
    left_out = [
        KNeighborsRegressor(head.facts["k"], weights=weights)
        .fit(np.delete(x, i, 0), np.delete(y, i))
        .predict(x[i : i + 1])
        for i in range(40)
    ]
    np.testing.assert_allclose(head.left_out[:40], np.ravel(left_out), rtol=1e-3)


def test_knn_classes_are_scikit_learns(known, fresh):
    x, _, y = known
    head = fit_head(x, y, head="knn", kind="classification")
    peer = KNeighborsClassifier(
        head.facts["k"], weights=(lambda d: 1 / (d**2 + 1e-12)) if head.facts["weights"] == "distance" else "uniform"
    ).fit(x, y)
    shares = np.unique(y, return_counts=True)[1] / len(y)
    votes = (1 - DOUBT) * peer.predict_proba(fresh[0]) + DOUBT * shares
    assert (head.predict(fresh[0]) == np.unique(y)[votes.argmax(axis=1)]).mean() > 0.999
    calibrated = votes ** (1 / head.calibration.temperature)
    np.testing.assert_allclose(
        head.predict_proba(fresh[0]), calibrated / calibrated.sum(axis=1, keepdims=True), atol=1e-3
    )


def test_ridge_classes_are_scikit_learns(known, fresh):
    x, _, y = known
    peer = RidgeClassifierCV(alphas=STRENGTHS).fit(x, y)
    head = fit_head(x, y, head="ridge", kind="classification")
    assert head.facts["strength"] == pytest.approx(peer.alpha_)
    np.testing.assert_array_equal(head.predict(fresh[0]), peer.predict(fresh[0]))


@pytest.mark.parametrize("method", ["ridge", "knn", "mlp"])
def test_intervals_hold_the_truth_nine_times_in_ten(known, fresh, method):
    x, y, _ = known
    head = fit_head(x, y, head=method)
    found = head.estimate(fresh[0])
    assert ((found.low <= fresh[1]) & (fresh[1] <= found.high)).mean() == pytest.approx(0.9, abs=0.035)
    wide = head.estimate(fresh[0], level=0.99)
    assert (wide.high - wide.low > found.high - found.low).all()
    np.testing.assert_allclose(found.values, head.predict(fresh[0]), rtol=1e-6)


@pytest.mark.parametrize("method", ["ridge", "knn", "mlp"])
def test_probabilities_are_calibrated_and_sets_hold_the_truth(known, fresh, method):
    x, _, y = known
    head = fit_head(x, y, head=method, kind="classification")
    found = head.estimate(fresh[0])
    chances = found.probabilities
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    right = head.predict(fresh[0]) == fresh[2]
    assert chances.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.04)  # as often right as it says
    truth = np.searchsorted(head.classes, fresh[2])
    assert found.sets[np.arange(len(truth)), truth].mean() == pytest.approx(0.9, abs=0.04)
    assert found.sets.any(axis=1).all()


def test_the_network_learns_what_ridge_cannot(known, fresh):
    target, there = (np.cos(5 * np.arctan2(x[:, 1], x[:, 0])).astype(float) for x in (known[0], fresh[0]))
    network, ridge = (fit_head(known[0], target, head=method) for method in ("mlp", "ridge"))
    assert r2(there, network.predict(fresh[0])) > 0.98
    assert r2(there, ridge.predict(fresh[0])) < 0.1  # orthogonal to all it has
    assert network.facts["inits"] == 10 and 0 < network.facts["score_sd"] < 0.1


def test_the_network_is_the_mean_of_ten_and_the_same_for_a_seed(known, fresh, monkeypatch):
    monkeypatch.setattr(mlp_head, "EPOCHS", 2)
    x, y = known[0][:200], known[1][:200]
    first, again, other = (fit_head(x, y, head="mlp", seed=seed).predict(fresh[0]) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-6
    head = fit_head(x, y, head="mlp", seed=1)
    members = head.core.members(fresh[0])[:, :, 0]
    assert len(members) == 10
    np.testing.assert_allclose(first, members.mean(axis=0))
    assert members.std(axis=0).min() > 0


def test_left_out_places_of_the_network_share_no_coordinate_with_those_seen():
    rng = np.random.default_rng(0)
    lonlat = np.repeat(rng.uniform(-50, 50, (40, 2)), 5, axis=0)
    fold = mlp_head._folds(200, 5, rng, lonlat)
    assert (fold.reshape(40, 5) == fold.reshape(40, 5)[:, :1]).all()
    assert np.bincount(fold).tolist() == [40] * 5


def test_unfamiliar_is_what_lies_farther_than_the_places_from_each_other(known):
    x, y, _ = known
    head = fit_head(x, y, head="ridge")
    apart = np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), axis=1)[:, 1]
    assert head.limit == pytest.approx(np.quantile(apart, FAMILIAR), rel=1e-4)
    found = head.estimate(np.concatenate([x[:5], -2 * x[:5]]))
    assert found.unfamiliar.tolist() == [False] * 5 + [True] * 5


def test_unfamiliar_places_take_the_quantile_of_the_blocks(known):
    from dataclasses import replace

    x, y, _ = known
    head = replace(fit_head(x, y, head="knn"), far=np.arange(1.0, 100.0))
    np.testing.assert_allclose(head.reach(np.array([True]), 0.9), [90.0])
    assert head.reach(np.array([False]), 0.9) < 3
    few = replace(head, far=np.arange(1.0, 10.0))
    assert few.reach(np.array([True]), 0.9) == few.reach(np.array([False]), 0.9)


def test_many_places_in_pieces_are_the_same(known, fresh, monkeypatch):
    x, y, _ = known
    head = fit_head(x, y, head="knn")
    whole = head.estimate(fresh[0])
    monkeypatch.setattr("model.heads.PIECE", 700)
    pieces = head.estimate(fresh[0])
    np.testing.assert_allclose(pieces.values, whole.values, rtol=1e-5)
    np.testing.assert_allclose(pieces.high, whole.high, rtol=1e-5)
    assert len(head.estimate(fresh[0][:0]).values) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": lambda y: np.full_like(y, 4.0)}, "4 everywhere"),
        ({"y": lambda y: np.where(np.arange(len(y)) == 3, np.nan, y)}, "place 3 is missing"),
        ({"y": lambda y: np.full(len(y), "a"), "kind": "classification"}, "must be two classes"),
        ({"y": lambda y: np.where(y > 10, "a", "b")}, "not made of numbers"),
        ({"head": "forest"}, "no head 'forest'"),
        ({"kind": "ranking"}, "not for 'ranking'"),
        ({"rows": 10}, "10 places are too few"),
    ],
)
def test_what_cannot_be_fitted_is_told(known, change, message):
    rows = change.get("rows", 100)
    target = change.get("y", lambda y: y)(known[1][:rows])
    with pytest.raises(HeadError, match=message):
        fit_head(known[0][:rows], target, head=change.get("head", "knn"), kind=change.get("kind", "regression"))


def test_a_number_has_no_probabilities(known):
    with pytest.raises(HeadError, match="predicts a number"):
        fit_head(known[0], known[1], head="knn").predict_proba(known[0])

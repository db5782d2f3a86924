"""The tables' figures: perfect and blind encoders, brute force, invariances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data import atlas
from data.errors import HeadError, QueryError
from data.geo import unit_vectors
from data.paper_sets import find_set
from data.tasks import TASKS, find_task, known, targets
from model import downstream, load, mlp_head
from model.downstream import (
    Problem,
    Score,
    ViewEncoder,
    atlas_problems,
    evaluate_downstream,
    paper_problem,
    scaled,
    steps,
)
from model.folds import make_folds
from model.published import read_published
from model.ridge import fit_ridge
from model.score_log import ScoreLog, digest
from model.tables import Row, summarise, verdicts


class Given:
    """An encoder that is a function."""

    def __init__(self, name, function):
        self.name, self.function = name, function
        self.dim = function(np.zeros((2, 2))).shape[1]

    def encode_location(self, lonlat):
        return np.asarray(self.function(lonlat), dtype=np.float32)


def noise(lonlat):
    rng = np.random.default_rng(0)
    return rng.normal(size=(len(lonlat), 5))


SPHERE = Given("sphere", unit_vectors)
PERFECT = Given("perfect", lambda lonlat: np.stack([atlas.sample("temperature", lonlat), lonlat[:, 0] * 1e-3], axis=1))
BLIND = Given("blind", noise)
PROBLEMS = atlas_problems([find_task(name) for name in ("temperature", "koppen", "country")], points=1500)


def test_the_places_have_every_value_and_are_the_same_for_all() -> None:
    problems = atlas_problems(TASKS, points=700)
    for problem, task in zip(problems, TASKS, strict=True):
        assert problem.lonlat is problems[0].lonlat and len(problem.target) == 700
        assert known(problem.target).all() and problem.lonlat[:, 1].min() > -60
        np.testing.assert_array_equal(problem.target, targets(task, problem.lonlat))


@pytest.mark.parametrize("head", ["ridge", "knn", "mlp"])
def test_what_knows_the_answer_is_right_and_what_knows_nothing_is_not(head: str, monkeypatch) -> None:
    monkeypatch.setattr(mlp_head, "GRID", mlp_head.GRID[:1])
    monkeypatch.setattr(mlp_head, "EPOCHS", 4)
    splits = ("random",) if head == "mlp" else ("random", "blocks", "few")
    problem = [replace(PROBLEMS[0], lonlat=PROBLEMS[0].lonlat[:600], target=PROBLEMS[0].target[:600])]
    for score in evaluate_downstream([PERFECT, BLIND], problem, heads=[head], splits=splits, seeds=1):
        if score.part == "all":
            assert score.main > 0.97 if score.encoder == "perfect" else score.main < 0.05, score
            assert score.other < 0.03 if score.encoder == "perfect" else score.other > 0.9, score


def test_figures_by_hand() -> None:
    """Accuracy, macro-F1, R² and standardised error of ridge on the sphere, folds in a loop."""
    scores = evaluate_downstream([SPHERE], PROBLEMS[:2], splits=["blocks"], seeds=1)
    x = scaled(unit_vectors(PROBLEMS[0].lonlat))
    value, squares, said = np.empty(1500), np.empty(1500), np.empty(1500, dtype="<U3")
    climate = PROBLEMS[1].target
    for fold in make_folds("blocks", PROBLEMS[0].lonlat, seed=0):
        y = PROBLEMS[0].target[fold.train]
        value[fold.test] = fit_ridge(x[fold.train], y[:, None])[0](x[fold.test])[:, 0]
        squares[fold.test] = ((value[fold.test] - PROBLEMS[0].target[fold.test]) / y.std()) ** 2
        names = np.unique(climate[fold.train])
        wanted = np.where(climate[fold.train][:, None] == names, 1.0, -1.0)
        said[fold.test] = names[fit_ridge(x[fold.train], wanted)[0](x[fold.test]).argmax(axis=1)]
    truth = PROBLEMS[0].target
    temperature, koppen = scores
    assert temperature.main == pytest.approx(1 - ((value - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())
    assert temperature.other == pytest.approx(squares.mean())
    assert koppen.main == pytest.approx((said == climate).mean())
    f1 = []
    for name in set(said.tolist()) | set(climate.tolist()):
        hit = ((said == name) & (climate == name)).sum()
        f1.append(2 * hit / ((said == name).sum() + (climate == name).sum()))
    assert koppen.other == pytest.approx(np.mean(f1))


def test_countries_of_a_continent_never_seen_cannot_be_named() -> None:
    scores = evaluate_downstream([SPHERE], PROBLEMS[2:], heads=["knn"], splits=["continent", "few"], seeds=2)
    unseen = [score for score in scores if score.split == "continent"]
    assert len(unseen) == 6 and all(np.isnan(score.main) for score in unseen)  # one seed: nothing is drawn
    seen = [score for score in scores if score.split == "few" and score.part == "all"]
    assert len(seen) == 2 and all(0 < score.main < 1 for score in seen)


def test_the_unit_of_an_encoder_does_not_matter() -> None:
    large = Given("large", lambda lonlat: 1000 * unit_vectors(lonlat) + 7)
    for head in ("ridge", "knn"):
        a, b = (
            evaluate_downstream([encoder], PROBLEMS[:1], heads=[head], splits=["random"], seeds=1)[0]
            for encoder in (SPHERE, large)
        )
        assert a.main == pytest.approx(b.main, abs=2e-3)


def test_progress_ends_where_it_said() -> None:
    told = []
    evaluate_downstream(
        [SPHERE],
        PROBLEMS[:1],
        heads=["ridge"],
        splits=["random", "continent"],
        seeds=3,
        progress=lambda w, n: told.append(n),
    )
    assert told == [0, 1, 2, 3] and steps(1, PROBLEMS[:1], ["ridge"], ["random", "continent"], 3) == 4


def test_views_are_parts_of_the_vector() -> None:
    pair = load(part="location")
    places = PROBLEMS[0].lonlat[:5]
    whole, smooth, sharp = (ViewEncoder(pair, view) for view in (None, "smooth", "sharp"))
    assert whole.dim == pair.dim == smooth.dim + sharp.dim
    together = np.concatenate([smooth.encode_location(places), sharp.encode_location(places)], axis=1)
    np.testing.assert_allclose(np.sort(together), np.sort(pair.encode_location(places)))
    assert smooth.name == f"{pair.name}:smooth"
    with pytest.raises(QueryError, match="no view 'rough'"):
        ViewEncoder(pair, "rough")


def test_large_sets_are_thinned_and_small_ones_split_by_what_they_have(tmp_path) -> None:
    rng = np.random.default_rng(0)
    rows = "\n".join(f"{lon},{lat},{lat}" for lon, lat in rng.uniform((5, 40), (30, 55), (900, 2)))
    (tmp_path / "stationDataAll.csv").write_text("Lon,Lat,meanT\n" + rows)
    problem = paper_problem(find_set("paper-air-temperature"), tmp_path, points=500)
    assert len(problem.target) == 500 and "few" not in problem.splits
    np.testing.assert_array_equal(problem.target, problem.lonlat[:, 1])


def score_row(encoder, head, task, main):
    return Row(encoder, head, task, "random", "all", 10, 1, main, float("nan"), 0.0, float("nan"))


def test_means_and_verdicts_by_hand() -> None:
    scores = evaluate_downstream([SPHERE], PROBLEMS[:1], splits=["random"], seeds=3)
    (row,) = summarise(scores)
    main = [score.main for score in scores]
    assert (row.main, row.main_sd) == (pytest.approx(np.mean(main)), pytest.approx(np.std(main, ddof=1)))
    rows = [
        score_row("own", "ridge", "a", 0.5),
        score_row("own", "knn", "a", 0.7),
        score_row("x", "knn", "a", 0.6),
        score_row("own", "ridge", "b", 0.5),
        score_row("x", "ridge", "b", 0.5),
        score_row("x", "ridge", "c", 0.5),
        score_row("own", "ridge", "c", float("nan")),
    ]
    first, second = verdicts(rows, own={"own"})
    assert (first.better, first.own_name, first.best_name) == (True, "own, knn", "x, knn")
    assert not second.better  # a draw is no win


def test_published_figures_are_read_or_refused(tmp_path) -> None:
    assert read_published(tmp_path) == []
    header = "task,encoder,split,metric,mean,sd,source\n"
    (tmp_path / "published.csv").write_text(header + "paper-biome,CSP,random,accuracy,0.5,,Table 9\n")
    (figure,) = read_published(tmp_path)
    assert (figure.encoder, figure.mean, figure.source) == ("CSP", 0.5, "Table 9") and np.isnan(figure.sd)
    for line, said in {
        "a,b,random,accuracy,x,,s": "row 1: mean and sd should be numbers",
        "a,b,somehow,accuracy,1,,s": "row 1: split is 'somehow'; choose one of random, blocks",
        "a,b,random,rmse,1,,s": "row 1: metric is 'rmse'; choose one of r2, accuracy",
    }.items():
        (tmp_path / "published.csv").write_text(header + line + "\n")
        with pytest.raises(HeadError, match=said):
            read_published(tmp_path)
    (tmp_path / "published.csv").write_text("task,mean\n")
    with pytest.raises(HeadError, match="no column encoder"):
        read_published(tmp_path)


def test_a_problem_of_one_class_is_answered_with_it() -> None:
    places = PROBLEMS[0].lonlat[:300]
    one = Problem("one", "One", "classification", places, np.full(300, "x"))
    (score,) = evaluate_downstream([SPHERE], [one], splits=["random"], seeds=1)
    assert score.main == score.other == 1


class TestScoreLog:
    """An evaluation that was ended goes on where it stopped."""

    SOME = PROBLEMS[:2]

    def measure(self, encoders, log=None, seeds=2):
        splits = ("random", "few")
        return evaluate_downstream(encoders, self.SOME, heads=("ridge", "knn"), splits=splits, seeds=seeds, log=log)

    def test_what_stands_is_not_done_again_and_says_the_same(self, tmp_path, monkeypatch):
        straight = self.measure([SPHERE, BLIND])
        path = tmp_path / "new" / "scores.jsonl"
        assert self.measure([SPHERE], ScoreLog(path), seeds=1) == [
            score for score in straight if score.encoder == "sphere" and score.seed == 0
        ]
        assert self.measure([SPHERE, BLIND], ScoreLog(path)) == straight
        monkeypatch.setattr(downstream, "_one_seed", None)  # nothing is measured any more
        assert self.measure([SPHERE, BLIND], ScoreLog(path)) == straight

    def test_other_vectors_places_or_targets_are_measured_anew(self, tmp_path):
        log = ScoreLog(tmp_path / "scores.jsonl")
        self.measure([SPHERE], log)
        turned = Given("sphere", lambda lonlat: unit_vectors(lonlat) * [1, 1, 2])
        assert self.measure([turned], log) == self.measure([turned])
        assert digest(self.SOME) != digest([replace(self.SOME[0], target=self.SOME[0].target + 1e-9), self.SOME[1]])
        assert digest(self.SOME) != digest([replace(self.SOME[0], lonlat=self.SOME[0].lonlat + 1e-9), self.SOME[1]])
        assert digest(self.SOME) != digest(self.SOME[::-1])

    @given(cut=st.integers(0, 4000), junk=st.binary(max_size=60))
    @settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_a_torn_end_costs_the_steps_behind_it_alone(self, tmp_path, cut, junk):
        path = tmp_path / "scores.jsonl"
        path.unlink(missing_ok=True)
        vectors = noise(np.zeros((30, 2))).astype(np.float32)
        rows = [Score("a", "knn", "t", "random", seed, "all", 30, seed / 7, float("nan")) for seed in range(8)]
        steps_ = [("a", "knn", "random", seed, "d") for seed in range(8)]
        log = ScoreLog(path)
        for step, row in zip(steps_, rows, strict=True):
            log.add(step, vectors, [row])
        whole = path.read_bytes()
        path.write_bytes(whole[:cut] + junk)
        finished = sum(bool(line) for line in whole[:cut].split(b"\n")[:-1])
        again = ScoreLog(path)
        for seed, step in enumerate(steps_):
            found = again.find(step, vectors)
            assert found is None if seed > finished else seed == finished or repr(found) == repr([rows[seed]])
        again.add(steps_[7], vectors, [rows[7]])
        assert repr(ScoreLog(path).find(steps_[7], vectors)) == repr([rows[7]])

"""Built-in variables with the embedded pair: against the atlas itself, at places that no head has seen."""

import numpy as np
import pytest

from app.facts import predicted
from data import atlas
from data.errors import HeadError
from data.land import sample_land
from data.tasks import TASKS
from model import load, predict
from model.head_file import head_names, heads_path
from model.predict import VARIABLES, load_predictor, variables


@pytest.fixture(scope="module")
def pair():
    return load(part="location")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def surroundings(home, monkeypatch):
    """A home of this file's own, and a fifth of the places."""
    monkeypatch.setenv("SAMEWHERE_HOME", str(home))
    monkeypatch.setattr(predict, "PLACES", 2000)
    monkeypatch.setattr(predict, "HELD_OUT", 500)
    predict._places.cache_clear()


@pytest.fixture
def fresh():
    return sample_land(1500, rng=np.random.default_rng(99))


def test_temperature_anywhere(pair, fresh):
    told = []
    predictor = load_predictor("temperature", pair, progress=lambda share, what: told.append(share))
    assert told[0] == 0 and told[-1] == 1 and told == sorted(told)
    found = predictor.predict(fresh)
    truth = atlas.sample("temperature", fresh)
    left = ((found.values - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert left < 0.05
    assert ((found.low <= truth) & (truth <= found.high)).mean() == pytest.approx(0.9, abs=0.03)
    assert found.probabilities is None and found.labels is None
    assert predictor.variable.unit == "°C"
    assert predictor.random.score == pytest.approx(1 - left, abs=0.02)  # what it says of itself
    assert predictor.blocks.score < predictor.random.score
    assert predictor.blocks.unfamiliar > predictor.random.unfamiliar


def test_a_second_load_fits_nothing_and_says_the_same(pair, fresh):
    first = load_predictor("temperature", pair).predict(fresh)
    told = []
    again = load_predictor("temperature", pair, progress=lambda *_: told.append(1)).predict(fresh)
    assert told == []
    np.testing.assert_array_equal(first.values, again.values)


def test_several_variables_of_a_place_are_one_encoding(pair, fresh, monkeypatch):
    predictors = [load_predictor(name, pair) for name in ("temperature", "precipitation")]
    apart = [predictor.predict(fresh) for predictor in predictors]
    asked = []
    encode = pair.encode_location
    monkeypatch.setattr(pair, "encode_location", lambda *given, **more: asked.append(1) or encode(*given, **more))
    together = predicted(fresh, predictors)
    assert len(asked) == 1
    for one, other in zip(apart, together, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.high, other.high)


def test_climate_with_probabilities_and_sets(pair, fresh, tmp_path, monkeypatch):
    # of as many places as people get: of a fifth of them, whole classes have a handful, and are doubted too much
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path))
    monkeypatch.setattr(predict, "PLACES", 10_000)
    monkeypatch.setattr(predict, "HELD_OUT", 2500)
    monkeypatch.setattr(predict, "_encoded", {})
    predict._places.cache_clear()
    found = load_predictor("koppen", pair).predict(fresh)
    truth = atlas.koppen(fresh)
    known = truth != ""
    right = found.labels == truth
    assert right[known].mean() > 0.7
    assert found.probabilities[known].max(axis=1).mean() == pytest.approx(right[known].mean(), abs=0.05)
    assert np.isnan(found.low).all()
    names = np.array(load_predictor("koppen", pair).variable.classes)
    inside = [truth[row] in names[found.sets[row]] for row in np.flatnonzero(known)]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)


def test_amounts_are_in_their_unit_and_never_negative(pair, fresh):
    found = load_predictor("precipitation", pair).predict(fresh)
    truth = atlas.sample("precipitation", fresh)
    assert (found.low >= 0).all() and (found.low <= found.values).all() and (found.values <= found.high).all()
    assert np.corrcoef(np.log1p(found.values), np.log1p(truth))[0, 1] > 0.95
    assert ((found.low <= truth) & (truth <= found.high)).mean() == pytest.approx(0.9, abs=0.03)


def test_pieces_are_the_same_as_the_whole(pair, fresh, monkeypatch):
    predictor = load_predictor("koppen", pair)
    whole = predictor.predict(fresh)
    monkeypatch.setattr(predict, "PIECE", 400)
    pieces = predictor.predict(fresh)
    np.testing.assert_array_equal(whole.labels, pieces.labels)
    np.testing.assert_allclose(whole.probabilities, pieces.probabilities, atol=1e-9)
    assert len(predictor.predict(np.empty((0, 2))).values) == 0


def test_a_damaged_built_in_head_is_made_again(pair):
    load_predictor("temperature", pair)
    path = heads_path(pair.fingerprint) / "temperature.safetensors"
    path.write_bytes(b"nonsense")
    assert load_predictor("temperature", pair).random.score > 0.9


def test_variables_are_the_tasks_and_those_fitted(pair):
    assert {task.name for task in TASKS} <= {variable.name for variable in VARIABLES}
    assert all(variable.builtin for variable in variables(pair))
    assert set(head_names(pair.fingerprint)) <= {variable.name for variable in VARIABLES}


def test_one_damaged_head_does_not_hide_the_others(pair):
    path = heads_path(pair.fingerprint) / "broken.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"nonsense")
    damaged = []
    assert variables(pair, damaged=damaged) == variables(pair) == list(VARIABLES)
    path.unlink()
    assert len(damaged) == 1 and "broken" in damaged[0]


def test_an_unknown_variable_is_told_with_those_there_are(pair):
    with pytest.raises(HeadError, match="no variable 'snow' for blue-marble-l40; there is temperature, "):
        load_predictor("snow", pair)

"""Evaluation: the measures against brute force and closed forms, and the published figures against the card."""

from pathlib import Path

import numpy as np
import pytest

from app.commands.evaluate import as_markdown
from data import atlas
from data.errors import CheckpointError, PatchError
from data.geo import great_circle_km
from data.land import sample_land
from model import evaluate, load

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "s2"


def test_retrieval_by_brute_force():
    rng = np.random.default_rng(0)
    images, places = rng.normal(size=(2, 300, 5)).astype(np.float32)
    places += 2 * images
    lonlat = sample_land(300, rng=rng)
    ranks, errors = [], []
    for row in range(300):
        scores = [float(images[row] @ place) for place in places]
        ranks.append(sum(score > scores[row] for score in scores))
        errors.append(great_circle_km(lonlat[row], lonlat[int(np.argmax(scores))]))
    result = evaluate.measure_retrieval(images, places, lonlat)
    assert result.recall1 == pytest.approx(np.mean(np.array(ranks) == 0))
    assert result.recall10 == pytest.approx(np.mean(np.array(ranks) < 10))
    assert result.median_error_km == pytest.approx(np.median(errors))
    assert result.median_rank_percent == pytest.approx(100 * np.median(ranks) / 299)


def test_perfect_and_blind_retrieval():
    lonlat = sample_land(50, rng=np.random.default_rng(0))
    eye = np.eye(50, dtype=np.float32)
    assert evaluate.measure_retrieval(eye, eye, lonlat) == evaluate.Retrieval(1.0, 1.0, 0.0, 0.0)
    assert evaluate.measure_retrieval(eye[::-1].copy(), eye, lonlat).recall1 == 0
    for vectors in (np.ones_like(eye), np.full_like(eye, np.nan)):  # a collapsed pair, and a diverged one
        found = evaluate.measure_retrieval(vectors, vectors, lonlat)
        assert (found.recall1, found.recall10, found.median_rank_percent) == (0, 0, 100)


def test_likeness_by_brute_force():
    rng = np.random.default_rng(1)
    places = sample_land(200, rng=rng, antarctica=False)
    scores = rng.random((200, 200))
    result = evaluate.measure_likeness(lambda rows: scores[rows], places, places)
    climate, temperature = atlas.koppen(places), atlas.sample("temperature", places)
    same, warmer = [], []
    for row in range(200):
        far = [other for other in range(200) if great_circle_km(places[row], places[other]) > 500]
        for other in sorted(far, key=lambda other: -scores[row, other])[:10]:
            if climate[row] and climate[other]:
                same.append(climate[row] == climate[other])
            warmer.append(abs(temperature[row] - temperature[other]))
    assert result.same_climate == pytest.approx(np.mean(same))
    assert result.temperature_k == pytest.approx(np.nanmean(warmer))


def test_the_atlas_itself_would_be_perfect():
    places = sample_land(400, rng=np.random.default_rng(2), antarctica=False)
    temperature = np.nan_to_num(atlas.sample("temperature", places))
    by_temperature = evaluate.measure_likeness(
        lambda rows: -np.abs(temperature[rows][:, None] - temperature), places, places
    )
    at_random = evaluate.measure_likeness(
        lambda rows: np.random.default_rng(0).random((len(rows), 400)), places, places
    )
    assert by_temperature.temperature_k < 0.5 < 5 < at_random.temperature_k


def test_the_oracle_beats_chance_and_every_single_variable_of_it_counts():
    places = sample_land(600, rng=np.random.default_rng(3), antarctica=False)
    asked = np.arange(200)
    best, chance = (
        evaluate.measure_likeness(score, places[asked], places)
        for score in (
            evaluate.nearness(evaluate.atlas_vectors(places)),
            lambda rows: np.random.default_rng(0).random((len(rows), 600)),
        )
    )
    assert best.same_climate > 0.85 > 0.2 > chance.same_climate
    assert best.temperature_k < chance.temperature_k / 3
    assert best.precipitation_mm < chance.precipitation_mm / 2 and best.elevation_m < chance.elevation_m / 1.5


def test_nearness_ranks_by_distance():
    vectors = np.random.default_rng(0).normal(size=(40, 3))
    asked = np.array([7, 39])
    scores = evaluate.nearness(vectors)(asked)
    apart = np.linalg.norm(vectors[asked][:, None] - vectors, axis=2)
    np.testing.assert_array_equal(np.argsort(-scores, axis=1), np.argsort(apart, axis=1))


def test_blocks_are_not_measured_on_a_model_that_saw_them():
    pair = load()
    pair.card["recipe"] = {**pair.card["recipe"], "hold_out_blocks": False}
    with pytest.raises(CheckpointError, match="was trained on the held-out blocks too"):
        evaluate.evaluate_blocks(pair)


def test_folder_without_index(tmp_path):
    with pytest.raises(PatchError, match=r"expected index.csv with columns fn, lon, lat"):
        evaluate.evaluate_sentinel(load(), tmp_path)


def test_readme_prints_what_the_card_holds():
    """The README's tables are `samewhere evaluate retrieval` of the checkpoint that ships."""
    assert as_markdown(load(part="location").card["metrics"]) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_blocks_again():
    """The card's block figures come out again, from scratch."""
    pair = load()
    measured = evaluate.evaluate_blocks(pair)["smooth"]
    held = pair.card["metrics"]["Image to place, 5,000 places in held-out 10° blocks"]["smooth"]
    assert measured.median_rank_percent == pytest.approx(held["median_rank_percent"], rel=0.02)
    assert measured.recall10 == pytest.approx(held["recall10"], rel=0.05)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs the real Sentinel-2 patches beside the checkout")
def test_real_patches_rank_their_cell_in_the_best_tenth():
    table = evaluate.evaluate_sentinel(load(), SHARED)
    assert table["both"]["median"] <= 10
    assert table["both"]["median"] <= table["mean colour"]["median"]

"""Ingredients, votes and areas in links: what is written is read again, and what strangers type is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from app.ingredients import (
    MOST,
    MOST_VOTES,
    Ingredient,
    Vote,
    area_text,
    check_area,
    read_area,
    read_ingredients,
    read_votes,
    read_weight,
    write_ingredients,
    write_votes,
)
from data.errors import SamewhereError
from indexer import Where
from indexer.zones import passes

SAMPLES = {"nile": None}
CELL = "841e8a5ffffffff"
weights = st.sampled_from([-5.0, -0.25, 0.1, 1.0, 2.5])
lonlats = st.tuples(st.integers(-1799999, 1799999), st.integers(-899999, 899999)).map(
    lambda p: (p[0] / 1e4, p[1] / 1e4)
)
tile_ids = st.text(st.characters(categories=("L", "N", "P", "Zs")), min_size=1, max_size=40).filter(str.isprintable)
ingredients = st.one_of(
    st.builds(lambda w, p: Ingredient("place", w, place=p), weights, lonlats),
    st.builds(lambda w: Ingredient("sample", w, id="nile"), weights),
    st.builds(lambda w: Ingredient("cell", w, id=CELL), weights),
    st.builds(lambda w, t: Ingredient("tile", w, id=t), weights, tile_ids),
)


@given(st.lists(ingredients, max_size=MOST))
def test_what_is_written_is_read_again(parts: list[Ingredient]) -> None:
    assert read_ingredients(write_ingredients(parts), samples=SAMPLES) == tuple(parts)


@given(st.lists(st.builds(Vote, st.just("tiles"), tile_ids), max_size=10, unique=True))
def test_votes_are_read_again(votes: list[Vote]) -> None:
    assert read_votes(write_votes(votes)) == tuple(votes)


def test_an_area_across_the_antimeridian_stays_in_one_piece() -> None:
    fiji = [(170.0, -10.0), (190.0, -10.0), (190.0, -25.0), (170.0, -25.0)]
    area = check_area(fiji)
    assert list(area) == fiji
    assert read_area(area_text(area)) == area
    where = Where(polygon=shapely.Polygon(area))
    assert passes(where, np.array([(178.0, -18.0), (-175.0, -18.0), (0.0, -18.0)])).tolist() == [True, True, False]


def test_an_area_is_read_again_and_uploads_are_left_out() -> None:
    area = ((0.0, 0.0), (10.5, 0.0), (10.5, 8.1234))
    assert read_area(area_text(area)) == area
    parts = [Ingredient("area", -1.0, area=area), Ingredient("upload", id="abc", label="x.tif")]
    assert read_ingredients(write_ingredients(parts), samples=SAMPLES) == (parts[0],)


@pytest.mark.parametrize(
    "text",
    [
        "place:12",
        "1*place:12.49,91",
        "9*place:1,1",
        "0*place:1,1",
        "nan*place:1,1",
        "1*sample:moon",
        "1*cell:hello",
        "1*cell:../../etc/passwd",
        "1*upload:0123456789abcdef",
        "1*file:/etc/passwd",
        "1*tile:" + "x" * 201,
        "1*area:0,0,1,1",
        ";".join(["1*place:1,1"] * (MOST + 1)),
    ],
)
def test_what_is_no_ingredient_is_refused_in_words(text: str) -> None:
    with pytest.raises(SamewhereError):
        read_ingredients(text, samples=SAMPLES)


@pytest.mark.parametrize("text", ["x:1", "c:zz", "c", "t:", ";".join(f"t:{n}" for n in range(MOST_VOTES + 1))])
def test_what_is_no_vote_is_refused_in_words(text: str) -> None:
    with pytest.raises(SamewhereError):
        read_votes(text)


@pytest.mark.parametrize(
    "points",
    [
        [(0, 0), (1, 1)],
        [(0, 0), (10, 10), (10, 0), (0, 10)],  # a bow tie
        [(0, 0), (200, 0), (200, 95)],
        [(0, 0), (math.nan, 0), (1, 1)],
        [(n, 0) for n in range(100)],
    ],
)
def test_what_is_no_area_is_refused_in_words(points: list[tuple[float, float]]) -> None:
    with pytest.raises(SamewhereError):
        check_area(points)


@pytest.mark.parametrize(("text", "weight"), [("2", 2.0), ("-0.5", -0.5), ("0.126", 0.13)])
def test_weights_have_two_decimals(text: str, weight: float) -> None:
    assert read_weight(text) == weight

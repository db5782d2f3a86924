"""Links: what is written is read back, and what strangers type does no harm."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from app.ingredients import Ingredient, Vote
from app.samples import SAMPLES
from app.url_state import K_MAX, MIN_KM, PageQuery, number, read_query, write_query
from data.geo import BBox

COUNTRIES = {"ITA": "Italy", "ESP": "Spain", "FJI": "Fiji"}


def read(params: dict[str, str]) -> PageQuery:
    """A query from a link that has nothing wrong."""
    parsed = read_query(params, samples=SAMPLES, countries=COUNTRIES)
    assert parsed.complaints == ()
    return parsed.query


def test_every_query_survives_its_link() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        image = rng.random() < 0.5
        query = PageQuery(
            kind="image" if image else "place",
            place=None if image else (round(rng.uniform(-180, 180), 4), round(rng.uniform(-90, 90), 4)),
            sample=str(rng.choice(list(SAMPLES))) if image else None,
            k=int(rng.integers(1, K_MAX + 1)),
            target="tiles" if rng.random() < 0.5 else "cells",
            view=rng.choice(["smooth", "sharp", "both"]).item(),
            min_km=int(rng.integers(0, 3000)),
            spacing_km=int(rng.integers(0, 3000)),
            bbox=BBox(170.5, -20, -170.25, 10) if rng.random() < 0.5 else None,
            countries=("FJI", "ITA") if rng.random() < 0.5 else (),
            hit="841e805ffffffff" if rng.random() < 0.5 else None,
            projection="globe" if rng.random() < 0.5 else "flat",
        )
        back = read(write_query(query))
        # What is at its default is left out of a link, and reads as "the default".
        assert (back.view_used, back.min_km_used) == (query.view_used, query.min_km_used)
        assert write_query(back) == write_query(query)
        assert (back.place, back.sample, back.k, back.bbox) == (query.place, query.sample, query.k, query.bbox)


def test_nothing_asked_is_an_empty_link() -> None:
    assert write_query(PageQuery()) == {}
    assert read({}) == PageQuery()


def test_cloud_may_be_a_part_of_a_per_cent() -> None:
    query = read({"cloud": "12.5"})
    assert query.cloud == 12.5 and read(write_query(query)) == query


def test_an_upload_leaves_no_trace_but_its_kind() -> None:
    assert write_query(PageQuery(kind="image", k=5)) == {"from": "image", "k": "5"}
    assert read({"from": "image"}).kind == "image"


def test_defaults_follow_the_kind() -> None:
    assert (read({"place": "1,2"}).min_km_used, read({"sample": "nile"}).min_km_used) == (
        MIN_KM["place"],
        MIN_KM["image"],
    )
    assert (read({"place": "1,2"}).view_used, read({"sample": "nile"}).view_used) == ("both", "both")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("place", "91"),
        ("place", "12.49,91"),
        ("place", "nan,4"),
        ("sample", "../../etc/passwd"),
        ("k", "0"),
        ("k", "1e99"),
        ("k", "nan"),
        ("k", "2.5"),
        ("target", "rows; drop table cells"),
        ("view", "<script>"),
        ("min_km", "-1"),
        ("spacing_km", "inf"),
        ("bbox", "1,2,3"),
        ("bbox", "0,50,10,40"),
        ("countries", "ITA,XX"),
        ("hit", "z" * 201),
        ("map", "cube"),
    ],
)
def test_a_wrong_value_is_named_and_left_out(name: str, text: str) -> None:
    parsed = read_query({name: text, "spacing_km" if name == "k" else "k": "7"}, samples=SAMPLES, countries=COUNTRIES)
    assert len(parsed.complaints) == 1
    assert name in parsed.complaints[0]
    assert parsed.query == (PageQuery(spacing_km=7) if name == "k" else PageQuery(k=7))


@pytest.mark.parametrize(("value", "text"), [(12.49, "12.49"), (-0.00001, "0"), (100.0, "100"), (-7.12346, "-7.1235")])
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_every_part_of_a_query_stands_in_its_link() -> None:
    query = PageQuery(
        place=(12.49, 41.89),
        weight=-0.5,
        also=(Ingredient("sample", 2.0, id="nile"), Ingredient("cell", -1.0, id="841e8a5ffffffff")),
        likes=(Vote("cells", "841e8a5ffffffff"),),
        unlikes=(Vote("tiles", "x;y:ä"),),
        continents=("EU", "AF"),
        climates=("Cfb", "E"),
        limits=(("elevation", -10.0, None), ("temperature", None, 12.5)),
        area=((0.0, 0.0), (10.0, 0.0), (10.0, 10.5)),
        after=date(2020, 2, 29),
        before=date(2021, 1, 1),
        cloud=20.0,
        target="tiles",
        scale="rank",
        index="alps-1",
    )
    parsed = read_query(write_query(query), samples={"nile": 1}, countries={}, layers=("elevation", "temperature"))
    assert parsed.complaints == ()
    assert parsed.query == query

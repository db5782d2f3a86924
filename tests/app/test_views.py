"""What cards, maps and captions say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely

from app.answer import Answer, Pin, thumbnails, token_of
from app.facts import number_text, plain
from app.field_image import Legend, data_url
from app.gallery import cards, lonlat_text
from app.map_view import flat_map, globe
from app.preview import caption
from app.results_view import legend_html
from app.samples import SAMPLES
from app.setup_view import time_text
from app.state import find_place
from app.url_state import PageQuery
from data.display import picture
from data.errors import CoordinateError
from data.geo import BBox, cell_lonlat, cell_of, cell_to_hex, great_circle_km
from data.land import is_land
from data.patch import Patch
from indexer import Query, SearchIndex
from indexer.hits import Hit
from tests.app.standin import StandInPair


def answer(*points: tuple[float, float]) -> Answer:
    """An answer with hits around points."""
    cells = cell_of(np.array(points), 4)
    hits = tuple(
        Hit(n, hex_id, lon, lat, 1 - n / 10, None if n == 2 else 1234.5 * n, "ITA" if n == 1 else "", "cells")
        for n, (hex_id, (lon, lat)) in enumerate(zip(cell_to_hex(cells), cell_lonlat(cells).tolist(), strict=True), 1)
    )
    return Answer(
        "t",
        hits,
        tuple(f"data:{n}" for n in range(len(hits))),
        "data:field",
        Legend(0.2, 0.9, ("#000000",)),
        (1.0, 2.0),
        pins=(Pin((1.0, 2.0), True),),
    )


def test_cards_say_what_hits_are() -> None:
    first, second = cards(answer((12.5, 41.9), (179.99, -16.5)), {"ITA": "Italy"})
    assert (first["title"], first["distance"], first["score_text"], first["rank"]) == (
        "Italy",
        "1,234 km away",
        "0.90",
        1,
    )
    assert (second["title"], second["distance"]) == ("No country", "")


def test_a_cell_is_shown_by_a_tile_only_where_one_is_near(home: Path) -> None:
    index = SearchIndex.open(home / "index", pair=StandInPair())
    hits = index.search(Query.place(12.49, 41.89), k=60)
    tiles = index.tiles()
    centres = np.stack([tiles["lon"].to_numpy(), tiles["lat"].to_numpy()], axis=1)
    sides = tiles["footprint_km"].to_numpy()
    shown = thumbnails(index, hits)
    near = 0
    for hit, thumbnail in zip(hits, shown, strict=True):
        km = great_circle_km((hit.lon, hit.lat), centres)
        nearest = int(km.argmin())
        is_near = km[nearest] <= max(sides[nearest] / 2, 182)  # a cell of resolution 2 has edges of 182.5 km
        own = data_url(index.thumbnail(tiles["id"][nearest].as_py()), "image/jpeg")
        assert thumbnail.startswith("data:image/jpeg") and (thumbnail == own) == is_near
        near += is_near
    assert 0 < near < 60


def test_places_that_begin_as_no_number_does_are_found() -> None:
    for name in ("Nantes", "Nanjing", "Nanning"):
        assert find_place(name)[1].startswith(name)
    for text in ("nan", "inf", "-infinity", "nan, 4"):
        with pytest.raises(CoordinateError):
            find_place(text)


def test_numbers_keep_the_digits_that_tell_them_apart() -> None:
    assert [number_text(value, "%", own=True) for value in (0.0123, 1.004, 1.009)] == ["0.0123 %", "1.004 %", "1.009 %"]
    assert [number_text(value) for value in (0.0, 0.013, -0.52, 12.34, 1240.4)] == [
        "0",
        "0.013",
        "−0.52",
        "12.3",
        "1,240",
    ]


def test_strangers_text_is_no_markup() -> None:
    shown = plain("![x](https://evil.example/p.png) *b* www.evil.example")
    assert shown == "\\!\\[x\\](https:\u200b//evil.example/p.png) \\*b\\* www\u200b.evil.example"
    assert plain("soil pH 5.5, 40 %") == "soil pH 5.5, 40 %"


@pytest.mark.parametrize(
    ("lon", "lat", "text"), [(12.494, 41.89, "41.89° N, 12.49° E"), (-0.13, -51.5, "51.50° S, 0.13° W")]
)
def test_coordinates_are_written_with_their_sides(lon: float, lat: float, text: str) -> None:
    assert lonlat_text(lon, lat) == text


def test_the_flat_map_draws_rings_around_hits_even_over_the_antimeridian() -> None:
    data = flat_map(answer((12.5, 41.9), (179.99, -16.5)), PageQuery(bbox=BBox(170, -30, -170, 10)), page="p", hint="")
    for hit in data["hits"]:
        ring = np.array(hit["ring"])
        assert np.ptp(ring[:, 0]) < 5  # never the long way round
        np.testing.assert_allclose(great_circle_km(ring, (hit["lon"], hit["lat"])), 26, atol=6)  # a cell's circumradius
    assert data["bbox"] == [170, -30, -170, 10]
    assert data["pins"] == [{"lon": 1.0, "lat": 2.0, "like": True}]
    json.dumps(data, allow_nan=False)


def test_choosing_a_hit_sends_the_map_nothing_new() -> None:
    found = answer((12.5, 41.9))
    hit = found.hits[0].id
    assert flat_map(found, PageQuery(), page="", hint="") == flat_map(found, PageQuery(hit=hit), page="", hint="")


def test_the_globe_turns_to_the_chosen_hit() -> None:
    found = answer((12.5, 41.9), (-60.0, -10.0))
    spec = json.loads(globe(found, PageQuery(place=(1.0, 2.0)), chosen=found.hits[1].id, static="/s").to_json())
    view = spec["initialViewState"]
    assert great_circle_km((view["longitude"], view["latitude"]), (-60.0, -10.0)) < 30
    layers = {layer["id"]: layer for layer in spec["layers"]}
    assert [mark["id"] for mark in layers["hits"]["data"]] == [hit.id for hit in found.hits]
    assert layers["hexes"]["@@type"] == "H3HexagonLayer"
    assert layers["blue-marble"]["image"] == "/s/blue_marble.jpg"  # the inner quotes made it a literal
    assert layers["field"]["image"] == "data:field"
    assert "mapStyle" not in spec or spec["mapStyle"] is None  # nothing remote


def test_the_globe_has_the_pins_and_areas_of_the_map() -> None:
    found = replace(answer((12.5, 41.9)), pins=(Pin((1.0, 2.0), True), Pin((-60.0, -5.0), False)))
    area = ((-70.0, 5.0), (-40.0, 5.0), (-40.0, -30.0))
    asked = PageQuery(place=(1.0, 2.0), area=area, bbox=BBox(170.0, -20.0, -160.0, 10.0))
    layers = {one["id"]: one for one in json.loads(globe(found, asked, chosen=None, static="/s").to_json())["layers"]}
    pins = layers["pins"]["data"]
    assert [pin["at"][:2] for pin in pins] == [[1.0, 2.0], [-60.0, -5.0]]
    assert [pin["sign"] for pin in pins] == ["•", "×"]
    assert pins[0]["ink"] != pins[1]["ink"]
    assert set(layers["pin-signs"]["characterSet"]) == {"•", "×"}  # a list would have become an expression
    of_area, of_box = (np.array(one["path"]) for one in layers["areas"]["data"])
    assert shapely.Polygon(of_area[:, :2]).symmetric_difference(shapely.Polygon(area)).area < 1e-6
    # the box crosses the antimeridian, and its outline goes the short way over it
    np.testing.assert_allclose(shapely.Polygon(of_box[:, :2]).bounds, (170, -20, 200, 10))
    for path in (of_area, of_box):
        step_km = great_circle_km(path[:-1, :2], path[1:, :2])
        # a chord sinks by a share of the radius, and stays above the ground all the same
        assert (6371 * (1 - np.cos(step_km / 2 / 6371)) < path[0, 2] / 1000).all()


def test_a_drawn_area_is_on_the_globe_before_its_use() -> None:
    ring = ((0.0, 0.0), (10.0, 0.0), (5.0, 10.0))
    spec = json.loads(globe(None, PageQuery(place=(3.0, 4.0)), chosen=None, static="/s", drawn=ring).to_json())
    layers = {one["id"]: one for one in spec["layers"]}
    path = shapely.Polygon([point[:2] for point in layers["areas"]["data"][0]["path"]])
    assert path.symmetric_difference(shapely.Polygon(ring)).area < 1e-6
    assert layers["pins"]["data"][0]["at"][:2] == [3.0, 4.0]


def test_a_question_has_one_token_whatever_is_chosen_in_its_answer() -> None:
    asked = PageQuery(place=(1.0, 2.0))
    assert token_of(asked, None, "a") == token_of(PageQuery(place=(1.0, 2.0), hit="x", projection="globe"), None, "a")
    others = [
        (PageQuery(place=(1.0, 2.1)), None, "a"),
        (PageQuery(place=(1.0, 2.0), k=9), None, "a"),
        (asked, "u", "a"),
    ]
    assert len({token_of(*one) for one in [*others, (asked, None, "b"), (asked, None, "a")]}) == 5


def test_the_picture_of_a_patch_keeps_its_order_and_colours() -> None:
    ramp = np.linspace(0.05, 0.3, 64, dtype=np.float32).reshape(8, 8)
    patch = Patch(np.stack([ramp * 0.5, ramp * 0.75, ramp]), ("B02", "B03", "B04"), (10.0, 50.0), 10.0)
    shown = picture(patch)
    assert shown.shape == (8, 8, 3)
    assert (np.diff(shown[..., 0].ravel().astype(int)) >= 0).all()
    assert (shown[..., 0] >= shown[..., 2]).all()  # red first, though it came last
    display = Patch(np.full((3, 8, 8), 100 / 255, dtype=np.float32), ("R", "G", "B"))
    assert (picture(display) == 100).all()


def test_the_caption_says_how_little_is_seen() -> None:
    small = Patch(np.ones((3, 256, 256), dtype=np.float32), ("B02", "B03", "B04"), (10.0, 50.0), 10.0)
    assert "2.6 km wide" in caption(small)
    assert "one colour" in caption(small)
    assert "50.00° N" in caption(small)
    unknown = Patch(np.ones((3, 64, 64), dtype=np.float32), ("R", "G", "B"))
    assert "place unknown" in caption(unknown)
    assert "if a pixel is 10 m" in caption(unknown)


def test_samples_are_on_land() -> None:
    assert is_land(np.array([(sample.lon, sample.lat) for sample in SAMPLES.values()])).all()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "estimating the time left"),
        (3, "a few seconds left"),
        (33, "about 30 seconds left"),
        (70, "about 1 minute left"),
        (160, "about 3 minutes left"),
    ],
)
def test_time_is_told_no_more_exactly_than_it_is_known(seconds: float | None, text: str) -> None:
    assert time_text(seconds) == text


def test_the_legend_holds_its_numbers() -> None:
    html = legend_html(Legend(0.123, 0.987, ("#000000", "#ffffff")))
    assert "0.12" in html
    assert "0.99" in html
    assert "#000000, #ffffff" in html

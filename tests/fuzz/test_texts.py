"""Whatever is typed, pasted, linked or sent: it is what it says, or a sentence, and never another error."""

from __future__ import annotations

import dataclasses
import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ingredients import check_area
from app.request import read_request
from app.state import find_place
from app.url_state import PageQuery, number, read_query, write_query
from data import atlas
from data.errors import CheckpointError, SamewhereError
from data.geo import BBox, hex_to_cell, parse_place, validate_lonlat
from indexer.query import Query
from indexer.query_json import write_query as query_data
from indexer.where import Compare
from model.config_files import read_config
from model.run import RunOptions
from tests.fuzz.strategies import anything, changed, examples, numbers, texts

lons, lats = st.floats(-180, 179.99), st.floats(-90, 90)
SAMPLES, COUNTRIES, LAYERS = {"nile": 1}, {"ITA": "Italy", "ESP": "Spain"}, ("elevation", "temperature")


@examples(200)
@given(text=texts)
def test_pasted_places_are_on_the_globe_or_refused(text: str) -> None:
    for read in (parse_place, lambda given: find_place(given)[0]):
        with suppress(SamewhereError):
            lon, lat = read(text)
            assert -180 <= lon < 180
            assert -90 <= lat <= 90


@examples(100)
@given(lon=lons, lat=lats, comma=st.sampled_from([",", ", ", " ", "\t", " , "]))
def test_a_place_that_is_written_is_read_again(lon: float, lat: float, comma: str) -> None:
    seen = parse_place(f"{number(lon)}{comma}{number(lat)}")
    assert abs((seen[0] - lon + 180) % 360 - 180) <= 5.1e-5
    assert abs(seen[1] - lat) <= 5.1e-5


@examples(200)
@given(given_=anything | st.lists(st.lists(numbers, max_size=3), max_size=4))
def test_coordinates_of_any_shape(given_: Any) -> None:
    with suppress(SamewhereError):
        points = validate_lonlat(given_)
        assert points.shape[1] == 2
        assert np.isfinite(points).all()
        assert ((points >= (-180, -90)) & (points <= (180, 90))).all()


@examples(200)
@given(text=texts | st.lists(numbers, min_size=3, max_size=5).map(lambda box: ",".join(map(str, box))))
def test_boxes_and_cells_of_any_text(text: str) -> None:
    with suppress(SamewhereError):
        box = BBox.parse(text)
        assert box.south <= box.north
        assert box.contains([[box.west, box.south], [box.east, box.north]]).all()
    with suppress(SamewhereError):
        assert 0 <= hex_to_cell(text) < 1 << 64


@examples(100)
@given(box=st.tuples(lons, lats, lons, lats), lon=lons, lat=lats)
def test_a_box_holds_what_lies_between_its_sides_going_east(box: Any, lon: float, lat: float) -> None:
    west, one, east, other = box
    south, north = sorted((one, other))
    inside = (west <= lon <= east) if west <= east else (lon >= west or lon <= east)
    edge = min(abs(lon - west), abs(lon - east)) < 1e-9  # where the remainder rounds
    assert edge or BBox(west, south, east, north).contains([[lon, lat]])[0] == (inside and south <= lat <= north)


@examples(150)
@given(points=anything | st.lists(st.tuples(numbers, numbers), max_size=8))
def test_drawn_areas_of_any_shape(points: Any) -> None:
    try:
        area = check_area(points)
    except SamewhereError:
        return
    assert 3 <= len(area) <= 60
    assert all(-180 <= lon <= 180 and -90 <= lat <= 90 for lon, lat in area)


@examples(150)
@given(text=texts)
def test_conditions_of_any_text(text: str) -> None:
    with suppress(SamewhereError):
        one = Compare.parse(text)
        assert one.column.strip()
        assert one.operator in text
        assert not (isinstance(one.value, float) and math.isnan(one.value))


LINK = {
    "place": "12.49,41.89", "k": "10", "target": "tiles", "view": "sharp", "min_km": "0", "bbox": "170,-20,-170,20",
    "countries": "ITA,ESP", "weight": "-1.5",
    "also": "1*place:3,4;-0.5*cell:841e805ffffffff;2*tile:a%2Fb;1*area:0,0,5,0,5,5",
    "like": "c:841e805ffffffff;t:x", "unlike": "t:y", "climates": "Cfb,E", "limits": "elevation:1:2,temperature::3",
    "area": "0,0,10,0,10,10", "after": "2021-06-30", "cloud": "20", "scale": "rank", "index": "alps", "hit": "abc",
}  # fmt: skip


@examples(250)
@given(
    changes=st.dictionaries(
        st.sampled_from([*LINK, "sample", "from", "map", "before", "spacing_km", "?"]), texts, max_size=5
    )
)
def test_links_of_any_text(changes: dict[str, str]) -> None:
    params = LINK | changes
    parsed = read_query(params, samples=SAMPLES, countries=COUNTRIES, layers=LAYERS)
    assert all(text.startswith("Left out of the link, ") for text in parsed.complaints)
    written = write_query(parsed.query)
    again = read_query(written, samples=SAMPLES, countries=COUNTRIES, layers=LAYERS)
    assert not again.complaints
    assert write_query(again.query) == written  # what the app writes, it reads as the same
    assert isinstance(again.query, PageQuery)


QUERY = Query.examples(
    [Query.place(12.5, 41.9), Query.cell("841e805ffffffff")], [Query.tile("x")], background=100, seed=3
)
MIX = Query.mix([(1.0, Query.place(1, 2)), (-0.5, Query.from_vector([0.6, 0.8], fingerprint="a" * 64))])


@examples(300)
@given(document=st.one_of(anything, changed(query_data(QUERY)), changed(query_data(MIX))))
def test_queries_of_any_json(document: Any) -> None:
    with suppress(SamewhereError):
        query = Query.from_json(json.dumps(document))
        again = Query.from_json(query.to_json())
        assert again == query
        assert again.to_json() == query.to_json()


@examples(150)
@given(text=texts | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_queries_of_no_json(text: str) -> None:
    with suppress(SamewhereError):
        query = Query.from_json(text)
        assert Query.from_json(query.to_json()) == query


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"kind":' * 50_000, "9" * 100_000, '{"kind": "place", "lonlat": [1e400, NaN]}']
)
def test_queries_that_break_parsers(text: str) -> None:
    with pytest.raises(SamewhereError):
        Query.from_json(text)


REQUEST: dict[str, Any] = {
    "query": query_data(Query.place(12.5, 41.9)),
    "where": {
        "bbox": [170, -20, -170, 20],
        "polygon": {"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [10, 10], [0, 0]]]},
        "countries": ["ITA"],
        "after": "2021-06-30",
        "compare": [["elevation", ">", 100]],
    },
}


@examples(250)
@given(document=st.one_of(anything, changed(REQUEST)))
def test_requests_of_any_json(document: Any) -> None:
    with suppress(SamewhereError):
        request = read_request(document)
        hash(request.where)  # answers are kept by it
        assert read_request(json.loads(json.dumps(request.to_json()))).where == request.where


RECIPE = Path(__file__).parents[2] / "configs" / "blue-marble-l40.yaml"


@examples(120)
@given(
    cut=st.integers(0, 10_000),
    put=texts | st.sampled_from(["[" * 2000, "a: 2001-99-99", "&a [*a]", "? [x]\n: 1", "kind: [1]"]),
)
def test_recipes_of_any_text(cut: int, put: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    text = next(iter(sorted(RECIPE.parent.glob("*.yaml")))).read_text("utf-8")
    path = tmp_path_factory.getbasetemp() / "recipe.yaml"
    at = cut % (len(text) + 1)
    path.write_text(text[:at] + put + text[at + (cut % 7) :], "utf-8", errors="replace")
    with suppress(CheckpointError):
        recipe, options = read_config(path)
        assert isinstance(recipe.batch, int)
        assert isinstance(options, RunOptions)
        assert json.loads(json.dumps(dataclasses.asdict(recipe), default=str))  # plain values, as a card keeps them


def test_a_recipe_of_a_billion_laughs_costs_a_short_sentence(tmp_path: Path) -> None:
    lines = ["kind: &a0 [lol, lol]", *(f"k{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    path = tmp_path / "recipe.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(CheckpointError) as caught:
        read_config(path)
    path.write_text("kind: blue-marble\n" + "\n".join(lines).replace("kind", "k0") + "\nbatch: *a11\n")
    with pytest.raises(CheckpointError) as later:
        read_config(path)
    assert len(str(caught.value)) + len(str(later.value)) < 4000


def test_layers_named_here_exist() -> None:
    assert set(LAYERS) <= set(atlas.names())

"""Queries by themselves: what may be put together, and the way through JSON and back."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data.errors import CoordinateError, QueryError
from data.geo import cell_lonlat, hex_to_cell
from data.patch import Patch
from indexer.query import MAX_DEPTH, MAX_INGREDIENTS, Query

CELL = "841e805ffffffff"
ROME, LIMA = Query.place(12.49, 41.89), Query.place(-77.04, -12.05)


def a_patch(seed: int = 0, **known: Any) -> Patch:
    rng = np.random.default_rng(seed)
    pixels = rng.normal(2, 3, (3, 9, 8)).astype(np.float32)
    pixels[:, 0, :3] = np.nan
    return Patch(pixels=pixels, bands=("B04", "B03", "B02"), **known)


FULL = a_patch(
    lonlat=(12.5, 41.9),
    gsd_m=10.0,
    acquired=datetime(2023, 6, 1, 10, 0, 0, 123456, tzinfo=UTC),
    source="a.tif",
    footprint=np.array([[179.9, 1], [180.1, 1], [180.1, 0], [179.9, 0.1]]),
)

numbers = st.floats(-1e3, 1e3).filter(lambda value: abs(value) > 1e-6)
leaves = st.one_of(
    st.builds(Query.place, st.floats(-180, 180), st.floats(-90, 90)),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200).map(Query.tile),
    st.sampled_from([CELL, "8075fffffffffff", "89" + CELL[2:7] + "0003ffff"[:8]][:2]).map(Query.cell),
    st.lists(numbers, min_size=1, max_size=6).map(lambda row: Query.from_vector(row, fingerprint="0f" * 32)),
    st.integers(0, 3).map(lambda seed: Query.image(a_patch(seed))),
    st.just(Query.image(FULL)),
)
mixes = st.lists(st.tuples(numbers, leaves), min_size=1, max_size=4).map(Query.mix)
deep = st.lists(st.tuples(numbers, st.one_of(leaves, mixes)), min_size=1, max_size=4).map(Query.mix)
anys = st.lists(st.one_of(leaves, deep), min_size=1, max_size=3).map(Query.any_of)
taught = st.builds(
    Query.examples,
    st.lists(leaves, min_size=1, max_size=4),
    st.lists(leaves, max_size=3),
    background=st.integers(1, 10_000),
    seed=st.integers(0, 2**32 - 1),
)
queries = st.one_of(leaves, deep, anys, taught)


@settings(max_examples=150, deadline=None)
@given(query=queries)
def test_json_gives_back_the_same_query(query: Query) -> None:
    text = json.dumps(query.to_json(), allow_nan=False)
    again = Query.from_json(text)
    assert again == query and hash(again) == hash(query)
    assert Query.from_json(query.to_json()) == query == Query.from_json(text.encode())
    assert again.places == query.places and again.lonlat == query.lonlat and again.depth == query.depth
    for (sign, mine), (other_sign, theirs) in zip(query.leaves(), again.leaves(), strict=True):
        assert (sign, mine.kind, mine.id, mine.vector) == (other_sign, theirs.kind, theirs.id, theirs.vector)


def test_an_image_comes_back_with_all_that_is_known_of_it() -> None:
    again = Query.from_json(json.dumps(Query.image(FULL).to_json())).patch
    assert again is not None
    np.testing.assert_array_equal(again.pixels, FULL.pixels)  # NaN included
    np.testing.assert_array_equal(again.footprint, FULL.footprint)
    for name in ("bands", "lonlat", "gsd_m", "acquired", "source"):
        assert getattr(again, name) == getattr(FULL, name)
    assert again.pixels.dtype == np.float32
    packed = base64.b64decode(Query.image(FULL).to_json()["npz"])
    np.testing.assert_array_equal(np.load(io.BytesIO(packed), allow_pickle=False)["pixels"], FULL.pixels)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = (
    *("kind", "lonlat", "id", "vector", "fingerprint", "parts", "queries", "positives", "negatives", "background"),
    *("seed", "weight", "query", "npz", "bands", "gsd_m", "acquired", "source", "footprint"),
)
key_names = st.sampled_from(KEYS)
kind_names = st.sampled_from(["place", "image", "tile", "cell", "vector", "mix", "any_of", "examples"])
near_misses = st.recursive(
    st.one_of(json_values, kind_names),
    lambda inner: (
        st.builds(lambda kind, rest: {"kind": kind, **rest}, kind_names, st.dictionaries(key_names, inner, max_size=5))
        | st.lists(inner, max_size=3)
    ),
    max_leaves=20,
)


@settings(max_examples=400, deadline=None)
@given(value=near_misses)
def test_any_json_is_a_query_or_a_sentence(value: Any) -> None:
    try:
        query = Query.from_json(value)
    except QueryError as error:
        message = str(error)
        assert message[-1] in ".?…)" and len(message) < 1000
    else:
        assert Query.from_json(query.to_json()) == query


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(query=queries, data=st.data())
def test_a_damaged_query_is_a_query_or_a_sentence(query: Query, data: st.DataObject) -> None:
    value = query.to_json()
    spots = list(_spots(value))
    holder, key = data.draw(st.sampled_from(spots))
    if data.draw(st.booleans()):
        del holder[key]
    else:
        holder[key] = data.draw(json_values)
    try:
        assert isinstance(Query.from_json(value), Query)
    except QueryError as error:
        message = str(error)
        assert message.startswith("query")


def _spots(value: Any) -> Any:
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _spots(value[key])


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_flipped_byte_in_the_pixels_is_a_sentence_or_harmless(data: st.DataObject) -> None:
    value = Query.image(FULL).to_json()
    packed = bytearray(base64.b64decode(value["npz"]))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    value["npz"] = base64.b64encode(packed).decode()
    try:
        patch = Query.from_json(value).patch
    except QueryError as error:
        message = str(error)
        assert message.startswith("query")
    else:
        assert patch is not None and patch.pixels.shape == FULL.pixels.shape


def npz_of(array: Any, name: str = "pixels.npy") -> str:
    stream, archive = io.BytesIO(), io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, stream.getvalue())
    return base64.b64encode(archive.getvalue()).decode()


def bomb() -> str:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file, file.open("pixels.npy", "w") as member:
        for _ in range(51):
            member.write(bytes(4_000_000))
    return base64.b64encode(archive.getvalue()).decode()


def nested(levels: int) -> dict[str, Any]:
    query: dict[str, Any] = ROME.to_json()
    for _ in range(levels - 1):
        query = {"kind": "mix", "parts": [{"weight": 1, "query": query}]}
    return query


IMAGE = Query.image(FULL).to_json()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"\xff{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("9" * 10_000, "not JSON"),
        (" " * (32 * 2**20 + 1), "32 MB"),
        ([], "query: expected an object, got a list of 0"),
        ({"kind": "town"}, "its kind is 'town'; expected one of place, image"),
        ({"kind": "place"}, "needs lonlat"),
        ({"kind": "place", "lonlat": [1, 2], "k": 3}, "has no 'k'; remove it"),
        ({"kind": "place", "lonlat": [41.9, 112.5]}, "swapped"),
        ({"kind": "place", "lonlat": [float("nan"), 0]}, "finite number"),
        ({"kind": "place", "lonlat": [10**400, 0]}, "many digits"),
        ({"kind": "place", "lonlat": [True, 0]}, "finite number, got True"),
        ({"kind": "tile", "id": ""}, "1 to 200 characters, got 0"),
        ({"kind": "tile", "id": "\ud800"}, "Unicode"),
        ({"kind": "cell", "id": "rome"}, "not an H3 cell"),
        ({"kind": "vector", "vector": [0, 0]}, "have a direction"),
        ({"kind": "vector", "vector": [1], "fingerprint": "abc"}, "64 hex digits"),
        ({"kind": "mix", "parts": []}, "at least one"),
        ({"kind": "mix", "parts": [{"weight": 0, "query": ROME.to_json()}]}, "weight is 0"),
        ({"kind": "mix", "parts": [{"weight": 1}]}, r"query.parts\[0\]: expected a weight and a query"),
        ({"kind": "any_of", "queries": [ROME.to_json(), {"kind": "place", "lonlat": 3}]}, r"queries\[1\].lonlat"),
        ({"kind": "any_of", "queries": [ROME.to_json()] * 65}, "65 entries; at most 64"),
        ({"kind": "any_of", "queries": [{"kind": "any_of", "queries": [ROME.to_json()] * 33}] * 2}, "66 ingredients"),
        (nested(MAX_DEPTH + 1), "levels"),
        ({"kind": "examples", "positives": [ROME.to_json()], "background": 0}, "told apart"),
        ({"kind": "examples", "positives": [ROME.to_json()], "background": 2.5}, "background is 2.5"),
        (IMAGE | {"npz": npz_of(np.array([{}], dtype=object))}, "archive with float32 pixels"),
        (IMAGE | {"npz": npz_of(np.ones((3, 9, 8)))}, "type float64"),
        (IMAGE | {"npz": npz_of(np.ones((3, 9, 8), np.float32), name="x.npy")}, "pixels.npy"),
        (IMAGE | {"npz": "no base64!"}, "NumPy archive"),
        (IMAGE | {"npz": bomb()}, "50 million"),
        (IMAGE | {"bands": ["B04", "B03"]}, "3 bands but 2 band names"),
        (IMAGE | {"gsd_m": -1}, "positive number of metres"),
        (IMAGE | {"acquired": "yesterday"}, "write a time"),
        (IMAGE | {"footprint": [[0, 0]]}, "1 corners"),
    ],
)
def test_what_is_no_query_is_a_sentence(value: Any, words: str) -> None:
    with pytest.raises(QueryError, match=words):
        Query.from_json(value)


def test_four_levels_and_64_ingredients_are_fine() -> None:
    assert Query.from_json(nested(MAX_DEPTH)).depth == MAX_DEPTH
    assert len(list(Query.any_of([ROME] * MAX_INGREDIENTS).leaves())) == MAX_INGREDIENTS


def test_combinations_without_a_meaning_are_refused() -> None:
    taught, either = Query.examples([ROME], [LIMA]), Query.any_of([ROME, LIMA])
    for make, words in [
        (lambda: Query.mix([(1, either)]), "mix cannot hold any_of"),
        (lambda: Query.mix([(1, taught)]), "mix cannot hold examples"),
        (lambda: Query.any_of([taught]), "any_of cannot hold examples"),
        (lambda: Query.examples([Query.mix([(1, ROME)])]), "examples cannot hold mix"),
        (lambda: Query.examples([]), "at least one positive"),
        (lambda: Query.mix([(float("nan"), ROME)]), "weight is nan"),
        (lambda: Query.mix([(True, ROME)]), "weight is True"),
        (lambda: Query.mix([(1, "Rome")]), "must be a Query, got str"),  # type: ignore[list-item]
        (lambda: Query.from_vector([[1.0]]), "shape"),
        (lambda: Query.from_vector([float("inf")]), "finite"),
        (lambda: Query.tile("x" * 201), "201 characters"),
        (lambda: Query.examples([ROME], seed=-1), "seed is -1"),
    ]:
        with pytest.raises(QueryError, match=words):
            make()
    with pytest.raises(CoordinateError, match="swapped"):
        Query.place(41.89, 112.49)


def test_where_a_combination_lies_is_where_what_it_likes_lies() -> None:
    assert ROME.places == (ROME.lonlat,)
    assert ROME.like(ROME).unlike(LIMA).places == (ROME.lonlat,) == (ROME.like(ROME).unlike(LIMA).lonlat,)
    both = Query.any_of([ROME, LIMA, Query.image(a_patch()), Query.tile("t")])
    assert both.places == (ROME.lonlat, LIMA.lonlat) and both.lonlat is None
    against = Query.mix([(1, ROME), (-1, Query.mix([(1, ROME), (-1, LIMA)]))])  # unlike an unlike is a like
    assert against.places == (ROME.lonlat, LIMA.lonlat)
    assert Query.examples([LIMA], [ROME]).lonlat == LIMA.lonlat
    np.testing.assert_allclose(Query.cell(CELL).lonlat, cell_lonlat([hex_to_cell(CELL)])[0])


def test_like_and_unlike_lengthen_one_mix() -> None:
    query = ROME.like(LIMA, weight=2).unlike(Query.tile("t"), weight=0.5)
    assert [(weight, part.kind) for weight, part in query.parts] == [(1, "place"), (2, "place"), (-0.5, "tile")]


@settings(deadline=None)
@example(row=[0.99999])
@given(row=st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=8))
def test_a_vector_has_unit_length(row: list[float]) -> None:
    if not any(row):
        return
    query = Query.from_vector(row)
    vector = np.array(query.vector, dtype=np.float32)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    cosine = vector @ (np.array(row) / np.abs(row).max()) / np.linalg.norm(np.array(row) / np.abs(row).max())
    assert cosine == pytest.approx(1, abs=1e-5)
    assert Query.from_vector(query.vector) == query  # no bit changes at the second time

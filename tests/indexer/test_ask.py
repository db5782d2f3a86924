"""The meaning of the algebra, against NumPy in float64: sums, maxima and a classifier over stored rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit

from data.errors import QueryError
from data.patch import Patch
from indexer.ask import L2, Asked, learn, resolve
from indexer.query import Query
from tests.indexer.standin import DIM, StandInPair

PAIR = StandInPair()
HALF = DIM // 2
PARTS = {"smooth": slice(0, HALF), "sharp": slice(HALF, DIM), "both": slice(0, DIM)}
DEFAULTS = {"place": "smooth", "image": "both", "tile": "sharp", "cell": "smooth", "vector": "both", "examples": "both"}
RNG = np.random.default_rng(5)
LONLAT = np.stack([RNG.uniform(-180, 180, 400), RNG.uniform(-90, 90, 400)], axis=1)
ROWS = PAIR.encode_location(LONLAT)
PLACES = {f"t{number}": tuple(LONLAT[number].tolist()) for number in range(400)}
CELLS = ["841e805ffffffff", "8075fffffffffff"]


def stored(kind: str, name: str) -> NDArray[np.float32]:
    if kind == "tiles":
        return np.asarray(ROWS[int(name[1:])])
    return np.asarray(ROWS[200 + CELLS.index(name)])


def background(count: int, seed: int) -> NDArray[np.float32]:
    return np.asarray(ROWS[np.random.default_rng(seed).integers(0, len(ROWS), count)])


def ask(query: Query, **more: Any) -> Asked:
    tools: dict[str, Any] = {
        "encode_place": PAIR.encode_location,
        "encode_image": PAIR.encode_image,
        "stored": stored,
        "background": background,
        "reweight": PAIR.reweight,
        "default_view": DEFAULTS.__getitem__,
        "tile_place": PLACES.__getitem__,
    }
    return resolve(query, **(tools | more))


def scores(query: Query, **more: Any) -> NDArray[np.float64]:
    asked = ask(query, **more)
    assert asked.vectors.dtype == np.float32 and asked.vectors.ndim == 2
    return np.asarray(asked.score((asked.vectors @ ROWS.T).max(axis=0)), dtype=np.float64)


def patch(seed: int) -> Patch:
    return Patch(
        pixels=np.random.default_rng(seed).uniform(0, 1, (3, 8, 8 + seed)).astype(np.float32),
        bands=("B04", "B03", "B02"),
    )


def cosine(vector: NDArray[np.float32], view: str) -> NDArray[np.float64]:
    mine, theirs = vector[PARTS[view]].astype(np.float64), ROWS[:, PARTS[view]].astype(np.float64)
    return np.asarray(theirs @ mine / np.linalg.norm(theirs, axis=1) / np.linalg.norm(mine))


def vector_of(query: Query) -> NDArray[np.float32]:
    if query.kind == "place":
        return np.asarray(PAIR.encode_location([query.lonlat])[0])
    if query.kind == "image":
        return np.asarray(PAIR.encode_image(query.patch)[0])
    if query.kind == "vector":
        return np.array(query.vector, dtype=np.float32)
    return stored(f"{query.kind}s", query.id or "")


def expected(query: Query, view: str | None = None) -> NDArray[np.float64]:
    """The definition, recursively."""
    if query.kind == "mix":
        weights = [weight for weight, _ in query.parts]
        each = [expected(part, view) for _, part in query.parts]
        return np.asarray(np.average(np.sign(weights)[:, None] * each, axis=0, weights=np.abs(weights)))
    if query.kind == "any_of":
        return np.asarray(np.max([expected(part, view) for _, part in query.parts], axis=0))
    return cosine(vector_of(query), view or DEFAULTS[query.kind])


numbers = st.floats(-5, 5).filter(lambda value: abs(value) > 0.01)
leaves = st.one_of(
    st.builds(Query.place, st.floats(-180, 180), st.floats(-90, 90)),
    st.integers(0, 199).map(lambda number: Query.tile(f"t{number}")),
    st.sampled_from(CELLS).map(Query.cell),
    st.integers(0, 4).map(lambda seed: Query.image(patch(seed))),
    st.integers(0, 399).map(lambda number: Query.from_vector(ROWS[number])),
)
mixes = st.lists(st.tuples(numbers, leaves), min_size=1, max_size=5).map(Query.mix)
deep = st.lists(st.tuples(numbers, st.one_of(leaves, mixes)), min_size=1, max_size=4).map(Query.mix)
anys = st.lists(st.one_of(leaves, deep), min_size=1, max_size=4).map(Query.any_of)
anys_of_mixes = st.lists(st.one_of(leaves, mixes), min_size=1, max_size=4).map(Query.any_of)
nested_anys = st.lists(st.one_of(leaves, anys_of_mixes), min_size=1, max_size=3).map(Query.any_of)


@settings(max_examples=150, deadline=None)
@given(query=st.one_of(leaves, deep, anys, nested_anys), view=st.sampled_from([None, *PARTS]))
def test_scores_are_weighted_means_and_maxima_of_cosines(query: Query, view: str | None) -> None:
    try:
        found = scores(query, view=view)
    except QueryError as error:
        message = str(error)
        assert "cancel" in message
        return
    np.testing.assert_allclose(found, expected(query, view), atol=2e-6)
    again = Query.from_json(json.dumps(query.to_json()))
    np.testing.assert_array_equal(ask(again, view=view).vectors, ask(query, view=view).vectors)


def test_a_mix_is_known_by_hand() -> None:
    a, b = Query.tile("t1"), Query.tile("t2")
    found = scores(Query.mix([(1.0, a), (-0.5, b)]), view="both")
    np.testing.assert_allclose(found, (ROWS @ ROWS[1] - 0.5 * ROWS @ ROWS[2]) / 1.5, atol=1e-6)
    np.testing.assert_allclose(scores(Query.mix([(3, a)])), scores(a), atol=1e-7)  # its size does not matter


def test_what_cancels_out_is_a_sentence() -> None:
    with pytest.raises(QueryError, match="cancel each other out"):
        ask(Query.tile("t1").unlike(Query.tile("t1")))


def test_encoders_run_once_each_and_only_where_needed() -> None:
    calls: list[int] = []

    def once(name: str) -> Callable[..., Any]:
        def run(given: Any) -> Any:
            calls.append(len(given))
            return getattr(PAIR, name)(given)

        return run

    rome, lima, image = Query.place(12, 42), Query.place(-77, -12), Query.image(patch(0))
    query = Query.any_of([rome, image, Query.mix([(1, lima), (1, Query.image(patch(1)))]), Query.tile("t3")])
    asked = ask(query, encode_place=once("encode_location"), encode_image=once("encode_image"))
    assert calls == [2, 2] and asked.vectors.shape == (4, DIM)
    calls.clear()
    ask(Query.tile("t3"), encode_place=once("encode_location"), encode_image=once("encode_image"))
    assert calls == []


def test_views_places_and_own_rows() -> None:
    tile, cell, rome = Query.tile("t3"), Query.cell(CELLS[0]), Query.place(12, 42)
    assert (ask(tile).view, ask(rome).view, ask(rome.like(tile)).view) == ("sharp", "smooth", "")
    assert ask(rome.like(tile), view="both").view == "both"
    asked = ask(rome.like(tile).like(cell).unlike(Query.tile("t9")))
    assert asked.places == (rome.lonlat, PLACES["t3"], cell.lonlat)  # not of what it is unlike
    assert asked.own_ids("tiles") == ("t3", "t9") and asked.own_ids("cells") == (CELLS[0],)
    assert ask(tile, tile_place=None).places == ()


def test_vectors_of_another_checkpoint_are_refused() -> None:
    mine, other = Query.from_vector(ROWS[0], fingerprint="a" * 64), Query.from_vector(ROWS[0], fingerprint="b" * 64)
    np.testing.assert_allclose(scores(mine, fingerprint="a" * 64), ROWS @ ROWS[0], atol=1e-6)
    with pytest.raises(QueryError, match=r"checkpoint bbbb.*index by aaaa"):
        ask(other, fingerprint="a" * 64)
    with pytest.raises(QueryError, match="lengths 3, 16"):
        ask(Query.from_vector([1, 2, 3]).like(Query.tile("t1")))


def test_two_opposite_examples_have_a_closed_form() -> None:
    x = np.zeros((1, DIM), dtype=np.float32)
    x[0, 3] = 1
    vector, bias = learn(x, -x, x[:0], lambda rows: rows)
    length = brentq(lambda a: L2 * a - expit(-a), 0, 100)  # d/da of log(1 + exp(-a)) + L2/2·a² is 0
    assert vector[3] == pytest.approx(length, rel=1e-5) and np.abs(np.delete(vector, 3)).max() == 0
    assert bias == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("view", list(PARTS))
def test_examples_minimise_the_penalised_loss_in_their_view(view: str) -> None:
    positives, negatives = [Query.tile(f"t{n}") for n in (1, 2, 3)], [Query.tile(f"t{n}") for n in (50, 60)]
    asked = ask(Query.examples(positives, negatives, background=40, seed=9), view=view)
    products = (asked.vectors @ ROWS.T)[0].astype(np.float64)
    probability = asked.score(products.astype(np.float32)).astype(np.float64)
    bias = np.median(logit(probability) - products)
    part = ROWS[:, PARTS[view]].astype(np.float64)
    part /= np.linalg.norm(part, axis=1, keepdims=True)
    direction = np.linalg.lstsq(part, products, rcond=None)[0]  # the products as a function of what the view sees
    np.testing.assert_allclose(part @ direction, products, atol=1e-4)
    drawn = np.random.default_rng(9).integers(0, len(ROWS), 40)
    rows = np.r_[1, 2, 3, 50, 60, drawn]
    signs = np.r_[np.ones(3), -np.ones(42)]
    share = np.r_[np.full(3, 0.5 / 3), np.full(2, 0.25 / 2), np.full(40, 0.25 / 40)]
    residual = share * signs * expit(-signs * (part[rows] @ direction + bias))
    np.testing.assert_allclose(part[rows].T @ residual, L2 * direction, atol=1e-5)  # the gradient is 0
    assert residual.sum() == pytest.approx(0, abs=1e-5)


def test_examples_separate_what_can_be_separated() -> None:
    direction = ROWS[7].astype(np.float64)
    order = np.argsort(ROWS @ direction)
    low, high = order[:80], order[-80:]
    positives = [Query.from_vector(ROWS[row]) for row in high[::5]]
    negatives = [Query.from_vector(ROWS[row]) for row in low[::5]]
    found = scores(Query.examples(positives, negatives, background=0))
    assert found[high].min() > 0.5 > found[low].max()
    assert np.all((found >= 0) & (found <= 1))


def test_examples_keep_the_order_of_products_and_forget_that_of_examples() -> None:
    positives, negatives = [Query.tile(f"t{n}") for n in range(5)], [Query.tile(f"t{n}") for n in range(100, 108)]
    query = Query.examples(positives, negatives, background=200)
    asked = ask(query)
    products = np.sort((asked.vectors @ ROWS.T)[0])
    assert np.all(np.diff(asked.score(products)) >= 0)
    turned = Query.examples(positives[::-1], negatives[::-1], background=200)
    np.testing.assert_allclose(scores(turned), scores(query), atol=1e-5)
    np.testing.assert_array_equal(ask(query).vectors, asked.vectors)
    assert set(asked.own_ids("tiles")) == {f"t{n}" for n in [*range(5), *range(100, 108)]}
    assert asked.places == tuple(PLACES[f"t{n}"] for n in range(5))

"""Exact search: every way of reading rows gives the answer of a sort over float64 products."""

from __future__ import annotations

import gc
from pathlib import Path

import faiss
import numpy as np
import pytest

from indexer.planner import Route
from indexer.rowset import RowSet
from indexer.vectors import VectorIndex, inner_products, write_vectors

COUNT, DIM = 5000, 24


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Unit rows, some of them doubled."""
    made = np.random.default_rng(0).normal(size=(COUNT, DIM)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    made[3000:3010] = made[100]
    return made


@pytest.fixture(scope="module")
def index(rows: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> VectorIndex:
    """The same, mapped from a file."""
    path = tmp_path_factory.mktemp("vectors") / "x.faiss"
    with path.open("wb") as file:
        write_vectors(file, np.array_split(rows, 7), dim=DIM, count=COUNT)
    return VectorIndex(path, count=COUNT, dim=DIM)


def test_the_file_is_faiss_s_own(rows: np.ndarray, tmp_path: Path) -> None:
    theirs = faiss.IndexFlatIP(DIM)
    theirs.add(rows)
    faiss.write_index(theirs, str(tmp_path / "theirs"))
    with (tmp_path / "mine").open("wb") as file:
        write_vectors(file, [rows], dim=DIM, count=COUNT)
    assert (tmp_path / "mine").read_bytes() == (tmp_path / "theirs").read_bytes()
    with pytest.raises(ValueError, match="announced"), (tmp_path / "short").open("wb") as file:
        write_vectors(file, [rows], dim=DIM, count=COUNT + 1)


def test_rows_come_back(index: VectorIndex, rows: np.ndarray) -> None:
    np.testing.assert_array_equal(index.array, rows)
    np.testing.assert_array_equal(index.take(np.array([5, 3])), rows[[5, 3]])
    np.testing.assert_array_equal(index.block(10, 5), rows[10:15])
    np.testing.assert_array_equal(index.row(7), rows[7])


@pytest.mark.parametrize("route", [None, "all", "scan", "gather"])
@pytest.mark.parametrize("queries", [1, 3])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.9, 1.0])
def test_every_route_gives_the_sorted_ranking(
    index: VectorIndex, rows: np.ndarray, route: Route | None, queries: int, share: float
) -> None:
    rng = np.random.default_rng(int(1000 * share) + queries)
    asked = rows[rng.choice(COUNT, queries)] + rng.normal(size=(queries, DIM)).astype(np.float32) / 10
    mask = rng.random(COUNT) < share
    among = None if share == 1 else RowSet.from_mask(mask)
    found, scores = index.search(asked, 25, among=among, route=route)
    every = index.scores(asked)
    np.testing.assert_allclose(every, (asked.astype(float) @ rows.T.astype(float)).max(axis=0), atol=1e-5)
    allowed = np.arange(COUNT) if among is None else np.flatnonzero(mask)
    best = allowed[np.lexsort((allowed, -every[allowed]))][:25]
    np.testing.assert_array_equal(found, best)
    np.testing.assert_array_equal(scores, every[best])


def test_equals_are_answered_lower_row_first(index: VectorIndex, rows: np.ndarray) -> None:
    found, _ = index.search(rows[100], 4)
    assert found.tolist() == [100, 3000, 3001, 3002]
    assert index.search(rows[:1], 5, among=RowSet.from_rows([]))[0].tolist() == []


@pytest.mark.parametrize("queries", [1, 33, 300])
@pytest.mark.parametrize("k", [1, 12, 1500])
def test_a_batch_is_ranked_as_faiss_ranks_it(index: VectorIndex, rows: np.ndarray, queries: int, k: int) -> None:
    rng = np.random.default_rng(queries)
    asked = rng.normal(size=(queries, DIM)).astype(np.float32)
    found, scores = index.search_batch(asked, k)
    truth = (asked.astype(float) @ rows.T.astype(float)).astype(np.float32)
    np.testing.assert_allclose(scores, -np.sort(-truth, axis=1)[:, :k], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(truth, found, axis=1), scores, atol=1e-5)
    assert all(len(set(line)) == k for line in found.tolist())


def test_a_batch_of_more_than_there_are(index: VectorIndex, rows: np.ndarray) -> None:
    found, scores = index.search_batch(rows[100:101], COUNT + 5)
    assert (found[0, -5:] == -1).all() and np.isneginf(scores[0, -5:]).all()
    assert sorted(found[0, :-5].tolist()) == list(range(COUNT))
    assert found[0, :4].tolist() == [100, 3000, 3001, 3002]
    assert index.search_batch(rows[:0], 3)[0].shape == (0, 3)


def test_many_rows_are_read_by_all_cores_with_the_same_bits(
    index: VectorIndex, rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = index.scores(rows[5:7])
    some = RowSet.from_rows(np.arange(0, COUNT, 3))
    found = index.search(rows[5:7], 100, among=some, route="gather")
    monkeypatch.setattr("indexer.vectors.SHARED_BYTES", 1)
    np.testing.assert_array_equal(index.scores(rows[5:7]), alone)
    for now, before in zip(index.search(rows[5:7], 100, among=some, route="gather"), found, strict=True):
        np.testing.assert_array_equal(now, before)


def test_an_array_outlives_the_index_that_gave_it(rows: np.ndarray, tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        write_vectors(file, [rows], dim=DIM, count=COUNT)
    array = VectorIndex(tmp_path / "x", count=COUNT, dim=DIM).array
    last = array[-7:]
    gc.collect()
    np.testing.assert_array_equal(array, rows)
    del array
    gc.collect()
    np.testing.assert_array_equal(last, rows[-7:])
    with pytest.raises(ValueError, match="read-only"):
        last[0, 0] = 1


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 8, 33, 256])
def test_single_rows_have_the_bits_of_rows_in_a_run(dim: int) -> None:
    rng = np.random.default_rng(dim)
    rows, queries = (rng.normal(size=(n, dim)).astype(np.float32) for n in (301, 2))
    chosen = np.array([3, 4, 5, 77, 300], dtype=np.int64)
    np.testing.assert_array_equal(inner_products(queries, rows, chosen), inner_products(queries, rows)[chosen])
    assert inner_products(queries, rows, chosen[:0]).shape == (0,)

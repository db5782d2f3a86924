"""The embedding's own maps, against NumPy and brute force."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app import comparison, coverage, regions
from app.climates import CLIMATES, COLOURS
from app.mapped import class_colours
from data import atlas
from data.errors import QueryError
from data.geo import great_circle_km
from data.land import sample_land
from indexer import Query, SearchIndex
from tests.app.standin import StandInPair


@pytest.fixture
def vectors() -> np.ndarray:
    """Three tight clusters of unit vectors, of 300, 200 and 100."""
    rng = np.random.default_rng(3)
    centres = np.linalg.qr(rng.normal(size=(12, 12)))[0][:3]
    rows = np.concatenate(
        [centre + 0.05 * rng.normal(size=(n, 12)) for centre, n in zip(centres, (300, 200, 100), strict=True)]
    )
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_components_are_those_of_a_singular_value_decomposition(vectors: np.ndarray) -> None:
    found = regions.components(vectors)
    centred = vectors.astype(np.float64) - vectors.mean(axis=0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(found.explained, (values**2 / (values**2).sum())[:3], rtol=1e-5)
    for channel in range(3):
        score = centred @ axes[channel]
        inside = np.abs(score - np.median(score)) <= np.ptp(np.percentile(score, (5, 95)))
        together = np.corrcoef(score[inside], found.colours[inside, channel])[0, 1]
        assert abs(together) > 0.98


def test_k_means_finds_clusters_and_orders_them_by_size(vectors: np.ndarray) -> None:
    found = regions.regions(vectors, 3)
    assert np.bincount(found.labels).tolist() == [300, 200, 100]
    np.testing.assert_array_equal(found.labels, np.repeat([0, 1, 2], [300, 200, 100]))
    np.testing.assert_allclose(found.shares, [0.5, 1 / 3, 1 / 6])
    assert [found.labels[row] for row in found.typical] == [0, 1, 2]
    brute = np.array(
        [[(vectors[found.labels == a] @ vectors[found.labels == b].T).mean() for b in range(3)] for a in range(3)]
    )
    np.testing.assert_allclose(found.alike, brute, atol=1e-5)
    np.testing.assert_array_equal(regions.regions(vectors, 3).labels, found.labels)


@pytest.mark.parametrize("k", [0, 1, 13, 10_000])
def test_too_few_or_many_regions_are_refused(vectors: np.ndarray, k: int) -> None:
    with pytest.raises(QueryError):
        regions.regions(vectors, k)


def test_the_similarity_of_two_sets_is_the_mean_over_all_pairs(vectors: np.ndarray) -> None:
    one, other = np.arange(600) < 250, np.arange(600) % 7 == 0
    assert regions.similarity(vectors, one, other) == pytest.approx((vectors[one] @ vectors[other].T).mean(), abs=1e-6)
    with pytest.raises(QueryError):
        regions.similarity(vectors, one, np.zeros(600, dtype=bool))


def test_the_graph_is_of_nearest_neighbours(vectors: np.ndarray) -> None:
    places = np.zeros((600, 2))
    ids = np.full(600, 0x841E8A5FFFFFFFF, dtype=np.uint64)
    graph = regions.neighbours(vectors, places, ids, 17, count=4)
    assert graph.rows[0] == 17
    products = vectors @ vectors.T
    np.fill_diagonal(products, -2)
    first = np.argsort(-products[17])[:4]
    assert {int(graph.rows[b]) for a, b, _ in graph.edges if a == 0} >= set(first.tolist())
    wanted = {frozenset((17, int(n))) for n in first}
    wanted |= {frozenset((int(n), int(m))) for n in first for m in np.argsort(-products[n])[:4]}
    assert {frozenset((int(graph.rows[a]), int(graph.rows[b]))) for a, b, _ in graph.edges} == wanted
    for a, b, score in graph.edges:
        assert score == pytest.approx(float(products[graph.rows[a], graph.rows[b]]), abs=1e-6)


def test_neighbours_may_be_kept_apart(vectors: np.ndarray) -> None:
    rng = np.random.default_rng(8)
    places = np.stack([rng.uniform(-180, 180, 600), rng.uniform(-60, 60, 600)], axis=1)
    ids = np.full(600, 0x841E8A5FFFFFFFF, dtype=np.uint64)
    graph = regions.neighbours(vectors, places, ids, 17, count=4, apart_km=2000)
    mine = [b for a, b, _ in graph.edges if a == 0]
    assert len(mine) >= 4
    first = [int(graph.rows[b]) for b in mine[:4]]
    points = [places[17], *places[first]]
    assert min(float(great_circle_km(a, b)) for n, a in enumerate(points) for b in points[:n]) >= 2000
    products = vectors @ vectors[17]
    better = [n for n in np.argsort(-products) if n != 17 and products[n] > products[first[0]]]
    assert all(float(great_circle_km(places[n], places[17])) < 2000 for n in better)


def test_a_map_shows_each_cells_colour_and_nothing_at_sea() -> None:
    colours = np.array([[255, 0, 0], [0, 0, 255]], dtype=np.uint8)
    rows = np.repeat(np.repeat(np.array([[0, -1], [1, 0]], dtype=np.int32), 2, axis=0), 2, axis=1)
    shown = np.asarray(Image.open(io.BytesIO(regions.paint(colours, rows))))
    assert shown[..., 3].tolist() == [[regions.OPACITY, 0], [regions.OPACITY, regions.OPACITY]]
    assert shown[0, 0, :3].tolist() == shown[1, 1, :3].tolist() == [255, 0, 0]


def test_colours_of_regions_and_classes_differ() -> None:
    assert len(np.unique(regions.region_colours(np.arange(regions.K_MOST)), axis=0)) == regions.K_MOST
    assert len(np.unique(class_colours([str(number) for number in range(30)]), axis=0)) == 30
    assert class_colours(["BWh", "EF"]).tolist() == [[255, 0, 0], [102, 102, 102]]  # as climates are always drawn
    assert COLOURS.keys() == {code for code in CLIMATES if len(code) > 1}
    assert len(set(COLOURS.values())) == len(COLOURS)
    assert set(atlas.koppen_classes()) <= COLOURS.keys()


def test_places_are_compared_as_the_index_scores_them(home: Path) -> None:
    index = SearchIndex.open(home / "index", pair=StandInPair())
    places = np.array([[12.49, 41.89], [31.0, 30.8], [-93.5, 42.0]])
    found = comparison.similarities(index, places, view="both")
    np.testing.assert_allclose(np.diag(found), 1, atol=1e-5)
    cell = index.search(Query.place(31.0, 30.8), k=1)[0]
    near = comparison.similarities(index, np.array([[31.0, 30.8], [cell.lon, cell.lat]]), view="both")
    assert near[0, 1] == pytest.approx(cell.score, abs=1e-4)


def test_differences_are_ranked_by_the_land_between() -> None:
    found = comparison.differences(np.array([[86.92, 27.99], [12.49, 41.89]]))  # Everest and Rome
    assert [one.between for one in found] == sorted((one.between for one in found), reverse=True)
    land = atlas.sample("elevation", sample_land(8000, rng=np.random.default_rng(99)))
    low, high = sorted(atlas.sample("elevation", [[86.92, 27.99], [12.49, 41.89]]))
    height = next(one for one in found if one.title == "Elevation")
    assert height.between == pytest.approx(((land > low) & (land < high)).mean(), abs=0.03)
    rome = float(atlas.sample("temperature", [[12.49, 41.89]])[0])
    warm = next(one for one in found if one.title == "Temperature")
    assert f"{rome:.1f} °C" in warm.text
    assert comparison.distances_km(np.array([[0.0, 0], [1.0, 0]]))[0, 1] == pytest.approx(
        float(great_circle_km((0.0, 0), (1.0, 0)))
    )


@pytest.mark.parametrize("count", [0, 1, 7])
def test_too_few_or_many_places_are_refused(count: int) -> None:
    with pytest.raises(QueryError, match="2 to 6"):
        comparison.check_places([(float(n), 0.0) for n in range(count)])


def test_coverage_counts_every_row_once(home: Path) -> None:
    index = SearchIndex.open(home / "index", pair=StandInPair())
    found = coverage.measure(index)
    assert found.cells == len(index.cells()) == sum(row["Places"] for row in found.by_continent)
    assert found.images == len(index.tiles()) == sum(row["Images"] for row in found.by_source) == len(found.tiles)

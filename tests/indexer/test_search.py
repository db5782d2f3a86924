"""Search against brute force: NumPy over the Parquet rows, one row at a time, filters and spacing included."""

from __future__ import annotations

import io
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from data.blue_marble import BlueMarble
from data.errors import CheckpointError, CoordinateError, IndexStoreError, MissingDependencyError, QueryError
from data.geo import BBox, cell_to_hex, great_circle_km
from data.patch import Patch
from indexer import Compare, Query, SearchIndex, Where
from indexer.local import LocalStore
from indexer.select import pick_spaced
from indexer.snapshot import current_snapshot
from tests.indexer.standin import DIM, StandInPair

ROME = Query.place(12.49, 41.89)
PARTS = {"smooth": slice(0, DIM // 2), "sharp": slice(DIM // 2, DIM), "both": slice(0, DIM)}


def cosines(built: Path, index: SearchIndex, kind: str, query: Query, view: str) -> np.ndarray[Any, Any]:
    """What a view means: the cosine of the angle between its part of the query and of every stored row, in float64."""
    table = pq.read_table(current_snapshot(built) / f"{kind}.parquet")
    stored = np.array(table["embedding"].to_pylist(), dtype=np.float64)[:, PARTS[view]]
    asked = index.query_vector(query).astype(np.float64)[PARTS[view]]
    return np.asarray(stored @ asked / np.linalg.norm(stored, axis=1) / np.linalg.norm(asked))


def brute_force(
    index: SearchIndex,
    scores: np.ndarray[Any, Any],
    *,
    place: tuple[float, float],
    k: int,
    target: str,
    min_km: float,
    spacing_km: float,
    bbox: BBox | None,
    countries: list[str] | None,
) -> list[str]:
    """Hex ids of the right answer, by walking down the ranking."""
    table = index.cells() if target == "cells" else index.tiles()
    chosen: list[dict[str, Any]] = []
    rows = table.to_pylist()
    for number in np.argsort(-scores, kind="stable").tolist():
        row = rows[number]
        here = (row["lon"], row["lat"])
        if bbox is not None:
            wide = bbox.west <= here[0] <= bbox.east
            if bbox.west > bbox.east:
                wide = here[0] >= bbox.west or here[0] <= bbox.east
            if not (wide and bbox.south <= here[1] <= bbox.north):
                continue
        if countries is not None and row["country"] not in countries:
            continue
        if great_circle_km(here, place) < min_km:
            continue
        if any(great_circle_km(here, (other["lon"], other["lat"])) < spacing_km for other in chosen):
            continue
        chosen.append(row)
        if len(chosen) == k:
            break
    return [f"{row['id']:x}" if target == "cells" else row["id"] for row in chosen]


@pytest.mark.parametrize("view", ["smooth", "sharp", "both"])
def test_field_is_the_cosine_of_every_cell_in_the_view(index: SearchIndex, built: Path, view: str) -> None:
    field = index.field(ROME, view=view)
    assert field.dtype == np.float32
    np.testing.assert_allclose(field, cosines(built, index, "cells", ROME, view), atol=1e-6)


def test_views_differ_and_a_place_is_answered_in_both(index: SearchIndex) -> None:
    np.testing.assert_array_equal(index.field(ROME), index.field(ROME, view="both"))
    assert np.abs(index.field(ROME, view="smooth") - index.field(ROME, view="sharp")).max() > 0.1


boxes = st.tuples(st.floats(-180, 180), st.floats(-90, 60), st.floats(-180, 180), st.floats(5, 120)).map(
    lambda b: BBox(b[0], b[1], b[2], min(90.0, b[1] + b[3]))
)  # west > east in half of them


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lon=st.floats(-180, 179.9),
    lat=st.floats(-90, 90),
    k=st.integers(1, 40),
    target=st.sampled_from(["cells", "tiles"]),
    min_km=st.just(0.0) | st.floats(0, 20000),
    spacing_km=st.just(0.0) | st.floats(0, 20000),
    bbox=st.none() | boxes,
    countries=st.none() | st.lists(st.sampled_from(["RUS", "CAN", "BRA", "AUS", "ITA", "COD", "VAT"]), max_size=3),
    view=st.sampled_from(["smooth", "sharp", "both"]),
)
def test_any_search_is_the_brute_force_answer(
    index: SearchIndex, local: SearchIndex, lon: float, lat: float, **asked: Any
) -> None:
    query = Query.place(lon, lat)
    view, target = asked.pop("view"), asked["target"]
    hits = index.search(query, view=view, **asked)
    weighted = StandInPair().reweight(index.query_vector(query)[None], view)
    scores = local.store.scores(target, weighted)  # the bits that were ranked; right by the test above
    assert [hit.id for hit in hits] == brute_force(index, scores, place=(lon, lat), **asked)
    ids = index.store.table(target)["id"]
    names = cell_to_hex(ids.to_numpy()) if target == "cells" else ids.to_pylist()
    by_id = dict(zip(names, scores.tolist(), strict=True))
    for rank, hit in enumerate(hits, start=1):
        assert (hit.rank, hit.target, hit.score) == (rank, target, by_id[hit.id])
        assert hit.km == pytest.approx(float(great_circle_km((lon, lat), (hit.lon, hit.lat))), abs=1e-6)


def test_two_distances_are_both_kept(index: SearchIndex) -> None:
    paris = (2.35, 48.86)
    hits = index.search(ROME, min_km=500, where=Where(beyond=(paris, 1500.0)), k=50)
    assert len(hits) == 50
    for hit in hits:
        assert great_circle_km((hit.lon, hit.lat), paris) >= 1500
        assert hit.km is not None and hit.km >= 500
    assert min(great_circle_km((hit.lon, hit.lat), paris) for hit in index.search(ROME, min_km=500, k=50)) < 1500


def test_filters_take_any_sequence_and_no_text(index: SearchIndex) -> None:
    listed = index.search(ROME, where=Where(continents=["EU"], compare=[Compare("lat", ">", 50.0)]))  # type: ignore[arg-type]
    assert listed == index.search(ROME, where=Where(continents=("EU",), compare=(Compare("lat", ">", 50.0),)))
    with pytest.raises(QueryError, match=r"continents is 'EU'; give several values"):
        Where(continents="EU")  # type: ignore[arg-type]


def test_what_cannot_be_asked_is_closed_again(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(LocalStore, "close", lambda self: closed.append(self))
    with pytest.raises(CheckpointError):
        SearchIndex.open(built, checkpoint="unknown")
    with pytest.raises(IndexStoreError):
        SearchIndex.open(built, pair=StandInPair("other", "b" * 64))
    assert len(closed) == 2


def test_a_snapshots_name_is_of_directories_alone() -> None:
    with pytest.raises(IndexStoreError, match="keeps one index, none called 'clay'"):
        SearchIndex.open("s3://bucket/world", name="clay")


def test_a_box_across_the_antimeridian(index: SearchIndex) -> None:
    hits = index.search(ROME, bbox=BBox(170, -60, -170, 75), k=1000)
    lon = index.cells()["lon"].to_numpy()
    lat = index.cells()["lat"].to_numpy()
    assert len(hits) == int(((np.abs(lon) >= 170) & (lat >= -60) & (lat <= 75)).sum()) > 3
    assert {hit.lon > 0 for hit in hits} == {True, False}


def test_the_spaced_ranking_goes_on_until_enough_are_found_or_none_is_left(index: SearchIndex) -> None:
    near = index.search(ROME, k=10)
    spaced = index.search(ROME, k=10, spacing_km=2000)
    assert len(spaced) == 10
    assert spaced[0] == near[0]
    few = index.search(ROME, k=1000, spacing_km=8000)
    assert 3 <= len(few) < 12  # caps of 4000 km radius hold 9.5 % of the sphere each
    table = index.cells()
    lonlat = np.stack([table["lon"].to_numpy(), table["lat"].to_numpy()], axis=1)
    gaps = great_circle_km(lonlat[:, None], np.array([[hit.lon, hit.lat] for hit in few])[None]).min(axis=1)
    assert gaps.max() < 8000  # nothing that would still fit was left out


def test_pick_spaced_on_the_equator() -> None:
    degrees = np.array([0.0, 0.5, 1.0, 1.4, 2.0, -1.0])
    picked = pick_spaced(np.stack([degrees, np.zeros(6)], axis=1), 10, 6371.0088 * np.pi / 180 * 0.999)
    assert picked.tolist() == [0, 2, 4, 5]


def test_a_tile_finds_others_and_never_itself(index: SearchIndex, built: Path) -> None:
    tile = index.tiles()["id"].to_pylist()[40]
    everyone = index.search(Query.tile(tile), target="tiles", k=1000)
    assert len(everyone) == len(index.tiles()) - 1
    assert tile not in {hit.id for hit in everyone}
    np.testing.assert_allclose(
        [hit.score for hit in everyone],
        np.sort(np.delete(cosines(built, index, "tiles", Query.tile(tile), "both"), 40))[::-1],
        atol=1e-6,
    )
    far = index.search(Query.tile(tile), target="cells", k=1000, min_km=5000)
    assert min(hit.km for hit in far if hit.km is not None) >= 5000


def test_an_image_cut_at_a_tile_finds_that_tile_and_knows_its_distance(index: SearchIndex) -> None:
    row = index.tiles().slice(25, 1).to_pylist()[0]
    patch = BlueMarble.open().patch(row["lon"], row["lat"])
    scaled = Patch(pixels=patch.pixels * 255, bands=patch.bands, lonlat=patch.lonlat, gsd_m=patch.gsd_m)
    best = index.search(Query.image(scaled), target="tiles")[0]
    assert (best.id, best.source) == (row["id"], "blue-marble")
    assert best.score == pytest.approx(1, abs=1e-5)
    assert best.km == pytest.approx(0, abs=1e-6)
    nowhere = Query.image(Patch(pixels=scaled.pixels, bands=scaled.bands))
    assert all(hit.km is None for hit in index.search(nowhere))
    with pytest.raises(QueryError, match="not known"):
        index.search(nowhere, min_km=1)


def test_nearest_tiles_and_thumbnails(index: SearchIndex) -> None:
    rng = np.random.default_rng(3)
    points = np.stack([rng.uniform(-180, 180, 50), rng.uniform(-90, 90, 50)], axis=1)
    tiles = index.tiles()
    lonlat = np.stack([tiles["lon"].to_numpy(), tiles["lat"].to_numpy()], axis=1)
    nearest = great_circle_km(points[:, None], lonlat[None]).argmin(axis=1)
    ids = np.array(tiles["id"].to_pylist())
    assert index.nearest_tile(points) == ids[nearest].tolist()
    for row in (0, 100, len(tiles) - 1):  # in the first, a middle and the last row group
        picture = np.asarray(Image.open(io.BytesIO(index.thumbnail(ids[row]))), dtype=float)
        truth = BlueMarble.open().cut(lonlat[row], size_px=64)[0].astype(float)
        assert (
            np.abs(picture - np.moveaxis(truth, 0, -1)).mean() < 6
        )  # JPEG is nearly the picture, and no other tile is


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 1001}, "1 to 1000"),
        ({"k": 2.5}, "whole number"),
        ({"min_km": -1.0}, "min_km is -1"),
        ({"min_km": float("nan")}, "min_km is nan"),
        ({"spacing_km": float("inf")}, "spacing_km is inf"),
        ({"target": "towns"}, "cells or tiles"),
        ({"view": "blurred"}, "smooth, sharp, both"),
        ({"countries": ["Itly"]}, "Did you mean Italy"),
    ],
)
def test_bad_arguments_are_sentences(index: SearchIndex, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(QueryError, match=words):
        index.search(ROME, **asked)


def test_bad_tiles_and_places_are_sentences(index: SearchIndex) -> None:
    with pytest.raises(CoordinateError, match="swapped"):
        Query.place(41.89, 112.49)
    with pytest.raises(CoordinateError, match="finite"):
        Query.place(float("nan"), 0)
    with pytest.raises(CoordinateError, match="not an H3 cell"):
        Query.cell("rome")
    with pytest.raises(QueryError, match="no tile rome"):
        index.search(Query.tile("rome"))
    ocean = Query.tile("8075fffffffffff")  # a cell of resolution 0, which no tile has
    for ask in (lambda: index.search(ocean), lambda: index.field(ocean), lambda: index.thumbnail("8075fffffffffff")):
        with pytest.raises(QueryError, match="no tile"):
            ask()


def test_an_empty_answer_is_a_list(index: SearchIndex) -> None:
    assert index.search(ROME, bbox=BBox(-150, 5, -145, 10)) == []  # open Pacific
    assert index.search(ROME, countries=[]) == []
    assert index.search(ROME, min_km=20000) == []


def test_many_threads_get_the_same_answers(index: SearchIndex) -> None:
    queries = [Query.place(lon, lat) for lon in range(-170, 180, 20) for lat in (-40, 10, 50)]
    alone = [index.search(query, spacing_km=500) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda query: index.search(query, spacing_km=500), queries)) == alone
        tiles = index.tiles()["id"].to_pylist()[:64]
        assert list(pool.map(index.thumbnail, tiles)) == [index.thumbnail(tile) for tile in tiles]


def test_only_the_encoder_that_is_needed_is_loaded(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[tuple[str, str]] = []

    def load(name: str, part: str) -> StandInPair:
        loaded.append((name, part))
        return StandInPair()

    monkeypatch.setattr("indexer.search.load_encoder", load)
    index = SearchIndex.open(built)
    index.cells(), index.tiles(), index.nearest_tile((0, 0))
    assert loaded == []
    index.search(ROME)
    index.field(ROME)
    index.search(Query.tile(index.nearest_tile((0, 0))[0]))
    assert loaded == [("stand-in", "location")]
    index.search(Query.image(BlueMarble.open().patch(0, 0)))
    assert loaded == [("stand-in", "location"), ("stand-in", "pair")]


def test_without_faiss_the_command_to_run_is_named(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingDependencyError, match=r'pip install -e "\.\[cpu\]"'):
        SearchIndex.open(built)

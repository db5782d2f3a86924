"""Searches as documents: the page's export and the shell ask the same, and malformed ones are refused."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import shapely
from typer.testing import CliRunner

from app.answer import Answer, find, to_query
from app.cli import app as cli
from app.exports import geoparquet, zipped
from app.field_image import pixel_rows
from app.ingredients import Ingredient, Vote
from app.request import Request, is_request, read_request
from app.url_state import PageQuery
from data.errors import QueryError, SamewhereError
from data.geo import BBox
from indexer import Compare, Query, SearchIndex, Where
from tests.app.standin import StandInPair

ASKED = PageQuery(
    place=(12.49, 41.89),
    also=(Ingredient("sample", 0.5, id="nile"), Ingredient("place", -0.5, place=(100.0, 62.0))),
    k=6,
    min_km=300,
    spacing_km=400,
    continents=("AF", "EU", "AS"),
    climates=("B", "C"),
    limits=(("elevation", None, 1500.0),),
    area=((-30.0, -10.0), (120.0, -10.0), (120.0, 60.0), (-30.0, 60.0)),
)


@pytest.fixture
def index(home: Path) -> SearchIndex:
    return SearchIndex.open(home / "index", pair=StandInPair())


@pytest.fixture
def answer(index: SearchIndex) -> Answer:
    query = to_query(ASKED, None, index)
    assert query is not None
    return find(index, pixel_rows(index.cells()["id"].to_numpy(), side_px=64), ASKED, query, token="t")


def test_the_shell_gives_the_hits_of_the_page(home: Path, answer: Answer, tmp_path: Path) -> None:
    file = tmp_path / "query.json"
    assert answer.request is not None
    file.write_text(json.dumps(answer.request.to_json()))
    ran = CliRunner().invoke(cli, ["search", "--query", str(file), "--json"])
    assert ran.exit_code == 0, ran.output
    mine = [(hit.id, hit.rank, pytest.approx(hit.score, abs=1e-5)) for hit in answer.hits]
    assert [(hit["id"], hit["rank"], hit["score"]) for hit in json.loads(ran.stdout)["hits"]] == mine
    assert len(mine) == 6


def test_options_given_in_the_shell_win(home: Path, answer: Answer, tmp_path: Path) -> None:
    file = tmp_path / "query.json"
    assert answer.request is not None
    file.write_text(json.dumps(answer.request.to_json()))
    ran = CliRunner().invoke(cli, ["search", "--query", str(file), "--json", "-k", "2"])
    assert [hit["id"] for hit in json.loads(ran.stdout)["hits"]] == [hit.id for hit in answer.hits[:2]]


def test_filters_given_in_the_shell_stand_beside_those_of_the_document(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "query.json"
    north = Where(polygon=shapely.box(-180, 50, 180, 90))
    file.write_text(json.dumps(Request(Query.place(12.49, 41.89), where=north).to_json()))
    ran = CliRunner().invoke(cli, ["search", "--query", str(file), "--json", "--continent", "AS"])
    hits = json.loads(ran.stdout)["hits"]
    assert len(hits) == 10
    assert all(hit["lat"] >= 50 for hit in hits) and all(hit["country"] in ("RUS", "KAZ", "MNG", "CHN") for hit in hits)


def test_everything_is_in_the_zip(answer: Answer) -> None:
    from PIL import Image

    base = io.BytesIO()
    Image.new("RGB", (64, 64)).save(base, "JPEG")
    with zipfile.ZipFile(io.BytesIO(zipped(answer, base.getvalue()))) as archive:
        names = archive.namelist()
        assert {"hits.csv", "hits.geojson", "hits.parquet", "query.json", "map.png", "README.txt"} <= set(names)
        assert sum(name.startswith("thumbnails/") for name in names) == len(answer.hits)
        assert not any(name.startswith("/") or ".." in name for name in names)
        assert read_request(json.loads(archive.read("query.json"))) == answer.request
        assert Image.open(io.BytesIO(archive.read("map.png"))).size == (1600, 1600)


def test_geoparquet_holds_the_points(answer: Answer) -> None:
    table = pq.read_table(io.BytesIO(geoparquet(answer.hits)))
    points = shapely.from_wkb(table["geometry"].to_pylist())
    assert [(p.x, p.y) for p in points] == [(hit.lon, hit.lat) for hit in answer.hits]
    assert json.loads(table.schema.metadata[b"geo"])["primary_column"] == "geometry"


def test_every_filter_survives_the_document() -> None:
    where = Where(
        bbox=BBox(170, -10, -170, 20),
        polygon=shapely.Polygon([(0, 0), (10, 0), (10, 10)]),
        cells=(0x841E8A5FFFFFFFF,),
        countries=("ITA",),
        continents=("EU",),
        climates=("Cfb", "E"),
        sources=("blue-marble",),
        after=datetime(2020, 1, 1, tzinfo=UTC),
        before=datetime(2021, 1, 1, tzinfo=UTC),
        max_cloud_percent=20.0,
        compare=(Compare("elevation", ">", 100.0), Compare("source", "!=", "x")),
        beyond=((1.0, 2.0), 500.0),
        not_ids=("a",),
    )
    request = Request(Query.place(1, 2), 3, "tiles", 4.0, 5.0, where, "both")
    assert read_request(json.loads(json.dumps(request.to_json()))) == request


@pytest.mark.parametrize(
    "change",
    [
        {"k": "ten"},
        {"k": float("nan")},
        {"target": "moons"},
        {"view": 3},
        {"format": 99},
        {"sql": "DROP TABLE cells"},
        {"where": {"sql": "1=1"}},
        {"where": {"bbox": [1, 2, 3]}},
        {"where": {"polygon": {"type": "Point", "coordinates": [1, 2]}}},
        {"where": {"compare": [["elevation", "; DROP", 3]]}},
        {"where": {"countries": [1, 2]}},
        {"where": []},
        {"query": {"kind": "place", "lonlat": [1, 999]}},
    ],
)
def test_what_is_no_request_is_refused_in_words(change: dict[str, Any]) -> None:
    with pytest.raises(SamewhereError):
        read_request(Request(Query.place(1, 2)).to_json() | change)


def test_a_bare_query_is_no_request() -> None:
    assert not is_request(Query.place(1, 2).to_json())
    assert is_request(Request(Query.place(1, 2)).to_json())


def test_votes_make_a_classifier_of_everything(index: SearchIndex) -> None:
    cells = index.search(Query.place(12.49, 41.89), k=3)
    asked = PageQuery(
        place=(12.49, 41.89),
        also=(Ingredient("place", -1.0, place=(100.0, 62.0)),),
        likes=(Vote("cells", cells[0].id),),
        unlikes=(Vote("cells", cells[1].id),),
    )
    query = to_query(asked, None, index)
    assert query is not None
    assert query.kind == "examples"
    assert [sign for sign, _ in query.leaves()] == [1, 1, -1, -1]
    check = index.check(query)
    assert check is not None
    assert (check.positives, check.negatives) == (2, 2)
    assert 0 <= check.above_world <= 1


def test_an_area_asks_with_the_mean_of_its_cells(index: SearchIndex) -> None:
    import numpy as np

    area = ((0.0, 40.0), (20.0, 40.0), (20.0, 50.0), (0.0, 50.0))
    query = to_query(PageQuery(also=(Ingredient("area", area=area),)), None, index)
    assert query is not None
    cells = index.cells()
    lon, lat = cells["lon"].to_numpy(), cells["lat"].to_numpy()
    inside = np.flatnonzero((lon >= 0) & (lon <= 20) & (lat >= 40) & (lat <= 50))
    mean = index.store.vectors("cells", inside).mean(axis=0)
    np.testing.assert_allclose(query.vector, mean / np.linalg.norm(mean), atol=1e-6)
    with pytest.raises(QueryError, match="no land cell"):
        to_query(PageQuery(also=(Ingredient("area", area=((-30.0, 0.0), (-29.0, 0.0), (-29.0, 1.0))),)), None, index)


@pytest.mark.parametrize("one", [[[], ">", 1], ["", "=", 1], [3, "=", 1], ["elevation", ">", [1]], ["elevation", [], 1],
                                 ["elevation", ">", None], ["elevation", ">", float("nan")]])  # fmt: skip
def test_conditions_of_other_kinds_are_refused(one: list[Any]) -> None:
    document = {"query": {"kind": "place", "lonlat": [12.5, 41.9]}, "where": {"compare": [one]}}
    with pytest.raises(QueryError, match=r"where, compare: .*(name|number|nothing|NaN)"):
        read_request(document)

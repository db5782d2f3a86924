"""Filters against a loop over the rows in plain Python, on random tables; spacing against the definition."""

from __future__ import annotations

import math
import operator
import threading
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import CoordinateError, QueryError
from data.geo import BBox, all_cells, cell_key, cell_lonlat, cell_of, cell_parent, cell_to_hex, great_circle_km
from indexer.rows import make_rows, read_light, write_light
from indexer.rowset import RowSet
from indexer.select import RowFilter, pick_spaced
from indexer.where import Compare, Where
from indexer.zones import BLOCK, passes

OPERATORS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
EXTRA = {"elevation_m": pa.float64(), "note": pa.string(), "orbit": pa.int32()}
START = datetime(2020, 1, 1, tzinfo=UTC)


def random_places(rng: np.random.Generator, count: int) -> np.ndarray:
    """Points all over the globe, some at the poles, on the antimeridian and in one crowd."""
    lon = rng.uniform(-180, 180, count)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    edge = rng.integers(0, 12, count)
    lat[edge == 0], lat[edge == 1] = 90, -90
    lon[edge == 2] = -180
    lon[edge == 3] = np.nextafter(180, 0)
    crowd = edge == 4
    lon[crowd], lat[crowd] = rng.normal(12, 0.5, crowd.sum()), rng.normal(42, 0.5, crowd.sum())
    return np.stack([lon, lat], axis=1)


def stored(folder: Path, kind: str, table: pa.Table) -> RowFilter:
    """A filter over files as an index has them."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"{kind}.parquet", row_group_size=128)
    with (folder / f"{kind}.arrow").open("wb") as file:
        write_light(file, folder / f"{kind}.parquet")
    return RowFilter(folder / f"{kind}.parquet", read_light(folder / f"{kind}.arrow"))


def random_tiles(seed: int, count: int) -> pa.Table:
    """Tiles with gaps: times, clouds, heights and notes are missing here and there, and some heights are NaN."""
    rng = np.random.default_rng(seed)

    def some(values: list[Any]) -> list[Any]:
        return [None if gone else value for value, gone in zip(values, rng.random(count) < 0.1, strict=True)]

    heights = np.where(rng.random(count) < 0.1, np.nan, rng.integers(-5, 6, count) / 2.0)
    columns = {
        "source": rng.choice(["s2", "s1", "ö'\"; drop"], count).tolist(),
        "acquired": some([START + timedelta(hours=int(h)) for h in rng.integers(0, 1000, count)]),
        "cloud_percent": some((rng.integers(0, 1001, count) / 10).tolist()),
        "elevation_m": some(heights.tolist()),
        "note": some(rng.choice(["", "a", "b", "Ä", "zz"], count).tolist()),
        "orbit": some(rng.integers(-3, 4, count).tolist()),
    }
    places = random_places(rng, count)
    return make_rows(
        "tiles",
        [f"t{i}" for i in rng.permutation(count)],
        lonlat=places,
        vectors=np.ones((count, 2), dtype=np.float32),
        columns=columns,
        extra=EXTRA,
    )


@cache
def world(folder: Path) -> tuple[RowFilter, list[dict[str, Any]]]:
    """A filter over 6,000 tiles (six blocks), and the rows."""
    table = random_tiles(0, 6000)
    return stored(folder / "world", "tiles", table), table.drop_columns(["thumbnail", "embedding"]).to_pylist()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tables lie."""
    return tmp_path_factory.mktemp("select")


def inside_box(box: BBox, lon: float, lat: float) -> bool:
    """Containment by whole turns, not by remainders."""
    east = box.east
    while east < box.west:
        east += 360
    return box.south <= lat <= box.north and any(box.west <= lon + turn <= east for turn in (-720, -360, 0, 360, 720))


def brute(rows: list[dict[str, Any]], where: Where) -> list[int]:
    """The rows that pass, one by one."""
    return [number for number, row in enumerate(rows) if passes_alone(row, where)]


def passes_alone(row: dict[str, Any], where: Where) -> bool:
    """One row against every condition."""
    point = (row["lon"], row["lat"])
    if where.bbox is not None and not inside_box(where.bbox, *point):
        return False
    if where.polygon is not None and not any(
        where.polygon.intersects(shapely.Point(point[0] + turn, point[1])) for turn in (-360, 0, 360)
    ):
        return False
    if where.beyond is not None and not great_circle_km(point, where.beyond[0]) >= where.beyond[1]:
        return False
    for name, wanted in (("country", where.countries), ("continent", where.continents), ("source", where.sources)):
        if wanted is not None and row[name] not in wanted:
            return False
    if where.cells is not None:
        own = cell_of([point], 9)
        depth = [(cell >> 52) & 15 for cell in where.cells]
        if not any(int(cell_parent(own, d)[0]) == cell for d, cell in zip(depth, where.cells, strict=True) if d <= 9):
            return False
    if row["id"] in where.not_ids:
        return False
    taken, cloud = row["acquired"], row["cloud_percent"]
    if where.after is not None and not (taken is not None and taken >= where.after):
        return False
    if where.before is not None and not (taken is not None and taken < where.before):
        return False
    if where.max_cloud_percent is not None and not (
        cloud is not None and cloud <= float(np.float32(where.max_cloud_percent))
    ):
        return False
    for one in where.compare:
        value, given_value = row[one.column], one.value
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return False
        if one.column == "cloud_percent":
            given_value = float(np.float32(given_value))
        if not OPERATORS[one.operator](value, given_value):
            return False
    return True


@st.composite
def boxes(draw: st.DrawFn) -> BBox:
    west, east = draw(st.integers(-180, 360)), draw(st.integers(-180, 360))
    south, north = sorted([draw(st.integers(-90, 90)), draw(st.integers(-90, 90))])
    return BBox(west, south, east, north)


@st.composite
def polygons(draw: st.DrawFn) -> shapely.Geometry:
    """Stars around a point, some over the antimeridian or up to a pole, some in two parts, some with holes."""
    parts = []
    for _ in range(draw(st.integers(1, 2))):
        lon, lat = draw(st.integers(-200, 200)), draw(st.integers(-80, 80))
        radii = draw(st.lists(st.floats(0.5, 60), min_size=3, max_size=7))
        turns = np.arange(len(radii)) * 2 * np.pi / len(radii)
        x, y = lon + np.cos(turns) * radii, np.clip(lat + np.sin(turns) * radii, -90, 90)
        parts.append(shapely.Polygon(np.stack([x, y], axis=1)).buffer(0))
    shape = shapely.unary_union(parts)
    if draw(st.booleans()):
        shape = shape.difference(shapely.Point(shape.centroid.x, shape.centroid.y).buffer(5))
    if shape.is_empty or shape.geom_type not in ("Polygon", "MultiPolygon"):
        shape = shapely.box(-10, -10, 10, 10)
    return shape


compares = st.one_of(
    st.builds(
        Compare,
        st.sampled_from(["elevation_m", "orbit"]),
        st.sampled_from(list(OPERATORS)),
        st.integers(-6, 6).map(lambda v: v / 2),
    ),
    st.builds(
        Compare, st.just("cloud_percent"), st.sampled_from(list(OPERATORS)), st.integers(0, 1000).map(lambda v: v / 10)
    ),
    st.builds(
        Compare,
        st.sampled_from(["note", "country", "source"]),
        st.sampled_from(list(OPERATORS)),
        st.sampled_from(["", "a", "b", "FRA", "s2", "ö'\"; drop", "~"]),
    ),
)
moments = st.integers(0, 1000).map(lambda h: START + timedelta(hours=h))
filters = st.builds(
    Where,
    bbox=st.none() | boxes(),
    polygon=st.none() | polygons(),
    cells=st.none()
    | st.lists(
        st.tuples(st.integers(-180, 179), st.integers(-90, 90), st.integers(0, 4)).map(
            lambda p: int(cell_of([p[:2]], p[2])[0])
        ),
        max_size=4,
    ).map(tuple),
    countries=st.none() | st.lists(st.sampled_from(["ITA", "RUS", "", "ATA", "XXX"])).map(tuple),
    continents=st.none() | st.lists(st.sampled_from(["EU", "AS", "", "AN"])).map(tuple),
    sources=st.none() | st.lists(st.sampled_from(["s2", "s1", "ö'\"; drop", "none"])).map(tuple),
    after=st.none() | moments,
    before=st.none() | moments,
    max_cloud_percent=st.none() | st.integers(0, 1000).map(lambda v: v / 10),
    compare=st.lists(compares, max_size=2).map(tuple),
    beyond=st.none()
    | st.tuples(
        st.tuples(st.integers(-180, 180), st.integers(-90, 90)),
        st.sampled_from([0, 1, 800, 5000, 12000, 19900, 20015, 20100]),
    ),
    not_ids=st.lists(st.integers(0, 6200).map(lambda i: f"t{i}"), max_size=3).map(tuple),
)
run = settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])


@run
@given(where=filters)
def test_all_together_as_one_by_one(where: Where, folder: Path) -> None:
    filter_, rows = world(folder)
    found = filter_.select(where)
    expected = brute(rows, where)
    assert (list(range(len(rows))) if found is None else found.rows().tolist()) == expected


def test_many_of_few_rows(folder: Path) -> None:
    """A box leaves less than a quarter of the rows and more than a sixteenth pass: no mask of the few."""
    filter_, rows = world(folder)
    where = Where(bbox=BBox(0, 0, 13, 43), compare=(Compare("cloud_percent", "!=", 0.0),))
    expected = brute(rows, where)
    assert len(rows) / 16 < len(expected) < len(rows) / 4
    found = filter_.select(where)
    assert found is not None and found.rows().tolist() == expected


@run
@given(data=st.data(), name=st.sampled_from(["bbox", "polygon", "beyond", "cells", "compare", "not_ids", "after"]))
def test_each_alone_as_one_by_one(data: st.DataObject, name: str, folder: Path) -> None:
    filter_, rows = world(folder)
    where = Where(**{name: getattr(data.draw(filters), name)})
    found = filter_.select(where)
    expected = brute(rows, where)
    assert (list(range(len(rows))) if found is None else found.rows().tolist()) == expected
    if found is not None:
        canon = RowSet.from_rows(expected)
        assert np.array_equal(found.runs, canon.runs)  # ascending, disjoint, joined


@run
@given(where=filters, seed=st.integers(0, 99), count=st.sampled_from([0, 1, 7, BLOCK, BLOCK + 1]))
def test_tables_of_any_length(where: Where, seed: int, count: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    table = random_tiles(seed, count)
    filter_ = stored(tmp_path_factory.mktemp("any"), "tiles", table)
    found = filter_.select(where)
    expected = brute(table.drop_columns(["thumbnail", "embedding"]).to_pylist(), where)
    assert (list(range(count)) if found is None else found.rows().tolist()) == expected


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001, 0.0])
def test_every_selectivity(share: float, folder: Path) -> None:
    filter_, rows = world(folder)
    heights = sorted(row["cloud_percent"] for row in rows if row["cloud_percent"] is not None)
    limit = heights[int(len(heights) * share)] if share else -1.0
    for area in (None, BBox(170, -90, -120, 90)):
        where = Where(bbox=area, compare=(Compare("cloud_percent", "<=", limit),))
        found = filter_.select(where)
        assert found is not None and found.rows().tolist() == brute(rows, where)


def test_cells_of_mixed_resolutions(folder: Path) -> None:
    fine = all_cells(2)
    ids = np.concatenate([all_cells(1), fine[::3]])
    table = make_rows("cells", ids, lonlat=cell_lonlat(ids), vectors=np.ones((len(ids), 2), dtype=np.float32))
    filter_ = stored(folder / "mixed", "cells", table)
    own = table["id"].to_pylist()
    for asked in (int(all_cells(0)[7]), int(all_cells(1)[100]), int(fine[300])):
        depth = (asked >> 52) & 15
        expected = [
            number
            for number, cell in enumerate(own)
            if (cell >> 52) & 15 >= depth and int(cell_parent([cell], depth)[0]) == asked
        ]
        found = filter_.select(Where(cells=(asked,)))
        assert found is not None and found.rows().tolist() == expected
        assert len(found.runs) == 1 and np.array_equal(np.sort(cell_key(own)), cell_key(own))
    gone = cell_to_hex([own[0], own[50], own[-1]])
    kept = filter_.select(Where(not_ids=(*gone, "no cell", cell_to_hex([fine[1]])[0])))
    missing = set(range(len(own))) - set(kept.rows().tolist() if kept else [])
    assert missing == {0, 50, len(own) - 1} | ({own.index(int(fine[1]))} if int(fine[1]) in own else set())
    named = filter_.select(Where(compare=(Compare("id", "=", gone[1]),)))
    assert named is not None and named.rows().tolist() == [50]
    by_parent = Where(compare=(Compare("parent_0", "!=", cell_to_hex([all_cells(0)[7]])[0]),))
    found = filter_.select(by_parent)
    assert found is not None and found.rows().tolist() == [
        n for n, p in enumerate(table["parent_0"].to_pylist()) if p != int(all_cells(0)[7])
    ]


def test_points_pass_as_rows_do(folder: Path) -> None:
    filter_, rows = world(folder)
    places = np.array([(row["lon"], row["lat"]) for row in rows])
    where = Where(bbox=BBox(150, -60, -100, 70), beyond=((175.0, 10.0), 3000.0), polygon=shapely.box(100, -50, 300, 80))
    found = filter_.select(where)
    assert found is not None and np.array_equal(found.rows(), np.flatnonzero(passes(where, places)))


def test_borders_count(folder: Path) -> None:
    places = np.array([[10.0, 0.0], [10.5, 0.0], [-180.0, 5.0], [20.0, 5.0]])
    table = make_rows("tiles", list("abcd"), lonlat=places, vectors=np.ones((4, 2), dtype=np.float32))
    filter_ = stored(folder / "borders", "tiles", table)

    def ids(where: Where) -> set[str]:
        found = filter_.select(where)
        return set() if found is None else set(table["id"].take(found.rows()).to_pylist())

    assert ids(Where(bbox=BBox(10, 0, 20, 5))) == {"a", "b", "d"}
    assert ids(Where(polygon=shapely.box(10, 0, 20, 5))) == {"a", "b", "d"}
    assert ids(Where(polygon=shapely.box(170, 0, 180, 10))) == {"c"}  # 180 is -180
    assert ids(Where(bbox=BBox(170, 0, 180, 10))) == {"c"}


def test_single_precision_compares_in_its_own(folder: Path) -> None:
    count = 3
    table = make_rows(
        "tiles",
        list("abc"),
        lonlat=np.zeros((count, 2)),
        vectors=np.ones((count, 2), dtype=np.float32),
        columns={"cloud_percent": [20.1, 20.2, float("nan")]},
    )
    filter_ = stored(folder / "single", "tiles", table)
    for one, expected in ((("=", 20.1), [0]), (("<=", 20.1), [0]), ((">", 20.1), [1]), (("!=", 0.0), [0, 1])):
        found = filter_.select(Where(compare=(Compare("cloud_percent", *one),)))
        assert found is not None and found.rows().tolist() == expected


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (Where(compare=(Compare("colour", "=", "red"),)), "no column 'colour'; they have: id, lon, lat"),
        (Where(compare=(Compare('note" OR 1=1 --', "=", "x"),)), "no column"),
        (
            Where(compare=(Compare("cloud_percent", "<", "much"),)),
            "holds numbers and was compared with the text 'much'",
        ),
        (Where(compare=(Compare("source", "=", 5.0),)), "put it in quotes"),
        (Where(compare=(Compare("note", "=", 5.0),)), "put it in quotes"),
        (Where(compare=(Compare("acquired", "<", "soon"),)), "write 2021-06-30"),
        (Where(compare=(Compare("parent_1", "<", "81283ffffffffff"),)), "H3 cells"),
        (Where(polygon=shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])), "Self-intersection"),
        (Where(polygon=shapely.Polygon()), "empty"),
        (Where(polygon=shapely.Point(0, 0)), "a Point"),
        (Where(polygon=shapely.box(0, 0, 10, 100)), "off the globe"),
    ],
)
def test_refusals_are_sentences(where: Where, words: str, folder: Path) -> None:
    with pytest.raises(QueryError, match=words.replace("(", r"\(")):
        world(folder)[0].select(where)


def test_cells_have_no_clouds(folder: Path) -> None:
    ids = all_cells(0)
    table = make_rows("cells", ids, lonlat=cell_lonlat(ids), vectors=np.ones((len(ids), 2), dtype=np.float32))
    filter_ = stored(folder / "cells", "cells", table)
    for where in (Where(max_cloud_percent=5.0), Where(sources=("s2",)), Where(after=START)):
        with pytest.raises(QueryError, match="cells have no column"):
            filter_.select(where)
    with pytest.raises(CoordinateError, match="not an H3 cell"):
        filter_.select(Where(cells=(12,)))


def test_threads_share_a_filter(folder: Path) -> None:
    table = random_tiles(3, 3000)
    rows = table.drop_columns(["thumbnail", "embedding"]).to_pylist()
    filter_ = stored(folder / "threads", "tiles", table)
    asked = [
        Where(compare=(Compare("orbit", ">=", float(n % 4)),), bbox=BBox(-20 * n - 1, -90, 90, 90)) for n in range(8)
    ]
    expected = [brute(rows, where) for where in asked]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(5):
            for number, where in enumerate(asked):
                found = filter_.select(where)
                if found is None or found.rows().tolist() != expected[number]:
                    wrong.append(number)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_answers_are_kept_but_not_many(folder: Path) -> None:
    filter_, _ = world(folder)
    where = Where(bbox=BBox(0, 0, 33, 33))
    first = filter_.select(where)
    assert filter_.select(Where(bbox=BBox(0, 0, 33, 33))) is first
    for n in range(70):
        filter_.select(Where(bbox=BBox(0, 0, 1 + n / 10, 5)))
    assert filter_.select(where) is not first


def spaced_by_definition(places: np.ndarray, k: int, km: float) -> list[int]:
    """Each point that is far enough from all chosen before it."""
    chosen: list[int] = []
    for number, place in enumerate(places):
        if len(chosen) < k and all(great_circle_km(place, places[other]) >= km for other in chosen):
            chosen.append(number)
    return chosen


@given(seed=st.integers(0, 500), k=st.integers(1, 20), km=st.sampled_from([1.0, 700.0, 5000.0, 21000.0]))
@settings(deadline=None, max_examples=60)
def test_spacing_by_its_definition(seed: int, k: int, km: float) -> None:
    places = np.random.default_rng(seed).uniform([-180, -90], [180, 90], (80, 2))
    assert pick_spaced(places, k, km).tolist() == spaced_by_definition(places, k, km)

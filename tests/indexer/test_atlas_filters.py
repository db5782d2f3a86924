"""Filters by the atlas: the same rows as asking the atlas row by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data import atlas
from data.errors import QueryError
from data.land import sample_land
from indexer.select import RowFilter
from indexer.where import Compare, Where


@pytest.fixture(scope="module")
def places() -> np.ndarray:
    return sample_land(2000, rng=np.random.default_rng(11))


@pytest.fixture(scope="module")
def rows(places: np.ndarray) -> RowFilter:
    return RowFilter(Path("cells.parquet"), pa.table({"lon": places[:, 0], "lat": places[:, 1]}))


def chosen(rows: RowFilter, where: Where) -> list[int]:
    found = rows.select(where)
    assert found is not None
    return found.rows().tolist()


@pytest.mark.parametrize(
    ("text", "name"),
    [("elevation >= 1500", "elevation"), ("temperature < -5", "temperature"), ("precipitation > 900", "precipitation")],
)
def test_numbers_of_the_atlas_filter(rows: RowFilter, places: np.ndarray, text: str, name: str) -> None:
    one = Compare.parse(text)
    values = atlas.sample(name, places)
    tests = {">=": values >= one.value, "<": values < one.value, ">": values > one.value}
    assert chosen(rows, Where(compare=(one,))) == np.flatnonzero(tests[one.operator]).tolist()


@pytest.mark.parametrize("codes", [("Cfb",), ("C",), ("ET", "BWh"), ("E", "Af")])
def test_climates_filter_by_their_beginnings(rows: RowFilter, places: np.ndarray, codes: tuple[str, ...]) -> None:
    known = atlas.koppen(places)
    wanted = [at for at, code in enumerate(known.tolist()) if code and code.startswith(codes)]
    assert chosen(rows, Where(climates=codes)) == wanted
    assert wanted


def test_conditions_hold_together(rows: RowFilter, places: np.ndarray) -> None:
    where = Where(climates=("D",), compare=(Compare.parse("elevation > 500"), Compare.parse("koppen != Dfb")))
    codes, height = atlas.koppen(places), atlas.sample("elevation", places)
    wanted = [n for n, code in enumerate(codes.tolist()) if code[:1] == "D" and code != "Dfb" and height[n] > 500]
    assert chosen(rows, where) == wanted


def test_a_column_that_is_none_is_refused_with_those_there_are(rows: RowFilter) -> None:
    with pytest.raises(QueryError, match=r"no column 'height'.*of the atlas:.*elevation"):
        rows.select(Where(compare=(Compare.parse("height > 3"),)))

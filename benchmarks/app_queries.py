"""What the page's queries cost: server time of each, and memory over 500 of them.

    python -m benchmarks.app_queries [--queries 500]

Asks the embedded index as the search page does (query, hits, field as a picture, thumbnails), with one ingredient, with
several, with votes and with filters in turn, and tells seconds and resident memory.
"""

from __future__ import annotations

import time

import numpy as np

from app import resources
from app.answer import find, to_query, token_of
from app.ingredients import Ingredient, Vote
from app.url_state import PageQuery
from benchmarks.timing import Result, Row, Times, main, resident
from data.land import sample_land

QUICK = {"queries": 8}
KINDS = ("one place", "three ingredients", "votes", "filters")


def run(queries: int = 500) -> Result:
    """Ask each kind in turn."""
    ready = resources.get_ready()
    places = sample_land(3 * queries, rng=np.random.default_rng(7)).round(3).tolist()
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    memory: list[float] = []
    last: tuple[str, ...] = ()
    for number in range(queries):
        kind = KINDS[number % len(KINDS)]
        (lon, lat), second, third = places[3 * number : 3 * number + 3]
        asked = PageQuery(place=(lon, lat))
        if kind == "three ingredients":
            more, less = (tuple(second), tuple(third))
            also = (Ingredient("place", 0.5, place=more), Ingredient("place", -0.5, place=less))
            asked = PageQuery(place=(lon, lat), also=also)
        elif kind == "votes" and len(last) > 3:
            likes = tuple(Vote("cells", name) for name in last[:2])
            asked = PageQuery(place=(lon, lat), likes=likes, unlikes=(Vote("cells", last[3]),))
        elif kind == "filters":
            asked = PageQuery(place=(lon, lat), climates=("C", "D"), limits=(("elevation", 200.0, None),))
        began = time.perf_counter()
        query = to_query(asked, None, ready.index)
        if query is not None:
            answer = find(ready.index, ready.rows, asked, query, token=token_of(asked, None, ready.name))
            last = tuple(hit.id for hit in answer.hits)
        seconds[kind].append(time.perf_counter() - began)
        if number in (queries // 10, queries - 1):
            memory.append(resident() / 2**20)
    rows = []
    for kind, took in seconds.items():
        value, low, high = Times(tuple(took)).spent()
        figures = {"95 % within, ms": 1000 * float(np.quantile(took, 0.95)), "queries": len(took)}
        rows.append(Row(kind, value, "ms", low, high, part="a query of the page", more=figures))
    early, late = memory
    grown: dict[str, float | str] = {"MB after a tenth": early, "growth, %": f"{100 * (late / early - 1):+.1f}"}
    rows.append(Row("the process", late, "MB at the end", part="memory", more=grown))
    return Result(
        f"{queries:,} queries as the search page asks them, one after the other, without a server.", tuple(rows)
    )


if __name__ == "__main__":
    main(run, QUICK)

"""What the page's queries cost: server time of each, and memory over 500 of them.

Example: python -m benchmarks.app_queries --queries 500

Asks the embedded index as the search page does (query, hits, field as a picture, thumbnails), with one ingredient, with
several, with votes and with filters in turn, and prints seconds and resident memory.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from app import resources
from app.answer import find, to_query, token_of
from app.ingredients import Ingredient, Vote
from app.url_state import PageQuery
from data.land import sample_land

KINDS = ("one place", "three ingredients", "votes", "filters")


def main(queries: Annotated[int, typer.Option(help="How many.")] = 500) -> None:
    """Ask, and print a table as JSON."""
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
        if number % 50 == 49:
            memory.append(_resident_mb())
    table = {
        kind: {
            "median_ms": round(1000 * float(np.median(took))),
            "p95_ms": round(1000 * float(np.quantile(took, 0.95))),
        }
        for kind, took in seconds.items()
    }
    typer.echo(json.dumps({"queries": queries, "server_time": table, "resident_mb_every_50": memory}, indent=2))


def _resident_mb() -> float:
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS"):
            return round(int(line.split()[1]) / 1024, 1)
    return float("nan")


if __name__ == "__main__":
    typer.run(main)

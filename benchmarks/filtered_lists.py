"""Filtered questions to an index of a million cells, as it answers them, beside a contiguous scan of as many rows.

    python -m benchmarks.filtered_lists [--rows 1000000] [--questions 200]

The index has inverted lists, so the planner may go down their ranking; what it takes is told. Filters pass a half, a
tenth, a hundredth and a thousandth of the rows: by elevation, which no vector knows, and by a box around Africa's
middle, which vectors know well. Questions are places anywhere on land, each asked once: the answer's time is that of
the store, the filter's rows known (a page of hits asks again). The floor is the product of the question with as many
rows in a run, and its ten best. Recall is of the true ten among the rows that pass, by brute force.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.snapshots import CHECKPOINT, cells_index
from benchmarks.timing import Result, Row, Times, main, seconds
from data import atlas
from data.geo import BBox
from data.land import sample_land
from indexer.local import LocalStore
from indexer.vectors import VectorIndex, best_rows, inner_products
from indexer.where import Compare, Where
from model import load

QUICK = {"rows": 5_000, "questions": 3}
SHARES = (0.5, 0.1, 0.01, 0.001)
K, VIEW = 10, "both"


def filters(store: LocalStore) -> dict[str, list[Where]]:
    """Both kinds, from the widest to the narrowest."""
    table = store.take("cells", np.arange(store.manifest.counts["cells"]))
    lon, lat = table["lon"].to_numpy(), table["lat"].to_numpy()
    away = np.maximum(np.abs(lon - 20) / 2, np.abs(lat))  # half the height of a box twice as wide that reaches a row
    boxes = [float(np.quantile(away, share)) for share in SHARES]
    heights = atlas.sample("elevation", np.stack([lon, lat], axis=1))
    limits = [float(np.nanquantile(heights, 1 - share)) for share in SHARES]
    return {
        "elevation": [Where(compare=(Compare("elevation", ">", limit),)) for limit in limits],
        "box": [Where(bbox=BBox(max(-180, 20 - 2 * h), max(-90, -h), min(180, 20 + 2 * h), min(90, h))) for h in boxes],
    }


def route_of(plan: tuple[str, ...]) -> str:
    """What a plan's sentences say was done."""
    if "the approximate index." in plan[-1]:
        return "lists"
    return "lists, then exact" if "so the answer is exact" in plan[-1] and len(plan) > 2 else "exact"


def scan(vectors: NDArray[np.float32], question: NDArray[np.float32]) -> NDArray[np.int64]:
    """The ten best of rows in a run."""
    return best_rows(inner_products(question, vectors), K)


def run(rows: int = 1_000_000, questions: int = 200) -> Result:
    """Ask, and compare with brute force."""
    store = LocalStore(cells_index(rows))
    pair = load(CHECKPOINT, part="location")
    vectors = VectorIndex(store.directory / "cells.faiss", count=rows, dim=pair.dim).array
    places = sample_land(questions + 1, rng=np.random.default_rng(3))
    asked = pair.reweight(pair.encode_location(places), VIEW)
    table, rng = list[Row](), np.random.default_rng(0)
    for name, several in filters(store).items():
        for where in several:
            passing = store.select("cells", where)
            numbers = np.arange(rows) if passing is None else passing.rows()
            taken: dict[str, list[float]] = {"ours": [], "floor": []}
            hits, routes = 0, list[str]()
            for turn, question in enumerate(asked):
                start = int(rng.integers(0, rows - len(numbers) + 1))
                floor = seconds(partial(scan, vectors[start : start + len(numbers)], question))
                found: list[NDArray[np.int64]] = []

                def ask(question: NDArray[np.float32] = question, where: Where = where) -> None:
                    answer = store.search("cells", question[None], K, where=where, view=VIEW)
                    found.append(answer.rows)  # noqa: B023  # called at once
                    routes.append(route_of(answer.plan))  # noqa: B023

                ours = seconds(ask)
                if turn:
                    taken["ours"].append(ours)
                    taken["floor"].append(floor)
                    scores = inner_products(question, vectors, numbers)
                    worst = np.sort(scores)[-min(K, len(scores))]
                    hits += int((inner_products(question, vectors, found[0]) >= worst).sum())
            times = Times(tuple(taken["ours"]))
            value, low, high = times.spent("ms")
            base = Times(tuple(taken["floor"]))
            table.append(
                Row(
                    f"{name}, {len(numbers) / rows:.2%}",
                    value,
                    "ms",
                    low,
                    high,
                    "a scan of as many rows",
                    base.median / times.median,
                    part=f"{rows:,} cells, ten best",
                    more={
                        "the scan, ms": base.spent("ms")[0],
                        "read by": max(set(routes), key=routes.count),
                        "recall@10": hits / (questions * min(K, len(numbers))),
                    },
                )
            )
    title = "Filtered questions to an index with inverted lists; wanted is a speed of at least .5 beside the scan."
    return Result(title, tuple(table))


if __name__ == "__main__":
    main(run, QUICK)

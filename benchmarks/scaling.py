"""Curves over three decades of cells, over batches and over threads: how time and memory grow.

    python -m benchmarks.scaling [--most 10000000]

An index of 10,000 to ten million cells (all cells of resolution 6 where land has too few): exact search and search by
lists, a question at a time; building the lists; embedding, on one thread and on all. Each size has its own structures,
and what it takes is the median of its rounds. Ten million cells hold 10 GB of vectors on the disk.
"""

from __future__ import annotations

import os
from functools import partial

import torch

from benchmarks.snapshots import CHECKPOINT, cells, embeddings, scratch, vector_index
from benchmarks.timing import Result, Row, Times, in_turns, main, seconds
from data.geo import cell_lonlat
from indexer.ann import AnnIndex
from indexer.ann_build import build_ann, sample_queries
from model import load

QUICK = {"most": 4_000, "least": 1_000, "batches": "1,8"}
LONG = {"most": 10_000_000}
K, VIEW = 10, "both"


def run(most: int = 1_000_000, least: int = 10_000, batches: str = "1,10,100,1000,10000") -> Result:
    """Measure every size."""
    rows: list[Row] = []
    pair, threads = load(CHECKPOINT, part="location"), os.cpu_count() or 1
    sizes = [size for power in range(2, 9) for size in (10**power, 3 * 10**power) if least <= size <= most]
    embeddings(min(most, 1_000_000))
    for size in sizes:
        exact = vector_index(size)
        questions = sample_queries(exact, exact)
        path = scratch() / f"scaling-{size}.ann"
        settings: dict[str, object] = {}

        def build(settings: dict[str, object] = settings, path: object = path, exact: object = exact) -> None:
            weightings = {VIEW: lambda queries: queries}
            settings |= build_ann(path, exact, method="ivf-rabitq", weightings=weightings, queries=questions)  # type: ignore[arg-type]  # noqa: B023

        took = seconds(build)
        lists = AnnIndex(path, exact, settings)
        asked = questions[:20]
        work = {
            "exact": lambda exact=exact, asked=asked: [exact.search(one, K) for one in asked],
            "lists": lambda lists=lists, asked=asked: [lists.search_batch(one[None], K, view=VIEW) for one in asked],
        }
        times = in_turns(work, rounds=3)
        for name, taken in times.items():
            value, low, high = Times(tuple(each / len(asked) for each in taken.seconds)).spent("ms")
            more: dict[str, float | str] = {"size": size, "axis": "cells"}
            rows.append(Row(name, value, "ms", low, high, part="one question, by cells", more=more))
        rows.append(
            Row("lists", took, "s", took, took, part="building lists, by cells", more={"size": size, "axis": "cells"})
        )
    lonlat = cell_lonlat(cells(least))
    for count in (int(text) for text in batches.split(",")):
        some = lonlat[:count]
        for used in dict.fromkeys((1, threads)):
            torch.set_num_threads(used)
            taken = in_turns({"": partial(pair.encode_location, some)}, rounds=5)[""]
            value, low, high = taken.rate(len(some))
            more = {"size": len(some), "axis": "cells in a call"}
            name = f"{used} thread" + "s" * (used > 1)
            rows.append(Row(name, value, "cells a second", low, high, part="embedding, by batch", more=more))
    return Result(f"Growth from {least:,} to {sizes[-1]:,} cells × 256, {threads} threads.", tuple(rows))


if __name__ == "__main__":
    main(run, QUICK, LONG)

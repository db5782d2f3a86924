"""Curves over three decades of cells, over batches and over cores: how time grows.

    python -m benchmarks.scaling [--most 10000000]

An index of 10,000 to ten million cells (all cells of resolution 6 where land has too few): exact search and search by
lists, a question at a time and, at a million, many at once; making the lists, by the method that a build of that size
chooses (full rows to 500,000, codes above, a graph over the lists from ten million); embedding, by cells in a call.
Searches and embedding run in processes of their own, bound to one core and to all. Ten million cells need 20 GB on the
disk; what is larger than a million is removed when it was measured.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.snapshots import CHECKPOINT, MOST, cells, embeddings, scratch, vector_index
from benchmarks.timing import Result, Row, Times, Work, in_turns, main
from data.cores import cores as all_cores
from data.geo import cell_lonlat
from indexer.ann import AnnIndex, choose_method
from indexer.ann_build import build_ann, sample_queries
from model import load

QUICK = {"most": 4_000, "least": 1_000, "batches": "1,8"}
LONG = {"most": 10_000_000}
K, VIEW = 10, "both"
ASKED = 10


@contextlib.contextmanager
def on_cores(count: int) -> Iterator[None]:
    """What is started within may use so many cores."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(mine)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


def alone(count: int, work: Callable[..., list[Row]], *given: Any) -> list[Row]:
    """The rows of a function that runs in a process of its own, on so many cores."""
    with on_cores(count), multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(work, given)


def calibrated(settings: dict[str, Any]) -> bool:
    """Whether some setting finds enough for less than reading all; else an index asks its exact search."""
    return any(settings["views"][VIEW]["depths"].values())


def searches(size: int, path: Path, settings: dict[str, Any], batches: list[int]) -> list[Row]:
    """Both searches of one size: a question at a time, and the batches at once."""
    exact = vector_index(size)
    lists, questions, rows = AnnIndex(path, exact, settings), sample_queries(exact, exact), list[Row]()
    cores, few, known = all_cores(), questions[:ASKED], calibrated(settings)
    suffix = f", {cores} core" + "s" * (cores > 1)
    for batch in batches:
        asked = np.resize(questions, (batch, questions.shape[1])).astype(np.float32)
        at_once: dict[str, Work] = {
            "exact": partial(exact.search_batch, asked, K),
            **({"lists": partial(lists.search_batch, asked, K, view=VIEW)} if known else {}),
        }
        for name, taken in in_turns(at_once, rounds=3).items():
            value, low, high = taken.rate(batch)
            more: dict[str, float | str] = {"size": batch, "axis": "questions in a call"}
            part = "questions at once, by batch"
            rows.append(Row(name + suffix, value, "questions a second", low, high, part=part, more=more))
    one_by_one: dict[str, Work] = {
        "exact": lambda: [exact.search(one, K) for one in few],
        **({"lists": lambda: [lists.search_batch(one[None], K, view=VIEW) for one in few]} if known else {}),
    }
    for name, taken in in_turns(one_by_one, rounds=3).items():
        value, low, high = Times(tuple(each / len(few) for each in taken.seconds)).spent()
        figures: dict[str, float | str] = {"size": size, "axis": "cells"}
        rows.append(Row(name + suffix, value, "ms", low, high, part="one question, by cells", more=figures))
    return rows


def embedding(batches: list[int]) -> list[Row]:
    """The location encoder, by cells in a call."""
    pair, cores, rows = load(CHECKPOINT, part="location"), all_cores(), list[Row]()
    lonlat = cell_lonlat(cells(max(batches)))
    for batch in batches:
        taken = in_turns({"": partial(pair.encode_location, lonlat[:batch])}, rounds=5)[""]
        value, low, high = taken.rate(batch)
        more: dict[str, float | str] = {"size": batch, "axis": "cells in a call"}
        name = f"{cores} core" + "s" * (cores > 1)
        rows.append(Row(name, value, "cells a second", low, high, part="embedding, by batch", more=more))
    return rows


def run(most: int = 1_000_000, least: int = 10_000, batches: str = "1,10,100,1000,10000") -> Result:
    """Measure every size."""
    sizes = [size for power in range(2, 9) for size in (10**power, 3 * 10**power) if least <= size <= most]
    embeddings(min(most, MOST))
    notes = list[str]()
    threads, rows, made = dict.fromkeys((1, all_cores())), list[Row](), [int(text) for text in batches.split(",")]
    for size in sizes:
        exact = vector_index(size)
        path = scratch() / f"scaling-{size}.ann"
        method = choose_method(size) if size > 200_000 else "ivf-flat"  # fewer are searched exactly
        views, begun = {VIEW: lambda queries: queries}, time.perf_counter()
        settings = build_ann(path, exact, method=method, weightings=views, queries=sample_queries(exact, exact))
        took = time.perf_counter() - begun
        more: dict[str, float | str] = {"size": size, "axis": "cells", "method": method}
        rows.append(Row("lists", took, "s", took, took, part="making lists, by cells", more=more))
        if not calibrated(settings):
            notes.append(f"{size:,} cells: no setting of {method} finds enough, so such an index is asked exactly.")
        at_once = [batch for batch in made if batch <= 1000] if size == min(MOST, sizes[-1]) else []
        del exact
        for cores in threads:
            rows += alone(cores, searches, size, path, settings, at_once)
        path.unlink()
        if size > MOST:
            for left in scratch().glob(f"*-{size}.*"):
                left.unlink()
    for cores in threads:
        rows += alone(cores, embedding, made)
    rows.sort(key=lambda row: (row.part, row.name))
    title = f"Growth from {least:,} to {sizes[-1]:,} cells × 256, on one core and on {all_cores()}."
    return Result(title, tuple(rows), tuple(notes))


if __name__ == "__main__":
    main(run, QUICK, LONG)

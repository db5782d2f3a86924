"""Filtered exact search against a contiguous scan of as many rows as pass: what the filter and scattered reading cost.

    python -m benchmarks.filtered_search [--rows 1000000] [--rounds 9]

The rows are H3 cells of resolution 5 (every second one) in the order of their key, with vectors of 256 random numbers:
what they say does not matter to the time. Three filters choose half, a tenth, a hundredth and a thousandth of them: a
box, a text column of four round regions as countries are, and a column of random numbers, whose rows lie scattered. The
floor is the product of the query with a run of so many rows in one call and the ten best of it. All take turns in one
process, from warm pages; a ratio is that of the medians. A cold filter is one not asked before (its tables of bounds
and runs stand, as they do after the first search); a cached one is asked again, as by the next page of hits. The
answers are compared with the floor's method over the same rows.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.timing import Result, Row, Times, main, seconds
from data.geo import BBox, all_cells, cell_key, cell_lonlat, great_circle_km
from indexer.planner import Plan, choose_plan
from indexer.rows import read_light, write_light
from indexer.rowset import RowSet
from indexer.select import RowFilter
from indexer.vectors import VectorIndex, import_faiss, write_vectors
from indexer.where import Compare, Where

QUICK = {"rows": 20_000, "rounds": 1}
DIM, K = 256, 10
SHARES = (0.5, 0.1, 0.01, 0.001)
CENTRES = ((0.0, 0.0), (180.0, 0.0), (180.0, 60.0), (180.0, -60.0))
"""Of the regions, which do not touch: half the globe, and three in the other half."""


def make_filter(folder: Path, count: int, rng: np.random.Generator) -> RowFilter:
    """The light columns of so many cells, written and mapped as an index has them."""
    cells = all_cells(5)
    cells = cells[np.linspace(0, len(cells) - 1, count).astype(np.int64)]
    lonlat = cell_lonlat(cells)
    region = np.full(count, "", dtype="U3")
    for share, centre in zip(SHARES, CENTRES, strict=True):
        radius_km = 6371.0088 * np.arccos(1 - 2 * share)
        region[great_circle_km(lonlat, centre) < radius_km] = f"R{SHARES.index(share)}"
    table = pa.table(
        {
            "id": cells,
            "key": cell_key(cells),
            "lon": lonlat[:, 0],
            "lat": lonlat[:, 1],
            "country": pa.array(region.tolist()),
            "cloud_percent": rng.uniform(0, 100, count).astype(np.float32),
        }
    )
    pq.write_table(table, folder / "tiles.parquet", row_group_size=128)
    with (folder / "tiles.arrow").open("wb") as file:
        write_light(file, folder / "tiles.parquet")
    return RowFilter(folder / "tiles.parquet", read_light(folder / "tiles.arrow"))


def filters(share: float, nudge: float) -> dict[str, Where]:
    """Three filters that such a share of the rows passes; ``nudge`` makes them new ones."""
    south = -np.degrees(np.arcsin(np.sqrt(share)))
    width = 360 * np.sqrt(share)
    return {
        "box": Where(bbox=BBox(20 - width / 2 + nudge, south, 20 + width / 2 + nudge, -south)),
        "text column": Where(countries=(f"R{SHARES.index(share)}", f"none{nudge}")),
        "number column": Where(compare=(Compare("cloud_percent", "<", 100 * share + nudge),)),
    }


def run_products(faiss: Any, vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Products of one query with rows that stand together."""
    out = np.empty(len(vectors), dtype=np.float32)
    pointer = faiss.swig_ptr
    faiss.fvec_inner_products_ny(pointer(out), pointer(query), pointer(vectors), DIM, len(vectors))
    return out


def scan(
    faiss: Any, run: NDArray[np.float32], query: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best of vectors that lie in a run: the floor."""
    return best(np.arange(len(run)), run_products(faiss, run, query))


def best(rows: NDArray[np.int64], scores: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The K best, best first."""
    top = np.argpartition(-scores, min(K, len(scores)) - 1)[:K] if len(scores) > K else np.arange(len(scores))
    order = top[np.lexsort((top, -scores[top]))]
    return rows[order], scores[order]


def run(rows: int = 1_000_000, rounds: int = 9) -> Result:
    """Build, and measure every filter."""
    rng, table = np.random.default_rng(0), list[Row]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        filter_ = make_filter(folder, rows, rng)
        batches = (rng.standard_normal((min(8192, rows - at), DIM), dtype=np.float32) for at in range(0, rows, 8192))
        with (folder / "tiles.faiss").open("wb") as file:
            write_vectors(file, batches, dim=DIM, count=rows)
        index = VectorIndex(folder / "tiles.faiss", count=rows, dim=DIM)
        for where in filters(0.5, 0.1).values():  # the tables of bounds and runs
            filter_.select(where)
        for share in SHARES:
            for label in filters(share, 0):
                table.append(measure(filter_, index, share=share, label=label, rounds=rounds))
    title = (
        f"Filtered exact search of {rows:,} × {DIM} random numbers; wanted is a speed of at least .5 beside the scan."
    )
    return Result(title, tuple(table))


def measure(filter_: RowFilter, index: VectorIndex, *, share: float, label: str, rounds: int) -> Row:
    """One line of the table."""
    vectors, faiss = index.array, import_faiss()
    count, rng = len(vectors), np.random.default_rng(1)
    times: dict[str, list[float]] = {"floor": [], "cached": [], "cold": [], "filter": []}

    def found(where: Where, query: NDArray[np.float32]) -> tuple[NDArray[np.int64], Plan]:
        plan = choose_plan(count, DIM, filter_.select(where), None, "", 1)
        return index.search(query[None], K, among=plan.rows, route=plan.route)[0], plan

    for turn in range(rounds + 1):
        query = rng.standard_normal(DIM, dtype=np.float32)
        where = filters(share, 0)[label]
        fresh, other = (filters(share, (turn + 1) * nudge)[label] for nudge in (1e-6, -1e-6))
        rows, plan = found(where, query)
        chosen = plan.rows if plan.rows is not None else RowSet.from_runs([[0, count]])
        numbers = chosen.rows()
        if not turn and not np.array_equal(best(numbers, vectors[numbers] @ query)[0], rows):
            raise SystemExit(f"{label}, {share}: the filtered search and brute force disagree.")
        start = int(rng.integers(0, count - chosen.count + 1))
        run = vectors[start : start + chosen.count]
        taken = {
            "floor": seconds(partial(scan, faiss, run, query)),
            "cached": seconds(partial(found, where, query)),
            "cold": seconds(partial(found, fresh, query)),
            "filter": seconds(partial(filter_.select, other)),
        }
        for name, took in taken.items():
            if turn:
                times[name].append(took)
    by = {name: Times(tuple(took)) for name, took in times.items()}
    value, low, high = by["cached"].spent()
    more: dict[str, float | str] = {
        "the scan, ms": by["floor"].spent()[0],
        "cold, ms": by["cold"].spent()[0],
        "cold beside the scan": f"{by['floor'].median / by['cold'].median:.2f} ×",
        "filter alone, ms": by["filter"].spent()[0],
        "runs": len(chosen.runs),
        "read by": plan.route,
    }
    ratio = by["floor"].median / by["cached"].median
    name = f"{label}, {chosen.count / count:.2%}"
    return Row(name, value, "ms", low, high, "a scan of as many rows", ratio, part="asked again", more=more)


if __name__ == "__main__":
    main(run, QUICK)

"""From opening an index of a million cells to its first answer, in a fresh process: time and private memory.

    python -m benchmarks.open_to_first_answer [--rows 1000000] [--rounds 7]

Every round is a process of its own, after its imports, with the files in the system's cache. Three first questions:
by a stored cell, by a place (which loads the location encoder), and by a place with a filter. Beside them the two next
questions. Private memory is what the process has for itself (``Private_Clean`` and ``Private_Dirty`` of what is mapped
from no file, and ``Private_Dirty`` of what is) beside what it had before opening; the share is of the index's bytes.
Wanted are 100 ms and 5 %. The peer opens the same vectors the plain way: ``faiss.read_index``, one question.
"""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.snapshots import cells, cells_index
from benchmarks.timing import Result, Row, Times, main
from data.geo import cell_to_hex

QUICK = {"rows": 5_000, "rounds": 2}

ASK = """
import json, sys, time
import faiss, numpy, torch
import indexer.search, indexer.local, model.checkpoint, model.pair, model.satclip, model.harmonics, model.networks
from indexer import Query, SearchIndex, Where

def private():
    total, mapped = 0, False
    for line in open("/proc/self/smaps"):
        words = line.split()
        if words[0][-1] != ":":
            mapped = len(words) > 5 and words[5].startswith("/")
        elif words[0] == "Private_Dirty:" or (words[0] == "Private_Clean:" and not mapped):
            total += int(words[1]) * 1024
    return total

path, kind, cell = sys.argv[1:]
queries = {
    "cell": (Query.cell(cell), {}),
    "place": (Query.place(12.49, 41.89), {}),
    "filter": (Query.place(12.49, 41.89), {"countries": ("ITA", "FRA")}),
}
before, begun = private(), time.perf_counter()
if kind == "faiss":
    index = faiss.read_index(path + "/cells.faiss")
    index.search(index.reconstruct_n(0, 1), 10)
    ask = lambda: index.search(index.reconstruct_n(0, 1), 10)
else:
    index = SearchIndex.open(path)
    query, filters = queries[kind]
    ask = lambda: index.search(query, k=10, **filters)
    ask()
first = time.perf_counter() - begun
after = private()
begun = time.perf_counter()
ask()
print(json.dumps([first, after - before, time.perf_counter() - begun]))
"""
NAMES = {
    "cell": "a stored cell",
    "place": "a place",
    "filter": "a place, in two countries",
    "faiss": "faiss.read_index, a vector",
}


def run(rows: int = 1_000_000, rounds: int = 7) -> Result:
    """Open and ask."""
    index = cells_index(rows)
    snapshot = index / (index / "current").read_text(encoding="utf-8").strip()
    size = sum(path.stat().st_size for path in snapshot.iterdir())
    cell = str(cell_to_hex(cells(rows)[[rows // 2]])[0])
    found: dict[str, list[list[float]]] = {name: [] for name in NAMES}
    for turn in range(rounds + 1):
        for kind in NAMES:
            words = [sys.executable, "-c", ASK, str(snapshot), kind, cell]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            if turn:
                found[kind].append(json.loads(done.stdout))
    table = []
    for kind, name in NAMES.items():
        first, memory, again = zip(*found[kind], strict=True)
        times, next_times = Times(first), Times(again)
        value, low, high = times.spent("ms")
        share = sorted(memory)[len(memory) // 2]
        table.append(
            Row(
                name,
                value,
                "ms",
                low,
                high,
                memory_mb=share / 2**20,
                part="open, then ask with",
                more={"share of the index, %": 100 * share / size, "asked again, ms": next_times.spent("ms")[0]},
            )
        )
    title = (
        f"From `SearchIndex.open` of {rows:,} cells × 256 ({size / 1e9:.2f} GB on disk) to the first answer, in a "
        "fresh process after its imports; wanted are 100 ms, and private memory of at most 5 % of the index."
    )
    return Result(title, tuple(table))


if __name__ == "__main__":
    main(run, QUICK)

"""Exact and approximate search beside other libraries: questions a second, memory, recall of the true ten.

    python -m benchmarks.search_peers [--rows 300000] [--rounds 5]

All hold the same embeddings of land cells (float32, 256 numbers) and are asked for the ten best by inner product, in
turns in one process, on the same threads. One question at a time, then all in one call; a library that takes one
question a call is asked in a loop. Approximate ones are asked with the least effort that finds 99 % of the true ten, or
the most that is tried. Memory is what the process holds beside the files that are mapped (``RssAnon``), grown by
making the structure; a graph's is what its library says, or its numbers add up to. DuckDB and LanceDB read a table of
their own; DuckDB's is in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.hnsw import PEERS, Graph, least_ef
from benchmarks.snapshots import embeddings, scratch, vector_index
from benchmarks.timing import Result, Row, find_peer, give_back, in_turns, main, resident, timed_row
from data.cores import cores
from indexer.ann import AnnIndex
from indexer.ann_build import build_ann, compare, sample_queries
from indexer.vectors import VectorIndex, import_faiss

QUICK = {"rows": 4_000, "rounds": 1, "single": 4, "batch": 16}
K = 10
Queries = NDArray[np.float32]
Answer = tuple[NDArray[np.int64], NDArray[np.float32]]
Ask = Callable[[Queries], Answer]
"""(Q, D) questions to (Q, K) rows and products."""


def exact_numpy(rows: Queries) -> Ask:
    """One product, then a partition."""

    def ask(queries: Queries) -> Answer:
        scores = queries @ rows.T
        top = np.argpartition(scores, -K, axis=1)[:, -K:]
        found = np.take_along_axis(scores, top, axis=1)
        order = np.argsort(-found, axis=1)
        return np.take_along_axis(top, order, axis=1), np.take_along_axis(found, order, axis=1)

    return ask


def exact_torch(rows: Queries) -> Ask:
    """One product, then ``topk``."""
    there = torch.from_numpy(rows)

    def ask(queries: Queries) -> Answer:
        scores, found = (torch.from_numpy(queries) @ there.T).topk(K)
        return found.numpy(), scores.numpy()

    return ask


def exact_faiss(rows: Queries) -> Ask:
    """``IndexFlatIP`` as it is."""
    index = import_faiss().IndexFlatIP(rows.shape[1])
    index.add(rows)
    return lambda queries: index.search(queries, K)[::-1]


def exact_duckdb(rows: Queries) -> Ask:
    """``array_cosine_similarity`` over a table in memory."""
    import duckdb
    import pyarrow as pa

    connection = duckdb.connect()
    connection.execute(f"SET threads = {cores()}")
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
    connection.register("given", pa.table({"row": np.arange(len(rows)), "vector": vectors}))
    length = int(rows.shape[1])
    made = f"CREATE TABLE vectors AS SELECT row, vector::FLOAT[{length}] AS vector FROM given"  # noqa: S608  # a number
    connection.execute(made)
    connection.unregister("given")
    text = (
        f"SELECT row, array_cosine_similarity(vector, ?::FLOAT[{length}]) AS score FROM vectors "  # noqa: S608
        f"ORDER BY score DESC LIMIT {K}"
    )

    def ask(queries: Queries) -> Answer:
        found = [connection.execute(text, [query]).fetchnumpy() for query in queries]
        return np.stack([one["row"] for one in found]), np.stack([one["score"] for one in found])

    return ask


def lancedb_table(rows: Queries, lancedb: Any) -> Any:
    """A table of its own on disk."""
    import pyarrow as pa

    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
    database = lancedb.connect(str(scratch() / "lancedb"))
    return database.create_table(
        f"t{len(rows)}", pa.table({"row": np.arange(len(rows)), "vector": vectors}), mode="overwrite"
    )


def ask_lancedb(table: Any, queries: Queries, probes: int = 0, refine: int = 0) -> Answer:
    """One question after the other; all rows are compared where no probes are given."""
    rows, scores = [], []
    for query in queries:
        search = table.search(query).distance_type("dot").select(["row", "_distance"]).limit(K)
        search = search.nprobes(probes).refine_factor(refine) if probes else search.bypass_vector_index()
        found = search.to_arrow()
        rows.append(found["row"].to_numpy())
        scores.append(1 - found["_distance"].to_numpy())
    return np.stack(rows), np.stack(scores)


def kept() -> int:
    """Bytes of memory in use."""
    give_back()
    return resident("RssAnon")


class Contender:
    """A library with its structure made: how it is asked, what it took."""

    def __init__(self, make: Callable[[], Ask], note: str = "", *, held: int = 0) -> None:
        """Make it; ``held`` are bytes that it works on and that lie there already."""
        before, begun = kept(), time.perf_counter()
        self.ask = make()
        self.build_s = time.perf_counter() - begun
        self.memory_mb = (held + max(0, kept() - before)) / 2**20
        self.note = note


def exact_contenders(exact: VectorIndex, rows: Queries, missing: list[str]) -> dict[str, Contender]:
    """Those that compare every row."""
    single: dict[str, Contender] = {
        "samewhere": Contender(lambda: lambda queries: ask_ours(exact, queries)),
        "FAISS, IndexFlatIP": Contender(partial(exact_faiss, rows)),
        "NumPy": Contender(partial(exact_numpy, rows), held=rows.nbytes),
        "torch": Contender(partial(exact_torch, rows), held=rows.nbytes),
    }
    if find_peer("duckdb", missing):
        single["DuckDB, array_cosine_similarity"] = Contender(partial(exact_duckdb, rows))
    if lancedb := find_peer("lancedb", missing):
        single["LanceDB, no index"] = Contender(lambda: partial(ask_lancedb, lancedb_table(rows, lancedb)))
    return single


def ask_ours(exact: VectorIndex, queries: Queries) -> Answer:
    """As the product asks: a search for one question, a batch for many."""
    if len(queries) > 1:
        return exact.search_batch(queries, K)
    found, scores = exact.search(queries, K)
    return found[None], scores[None]


def approximate_contenders(
    exact: VectorIndex, rows: Queries, asked: Queries, truth: Answer, missing: list[str]
) -> dict[str, Contender]:
    """Those that compare some, each with the least effort that suffices."""
    threads = cores()
    views = {"both": lambda queries: queries}
    path = scratch() / f"search-peers-{len(rows)}.ann"
    method = "ivf-flat" if len(rows) <= 500_000 else "ivf-rabitq"

    def ours() -> Ask:
        settings = build_ann(path, exact, method=method, weightings=views, queries=sample_queries(exact, exact))
        return partial(AnnIndex(path, exact, settings).search_batch, k=K, view="both")

    def graph(name: str, size: list[float]) -> Any:
        ask, bytes_a_row = PEERS[name](rows, Graph(threads=threads))
        size.append(bytes_a_row * len(rows) / 2**20)
        return ask

    found = {"samewhere": Contender(ours, method)}
    for name in ("hnswlib", "usearch"):
        if find_peer(name, missing):
            size: list[float] = []
            made = Contender(partial(graph, name, size))
            made.memory_mb = size[0]
            ask: Any = made.ask
            ef = least_ef(ask, asked, truth)
            made.ask, made.note = partial(ask, ef=ef), f"ef {ef}"
            found[name] = made
    if lancedb := find_peer("lancedb", missing):
        tables: list[Any] = []

        def indexed() -> Ask:
            table = lancedb_table(rows, lancedb)
            parts = max(1, round(len(rows) ** 0.5))
            codes = find_peer("lancedb.index", missing).IvfPq(
                distance_type="dot", num_partitions=parts, num_sub_vectors=rows.shape[1] // 8
            )
            table.create_index("vector", config=codes)
            tables.append(table)
            return partial(ask_lancedb, table)

        made = Contender(indexed)
        few, few_truth = asked[:100], (truth[0][:100], truth[1][:100])
        for probes, refine in ((4, 4), (16, 10), (32, 20), (64, 50)):
            made.ask = partial(ask_lancedb, tables[0], probes=probes, refine=refine)
            made.note = f"IVF_PQ, nprobes {probes}, refine {refine}"
            if compare(made.ask(few), few_truth).rows >= 0.99:
                break
        found["lancedb"] = made
    return found


def run(rows: int = 300_000, rounds: int = 5, single: int = 12, batch: int = 1000) -> Result:
    """Make, ask, compare."""
    missing: list[str] = []
    exact, vectors = vector_index(rows), np.array(embeddings(rows))
    asked = np.ascontiguousarray(sample_queries(exact, exact, seed=1, count=batch), dtype=np.float32)
    truth = exact.search_batch(asked, K)
    table: list[Row] = []
    kinds = {
        "exact": exact_contenders(exact, vectors, missing),
        "approximate": approximate_contenders(exact, vectors, asked, truth, missing),
    }
    for kind, contenders in kinds.items():
        slow = ("DuckDB", "LanceDB", "lancedb")  # one question a call: fewer are asked, in a loop
        many = {name: batch if not name.startswith(slow) else max(2, batch // 50) for name in contenders}
        recall = {
            name: compare(each.ask(asked[: many[name]]), (truth[0][: many[name]], truth[1][: many[name]])).rows
            for name, each in contenders.items()
        }

        def one_by_one(ask: Ask) -> None:
            for number in range(single):
                ask(asked[number : number + 1])

        times = in_turns({name: partial(one_by_one, each.ask) for name, each in contenders.items()}, rounds=rounds)
        batches = in_turns(
            {name: partial(each.ask, asked[: many[name]]) for name, each in contenders.items()}, rounds=rounds
        )
        for how, taken in (("one question at a time", times), (f"{batch:,} questions at once", batches)):
            for name, each in contenders.items():
                at_once = how.endswith("once")
                more: dict[str, float | str] = {"recall@10": recall[name], "made in, s": each.build_s}
                if each.note:
                    more["with"] = each.note
                table.append(
                    timed_row(
                        name,
                        taken,
                        peer="samewhere",
                        count=many[name] if at_once else single,
                        peer_count=batch if at_once else single,
                        unit="questions a second",
                        memory_mb=each.memory_mb,
                        part=f"{kind}, {how}",
                        more=more,
                    )
                )
    title = f"The ten best of {rows:,} embeddings of land cells, 256 numbers, {cores()} threads."
    return Result(title, tuple(table), tuple(dict.fromkeys(missing)))


if __name__ == "__main__":
    main(run, QUICK)

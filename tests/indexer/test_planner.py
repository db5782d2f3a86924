"""The planner's choices against its stated rule, worked out by hand, and their monotony."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.planner import EXACT_BELOW, GATHER, QUERIES, RUN_BYTES, choose_plan
from indexer.rowset import RowSet

N, D = 1_000_000, 256
NEAR = {"probes": 4, "refine": 10}
SETTINGS: dict[str, Any] = {
    "method": "ivf-rabitq",
    "nlist": 2048,
    "views": {
        "place": {"depths": {"10": NEAR, "100": {"probes": 8, "refine": 5}, "1000": {"probes": 24, "refine": 2}}},
        "hard": {"depths": {"10": None, "100": None, "1000": None}},
    },
}


def every(step: int, length: int = 1, count: int = N) -> RowSet:
    """``length`` rows of each ``step``."""
    starts = np.arange(0, count, step)
    return RowSet.from_runs(np.stack([starts, np.minimum(starts + length, count)], axis=1))


def test_one_query_over_everything_is_approximate() -> None:
    plan = choose_plan(N, D, None, SETTINGS, "place", 1)
    assert (plan.route, plan.rows, plan.depth) == ("ann", None, 10)
    # 2048 centroids of 1,024 bytes, 4/2048 of 1e6 codes of 48 bytes, 100 rows gathered
    cost = (2048 * 1024 + N * 4 / 2048 * 48 + GATHER * 1024 * 10 * 10) / 1e6
    assert f"the approximate index {cost:,.1f} MB" in plan.reasons[-1]
    assert "reading every row 1,024.0 MB" in plan.reasons[-1]


@pytest.mark.parametrize("settings", [None, {"method": "flat"}, {}, SETTINGS | {"views": {}}])
def test_exact_where_nothing_approximate_is_known(settings: dict[str, Any] | None) -> None:
    assert choose_plan(N, D, None, settings, "place", 1).route == "all"


def test_exact_for_a_view_without_probes() -> None:
    plan = choose_plan(N, D, None, SETTINGS, "hard", 1)
    assert plan.route == plan.exact == "all" and any("'hard'" in reason for reason in plan.reasons)


@given(share=st.floats(1e-6, 0.999 * EXACT_BELOW), queries=st.integers(1, 1000), start=st.floats(0, 0.9))
def test_always_exact_below_five_percent(share: float, queries: int, start: float) -> None:
    first = int(start * N)
    chosen = RowSet.from_runs([[first, first + max(1, int(share * N))]])
    assert choose_plan(N, D, chosen, SETTINGS, "place", queries).route != "ann"


def test_rankings_grow_as_fewer_pass() -> None:
    # two times as many rows as are wanted are expected to pass
    for share, k, depth in ((1.0, 10, 10), (0.5, 10, 100), (0.2, 10, 100), (0.19, 10, 1000), (1.0, 640, 1000)):
        chosen = RowSet.from_runs([[0, int(share * N)]])
        plan = choose_plan(N, D, chosen, SETTINGS, "place", 1, k=k)
        assert (plan.route, plan.depth) == ("ann", depth)
        assert plan.exact == ("scan" if share < 1 else "all")
    far = choose_plan(N, D, RowSet.from_runs([[0, N // 10]]), SETTINGS, "place", 1, k=100)
    assert far.route == "scan" and any("not calibrated for so long" in reason for reason in far.reasons)


def test_long_runs_are_scanned_and_short_ones_gathered() -> None:
    long = choose_plan(N, D, RowSet.from_runs([[10, 5000], [90_000, 91_000]]), None, "place", 1)
    assert long.route == "scan" and "5,990 of 1,000,000 rows pass the filter (0.599 %), in 2 runs" in long.reasons[0]
    assert choose_plan(N, D, every(1000), None, "place", 1).route == "gather"
    # a run breaks even where 4·L·D·(GATHER − 1) = RUN_BYTES
    length = RUN_BYTES / (4 * D * (GATHER - 1))
    assert choose_plan(N, D, every(10_000, int(length) - 1), None, "place", 1).route == "gather"
    assert choose_plan(N, D, every(10_000, int(length) + 1), None, "place", 1).route == "scan"


def test_scattered_halves_are_read_whole() -> None:
    plan = choose_plan(N, D, every(2), None, "place", 1)
    assert plan.route == "all" and plan.rows is not None and plan.rows.count == N // 2


def test_many_queries_share_an_exact_reading() -> None:
    few = 30_000
    settings = SETTINGS | {"nlist": 512}
    assert choose_plan(few, D, None, settings, "place", 1).route == "ann"
    one = 512 * 1024 + few * 4 / 512 * 48 + GATHER * 1024 * 100
    assert one < few * 1024 / QUERIES  # so no number of queries makes reading everything cheaper
    assert choose_plan(few, D, None, settings, "place", 10_000).route == "ann"
    tiny = 5_000
    assert choose_plan(tiny, D, None, settings, "place", 1).route == "ann"
    assert choose_plan(tiny, D, None, settings, "place", 1000).route == "all"


@given(rows=st.lists(st.integers(0, 4999), max_size=300), queries=st.integers(1, 64))
def test_the_least_cost_is_taken(rows: list[int], queries: int) -> None:
    count, chosen = 5000, RowSet.from_rows(rows)
    plan = choose_plan(count, D, chosen, None, "place", queries)
    runs, n = len(chosen.runs), chosen.count
    costs = {"all": count * 1024, "scan": n * 1024 + runs * RUN_BYTES, "gather": n * 1024 * GATHER}
    assert costs[plan.route] == min(costs.values()) if n else plan.route == "scan"
    assert plan.reasons and all(reason.endswith(".") for reason in plan.reasons)


def test_a_filter_that_all_pass_is_none() -> None:
    plan = choose_plan(N, D, RowSet.from_runs([[0, N]]), None, "place", 1)
    assert plan.rows is None and plan.reasons[0] == "All 1,000,000 rows pass."
    empty = choose_plan(N, D, RowSet.from_rows([]), SETTINGS, "place", 1)
    assert empty.route == "scan" and empty.rows is not None and "No row passes" in empty.reasons[0]
    assert choose_plan(0, D, None, None, "place", 1).reasons[0].startswith("No row")


def test_a_graph_of_centroids_spares_reading_them() -> None:
    many = 65_536
    graph = SETTINGS | {"method": "ivf-hnsw-rabitq", "nlist": many}
    reason = choose_plan(10 * N, D, None, graph, "place", 1).reasons[-1]
    cost = (6 * 256 * 1024 + 10 * N * 4 / many * 48 + GATHER * 1024 * 100) / 1e6
    assert f"the approximate index {cost:,.1f} MB" in reason

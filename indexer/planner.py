"""How one search reads its vectors: all of them, the chosen runs as they lie, gathered rows, or the approximate index.

Owns the cost rule, and the sentences that ``--explain`` prints. Reads nothing itself, and decides no answer: every
exact route gives the same rows, and the approximate one is taken only where its recall was measured for the view.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from indexer.rowset import RowSet

Route = Literal["all", "scan", "gather", "ann"]

EXACT_BELOW = 0.05
"""Where less than this share of the rows passes, the answer is always exact: few probed lists would lose rows."""
GATHER = 2.0
"""A scattered row of 256 numbers costs so many rows read in a row (measured 1.1-1.9; copied together first 2.1-3.2)."""
RUN_BYTES = 64 << 10
"""What beginning a run costs beside its bytes (measured: 2 µs, in which 58 kB are read)."""
QUERIES = 8
"""So many queries more cost as much as reading the vectors once (measured: 16 queries 2.6 × one, 64 queries 6 ×)."""
LEAST_EFFORT = 256
"""With so many in sight, a graph of 8,192 lists finds the nearest of every query (64: of 98 %)."""
CENTRES = 6
"""So many centres are compared for each list in sight (measured: 6.1 at 256, 3.6 at 1,024)."""
DEPTHS = (10, 100, 1000)
"""Lengths of ranking that the lists and candidates of a view are calibrated for; what is longer is exact."""


@dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
        route: ``all`` reads every row exactly and drops those that do not pass; ``scan`` reads the runs as they lie;
            ``gather`` reads single rows where they lie; ``ann`` asks the approximate index.
        rows: which rows pass; None where all do.
        reasons: sentences with the numbers that decided.
        exact: the cheapest exact route, for where the approximate one does not suffice.
        depth: length of the ranking that ``ann`` makes, the longer the fewer rows pass; 0 on the exact routes.
    """

    route: Route
    rows: RowSet | None
    reasons: tuple[str, ...]
    depth: int = 0
    exact: Route = "all"


def choose_plan(
    count: int,
    dim: int,
    selected: RowSet | None,
    settings: Mapping[str, Any] | None,
    view: str,
    n_queries: int,
    *,
    k: int = 10,
) -> Plan:
    """The cheapest way by bytes touched, with N rows of D float32, of which n pass in r runs.

    Exact, all: 4·N·D. Scan: 4·n·D + r·``RUN_BYTES``. Gather: 4·n·D·``GATHER``. Each times (1 + (Q − 1)/``QUERIES``),
    because further queries share the reading. Approximate, for each of Q queries: 4·D·nlist for the centroids
    (``CENTRES``·:func:`graph_effort` of them where a graph finds them) + N·probes/nlist·code bytes +
    4·D·``GATHER``·refine·depth, where depth is the length of the ranking in which k rows that pass are expected
    (:func:`depth_for`), and probes and refine are what the view was calibrated to need for it.

    The answer is exact without asking the cost where there is no approximate index, where less than ``EXACT_BELOW`` of
    the rows passes, and for a view that could not be calibrated.

    Args:
        count: N.
        dim: D.
        selected: rows that pass, None for all.
        settings: of the approximate index (:func:`indexer.ann.build_ann`), None where there is none.
        view: of the queries.
        n_queries: Q.
        k: rows wanted.
    """
    passing = count if selected is None else selected.count
    rows = None if passing == count else selected
    if passing == 0:
        return Plan("scan", rows, ("No row passes the filter, so no vector is read.",), exact="scan")
    share = passing / count
    runs = 1 if rows is None else len(rows.runs)
    reasons = [
        f"All {count:,} rows pass."
        if rows is None
        else f"{passing:,} of {count:,} rows pass the filter ({100 * share:.3g} %), in {runs:,} {_runs(runs)}."
    ]
    more = 1 + (max(n_queries, 1) - 1) / QUERIES
    costs: dict[Route, float] = {"all": 4.0 * count * dim * more}
    if rows is not None:
        costs["scan"] = (4.0 * passing * dim + runs * RUN_BYTES) * more
        costs["gather"] = 4.0 * passing * dim * GATHER * more
    exact = min(costs, key=lambda route: costs[route])
    views = {} if settings is None else settings.get("views") or {}
    depths = views[view]["depths"] if view in views else {}
    depth = depth_for(k, share)
    if settings is None or settings.get("method") == "flat":
        reasons.append("There is no approximate index, so the answer is exact.")
    elif share < EXACT_BELOW:
        reasons.append(f"Below {100 * EXACT_BELOW:g} % the answer is always exact.")
    elif depth is None or not depths.get(str(depth)):
        reasons.append(f"View {view!r} is not calibrated for so long a ranking, so the answer is exact.")
    else:
        chosen = depths[str(depth)]
        costs["ann"] = max(n_queries, 1) * cost_of_lists(count, dim, settings, k=depth, **chosen)
        reasons.append(
            f"The approximate index would rank {depth:,} rows: look through {chosen['probes']:,} of "
            f"{int(settings['nlist']):,} lists and compare {chosen['refine'] * depth:,} rows again."
        )
    best = min(costs, key=lambda route: costs[route]) if "ann" in costs else exact
    weighed = "; ".join(f"{_NAMES[route]} {cost / 1e6:,.1f} MB" for route, cost in costs.items())
    reasons.append(f"Bytes touched, or their equal in time: {weighed}. The least is taken: {_NAMES[best]}.")
    return Plan(best, rows, tuple(reasons), depth or 0 if best == "ann" else 0, exact)


_NAMES: dict[Route, str] = {
    "all": "reading every row",
    "scan": "reading the runs as they lie",
    "gather": "gathering the rows",
    "ann": "the approximate index",
}


def _runs(count: int) -> str:
    return "run" if count == 1 else "runs"


def depth_for(k: int, share: float) -> int | None:
    """How far down the ranking of all rows the k best of those that pass are looked for; None where that is too far.

    Of m rows m·share are expected to pass. Twice as many as are wanted leave room for chance: of 20 expected, fewer
    than 10 pass in one case of a hundred.
    """
    wanted = k if share >= 1 else math.ceil(2 * k / share)
    return next((depth for depth in DEPTHS if depth >= wanted), None)


def graph_effort(probes: int) -> int:
    """Lists that a graph of lists keeps in sight (HNSW's ef) to find the nearest ``probes``.

    Fewer hide lists, however many are asked for: with FAISS's own 16, a graph of 8,192 lists gave at most 500, and the
    nearest to one query in 25 was not among them.
    """
    return max(LEAST_EFFORT, 2 * probes)


def cost_of_lists(count: int, dim: int, settings: Mapping[str, Any], *, probes: int, refine: int, k: int) -> float:
    """Bytes that one query touches in the lists and in the rows that are compared again."""
    method, nlist = str(settings["method"]), int(settings["nlist"])
    centroids = min(nlist, CENTRES * graph_effort(probes)) if "hnsw" in method else nlist
    code = dim / 8 + 16 if "rabitq" in method else 4.0 * dim  # a bit a dimension, two factors, the id
    refined = GATHER * 4 * dim * refine * k if "rabitq" in method else 0.0
    return 4.0 * dim * centroids + count * probes / nlist * code + refined

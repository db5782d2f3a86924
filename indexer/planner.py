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
GATHER = 3.0
"""A scattered row of 256 numbers costs so many rows read in a row (measured 2.0-4.3 in place, 3.1-5.2 copied)."""
RUN_BYTES = 64 << 10
"""What beginning a run costs beside its bytes (measured: 2 µs, in which 58 kB are read)."""
QUERIES = 8
"""So many queries more cost as much as reading the vectors once (measured: 16 queries 2.6 × one, 64 queries 6 ×)."""


@dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
        route: ``all`` reads every row exactly and drops those that do not pass; ``scan`` reads the runs as they lie;
            ``gather`` copies scattered rows together first; ``ann`` asks the approximate index.
        rows: which rows pass; None where all do.
        reasons: sentences with the numbers that decided.
        probes: lists that ``ann`` looks through, scaled by the share of rows that pass; 0 on the exact routes.
    """

    route: Route
    rows: RowSet | None
    reasons: tuple[str, ...]
    probes: int = 0


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
    because further queries share the reading. Approximate, for each of Q queries: 4·D·nlist for the centroids (32 a
    probe where a graph finds them) + N·probes/nlist·code bytes + 4·D·``GATHER``·refine·k, where probes is the view's
    calibrated nprobe·N/n and at most nlist.

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
        return Plan("scan", rows, ("No row passes the filter, so no vector is read.",))
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
    nprobe = None if settings is None else (settings.get("nprobe") or {}).get(view)
    if settings is None or settings.get("method") == "flat":
        reasons.append("There is no approximate index, so the answer is exact.")
    elif share < EXACT_BELOW:
        reasons.append(f"Below {100 * EXACT_BELOW:g} % the answer is always exact.")
    elif not nprobe:
        reasons.append(f"View {view!r} has no calibrated number of probes, so its answer is exact.")
    else:
        nlist = int(settings["nlist"])
        probes = min(nlist, math.ceil(nprobe / share))
        costs["ann"] = max(n_queries, 1) * _approximate(count, dim, settings, nlist=nlist, probes=probes, k=k)
        reasons.append(
            f"The approximate index would look through {probes:,} of {nlist:,} lists ({nprobe:,} for the view, divided "
            "by the share that passes)."
        )
    best = min(costs, key=lambda route: costs[route]) if "ann" in costs else exact
    weighed = "; ".join(f"{_NAMES[route]} {cost / 1e6:,.1f} MB" for route, cost in costs.items())
    reasons.append(f"Bytes touched, or their equal in time: {weighed}. The least is taken: {_NAMES[best]}.")
    return Plan(best, rows, tuple(reasons), probes if best == "ann" else 0)


_NAMES: dict[Route, str] = {
    "all": "reading every row",
    "scan": "reading the runs as they lie",
    "gather": "gathering the rows",
    "ann": "the approximate index",
}


def _runs(count: int) -> str:
    return "run" if count == 1 else "runs"


def _approximate(count: int, dim: int, settings: Mapping[str, Any], *, nlist: int, probes: int, k: int) -> float:
    """Bytes that one query touches."""
    method = str(settings["method"])
    centroids = min(nlist, 32 * probes) if "hnsw" in method else nlist
    code = dim / 8 + 16 if "rabitq" in method else 4.0 * dim  # a bit a dimension, two factors, the id
    refined = GATHER * 4 * dim * float(settings.get("refine") or 0) * k
    return 4.0 * dim * centroids + count * probes / nlist * code + refined

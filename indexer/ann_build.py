"""Makes the approximate index of a snapshot, and measures how far each view must look.

Owns training, filling and calibration. Two figures are reported of every view: the share of the true ten that are
found, and the share of answers whose score is within 0.001 of the tenth best; near-duplicates make the first look
worse than what anybody can see. Refuses to let an index stand that finds too few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import IndexStoreError
from indexer import gpu
from indexer.ann import AnnIndex, Lists, list_count
from indexer.encoder import Vectors
from indexer.files import durable
from indexer.planner import DEPTHS, cost_of_lists
from indexer.vectors import Rows, VectorIndex, import_faiss

Weighting = Callable[[Vectors], Vectors]

TARGET = 0.99
QUERIES = 1000
"""That recall is measured on."""
CALIBRATION = 250
"""Others, that the lists and candidates of a view are chosen by."""
POINTS_PER_LIST = 64
"""Rows that each list's centre is trained on."""
ITERATIONS = 8
K = DEPTHS[0]
ATTEMPTS = 3
"""Calibrations of a view, each with half the shortfall that the one before allowed."""
REFINE = (1, 2, 5, 10, 20, 40, 80, 160, 320)
"""Candidates compared again, for each row wanted."""
CLOSE = 1e-3
EQUAL = 1e-6
"""The same product differs by so much from one way of multiplying to another."""
BLOCK = 65_536
GPU_ROWS = 100_000
"""From so many rows on a GPU is worth the way there."""


def build_ann(
    path: Path,
    exact: VectorIndex,
    *,
    method: str,
    weightings: Mapping[str, Weighting],
    queries: Vectors,
    target: float = TARGET,
    seed: int = 0,
) -> dict[str, Any]:
    """Write the approximate index of some rows and find out how far each view must look.

    Lists are trained on a sample and filled block by block. A view weights a query's dimensions and so has neighbours
    of its own: for each and for every length of ranking, the cheapest pair of lists and candidates that reaches halfway
    between ``target`` and 1 is chosen by some of the queries, and recall@10 is measured by the others. A few queries
    may be easier than most: where the others find less than ``target``, the choice is made again with a higher aim.

    Args:
        path: of the file.
        exact: the rows.
        method: one of :data:`indexer.ann.METHODS` but ``flat``.
        weightings: by view, what it does to (n, D) queries.
        queries: (n, D) of the kind that will be asked; a fifth of them calibrate.
        target: least share of the true ten.
        seed: of the sample and of the training.

    Returns:
        Settings for the manifest: ``method``, ``nlist``, ``seed``, ``bytes`` a row and ``views``: of each ``recall``,
        ``score_recall``, and in ``depths`` by length of ranking the ``probes`` and ``refine`` that it takes; None where
        that costs more than reading every row, so the answer is exact. Equal input gives equal settings and bytes.

    Raises:
        IndexStoreError: a view finds too few.
    """
    index = fill(exact, method=method, seed=seed)
    faiss = import_faiss()
    with durable(path) as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))
    settings: dict[str, Any] = {
        "method": method,
        "nlist": int(index.nlist),
        "seed": seed,
        "bytes": round(path.stat().st_size / exact.count, 1),
        "views": {},
    }
    lists = Lists(index, exact, codes="rabitq" in method)
    order = np.random.default_rng(seed).permutation(len(queries))
    first, second = np.split(order, [len(order) * CALIBRATION // (CALIBRATION + QUERIES)])
    for view, weight in weightings.items():
        calibration, others = (
            np.ascontiguousarray(weight(queries[rows]), dtype=np.float32) for rows in (first, second)
        )
        settings["views"][view] = _measured(lists, exact, settings, view, calibration, others, target)
    return settings


def fill(exact: VectorIndex, *, method: str, seed: int = 0) -> Any:
    """The FAISS index of some rows: trained on a sample, filled block by block, on a GPU where there is one.

    Args:
        exact: the rows.
        method: one of :data:`indexer.ann.METHODS` but ``flat``.
        seed: of the sample and of the training.
    """
    faiss = import_faiss()
    lists = list_count(exact.count)
    coarse = f"IVF{lists}_HNSW32" if "hnsw" in method else f"IVF{lists}"
    codes = "RaBitQ" if "rabitq" in method else "Flat"
    index = faiss.index_factory(exact.dim, f"{coarse},{codes}", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = ITERATIONS
    index.cp.max_points_per_centroid = POINTS_PER_LIST
    index.cp.min_points_per_centroid = 1
    index.cp.seed = 1234 + seed
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(exact.count, min(exact.count, POINTS_PER_LIST * lists), replace=False))
    points = np.ascontiguousarray(exact.array[sample])
    on_gpu = exact.count >= GPU_ROWS and gpu.available()
    centres = gpu.centres(points, lists, iterations=ITERATIONS, seed=seed) if on_gpu else None
    if centres is not None:
        index.quantizer.train(centres)
        index.quantizer.add(centres)
    index.train(points)
    pointer = faiss.swig_ptr
    for start in range(0, exact.count, BLOCK):
        rows = np.ascontiguousarray(exact.array[start : start + BLOCK])
        if centres is None:
            index.add(rows)
        else:
            near = gpu.nearest(rows, centres)
            index.add_core(len(rows), pointer(rows), None, pointer(near))
    return index


@dataclass(frozen=True)
class Recall:
    """What of the truth was found: the share of the true rows, and of answers within 0.001 of the worst true score.

    A row counts as true where it scores as high as the last of the true ones: of equal rows any is right.
    """

    rows: float
    scores: float


def compare(found: tuple[Rows, Vectors], truth: tuple[Rows, Vectors]) -> Recall:
    """Compare (Q, k) rows and scores with the exact ones."""
    least = truth[1][:, -1:]
    return Recall(float((found[1] >= least - EQUAL).mean()), float((found[1] >= least - CLOSE).mean()))


def measure_recall(
    ann: AnnIndex,
    exact: VectorIndex,
    settings: Mapping[str, Any],
    weightings: Mapping[str, Weighting],
    queries: Vectors,
) -> Iterator[tuple[str, Recall]]:
    """What each view that is answered approximately finds of the exact ten, on queries of one's own."""
    for view, weight in weightings.items():
        if settings["views"][view]["depths"][str(K)]:
            asked = np.ascontiguousarray(weight(queries), dtype=np.float32)
            found = ann.search_batch(asked, K, view=view)
            yield view, compare(found, exact.search_batch(asked, K))


def sample_queries(
    rows: VectorIndex, others: VectorIndex, *, seed: int = 0, count: int = CALIBRATION + QUERIES
) -> Vectors:
    """Queries such as people ask: like rows of the other kind, at places between rows, and mixtures of several.

    A third each; mixtures take the place of the first where there are none of the other kind. Rows that follow each
    other are neighbours on the ground, so a point between two is that of a place which is nobody's centre.

    Args:
        rows: those to be searched.
        others: those of the other kind, maybe none.
        seed: of the choice.
        count: how many.
    """
    rng = np.random.default_rng(seed)
    cross = min(others.count, count // 3)
    near = count // 3
    first = rng.integers(0, max(1, rows.count - 1), near)
    one, other = rows.take(first), rows.take(np.minimum(first + 1, rows.count - 1))
    between = one + rng.random((near, 1)).astype(np.float32) * (other - one)
    a, b, c = (rows.take(rng.integers(0, rows.count, count - near - cross)) for _ in range(3))
    apart = rng.random((len(a), 1)).astype(np.float32)  # up to queries that are like nothing here, as open sea is
    every = [others.take(np.sort(rng.choice(others.count, cross, replace=False))), between, a + apart * (b - c)]
    queries = np.concatenate(every).astype(np.float32)
    return np.ascontiguousarray(queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-12))


def _measured(
    lists: Lists,
    exact: VectorIndex,
    settings: Mapping[str, Any],
    view: str,
    calibration: Vectors,
    others: Vectors,
    target: float,
) -> dict[str, Any]:
    """What the manifest says of one view. Where the calibration was lucky, it is done again with a higher aim.

    Raises:
        IndexStoreError: the view finds too few however high the aim is.
    """
    truth = exact.search_batch(others, K)
    aim, seen = target, ""
    for _ in range(ATTEMPTS):
        aim = (1 + aim) / 2
        depths = _calibrate(lists, exact, settings, calibration, aim=aim)
        chosen = depths[str(K)]
        recall = compare(lists.search(others, K, **chosen), truth) if chosen else Recall(1.0, 1.0)
        if chosen is None or recall.rows >= target:
            return {"recall": round(recall.rows, 4), "score_recall": round(recall.scores, 4), "depths": depths}
        seen = (
            f"{recall.rows:.4f} of the true {K} in view {view!r} with {chosen['probes']} of {settings['nlist']} lists "
            f"and {chosen['refine'] * K} candidates"
        )
    raise IndexStoreError(
        f"The {settings['method']} index finds {seen}; {target:g} are asked for. Choose a method that keeps more of "
        "each row: --method ivf-flat, or flat for exact answers."
    )


def _calibrate(
    lists: Lists, exact: VectorIndex, settings: Mapping[str, Any], queries: Vectors, *, aim: float
) -> dict[str, dict[str, int] | None]:
    """By length of ranking, the cheapest ``probes`` and ``refine`` that reach the aim; None: reading all is cheaper."""
    truth = exact.search_batch(queries, min(DEPTHS[-1], exact.count))
    depths: dict[str, dict[str, int] | None] = {}
    for k in DEPTHS:
        best = truth[0][:, :k], truth[1][:, :k]
        depths[str(k)] = None
        for cost, probes, refine in _by_cost(exact, settings, k):
            if cost >= 4.0 * exact.count * exact.dim:
                break
            found = lists.search(queries, best[0].shape[1], probes=probes, refine=refine)
            if compare(found, best).rows >= aim:
                depths[str(k)] = {"probes": probes, "refine": refine}
                break
    return depths


def _by_cost(exact: VectorIndex, settings: Mapping[str, Any], k: int) -> list[tuple[float, int, int]]:
    """Every choice of lists and candidates with its cost, the cheapest first."""
    nlist = int(settings["nlist"])
    cost = partial(cost_of_lists, exact.count, exact.dim, settings, k=k)
    probes = sorted({min(nlist, step << power) for step in (2, 3) for power in range(nlist.bit_length())} | {1})
    refine = REFINE if "rabitq" in settings["method"] else (1,)
    return sorted((cost(probes=p, refine=r), p, r) for p in probes for r in refine)

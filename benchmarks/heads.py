"""Time and memory of the heads, beside scikit-learn's on the same features.

    python -m benchmarks.heads [--places 10000] [--asked 100000]

Fitting is on air temperature at land places in the embedding of ``blue-marble-l40``, predicting at others. Each row is
a process of its own, on as many threads as torch may use; memory is its largest resident size while it works, less what
it held before. Ours find their strength or their k by leaving out each place, and calibrate intervals, within the time
of fitting; scikit-learn's RidgeCV finds its strength likewise, KNeighborsRegressor is given its k, MLPRegressor is one
network where ours trains fourteen. Ours predict with intervals and flags (``estimate``), scikit-learn's the bare value.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.timing import Result, Row, main, peak_mb
from data.land import sample_land
from data.tasks import find_task, targets
from model import load
from model.heads import fit_head, r2
from model.mlp_head import GRID
from model.ridge import STRENGTHS

QUICK = {"places": 1_500, "asked": 1_000}
ROWS = ("ridge", "RidgeCV", "knn", "KNeighborsRegressor", "mlp", "MLPRegressor")


def make(name: str) -> Callable[[Any, Any], Callable[[Any], Any]]:
    """A function that fits and gives a function that predicts."""
    if name in ("ridge", "knn", "mlp"):

        def fit(x: Any, y: Any) -> Callable[[Any], Any]:
            head = fit_head(x, y, head=name)
            return lambda z: head.estimate(z).values

        return fit
    from sklearn.linear_model import RidgeCV
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.neural_network import MLPRegressor

    setting = GRID[1]
    peers = {
        "RidgeCV": RidgeCV(alphas=STRENGTHS),
        "KNeighborsRegressor": KNeighborsRegressor(5, weights="distance", algorithm="brute"),
        "MLPRegressor": MLPRegressor(
            hidden_layer_sizes=(setting.hidden, setting.hidden),
            learning_rate_init=setting.learning_rate,
            batch_size=256,
            max_iter=30,
        ),
    }
    return lambda x, y: peers[name].fit(x, y).predict


def measure(name: str, places: int, asked: int) -> Row:
    """One row of the table, in this process."""
    rng = np.random.default_rng(0)
    task, pair = find_task("temperature"), load(part="location")
    lonlat, others = sample_land(places, rng=rng), sample_land(asked, rng=rng)
    x, z = pair.encode_location(lonlat), pair.encode_location(others)
    y, truth = targets(task, lonlat), targets(task, others)
    build, marks, answers = make(name), [time.perf_counter()], list[Any]()

    def work() -> None:
        marks[0] = time.perf_counter()
        predict = build(x, y)
        marks.append(time.perf_counter())
        answers.append(predict(z))
        marks.append(time.perf_counter())

    memory = peak_mb(work)
    fit_s, predict_s = np.diff(marks).tolist()
    more = {"predict, s": predict_s, "R²": r2(truth, answers[0])}
    return Row(name, fit_s, "fit, s", memory_mb=memory, part="one after the other", more=more)


def run(places: int = 10_000, asked: int = 100_000) -> Result:
    """Every row, each by a process of its own."""
    rows = []
    for name in ROWS:
        with multiprocessing.get_context("spawn").Pool(1) as process:
            rows.append(process.apply(measure, (name, places, asked)))
    title = f"Fitted on {places:,} places, asked at {asked:,}: our heads with intervals, scikit-learn's bare values."
    return Result(title, tuple(rows))


if __name__ == "__main__":
    main(run, QUICK)

"""Time and memory of the heads, beside scikit-learn's on the same features.

    python -m benchmarks.heads [--places 10000] [--asked 100000]

Fitting is on air temperature at land places in the embedding of ``blue-marble-l40``, predicting at others. Each row is
a process of its own, on as many threads as torch may use; memory is its largest resident size while it works, less what
it held before. Ours find their strength or their k by leaving out each place, and calibrate intervals, within the time
of fitting; scikit-learn's RidgeCV finds its strength likewise, KNeighborsRegressor is given its k, MLPRegressor is one
network where ours trains fourteen. Ours predict with intervals and flags (``estimate``), scikit-learn's the bare value.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import resident
from data.land import sample_land
from data.tasks import find_task, targets
from model import load
from model.heads import fit_head, r2
from model.mlp_head import GRID
from model.ridge import STRENGTHS

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


def measure(name: str, places: int, asked: int) -> None:
    """Print one row of the table."""
    rng = np.random.default_rng(0)
    task, pair = find_task("temperature"), load(part="location")
    lonlat, others = sample_land(places, rng=rng), sample_land(asked, rng=rng)
    x, z = pair.encode_location(lonlat), pair.encode_location(others)
    y, truth = targets(task, lonlat), targets(task, others)
    build = make(name)
    Path("/proc/self/clear_refs").write_text("5")  # Linux begins anew to note the largest resident size
    before, start = resident("VmRSS"), time.perf_counter()
    predict = build(x, y)
    fitted = time.perf_counter()
    answer = predict(z)
    done = time.perf_counter()
    megabytes = (resident("VmHWM") - before) / 2**20
    print(f"| {name} | {fitted - start:.2f} | {done - fitted:.2f} | {megabytes:,.0f} | {r2(truth, answer):.3f} |")


def main() -> None:
    """Print the table, each row by a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--places", type=int, default=10_000)
    parser.add_argument("--asked", type=int, default=100_000)
    parser.add_argument("--row", choices=ROWS, help="measure this one alone, in this process")
    given = parser.parse_args()
    if given.row:
        measure(given.row, given.places, given.asked)
        return
    print(f"| {given.places:,} places, then {given.asked:,} asked | fit, s | predict, s | MB | R² |")
    print("|---|---|---|---|---|")
    sys.stdout.flush()
    for row in ROWS:
        words = ["--places", str(given.places), "--asked", str(given.asked), "--row", row]
        subprocess.run([sys.executable, "-m", "benchmarks.heads", *words], check=True)


if __name__ == "__main__":
    main()

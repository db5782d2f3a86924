"""Speed and memory of location encoding at L = 40, 256 dimensions, against what no code can go below.

    python -m benchmarks.location_encoding [--points 100000] [--rounds 5] [--memory-points 10000000]

The floor is the three matrix products of the network alone (1600 × 512, 512 × 512, 512 × 256), in float32, in one call
each, with the harmonics already there. The peer is what a textbook says and the original's closed form does: a Python
loop over (l, m), each function from its own recurrence, in float64. All take turns in one process on the same threads;
a ratio is that of the medians. If sphericart-torch is installed, its harmonics are timed beside ours. Memory is that of
a process of its own: its largest resident size, less what it held before and less the embeddings themselves.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.timing import resident
from model.chunks import encode_chunks
from model.harmonics import spherical_harmonics
from model.satclip import SatCLIPConfig, SatCLIPNetwork, SatCLIPPair

DEGREES = 40


def random_pair(dtype: str | None = "float32") -> SatCLIPPair:
    """Location half of an L40 pair with random weights: time does not depend on them."""
    torch.manual_seed(0)
    network = SatCLIPNetwork(SatCLIPConfig(legendre_polys=DEGREES), part="location")
    return SatCLIPPair(network, name="random-l40", fingerprint="0" * 64, card={}, dtype=dtype)


def random_points(count: int) -> NDArray[np.float64]:
    """(count, 2) degrees, uniform on the sphere."""
    rng = np.random.default_rng(0)
    latitude = np.rad2deg(np.arcsin(rng.uniform(-1, 1, count)))
    return np.stack([rng.uniform(-180, 180, count), latitude], axis=1)


def loop_harmonics(lonlat: Tensor) -> Tensor:
    """The harmonics of :mod:`model.harmonics`, (N, L²) float64, one by one."""
    phi, theta = torch.deg2rad(lonlat[:, 0] + 180), torch.deg2rad(lonlat[:, 1] + 90)
    x, sine = torch.cos(theta), torch.sin(theta)
    columns = []
    for l in range(DEGREES):
        for m in range(-l, l + 1):
            order = abs(m)
            norm = math.sqrt((2 * l + 1) / (4 * math.pi) * math.exp(math.lgamma(l - order + 1)))
            # Started from P_mm over (2m − 1)!!, which is put back with the norm: it would overflow.
            odd = math.lgamma(2 * order + 1) - order * math.log(2) - math.lgamma(order + 1)
            norm *= math.exp(odd - 0.5 * math.lgamma(l + order + 1)) * (math.sqrt(2) if m else 1)
            before, now = torch.zeros_like(x), sine**order
            for degree in range(order + 1, l + 1):
                step = ((2 * degree - 1) * x * now - (degree + order - 1) * before) / (degree - order)
                before, now = now, step
            turn = torch.sin(order * phi) if m < 0 else torch.cos(order * phi)
            columns.append(norm * now * turn)
    return torch.stack(columns, dim=1)


def medians(candidates: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, taking turns, after one turn that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


@torch.inference_mode()
def speed(count: int, rounds: int) -> None:
    """Print the table of ratios."""
    points, pair, fine = random_points(count), random_pair(), random_pair(None)
    lonlat = torch.from_numpy(points)
    widths = [(DEGREES**2, 512), (512, 512), (512, 256)]
    inputs = [torch.randn(count, rows) for rows, _ in widths]
    weights = [torch.randn(rows, columns) for rows, columns in widths]
    few = points[: max(1, count // 100)]
    network = fine.network.location.nnet
    candidates: dict[str, Callable[[], object]] = {
        "floor": lambda: [x @ w for x, w in zip(inputs, weights, strict=True)],
        "encoder, float32": lambda: pair.encode_location(points),
        "encoder, float64": lambda: fine.encode_location(points),
        "loop": lambda: network(loop_harmonics(torch.from_numpy(few))),
        "harmonics": lambda: encode_chunks(
            lambda part: spherical_harmonics(part, DEGREES), lonlat, dim=DEGREES**2, dtype=torch.float64
        ),
    }
    try:
        from sphericart.torch import SphericalHarmonics
    except ImportError:
        print("sphericart-torch is not installed: its row is left out.\n")
    else:
        theirs = SphericalHarmonics(DEGREES - 1)
        phi, latitude = torch.deg2rad(lonlat[:, 0] + 180), torch.deg2rad(lonlat[:, 1])
        xyz = torch.stack([latitude.cos() * phi.cos(), latitude.cos() * phi.sin(), latitude.sin()], dim=1)
        candidates["harmonics, sphericart-torch"] = lambda: theirs.compute(xyz)
    difference = (loop_harmonics(lonlat[:500]) - spherical_harmonics(lonlat[:500], DEGREES)).abs().max()
    assert difference < 1e-9, f"the loop and the encoder disagree by {difference:.1e}"
    seconds = medians(candidates, rounds)
    rate = {name: (len(few) if name == "loop" else count) / took for name, took in seconds.items()}
    setting = f"{count:,} points, L = {DEGREES}, {torch.get_num_threads()} threads"
    print(f"| {setting} | points a second | beside the floor | beside the loop |")
    print("|---|---|---|---|")
    for name in candidates:
        over = f"{rate['floor'] / rate[name]:.2f}× its time"
        print(f"| {name} | {rate[name]:,.0f} | {over} | {rate[name] / rate['loop']:,.1f}× its points |")


def memory(count: int) -> None:
    """Print what a process takes to encode so many points."""
    pair, points = random_pair(), random_points(count)
    pair.encode_location(points[:10_000])
    # Linux begins anew to note the largest resident size: imports took more than is held now.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    rows = pair.encode_location(points)
    extra = resident("VmHWM") - before - rows.nbytes
    print(
        f"{count:,} points: {extra / 2**20:,.0f} MB beside {rows.nbytes / 2**30:.1f} GB of embeddings and "
        f"{points.nbytes / 2**20:,.0f} MB of points"
    )


def main() -> None:
    """Measure speed here, memory in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-points", type=int, default=10_000_000, help="0 leaves memory out")
    parser.add_argument("--memory-alone", action="store_true", help="measure memory alone, in this process")
    given = parser.parse_args()
    if given.memory_alone:
        memory(given.memory_points)
        return
    speed(given.points, given.rounds)
    if given.memory_points:
        print()
        sys.stdout.flush()
        own = [sys.executable, "-m", "benchmarks.location_encoding", "--memory-alone"]
        subprocess.run([*own, "--memory-points", str(given.memory_points)], check=True)


if __name__ == "__main__":
    main()

"""Speed and memory of location encoding at L = 40, 256 dimensions, against what no code can go below.

    python -m benchmarks.location_encoding [--points 100000] [--rounds 5] [--memory-points 10000000]

The floor is the three matrix products of the network alone (1600 × 512, 512 × 512, 512 × 256), in float32, in one call
each, with the harmonics already there. The peer is what a textbook says and the original's closed form does: a Python
loop over (l, m), each function from its own recurrence, in float64. All take turns in one process on the same threads;
a ratio is that of the medians. The harmonics alone are timed beside scipy's, and sphericart-torch's if it is there.
Memory is that of a process of its own: its largest resident size, less what it held before and less the embeddings.
"""

from __future__ import annotations

import math
import multiprocessing

import numpy as np
import scipy.special
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.timing import Result, Row, Work, find_peer, in_turns, main, peak_mb, timed_row
from model.chunks import encode_chunks
from model.harmonics import spherical_harmonics
from model.satclip import SatCLIPConfig, SatCLIPNetwork, SatCLIPPair

QUICK = {"points": 2_000, "rounds": 1, "memory_points": 20_000}
DEGREES = 40
SCIPY = "harmonics alone, scipy (complex)"


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


@torch.inference_mode()
def speed(count: int, rounds: int, missing: list[str]) -> list[Row]:
    """Points a second, of all in turns."""
    points, pair, fine = random_points(count), random_pair(), random_pair(None)
    lonlat = torch.from_numpy(points)
    widths = [(DEGREES**2, 512), (512, 512), (512, 256)]
    inputs = [torch.randn(count, rows) for rows, _ in widths]
    weights = [torch.randn(rows, columns) for rows, columns in widths]
    few = points[: max(1, count // 100)]
    network = fine.network.location.nnet
    floor, loop = "the three products alone", "a loop over (l, m), float64"
    candidates: dict[str, Work] = {
        floor: lambda: [x @ w for x, w in zip(inputs, weights, strict=True)],
        "encoder, float32": lambda: pair.encode_location(points),
        "encoder, float64": lambda: fine.encode_location(points),
        loop: lambda: network(loop_harmonics(torch.from_numpy(few))),
        "harmonics alone": lambda: encode_chunks(
            lambda part: spherical_harmonics(part, DEGREES), lonlat, dim=DEGREES**2, dtype=torch.float64
        ),
    }
    if hasattr(scipy.special, "sph_harm_y_all"):  # since scipy 1.15
        turn, down = np.deg2rad(few[:, 0]), np.deg2rad(90 - few[:, 1])
        candidates[SCIPY] = lambda: scipy.special.sph_harm_y_all(DEGREES - 1, DEGREES - 1, down, turn)
    if sphericart := find_peer("sphericart.torch", missing):
        theirs = sphericart.SphericalHarmonics(DEGREES - 1)
        phi, latitude = torch.deg2rad(lonlat[:, 0] + 180), torch.deg2rad(lonlat[:, 1])
        xyz = torch.stack([latitude.cos() * phi.cos(), latitude.cos() * phi.sin(), latitude.sin()], dim=1)
        candidates["harmonics alone, sphericart-torch"] = lambda: theirs.compute(xyz)
    difference = (loop_harmonics(lonlat[:500]) - spherical_harmonics(lonlat[:500], DEGREES)).abs().max()
    assert difference < 1e-9, f"the loop and the encoder disagree by {difference:.1e}"
    times = in_turns(candidates, rounds=rounds)
    counts = {name: len(few) if name in (loop, SCIPY) else count for name in candidates}
    rates = {name: counts[name] / times[name].median for name in candidates}
    return [
        timed_row(
            name,
            times,
            peer=floor,
            count=counts[name],
            peer_count=count,
            unit="points a second",
            part="points",
            more={"times the loop's": rates[name] / rates[loop]},
        )
        for name in candidates
    ]


def memory(count: int) -> Row:
    """What a process takes to encode so many points, beside the points and their embeddings."""
    pair, points = random_pair(), random_points(count)
    pair.encode_location(points[:10_000])
    rows: list[NDArray[np.float32]] = []
    peak = peak_mb(lambda: rows.append(pair.encode_location(points)))
    extra = peak - rows[0].nbytes / 2**20
    more = {"embeddings, MB": rows[0].nbytes / 2**20, "points, MB": points.nbytes / 2**20}
    return Row(f"{count:,} points in a call", extra, "MB beside", part="memory", more=more)


def run(points: int = 100_000, rounds: int = 5, memory_points: int = 10_000_000) -> Result:
    """Measure speed here, memory in a process of its own."""
    missing: list[str] = []
    rows = speed(points, rounds, missing)
    with multiprocessing.get_context("spawn").Pool(1) as process:
        rows.append(process.apply(memory, (memory_points,)))
    title = (
        f"SatCLIP's location encoder, L = {DEGREES}, 256 numbers: {points:,} points, {torch.get_num_threads()} threads."
    )
    return Result(title, tuple(rows), tuple(missing))


if __name__ == "__main__":
    main(run, QUICK)

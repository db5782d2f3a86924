"""Encoding any number of points in little memory, on all processors, each row the same whoever is beside it.

Owns the cutting into blocks. A matrix product may round a row differently when the number of rows changes, and when
more threads share it. So an encoder only ever sees blocks of one size, the last one filled up, each worked on by one
thread: the rows are bit-identical whatever the number of points, the way they are cut into calls, and the number of
threads.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 256
"""Points that a processor encodes at once. Larger ones take turns at the interpreter less often; a single point costs a
whole block, some 9 ms at L = 40. docs/log.md has the curve."""

ACCELERATOR_BLOCK = 8192
"""The same on a GPU, where launches cost more than arithmetic: 100 MB of float64 harmonics at L = 40."""

_SPAN = 2
"""Blocks that a thread takes at a time."""


def encode_chunks(
    encode: Callable[[Tensor], Tensor],
    points: Tensor,
    *,
    dim: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    out: Tensor | None = None,
) -> Tensor:
    """Encode points block by block, without gradients.

    Args:
        encode: maps (block, 2) points to (block, dim); row i of its result depends on row i alone. Called from several
            threads at a time on a CPU.
        points: (N, 2).
        dim: D, length of an embedding.
        dtype: of the result.
        device: where ``encode`` works; it gets points that lie there (but for Apple's GPU, which has no float64:
            there it gets them on the CPU).
        out: (N, D) to write into, such as a memory-mapped array; a new one on the device of ``points`` by default.

    Returns:
        (N, D). Beyond it and ``points``, a few MB of memory are taken on a CPU, whatever N.

    Raises:
        ValueError: ``encode`` gave, or ``out`` has, another shape.
    """
    kind = torch.device(device).type
    block = BLOCK if kind == "cpu" else ACCELERATOR_BLOCK
    if out is None:
        out = torch.empty(len(points), dim, dtype=dtype, device=points.device)
    if out.shape != (len(points), dim):
        raise ValueError(f"out must have the shape ({len(points)}, {dim}), got {tuple(out.shape)}")

    @torch.inference_mode()
    def fill(start: int, stop: int) -> None:
        for begin in range(start, stop, block):
            part = points[begin : begin + block]
            missing = block - len(part)
            padded = functional.pad(part, (0, 0, 0, missing)) if missing else part
            rows = encode(padded if kind == "mps" else padded.to(device))
            if rows.shape != (block, dim):
                raise ValueError(f"an encoder of {block} points gave {tuple(rows.shape)}, not ({block}, {dim})")
            out[begin : begin + block] = rows[: len(part)]

    if kind != "cpu":
        fill(0, len(points))
        return out
    starts = range(0, len(points), _SPAN * block)
    ends = (min(start + _SPAN * block, len(points)) for start in starts)
    # The list waits for every span, and raises the first error.
    list(_workers(torch.get_num_threads(), os.getpid()).map(fill, starts, ends))
    return out


_starting = threading.Lock()


def _workers(count: int, process: int) -> ThreadPoolExecutor:
    """As many threads as torch may use, each of which works alone. A forked process starts its own."""
    with _starting:
        return _start(count, process)


def _work_alone() -> None:
    torch.get_num_threads()  # the first call in a thread takes the process's setting over, even after one was made
    torch.set_num_threads(1)


@functools.lru_cache(maxsize=4)
def _start(count: int, _process: int) -> ThreadPoolExecutor:
    """Start the threads.

    Threads of our own, because those of torch wait for each other after every operation: where another process wants
    the processors, that was measured to take ten times as long.
    """
    ready = threading.Barrier(count + 1)
    pool = ThreadPoolExecutor(count, "encode", initializer=_work_alone)
    for _ in range(count):
        pool.submit(ready.wait)
    ready.wait()
    # The call holds for the thread that makes it, but is also what threads started later begin with: put that back.
    torch.set_num_threads(count)
    return pool

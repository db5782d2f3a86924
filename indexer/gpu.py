"""What a GPU does for an index, where PyTorch sees one: the lists of rows, and exact answers to many queries.

Owns nothing of the answers: the GPU multiplies in single precision as the processor does, so scores agree to 1e-4 and
ranks to equals. FAISS's own GPU build needs another package and another CUDA beside PyTorch's; what it would do here
are matrix products, which PyTorch does as well. Nothing here imports torch where it was not imported before.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.encoder import Vectors

BLOCK_BYTES = 1 << 30
"""Of rows on the GPU at a time."""


def available() -> bool:
    """Whether PyTorch sees a GPU. False where nothing has imported it: loading it takes longer than a search."""
    torch = sys.modules.get("torch")
    return bool(torch is not None and torch.cuda.is_available())


def nearest(rows: Vectors, centres: Vectors, *, device: str = "cuda") -> NDArray[np.int64]:
    """The centre with the largest inner product of each row: (N, D), (C, D) to (N,)."""
    import torch

    there = torch.from_numpy(np.ascontiguousarray(centres)).to(device)
    found = [(block @ there.T).argmax(dim=1).cpu().numpy() for _, block in _blocks(rows, device)]
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def centres(sample: Vectors, count: int, *, iterations: int, seed: int, device: str = "cuda") -> Vectors:
    """Centres of unit length by spherical k-means: (n, D) rows to (count, D).

    A centre that no row is nearest to begins anew at a row drawn at random.

    Source:
        Dhillon and Modha 2001, Concept Decompositions for Large Sparse Text Data Using Clustering, §3.
    """
    import torch

    random = torch.Generator().manual_seed(seed)
    rows = torch.from_numpy(np.array(sample)).to(device)
    chosen = rows[torch.randperm(len(rows), generator=random)[:count].to(device)]
    for _ in range(iterations):
        near = torch.cat([(part @ chosen.T).argmax(dim=1) for part in rows.split(65_536)])
        sums = torch.zeros_like(chosen).index_add_(0, near, rows)
        empty = torch.bincount(near, minlength=len(chosen)) == 0
        if drawn := int(empty.sum()):
            sums[empty] = rows[torch.randint(len(rows), (drawn,), generator=random).to(device)]
        chosen = torch.nn.functional.normalize(sums, dim=1)
    return np.asarray(chosen.cpu().numpy(), dtype=np.float32)


def search_batch(rows: Vectors, queries: Vectors, k: int, *, device: str = "cuda") -> tuple[NDArray[np.int64], Vectors]:
    """Each query's best rows by inner product: (Q, k) row numbers and products, best first; k is at most N."""
    import torch

    asked = torch.from_numpy(np.ascontiguousarray(queries)).to(device)
    best: Any = None
    for start, block in _blocks(rows, device):
        scores, at = (asked @ block.T).topk(min(k, len(block)), dim=1)
        at = at + start
        if best is not None:
            scores, at = torch.cat([best[0], scores], dim=1), torch.cat([best[1], at], dim=1)
            scores, order = scores.topk(min(k, scores.shape[1]), dim=1)
            at = at.gather(1, order)
        best = scores, at
    return best[1].cpu().numpy(), best[0].cpu().numpy()


def _blocks(rows: Vectors, device: str) -> Iterator[tuple[int, Any]]:
    """The rows on the device, some at a time, each with the number of its first."""
    import torch

    step = max(1, BLOCK_BYTES // (4 * rows.shape[1]))
    for start in range(0, len(rows), step):
        yield start, torch.from_numpy(np.array(rows[start : start + step])).to(device)

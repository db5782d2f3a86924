"""Rows of all processes as one batch, with gradients.

Owns the only communication that the loss needs. Every process computes the loss of the joined batch, so no gradient has
to travel back: each keeps the slice that belongs to its own rows.

Source:
    Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision (CLIP), §2.5 (there each
    device computes its share of the similarities; here all of them, which is little beside the encoders).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


class _Gather(torch.autograd.Function):
    """All-gather whose backward pass takes the own slice."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        world = distributed.get_world_size()
        parts = [torch.empty_like(rows) for _ in range(world)]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # The gradients of the processes are averaged afterwards. What depends on the loss directly (the logit scale)
        # then comes out right; what came through one process's rows would be divided by the number of processes.
        world = distributed.get_world_size()
        return gradients[0].chunk(world)[distributed.get_rank()] * world


def gather(rows: Tensor) -> Tensor:
    """Join the rows of all processes, in the order of their ranks.

    Args:
        rows: (n, …), as many on every process.

    Returns:
        (world · n, …); ``rows`` itself where there is one process. Averaging the parameters' gradients over the
        processes, as DistributedDataParallel does, then gives the gradient of the loss on the joined batch.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return rows
    joined: Tensor = _Gather.apply(rows)  # type: ignore[no-untyped-call]
    return joined

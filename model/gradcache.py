"""Batches larger than memory: every pair is a real negative of every other, yet one chunk is encoded at a time.

Owns the cached contrastive gradient. The paper makes two passes: one without a graph that keeps the vectors alone, and,
once the loss over all of them has given each vector its gradient, one that encodes chunk after chunk again and
carries that gradient into the weights. PyTorch's non-reentrant checkpoint over a whole chunk is just this, written as
one backward pass: so automatic differentiation, mixed precision and DistributedDataParallel (each weight's gradient is
ready once, not once a chunk) work as usual. The random state is replayed, so dropout draws the same masks twice.

Refuses batch normalisation over a chunk: its statistics would be the chunk's, not the batch's, and be updated twice.
:func:`freeze_batch_norm` makes such layers use their running statistics.

Source:
    Gao et al. 2021, Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup, arXiv:2101.06983, §3.2.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def encode_cached(
    encode: Callable[[Tensor], Tensor], rows: Tensor, first: Tensor, *, again: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Encode one chunk now, keep its vectors alone, and encode it again when its gradients are known.

    Args:
        encode: (n, …) inputs → (n, D) vectors.
        rows: (n,) row numbers, on the device on which ``encode`` runs.
        first: (n, …) inputs of the first pass.
        again: gives the same inputs from ``rows`` for the second pass; by default ``first`` is kept until then.

    Returns:
        (n, D) with a gradient.
    """
    if again is None:
        vectors: Tensor = checkpoint(encode, first, use_reentrant=False)
        return vectors
    at_hand = [first]

    def read_and_encode(rows: Tensor) -> Tensor:
        return encode(at_hand.pop() if at_hand else again(rows))

    del first
    vectors = checkpoint(read_and_encode, rows, use_reentrant=False)
    return vectors


def freeze_batch_norm(network: nn.Module) -> None:
    """Make every batch normalisation use its running statistics; scale and shift still learn."""
    for layer in network.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval()


def return_memory() -> None:
    """Let the C library give large blocks back to the system at once, where it is glibc.

    By default it keeps blocks of up to 32 MB in its heap, where the few kilobytes that each chunk leaves behind pin
    them: 20 chunks of 16 patches then took 2.7 GB instead of 1.6 GB on the CPU, and more with every chunk.
    """
    mmap_threshold = -3  # M_MMAP_THRESHOLD in malloc.h
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(mmap_threshold, 4 << 20)

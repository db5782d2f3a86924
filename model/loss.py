"""The contrastive loss between images and places.

Owns the symmetric cross-entropy over cosine similarities. Refuses nothing; it is one formula.

Source:
    Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision (CLIP), §2.3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_FEW = 0.3  # less likeness than this in a whole batch, and the true pair keeps the rest


def contrastive_loss(
    image: Tensor, place: Tensor, logit_scale: Tensor, *, max_scale: float = 100.0, targets: Tensor | None = None
) -> Tensor:
    """Symmetric cross-entropy: each image should pick its place out of the batch, and each place its image.

    Args:
        image: (N, D) raw vectors.
        place: (N, D) raw vectors; row i belongs to image i.
        logit_scale: scalar, the logarithm of the inverse temperature.
        max_scale: the inverse temperature is clamped to this; the lower, the less a pair must stand out from
            look-alikes.
        targets: (N, N) rows of probabilities that replace "row i belongs to image i".

    Returns:
        Scalar loss in nats.
    """
    scale = logit_scale.clamp(max=math.log(max_scale)).exp()
    logits = scale * functional.normalize(image, dim=1) @ functional.normalize(place, dim=1).T
    truth = torch.arange(len(logits), device=logits.device) if targets is None else targets
    return (functional.cross_entropy(logits, truth) + functional.cross_entropy(logits.T, truth)) / 2


def look_alike_targets(appearance: Tensor, *, share: float, width: float) -> Tensor:
    """Spread part of each row's target over the batch's look-alikes, which then are not pushed apart.

    Args:
        appearance: (N, C) standardised description of each image.
        share: most probability that leaves the true pair, 0…1; a row with few look-alikes keeps more.
        width: standard deviation of the Gaussian kernel between appearances.

    Returns:
        (N, N) rows that sum to one.
    """
    likeness = torch.exp(-(torch.cdist(appearance, appearance) ** 2) / (2 * width**2))
    likeness.fill_diagonal_(0.0)
    spread = share * likeness / likeness.sum(dim=1, keepdim=True).clamp(min=_FEW)
    return spread + torch.diag(1 - spread.sum(dim=1))

"""What a patch looks like, in numbers that need no network.

Owns two descriptions: the short one says which patches are look-alikes; the long one is what a place's vector is asked
to tell of its surroundings (:attr:`model.presets.TrainConfig.read_out`). Both are made of imagery alone.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

COLOUR_SPREAD = 0.243
"""Standard deviation of patches' mean colours over the land, the unit of ``look_alike_width``."""
CONTRAST_WEIGHT = 0.7
GRID = 4
DESCRIBED = 3 * GRID**2 + 14
"""Length of :func:`describe`."""


def appearance(patches: Tensor) -> Tensor:
    """Mean colour and contrast of (N, 3, H, W) display colours 0…1: (N, 6), standardised."""
    values = patches.flatten(2)
    return torch.cat([values.mean(dim=2), CONTRAST_WEIGHT * values.std(dim=2)], dim=1) / COLOUR_SPREAD


def describe(patches: Tensor) -> Tensor:
    """The layout of colours, the centre's colours and contrasts, and how rough the picture is.

    Args:
        patches: (N, 3, 32, 32) display colours 0…1, full patches of 237 km.

    Returns:
        (N, 62): mean colours of the 4×4 parts; mean colours of the inner 59 and 15 km; contrasts of the whole and of
        the inner 59 km; logarithms of the mean step between neighbouring pixels, of the whole and of the inner 119 km.
    """
    inner, near, core = patches[:, :, 8:24, 8:24], patches[:, :, 12:20, 12:20], patches[:, :, 15:17, 15:17]
    parts = functional.adaptive_avg_pool2d(patches, GRID).flatten(1)
    means = [near.mean(dim=(2, 3)), core.mean(dim=(2, 3))]
    contrasts = [patches.std(dim=(2, 3)), near.std(dim=(2, 3))]
    return torch.cat([parts, *means, *contrasts, _roughness(patches), _roughness(inner)], dim=1)


def _roughness(patches: Tensor) -> Tensor:
    steps = patches.diff(dim=2).abs().mean(dim=(1, 2, 3)) + patches.diff(dim=3).abs().mean(dim=(1, 2, 3))
    return torch.log(steps + 1 / 255)[:, None]

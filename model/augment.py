"""What training does to a Blue Marble patch before the encoder sees it.

Owns the views that make a Sentinel-2 patch a fair question: central crops of every width down to a third of a pixel
blown up, and jitter of tone as large as season, atmosphere and the fitted bridge leave it. East–west flips keep the
encoder from learning single coastlines by heart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from data.blue_marble import FOOTPRINT_KM
from model.image import FINEST_KM


@dataclass(frozen=True)
class AugmentConfig:
    """How much of what.

    Attributes:
        crop_share: share of a batch that is cropped, log-uniformly between 2.56 km and the full 237 km.
        flip: probability of an east–west flip.
        tone: standard deviation of the brightness gain of full patches.
        crop_tone: the same of cropped ones: left-one-out error of the Sentinel-2 bridge, about 13 of 255
            (tools/fit_bridge.py).
    """

    crop_share: float = 0.3
    flip: float = 0.5
    tone: float = 0.03
    crop_tone: float = 0.12


def augment(pixels: Tensor, config: AugmentConfig, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Crop, flip and tint a batch.

    Args:
        pixels: (N, 3, H, W) uint8 full patches.
        config: how much.
        generator: of all draws; on the CPU.

    Returns:
        (N, 3, H, W) float32 display colours 0…1, and (N,) footprints in kilometres.
    """
    n = len(pixels)
    x = pixels.float() / 255
    footprint_km = torch.full((n,), FOOTPRINT_KM)
    crops = round(n * config.crop_share)
    if crops:
        widest = math.log(FOOTPRINT_KM / FINEST_KM)
        side = FINEST_KM * torch.exp(widest * torch.rand(crops, generator=generator))
        footprint_km[:crops] = side
        window = torch.zeros(crops, 2, 3)
        window[:, 0, 0] = window[:, 1, 1] = side / FOOTPRINT_KM
        grid = functional.affine_grid(window.to(x.device), list(x[:crops].shape), align_corners=False)
        cropped = functional.grid_sample(x[:crops], grid, padding_mode="border", align_corners=False)
        x = torch.cat([cropped, x[crops:]])
    tone = torch.where(footprint_km < FOOTPRINT_KM, config.crop_tone, config.tone)[:, None, None, None]
    gain = 1 + tone * torch.randn(n, 1, 1, 1, generator=generator)
    gain = gain + 0.35 * tone * torch.randn(n, 3, 1, 1, generator=generator)
    shift = 0.3 * tone * torch.randn(n, 1, 1, 1, generator=generator)
    x = (x * gain.to(x.device) + shift.to(x.device)).clamp(0, 1)
    if config.flip:
        flipped = torch.rand(n, generator=generator) < config.flip
        x[flipped] = x[flipped].flip(-1)
    return x, footprint_km.to(x.device)

"""What training shows of a place: views of the Blue Marble around it.

Owns the views that make a Sentinel-2 patch a fair question (central crops of every width down to a third of a pixel
blown up, and jitter of tone as large as season, atmosphere and the fitted bridge leave it), and those that keep the
encoder from learning single landscapes by heart: east–west flips, turns, closer looks, painted-over squares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from data.blue_marble import FOOTPRINT_KM, PATCH_PX
from model.cutting import cut_patches
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
        turn_deg: patches that are not cropped are turned by up to this, either way.
        zoom: and show at least this share of the full side, log-uniformly; the encoder is told.
        paint: probability that a square of half the side is painted over in the patch's mean colour.
    """

    crop_share: float = 0.3
    flip: float = 0.5
    tone: float = 0.03
    crop_tone: float = 0.12
    turn_deg: float = 0.0
    zoom: float = 1.0
    paint: float = 0.0


def augment(
    picture: Tensor, lonlat: Tensor, configs: Sequence[AugmentConfig], *, generators: Sequence[torch.Generator]
) -> list[tuple[Tensor, Tensor]]:
    """Views of each place, one for each way of looking; all are cut at once.

    Args:
        picture: as :func:`model.cutting.picture_tensor` gives it.
        lonlat: (N, 2) float64 degrees, the places.
        configs: how much, for each view.
        generators: of all draws of each view; on the CPU.

    Returns:
        For each view (N, 3, 32, 32) float32 display colours, 0…1 where cropped, a little beyond where not (white snow
        under a gain would else lose what little it shows), and (N,) footprints in kilometres.
    """
    draws = [_draw(len(lonlat), *how) for how in zip(configs, generators, strict=True)]
    given = {name: torch.cat([draw[name] for draw in draws]).to(picture.device) for name in draws[0]}
    footprint_km, places = given["footprint_km"], lonlat.repeat(len(configs), 1)
    x = cut_patches(picture, places, footprint_km, turn=given["turn"], mirror=given["mirror"])
    if any(config.paint for config in configs):
        step = torch.arange(PATCH_PX, device=picture.device)
        first = given["corner"][:, :, None]
        inside = (step >= first) & (step < first + PATCH_PX // 2)  # (N, 2, 32)
        square = inside[:, 0, :, None] & inside[:, 1, None, :] & given["painted"][:, None, None]
        x = torch.where(square[:, None], x.mean(dim=(2, 3), keepdim=True), x)
    x = x * given["gain"][:, :, None, None] + given["shift"][:, :, None, None]
    x = torch.where(given["cropped"][:, None, None, None], x.clamp(0, 1), x)
    return list(zip(torch.split(x, len(lonlat)), torch.split(footprint_km, len(lonlat)), strict=True))


def _draw(n: int, config: AugmentConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """What one view of n places leaves to chance."""
    crops = round(n * config.crop_share)
    shares = torch.rand(n, generator=generator)
    sides = FOOTPRINT_KM * torch.exp(math.log(config.zoom) * shares)
    sides[:crops] = FINEST_KM * torch.exp(math.log(FOOTPRINT_KM / FINEST_KM) * shares[:crops])
    cropped = torch.arange(n) < crops
    tone = torch.where(cropped, config.crop_tone, config.tone)[:, None]
    gain = 1 + tone * torch.randn(n, 1, generator=generator)
    return {
        "footprint_km": sides,
        "cropped": cropped,
        "turn": math.radians(config.turn_deg) * (2 * torch.rand(n, generator=generator) - 1),
        "mirror": torch.rand(n, generator=generator) < config.flip,
        "gain": gain + 0.35 * tone * torch.randn(n, 3, generator=generator),
        "shift": 0.3 * tone * torch.randn(n, 1, generator=generator),
        "corner": torch.randint(0, PATCH_PX // 2 + 1, (n, 2), generator=generator),
        "painted": (torch.rand(n, generator=generator) < config.paint) & ~cropped,
    }

"""The image encoder: a small residual network that knows how wide a patch is.

Owns the map from a patch's pixels and its footprint to the image half of the embedding. The same network sees the full
237 km patch and the single pixel blown up: the logarithm of the footprint scales and shifts every stage (FiLM), so that
a plain colour is read as "a small place of this colour", not as a wide plain.

Source:
    He et al. 2016, Identity Mappings in Deep Residual Networks; Perez et al. 2018, FiLM: Visual Reasoning with a
    General Conditioning Layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from data.blue_marble import FOOTPRINT_KM, PATCH_PX

FINEST_KM = 2.56
"""Footprint of one Sentinel-2 patch (256 pixels of 10 m); smaller ones are seen as this."""


@dataclass(frozen=True)
class ImageConfig:
    """Widths of the four stages at 32, 16, 8 and 4 pixels, and how many residual blocks each of the last three has."""

    widths: tuple[int, int, int, int] = (32, 64, 128, 256)
    blocks: int = 1
    features: int = 512


def scale_of(footprint_km: Tensor) -> Tensor:
    """Footprints in kilometres as a number that is 0 for a Sentinel-2 patch and 1 for a full patch (clamped)."""
    span = math.log(FOOTPRINT_KM / FINEST_KM)
    return torch.clamp(torch.log(footprint_km / FINEST_KM) / span, 0.0, 1.0)


class _Block(nn.Module):
    """Halve the resolution, then residual 3×3 convolutions."""

    def __init__(self, inputs: int, outputs: int, blocks: int) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )
        self.residual = nn.ModuleList(
            nn.Sequential(nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs))
            for _ in range(blocks)
        )
        self.film = nn.Linear(1, 2 * outputs)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        x = self.down(x)
        gain, shift = self.film(scale)[:, :, None, None].chunk(2, dim=1)
        x = x * (1 + gain) + shift
        for layer in self.residual:
            x = functional.relu(x + layer(x))
        return x


class ImageEncoder(nn.Module):
    """Pixels and footprint to one raw vector for each branch."""

    def __init__(self, config: ImageConfig, branches: dict[str, int]) -> None:
        """Build the trunk and a linear head for each branch of the given length."""
        super().__init__()
        first, *rest = config.widths
        self.stem = nn.Sequential(nn.Conv2d(3, first, 3, padding=1, bias=False), nn.BatchNorm2d(first), nn.ReLU())
        pairs = zip(config.widths, rest, strict=False)
        self.stages = nn.ModuleList(_Block(a, b, config.blocks) for a, b in pairs)
        # Texture needs the mean over the patch, geography (which side is the sea on) needs the 4×4 layout.
        flat = config.widths[-1] * (PATCH_PX // 8) ** 2
        self.project = nn.Sequential(nn.Linear(flat, config.features), nn.BatchNorm1d(config.features), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(config.features, dim) for name, dim in branches.items()})

    def forward(self, pixels: Tensor, footprint_km: Tensor) -> dict[str, Tensor]:
        """Map patches to raw vectors.

        Args:
            pixels: (N, 3, 32, 32) Blue Marble display colours, 0…1.
            footprint_km: (N,) side length on the ground.

        Returns:
            One (N, dim) tensor for each branch.
        """
        features = self.trunk(pixels, footprint_km)
        return {name: head(features) for name, head in self.heads.items()}

    def trunk(self, pixels: Tensor, footprint_km: Tensor) -> Tensor:
        """The (N, features) vector under the heads."""
        x = (pixels - 0.35) / 0.25
        scale = scale_of(footprint_km)[:, None].to(x.dtype)
        x = self.stem(x)  # (N, C0, 32, 32)
        for stage in self.stages:
            x = stage(x, scale)  # halves the side each time, to (N, C3, 4, 4)
        return cast(Tensor, self.project(x.flatten(1)))

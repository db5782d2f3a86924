"""The image encoder: a small residual network that knows how wide a patch is.

Owns the map from a patch's pixels and its footprint to the image half of the embedding. The same network sees the full
237 km patch and the single pixel blown up: the logarithm of the footprint scales and shifts every stage (FiLM), so that
a plain colour is read as "a small place of this colour", not as a wide plain.

Source:
    He et al. 2016, Identity Mappings in Deep Residual Networks; Perez et al. 2018, FiLM: Visual Reasoning with a
    General Conditioning Layer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from data.blue_marble import FOOTPRINT_KM, PATCH_PX
from model.location import BranchConfig

FINEST_KM = 2.56
"""Footprint of one Sentinel-2 patch (256 pixels of 10 m); smaller ones are seen as this."""
_FAINTEST = 0.004  # one of 256 levels: what has less contrast is shown with less


@dataclass(frozen=True)
class ImageConfig:
    """One trunk.

    Attributes:
        widths: channels of the four stages, at 32, 16, 8 and 4 pixels.
        squeeze: channels that are left when the 4×4 layout is flattened.
        features: length of the vector under the heads.
        contrast: also look at the patch with its mean taken off and its contrast made one, so that the faint relief of
            snow and sand counts. It fades with the footprint: a crop's contrast is interpolation.
    """

    widths: tuple[int, int, int, int] = (24, 48, 96, 192)
    squeeze: int = 64
    features: int = 512
    contrast: bool = False


def scale_of(footprint_km: Tensor) -> Tensor:
    """Footprints in kilometres as a number that is 0 for a Sentinel-2 patch and 1 for a full patch (clamped)."""
    span = math.log(FOOTPRINT_KM / FINEST_KM)
    return torch.clamp(torch.log(footprint_km / FINEST_KM) / span, 0.0, 1.0)


class _Block(nn.Module):
    """Halve the resolution, then one residual 3×3 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )
        self.residual = nn.Sequential(nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs))
        self.film = nn.Linear(1, 2 * outputs)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        x = self.down(x)
        gain, shift = self.film(scale)[:, :, None, None].chunk(2, dim=1)
        x = x * (1 + gain) + shift
        return functional.relu(x + self.residual(x))


class Trunk(nn.Module):
    """Pixels and footprint to one vector of features."""

    def __init__(self, config: ImageConfig) -> None:
        """Build the stem, three stages and the projection."""
        super().__init__()
        first, *rest = config.widths
        self.contrast = config.contrast
        inputs = 6 if config.contrast else 3
        self.stem = nn.Sequential(nn.Conv2d(inputs, first, 3, padding=1, bias=False), nn.BatchNorm2d(first), nn.ReLU())
        self.stages = nn.ModuleList(_Block(a, b) for a, b in itertools.pairwise(config.widths))
        # Texture needs the mean over the patch, geography (which side is the sea on) needs the 4×4 layout.
        self.project = nn.Sequential(
            nn.Conv2d(rest[-1], config.squeeze, 1),
            nn.Flatten(),
            nn.Linear(config.squeeze * (PATCH_PX // 8) ** 2, config.features),
            nn.BatchNorm1d(config.features),
            nn.ReLU(),
        )

    def forward(self, pixels: Tensor, footprint_km: Tensor) -> Tensor:
        """Map (N, 3, 32, 32) display colours and (N,) sides on the ground to (N, features)."""
        x = (pixels - 0.35) / 0.25
        scale = scale_of(footprint_km)[:, None].to(x.dtype)
        if self.contrast:
            spread = pixels.std(dim=(2, 3), keepdim=True) + _FAINTEST
            relief = (pixels - pixels.mean(dim=(2, 3), keepdim=True)) / spread
            x = torch.cat([x, relief * scale[:, :, None, None]], dim=1)
        x = self.stem(x)  # (N, C0, 32, 32)
        for stage in self.stages:
            x = stage(x, scale)  # halves the side each time, to (N, C3, 4, 4)
        return cast(Tensor, self.project(x))


class ImageEncoder(nn.Module):
    """An ensemble of trunks, which err differently where they were not trained, and a linear head for each branch."""

    def __init__(self, trunks: Sequence[ImageConfig], branches: Mapping[str, BranchConfig]) -> None:
        """Build every trunk, and for every branch a head on the trunk that it names."""
        super().__init__()
        self.trunks = nn.ModuleList(Trunk(config) for config in trunks)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(trunks[branch.trunk].features, branch.dim) for name, branch in branches.items()}
        )
        self._reads = {name: branch.trunk for name, branch in branches.items()}

    def forward(self, *views: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Map patches to raw vectors.

        Args:
            views: pixels, (N, 3, 32, 32) Blue Marble display colours 0…1, and footprints, (N,) sides in kilometres: one
                pair for all trunks, or one for each.

        Returns:
            One (N, dim) tensor for each branch.
        """
        seen = views if len(views) > 1 else views * len(self.trunks)
        features = [trunk(*view) for trunk, view in zip(self.trunks, seen, strict=True)]
        return {name: head(features[self._reads[name]]) for name, head in self.heads.items()}

"""The location encoder: spherical harmonics into sinusoidal networks, one branch for each scale of detail.

Owns the map from longitude and latitude to the location half of the embedding. The *smooth* branch sees only harmonics
of low degree and low frequency, and says what kind of landscape a place lies in; the *sharp* branch sees high degrees
and says exactly which place it is. ``model.pair`` joins the two into one vector.

Source:
    Rußwurm et al. 2024, Geographic Location Encoding with Spherical Harmonics and Sinusoidal Representation Networks
    (ICLR), §3; Sitzmann et al. 2020, Implicit Neural Representations with Periodic Activation Functions, §3.2 (the
    initialisation).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from model.harmonics import spherical_harmonics


@dataclass(frozen=True)
class BranchConfig:
    """One branch of the embedding, on both of its sides.

    Attributes:
        degrees: L, harmonics below this degree are seen.
        hidden: width of the sinusoidal layers.
        layers: number of sinusoidal layers.
        w0: frequency of the first layer; the larger, the finer the detail that is learned first.
        dim: length of the branch's part of the embedding.
        dropout: probability before each sine while training.
        orders: M, only harmonics of order |m| ≤ M are seen, so that the branch tells latitudes apart more finely than
            longitudes; None for all.
    """

    degrees: int
    hidden: int
    layers: int
    w0: float
    dim: int
    dropout: float = 0.0
    orders: int | None = None

    def columns(self) -> list[int]:
        """Which columns of :func:`model.harmonics.spherical_harmonics` the branch sees."""
        limit = self.degrees if self.orders is None else self.orders
        return [l * l + l + m for l in range(self.degrees) for m in range(-min(l, limit), min(l, limit) + 1)]


class Siren(nn.Module):
    """A sinusoidal network: sin(w0·(Wx + b)), then sin(Wx + b) layers, then a linear one."""

    def __init__(self, config: BranchConfig) -> None:
        """Build the layers with Sitzmann's initialisation (a draw of torch's global generator)."""
        super().__init__()
        self.w0 = config.w0
        widths = [len(config.columns())] + [config.hidden] * config.layers
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.last_layer = nn.Linear(config.hidden, config.dim)
        self.dropout = nn.Dropout(config.dropout)
        for index, layer in enumerate([*self.layers, self.last_layer]):
            fan_in = layer.in_features
            bound = 1 / fan_in if index == 0 else math.sqrt(6 / fan_in)
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.uniform_(layer.bias, -bound, bound)

    def forward(self, features: Tensor) -> Tensor:
        """Map the (N, len(columns)) harmonics that the branch sees to (N, dim)."""
        x = features
        for index, layer in enumerate(self.layers):
            frequency = self.w0 if index == 0 else 1.0
            x = torch.sin(frequency * self.dropout(layer(x)))
        return cast(Tensor, self.last_layer(x))


class LocationEncoder(nn.Module):
    """Harmonics, computed once at the highest degree asked for, into every branch."""

    def __init__(self, branches: dict[str, BranchConfig]) -> None:
        """Build one network for each branch, in the order given."""
        super().__init__()
        self.degrees = max(branch.degrees for branch in branches.values())
        self.branches = nn.ModuleDict({name: Siren(branch) for name, branch in branches.items()})
        for name, branch in branches.items():
            self.register_buffer(f"_columns_{name}", torch.tensor(branch.columns()), persistent=False)

    def forward(self, lonlat: Tensor) -> dict[str, Tensor]:
        """Map (N, 2) degrees to one (N, dim) raw vector for each branch."""
        return self.from_harmonics(spherical_harmonics(lonlat, self.degrees).float())

    def from_harmonics(self, features: Tensor) -> dict[str, Tensor]:
        """As :meth:`forward`, from (N, degrees²) harmonics that were computed before."""
        return {name: net(features[:, self.get_buffer(f"_columns_{name}")]) for name, net in self.branches.items()}

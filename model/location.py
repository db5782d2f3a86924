"""The location encoder: spherical harmonics into sinusoidal networks, one branch for each scale of detail.

Owns the map from longitude and latitude to the location half of the embedding. The *smooth* branch sees only harmonics
of low degree and low frequency, and says what kind of landscape a place lies in; the *sharp* branch sees high degrees
and says exactly which place it is. ``model.pair`` joins the two into one vector.

Source:
    Rußwurm et al. 2024, Geographic Location Encoding with Spherical Harmonics and Sinusoidal Representation Networks
    (ICLR), §3. The networks are :class:`model.networks.Siren`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.harmonics import spherical_harmonics
from model.networks import Siren


@dataclass(frozen=True)
class BranchConfig:
    """One branch of the embedding, on both of its sides.

    Attributes:
        degrees: L, harmonics below this degree are seen.
        hidden: width of the sinusoidal layers.
        layers: number of sinusoidal layers.
        w0: frequency of the first layer; the larger, the finer the detail that is learned first.
        dim: length of the branch's part of the embedding.
        view: "smooth" or "sharp", the view that the branch belongs to.
        weight: length of the branch's part within the embedding; the squares of all branches sum to one.
        trunk: number of the image encoder's trunk that the branch reads.
        dropout: probability before each sine while training.
        orders: M, only harmonics of order |m| ≤ M are seen, so that the branch tells latitudes apart more finely than
            longitudes; None for all.
    """

    degrees: int
    hidden: int
    layers: int
    w0: float
    dim: int
    view: str
    weight: float
    trunk: int = 0
    dropout: float = 0.0
    orders: int | None = None

    def columns(self) -> list[int]:
        """Which columns of :func:`model.harmonics.spherical_harmonics` the branch sees."""
        limit = self.degrees if self.orders is None else self.orders
        return [l * l + l + m for l in range(self.degrees) for m in range(-min(l, limit), min(l, limit) + 1)]


class LocationEncoder(nn.Module):
    """Harmonics, computed once at the highest degree asked for, into every branch."""

    def __init__(self, branches: dict[str, BranchConfig]) -> None:
        """Build one network for each branch, in the order given."""
        super().__init__()
        self.degrees = max(branch.degrees for branch in branches.values())
        self.branches = nn.ModuleDict({name: _network(branch) for name, branch in branches.items()})
        for name, branch in branches.items():
            self.register_buffer(f"_columns_{name}", torch.tensor(branch.columns(), device="cpu"), persistent=False)

    def forward(self, lonlat: Tensor) -> dict[str, Tensor]:
        """Map (N, 2) degrees to one (N, dim) raw vector for each branch."""
        return self.from_harmonics(spherical_harmonics(lonlat, self.degrees).float())

    def from_harmonics(self, features: Tensor) -> dict[str, Tensor]:
        """As :meth:`forward`, from (N, degrees²) harmonics that were computed before."""
        return {name: net(features[:, self.get_buffer(f"_columns_{name}")]) for name, net in self.branches.items()}


def _network(branch: BranchConfig) -> Siren:
    return Siren(
        len(branch.columns()),
        branch.dim,
        hidden=branch.hidden,
        layers=branch.layers,
        w0=branch.w0,
        dropout=branch.dropout,
    )

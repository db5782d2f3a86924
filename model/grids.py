"""Multi-scale encodings of Space2Vec and Sphere2Vec, as SatCLIP has them.

Owns sines and cosines of longitude and latitude at a geometric series of scales; :mod:`model.position` builds and names
them, and says what all encodings have in common. λ is longitude, φ is latitude, the superscript s marks division by a
scale. Angles are **degrees put into the sines as they are**, so a scale s has the wavelength 2π·s degrees.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FEATURES = {"grid": 4, "spherec": 6, "spherecplus": 12, "spherem": 10, "spheremplus": 16}
"""The ``le_type`` that :class:`GridAndSphere` knows, and their number of features a scale."""


def frequencies(min_radius: float, max_radius: float, number: int) -> list[float]:
    """1/scale for ``number`` ≥ 2 scales in geometric series, the first ``min_radius``, the last ``max_radius``.

    Source:
        Mai et al. 2020, Multi-Scale Representation Learning for Spatial Feature Distributions using Grid Cells (ICLR):
        scale s of S is λ_min·g^(s/(S − 1)) with g = λ_max/λ_min.
    """
    step = math.log(max_radius / min_radius) / (number - 1)
    return [1 / (min_radius * math.exp(index * step)) for index in range(number)]


class Theory(nn.Module):
    """Space2Vec's hexagonal triple: sine and cosine of a_j·(λ, φ) at every scale, a_j unit vectors 120° apart.

    Columns run over scales, within a scale over j = 1…3, within that (sin, cos). For an **odd** number of scales the
    original restarts its count of even and odd columns at the second half, so that there sines and cosines change
    places, and the scale in the middle has one sine twice and lacks one cosine; that is kept.

    Source:
        Mai et al. 2020, Multi-Scale Representation Learning for Spatial Feature Distributions using Grid Cells (ICLR),
        Theorem 1 and the encoder named theory; SatCLIP's ``theory.py``.
    """

    def __init__(self, frequencies: list[float]) -> None:
        """Take 1/scale for each scale."""
        super().__init__()
        self._frequencies, self.dim = frequencies, 6 * len(frequencies)

    def forward(self, lonlat: Tensor) -> Tensor:
        """Map (N, 2) degrees, longitude first, to (N, dim) float64 within ±1."""
        points = lonlat.double()
        half, high = 0.5, math.sqrt(3) / 2
        directions = points.new_tensor([[1.0, 0.0], [-half, high], [-half, -high]])
        along = points @ directions.T
        scaled = along[:, None, :] * points.new_tensor(self._frequencies)[:, None]  # (N, F, 3)
        angle = scaled.flatten(1).repeat_interleave(2, dim=1)
        place = torch.arange(self.dim, device=points.device) % (self.dim // 2)
        return torch.where(place % 2 == 0, angle.sin(), angle.cos())


class GridAndSphere(nn.Module):
    """Space2Vec's grid and Sphere2Vec's four, at every scale.

    grid: for longitude, then for latitude, at each scale (sin, cos). The others, at each scale and every feature
    **twice in a row** (a slip of the original, which carries two equal copies through):

    * spherec: sin φˢ, cos φˢ cos λˢ, cos φˢ sin λˢ
    * spherecplus: sin φˢ, cos φˢ, sin λˢ, cos λˢ, cos φˢ cos λˢ, cos φˢ sin λˢ
    * spherem: sin φˢ, cos φˢ cos λ, cos φ cos λˢ, cos φˢ sin λ, cos φ sin λˢ
    * spheremplus: sin φˢ, cos φˢ, sin λˢ, cos λˢ, cos φˢ cos λ, cos φ cos λˢ, cos φˢ sin λ, cos φ sin λˢ

    Source:
        Mai et al. 2020, Multi-Scale Representation Learning for Spatial Feature Distributions using Grid Cells (ICLR),
        the encoder named grid; Mai et al. 2023, Sphere2Vec, ISPRS J. Photogramm. 202 (eqs 3, 4 and 10 of its preprint
        arXiv:2201.10489 are grid, sphereC and sphereC+). Sphere2Vec's λ and φ are radians; SatCLIP puts degrees into
        the sines, and that is kept.
    """

    def __init__(self, kind: str, frequencies: list[float]) -> None:
        """Take the ``le_type`` and 1/scale for each scale."""
        super().__init__()
        self._kind, self._frequencies, self.dim = kind, frequencies, FEATURES[kind] * len(frequencies)

    def forward(self, lonlat: Tensor) -> Tensor:
        """Map (N, 2) degrees, longitude first, to (N, dim) float64 within ±1."""
        points = lonlat.double()
        scaled = points[:, :, None] * points.new_tensor(self._frequencies)  # (N, 2, F)
        if self._kind == "grid":
            return torch.stack([scaled.sin(), scaled.cos()], dim=3).flatten(1)
        (sin_lon, sin_lat), (cos_lon, cos_lat) = scaled.sin().unbind(1), scaled.cos().unbind(1)
        parts = [sin_lat, cos_lat, sin_lon, cos_lon] if self._kind.endswith("plus") else [sin_lat]
        if self._kind.startswith("spherec"):
            parts += [cos_lat * cos_lon, cos_lat * sin_lon]
        else:
            whole = points[:, :, None]
            (sin_one, _), (cos_one, cos_one_lat) = whole.sin().unbind(1), whole.cos().unbind(1)
            parts += [cos_lat * cos_one, cos_one_lat * cos_lon, cos_lat * sin_one, cos_one_lat * sin_lon]
        return torch.stack(parts, dim=2).repeat_interleave(2, dim=2).flatten(1)  # (N, F, 2·parts)

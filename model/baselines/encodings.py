"""Baselines without weights: coordinates, and what Space2Vec and Sphere2Vec make of them.

Owns the names and the settings. The formulas are those of :mod:`model.position`, :mod:`model.grids` and
:mod:`model.harmonics`; where SatCLIP departs from a paper (degrees put into the sines of Sphere2Vec, every feature
twice) the baseline here is **the paper's**. None has a network behind it: that is the evaluation's head. λ is
longitude, φ is latitude, the superscript s marks division by scale s.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model.baselines.base import PointBaseline
from model.grids import GridAndSphere, Theory, frequencies
from model.harmonics import spherical_harmonics
from model.position import Cartesian3D, Wrap

SPACE2VEC_SCALES = (1.0, 360.0, 32)
"""Smallest and largest scale in degrees, and their number."""
SPHERE2VEC_SCALES = (0.01, 1.0, 32)
"""The same for Sphere2Vec, in radians; 1 is the largest scale that the paper uses."""
DFS_SCALES = (0.01, 1.0, 8)
"""The double Fourier sphere has 4S + 4S² features, hence few scales."""

_SPACE2VEC = "Mai et al. 2020, Space2Vec (ICLR)"
_SPHERE2VEC = "Mai et al. 2023, Sphere2Vec, ISPRS J. Photogramm. 202, arXiv:2201.10489"


def double_fourier_sphere(lonlat: Tensor, scales: tuple[float, float, int]) -> Tensor:
    """Sphere2Vec's dfs: every product of a sine or cosine of one scaled latitude and one scaled longitude.

    Columns: (sin φⁿ, cos φⁿ) for every n, (sin λᵐ, cos λᵐ) for every m, then for every n and within it every m
    (cos φⁿ cos λᵐ, cos φⁿ sin λᵐ, sin φⁿ cos λᵐ, sin φⁿ sin λᵐ).

    Args:
        lonlat: (N, 2) degrees.
        scales: smallest and largest scale in radians, and their number S.

    Returns:
        (N, 4S + 4S²) float64 within ±1.

    Source:
        Mai et al. 2023, Sphere2Vec, §4 (dfs); Orszag 1974, Fourier series on spheres (Mon. Weather Rev. 102).
    """
    points = torch.deg2rad(lonlat.double())
    scaled = points[:, :, None] * points.new_tensor(frequencies(*scales))  # (N, 2, S)
    waves = torch.stack([scaled.sin(), scaled.cos()], dim=3)  # (N, 2, S, 2)
    lon, lat = waves[:, 0], waves[:, 1]
    products = torch.einsum("nsa,ntb->nstab", lat.flip(2), lon.flip(2))  # cosines first
    return torch.cat([lat.flatten(1), lon.flatten(1), products.flatten(1)], dim=1)


def _degrees(lonlat: Tensor) -> Tensor:
    return lonlat


def _harmonics(degrees: int) -> Callable[[Tensor], Tensor]:
    return lambda lonlat: spherical_harmonics(lonlat, degrees)


def _sphere(kind: str) -> Callable[[Tensor], Tensor]:
    encoding = GridAndSphere(kind, frequencies(*SPHERE2VEC_SCALES))
    # Radians, as in the paper; every second column, since model.grids keeps SatCLIP's doubled ones.
    return lambda lonlat: encoding(torch.deg2rad(lonlat.double()))[:, ::2]


@dataclass(frozen=True)
class _Encoding:
    """One baseline: how many features, how to make the function, and whose it is."""

    dim: int
    build: Callable[[], Callable[[Tensor], Tensor]]
    what: str
    source: str


_S, _T, _D = SPACE2VEC_SCALES[2], SPHERE2VEC_SCALES[2], DFS_SCALES[2]

ENCODINGS: Mapping[str, _Encoding] = {
    "raw": _Encoding(2, lambda: _degrees, "(λ, φ) in degrees", "none"),
    "cartesian": _Encoding(
        3, Cartesian3D, "the point on the unit sphere; with a k-NN head, the floor", "Rußwurm et al. 2024 (ICLR)"
    ),
    "wrap": _Encoding(4, Wrap, "sines and cosines of λ and φ", "Mac Aodha et al. 2019 (ICCV), as SatCLIP has it"),
    "harmonics-l10": _Encoding(
        100, lambda: _harmonics(10), "orthonormal real spherical harmonics, L = 10", "Rußwurm et al. 2024 (ICLR)"
    ),
    "harmonics-l40": _Encoding(
        1600, lambda: _harmonics(40), "orthonormal real spherical harmonics, L = 40", "Rußwurm et al. 2024 (ICLR)"
    ),
    "space2vec-grid": _Encoding(
        4 * _S,
        lambda: GridAndSphere("grid", frequencies(*SPACE2VEC_SCALES)),
        "sine and cosine of λˢ and φˢ, 1° to 360°, 32 scales",
        _SPACE2VEC,
    ),
    "space2vec-theory": _Encoding(
        6 * _S,
        lambda: Theory(frequencies(*SPACE2VEC_SCALES)),
        "sine and cosine along three directions, 1° to 360°, 32 scales",
        _SPACE2VEC,
    ),
    **{
        f"sphere2vec-{label}": _Encoding(
            features * _T, functools.partial(_sphere, kind), f"{label}, 0.01 to 1 radian, 32 scales", _SPHERE2VEC
        )
        for label, kind, features in (
            ("sphereC", "spherec", 3),
            ("sphereC+", "spherecplus", 6),
            ("sphereM", "spherem", 5),
            ("sphereM+", "spheremplus", 8),
        )
    },
    "sphere2vec-dfs": _Encoding(
        4 * _D + 4 * _D * _D,
        lambda: lambda lonlat: double_fourier_sphere(lonlat, DFS_SCALES),
        "double Fourier sphere, 0.01 to 1 radian, 8 scales",
        _SPHERE2VEC,
    ),
}
"""Every baseline of this module by name."""


class EncodingBaseline(PointBaseline):
    """Coordinates through a fixed formula."""

    def __init__(self, name: str) -> None:
        """Take one of :data:`ENCODINGS`."""
        encoding = ENCODINGS[name]
        card = {"description": encoding.what, "source": encoding.source, "weights": "none", "license": "MIT"}
        super().__init__(name, encoding.dim, card=card)
        self._encode = encoding.build()

    def _locate(self, points: Tensor) -> Tensor:
        return self._encode(points)

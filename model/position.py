"""Position encodings: from longitude and latitude to the features that a network reads, one for each ``le_type``.

Owns every encoding that SatCLIP's configuration names, and the table of the names under which users of CSP, Space2Vec,
Sphere2Vec and TorchSpatial know them. None has weights or buffers: official files hold nothing of them. Everything is
computed in float64 whatever dtype a module is cast to, for angles reach 10⁷ rad with official settings.

An encoding here is **SatCLIP's**, features in its order and with its slips, because that is what weights were trained
with; where it departs from the paper its docstring says so. A checkpoint of CSP or Sphere2Vec would need the scaling of
those projects, and this project reads none. λ is longitude, φ is latitude. The multi-scale ones are in
:mod:`model.grids`.

Source:
    Klemmer et al. 2023, SatCLIP, arXiv:2311.17179, appendix. Order, units and slips were checked against
    ``satclip/positional_encoding`` of the public repository microsoft/satclip, point by point in float64.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from data.errors import CheckpointError
from model.grids import FEATURES, GridAndSphere, Theory, frequencies
from model.harmonics import MAX_DEGREES, spherical_harmonics

CALCULATIONS = ("analytic", "closed-form", "discretized")
"""What a configuration's ``harmonics_calculation`` may be."""


class Direct(nn.Module):
    """The coordinates themselves: (radians(λ) − π, radians(φ) − π).

    Source:
        SatCLIP's ``direct.py``. It means to centre coordinates that start at 0°; those that come in lie within ±180°
        and ±90°, so features lie within −2π…0 and −3π/2…−π/2. The slip is kept.
    """

    dim = 2

    def forward(self, lonlat: Tensor) -> Tensor:
        """Map (N, 2) degrees, longitude first, to (N, dim) float64."""
        return torch.deg2rad(lonlat.double()) - math.pi


class Cartesian3D(nn.Module):
    """The point on the unit sphere: (cos λ cos φ, sin λ cos φ, sin φ).

    Source:
        The baseline xyz of Mai et al. 2023, Sphere2Vec (ISPRS J. 202), and of Rußwurm et al. 2024 (ICLR).
    """

    dim = 3

    def forward(self, lonlat: Tensor) -> Tensor:
        """Map (N, 2) degrees, longitude first, to (N, dim) float64."""
        lon, lat = torch.deg2rad(lonlat.double()).unbind(1)
        return torch.stack([lon.cos() * lat.cos(), lon.sin() * lat.cos(), lat.sin()], dim=1)


class Wrap(nn.Module):
    """Coordinates wrapped around two circles: (cos λ, sin λ, cos φ, sin φ), λ and φ in radians.

    Source:
        Mac Aodha et al. 2019, Presence-Only Geographical Priors for Fine-Grained Image Classification (ICCV). There
        coordinates are scaled to ±1, by 180 and by 90, and multiplied by π, so that latitude goes round a whole circle,
        and sines come before cosines. SatCLIP leaves latitude half a circle; that is kept.
    """

    dim = 4

    def forward(self, lonlat: Tensor) -> Tensor:
        """Map (N, 2) degrees, longitude first, to (N, dim) float64."""
        angle = torch.deg2rad(lonlat.double())
        return torch.stack([angle.cos(), angle.sin()], dim=2).flatten(1)  # (N, 2, 2): a row is (cos, sin) of one


class SphericalHarmonics(nn.Module):
    """Real spherical harmonics of degree l below L, columns l² + l + m for m = −l…l.

    "analytic" multiplies the orthonormal functions of :func:`model.harmonics.spherical_harmonics` by π where m = 0: the
    original generates its formulas with √((2l + 1)/4·π) where √((2l + 1)/(4π)) is meant, and the published checkpoints
    were trained with that. "closed-form" has no such factor, but carries the Condon–Shortley sign (−1)^m.

    Source:
        Rußwurm et al. 2024, Geographic Location Encoding with Spherical Harmonics and Sinusoidal Representation
        Networks (ICLR), §3; SatCLIP's ``spherical_harmonics_generate_ylms.py``, ``spherical_harmonics_closed_form.py``.
    """

    def __init__(self, degrees: int, *, condon_shortley: bool = False) -> None:
        """Take L, 1…1024, and whether it is the closed form."""
        super().__init__()
        self.degrees, self.dim = degrees, degrees * degrees
        orders = [m for l in range(degrees) for m in range(-l, l + 1)]
        self._factors = [(-1.0) ** m if condon_shortley else 1.0 if m else math.pi for m in orders]

    def forward(self, lonlat: Tensor) -> Tensor:
        """Map (N, 2) degrees, longitude first, to (N, L²) float64."""
        values = spherical_harmonics(lonlat, self.degrees)
        return values * values.new_tensor(self._factors)


class DiscretizedHarmonics(SphericalHarmonics):
    """The analytic harmonics at 360 × 180 nodes, looked up at the node below and the node above a point.

    With x = λ + 180, y = φ + 90 and their fractional parts u and v, the features are (1 − v)·((1 − u)·Y[⌊x⌋, ⌊y⌋] +
    u·Y[⌈x⌉, ⌈y⌉]), indices clamped to the grid. Three slips of the original are kept: nodes span −180…180° and −90…90°
    *inclusive*, so they are 360/359° and 180/179° apart, yet are looked up as if 1° apart; the second node is the
    diagonal one; and the weights add up to 1 − v, so that features fall towards 0 within every degree and jump back.

    The original tabulates its expanded polynomials in float32, which lose digits towards the poles: measured, it is off
    by 6e-5 at L = 10, by 0.5 at L = 20, and holds NaN at L = 40. That noise depends on the machine and is not
    reproduced: nodes here are exact, and no table is kept. No published checkpoint uses it.

    Source:
        SatCLIP's ``discretized_spherical_harmonics.py``.
    """

    def forward(self, lonlat: Tensor) -> Tensor:
        """Map (N, 2) degrees, longitude first, to (N, L²) float64."""
        points = lonlat.double()
        span, last = points.new_tensor([360.0, 180.0]), points.new_tensor([359.0, 179.0])
        place = points + span / 2
        below, above = (
            super(DiscretizedHarmonics, self).forward(node.clamp(torch.zeros_like(last), last) / last * span - span / 2)
            for node in (place.floor(), place.ceil())
        )
        u, v = (place - place.floor())[:, :, None].unbind(1)
        return (1 - v) * ((1 - u) * below + u * above)


LE_TYPES = ("direct", "cartesian3d", "sphericalharmonics", "theory", "wrap", *FEATURES)
"""What a configuration's ``le_type`` may be."""

ENCODER_NAMES = {
    "xyz": "cartesian3d",
    "geo_net": "wrap",
    "Siren(SH)": "sphericalharmonics",
    "spherical_harmonics": "sphericalharmonics",
    "Space2Vec-grid": "grid",
    "gridcell": "grid",
    "Space2Vec-theory": "theory",
    "Sphere2Vec-sphereC": "spherec",
    "sphere": "spherec",
    "Sphere2Vec-sphereC+": "spherecplus",
    "sphereC+": "spherecplus",
    "spheregrid": "spherecplus",
    "Sphere2Vec-sphereM": "spherem",
    "spheremixscale": "spherem",
    "Sphere2Vec-sphereM+": "spheremplus",
    "sphereM+": "spheremplus",
    "spheregridmixscale": "spheremplus",
}
"""Names in the papers and the code of CSP, Space2Vec, Sphere2Vec and TorchSpatial, to our ``le_type``.

Upper and lower case do not matter, so sphereC and sphereM are ``le_type`` themselves, and theory and wrap are so
everywhere. What those projects call wrap is the encoding "wrap" before the network "fcnet".
"""


def resolve_le_type(name: str) -> str:
    """The ``le_type`` that a name stands for.

    Args:
        name: one of :data:`LE_TYPES` or of :data:`ENCODER_NAMES`, in any case.

    Raises:
        CheckpointError: it is neither.
    """
    known = {other.casefold(): le_type for other, le_type in ENCODER_NAMES.items()} | {own: own for own in LE_TYPES}
    if name.casefold() not in known:
        raise CheckpointError(
            f"The position encoding le_type={name!r} is unknown; choose one of {', '.join(LE_TYPES)}, or a name that "
            f"other projects give them: {', '.join(ENCODER_NAMES)}."
        )
    return known[name.casefold()]


def build_position(
    le_type: str,
    *,
    legendre_polys: int = 10,
    harmonics_calculation: str = "analytic",
    min_radius: float = 1.0,
    max_radius: float = 360.0,
    frequency_num: int = 10,
) -> nn.Module:
    """Build the position encoding of an official configuration; settings that it has no use for are not looked at.

    Args:
        le_type: one of :data:`LE_TYPES`, or a name of :data:`ENCODER_NAMES`.
        legendre_polys: L of "sphericalharmonics", 1…1024.
        harmonics_calculation: one of :data:`CALCULATIONS`.
        min_radius: smallest scale of "theory", "grid" and the spheres, above 0.
        max_radius: their largest scale.
        frequency_num: their number of scales, at least 2.

    Returns:
        A module without parameters or buffers, with ``dim: int``; maps (N, 2) degrees, longitude first, of any dtype to
        (N, dim) float64.

    Raises:
        CheckpointError: an unknown name, or settings of which nothing can be built.
    """
    le_type = resolve_le_type(le_type)
    simple = {"direct": Direct, "cartesian3d": Cartesian3D, "wrap": Wrap}
    if le_type in simple:
        return simple[le_type]()
    if le_type == "sphericalharmonics":
        if harmonics_calculation not in CALCULATIONS or not 1 <= legendre_polys <= MAX_DEGREES:
            raise CheckpointError(
                f"Spherical harmonics need a harmonics_calculation of {', '.join(CALCULATIONS)} and legendre_polys "
                f"from 1 to {MAX_DEGREES}; got {harmonics_calculation!r} and {legendre_polys}. Correct the "
                "configuration."
            )
        if harmonics_calculation == "discretized":
            return DiscretizedHarmonics(legendre_polys)
        return SphericalHarmonics(legendre_polys, condon_shortley=harmonics_calculation == "closed-form")
    if frequency_num < 2 or not 0 < min_radius <= max_radius < math.inf:
        raise CheckpointError(
            f"The position encoding {le_type!r} needs frequency_num of at least 2 and 0 < min_radius ≤ max_radius; got "
            f"{frequency_num}, {min_radius} and {max_radius}. Correct the configuration."
        )
    series = frequencies(min_radius, max_radius, frequency_num)
    return Theory(series) if le_type == "theory" else GridAndSphere(le_type, series)

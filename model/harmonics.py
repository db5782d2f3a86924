"""Real spherical harmonics of any degree, by a recurrence that keeps its digits.

Owns the basis on which every location encoder here stands. The order is SatCLIP's: degree l = 0…L−1, within it m =
−l…l, columns l² + l + m; sin(|m|φ) for m < 0, cos(mφ) for m > 0, no Condon–Shortley sign; φ = longitude + 180°, θ =
latitude + 90°. The functions are orthonormal on the unit sphere. Everything is computed in float64.

Source:
    Holmes & Featherstone 2002, A unified approach to the Clenshaw summation and the recursive computation of very high
    degree and order normalised associated Legendre functions, J. Geodesy 76, eqs 11–13 (forward column recurrence of
    the fully normalised functions). Klemmer et al. 2023, SatCLIP, arXiv:2311.17179, §3.2 (order and angles).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MAX_DEGREES = 1024
"""Past this the seeds of the recurrence underflow over a visible part of the sphere."""


def spherical_harmonics(lonlat: Tensor, degrees: int) -> Tensor:
    """Evaluate all real spherical harmonics of degree below ``degrees``.

    Args:
        lonlat: (N, 2) degrees, longitude first; poles and any longitude are valid.
        degrees: L, the number of degrees (SatCLIP's ``legendre_polys``), 1…1024.

    Returns:
        (N, L²) float64.

    Raises:
        ValueError: ``degrees`` is outside 1…1024.
    """
    if not 1 <= degrees <= MAX_DEGREES:
        raise ValueError(f"degrees must lie in 1…{MAX_DEGREES}, got {degrees}.")
    points = lonlat.to(torch.float64)
    phi = torch.deg2rad(points[:, 0] + 180.0)
    latitude = torch.deg2rad(points[:, 1])
    cos_theta, sin_theta = -torch.sin(latitude)[:, None], torch.cos(latitude)[:, None]  # θ = latitude + 90°
    order = torch.arange(degrees, dtype=torch.float64, device=points.device)
    angle = phi[:, None] * order  # (N, L)
    # The factor √2 of the orders m ≠ 0 is carried by the trigonometric part.
    cosine, sine = math.sqrt(2) * torch.cos(angle), math.sqrt(2) * torch.sin(angle)
    cosine[:, 0] = 1.0
    out = points.new_empty(len(points), degrees * degrees)
    before = points.new_zeros(len(points), degrees)  # P̄ of degree l − 2, one column an order
    last = torch.zeros_like(before)  # of degree l − 1
    for l in range(degrees):
        now = torch.zeros_like(before)
        if l == 0:
            now[:, 0] = math.sqrt(1 / (4 * math.pi))
        else:
            m = order[:l]
            a = torch.sqrt((4 * l * l - 1) / (l * l - m * m))
            # The recurrence has no term of degree l − 2 for m = l − 1; the clamp makes its factor the zero that it is.
            b = torch.sqrt(((l - 1) ** 2 - m * m).clamp(min=0) / (4 * (l - 1) ** 2 - 1 if l > 1 else 1))
            now[:, :l] = a * (cos_theta * last[:, :l] - b * before[:, :l])
            now[:, l] = math.sqrt((2 * l + 1) / (2 * l)) * sin_theta[:, 0] * last[:, l - 1]
        centre = l * l + l
        out[:, centre : centre + l + 1] = now[:, : l + 1] * cosine[:, : l + 1]
        if l:
            out[:, l * l : centre] = (now[:, 1 : l + 1] * sine[:, 1 : l + 1]).flip(1)
        before, last = last, now
    return out

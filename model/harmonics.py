"""Real spherical harmonics of any degree, by a recurrence that keeps its digits.

Owns the basis on which every location encoder here stands. The order is SatCLIP's: degree l = 0…L−1, within it m =
−l…l, columns l² + l + m; sin(|m|φ) for m < 0, cos(mφ) for m > 0, no Condon–Shortley sign; φ = longitude + 180°, θ =
latitude + 90°. The functions are orthonormal on the unit sphere. Everything is computed in float64; float32 is that,
rounded once.

The factor cos(mφ) or sin(|m|φ) does not depend on the degree, so the recurrence of the Legendre functions runs on the
harmonics themselves, in the memory where they stay: three passes over each degree, all orders at a time. The points lie
side by side in memory, because then every pass is contiguous and a matrix product reads the transpose as it is.

Source:
    Holmes & Featherstone 2002, A unified approach to the Clenshaw summation and the recursive computation of very high
    degree and order normalised associated Legendre functions, J. Geodesy 76, eqs 11–13 (forward column recurrence of
    the fully normalised functions). Klemmer et al. 2023, SatCLIP, arXiv:2311.17179, §3.2 (order and angles).
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

MAX_DEGREES = 1024
"""Past this the seeds of the recurrence underflow over a visible part of the sphere."""


@torch.no_grad()
def spherical_harmonics(lonlat: Tensor, degrees: int, *, dtype: torch.dtype = torch.float64) -> Tensor:
    """Evaluate all real spherical harmonics of degree below ``degrees``; no gradient passes to the points.

    Takes 8 N L² bytes of memory beside the result, if that is not float64: for many points, split them first
    (:func:`model.chunks.encode_chunks` does).

    Args:
        lonlat: (N, 2) degrees, longitude first; poles and any longitude are valid. On any device.
        degrees: L, the number of degrees (SatCLIP's ``legendre_polys``), 1…1024.
        dtype: of the result.

    Returns:
        (N, L²) on the device of ``lonlat``, the transpose of a contiguous (L², N).

    Raises:
        ValueError: ``degrees`` is outside 1…1024.
    """
    if not 1 <= degrees <= MAX_DEGREES:
        raise ValueError(f"degrees must lie in 1…{MAX_DEGREES}, got {degrees}.")
    # Apple's GPU has no float64.
    points = lonlat.cpu().to(torch.float64) if lonlat.device.type == "mps" else lonlat.to(torch.float64)
    orders, scale, a, b = _coefficients(degrees, points.device)
    phi, latitude = torch.deg2rad(points[:, 0] + 180.0), torch.deg2rad(points[:, 1])
    cos_theta, sin_theta = -torch.sin(latitude), torch.cos(latitude)  # θ = latitude + 90°
    out = points.new_empty(degrees * degrees, len(points))

    # Seeds, l = |m|: P̄_mm is the product of the scales up to m times sinᵐθ.
    factors = scale * sin_theta  # (L, N)
    factors[0] = scale[0]
    sectoral = torch.cumprod(factors, dim=0)
    angle = orders[:, None] * phi
    first = (orders * orders).long()  # the column of m = −l; that of m = l is 2l further
    out[first] = sectoral * torch.sin(angle)
    out[first + (2 * orders).long()] = sectoral * torch.cos(angle)

    # The columns of a degree are [m = −l | −l+1 … l−1 | l]. Those within belong to the orders of the degree before, and
    # without their own outermost two to those of the one before that.
    rows = torch.split(out, [2 * l + 1 for l in range(degrees)])
    for l in range(1, degrees):
        within = rows[l][1:-1]
        torch.mul(rows[l - 1], cos_theta, out=within)
        if l > 1:
            within[1:-1].addcmul_(rows[l - 2], b[l], value=-1)
        within.mul_(a[l])
    return out.to(dtype).to(lonlat.device).T


@functools.lru_cache(maxsize=16)
def _coefficients(degrees: int, device: torch.device) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """What the recurrence needs beside the points.

    Returns:
        Orders 0…L−1, (L,); the factor of each sectoral function over the one before, (L, 1), the first being Y_00 and
        the √2 of the orders m ≠ 0 included; and by degree the factors a, (2l − 1, 1), and b, (2l − 3, 1).
    """
    orders = torch.arange(degrees, dtype=torch.float64, device=device)
    scale = torch.sqrt((2 * orders + 1) / (2 * orders).clamp(min=1))
    scale[0] = math.sqrt(1 / (4 * math.pi))
    scale[1:2] *= math.sqrt(2)
    a, b = [orders[:0]], [orders[:0]]  # degree 0 has none
    for l in range(1, degrees):
        squares = torch.arange(1 - l, l, dtype=torch.float64, device=device)[:, None] ** 2
        a.append(torch.sqrt((4 * l * l - 1) / (l * l - squares)))
        b.append(torch.sqrt(((l - 1) ** 2 - squares[1:-1]) / (4 * (l - 1) ** 2 - 1)))
    return orders, scale[:, None], a, b

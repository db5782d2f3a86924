"""Cutting Blue Marble patches where a training runs: on its device, at any place, turned and mirrored at will.

Owns the picture as a tensor and its sampling. The grids are those of :func:`data.geo.local_grid`, so that an unturned
patch is what :meth:`data.blue_marble.BlueMarble.cut` gives, up to the last of its 256 levels. Refuses nothing: it sees
the places of a split, which are on the globe.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from data.blue_marble import PATCH_PX, BlueMarble
from data.geo import EARTH_RADIUS_KM


def picture_tensor() -> Tensor:
    """The picture, (1, 3, H, W + 2) float32 0…255, its outer columns repeated on the other side."""
    pixels = torch.from_numpy(BlueMarble.open().pixels.copy()).permute(2, 0, 1)
    return torch.cat([pixels[:, :, -1:], pixels, pixels[:, :, :1]], dim=2).float()[None]


def cut_patches(
    picture: Tensor, lonlat: Tensor, footprint_km: Tensor, *, turn: Tensor | None = None, mirror: Tensor | None = None
) -> Tensor:
    """Cut square patches on local metric grids.

    Args:
        picture: as :func:`picture_tensor` gives it.
        lonlat: (N, 2) float64 degrees, the centres.
        footprint_km: (N,) sides on the ground, at most about 300 km: there is one level of detail.
        turn: (N,) radians, how far each patch is turned about its centre; None for north up.
        mirror: (N,) bool, which are flipped from east to west, before they are turned.

    Returns:
        (N, 3, 32, 32) float32 display colours 0…1, in steps of 1/255.

    Source:
        Snyder 1987, Map Projections: A Working Manual, eqs 20-14 and 20-15.
    """
    step = (torch.arange(PATCH_PX, device=picture.device) + 0.5) * 2 / PATCH_PX - 1
    half = (footprint_km.float() / 2 / EARTH_RADIUS_KM)[:, None, None]  # radians
    right, up = half * step[None, None, :], half * -step[None, :, None]
    if mirror is not None:
        right = torch.where(mirror[:, None, None], -right, right)
    if turn is not None:
        cos, sin = torch.cos(turn)[:, None, None], torch.sin(turn)[:, None, None]
        right, up = cos * right - sin * up, sin * right + cos * up
    rho = torch.hypot(right, up)
    sinc = torch.sinc(rho / torch.pi)
    phi = torch.deg2rad(lonlat[:, 1])
    sin_phi, cos_phi = torch.sin(phi).float()[:, None, None], torch.cos(phi).float()[:, None, None]
    forward = cos_phi * torch.cos(rho) - up * sinc * sin_phi
    north = torch.cos(rho) * sin_phi + up * sinc * cos_phi
    east = right * sinc
    longitude = lonlat[:, 0].float()[:, None, None] + torch.rad2deg(torch.atan2(east, forward))
    latitude = torch.rad2deg(torch.atan2(north, torch.hypot(east, forward)))
    height, width = picture.shape[2], picture.shape[3] - 2
    column = torch.remainder((longitude + 180) / 360 * width - 0.5 + 0.5, width) + 0.5  # of the padded picture
    row = (90 - latitude) / 180 * height - 0.5
    grid = torch.stack([2 * column / (width + 1) - 1, 2 * row / (height - 1) - 1], dim=-1)
    with torch.autocast(picture.device.type, enabled=False):
        flat = grid.reshape(1, -1, PATCH_PX, 2)
        found = functional.grid_sample(picture, flat, padding_mode="border", align_corners=True)
    patches = found.reshape(3, len(lonlat), PATCH_PX, PATCH_PX).transpose(0, 1)
    return patches.round() / 255

"""The bridge from a patch to what the Blue Marble encoder was trained on.

Owns two translations. *Radiometric*: surface reflectance becomes Blue Marble display colour by one power law a band.
Clouds go first: the Blue Marble has none, so where a patch has clear pixels only those count. *Geometric*: the patch is
averaged onto the Blue Marble's own pixel grid and blown up to 32×32 from there. A Sentinel-2 patch of 2.56 km is a
third of a pixel wide: it is seen as its mean colour, and its footprint says so. Refuses nothing that
:func:`data.patch.read_patch` lets through.

The law's two constants a band were fitted, as ``tools/fit_bridge.py`` prints, to the clear patches of S2-100K (Klemmer
et al. 2023) that lie beside the design document: nine points, so the law has no more freedom than that allows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from data import bands
from data.blue_marble import FOOTPRINT_KM, GSD_M, PATCH_PX
from data.patch import Patch

GAIN = (1.581, 1.796, 3.054)
EXPONENT = (0.752, 0.794, 1.09)
CLOUD_BLUE_REFLECTANCE = 0.15
CLOUD_BLUE_TO_RED = 0.7
"""A pixel brighter in the blue than the first and bluer than the second is cloud or snow: soils are red."""
CLEAR_SHARE = 0.05
"""With a smaller share of clear pixels the patch is taken as it is (it may well be snow)."""


def display_colour(reflectance: ArrayLike) -> NDArray[np.float32]:
    """Surface reflectance (3, …), red, green, blue, to Blue Marble display colour 0…1 of the same shape."""
    values = np.clip(np.asarray(reflectance, dtype=np.float32), 0.0, 1.0)
    shape = (3,) + (1,) * (values.ndim - 1)
    gain, exponent = (np.array(constants, dtype=np.float32).reshape(shape) for constants in (GAIN, EXPONENT))
    return np.clip(gain * values**exponent, 0.0, 1.0)


def clear_pixels(patch: Patch) -> NDArray[np.bool_]:
    """Which pixels count: (H, W). Valid ones, without clouds where enough others are left."""
    visible = patch.visible()
    valid = np.asarray(np.isfinite(visible).all(axis=0), dtype=np.bool_)
    if patch.is_display:
        return valid
    red, _, blue = visible
    cloudy = np.logical_and(blue > CLOUD_BLUE_REFLECTANCE, blue > CLOUD_BLUE_TO_RED * red)
    clear = np.asarray(valid & ~cloudy, dtype=np.bool_)
    return clear if int(clear.sum()) >= CLEAR_SHARE * int(valid.sum()) else valid


def footprint_km(patch: Patch) -> float:
    """Side of the patch's central square on the ground; pixels of unknown size are taken as Sentinel-2's 10 m."""
    side = min(patch.pixels.shape[1:])
    return float(side * (patch.gsd_m or bands.GSD_M) / 1000)


def to_blue_marble(patch: Patch) -> tuple[NDArray[np.float32], float]:
    """What the Blue Marble would show of a patch.

    Args:
        patch: reflectance or display colours at any GSD. Of an oblong one the central square is used; of one wider than
            237 km the central 237 km.

    Returns:
        (3, 32, 32) float32 display colours 0…1, and the side of the footprint in kilometres.
    """
    use = clear_pixels(patch)
    visible = np.where(use, patch.visible(), np.nan)
    gsd_km = (patch.gsd_m or bands.GSD_M) / 1000
    height, width = use.shape
    side = min(height, width, max(1, round(FOOTPRINT_KM / gsd_km)))
    top, left = (height - side) // 2, (width - side) // 2
    square = visible[:, top : top + side, left : left + side]
    if not np.isfinite(square).any():
        square = visible
    mean = np.nanmean(square, axis=(1, 2), keepdims=True)
    square = np.where(np.isfinite(square), square, mean)
    colours = square.astype(np.float32) if patch.is_display else display_colour(square)
    side_km = side * gsd_km
    grid_px = int(np.clip(round(side_km * 1000 / GSD_M), 1, PATCH_PX))
    return np.stack([_resize(band, grid_px) for band in colours]), side_km


def _resize(band: NDArray[np.float32], grid_px: int) -> NDArray[np.float32]:
    """Average one band onto ``grid_px`` Blue Marble pixels a side, then interpolate to the encoder's 32."""
    picture = Image.fromarray(band)
    if grid_px < band.shape[0]:
        picture = picture.resize((grid_px, grid_px), Image.Resampling.BOX)
    if picture.size != (PATCH_PX, PATCH_PX):
        picture = picture.resize((PATCH_PX, PATCH_PX), Image.Resampling.BILINEAR)
    return np.asarray(picture, dtype=np.float32)

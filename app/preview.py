"""What a query image looks like to people, and what is known of it in one line."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.gallery import lonlat_text
from data.bands import GSD_M as SENTINEL_GSD_M
from data.blue_marble import GSD_M
from data.bridge import footprint_km
from data.patch import Patch

STRETCH_PERCENT = (2.0, 98.0)


def picture(patch: Patch) -> NDArray[np.uint8]:
    """The visible bands as a picture: (H, W, 3) uint8.

    Reflectance is stretched between its 2nd and 98th percentile, all bands alike, so that colours stay true. Display
    colours are shown as they are. Nodata is black.
    """
    pixels = np.moveaxis(patch.visible(), 0, -1).astype(np.float64)
    if not patch.is_display:
        low, high = np.nanpercentile(pixels, STRETCH_PERCENT)
        pixels = (pixels - low) / max(high - low, 1e-6)
    return np.asarray(np.rint(np.clip(np.nan_to_num(pixels), 0, 1) * 255), dtype=np.uint8)


def caption(patch: Patch, *, blue_marble: bool = True) -> str:
    """Bands, size on the ground, place, and how little of it a model of the Blue Marble can see where that is so."""
    count, height, width = patch.pixels.shape
    side_km = footprint_km(patch)
    size = f"{side_km:.1f}" if side_km < 10 else f"{side_km:,.0f}"
    words = [f"{count} bands, {width} × {height} pixels, {size} km wide"]
    if patch.gsd_m is None:
        words[0] += f" if a pixel is {SENTINEL_GSD_M:g} m"
    words.append(lonlat_text(*patch.lonlat) if patch.lonlat else "place unknown")
    text = "; ".join(words) + "."
    if blue_marble and side_km * 1000 < 1.5 * GSD_M:
        text += f" The model sees {GSD_M / 1000:.1f} km a pixel, so all it sees of this is one colour."
    return text

"""What is known of a query image, in one line."""

from __future__ import annotations

from app.gallery import lonlat_text
from data.bands import GSD_M as SENTINEL_GSD_M
from data.blue_marble import GSD_M
from data.bridge import footprint_km
from data.patch import Patch


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

"""Sentinel-2 bands: their names, order and scale.

Owns the tables of the MSI instrument and the rule by which an unnamed array's bands are known from their number.

Source:
    ESA, Sentinel-2 User Handbook §3.1; L2A products have no B10 (cirrus). From processing baseline 04.00 (January 2022)
    digital numbers carry an offset of +1000 (ESA, Sentinel-2 Products Specification Document v14.9, §4.3.1.1).
"""

from __future__ import annotations

L1C_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""All 13 bands in the order of SatCLIP's input channels."""
L2A_BANDS = tuple(band for band in L1C_BANDS if band != "B10")
VISIBLE_BANDS = ("B04", "B03", "B02")
"""Red, green, blue."""
DISPLAY_BANDS = ("R", "G", "B")
"""Display colours, 0…1, with the tone curve of the Blue Marble; not reflectance."""
QUANTIFICATION = 10_000.0
LARGEST_REFLECTANCE = 2.0
"""Fresh snow and sun glint reach about 1.6; digital numbers of anything but deep water lie in the hundreds."""
"""Digital numbers a unit of reflectance."""
BASELINE_0400_OFFSET = 1000.0
GSD_M = 10.0


def bands_by_count(count: int) -> tuple[str, ...] | None:
    """Names of an unnamed stack's bands, or None where the number does not say."""
    return {3: VISIBLE_BANDS, 12: L2A_BANDS, 13: L1C_BANDS}.get(count)


def canonical(name: str) -> str:
    """Zero-pad a band's name as ESA writes it: ``b4`` → ``B04``, ``b8a`` → ``B8A``."""
    text = name.strip().upper()
    return f"B0{text[1]}" if len(text) == 2 and text[0] == "B" and text[1].isdigit() else text

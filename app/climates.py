"""The names and colours of Köppen–Geiger climates.

Source:
    Peel, Finlayson and McMahon 2007, Updated world map of the Köppen-Geiger climate classification, Hydrology and
    Earth System Sciences 11, for the colours that its readers know; they draw no As, which here lies beside Aw.
"""

from __future__ import annotations

CLIMATES = {
    "A": "Tropical",
    "B": "Dry",
    "C": "Temperate",
    "D": "Continental",
    "E": "Polar",
    "Af": "Tropical rainforest",
    "Am": "Tropical monsoon",
    "As": "Tropical savanna, dry summer",
    "Aw": "Tropical savanna, dry winter",
    "BWh": "Hot desert",
    "BWk": "Cold desert",
    "BSh": "Hot steppe",
    "BSk": "Cold steppe",
    "Csa": "Mediterranean, hot summer",
    "Csb": "Mediterranean, warm summer",
    "Csc": "Mediterranean, cold summer",
    "Cwa": "Subtropical, dry winter",
    "Cwb": "Highland, dry winter",
    "Cwc": "Cold highland, dry winter",
    "Cfa": "Humid subtropical",
    "Cfb": "Oceanic",
    "Cfc": "Subpolar oceanic",
    "Dsa": "Continental, hot dry summer",
    "Dsb": "Continental, warm dry summer",
    "Dsc": "Subarctic, dry summer",
    "Dsd": "Severe subarctic, dry summer",
    "Dwa": "Continental, hot summer, dry winter",
    "Dwb": "Continental, warm summer, dry winter",
    "Dwc": "Subarctic, dry winter",
    "Dwd": "Severe subarctic, dry winter",
    "Dfa": "Humid continental, hot summer",
    "Dfb": "Humid continental, warm summer",
    "Dfc": "Subarctic",
    "Dfd": "Severe subarctic",
    "ET": "Tundra",
    "EF": "Ice cap",
}
"""Köppen–Geiger codes, the five groups first."""

COLOURS = {
    "Af": (0, 0, 255),
    "Am": (0, 120, 255),
    "As": (120, 200, 250),
    "Aw": (70, 170, 250),
    "BWh": (255, 0, 0),
    "BWk": (255, 150, 150),
    "BSh": (245, 165, 0),
    "BSk": (255, 220, 100),
    "Csa": (255, 255, 0),
    "Csb": (200, 200, 0),
    "Csc": (150, 150, 0),
    "Cwa": (150, 255, 150),
    "Cwb": (100, 200, 100),
    "Cwc": (50, 150, 50),
    "Cfa": (200, 255, 80),
    "Cfb": (100, 255, 80),
    "Cfc": (50, 200, 0),
    "Dsa": (255, 0, 255),
    "Dsb": (200, 0, 200),
    "Dsc": (150, 50, 150),
    "Dsd": (150, 100, 150),
    "Dwa": (170, 175, 255),
    "Dwb": (90, 120, 220),
    "Dwc": (75, 80, 180),
    "Dwd": (50, 0, 135),
    "Dfa": (0, 255, 255),
    "Dfb": (55, 200, 255),
    "Dfc": (0, 125, 125),
    "Dfd": (0, 70, 95),
    "ET": (178, 178, 178),
    "EF": (102, 102, 102),
}
"""Red, green and blue by code, 0…255."""


def climate_name(code: str) -> str:
    """A climate in words, with its code."""
    return f"{CLIMATES[code]} ({code})" if code in CLIMATES else code

"""Write the table of ``docs/predict.md``: 600 land places with something to predict, from the atlas.

    python -m tools.example_table

The numbers are the annual mean of the air temperature plus half its seasonal range, which comes near the mean of the
warmest month; the classes are the five main Köppen–Geiger groups. Both stand in for what a user would have measured.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data import atlas
from data.land import sample_land

OUT = Path(__file__).parents[1] / "docs" / "example-sites.csv"
PLACES = 600
GROUPS = {"A": "tropical", "B": "dry", "C": "temperate", "D": "continental", "E": "polar"}


def rows() -> list[str]:
    """The lines of the file, the header first."""
    lonlat = sample_land(2 * PLACES, rng=np.random.default_rng(11), antarctica=False).round(3)
    warm = atlas.sample("temperature", lonlat) + atlas.sample("temperature_range", lonlat) / 2
    climate = atlas.koppen(lonlat)
    kept = np.flatnonzero(np.isfinite(warm) & (climate != ""))[:PLACES]
    lines = ["site,lon,lat,warmest_c,climate"]
    for number, row in enumerate(kept.tolist(), start=1):
        lon, lat = lonlat[row].tolist()
        lines.append(f"S{number:03d},{lon:.3f},{lat:.3f},{warm[row]:.1f},{GROUPS[str(climate[row])[0]]}")
    return lines


def main() -> None:
    """Write the file."""
    OUT.write_text("\n".join(rows()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Write a folder of make-believe Sentinel-2 patches, for those who have none at hand.

    python -m tools.example_patches patches

Each is what a real one is: a GeoTIFF of the 12 bands of L2A, 256 × 256 pixels of 10 m, digital numbers, in its UTM
zone, with the time of acquisition in a tag. The visible bands have the Blue Marble's colour at the place, led back to
reflectance through the inverse of ``data/bridge.py``; fields, a stream and the other bands are drawn. Good for trying
commands out; nothing about the ground can be learnt from them.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.warp import transform

from data import atlas
from data.bands import GSD_M, L2A_BANDS, QUANTIFICATION
from data.blue_marble import BlueMarble
from data.bridge import EXPONENT, GAIN
from data.geo import BBox, Floats
from data.land import sample_land

COUNT = 24
SIDE_PX = 256
FIELD_PX = 32
AREA = BBox(6.5, 36.5, 18.5, 47.5)
FIRST = datetime(2023, 3, 1, 10, 20, tzinfo=UTC)
WET = {"B01": 0.8, "B02": 1.0, "B03": 1.0, "B04": 1.0, "B05": 1.3, "B06": 2.2, "B07": 2.6}
DRY = {"B08": 2.8, "B8A": 2.9, "B09": 2.9, "B11": 2.0, "B12": 1.3}
TIMES_RED = WET | DRY
"""Reflectance of the bands beside red's, roughly as of a meadow; for the visible ones their own colour counts."""


def places(count: int = COUNT) -> Floats:
    """Land places in Italy: (count, 2) degrees."""
    points = sample_land(400 * count, rng=np.random.default_rng(5), antarctica=False)
    points = points[AREA.contains(points)]
    while len(points) < 40 * count:
        more = sample_land(4000 * count, rng=np.random.default_rng(len(points)), antarctica=False)
        points = np.concatenate([points, more[AREA.contains(more)]])
    return np.asarray(points[atlas.country_of(points) == "ITA"][:count], dtype=np.float64)


def reflectance(lonlat: Floats, rng: np.random.Generator) -> NDArray[np.float64]:
    """One patch: (12, 256, 256) in the order of ``L2A_BANDS``."""
    colour = BlueMarble.open().cut([lonlat], size_px=4, footprint_km=7.4)[0].mean(axis=(1, 2)) / 255  # red, green, blue
    visible = (np.clip(colour, 0.02, 0.98) / GAIN) ** (1 / np.array(EXPONENT))
    level = dict(zip(("B04", "B03", "B02"), visible, strict=True))
    bands = np.array([level.get(band, TIMES_RED[band] * level["B04"]) for band in L2A_BANDS])
    fields = np.kron(rng.uniform(0.8, 1.2, (SIDE_PX // FIELD_PX,) * 2), np.ones((FIELD_PX, FIELD_PX)))
    pixels = bands[:, None, None] * fields * rng.normal(1, 0.02, (SIDE_PX, SIDE_PX))
    column = np.clip(np.cumsum(rng.integers(-1, 2, SIDE_PX)) + SIDE_PX // 2, 0, SIDE_PX - 4)
    for row, left in enumerate(column.tolist()):
        pixels[:, row, left : left + 4] = 0.03  # a stream of 40 m
    return np.asarray(np.clip(pixels, 0.005, 1.0), dtype=np.float64)


def write(path: Path, lonlat: Floats, *, acquired: datetime, rng: np.random.Generator) -> None:
    """Write one patch."""
    lon, lat = lonlat.tolist()
    crs = f"EPSG:{(32600 if lat >= 0 else 32700) + int((lon + 180) // 6) + 1}"
    (x,), (y,) = transform("EPSG:4326", crs, [lon], [lat])
    half_m = SIDE_PX * GSD_M / 2
    grid = from_origin(round(x - half_m, -1), round(y + half_m, -1), GSD_M, GSD_M)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(L2A_BANDS),
        height=SIDE_PX,
        width=SIDE_PX,
        dtype="uint16",
        crs=crs,
        transform=grid,
        compress="deflate",
        predictor=2,
    ) as file:
        file.write(np.round(reflectance(lonlat, rng) * QUANTIFICATION).astype(np.uint16))
        file.descriptions = L2A_BANDS
        file.update_tags(acquired=acquired.isoformat())


def main(folder: Path) -> None:
    """Write the patches."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, lonlat in enumerate(places()):
        when = FIRST + timedelta(days=10 * number)
        write(folder / f"patch_{number:02d}.tif", lonlat, acquired=when, rng=np.random.default_rng(number))
    print(f"{folder}: {COUNT} patches")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "patches"))

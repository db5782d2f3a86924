"""Fit the tone curve of ``data/bridge.py`` and print its constants.

For every Sentinel-2 patch in a folder with ``index.csv`` (fn, lon, lat): the median reflectance of its clear pixels
against the Blue Marble's colour at the same place. One power law a band, least squares in logarithms, and the error
when each patch in turn is left out. Patches with hardly a clear pixel (cloud, snow) are left aside and named.

Run: python -m tools.fit_bridge FOLDER
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.blue_marble import BlueMarble
from data.bridge import CLOUD_BLUE_REFLECTANCE, clear_pixels
from data.patch import read_patch


def fit(reflectance: NDArray[np.float64], colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) and (N,) to (gain, exponent)."""
    exponent, log_gain = np.polyfit(np.log(reflectance), np.log(colour), 1)
    return np.array([np.exp(log_gain), exponent])


def main(folder: Path) -> None:
    """Print the table, the constants and the leave-one-out error."""
    picture = BlueMarble.open()
    reflectance, colour = [], []
    with (folder / "index.csv").open() as file:
        for row in csv.DictReader(file):
            patch = read_patch(folder / row["fn"])
            clear, visible = clear_pixels(patch), patch.visible()
            if np.median(visible[2, clear]) > CLOUD_BLUE_REFLECTANCE and clear.all():
                print(f"{row['fn']}: cloud or snow all over, left aside")
                continue
            place = [[float(row["lon"]), float(row["lat"])]]
            reflectance.append(np.median(visible[:, clear], axis=1))
            colour.append(picture.cut(place, size_px=4, footprint_km=7.4)[0].mean(axis=(1, 2)) / 255)
            print(row["fn"], f"{clear.mean():.0%} clear,", reflectance[-1].round(3), colour[-1].round(3))
    x, y = np.array(reflectance, dtype=np.float64), np.array(colour)
    constants = np.array([fit(x[:, band], y[:, band]) for band in range(3)])
    print("GAIN =", tuple(constants[:, 0].round(3).tolist()), "EXPONENT =", tuple(constants[:, 1].round(3).tolist()))
    errors = []
    for out in range(len(x)):
        rest = np.arange(len(x)) != out
        law = np.array([fit(x[rest, band], y[rest, band]) for band in range(3)])
        errors.append(law[:, 0] * x[out] ** law[:, 1] - y[out])
    print("left-one-out RMS error (0…255):", (255 * np.sqrt(np.mean(np.square(errors), axis=0))).round(1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""A picture of where patches lie: points over the Blue Marble."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.blue_marble import BlueMarble
from data.errors import SourceError
from data.files import disk_errors, durable

REDUCED = 4
"""One pixel of the picture under the points for so many of the Blue Marble: 1350 columns."""


def draw(lon: NDArray[np.float64], lat: NDArray[np.float64], path: Path, *, title: str) -> None:
    """Write a PNG.

    Args:
        lon: (N,) degrees.
        lat: (N,) degrees.
        path: of the picture.
        title: above it.

    Raises:
        SourceError: it cannot be written there.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(12, 6.5), layout="constrained")
    earth = BlueMarble.open().pixels[::REDUCED, ::REDUCED]
    axis.imshow(earth, extent=(-180, 180, -90, 90), alpha=0.75, aspect="equal", interpolation="bilinear")
    # Few are large enough to be seen, many small enough to be told apart.
    size = float(np.clip(4000 / max(1, len(lon)), 2, 60))
    edges = "black" if size > 10 else "none"
    axis.scatter(lon, lat, s=size, color="#ffcc33", edgecolors=edges, linewidths=0.7, zorder=2)
    axis.set(xlim=(-180, 180), ylim=(-90, 90), title=title)
    axis.set_xticks(range(-180, 181, 60), [f"{abs(x)}°{'W' * (x < 0) or 'E' * (x > 0)}" for x in range(-180, 181, 60)])
    axis.set_yticks(range(-90, 91, 30), [f"{abs(y)}°{'S' * (y < 0) or 'N' * (y > 0)}" for y in range(-90, 91, 30)])
    advice = "Choose another place with --out."
    with disk_errors(path, "Writing", kind=SourceError, full=advice, denied=advice), durable(path) as file:
        figure.savefig(file, dpi=110, format="png")
    plt.close(figure)

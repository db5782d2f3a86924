"""The similarity field as a picture: scores of some 80 thousand cells drawn onto one raster of the land.

Owns which pixel shows which cell, the colours and the legend. A pixel shows the cell whose centre is nearest, on land
only: the sea stays transparent, and so does land that no cell of the index covers. Which pixel shows which cell is
found once for an index (2 s) and kept as a file. Hexes as vectors would take the browser seconds a query; this is one
picture of 0.2 MB, drawn in 0.1 s.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import io
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.geo import Cells, Floats, cell_lonlat, unit_vectors
from data.land import is_land

MERCATOR_LAT_DEG = 85.0511287798066
"""Where the Web Mercator square ends (EPSG:3857)."""
SIDE_PX = 2048
LEVELS = 64
"""Steps of colour. More are not seen, and make the picture larger."""
FLOOR_PERCENTILE = 50.0
"""Scores up to here are the darkest colour: half of the land is of no interest to a query."""
COLOURS = "plasma"
"""Perceptually uniform, safe for colour-blind readers, and unlike the greens and browns of the picture beneath."""
FORMAT = 1
RUNS = 3
"""Zlib's strategy for runs of equal bytes (Z_RLE): 20 ms and 170 kB a picture; its default takes 70 ms for 150 kB."""


@dataclass(frozen=True)
class Legend:
    """What the colours mean.

    Attributes:
        low: score of the darkest colour; lower scores have it too.
        high: score of the brightest colour.
        colours: ``#rrggbb`` from low to high.
        by_rank: whether equal steps of colour are equal areas of land rather than equal steps of score.
        middle: score in the middle of the colours.
    """

    low: float
    high: float
    colours: tuple[str, ...]
    by_rank: bool = False
    middle: float | None = None


def pixel_lonlat(side_px: int) -> Floats:
    """Centres of the pixels of a square Web Mercator world: (side, side, 2) degrees, first row north.

    Source:
        Snyder 1987, Map Projections: A Working Manual, eq 7-4 (inverse, sphere).
    """
    step = (np.arange(side_px) + 0.5) / side_px
    lon = step * 360 - 180
    lat = np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * step))))
    return np.stack(np.meshgrid(lon, lat), axis=-1)


def pixel_rows(cells: Cells, *, side_px: int = SIDE_PX) -> NDArray[np.int32]:
    """Which cell each pixel shows: (side, side) int32 row numbers in ``cells``, -1 for none.

    Args:
        cells: (N,) H3 ids.
        side_px: pixels on each side.
    """
    from scipy.spatial import cKDTree  # half a second, and only where no file is kept yet

    rows = np.full((side_px, side_px), -1, dtype=np.int32)
    if not len(cells):
        return rows
    lonlat = pixel_lonlat(side_px)
    land = is_land(lonlat)
    tree = cKDTree(unit_vectors(cell_lonlat(cells)))
    # A hexagon's corner is 0.58 of the spacing of centres from its own. Reach a little further, to the coast of cells
    # whose own centre is in the sea.
    spacing = (
        float(np.median(tree.query(tree.data[:: max(1, len(cells) // 500)], k=2)[0][:, 1])) if len(cells) > 1 else 2
    )
    reach = min(2.0, 0.8 * spacing)
    apart, nearest = tree.query(unit_vectors(lonlat[land]), distance_upper_bound=reach, workers=-1)
    rows[land] = np.where(np.isfinite(apart), nearest, -1)
    return rows


def kept_pixel_rows(cells: Cells, folder: Path, *, side_px: int = SIDE_PX) -> NDArray[np.int32]:
    """As :func:`pixel_rows`, kept as a file in ``folder``. A disk that refuses only costs the time again."""
    name = hashlib.sha256(np.ascontiguousarray(cells).tobytes() + f"{FORMAT} {side_px}".encode()).hexdigest()[:16]
    path = folder / f"field-{name}.npy"
    with contextlib.suppress(OSError, ValueError):
        rows: NDArray[np.int32] = np.load(path, allow_pickle=False)
        if rows.shape == (side_px, side_px) and rows.dtype == np.int32 and int(rows.max()) < len(cells):
            return rows
    rows = pixel_rows(cells, side_px=side_px)
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=folder, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                np.save(file, rows, allow_pickle=False)
            os.replace(beside, path)
        except OSError:
            Path(beside).unlink(missing_ok=True)
    return rows


@functools.cache
def palette(colours: str = COLOURS) -> NDArray[np.uint8]:
    """Colours of the levels: (LEVELS, 4) uint8 RGBA. The darkest are the most transparent."""
    from matplotlib import colormaps

    step = np.linspace(0, 1, LEVELS)
    rgba: NDArray[np.float64] = np.asarray(colormaps[colours](0.08 + 0.92 * step), dtype=np.float64)
    rgba[:, 3] = 0.68 + 0.24 * step  # enough to darken ice, which would otherwise look bright
    return np.asarray(np.rint(rgba * 255), dtype=np.uint8)


def limits(scores: NDArray[np.float32]) -> tuple[float, float]:
    """Scores of the darkest and the brightest colour."""
    if not len(scores):
        return 0.0, 1.0
    low, high = float(np.percentile(scores, FLOOR_PERCENTILE)), float(scores.max())
    return (low, high) if high - low > 1e-6 else (low - 0.5e-6, low + 0.5e-6)


def levels(scores: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Scores as numbers of a colour, 0…LEVELS-1."""
    part = (scores.astype(np.float64) - low) / (high - low)
    return np.asarray(np.clip(np.rint(part * (LEVELS - 1)), 0, LEVELS - 1), dtype=np.uint8)


def draw_field(scores: NDArray[np.float32], rows: NDArray[np.int32], *, by_rank: bool = False) -> tuple[bytes, Legend]:
    """Draw the field.

    Args:
        scores: (N,) of the cells.
        rows: (H, W) row number of the cell that each pixel shows, -1 for none.
        by_rank: colour by the share of cells that score lower; by default, by the score itself.

    Returns:
        A palette PNG with transparency, and its legend.
    """
    low, high = limits(scores)
    middle = None
    # One more level, the last, is transparent; -1 picks it.
    if by_rank and len(scores):
        low, middle = float(scores.min()), float(np.median(scores))
        level = np.append(levels(_ranks(scores), 0.0, 1.0), np.uint8(LEVELS))
    else:
        level = np.append(levels(scores, low, high), np.uint8(LEVELS))
    return _picture(level, rows, COLOURS), Legend(low, high, _shown(COLOURS), by_rank, middle)


def draw_values(
    values: NDArray[np.floating], rows: NDArray[np.int32], *, low: float, high: float, colours: str = "cividis"
) -> tuple[bytes, Legend]:
    """Draw values of the cells between two bounds; cells without a value stay transparent.

    Args:
        values: (N,) of the cells.
        rows: (H, W) row number of the cell that each pixel shows, -1 for none.
        low: value of the first colour; lower ones have it too.
        high: value of the last colour.
        colours: name of a perceptually uniform scale.
    """
    high = high if high > low else low + 1e-6
    known = np.isfinite(values)
    level = np.full(len(values) + 1, LEVELS, dtype=np.uint8)
    level[:-1][known] = levels(np.asarray(values, dtype=np.float32)[known], low, high)
    return _picture(level, rows, colours), Legend(low, high, _shown(colours))


def _picture(level: NDArray[np.uint8], rows: NDArray[np.int32], scale: str) -> bytes:
    """A palette PNG of levels by cell, the last of them for no cell."""
    colours = np.vstack([palette(scale), np.zeros((1, 4), dtype=np.uint8)])
    picture = Image.fromarray(level[rows])
    picture.putpalette(colours[:, :3].tobytes())
    out = io.BytesIO()
    picture.save(out, format="PNG", transparency=colours[:, 3].tobytes(), compress_type=RUNS)
    return out.getvalue()


def _shown(scale: str) -> tuple[str, ...]:
    """Colours of the legend, low to high."""
    shown = [*palette(scale)[:: LEVELS // 8].tolist(), palette(scale)[-1].tolist()]
    return tuple(f"#{r:02x}{g:02x}{b:02x}" for r, g, b, _ in shown)


def _ranks(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The share of cells that score lower, 0…1."""
    ranks = np.empty(len(scores), dtype=np.float32)
    ranks[np.argsort(scores, kind="stable")] = np.linspace(0, 1, len(scores), dtype=np.float32)
    return ranks


def data_url(content: bytes, mime: str) -> str:
    """Bytes as a ``data:`` URL."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"

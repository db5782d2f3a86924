"""Draws the pictures of ``docs/concepts.md`` from what ships: ``python -m tools.concept_pictures docs/images``.

The Blue Marble, the land mask and the shipped pair; no index and no network. Colours are cividis and PuOr for numbers
and one of Okabe and Ito's for marks, which people with any common colour blindness can tell apart. A minute on a core.
"""

from __future__ import annotations

import functools
import io
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from data.blue_marble import FOOTPRINT_KM, BlueMarble
from data.geo import cell_boundary, cell_lonlat, cell_parent, great_circle_km, local_grid
from data.land import is_land, land_cells
from indexer.select import pick_spaced
from model import load
from model.harmonics import spherical_harmonics

PLACES = {
    "Sahara dunes": (6.0, 30.0),
    "Amazon": (-64.0, -5.0),
    "Greenland ice": (-41.0, 73.0),
    "Tibet": (88.0, 33.0),
    "Corn belt": (-93.0, 41.5),
    "Nile delta": (31.0, 30.8),
    "Siberian taiga": (103.0, 60.0),
    "Kalahari": (22.0, -23.0),
}
ROME = (12.49, 41.89)
ORANGE, INK = "#D55E00", "#222222"  # the first is Okabe and Ito's vermillion
CIVIDIS = matplotlib.colormaps["cividis"]
WORLD = (-180, 180, -90, 90)
RASTER_DEG = 0.5
APART_KM = 1000.0


def main(folder: Path) -> None:
    """Draw all pictures into a folder."""
    plt.rcParams.update({"font.size": 12, "axes.spines.top": False, "axes.spines.right": False, "text.color": INK})
    draw_pair(folder / "concept-pair.png")
    draw_harmonics(folder / "concept-harmonics.png")
    draw_cells(folder / "concept-cells.png")
    draw_views(folder / "concept-views.png")


def draw_pair(out: Path) -> None:
    """Images down the side, places along the top, and the score of every pair of them."""
    pair, marble = load("blue-marble-l40"), BlueMarble.open()
    lonlat = np.array(list(PLACES.values()))
    patches = marble.cut(lonlat)
    scores = pair.encode_image(patches, footprint_km=FOOTPRINT_KM) @ pair.encode_location(lonlat).T
    pictures = np.moveaxis(marble.cut(lonlat, size_px=96), 1, -1)
    n = len(PLACES)
    figure, axes = plt.subplots(figsize=(9.0, 8.0))
    axes.imshow(scores, cmap="cividis", vmin=min(0.0, float(scores.min())), vmax=1)
    for i, j in np.ndindex(n, n):
        colour = "white" if scores[i, j] < 0.3 else "black"
        text = f"{scores[i, j]:.2f}".replace("-", "−")
        axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=14)
    for i in range(n):
        axes.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=ORANGE, linewidth=3))
        box = axes.inset_axes((-1.62, i - 0.46, 0.92, 0.92), transform=axes.transData)
        box.imshow(pictures[i])
        box.set_axis_off()
    labels = [f"{name}\n{_degrees(place)}" for name, place in PLACES.items()]
    axes.set_xticks(range(n), labels, rotation=40, ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("images, by the image encoder", labelpad=78, fontsize=13)
    axes.set_title("places, by the location encoder", fontsize=13, pad=12)
    _save(figure, out)


def draw_harmonics(out: Path) -> None:
    """Four harmonics, and how far a place is like its neighbours for a coarse and a fine encoder."""
    lonlat, shape = _raster()
    figure, axes = plt.subplots(3, 2, figsize=(10.0, 8.8), layout="constrained")
    for axis, (degree, order) in zip(axes.flat, [(1, 0), (3, 2), (9, 4), (39, 20)], strict=False):
        values = _harmonic(lonlat, degree, order).reshape(shape)
        reach = float(np.abs(values).max())
        axis.imshow(values, cmap="PuOr", vmin=-reach, vmax=reach, extent=WORLD, interpolation="nearest")
        axis.set_title(f"degree {degree}, order {order}", fontsize=14)
    for axis, view in zip(axes[2], ("smooth", "sharp"), strict=True):
        shown = axis.imshow(_field(view), cmap="cividis", vmin=0, vmax=1, extent=WORLD, interpolation="nearest")
        axis.plot(*ROME, marker="o", markersize=9, markerfacecolor="none", markeredgecolor=ORANGE, markeredgewidth=2)
        axis.set_title(f"score beside the circled place, {view}", fontsize=14)
    figure.colorbar(shown, ax=axes[2].tolist(), orientation="horizontal", shrink=0.5, aspect=40, extend="min")
    for axis in axes.flat:
        _world(axis)
    _save(figure, out)


def draw_cells(out: Path) -> None:
    """Cells of resolution 4, their parents, and tiles, over Italy."""
    west, east, south, north = 5.0, 20.0, 36.0, 48.5
    cells = land_cells(4)
    points = cell_lonlat(cells)
    near = (points[:, 0] > west - 2) & (points[:, 0] < east + 2) & (points[:, 1] > south - 2)
    near &= points[:, 1] < north + 2
    pair = load("blue-marble-l40", part="location")
    scores = pair.encode_location(points[near]) @ pair.encode_location([ROME])[0]
    figure, axes = plt.subplots(figsize=(8.0, 9.6), layout="constrained")
    shapes = PolyCollection([cell_boundary(cell) for cell in cells[near].tolist()], array=scores, cmap="cividis")
    shapes.set(edgecolor="white", linewidth=0.5, clim=(0.4, 1.0))
    axes.add_collection(shapes)
    for parent in np.unique(cell_parent(cells[near], 2)).tolist():
        axes.fill(*cell_boundary(parent).T, fill=False, edgecolor=INK, linewidth=1.6)
    for centre in (ROME, (10.0, 45.5)):
        axes.fill(*_square(centre, FOOTPRINT_KM).T, fill=False, edgecolor=ORANGE, linewidth=3.5)
    axes.plot(16.2, 40.9, "s", markersize=4, color=ORANGE)
    tile, patch = "a tile of the Blue Marble, 237 km", "a Sentinel-2 patch, 2.56 km, larger than to scale"
    handles = [
        Line2D([], [], ls="", marker="h", markersize=14, color=CIVIDIS(0.8), label="a cell, resolution 4"),
        Line2D([], [], color=INK, linewidth=1.6, label="its parent, resolution 2: shards are whole parents"),
        Rectangle((0, 0), 1, 1, fill=False, edgecolor=ORANGE, linewidth=3.5, label=tile),
        Line2D([], [], ls="", marker="s", markersize=4, color=ORANGE, label=patch),
    ]
    figure.colorbar(
        shapes, ax=axes, orientation="horizontal", shrink=0.7, aspect=40, label="score beside Rome", extend="min"
    )
    axes.set(xlim=(west, east), ylim=(south, north), xlabel="longitude, °", ylabel="latitude, °")
    axes.set_aspect(1 / np.cos(np.radians(42)))
    figure.legend(handles=handles, loc="outside lower center", frameon=False)
    _save(figure, out)


def draw_views(out: Path) -> None:
    """The scores of all land for one place in the three views, with the ten best that keep their distance."""
    cells = land_cells(4)
    points = cell_lonlat(cells)
    pair = load("blue-marble-l40", part="location")
    vectors, query = pair.encode_location(points), pair.encode_location([ROME])
    far = great_circle_km(points, np.array(ROME)) >= APART_KM
    figure, axes = plt.subplots(3, 1, figsize=(9.0, 12.6), layout="constrained")
    for axis, view in zip(axes, ("smooth", "sharp", "both"), strict=True):
        shown = axis.imshow(_field(view), cmap="cividis", vmin=0, vmax=1, extent=WORLD, interpolation="nearest")
        scores = np.where(far, vectors @ pair.reweight(query, view)[0], -np.inf)
        order = np.argsort(-scores, kind="stable")
        best = order[pick_spaced(points[order], 10, APART_KM)]
        axis.scatter(*points[best].T, s=80, facecolors="none", edgecolors=ORANGE, linewidths=2.4)
        axis.plot(*ROME, marker="*", markersize=17, color=ORANGE, markeredgecolor="white", markeredgewidth=1)
        axis.set_title(view, fontsize=16, loc="left")
        _world(axis)
    figure.colorbar(
        shown, ax=axes.tolist(), orientation="horizontal", shrink=0.6, aspect=40, label="score", extend="min"
    )
    _save(figure, out)


@functools.cache
def _field(view: str) -> NDArray[np.float64]:
    """The score of every land pixel of the world raster, asked with Rome; NaN at sea."""
    lonlat, shape = _raster()
    land = is_land(lonlat)
    pair = load("blue-marble-l40", part="location")
    scores = np.full(len(lonlat), np.nan)
    scores[land] = pair.encode_location(lonlat[land]) @ pair.reweight(pair.encode_location([ROME]), view)[0]
    return scores.reshape(shape)


def _harmonic(lonlat: NDArray[np.float64], degree: int, order: int) -> NDArray[np.float64]:
    """One harmonic at (N, 2) degrees, (N,)."""
    values = spherical_harmonics(torch.from_numpy(lonlat), degree + 1)[:, degree * degree + degree + order]
    return np.asarray(values.numpy())


def _raster() -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Centres of a world raster, north up: (N, 2) degrees, and its shape."""
    lon = np.arange(-180 + RASTER_DEG / 2, 180, RASTER_DEG)
    lat = np.arange(90 - RASTER_DEG / 2, -90, -RASTER_DEG)
    return np.stack(np.meshgrid(lon, lat), axis=-1).reshape(-1, 2), (len(lat), len(lon))


def _square(centre: tuple[float, float], side_km: float) -> NDArray[np.float64]:
    """The outline of a square on the ground, (5, 2) degrees."""
    grid = local_grid([centre], size_px=64, footprint_km=side_km)[0]
    return np.asarray(grid[[0, 0, -1, -1, 0], [0, -1, -1, 0, 0]])


def _world(axis: Any) -> None:
    """A map of the world without axes, grey where nothing is drawn."""
    axis.set(xlim=WORLD[:2], ylim=WORLD[2:], xticks=[], yticks=[], aspect="equal", facecolor="#eeeeee")
    axis.spines[:].set_visible(False)


def _degrees(place: tuple[float, float]) -> str:
    lon, lat = place
    return f"{abs(lon):g}° {'E' if lon >= 0 else 'W'}, {abs(lat):g}° {'N' if lat >= 0 else 'S'}"


def _save(figure: Any, out: Path) -> None:
    """As PNG of 256 colours, a third of the bytes and to the eye the same."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=120, bbox_inches="tight", facecolor="white")
    plt.close(figure)
    Image.open(drawn).convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        out, optimize=True
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

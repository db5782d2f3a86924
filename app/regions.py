"""The embedding as a map of its own: principal components as colours, regions by k-means, neighbours of a cell.

Owns these computations on the cells of an open index, and how their results are drawn. All of it is deterministic: the
same index gives the same regions and the same colours. Nothing here knows Streamlit.

Source:
    Lloyd 1982, Least squares quantization in PCM, as FAISS implements it with vectors of unit length.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data import atlas
from data.errors import QueryError
from data.geo import Floats, cell_to_hex, great_circle_km
from indexer.encoder import Vectors
from indexer.search import SearchIndex
from indexer.select import pick_spaced
from indexer.vectors import import_faiss

K_LEAST, K_MOST = 2, 12
SEED = 2026
ROUNDS = 20
SAMPLE = 20_000
"""Cells that k-means and the components are fitted on; all are assigned."""
COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7f7f7f"),
    *("#332288", "#882255", "#44aa99", "#ddcc77"),
)
"""Told apart by colour-blind readers; every region has its number on the map besides.

Okabe & Ito 2008, Color Universal Design; the last four are Paul Tol's muted scheme.
"""
OPACITY = 205
PIXEL_STEP = 2
"""Colours that differ at every pixel do not pack well, so these maps have one pixel for four of the field's."""


@dataclass(frozen=True)
class Components:
    """Three principal components of all cells.

    Attributes:
        colours: (N, 3) uint8, each component stretched between its 2nd and 98th percentile.
        explained: share of the variance that each explains.
    """

    colours: NDArray[np.uint8]
    explained: tuple[float, float, float]


@dataclass(frozen=True)
class Regions:
    """Land divided by k-means.

    Attributes:
        labels: (N,) number of each cell's region, 0 for the largest.
        centres: (k, D) unit vectors.
        typical: (k,) row of the cell that is most like its region's centre.
        shares: (k,) share of the cells.
        alike: (k, k) mean similarity of a cell of one region and a cell of another.
    """

    labels: NDArray[np.int64]
    centres: Vectors
    typical: NDArray[np.int64]
    shares: Floats
    alike: Floats


@dataclass(frozen=True)
class Graph:
    """Nearest neighbours of a cell, and theirs.

    Attributes:
        rows: rows of the cells, the asked one first.
        lonlat: (n, 2) degrees of them.
        ids: hex ids of them.
        edges: positions in these lists and the similarity, one for each line of the graph.
    """

    rows: NDArray[np.int64]
    lonlat: Floats
    ids: tuple[str, ...]
    edges: tuple[tuple[int, int, float], ...]


def cell_vectors(index: SearchIndex) -> Vectors:
    """(N, D) float32 of all cells.

    Raises:
        QueryError: the index holds none.
    """
    count = index.manifest.counts["cells"]
    if not count:
        raise QueryError("This index holds no cells, only images, so there is no map of it. Choose another index.")
    return index.store.vectors("cells", np.arange(count))


def cell_places(index: SearchIndex) -> Floats:
    """(N, 2) degrees of all cells."""
    table = index.cells()
    return np.stack([table["lon"].to_numpy(), table["lat"].to_numpy()], axis=1)


def components(vectors: Vectors) -> Components:
    """Principal components as red, green and blue."""
    some = _some(len(vectors))
    mean = vectors[some].mean(axis=0, dtype=np.float64)
    centred = vectors[some] - mean
    values, axes = np.linalg.eigh(centred.T @ centred / len(some))
    order = np.argsort(values)[::-1][:3]
    three = axes[:, order]
    three = three * np.sign(three[np.abs(three).argmax(axis=0), range(three.shape[1])])  # a sign for good
    scores = (vectors - mean) @ three
    low, high = np.percentile(scores, (2, 98), axis=0)
    colours = np.clip((scores - low) / np.maximum(high - low, 1e-9), 0, 1)
    share = np.maximum(values[order], 0) / max(float(np.maximum(values, 0).sum()), 1e-12)
    full = np.zeros((len(vectors), 3))
    full[:, : colours.shape[1]] = colours
    explained = [float(value) for value in share] + [0.0] * (3 - len(share))
    return Components(np.rint(full * 255).astype(np.uint8), (explained[0], explained[1], explained[2]))


def regions(vectors: Vectors, k: int) -> Regions:
    """Divide the cells into k regions of similar embeddings.

    Raises:
        QueryError: k is out of range, or more than there are cells.
        MissingDependencyError: FAISS is not installed.
    """
    if not K_LEAST <= k <= min(K_MOST, len(vectors)):
        raise QueryError(f"{k} regions cannot be made; give a number from {K_LEAST} to {min(K_MOST, len(vectors))}.")
    faiss = import_faiss()
    means = faiss.Kmeans(
        vectors.shape[1], k, niter=ROUNDS, seed=SEED, spherical=True, max_points_per_centroid=10**9, verbose=False
    )
    means.train(np.ascontiguousarray(vectors[_some(len(vectors))]))
    centres = np.asarray(means.centroids, dtype=np.float32)
    labels = np.argmax(vectors @ centres.T, axis=1)
    order = np.argsort(-np.bincount(labels, minlength=k), kind="stable")
    centres = centres[order]
    place = np.empty(k, dtype=np.int64)
    place[order] = np.arange(k)
    labels = place[labels]
    products = vectors @ centres.T
    typical = np.array([_best(products[:, region], labels == region) for region in range(k)], dtype=np.int64)
    means_ = np.stack(
        [vectors[labels == region].mean(axis=0) if (labels == region).any() else centres[region] for region in range(k)]
    ).astype(np.float64)
    shares = np.bincount(labels, minlength=k) / len(vectors)
    return Regions(labels, centres, typical, shares, means_ @ means_.T)


def similarity(vectors: Vectors, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Mean cosine of a cell of one set and a cell of another: the product of their mean vectors.

    Raises:
        QueryError: a set is empty.
    """
    if not (one.any() and other.any()):
        raise QueryError("One of the two holds no cell of this index. Choose another.")
    return float(vectors[one].mean(axis=0, dtype=np.float64) @ vectors[other].mean(axis=0, dtype=np.float64))


def neighbours(
    vectors: Vectors, places: Floats, ids: NDArray[np.uint64], row: int, *, count: int = 6, apart_km: float = 0.0
) -> Graph:
    """The cells most like one, and the cells most like those.

    Args:
        vectors: (N, D) of all cells.
        places: (N, 2) degrees of them.
        ids: (N,) of them.
        row: of the cell.
        count: neighbours of each.
        apart_km: least distance of neighbours from their cell and from each other; 0 takes the cells next to it.
    """
    rows: list[int] = [row]
    edges: list[tuple[int, int, float]] = []
    seen: set[tuple[int, int]] = set()
    first = _nearest(vectors, places, [row], count, apart_km)[0]
    for ring in ([row], first):
        for one, found in zip(ring, _nearest(vectors, places, ring, count, apart_km), strict=True):
            for other in found:
                pair = (min(one, other), max(one, other))
                if pair in seen:
                    continue
                seen.add(pair)
                rows += [new for new in (one, other) if new not in rows]
                edges.append((rows.index(one), rows.index(other), float(vectors[one] @ vectors[other])))
    chosen = np.array(rows, dtype=np.int64)
    return Graph(chosen, places[chosen], tuple(cell_to_hex(ids[chosen])), tuple(edges))


def region_facts(places: Floats, found: Regions) -> list[dict[str, Any]]:
    """What the atlas says of each region: means of its cells, and its commonest climate."""
    temperature, rain = (atlas.sample(name, places) for name in ("temperature", "precipitation"))
    climate = atlas.koppen(places)
    facts = []
    for region in range(len(found.shares)):
        inside = found.labels == region
        names, counts = np.unique(climate[inside & (climate != "")], return_counts=True)
        facts.append(
            {
                "region": region + 1,
                "share": float(found.shares[region]),
                "temperature": float(np.nanmean(temperature[inside])) if inside.any() else float("nan"),
                "precipitation": float(np.nanmean(rain[inside])) if inside.any() else float("nan"),
                "climate": str(names[counts.argmax()]) if len(names) else "",
            }
        )
    return facts


def paint(colours: NDArray[np.uint8], rows: NDArray[np.int32]) -> bytes:
    """A colour for each cell as a raster of the world: a PNG, transparent where no cell is.

    Args:
        colours: (N, 3) uint8.
        rows: (H, W) row number of the cell that each pixel shows, -1 for none.
    """
    small = rows[::PIXEL_STEP, ::PIXEL_STEP]
    picture = np.zeros((*small.shape, 4), dtype=np.uint8)
    there = small >= 0
    picture[there, :3] = colours[small[there]]
    picture[there, 3] = OPACITY
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG", compress_level=4)
    return out.getvalue()


def region_colours(labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(N, 3) uint8, the colour of each cell's region."""
    table = np.array([[int(text[at : at + 2], 16) for at in (1, 3, 5)] for text in COLOURS], dtype=np.uint8)
    return np.asarray(table[labels % len(table)], dtype=np.uint8)


def _some(count: int) -> NDArray[np.int64]:
    """Rows drawn at random, ascending; all of few."""
    if count <= SAMPLE:
        return np.arange(count)
    return np.sort(np.random.default_rng(SEED).choice(count, SAMPLE, replace=False))


def _best(scores: NDArray[np.float32], among: NDArray[np.bool_]) -> int:
    return int(np.argmax(np.where(among, scores, -np.inf))) if among.any() else int(np.argmax(scores))


def _nearest(vectors: Vectors, places: Floats, rows: list[int], count: int, apart_km: float) -> list[list[int]]:
    """The most similar other cells of some cells, best first."""
    products = vectors[rows] @ vectors.T
    products[np.arange(len(rows)), rows] = -np.inf
    best = np.argsort(-products, axis=1, kind="stable")[:, :-1]  # the cell itself is last
    if apart_km <= 0:
        return [list(map(int, ranking[:count])) for ranking in best.tolist()]
    found = []
    for row, ranking in zip(rows, best, strict=True):
        far = ranking[great_circle_km(places[ranking], places[row]) >= apart_km]
        found.append([int(one) for one in far[pick_spaced(places[far], count, apart_km)]])
    return found

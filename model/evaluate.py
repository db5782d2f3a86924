"""How good a pair is at finding places: the figures of the README and the model card.

Owns three measurements. *Retrieval*: held-out images against held-out places. *Places like this*: whether the ten most
similar places at least 500 km away share climate with the place asked for; the atlas is only looked at here, never in
training. *Sentinel-2*: where the true cell of a real patch ranks among all land cells. Refuses to measure blocks on a
checkpoint that was trained on them.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data import atlas
from data.blue_marble import BlueMarble
from data.bridge import to_blue_marble
from data.errors import CheckpointError, PatchError
from data.geo import EARTH_RADIUS_KM, Floats, cell_lonlat, great_circle_km, unit_vectors
from data.land import ANTARCTICA_NORTH_DEG, land_cells
from data.patch import read_patch
from data.splits import make_split
from data.tasks import find_task, targets
from model.downstream import LocationEncoder
from model.pair import EncoderPair, Vectors

CHUNK = 1000
NEIGHBOURS = 10
MIN_KM = 500.0
Scores = Callable[[NDArray[np.intp]], NDArray[np.floating]]
"""Row numbers of queries to (n, M) scores of a gallery, higher is better."""


@dataclass(frozen=True)
class Retrieval:
    """Image → place among N held-out places.

    Attributes:
        recall1: share of images whose true place ranks first.
        recall10: … among the first ten.
        median_error_km: great-circle distance from the true place to the top hit.
        median_rank_percent: of the true place; 0 best, 50 chance.
    """

    recall1: float
    recall10: float
    median_error_km: float
    median_rank_percent: float


@dataclass(frozen=True)
class Likeness:
    """Ten places most like a place, none nearer than 500 km, against the place itself.

    Attributes:
        same_climate: share in the same Köppen–Geiger class, of pairs that both have one.
        temperature_k: mean absolute difference of the annual mean.
        precipitation_mm: median absolute difference of the annual sum (ERA5 has a few absurd peaks).
        elevation_m: mean absolute difference.
    """

    same_climate: float
    temperature_k: float
    precipitation_mm: float
    elevation_m: float


def measure_retrieval(images: Vectors, places: Vectors, lonlat: Floats) -> Retrieval:
    """Rank every place for every image; row i of all three belongs together."""
    ranks, errors = [], []
    for start in range(0, len(images), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(images)))
        scores = images[rows] @ places.T
        ranks.append(_ranks(scores, rows))
        errors.append(great_circle_km(lonlat[rows], lonlat[scores.argmax(axis=1)]))
    rank = np.concatenate(ranks)
    return Retrieval(
        recall1=float((rank < 1).mean()),
        recall10=float((rank < 10).mean()),
        median_error_km=float(np.median(np.concatenate(errors))),
        median_rank_percent=float(100 * np.median(rank) / max(1, len(rank) - 1)),
    )


def _ranks(scores: NDArray[np.floating], true: NDArray[np.intp]) -> NDArray[np.intp]:
    """How many columns rank before the true one of each row; what ties with it, or is no number, does."""
    truth = scores[np.arange(len(true)), true]
    return np.asarray((~(scores < truth[:, None])).sum(axis=1) - 1)


def measure_likeness(
    score: Scores,
    queries: Floats,
    gallery: Floats,
    *,
    min_km: float = MIN_KM,
) -> Likeness:
    """Compare each query with its ten best places of the gallery beyond ``min_km``.

    Args:
        score: row numbers of queries → (n, len(gallery)) scores, higher is better.
        queries: (N, 2) degrees.
        gallery: (M, 2) degrees.
        min_km: nearest place that counts.
    """
    far_enough = np.cos(min_km / EARTH_RADIUS_KM)
    unit_queries, unit_gallery = unit_vectors(queries), unit_vectors(gallery)
    best = []
    for start in range(0, len(queries), CHUNK // 4):
        rows = np.arange(start, min(start + CHUNK // 4, len(queries)))
        scores = np.where(unit_queries[rows] @ unit_gallery.T < far_enough, score(rows), -np.inf)
        best.append(np.argpartition(-scores, NEIGHBOURS, axis=1)[:, :NEIGHBOURS])
    top = np.concatenate(best)
    here, there = atlas.koppen(queries)[:, None], atlas.koppen(gallery)[top]
    known = (here != "") & (there != "")

    def difference(variable: str) -> NDArray[np.float64]:
        return np.abs(atlas.sample(variable, gallery)[top] - atlas.sample(variable, queries)[:, None])

    return Likeness(
        same_climate=float((here == there)[known].mean()),
        temperature_k=float(np.nanmean(difference("temperature"))),
        precipitation_mm=float(np.nanmedian(difference("precipitation"))),
        elevation_m=float(np.nanmean(difference("elevation"))),
    )


def evaluate_retrieval(pair: EncoderPair) -> dict[str, Retrieval]:
    """The random split, for each view, with Antarctica and without."""
    places = make_split(0, hold_out_blocks=False).places
    images = pair.encode_image(BlueMarble.open().cut(places))
    stored = pair.encode_location(places)
    out = {view: measure_retrieval(pair.reweight(images, view), stored, places) for view in pair.views}
    inhabited = places[:, 1] > ANTARCTICA_NORTH_DEG
    for view in pair.views:
        queries = pair.reweight(images[inhabited], view)
        out[f"{view}, without Antarctica"] = measure_retrieval(queries, stored[inhabited], places[inhabited])
    return out


def evaluate_blocks(pair: EncoderPair) -> dict[str, Retrieval]:
    """The block split, for each view.

    Raises:
        CheckpointError: the checkpoint was trained on the blocks.
    """
    if not pair.card.get("recipe", {}).get("hold_out_blocks"):
        raise CheckpointError(
            f"{pair.name} was trained on the held-out blocks too, so measuring it there would mean nothing. "
            "Train with hold_out_blocks (model/presets.py) to measure it."
        )
    places = make_split(0, hold_out_blocks=True).blocks
    images = pair.encode_image(BlueMarble.open().cut(places))
    stored = pair.encode_location(places)
    return {view: measure_retrieval(pair.reweight(images, view), stored, places) for view in pair.views}


def evaluate_likeness(pair: EncoderPair, baselines: Sequence[LocationEncoder] = ()) -> dict[str, Likeness]:
    """Places like this: each of the held-out places without Antarctica, asked among all the others.

    Args:
        pair: in each of its views, and among all land cells too.
        baselines: other location encoders, compared by Euclidean distance (of unit vectors: by cosine).

    Returns:
        A row for each, with the answers of no learning, and those of the atlas itself: the best there is to get.
    """
    places = make_split(0, hold_out_blocks=False).places
    places = places[places[:, 1] > ANTARCTICA_NORTH_DEG]
    rng = np.random.default_rng(0)
    stored = pair.encode_location(places)
    colour = BlueMarble.open().cut(places).mean(axis=(2, 3))

    def cosine(view: str, gallery: Vectors) -> Scores:
        vectors = pair.reweight(stored, view)
        return lambda rows: vectors[rows] @ gallery.T

    scores: dict[str, Scores] = {
        **{view: cosine(view, stored) for view in pair.views},
        **{f"baseline: {baseline.name}": nearness(baseline.encode_location(places)) for baseline in baselines},
        "no learning: random places": lambda rows: rng.random((len(rows), len(places))),
        "no learning: mean colour": nearness(colour),
        "no learning: the nearest": nearness(unit_vectors(places)),
        "oracle: the atlas itself": nearness(atlas_vectors(places)),
    }
    out = {name: measure_likeness(score, places, places) for name, score in scores.items()}
    cells = cell_lonlat(land_cells(4, antarctica=False))
    every = pair.encode_location(cells)
    out["both, among all land cells"] = measure_likeness(cosine(pair.views[-1], every), places, cells)
    return out


def nearness(vectors: NDArray[np.floating]) -> Scores:
    """Scores that fall with the Euclidean distance between (M, D) vectors."""
    half_square = (vectors**2).sum(axis=1) / 2
    return lambda rows: vectors[rows] @ vectors.T - half_square


def atlas_vectors(lonlat: Floats) -> Floats:
    """What :class:`Likeness` looks at, as (N, D) vectors: standardised values, and a one for the Köppen class.

    Rain is taken as its logarithm; what is unknown counts as the mean. Places of different
    classes are √2 standard deviations apart for that alone.
    """
    values = np.stack([targets(find_task(name), lonlat) for name in ("temperature", "precipitation", "elevation")], 1)
    values = np.nan_to_num((values - np.nanmean(values, axis=0)) / np.nanstd(values, axis=0))
    climate = atlas.koppen(lonlat)[:, None] == np.array(atlas.koppen_classes())
    return np.concatenate([values, climate.astype(np.float64)], axis=1)


def evaluate_sentinel(pair: EncoderPair, folder: Path) -> dict[str, dict[str, float]]:
    """Percentile rank of the true cell among all land cells, for each real patch of a folder and each view.

    Args:
        pair: the checkpoint.
        folder: GeoTIFF patches with ``index.csv`` (fn, lon, lat).

    Returns:
        For each view, and for mean colour alone, the rank of every patch in per cent (0 best, 50 chance) and the
        ``median``.

    Raises:
        PatchError: the folder has no readable ``index.csv``.
    """
    try:
        with (folder / "index.csv").open(encoding="utf-8") as file:
            rows = [(row["fn"], float(row["lon"]), float(row["lat"])) for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError) as error:
        raise PatchError(f"{folder}: expected index.csv with columns fn, lon, lat ({error}).") from error
    cells = cell_lonlat(land_cells(4))
    patches = [read_patch(folder / name, lonlat=(lon, lat)) for name, lon, lat in rows]
    true = np.array([great_circle_km((lon, lat), cells).argmin() for _, lon, lat in rows])
    images, stored = pair.encode_image(patches), pair.encode_location(cells)
    colours = BlueMarble.open().cut(cells, size_px=1, footprint_km=7.4).reshape(len(cells), 3) / 255
    seen = np.stack([to_blue_marble(patch)[0].mean(axis=(1, 2)) for patch in patches])
    scores = {view: pair.reweight(images, view) @ stored.T for view in pair.views}
    scores["mean colour"] = -((seen[:, None] - colours[None]) ** 2).sum(axis=2)
    return {name: _percentiles(values, true, [row[0] for row in rows]) for name, values in scores.items()}


def _percentiles(scores: NDArray[np.floating], true: NDArray[np.intp], names: list[str]) -> dict[str, float]:
    percent = 100 * _ranks(scores, true) / scores.shape[1]
    return {**dict(zip(names, percent.tolist(), strict=True)), "median": float(np.median(percent))}


def as_rows(table: Mapping[str, object]) -> list[dict[str, object]]:
    """A table of results as rows for printing: ``what`` first, then the figures."""
    return [{"what": name, **vars(result)} for name, result in table.items()]

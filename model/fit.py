"""A head for a user's own table, and what it is worth.

Owns the order of the work: embed, choose the kind of head, check it on random places and in whole blocks, trace how it
learns, fit it on everything. Both checks are always made and always shown; their gap is put into words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data.errors import HeadError
from data.geo import Floats
from data.table import Sample
from data.tasks import EXTRA, TASKS
from model.head_file import Saved, check_name
from model.heads import FEWEST, fit_head
from model.predict import join_features
from model.validate import Check, Split, block_folds, block_size, cross_validate, random_folds

if TYPE_CHECKING:
    from model.encoder import EncoderPair

AUTO = ("knn", "ridge")
MOST_PLACES = 30_000
"""Places that are fitted on; of more, so many are drawn."""
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
SMALL_GAP = 1.2
"""Growth of the errors, from random places to blocks, that is not worth a warning."""


@dataclass(frozen=True)
class CurvePoint:
    """One point of the learning curve.

    Attributes:
        places: fitted on.
        random: score on a fifth of the places, drawn at random.
        blocks: score on a fifth of the blocks.
    """

    places: int
    random: float
    blocks: float


@dataclass(frozen=True)
class FitReport:
    """What came of a table.

    Attributes:
        saved: the head, its checks (random, then blocks) and what is known of it.
        curve: how the score grows with the number of places.
        tried: checks of every kind of head that was tried.
        block_deg: side of the blocks.
        notes: sentences about the table.
        gap: one sentence on the two scores.
    """

    saved: Saved
    curve: tuple[CurvePoint, ...]
    tried: dict[str, tuple[Check, Check]]
    block_deg: float
    notes: tuple[str, ...]
    gap: str


def fit_table(
    sample: Sample,
    pair: EncoderPair,
    *,
    name: str,
    title: str = "",
    unit: str = "",
    head: str = "auto",
    features: tuple[str, ...] = (),
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> FitReport:
    """Fit and check a head on a table.

    Args:
        sample: places and targets.
        pair: whose embedding is used.
        name: of the new variable.
        title: for people; the name where not given.
        unit: of the target.
        head: "ridge", "knn", "mlp", or "auto" for the better of the first two by the mean of both checks.
        features: names of the sample's feature columns.
        seed: of folds and draws.
        progress: told how much is done, 0…1, and what is being done.

    Raises:
        HeadError: the name is taken or cannot be one, or the places do not suffice for the checks.
    """
    if check_name(name) in {task.name for task in TASKS + EXTRA}:
        raise HeadError(f"{name!r} is a built-in variable; choose another --name.")
    tell = progress or (lambda share, what: None)
    heads = AUTO if head == "auto" else (head,)
    sample, notes = _thin(sample, seed)
    tell(0.0, f"embedding {len(sample.target):,} places")
    about = {
        "features": list(features),
        "feature_mean": sample.features.mean(axis=0).tolist(),
        "feature_spread": [value or 1.0 for value in sample.features.std(axis=0).tolist()],
        "places": len(sample.target),
        "why": sample.why,
        "seed": seed,
    }
    vectors = join_features(np.asarray(pair.encode_location(sample.lonlat)), sample.features, about)
    size = block_size(sample.lonlat)
    about["block_deg"] = size
    folds: dict[Split, NDArray[np.int64]] = {
        "random": random_folds(sample.lonlat, seed=seed),
        "blocks": block_folds(sample.lonlat, seed=seed, block_deg=size),
    }
    if len(np.unique(folds["blocks"])) < 2:
        raise HeadError("All places lie within a kilometre, so no part of the map can be held out. Give a wider table.")
    done, steps = 1, 3 + sum(len(np.unique(fold)) for fold in folds.values())

    def step(what: str = "checking on held-out places") -> None:
        nonlocal done
        done += 1
        tell(min(1.0, done / steps), what)

    checks = {}
    for split, fold in folds.items():
        checks[split] = cross_validate(
            vectors,
            sample.target,
            sample.lonlat,
            fold,
            heads=heads,
            kind=sample.kind,
            split=split,
            seed=seed,
            progress=step,
        )
    tried = {method: (checks["random"][method], checks["blocks"][method]) for method in heads}
    best = max(heads, key=lambda method: sum(check.score for check in tried[method]))
    step("learning curve")
    curve = _curve(vectors, sample, folds, best, seed)
    step("fitting on all places")
    fitted = fit_head(vectors, sample.target, head=best, kind=sample.kind, seed=seed, lonlat=sample.lonlat)
    fitted = replace(fitted, far=tried[best][1].far)
    about["curve"] = [[point.places, point.random, point.blocks] for point in curve]
    tell(1.0, "done")
    return FitReport(
        saved=Saved(name, title or name, unit, fitted, tried[best], about),
        curve=curve,
        tried=tried,
        block_deg=size,
        notes=(*sample.notes, *notes),
        gap=explain_gap(*tried[best], kind=sample.kind, block_deg=size),
    )


def explain_gap(near: Check, far: Check, *, kind: str, block_deg: float) -> str:
    """One sentence on what the two scores of a head mean for a map."""
    measure = "R²" if kind == "regression" else "accuracy"
    both = f"{measure} is {near.score:.2f} on held-out random places, {far.score:.2f} in held-out {block_deg:g}° blocks"
    wrong = (near.error, far.error) if kind == "regression" else (1 - near.score, 1 - far.score)
    if far.score <= 0 and kind == "regression":
        return f"{both}: away from your places the head knows less than their mean; trust the map only near them."
    if wrong[1] <= SMALL_GAP * max(wrong[0], 1e-12):
        return f"{both}: errors hardly grow, so the map should hold about as well where you have no places."
    growth = f"{wrong[1] / max(wrong[0], 1e-12):.1f} times " + ("as large" if kind == "regression" else "as frequent")
    return (
        f"{both}: errors are {growth} where no neighbour gives the answer away; expect the second where you have no "
        "places nearby."
    )


def _thin(sample: Sample, seed: int) -> tuple[Sample, tuple[str, ...]]:
    """A random part of a table that is too large."""
    count = len(sample.target)
    if count <= MOST_PLACES:
        return sample, ()
    rows = np.sort(np.random.default_rng(seed).permutation(count)[:MOST_PLACES])
    smaller = replace(sample, lonlat=sample.lonlat[rows], target=sample.target[rows], features=sample.features[rows])
    return smaller, (f"Of {count:,} places, {MOST_PLACES:,} were drawn at random and fitted on.",)


def _curve(
    vectors: NDArray[np.float32], sample: Sample, folds: dict[Split, NDArray[np.int64]], head: str, seed: int
) -> tuple[CurvePoint, ...]:
    """Scores on the first fold of each kind, of heads fitted on growing shares of the others."""
    rng = np.random.default_rng(seed)
    order = {split: rng.permutation(np.flatnonzero(fold != 0)) for split, fold in folds.items()}
    fewest = min(len(rows) for rows in order.values())
    points = []
    for share in SHARES:
        count = round(share * fewest)
        scores = []
        for split, fold in folds.items():
            rows, held = order[split][:count], np.flatnonzero(fold == 0)
            if count < FEWEST or len(np.unique(sample.target[rows])) < 2:
                break
            fitted = fit_head(vectors[rows], sample.target[rows], head=head, kind=sample.kind, seed=seed)
            scores.append(_score(fitted.predict(vectors[held]), sample.target[held], sample.target, sample.kind))
        if len(scores) == len(folds):
            points.append(CurvePoint(count, *scores))
    return tuple(points)


def _score(predicted: Floats, truth: Floats, everywhere: Floats, kind: str) -> float:
    """Accuracy, or R² against the spread of the whole table: that of one block's values alone would mean little."""
    if kind == "classification":
        return float((predicted == truth).mean())
    return 1 - float(((predicted - truth) ** 2).mean() / everywhere.var())

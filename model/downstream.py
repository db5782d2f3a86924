"""The tables of downstream tasks: encoders × heads × tasks × splits, over seeds.

Owns the protocol, the same for every encoder. An encoder's vectors are scaled by one number, so that the head's choice
of strength means the same for all. A head is fitted on the training rows of a fold and asked for the others; figures
are taken of all held-out predictions of a seed together, and of each held-out continent. The heads are those of
``samewhere fit`` without their uncertainty, and whatever can be shared between tasks or folds is computed once. Refuses
nothing: what cannot be measured (countries of a continent never seen) is NaN.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.geo import Floats
from data.land import sample_land
from data.paper_sets import PaperSet
from data.tasks import Task, known, targets
from model.encoder import EncoderPair, Vectors
from model.folds import SPLITS, Fold, Split, can_split, make_folds, repeats
from model.heads import r2
from model.knn import choose_knn
from model.mlp_head import fit_mlp
from model.nearest import AllPairs
from model.ridge import Spectrum
from model.score_log import ScoreLog, digest
from model.validate import macro_f1

POINTS = 12_000
SEED = 2026
HEADS = ("ridge", "knn", "mlp")
WHOLE = "all"


class LocationEncoder(Protocol):
    """What is compared: anything that turns places into vectors."""

    name: str
    dim: int

    def encode_location(self, lonlat: Floats) -> Vectors:
        """(N, 2) degrees to (N, D) float32."""


class ViewEncoder:
    """A pair's location encoder, or the part of its vector that one view looks at."""

    def __init__(self, pair: EncoderPair, view: str | None = None) -> None:
        """Take a pair and the name of a view, or None for the whole vector."""
        self._pair = pair
        self.name = pair.name if view is None else f"{pair.name}:{view}"
        self._kept = np.ones(pair.dim, dtype=bool)
        if view is not None:
            self._kept = pair.reweight(np.ones((1, pair.dim), dtype=np.float32), view)[0] != 0
        self.dim = int(self._kept.sum())

    def encode_location(self, lonlat: Floats) -> Vectors:
        """(N, 2) degrees to (N, D) float32."""
        return np.asarray(self._pair.encode_location(lonlat)[:, self._kept], dtype=np.float32)


@dataclass(frozen=True)
class Problem:
    """A task with its places.

    Attributes:
        name: of the task.
        title: for tables.
        kind: "regression" or "classification".
        lonlat: (N, 2) degrees.
        target: (N,) values on the scale of the fit, or classes; all known.
        splits: that make sense for it.
    """

    name: str
    title: str
    kind: str
    lonlat: Floats
    target: NDArray[Any]
    splits: tuple[Split, ...] = SPLITS


@dataclass(frozen=True)
class Score:
    """What a head on an encoder's vectors reached.

    Attributes:
        encoder: its name.
        head: ridge, knn or mlp.
        task: the problem's name.
        split: of the places.
        seed: of the folds and of the network.
        part: "all" held-out places together, or one continent.
        places: how many were held out.
        main: R² of values, accuracy of classes.
        other: mean squared error of values standardised by the training rows, macro-averaged F1 of classes.
    """

    encoder: str
    head: str
    task: str
    split: Split
    seed: int
    part: str
    places: int
    main: float
    other: float


def atlas_problems(tasks: Iterable[Task], *, points: int = POINTS, seed: int = SEED) -> list[Problem]:
    """Problems of the atlas on the same land places, Antarctica left out: those at which every task has a value.

    Args:
        tasks: of ``data.tasks``.
        points: how many places.
        seed: of the draw.
    """
    chosen = list(tasks)
    drawn = sample_land(points + points // 10 + 200, rng=np.random.default_rng(seed), antarctica=False)
    values = [targets(task, drawn) for task in chosen]
    there = np.ones(len(drawn), dtype=bool)
    for value in values:
        there &= known(value)
    rows = np.flatnonzero(there)[:points]
    lonlat = drawn[rows]
    return [Problem(t.name, t.title, t.kind, lonlat, v[rows]) for t, v in zip(chosen, values, strict=True)]


def paper_problem(data: PaperSet, folder: Path, *, points: int = POINTS, seed: int = SEED) -> Problem:
    """One of the paper's data sets, at most so many of its places; continents only where it has several.

    Args:
        data: which.
        folder: where its files lie.
        points: how many places at most, drawn at random.
        seed: of the draw.

    Raises:
        HeadError: its files are missing or laid out in another way.
    """
    lonlat, target = data.load(folder)
    if len(target) > points:
        rows = np.sort(np.random.default_rng(seed).permutation(len(target))[:points])
        lonlat, target = lonlat[rows], target[rows]
    return Problem(data.name, data.title, data.kind, lonlat, target, tuple(s for s in SPLITS if can_split(s, lonlat)))


def evaluate_downstream(
    encoders: Sequence[LocationEncoder],
    problems: Sequence[Problem],
    *,
    heads: Sequence[str] = ("ridge",),
    splits: Sequence[Split] = SPLITS,
    seeds: int = 10,
    progress: Callable[[str, int], None] | None = None,
    log: ScoreLog | None = None,
) -> list[Score]:
    """Measure everything.

    Args:
        encoders: what is compared.
        problems: the tasks; those that share their places share the work.
        heads: any of :data:`HEADS`.
        splits: any of ``model.folds.SPLITS``.
        seeds: how many, from 0.
        progress: told what is being done and how many of :func:`steps` are.
        log: what stands in it is not done again, and what is done is put into it.

    Returns:
        One score for each encoder, head, problem, split, seed and part.
    """
    scores: list[Score] = []
    done = 0
    for encoder in encoders:
        for group in _groups(problems):
            vectors = scaled(encoder.encode_location(group[0].lonlat))
            pairs = functools.cache(functools.partial(AllPairs, vectors))
            for head, split in ((head, split) for head in heads for split in splits):
                asked = [problem for problem in group if split in problem.splits]
                problems_digest = digest(asked) if log else ""
                for seed in range(repeats(split, head, seeds)):
                    if progress:
                        progress(f"{encoder.name}, {head}, {split}", done)
                    if asked:
                        step = encoder.name, head, split, seed, problems_digest
                        found = log.find(step, vectors) if log else None
                        if found is None:
                            found = _one_seed(encoder.name, vectors, asked, head, split, seed, pairs)
                            if log:
                                log.add(step, vectors, found)
                        scores += found
                    done += 1
    return scores


def steps(encoders: int, problems: Sequence[Problem], heads: Sequence[str], splits: Sequence[Split], seeds: int) -> int:
    """How many steps :func:`evaluate_downstream` will tell of."""
    return encoders * len(_groups(problems)) * sum(repeats(split, head, seeds) for head in heads for split in splits)


def scaled(vectors: ArrayLike) -> Vectors:
    """(N, D) vectors divided by one number: their root mean squared distance from their mean becomes 1."""
    x = np.asarray(vectors, dtype=np.float64)
    spread = float(np.sqrt(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean()))
    return np.asarray(x / (spread or 1.0), dtype=np.float32)


def _groups(problems: Sequence[Problem]) -> list[list[Problem]]:
    """Problems with the same places together."""
    groups: dict[bytes, list[Problem]] = {}
    for problem in problems:
        groups.setdefault(problem.lonlat.tobytes(), []).append(problem)
    return list(groups.values())


def _one_seed(
    encoder: str,
    vectors: Vectors,
    problems: Sequence[Problem],
    head: str,
    split: Split,
    seed: int,
    pairs: Callable[[], AllPairs],
) -> list[Score]:
    """All folds of one seed."""
    folds = make_folds(split, problems[0].lonlat, seed=seed)
    answers: dict[str, list[NDArray[Any]]] = {problem.name: [] for problem in problems}
    for fold in folds:
        shared = _shared(head, vectors, fold, pairs)
        for problem in problems:
            answers[problem.name].append(_predict(head, shared, vectors, problem, fold, seed))
    scores = []
    for problem in problems:
        parts = list(zip(folds, answers[problem.name], strict=True))
        wanted = [(WHOLE, parts)]
        if split in ("continent", "few"):
            wanted += [(fold.name, [(fold, answer)]) for fold, answer in parts]
        for name, some in wanted:
            main, other = _figures(problem, some)
            places = sum(len(fold.test) for fold, _ in some)
            scores.append(Score(encoder, head, problem.name, split, seed, name, places, main, other))
    return scores


def _shared(head: str, vectors: Vectors, fold: Fold, pairs: Callable[[], AllPairs]) -> Any:
    """What all tasks of a fold have in common."""
    if head == "ridge":
        return Spectrum(vectors[fold.train])
    return pairs().within(fold.train, fold.test) if head == "knn" else None


def _predict(head: str, shared: Any, vectors: Vectors, problem: Problem, fold: Fold, seed: int) -> NDArray[Any]:
    """Held-out predictions of a fold: values or classes."""
    given = problem.target[fold.train]
    classes, numbers = np.empty(0), np.asarray(given)
    if problem.kind == "classification":
        classes, numbers = np.unique(given, return_inverse=True)
        if len(classes) < 2:
            return np.full(len(fold.test), classes[0])
    values = numbers.astype(np.float64)
    if head == "ridge":
        wanted = np.where(values[:, None] == np.arange(len(classes)), 1.0, -1.0) if len(classes) else values[:, None]
        outputs = shared.fit(wanted)[0](vectors[fold.test])
    elif head == "knn":
        own, near = shared
        outputs = choose_knn(values, len(classes), own)(near)
    else:
        outputs = fit_mlp(vectors[fold.train], values, len(classes), seed=seed, lonlat=problem.lonlat[fold.train])[0](
            vectors[fold.test]
        )
    return np.asarray(classes[outputs.argmax(axis=1)] if len(classes) else outputs[:, 0])


def _figures(problem: Problem, parts: Sequence[tuple[Fold, NDArray[Any]]]) -> tuple[float, float]:
    """R² and standardised error, or accuracy and macro-F1, of several folds' predictions together."""
    truth = np.concatenate([problem.target[fold.test] for fold, _ in parts])
    guess = np.concatenate([answer for _, answer in parts])
    if problem.kind == "regression":
        squares = [
            ((problem.target[fold.test] - answer) / problem.target[fold.train].std()) ** 2 for fold, answer in parts
        ]
        return r2(truth, guess), float(np.concatenate(squares).mean())
    if not any(np.isin(problem.target[fold.test], problem.target[fold.train]).any() for fold, _ in parts):
        return float("nan"), float("nan")  # none of the classes was there to be learned
    _, numbers = np.unique(np.concatenate([truth, guess]), return_inverse=True)
    true, said = numbers[: len(truth)].astype(np.float64), numbers[len(truth) :].astype(np.float64)
    return float((true == said).mean()), macro_f1(true, said)

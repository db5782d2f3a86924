"""Scores over seeds as rows of tables, and who is better than whom.

Owns means and standard deviations, and the count of tasks on which a pair beats every baseline. Where several heads
were measured each side is judged by its better one, and the table names it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from data.geo import Floats
from model.downstream import WHOLE, Score
from model.folds import Split


@dataclass(frozen=True)
class Row:
    """Scores of several seeds.

    Attributes:
        encoder: its name.
        head: that was fitted.
        task: the problem's name.
        split: of the places.
        part: "all", or one continent.
        places: held-out places.
        seeds: how many.
        main: mean R² or accuracy.
        main_sd: its standard deviation over the seeds; NaN of one seed.
        other: mean of the standardised squared error, or of macro-F1.
        other_sd: likewise.
    """

    encoder: str
    head: str
    task: str
    split: Split
    part: str
    places: int
    seeds: int
    main: float
    main_sd: float
    other: float
    other_sd: float


@dataclass(frozen=True)
class Verdict:
    """A pair against the best baseline on one task.

    Attributes:
        task: the problem's name.
        split: of the places.
        own: mean R² or accuracy of the pair's better row.
        own_name: encoder and head of that row.
        best: of the best baseline's row.
        best_name: encoder and head of that row.
    """

    task: str
    split: Split
    own: float
    own_name: str
    best: float
    best_name: str

    @property
    def better(self) -> bool:
        """Whether the pair is better."""
        return self.own > self.best


def summarise(scores: Iterable[Score]) -> list[Row]:
    """Mean and standard deviation over seeds, in the order in which things first appear."""
    found: dict[tuple[str, str, str, Split, str], list[Score]] = {}
    for score in scores:
        found.setdefault((score.encoder, score.head, score.task, score.split, score.part), []).append(score)
    rows = []
    for key, some in found.items():
        main, other = np.array([s.main for s in some]), np.array([s.other for s in some])
        places = round(float(np.mean([s.places for s in some])))
        rows.append(
            Row(*key, places, len(some), float(main.mean()), _spread(main), float(other.mean()), _spread(other))
        )
    return rows


def _spread(values: Floats) -> float:
    """Standard deviation of a sample; NaN of a single value."""
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def verdicts(rows: Sequence[Row], *, own: Collection[str]) -> list[Verdict]:
    """The pairs' best row against the baselines' best row, for each split and task that both were measured on.

    Args:
        rows: of any encoders.
        own: names of the encoders that count as the pair (the whole vector and its views); all others are baselines.
    """
    found: dict[tuple[Split, str], tuple[list[Row], list[Row]]] = {}
    for row in rows:
        if row.part == WHOLE and np.isfinite(row.main):
            found.setdefault((row.split, row.task), ([], []))[row.encoder not in own].append(row)
    out = []
    for (split, task), (mine, theirs) in found.items():
        if mine and theirs:
            a, b = (max(side, key=lambda row: row.main) for side in (mine, theirs))
            out.append(Verdict(task, split, a.main, f"{a.encoder}, {a.head}", b.main, f"{b.encoder}, {b.head}"))
    return out

"""Published figures beside the measured ones.

Owns the reading of ``published.csv``, in which a user writes what a paper prints. None ship with the project: a figure
that could not be checked against the paper itself is not repeated here.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from data.errors import HeadError
from model.folds import SPLITS, Split

FILE = "published.csv"
COLUMNS = ("task", "encoder", "split", "metric", "mean", "sd", "source")
MAIN, OTHER = ("r2", "accuracy"), ("mse", "f1")


@dataclass(frozen=True)
class Published:
    """One figure of a paper.

    Attributes:
        task: name of the paper's set.
        encoder: as the paper calls it.
        split: random, blocks, continent or few.
        metric: r2, accuracy, mse or f1; accuracy and f1 from 0 to 1.
        mean: the figure.
        sd: its standard deviation, or NaN.
        source: paper and table.
    """

    task: str
    encoder: str
    split: Split
    metric: str
    mean: float
    sd: float
    source: str


def read_published(folder: Path) -> list[Published]:
    """Figures of ``published.csv`` in a folder; none where there is no such file.

    Raises:
        HeadError: a column is missing, or a row holds something else than it should.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        lacking = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if lacking:
            raise HeadError(f"{path} has no column {lacking[0]}; its columns are {', '.join(COLUMNS)}.")
        return [_figure(path, number, row) for number, row in enumerate(rows, start=1)]


def _figure(path: Path, number: int, row: dict[str, str]) -> Published:
    """One row."""
    if row["split"] not in SPLITS:
        raise HeadError(f"{path}: row {number}: split is {row['split']!r}; choose one of {', '.join(SPLITS)}.")
    if row["metric"] not in MAIN + OTHER:
        raise HeadError(f"{path}: row {number}: metric is {row['metric']!r}; choose one of {', '.join(MAIN + OTHER)}.")
    try:
        mean, sd = float(row["mean"]), float(row["sd"] or "nan")
    except ValueError as error:
        raise HeadError(f"{path}: row {number}: mean and sd should be numbers ({error}).") from error
    split: Split = row["split"]
    return Published(row["task"], row["encoder"], split, row["metric"], mean, sd, row["source"])

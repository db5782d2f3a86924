"""``samewhere evaluate downstream``: the tables of tasks × encoders."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from model.downstream import LocationEncoder, Problem

EPILOG = """
Example: samewhere evaluate downstream

Example: samewhere evaluate downstream --encoder all --head ridge --head knn --out tables

Example: samewhere evaluate downstream --encoder blue-marble-l40:smooth --encoder csp --task koppen --split blocks

Example: samewhere evaluate downstream --paper folder-with-the-papers-files --encoder all
"""

SCORES = "scores.jsonl"


class HeadName(StrEnum):
    """What is fitted."""

    ridge = "ridge"
    knn = "knn"
    mlp = "mlp"


class SplitName(StrEnum):
    """How places are held out."""

    random = "random"
    blocks = "blocks"
    continent = "continent"
    few = "few"


def downstream(
    checkpoint: Annotated[str, typer.Option(help="Name or file of the pair.")] = "blue-marble-l40",
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="What to compare: a pair, PAIR:VIEW, a baseline, or all; may be repeated.",
            show_default="the pair",
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A task; may be repeated.", show_default="the eight of the atlas"),
    ] = None,
    head: Annotated[list[HeadName] | None, typer.Option(help="May be repeated.", show_default="ridge")] = None,
    split: Annotated[list[SplitName] | None, typer.Option(help="May be repeated.", show_default="all four")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Draws of the folds.")] = 10,
    points: Annotated[int, typer.Option(min=500, max=200_000, help="Places of the atlas; at most, of a set.")] = 12_000,
    paper: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder with the paper's data sets: those that are there are tasks too."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write downstream.md, .csv, .json and .png there. scores.jsonl grows there meanwhile; what stands "
            "in it is not measured again.",
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Put the tables into this page, between its marks named downstream."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of Markdown tables.")] = False,
) -> None:
    """How well heads on an encoder's vectors predict what is known of places that they have not seen."""
    from app.downstream_tables import as_json as everything
    from app.downstream_tables import as_markdown, put_between
    from model.downstream import evaluate_downstream, steps
    from model.encoders import own_names
    from model.folds import SPLITS
    from model.published import read_published
    from model.score_log import ScoreLog
    from model.tables import summarise

    started = time.monotonic()
    problems = _problems(task, points, paper)
    encoders = _encoders(encoder, checkpoint)
    heads = [name.value for name in head or [HeadName.ridge]]
    splits = [entry for entry in SPLITS if split is None or entry in [name.value for name in split]]
    log = ScoreLog(out / SCORES) if out is not None else None
    with _bar(steps(len(encoders), problems, heads, splits, seeds)) as tell:
        scores = evaluate_downstream(
            encoders, problems, heads=heads, splits=splits, seeds=seeds, progress=tell, log=log
        )
    rows, own = summarise(scores), own_names(encoders)
    published = read_published(paper) if paper else []
    tables = as_markdown(rows, problems, own=own, published=published)
    about = {
        "encoders": {entry.name: {"dim": entry.dim} for entry in encoders},
        "heads": heads,
        "splits": splits,
        "seeds": seeds,
        "places": {problem.name: len(problem.target) for problem in problems},
        "seconds": round(time.monotonic() - started, 1),
    }
    found = everything(rows, about, own=own)
    if out is not None:
        _write(out, tables, rows, found, problems, own)
    if into is not None:
        put_between(into, "downstream", tables)
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False) if as_json else tables)


def _problems(names: list[str] | None, points: int, paper: Path | None) -> list[Problem]:
    """The tasks that are asked for: of the atlas, and the paper's sets."""
    from data.errors import HeadError
    from data.paper_sets import SETS, find_set
    from data.tasks import TASKS, find_task
    from model.downstream import atlas_problems, paper_problem

    if names is None:
        chosen = [entry.name for entry in TASKS]
        if paper is not None:
            there = [entry.name for entry in SETS if entry.is_in(paper)]
            if not there:
                files = ", ".join(sorted({name for entry in SETS for name in entry.files}))
                raise HeadError(f"{paper} holds none of the paper's data sets; their files are {files}.")
            absent = [entry.name for entry in SETS if entry.name not in there]
            if absent:
                typer.echo(f"Not in {paper}: {', '.join(absent)}.", err=True)
            chosen += there
    else:
        chosen = list(dict.fromkeys(names))
    sets = [found for name in chosen if (found := find_set(name))]
    if sets and paper is None:
        raise HeadError(f"{sets[0].name} is one of the paper's data sets: say where its files are, with --paper DIR.")
    atlas = [find_task(name) for name in chosen if find_set(name) is None]
    problems = atlas_problems(atlas, points=points) if atlas else []
    return problems + [paper_problem(entry, paper, points=points) for entry in sets if paper is not None]


def _encoders(names: list[str] | None, checkpoint: str) -> list[LocationEncoder]:
    """The encoders that are asked for; of "all" those that can be had, and a line about each of the others."""
    from model.encoders import ALL, load_baselines, load_encoder, with_views

    found: dict[str, LocationEncoder] = {}
    for name in names or [checkpoint]:
        if name != ALL:
            found[name] = load_encoder(name)
            continue
        there, missing = load_baselines()
        found |= {entry.name: entry for entry in with_views(checkpoint)}
        found |= {entry.name: entry for entry in there}
        for absent, reason in missing.items():
            typer.echo(f"Without {absent}: {' '.join(reason.split())}", err=True)
    return list({entry.name: entry for entry in found.values()}.values())


def _write(out: Path, tables: str, rows: Any, found: Any, problems: Any, own: set[str]) -> None:
    """The four files, each complete or not there."""
    from app.downstream_tables import as_csv, draw
    from data.files import durable

    out.mkdir(parents=True, exist_ok=True)
    texts = {
        "downstream.md": tables + "\n",
        "downstream.csv": as_csv(rows),
        "downstream.json": json.dumps(found, indent=2, ensure_ascii=False) + "\n",
    }
    for name, text in texts.items():
        with durable(out / name) as file:
            file.write(text.encode())
    draw(rows, problems, out / "downstream.png", own=own)


@contextmanager
def _bar(total: int) -> Iterator[Callable[[str, int], None]]:
    """A progress bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("loading", total=total)
        yield lambda what, done: bar.update(task, description=what, completed=done)
        bar.update(task, completed=total)

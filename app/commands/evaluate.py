"""``samewhere evaluate``: measure a checkpoint and print the tables of the README."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data.errors import CheckpointError

if TYPE_CHECKING:
    from model.downstream import LocationEncoder

app = typer.Typer(help="Measure a checkpoint.", no_args_is_help=True)


@app.callback()
def _evaluate() -> None:
    """Measure a checkpoint."""


@app.command(epilog="Example: samewhere evaluate retrieval --sentinel folder-with-index-csv")
def retrieval(
    checkpoint: Annotated[str, typer.Option(help="Name or file of the checkpoint.")] = "blue-marble-l40",
    sentinel: Annotated[
        Path | None, typer.Option(help="Folder of Sentinel-2 patches with index.csv (fn, lon, lat).")
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A baseline beside it; may be repeated; none, or all.", show_default="all there are"
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Put the tables into this page, between its marks named retrieval."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of Markdown tables.")] = False,
) -> None:
    """Retrieval on held-out places and blocks, climate of look-alikes, and real Sentinel-2 patches. Some minutes."""
    from model import evaluate, load

    pair = load(checkpoint)
    tables: dict[str, dict[str, Any]] = {}
    if pair.tile_footprint_km is None:
        typer.echo(f"Without image to place: the images are the Blue Marble's, which {pair.name} cannot see.", err=True)
    else:
        tables["Image to place, 10,000 held-out places"] = _figures(evaluate.evaluate_retrieval(pair))
        try:
            blocks = _figures(evaluate.evaluate_blocks(pair))
        except CheckpointError as error:
            typer.echo(f"Without the blocks: {error}", err=True)
        else:
            tables["Image to place, 5,000 places in held-out 10° blocks"] = blocks
    tables["Places like this, ten best at 500 km or more"] = _figures(
        evaluate.evaluate_likeness(pair, _baselines(baseline or ["all"]))
    )
    if sentinel is not None:
        tables["Percentile rank of the true cell of Sentinel-2 patches"] = evaluate.evaluate_sentinel(pair, sentinel)
    if into is not None:
        from app.downstream_tables import put_between

        put_between(into, "retrieval", as_markdown(tables))
    if as_json:
        typer.echo(json.dumps(tables, indent=2))
        return
    typer.echo(as_markdown(tables))


def _baselines(names: list[str]) -> list[LocationEncoder]:
    """The baselines that are asked for; of "all" those that can be had, and a line about each of the others."""
    from model.encoders import load_baselines

    if names == ["none"]:
        return []
    found, missing = load_baselines(None if names == ["all"] else names)
    for absent, reason in missing.items():
        typer.echo(f"Without {absent}: {' '.join(reason.split())}", err=True)
    return found


def as_markdown(tables: dict[str, dict[str, dict[str, float]]]) -> str:
    """Every table under its title; the longer side of each runs down the page."""
    parts = []
    for title, table in tables.items():
        columns = list(next(iter(table.values())))
        if len(columns) > len(table):
            table = {column: {name: row[column] for name, row in table.items()} for column in columns}
            columns = list(next(iter(table.values())))
        lines = [f"**{title}**", "", "| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for name, row in table.items():
            lines.append(f"| {name} | " + " | ".join(_figure(row[column]) for column in columns) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _figures(table: dict[str, Any]) -> dict[str, dict[str, float]]:
    return {name: asdict(result) for name, result in table.items()}

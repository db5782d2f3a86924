"""``samewhere evaluate``: measure a checkpoint and print the tables of the README."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from data.errors import CheckpointError

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
    tables["Places like this, ten best at 500 km or more"] = _figures(evaluate.evaluate_likeness(pair))
    if sentinel is not None:
        tables["Percentile rank of the true cell of Sentinel-2 patches"] = evaluate.evaluate_sentinel(pair, sentinel)
    if as_json:
        typer.echo(json.dumps(tables, indent=2))
        return
    typer.echo(as_markdown(tables))


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

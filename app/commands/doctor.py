"""``samewhere doctor``: what this machine has, and what is wrong with it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

EPILOG = "Example: samewhere doctor --json"


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False) -> None:
    """Look at packages, devices, caches, the checkpoint, indexes and jobs, and say what is wrong. Exit 1 if any is.

    Changes nothing and fetches nothing.
    """
    from app.doctor import examine

    report = examine()
    if as_json:
        typer.echo(json.dumps(report.as_data(), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(report.lines()))
    if report.problems:
        raise typer.Exit(1)

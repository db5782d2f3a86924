"""``samewhere train``: make a checkpoint from a recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from data.errors import CheckpointError

EPILOG = "Example: samewhere train --preset blue-marble --out runs/blue-marble"


def train(
    preset: Annotated[str, typer.Option(help="The recipe; see model/presets.py.")] = "blue-marble",
    out: Annotated[
        Path, typer.Option(help="Folder for checkpoint, metrics, curves and the state to resume from.")
    ] = Path("runs/blue-marble"),
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    places: Annotated[int | None, typer.Option(min=1000, help="Training patches, instead of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Start over instead of resuming.")] = False,
) -> None:
    """Train an image/location pair. A killed run goes on from its last epoch when the same command is given again."""
    from model.presets import PRESETS
    from model.train import train as run

    if preset not in PRESETS:
        raise CheckpointError(f"There is no preset {preset!r}; choose one of {', '.join(PRESETS)}.")
    config = PRESETS[preset]
    given = {"epochs": epochs, "places": places, "seed": seed}
    config = replace(config, **{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type]
    path = run(config, out, resume=not restart)
    typer.echo(f"Wrote {path} and its card, with metrics.csv and curves.png beside them.")

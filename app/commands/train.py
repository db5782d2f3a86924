"""``samewhere train``: make a checkpoint from a recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from data.errors import CheckpointError

EPILOG = (
    "Examples: samewhere train --preset blue-marble; "
    "samewhere train --config configs/satclip-resnet18-l10.yaml --data s2-100k --out runs/x; "
    "torchrun --nproc-per-node 8 -m app.cli train --config configs/satclip-resnet18-l10.yaml --data s2-100k"
)


def train(
    preset: Annotated[str | None, typer.Option(help="A recipe that ships; blue-marble if none is given.")] = None,
    config: Annotated[Path | None, typer.Option(help="A recipe as a YAML file, as in configs/.")] = None,
    data: Annotated[
        str | None,
        typer.Option(help="For SatCLIP: a folder of Sentinel-2 patches with index.csv (fn, lon, lat), or a dataset."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for checkpoint, metrics, curves and state; runs/RECIPE by default.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Instead of the file's, as in batch=2048, run.devices=4."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    places: Annotated[int | None, typer.Option(min=1000, help="Training patches of the Blue Marble.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Start over instead of resuming.")] = False,
) -> None:
    """Train an image/location pair. A killed run goes on where it was when the same command is given again."""
    from model.config_files import read_config
    from model.presets import PRESETS
    from model.recipes import FolderConfig
    from model.run import RunOptions
    from model.train import train as run
    from model.train_satclip import train_satclip

    if config is not None and preset is not None:
        raise CheckpointError("--config and --preset are two recipes; give one of them.")
    if config is not None:
        recipe, options = read_config(config, settings=settings or ())
    elif settings:
        raise CheckpointError("--set changes a recipe's file: give --config, as in --config configs/blue-marble.yaml.")
    elif (preset or "blue-marble") not in PRESETS:
        raise CheckpointError(f"There is no preset {preset!r}; choose one of {', '.join(PRESETS)}.")
    else:
        recipe, options = PRESETS[preset or "blue-marble"], RunOptions()
    given = {"epochs": epochs, "places": places, "seed": seed}
    changes = {key: value for key, value in given.items() if value is not None}
    folder = out or Path("runs") / (config.stem if config is not None else preset or "blue-marble")
    if isinstance(recipe, FolderConfig):
        if places is not None:
            raise CheckpointError("--places is the Blue Marble's; a folder of patches has as many as its index names.")
        if data is None:
            raise CheckpointError(
                "This recipe needs --data: a folder of patches with an index.csv, or the name of a dataset."
            )
        path = train_satclip(replace(recipe, **changes), data, folder, resume=not restart, options=options)  # type: ignore[arg-type]
    else:
        path = run(replace(recipe, **changes), folder, resume=not restart, options=options)  # type: ignore[arg-type]
    typer.echo(f"Wrote {path} and what belongs to it, with metrics.csv and curves.png beside.")

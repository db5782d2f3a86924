"""``samewhere train``: make a checkpoint from a recipe, or train a baseline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from data.errors import CheckpointError

EPILOG = (
    "Examples: samewhere train --preset blue-marble; samewhere train --baseline csp-inat; "
    "samewhere train --config configs/satclip-resnet18-l10.yaml --data s2-100k --out runs/x; "
    "torchrun --nproc-per-node 8 -m app.cli train --config configs/satclip-resnet18-l10.yaml --data s2-100k"
)


def train(
    preset: Annotated[str | None, typer.Option(help="A recipe that ships; blue-marble if none is given.")] = None,
    config: Annotated[Path | None, typer.Option(help="A recipe as a YAML file, as in configs/.")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="csp-inat, csp-fmow, gps2vec-tag or gps2vec-visual instead of a pair; minutes.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="For SatCLIP: a folder of Sentinel-2 patches with index.csv (fn, lon, lat), or a dataset."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for checkpoint, metrics, curves and state, runs/RECIPE by default; of a baseline, the "
            ".safetensors file, by default where evaluations look for it."
        ),
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
    """Train an image/location pair. A killed run goes on where it was when the same command is given again.

    With --baseline, train one of the encoders that papers compare SatCLIP with.
    """
    if baseline is not None:
        others = {"preset": preset, "config": config, "data": data, "set": settings, "restart": restart or None}
        wrong = [f"--{key}" for key, value in others.items() if value is not None]
        if wrong:
            raise CheckpointError(f"--baseline has a recipe of its own; leave {', '.join(wrong)} out.")
        _train_baseline(baseline, out, places=places, epochs=epochs, seed=seed)
        return
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


def _train_baseline(name: str, out: Path | None, *, places: int | None, epochs: int | None, seed: int | None) -> None:
    from model.baselines import train_baseline

    path = train_baseline(
        name, out, places=places, epochs=epochs, seed=seed, report=lambda line: typer.echo(line, err=True)
    )
    typer.echo(f"Wrote {path} and its card. Use it as the baseline {name}.")

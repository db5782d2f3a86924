"""``samewhere index``: build, look at and verify the index."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from indexer.progress import Progress

app = typer.Typer(help="Build, look at and verify the index.", no_args_is_help=True)

DEFAULT_CHECKPOINT = "blue-marble-l40"

PathOption = Annotated[
    Path | None, typer.Option("--path", help="Directory of the index.", show_default="in SAMEWHERE_HOME")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command(epilog="Example: samewhere index build --path ./world --checkpoint blue-marble-l40")
def build(
    path: PathOption = None,
    checkpoint: Annotated[str, typer.Option(help="Name or file of the checkpoint to embed with.")] = DEFAULT_CHECKPOINT,
    cell_resolution: Annotated[int, typer.Option(min=0, max=7, help="H3 resolution of the cells.")] = 4,
    tile_resolution: Annotated[int, typer.Option(min=0, max=5, help="H3 resolution of the tiles.")] = 3,
    antarctica: Annotated[bool, typer.Option(help="Whether land south of 60° S counts.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Build anew where a complete index stands.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Embed every land cell and tile, or finish doing so: a build that was ended goes on where it stopped."""
    from indexer import build_index, default_index_path
    from indexer.encoder import load_encoder
    from indexer.snapshot import build_command

    place = path or default_index_path()
    pair = load_encoder(checkpoint, "pair")
    try:
        with _bar() as show:
            manifest = build_index(
                place,
                pair=pair,
                progress=show,
                cell_resolution=cell_resolution,
                tile_resolution=tile_resolution,
                antarctica=antarctica,
                force=force,
            )
    except KeyboardInterrupt:
        typer.echo(f"\nStopped. What was made is kept: `{build_command(place)}` goes on from here.", err=True)
        raise
    if as_json:
        typer.echo(json.dumps(asdict(manifest) | {"path": str(place)}, indent=2))
    else:
        typer.echo(f"{place}: {manifest.counts['cells']:,} cells and {manifest.counts['tiles']:,} tiles, ready.")


@app.command(epilog="Example: samewhere index status --json")
def status(path: PathOption = None, as_json: JsonOption = False) -> None:
    """Tell whether there is an index, what made it, and how far an unfinished build is. Exit 1 if it cannot be used."""
    from indexer import default_index_path
    from indexer.snapshot import index_status

    found = index_status(path or default_index_path())
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _print_status(found)
    if found["state"] != "ready":
        raise typer.Exit(1)


@app.command(epilog="Example: samewhere index verify --path ./world")
def verify(path: PathOption = None, as_json: JsonOption = False) -> None:
    """Read every file of the index and compare it with its checksum. Exit 1 if anything is damaged."""
    from indexer import default_index_path
    from indexer.verify import find_damage

    place = path or default_index_path()
    damage = find_damage(place)
    if as_json:
        typer.echo(json.dumps({"path": str(place), "intact": not damage, "damage": damage}, indent=2))
    else:
        typer.echo("\n".join(damage) if damage else f"{place}: every file is as it was written.")
    if damage:
        raise typer.Exit(1)


def _print_status(found: dict[str, Any]) -> None:
    manifest, building = found["manifest"], found["building"]
    if manifest:
        checkpoint, counts = manifest["checkpoint"], manifest["counts"]
        typer.echo(
            f"{found['path']}: ready.\n"
            f"  rows        {counts['cells']:,} cells, {counts['tiles']:,} tiles, {found['bytes'] / 1e6:.0f} MB\n"
            f"  checkpoint  {checkpoint['name']} ({checkpoint['fingerprint'][:12]})\n"
            f"  built       {manifest['created']}, fingerprint {manifest['fingerprint'][:12]}"
        )
    else:
        typer.echo(found["problem"])
    if building:
        typer.echo(f"  unfinished  {building['shards_done']} of {building['shards']} shards of a new build are made")


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    """A progress bar on standard error that shows the stage, the rate and the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[detail]}"))
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("prepare", total=1.0, detail="")
        started: list[int] = []

        def show(now: Progress) -> None:
            started.append(now.done)  # rows that an earlier run had made do not count towards this one's rate
            rate = (now.done - started[0]) / now.elapsed_s if now.elapsed_s else 0.0
            left = "" if now.remaining_s is None else f", {now.remaining_s:.0f} s left"
            detail = f"{now.done:,} of {now.total:,} rows, {rate:,.0f} a second{left}"
            bar.update(task, completed=now.fraction, description=now.stage, detail=detail)

        yield show

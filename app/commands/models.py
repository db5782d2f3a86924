"""``samewhere models``: which checkpoints there are, what they are, and how they come and go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from app.commands.tables import print_table
from data.errors import CheckpointError

app = typer.Typer(help="List, show, download and export checkpoints.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
NameArgument = Annotated[
    str, typer.Argument(help="Name of a checkpoint, as `samewhere models list` prints it, or a file.")
]


@app.command("list", epilog="Example: samewhere models list --json")
def list_models(as_json: JsonOption = False) -> None:
    """Every checkpoint that can be loaded by its name, and whether it is on this machine."""
    from model.hub import OFFICIAL, embedded_names, own_files

    names = [*embedded_names(), *OFFICIAL, *(path.name for path in own_files())]
    rows = [_facts(name) for name in names]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for column in ("name", "where", "MB", "patch", "GSD m", "licence"):
        table.add_column(column, no_wrap=True, justify="right" if column in ("MB", "patch", "GSD m") else "left")
    for row in rows:
        patch = "" if row["patch_px"] is None else f"{row['patch_px']}"
        gsd = "" if row["gsd_m"] is None else f"{row['gsd_m']:,.0f}"
        table.add_row(row["name"], row["where"], row["megabytes"], patch, gsd, row["license"])
    print_table(table)


@app.command(epilog="Example: samewhere models show microsoft/SatCLIP-ViT16-L40")
def show(name: NameArgument, as_json: JsonOption = False) -> None:
    """What a checkpoint sees, where it comes from, and the SHA-256 of its file. Downloads nothing."""
    from model.hub import OFFICIAL, find, sha256_of

    facts = _facts(name)
    if facts["problem"]:
        raise CheckpointError(facts["problem"])
    if facts["path"] is None:
        if name not in OFFICIAL:
            from model.hub import locate

            locate(name)  # says which there are
        facts["to_fetch"] = f"samewhere models pull {name}"
    else:
        path = find(name)
        if path is not None and path.suffix == ".ckpt":
            from model.checkpoint import describe_official  # torch, about two seconds

            facts |= describe_official(name, path)
        elif path is not None:
            facts["sha256"] = sha256_of(path)
    if as_json:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for key, value in facts.items():
        if value is not None and not isinstance(value, dict):
            typer.echo(f"{key:<15} {', '.join(map(str, value)) if isinstance(value, list) else value}")


@app.command(epilog="Example: samewhere models pull microsoft/SatCLIP-ViT16-L40")
def pull(
    name: NameArgument,
    force: Annotated[bool, typer.Option("--force", help="Download even where the file is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Download an official checkpoint into huggingface_hub's cache, and verify it; what is there is verified too."""
    from model import hub

    path = hub.pull(name, force=force)
    digest = hub.sha256_of(path)
    if as_json:
        typer.echo(json.dumps({"name": name, "path": str(path), "sha256": digest}, indent=2))
    else:
        typer.echo(f"{name}: {path}\nSHA-256 {digest}")


@app.command(epilog="Example: samewhere models export microsoft/SatCLIP-ViT16-L40 vit16-l40.safetensors")
def export(
    name: NameArgument,
    out: Annotated[
        Path, typer.Argument(help="File to write: .safetensors (and its card), or .ckpt, the official format.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a checkpoint to a file: .safetensors for this project, .ckpt for what reads microsoft/satclip's files."""
    if out.exists() and not force:
        raise CheckpointError(f"{out} is there already. Choose another name, or replace it with --force.")
    from model import load
    from model.checkpoint import save

    pair = load(name)
    kept = {key: value for key, value in pair.card.items() if key not in ("config", "sha256")}
    digest = save(pair.network, out, card=kept)
    if as_json:
        typer.echo(json.dumps({"name": pair.name, "path": str(out), "sha256": digest}, indent=2))
    else:
        typer.echo(f"{out}: {pair.name}, SHA-256 {digest}")


def _facts(name: str) -> dict[str, Any]:
    """What is known of a checkpoint without torch and without the network."""
    from data.bands import GSD_M, L1C_BANDS
    from data.home import models_path
    from model.hub import OFFICIAL, WEIGHTS, find, read_card

    path, problem = None, None
    official = OFFICIAL.get(name)
    card: dict[str, Any] = {}
    try:
        path = find(name)
        if path is not None and path.suffix == ".safetensors":
            card = read_card(path)
    except CheckpointError as error:  # a file put there by hand that is not what it is called
        problem = str(error)
    if official is not None:
        card = {"bands": list(L1C_BANDS), "normalisation": "reflectance 0…1, B10 zero", "gsd_m": GSD_M}
        card |= {
            "patch_px": official.patch_px,
            "embedding_dim": 256,
            "license": official.license,
            "paper": official.paper,
        }
    where = "damaged" if problem else "not here"
    if path is not None and not problem:
        folders = {WEIGHTS: "shipped", models_path(): "by hand"}
        where = folders.get(path.parent, "downloaded" if official else "file")
    size = "" if path is None else f"{path.stat().st_size / 1e6:.0f}"
    if path is None and official is not None:
        size = "{}–{}".format(*official.size_mb)
    return {
        "name": name,
        "where": where,
        "path": None if path is None else str(path),
        "megabytes": size,
        "bands": card.get("bands"),
        "normalisation": card.get("normalisation"),
        "gsd_m": card.get("gsd_m"),
        "patch_px": card.get("patch_px"),
        "embedding_dim": card.get("embedding_dim"),
        "license": card.get("license", ""),
        "paper": card.get("paper"),
        "source": official.page if official else card.get("training_data"),
        "file": None if official is None else official.file,
        "problem": problem,
    }

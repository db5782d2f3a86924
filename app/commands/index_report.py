"""What the ``samewhere index`` commands say: progress while they work, how to go on after Ctrl-C, what stands now."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from indexer.progress import Progress
    from indexer.snapshot import Manifest


@contextmanager
def resumable(place: Path) -> Iterator[None]:
    """Say how to go on when the user ends the job."""
    try:
        yield
    except KeyboardInterrupt:
        from indexer import default_index_path

        where = "" if place == default_index_path() else f" --path {place}"
        typer.echo(f"\nStopped. What was made is kept: `samewhere index resume{where}` goes on from here.", err=True)
        raise


def tell_done(place: Path, manifest: Manifest, *, as_json: bool) -> None:
    """Say what stands now. Exit 1 if some rows could not be made."""
    if as_json:
        typer.echo(json.dumps(asdict(manifest) | {"path": str(place)}, indent=2))
    else:
        typer.echo(f"{place}: {manifest.counts['cells']:,} cells and {manifest.counts['tiles']:,} tiles, ready.")
    for row, reason in manifest.failed[:10]:
        typer.echo(f"Left out {row}: {reason}", err=True)
    if len(manifest.failed) > 10:
        typer.echo(f"… and {len(manifest.failed) - 10:,} more; --json lists them all.", err=True)
    if manifest.failed:
        raise typer.Exit(1)


def print_status(found: dict[str, Any]) -> None:
    """Say what there is, what made it, and how far an unfinished job is."""
    manifest, building = found["manifest"], found["building"]
    if manifest:
        checkpoint, counts = manifest["checkpoint"], manifest["counts"]
        ways = ", ".join(f"{kind} {_way(settings)}" for kind, settings in manifest["search"].items())
        sources = ", ".join(f"{name} {rows:,}" for name, rows in manifest["sources"].items())
        typer.echo(
            f"{found['path']}: ready.\n"
            f"  rows        {counts['cells']:,} cells, {counts['tiles']:,} tiles, {found['bytes'] / 1e6:.0f} MB\n"
            f"  tiles from  {sources or 'nowhere'}\n"
            f"  checkpoint  {checkpoint['name']} ({checkpoint['fingerprint'][:12]})\n"
            f"  search      {ways}\n"
            f"  built       {manifest['created']}, fingerprint {manifest['fingerprint'][:12]}"
        )
    else:
        typer.echo(found["problem"])
    if len(found["names"]) > 1:
        typer.echo(f"  kept as     {', '.join(name or '(default)' for name in found['names'])}")
    if building:
        typer.echo(f"  unfinished  {building['shards_done']} of {building['shards']} shards of a new build are made")
        typer.echo(f"  job         {_job_text(building)}")


def _job_text(building: dict[str, Any]) -> str:
    """Whether a job runs, how far it is, how fast, and how long it will still take."""
    now = building["progress"] or {}
    words = ["running" if building["running"] else "not running; `samewhere index resume` goes on"]
    if now:
        words.append(f"{now['done']:,} of {now['total']:,} rows")
        words += [f"{now['rate']:,.0f} rows a second"] if now.get("rate") else []
        left = now.get("remaining_s")
        words += [f"{left:,.0f} s left"] if building["running"] and left is not None else []
        words += [f"{now['failed']:,} rows failed"] if now.get("failed") else []
    return ", ".join(words)


def _way(settings: dict[str, Any]) -> str:
    """How one kind of rows is searched, with the least recall of its views."""
    if settings["method"] == "flat":
        return "exact"
    recall = min(view["recall"] for view in settings["views"].values())
    return f"{settings['method']} (recall@10 {recall:.3f}, {settings['bytes']:.0f} bytes a row)"


@contextmanager
def bar() -> Iterator[Callable[[Progress], None]]:
    """A progress bar on standard error that shows the stage, the rate and the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[detail]}"))
    with Bar(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task("prepare", total=1.0, detail="")

        def show(now: Progress) -> None:
            left = "" if now.remaining_s is None else f", {now.remaining_s:.0f} s left"
            detail = f"{now.done:,} of {now.total:,} rows, {now.rate or 0:,.0f} a second{left}"
            shown.update(task, completed=now.fraction, description=now.stage, detail=detail)

        yield show

"""``samewhere data``: patches from files, products and catalogues into datasets, and what is in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.tables import print_table

if TYPE_CHECKING:
    from data.ingest import IngestReport

app = typer.Typer(help="Bring patches in, and look at what is there.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="Name of the dataset.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
LISTED = 20
COLUMNS = ("id", "lon", "lat", "acquired", "cloud_percent", "country", "address")


@app.command(epilog="Example: samewhere data add ./patches --name my-patches")
def add(
    source: Annotated[
        str,
        typer.Argument(help="Folder or pattern of GeoTIFFs, S2-100K, .SAFE folder or zip, MajorTOM Parquet, or .npy."),
    ],
    name: Annotated[str, typer.Option(help="Dataset to add to; made where there is none.")],
    copy: Annotated[bool, typer.Option("--copy", help="Copy the pixels; otherwise they stay where they are.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Add patches to a dataset, each once. A killed run goes on where it stopped."""
    from data.catalogue import dataset_path
    from data.ingest import ingest
    from data.sources import open_source

    path, opened = dataset_path(name), open_source(source)
    with progress_bar(f"{name}: patches") as show:
        report = ingest(opened, path, keep_pixels=copy, progress=show, root=Path(source).expanduser().absolute())
    tell(name, report, as_json=as_json)


@app.command("ls", epilog="Example: samewhere data ls s2-sample --bbox 10,35,20,48 --max-cloud 20")
def list_patches(
    name: Annotated[str | None, typer.Argument(help="Dataset; every dataset where not given.")] = None,
    bbox: Annotated[str | None, typer.Option(metavar="W,S,E,N", help="Only inside; W > E crosses 180°.")] = None,
    after: Annotated[datetime | None, typer.Option(help="Not acquired earlier, UTC.")] = None,
    before: Annotated[datetime | None, typer.Option(help="Acquired earlier, UTC.")] = None,
    max_cloud: Annotated[float | None, typer.Option(min=0, max=100, help="Per cent at most.")] = None,
    country: Annotated[list[str] | None, typer.Option(metavar="CODE", help="As ITA; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Patches at most.")] = LISTED,
    as_json: JsonOption = False,
) -> None:
    """Datasets on this machine, or the patches of one."""
    from data import atlas
    from data.catalogue import Catalogue, dataset_names
    from data.geo import BBox

    if name is None:
        rows = [_summary(each) for each in dataset_names()]
    else:
        found = Catalogue.open(name).query(
            bbox=None if bbox is None else BBox.parse(bbox),
            after=after,
            before=before,
            max_cloud_percent=max_cloud,
            countries=[atlas.country_code(text) for text in country or ()],
            limit=limit,
        )
        rows = found.select(COLUMNS).to_pylist()
    if as_json:
        typer.echo(json.dumps(rows, indent=2, default=str))
    elif rows:
        _table(rows)
    else:
        typer.echo("No patches fit." if name else "No datasets yet. `samewhere data add FOLDER --name NAME` makes one.")


@app.command(epilog="Example: samewhere data describe s2-sample")
def describe(name: NameArgument, as_json: JsonOption = False) -> None:
    """Count, extent, time range, clouds, sources and size of a dataset."""
    from data.catalogue import Catalogue

    facts = Catalogue.open(name).describe()
    if as_json:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    facts["size"] = f"{facts.pop('bytes') / 1e6:,.1f} MB"
    facts["extent"] = facts["extent"] and ", ".join(f"{value:.4f}" for value in facts["extent"])
    for key, value in facts.items():
        if isinstance(value, dict):
            most = max(value.values(), default=1)
            for label, count in value.items():
                typer.echo(f"{key.replace('_', ' '):<22} {label:>10} {count:>9,}  {'█' * round(30 * count / most)}")
                key = ""
        elif value is not None:
            typer.echo(f"{key.replace('_', ' '):<22} {value}")


@app.command("map", epilog="Example: samewhere data map s2-sample --out s2-sample.png")
def draw_map(
    name: NameArgument,
    out: Annotated[Path | None, typer.Option(help="PNG to write; NAME.png here by default.")] = None,
) -> None:
    """Draw where a dataset's patches lie."""
    from app.dataset_map import draw
    from data.catalogue import Catalogue

    catalogue, path = Catalogue.open(name), out or Path(f"{name}.png")
    table = catalogue.query()
    draw(table["lon"].to_numpy(), table["lat"].to_numpy(), path, title=f"{name}: {catalogue.count:,} patches")
    typer.echo(f"{path}: {catalogue.count:,} patches")


def tell(name: str, report: IngestReport, *, as_json: bool) -> None:
    """Print what came of a source, and leave with 1 where something failed."""
    from data.ingest import as_plain

    if as_json:
        typer.echo(json.dumps({"name": name, **as_plain(report)}, indent=2))
    else:
        typer.echo(f"{name}: {report.read:,} read, {report.added:,} of them new; {report.total:,} patches now.")
        for reason, count in report.skipped.items():
            typer.echo(f"  left out {count:,}: {reason}")
        for failure in report.failed[:LISTED]:
            typer.echo(f"  failed: {failure.reason}", err=True)
        if len(report.failed) > LISTED:
            typer.echo(f"  … {len(report.failed) - LISTED:,} more in the dataset's report.json.", err=True)
    if report.failed:
        raise typer.Exit(1)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, with the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _summary(name: str) -> dict[str, Any]:
    from data.catalogue import Catalogue

    facts = Catalogue.open(name).describe()
    return {"name": name, **{key: facts[key] for key in ("count", "first", "last", "bytes")}}


def _table(rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table

    told = [column for column in rows[0] if any(row[column] is not None for row in rows)]
    table = Table(box=box.SIMPLE)
    for column in told:
        width = max(len(_text(row[column])) for row in rows) if column != "address" else 0
        table.add_column(column.replace("_percent", " %"), overflow="ellipsis", no_wrap=True, min_width=width)
    for row in rows:
        table.add_row(*(_text(row[column]) for column in told))
    print_table(table)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)

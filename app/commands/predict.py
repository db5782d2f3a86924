"""``samewhere predict``: a variable at coordinates, for a table, for the cells of an index, or as a map."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.tables import print_table

if TYPE_CHECKING:
    import pyarrow as pa

    from data.geo import Floats
    from model.encoder import EncoderPair
    from model.predict import Prediction, Predictor

EPILOG = """
Example: samewhere predict --variable temperature --at 12.49,41.89 --at -70.6,-33.4

Example: samewhere predict --variable koppen --points sites.csv --out sites.parquet

Example: samewhere predict --variable precipitation --bbox -10,35,30,60 --step-deg 0.1 --out rain.tif
"""
DEFAULT_INDEX = "default"
SHOWN = 20


def predict(
    variable: Annotated[
        str | None,
        typer.Option("--variable", "-v", metavar="NAME", help="What to predict; --list shows what there is."),
    ] = None,
    at: Annotated[list[str] | None, typer.Option(metavar="LON,LAT", help="A place; may be repeated.")] = None,
    points: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A CSV, Parquet or GeoParquet table of places.")
    ] = None,
    index: Annotated[
        str | None, typer.Option(metavar="PATH", help=f"All cells of an index; '{DEFAULT_INDEX}' is the embedded one.")
    ] = None,
    bbox: Annotated[str | None, typer.Option(metavar="W,S,E,N", help="A map of this box; W > E crosses 180°.")] = None,
    step_deg: Annotated[float, typer.Option(help="Side of a map's pixel, in degrees.")] = 0.25,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write: .parquet, .csv, .geojson, or .tif for a map.")
    ] = None,
    lon: Annotated[str | None, typer.Option(help="Column of longitudes.", show_default="guessed")] = None,
    lat: Annotated[str | None, typer.Option(help="Column of latitudes.", show_default="guessed")] = None,
    level: Annotated[float, typer.Option(help="Probability that the interval holds the truth.")] = 0.9,
    checkpoint: Annotated[str, typer.Option(help="Name or file of the checkpoint.")] = "blue-marble-l40",
    force: Annotated[bool, typer.Option("--force", help="Replace the file where it is there.")] = False,
    refit: Annotated[bool, typer.Option("--refit", help="Fit a built-in variable again.")] = False,
    list_all: Annotated[bool, typer.Option("--list", help="List what can be predicted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Predict a variable, with an interval and a flag for places unlike all that it was fitted on."""
    if list_all:
        _list(checkpoint, as_json=as_json)
        return
    if variable is None:
        raise typer.BadParameter("give --variable, or --list to see what there is.")
    if sum(given is not None for given in (at, points, index, bbox)) != 1:
        raise typer.BadParameter("give exactly one of --at, --points, --index and --bbox.")
    from app.predictions import MAPS, TABLES, about_of, check_out, write_map, write_table
    from data.geo import BBox

    if out is not None:
        check_out(out, force=force, suffixes=MAPS if bbox is not None else TABLES)
    elif bbox is not None or index is not None:
        raise typer.BadParameter("a map or the cells of an index need a file: give --out.")
    box = BBox.parse(bbox) if bbox is not None else None
    table, lonlat, read = _places(at, points, index, lon, lat)
    pair = _pair(checkpoint)
    with progress_line() as tell:
        predictor = _load(variable, pair, tell, refit=refit)
        about = about_of(predictor, level)
        if box is not None and out is not None:
            _need_no_columns(predictor)
            size = write_map(out, predictor, box, step_deg, level=level, about=about, progress=tell)
            found = None
        else:
            features = None
            if predictor.columns:
                if read is None:
                    _need_no_columns(predictor)
                features = _features(read, predictor)
            found = predictor.predict(lonlat, level=level, features=features)
    if found is None:
        summary = {"out": str(out), **size, **about}
        text = f"{out}: {size['width']:,} × {size['height']:,} pixels, {size['land']:,} of them on land"
        typer.echo(json.dumps(summary, indent=2, ensure_ascii=False) if as_json else text)
        return
    from app.predictions import add_columns

    filled = add_columns(table, predictor, found)
    if out is not None:
        write_table(out, filled, lonlat, about)
        unlike = int(found.unfamiliar.sum())
        summary = {"out": str(out), "rows": len(lonlat), "unfamiliar": unlike, **about}
        text = f"{out}: {len(lonlat):,} places, {unlike:,} of them unlike any that the head was fitted on"
        typer.echo(json.dumps(summary, indent=2, ensure_ascii=False) if as_json else text)
    elif as_json:
        rows = filled.select([n for n in filled.column_names if n != "geometry"]).to_pylist()
        typer.echo(json.dumps({**about, "places": _finite(rows)}, indent=2, ensure_ascii=False, default=str))
    else:
        _print(predictor, found, lonlat)


def _places(
    at: list[str] | None, points: Path | None, index: str | None, lon: str | None, lat: str | None
) -> tuple[pa.Table, Floats, Any]:
    """The table that is filled, its places, and the user's table where it is one."""
    import numpy as np
    import pyarrow as pa

    from data.geo import cell_to_hex, parse_place

    if points is not None:
        from data.table import read_points

        read = read_points(points, lon=lon, lat=lat)
        return read.table, read.lonlat, read
    if index is not None:
        from indexer import SearchIndex

        cells = SearchIndex.open(None if index == DEFAULT_INDEX else index).cells()
        lonlat = np.stack([cells["lon"].to_numpy(), cells["lat"].to_numpy()], axis=1)
        columns = {"id": pa.array(cell_to_hex(cells["id"].to_numpy())), "lon": cells["lon"], "lat": cells["lat"]}
        return pa.table(columns), lonlat, None
    lonlat = np.array([parse_place(text) for text in at or []], dtype=np.float64).reshape(-1, 2)
    return pa.table({"lon": lonlat[:, 0], "lat": lonlat[:, 1]}), lonlat, None


def _pair(checkpoint: str) -> EncoderPair:
    from model import load

    return load(checkpoint, part="location")


def _load(variable: str, pair: EncoderPair, tell: Callable[[float, str], None], *, refit: bool) -> Predictor:
    from model.predict import load_predictor

    return load_predictor(variable, pair, progress=tell, refit=refit)


def _need_no_columns(predictor: Predictor) -> None:
    if predictor.columns:
        from data.errors import HeadError

        raise HeadError(
            f"{predictor.variable.name} was fitted with the column(s) {', '.join(predictor.columns)} beside the place, "
            "so it can only be predicted with --points, for a table that has them."
        )


def _features(read: Any, predictor: Predictor) -> Any:
    """The feature columns of a table.

    Raises:
        TableError: a column is missing, or a row of it is empty or infinite.
    """
    import numpy as np

    from data.errors import TableError

    columns = [read.numbers(name) for name in predictor.columns]
    for name, values in zip(predictor.columns, columns, strict=True):
        if not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values)))
            seen = "empty" if np.isnan(values[row]) else "infinite"
            raise TableError(f"{read.name}, column {name!r}, row {row + 1} is {seen}; the prediction needs a number.")
    return np.stack(columns, axis=1)


def _finite(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from math import isfinite

    return [
        {key: None if isinstance(value, float) and not isfinite(value) else value for key, value in row.items()}
        for row in rows
    ]


def _print(predictor: Predictor, found: Prediction, lonlat: Floats) -> None:
    from rich import box
    from rich.table import Table

    from data.land import is_land

    variable = predictor.variable
    sea = ~is_land(lonlat[:SHOWN]) & variable.builtin
    share = f"{100 * found.level:g} %"
    table = Table(box=box.SIMPLE)
    for name in ("lon", "lat", variable.title + (f", {variable.unit}" if variable.unit else "")):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("probability" if found.labels is not None else f"{share} interval", justify="right", no_wrap=True)
    if found.labels is not None:
        table.add_column(f"{share} set")
    table.add_column("", no_wrap=True)
    for row in range(min(len(lonlat), SHOWN)):
        place = [f"{lonlat[row, 0]:.3f}", f"{lonlat[row, 1]:.3f}"]
        flag = ", ".join(["unfamiliar"] * bool(found.unfamiliar[row]) + ["at sea"] * bool(sea[row]))
        if found.labels is None or found.probabilities is None or found.sets is None:
            figures = [f"{found.values[row]:,.4g}", f"{found.low[row]:,.4g} … {found.high[row]:,.4g}"]
        else:
            names = [variable.classes[n] for n in found.sets[row].nonzero()[0].tolist()]
            figures = [str(found.labels[row]), f"{found.probabilities[row].max():.2f}", " ".join(names)]
        table.add_row(*place, *figures, flag)
    print_table(table)
    if len(lonlat) > SHOWN:
        typer.echo(f"… and {len(lonlat) - SHOWN:,} more; --out writes them all.")
    if sea.any():
        typer.echo("Built-in variables were fitted on land: at sea, take them with salt.")
    typer.echo(scores_line(predictor))


def scores_line(predictor: Predictor) -> str:
    """One line on what a head is worth."""
    measure = "accuracy" if predictor.variable.classes else "R²"
    parts = [
        f"{measure} {check.score:.3f} and coverage {100 * check.coverage:.0f} % "
        + ("on held-out random places" if check.split == "random" else "in held-out blocks")
        for check in predictor.checks
    ]
    return f"{predictor.method} head: {'; '.join(parts)}."


def _list(checkpoint: str, *, as_json: bool) -> None:
    from dataclasses import asdict

    from model.predict import variables

    damaged: list[str] = []
    found = variables(_pair(checkpoint), damaged=damaged)
    for sentence in damaged:
        typer.echo(f"Left out: {sentence}", err=True)
    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in found], indent=2, ensure_ascii=False))
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for name in ("name", "title", "unit", "kind", "origin"):
        table.add_column(name, no_wrap=name == "name")
    for entry in found:
        table.add_row(entry.name, entry.title, entry.unit, entry.kind, "built-in" if entry.builtin else "fitted")
    print_table(table)


@contextmanager
def progress_line() -> Iterator[Callable[[float, str], None]]:
    """A progress bar on standard error that appears when there is something to wait for."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0, visible=False)
        yield lambda share, what: bar.update(task, completed=share, description=what, visible=True)

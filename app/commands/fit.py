"""``samewhere fit``: a user's own table becomes a variable that can be mapped anywhere."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.predict import progress_line
from app.commands.tables import print_table

if TYPE_CHECKING:
    from model.fit import FitReport


class HeadKind(StrEnum):
    """Which head."""

    auto = "auto"
    ridge = "ridge"
    knn = "knn"
    mlp = "mlp"


class TargetKind(StrEnum):
    """What the target is."""

    auto = "auto"
    regression = "regression"
    classification = "classification"


EPILOG = """
Example: samewhere fit sites.csv --lon lon --lat lat --target ph --name soil-ph

Example: samewhere predict --variable soil-ph --bbox -10,35,30,60 --step-deg 0.1 --out soil-ph.tif
"""


def fit(
    table: Annotated[Path, typer.Argument(help="A CSV, Parquet or GeoParquet table of places.")],
    target: Annotated[str, typer.Option(help="Column to predict.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the new variable.", show_default="the target's column")
    ] = None,
    lon: Annotated[str | None, typer.Option(help="Column of longitudes.", show_default="guessed")] = None,
    lat: Annotated[str | None, typer.Option(help="Column of latitudes.", show_default="guessed")] = None,
    feature: Annotated[
        list[str] | None, typer.Option(help="Column of numbers known beside the place; may be repeated.")
    ] = None,
    kind: Annotated[TargetKind, typer.Option(help="What the target is.")] = TargetKind.auto,
    head: Annotated[
        HeadKind, typer.Option(help="Which head; auto takes the better of knn and ridge, mlp takes minutes.")
    ] = HeadKind.auto,
    unit: Annotated[str, typer.Option(help="Unit of the target, for tables and maps.")] = "",
    title: Annotated[str, typer.Option(help="Title of the variable, for tables and maps.")] = "",
    seed: Annotated[int, typer.Option(help="Of folds and draws.")] = 0,
    checkpoint: Annotated[str, typer.Option(help="Name or file of the checkpoint.")] = "blue-marble-l40",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Fit a head on a table, check it on random places and in whole blocks, and keep it by its name."""
    from data.table import read_points, take_sample

    features = tuple(dict.fromkeys(feature or ()))
    read = read_points(table, lon=lon, lat=lat)
    sample = take_sample(read, target, kind=None if kind == TargetKind.auto else kind.value, features=features)
    from model import load
    from model.fit import fit_table
    from model.head_file import head_names, save_head

    pair = load(checkpoint, part="location")
    with progress_line() as tell:
        report = fit_table(
            sample,
            pair,
            name=name or re.sub(r"[^A-Za-z0-9._-]+", "-", target).strip("-._"),
            title=title or target,
            unit=unit,
            head=head.value,
            features=features,
            seed=seed,
            progress=tell,
        )
    report.saved.about.update(table=read.name, target=target)
    replaced = report.saved.name in head_names(pair.fingerprint)
    path = save_head(report.saved, checkpoint=pair.name, fingerprint=pair.fingerprint)
    if as_json:
        typer.echo(json.dumps(_as_json(report, path), indent=2, ensure_ascii=False))
        return
    for note in report.notes:
        typer.echo(f"Note: {note}", err=True)
    _print(report, sample.why)
    typer.echo(f"Kept as {report.saved.name} ({path})" + (", in place of an older one." if replaced else "."))
    options = "--points FILE" if features else "--bbox W,S,E,N --out map.tif"
    typer.echo(f"Next: samewhere predict --variable {report.saved.name} {options}")


def _as_json(report: FitReport, path: Path) -> dict[str, Any]:
    head = report.saved.head
    return {
        "name": report.saved.name,
        "path": str(path),
        "kind": head.kind,
        "why": report.saved.about["why"],
        "head": head.method,
        "facts": head.facts,
        "classes": list(head.classes),
        "places": report.saved.about["places"],
        "block_deg": report.block_deg,
        "checks": {
            method: {
                check.split: {key: getattr(check, key) for key in ("score", "error", "coverage", "unfamiliar")}
                for check in checks
            }
            for method, checks in report.tried.items()
        },
        "curve": [{"places": p.places, "random": p.random, "blocks": p.blocks} for p in report.curve],
        "gap": report.gap,
        "notes": list(report.notes),
    }


def _print(report: FitReport, why: str) -> None:
    from rich import box
    from rich.table import Table

    head = report.saved.head
    score, error = ("accuracy", "macro-F1") if head.classes else ("R²", "RMSE")
    number = f"{len(head.classes)} classes" if head.classes else "numbers"
    typer.echo(f"{report.saved.about['places']:,} places, {head.kind} of {number} ({why}); head: {head.method}")
    table = Table(box=box.SIMPLE)
    table.add_column("head")
    for split in ("random", f"{report.block_deg:g}° blocks"):
        for column in (score, error, "coverage"):
            table.add_column(f"{split}: {column}", justify="right")
    for method, checks in report.tried.items():
        figures = [
            text
            for check in checks
            for text in (f"{check.score:.3f}", f"{check.error:.4g}", f"{100 * check.coverage:.1f} %")
        ]
        table.add_row(method + (" ←" if method == head.method and len(report.tried) > 1 else ""), *figures)
    print_table(table)
    typer.echo(report.gap)
    curve = Table(box=box.SIMPLE)
    for column in ("places", f"{score}, random", f"{score}, blocks"):
        curve.add_column(column, justify="right")
    for point in report.curve:
        curve.add_row(f"{point.places:,}", f"{point.random:.3f}", f"{point.blocks:.3f}")
    print_table(curve)

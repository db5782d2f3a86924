"""``samewhere index``: build, change, look at and verify the index."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.index_engine import (
    AddressOption,
    DeviceOption,
    EngineName,
    EngineOption,
    GpusOption,
    WorkersOption,
    make_engine,
    own_device,
)
from app.commands.index_report import bar, print_status, resumable, tell_done
from app.commands.index_store import StoreName, StoreOption, UriOption, milvus_address, send_to_milvus

if TYPE_CHECKING:
    from indexer import Where

app = typer.Typer(help="Build, change, look at and verify the index.", no_args_is_help=True)

DEFAULT_CHECKPOINT = "blue-marble-l40"

PathOption = Annotated[
    Path | None, typer.Option("--path", help="Directory of the index.", show_default="in SAMEWHERE_HOME")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


NameOption = Annotated[
    str | None, typer.Option("--name", help="Snapshot of that name, where a directory keeps several.")
]
ColumnOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Column of that meaning.", show_default="found by its name")
]


class Method(StrEnum):
    """How rows are searched."""

    auto = "auto"
    flat = "flat"
    ivf_flat = "ivf-flat"
    ivf_rabitq = "ivf-rabitq"
    ivf_hnsw_rabitq = "ivf-hnsw-rabitq"


METHOD_HELP = "How rows are searched: exactly (flat), or by lists whose recall is measured."


@app.command(
    epilog="Example: samewhere index build --path ./world --source blue-marble --source s2-sample --engine pool\n\n"
    "Example: samewhere index build --path ./italy --country ITA --cell-resolution 5"
)
def build(
    path: PathOption = None,
    checkpoint: Annotated[str, typer.Option(help="Name or file of the checkpoint to embed with.")] = DEFAULT_CHECKPOINT,
    source: Annotated[
        list[str] | None,
        typer.Option(help="Tiles: blue-marble or a dataset; may be repeated.", show_default="blue-marble"),
    ] = None,
    cell_resolution: Annotated[int, typer.Option(min=0, max=7, help="H3 resolution of the cells.")] = 4,
    fine_resolution: Annotated[
        int | None, typer.Option(min=1, max=9, help="H3 resolution of cells where tiles of datasets are dense.")
    ] = None,
    dense: Annotated[int, typer.Option(min=1, help="So many tiles in a cell are dense.")] = 3,
    tile_resolution: Annotated[int, typer.Option(min=0, max=5, help="H3 resolution of the tiles.")] = 3,
    antarctica: Annotated[bool, typer.Option(help="Whether land south of 60° S counts.")] = True,
    bbox: Annotated[
        str | None, typer.Option(metavar="W,S,E,N", help="Only inside this box; W > E crosses the antimeridian.")
    ] = None,
    country: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Only in this country, as ITA; may be repeated.")
    ] = None,
    method: Annotated[Method, typer.Option(help=METHOD_HELP, show_default="by their number")] = Method.auto,
    engine: EngineOption = EngineName.inline,
    workers: WorkersOption = None,
    address: AddressOption = None,
    gpus: GpusOption = None,
    device: DeviceOption = "cpu",
    name: NameOption = None,
    store: StoreOption = StoreName.local,
    uri: UriOption = None,
    force: Annotated[bool, typer.Option("--force", help="Build anew where a complete index stands.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Embed every land cell and tile, or finish doing so: a build that was ended goes on where it stopped."""
    from data.geo import BBox
    from indexer import build_index, default_index_path
    from indexer.encoder import load_encoder
    from indexer.sources import BLUE_MARBLE

    area = BBox.parse(bbox) if bbox is not None else None
    place, there = path or default_index_path(), milvus_address(store, uri)
    pair = load_encoder(checkpoint, "pair", own_device(engine, device))
    make = partial(make_engine, engine, workers=workers, address=address, gpus=gpus, device=device)
    with resumable(place), bar() as show:
        manifest = build_index(
            place,
            pair=pair,
            progress=show,
            cell_resolution=cell_resolution,
            tile_resolution=tile_resolution,
            antarctica=antarctica,
            bbox=area,
            countries=country,
            sources=source or (BLUE_MARBLE,),
            fine_resolution=fine_resolution,
            dense=dense,
            method=method.value,
            engine=make(pair),
            name=name,
            force=force,
        )
    if there is not None:
        typer.echo(f"{send_to_milvus(place, there, name=name)}: there.", err=True)
    tell_done(place, manifest, as_json=as_json)


@app.command(epilog="Example: samewhere index add --source s2-sample")
def add(
    source: Annotated[list[str], typer.Option(help="Dataset, or blue-marble; may be repeated.")],
    path: PathOption = None,
    engine: EngineOption = EngineName.inline,
    workers: WorkersOption = None,
    address: AddressOption = None,
    gpus: GpusOption = None,
    device: DeviceOption = "cpu",
    name: NameOption = None,
    store: StoreOption = StoreName.local,
    uri: UriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add the tiles of datasets; nothing that stands is embedded again. A dataset that has grown adds what is new."""
    from indexer import default_index_path
    from indexer.build import add_sources
    from indexer.encoder import load_encoder
    from indexer.snapshot import Manifest, current_snapshot

    place, there = path or default_index_path(), milvus_address(store, uri)
    standing = Manifest.read(current_snapshot(place, name), index=place)
    pair = load_encoder(standing.checkpoint["name"], "pair", own_device(engine, device))
    make = partial(make_engine, engine, workers=workers, address=address, gpus=gpus, device=device)
    with resumable(place), bar() as show:
        manifest = add_sources(
            place,
            source,
            pair=pair,
            progress=show,
            engine=make(pair),
            name=name,
        )
    if there is not None:
        typer.echo(f"{send_to_milvus(place, there, name=name)}: there.", err=True)
    tell_done(place, manifest, as_json=as_json)


@app.command(epilog="Example: samewhere index resume --path ./world")
def resume(
    path: PathOption = None,
    engine: EngineOption = EngineName.inline,
    workers: WorkersOption = None,
    address: AddressOption = None,
    gpus: GpusOption = None,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Go on with a build or an addition that was ended before its time."""
    from indexer import default_index_path
    from indexer.build import resume_job

    place = path or default_index_path()
    make = partial(make_engine, engine, workers=workers, address=address, gpus=gpus, device=device)
    with resumable(place), bar() as show:
        manifest = resume_job(
            place,
            progress=show,
            engine=make,
            device=own_device(engine, device),
        )
    tell_done(place, manifest, as_json=as_json)


@app.command(epilog="Example: samewhere index status --json")
def status(
    path: Annotated[
        str | None,
        typer.Option(
            "--path", help="Directory of the index, or its address in Milvus.", show_default="in SAMEWHERE_HOME"
        ),
    ] = None,
    name: NameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell whether there is an index, what made it, and how far an unfinished build is. Exit 1 if it cannot be used."""
    from indexer import default_index_path
    from indexer.milvus_address import is_milvus
    from indexer.snapshot import index_status

    if path is not None and is_milvus(path):
        from indexer.milvus import milvus_status

        found = milvus_status(path)
    else:
        found = index_status(Path(path) if path else default_index_path(), name)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        print_status(found)
    if found["state"] != "ready":
        raise typer.Exit(1)


@app.command(epilog="Example: samewhere index verify --path ./world")
def verify(path: PathOption = None, name: NameOption = None, as_json: JsonOption = False) -> None:
    """Compare every file with its checksum, and approximate answers with exact ones. Exit 1 if anything is wrong."""
    from indexer import default_index_path
    from indexer.ann_build import TARGET
    from indexer.manage import views_of
    from indexer.snapshot import Manifest, current_snapshot
    from indexer.verify import find_damage, recall_of

    place = path or default_index_path()
    damage = find_damage(place, name)
    recalls = {}
    if not damage:
        recalls = recall_of(place, views_of(Manifest.read(current_snapshot(place, name), index=place)), name)
    for kind, views in recalls.items():
        damage += [
            f"{kind}: {found.rows:.4f} of the true ten are found in view {view!r}, {TARGET:g} are promised. Run "
            "`samewhere index compact`, or choose another --method there."
            for view, found in views.items()
            if found.rows < TARGET
        ]
    if as_json:
        plain = {kind: {view: asdict(found) for view, found in views.items()} for kind, views in recalls.items()}
        content = {"path": str(place), "intact": not damage, "damage": damage, "recall": plain}
        typer.echo(json.dumps(content, indent=2))
    else:
        typer.echo("\n".join(damage) if damage else f"{place}: every file is as it was written.")
        for kind, views in recalls.items():
            for view, found in views.items():
                typer.echo(
                    f"  {kind}, {view}: {100 * found.rows:.2f} % of the true ten are found, {100 * found.scores:.2f} % "
                    "of the answers are within 0.001 of their scores"
                )
    if damage:
        raise typer.Exit(1)


@app.command(epilog="Example: samewhere index rm --source s2-sample")
def rm(
    path: PathOption = None,
    source: Annotated[list[str] | None, typer.Option(help="Tiles of this source; may be repeated.")] = None,
    country: Annotated[list[str] | None, typer.Option(help="Tiles in this country; may be repeated.")] = None,
    bbox: Annotated[str | None, typer.Option(metavar="W,S,E,N", help="Tiles inside this box.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="Tiles that fulfil this, as 'cloud_percent > 50'; may be repeated.")
    ] = None,
    cells: Annotated[bool, typer.Option("--cells", help="Remove cells too, not tiles alone.")] = False,
    name: NameOption = None,
    force: Annotated[bool, typer.Option("--force", help="Throw away the work of an unfinished job.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove the tiles that fulfil every condition given; all others are kept as they are."""
    from indexer import default_index_path
    from indexer.manage import remove_rows

    place = path or default_index_path()
    chosen = _chosen(bbox, country, source, where)
    manifest = remove_rows(place, chosen, kinds=("cells", "tiles") if cells else ("tiles",), name=name, force=force)
    tell_done(place, manifest, as_json=as_json)


@app.command(epilog="Example: samewhere index compact --method ivf-rabitq")
def compact(
    path: PathOption = None,
    method: Annotated[Method | None, typer.Option(help=METHOD_HELP, show_default="as before")] = None,
    name: NameOption = None,
    force: Annotated[bool, typer.Option("--force", help="Throw away the work of an unfinished job.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the rows anew without embedding any, and choose again how they are searched."""
    from indexer import default_index_path
    from indexer.manage import compact as write_anew

    place = path or default_index_path()
    tell_done(
        place, write_anew(place, method=method.value if method else None, name=name, force=force), as_json=as_json
    )


@app.command(epilog="Example: samewhere index gc")
def gc(
    path: PathOption = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Throw away the work of an unfinished job too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove snapshots that nothing points to, unless a running program has them open."""
    from indexer import default_index_path
    from indexer.manage import collect_garbage

    place = path or default_index_path()
    removed = collect_garbage(place, unfinished=unfinished)
    if as_json:
        typer.echo(json.dumps({"path": str(place), "removed": removed}, indent=2))
    else:
        typer.echo(f"{place}: removed {', '.join(removed)}." if removed else f"{place}: nothing to remove.")


@app.command(epilog="Example: samewhere index diff ./world ./world-of-last-year")
def diff(
    first: Annotated[Path, typer.Argument(help="Directory of an index or a snapshot.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    as_json: JsonOption = False,
) -> None:
    """Tell which rows differ between two indexes. Exit 1 if any do."""
    from indexer.manage import compare

    found = compare(first, second)
    if as_json:
        typer.echo(json.dumps({kind: asdict(difference) for kind, difference in found.items()}, indent=2))
    else:
        for kind, d in found.items():
            typer.echo(
                f"{kind}: {len(d.added):,} added, {len(d.removed):,} removed, {len(d.changed):,} changed, "
                f"{d.same:,} the same"
            )
    if any(d.added or d.removed or d.changed for d in found.values()):
        raise typer.Exit(1)


@app.command(epilog="Example: samewhere index export tiles.parquet --target tiles")
def export(
    out: Annotated[Path, typer.Argument(help="File: .parquet (GeoParquet), .geojson, .csv or .npy.")],
    path: PathOption = None,
    target: Annotated[str, typer.Option(help="cells or tiles.")] = "cells",
    geometry: Annotated[str, typer.Option(help="Show a cell as its centre (point) or its outline (cell).")] = "point",
    country: Annotated[list[str] | None, typer.Option(help="Only rows in this country; may be repeated.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="Only tiles of this source; may be repeated.")] = None,
    bbox: Annotated[str | None, typer.Option(metavar="W,S,E,N", help="Only rows inside this box.")] = None,
    where: Annotated[list[str] | None, typer.Option(help="Only rows that fulfil this; may be repeated.")] = None,
    name: NameOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> None:
    """Write rows and, in GeoParquet and .npy, their embeddings to a file for other programs."""
    from indexer import default_index_path
    from indexer.export import export_rows
    from indexer.local import LocalStore

    store = LocalStore(path or default_index_path(), name=name)
    chosen = _chosen(bbox, country, source, where)
    rows = store.select(target, chosen) if target in ("cells", "tiles") else None
    count = export_rows(store.directory, target, out, rows=rows, geometry=geometry, force=force)  # type: ignore[arg-type]
    typer.echo(f"{out}: {count:,} {target}.")


@app.command("import", epilog="Example: samewhere index import clay.parquet --path ./clay --model clay-v1")
def import_(
    files: Annotated[list[Path], typer.Argument(help="GeoParquet files with embeddings of one model.")],
    model: Annotated[str, typer.Option(help="Name of the model that made them.")],
    path: PathOption = None,
    embedding_column: ColumnOption = None,
    id_column: ColumnOption = None,
    lonlat_columns: Annotated[
        str | None, typer.Option(metavar="LON,LAT", help="Columns of the place.", show_default="found by their names")
    ] = None,
    geometry_column: ColumnOption = None,
    name: NameOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an index that is not of this model.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make an index of another model's embeddings; it is asked with its own tiles and vectors."""
    from indexer import default_index_path
    from indexer.gallery_columns import Columns
    from indexer.manage import import_gallery

    place = path or default_index_path()
    lon, _, lat = (lonlat_columns or "").partition(",")
    if lonlat_columns is not None and not (lon and lat):
        raise typer.BadParameter("--lonlat-columns takes two names with a comma between: lon,lat.")
    columns = Columns(
        embedding=embedding_column,
        id=id_column,
        lonlat=(lon.strip(), lat.strip()) if lonlat_columns else None,
        geometry=geometry_column,
    )
    manifest = import_gallery(place, files, name=name, model=model, columns=columns, force=force)
    tell_done(place, manifest, as_json=as_json)


@app.command(
    epilog="Example: samewhere index push s3://bucket/world\n\nExample: samewhere index push milvus://host:19530"
)
def push(
    url: Annotated[str, typer.Argument(help="Address in an object store, or of Milvus.")], path: PathOption = None
) -> None:
    """Copy the current snapshot to an object store or to Milvus, where `samewhere search --index URL` finds it."""
    from indexer import default_index_path
    from indexer.milvus_address import is_milvus
    from indexer.remote import push as upload

    if is_milvus(url):
        typer.echo(f"{send_to_milvus(path or default_index_path(), url)}: there.")
        return

    typer.echo(f"{upload(path or default_index_path(), url)}: there.")


def _chosen(bbox: str | None, country: list[str] | None, source: list[str] | None, where: list[str] | None) -> Where:
    """The rows that the options of a command name."""
    from data import atlas
    from data.geo import BBox
    from indexer import Compare, Where

    return Where(
        bbox=BBox.parse(bbox) if bbox is not None else None,
        countries=tuple(atlas.country_code(text) for text in country) if country else None,
        sources=tuple(source) if source else None,
        compare=tuple(Compare.parse(text) for text in where or []),
    )

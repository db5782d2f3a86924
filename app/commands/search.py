"""``samewhere search``: ask the index from the shell."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from indexer import Hit, Query


class Target(StrEnum):
    """What is searched."""

    cells = "cells"
    tiles = "tiles"


EPILOG = """
Example: samewhere search --place 12.49,41.89 --min-km 500 -k 10

Example: samewhere search --image patch.tif --target tiles --country ITA --country FRA --geojson
"""


def search(
    place: Annotated[str | None, typer.Option(metavar="LON,LAT", help="Ask with a place, in degrees.")] = None,
    image: Annotated[Path | None, typer.Option(metavar="FILE", help="Ask with an image file.")] = None,
    tile: Annotated[str | None, typer.Option(metavar="ID", help="Ask with a tile of the index.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many hits, 1 to 1000.")] = 10,
    min_km: Annotated[float, typer.Option(help="Least distance from the query, in km.")] = 0.0,
    spacing_km: Annotated[float, typer.Option(help="Least distance between hits, in km.")] = 0.0,
    bbox: Annotated[
        str | None, typer.Option(metavar="W,S,E,N", help="Only inside this box; W > E crosses the antimeridian.")
    ] = None,
    country: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Only in this country, as ITA; may be repeated.")
    ] = None,
    target: Annotated[Target, typer.Option(help="What to search.")] = Target.cells,
    view: Annotated[
        str | None, typer.Option(help="How to compare: smooth, sharp or both.", show_default="by kind of query")
    ] = None,
    index: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Directory of the index.", show_default="in SAMEWHERE_HOME")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Name or file of the checkpoint.", show_default="the one that built the index")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_geojson: Annotated[bool, typer.Option("--geojson", help="Print GeoJSON points.")] = False,
) -> None:
    """Find the cells or tiles that resemble a place, an image or a tile most."""
    if sum(option is not None for option in (place, image, tile)) != 1:
        raise typer.BadParameter("give exactly one of --place, --image and --tile.")
    if as_json and as_geojson:
        raise typer.BadParameter("give --json or --geojson, not both.")
    from data.geo import BBox
    from indexer import SearchIndex
    from indexer.hits import hits_to_geojson

    box = BBox.parse(bbox) if bbox is not None else None
    query = _query(place, image, tile)
    hits = SearchIndex.open(index, checkpoint=checkpoint).search(
        query,
        k=k,
        target=target.value,
        min_km=min_km,
        spacing_km=spacing_km,
        bbox=box,
        countries=country or None,
        view=view,
    )
    if as_json:
        asked = {"kind": query.kind, "lonlat": query.lonlat, "tile": tile, "image": str(image) if image else None}
        typer.echo(json.dumps({"query": asked, "hits": [asdict(hit) for hit in hits]}, indent=2))
    elif as_geojson:
        typer.echo(json.dumps(hits_to_geojson(hits)))
    else:
        _print_table(hits)


def _query(place: str | None, image: Path | None, tile: str | None) -> Query:
    from data.geo import parse_place
    from indexer import Query

    if place is not None:
        return Query.place(*parse_place(place))
    if image is not None:
        from data.patch import read_patch

        return Query.image(read_patch(image))
    return Query.tile(tile or "")


def _print_table(hits: list[Hit]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if not hits:
        typer.echo("Nothing passes these filters.")
        return
    table = Table(box=box.SIMPLE)
    for name in ("#", "score", "lon", "lat", "km"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("country", "id"):
        table.add_column(name, no_wrap=True)
    for hit in hits:
        km = "" if hit.km is None else f"{hit.km:,.0f}"
        table.add_row(str(hit.rank), f"{hit.score:.3f}", f"{hit.lon:.3f}", f"{hit.lat:.3f}", km, hit.country, hit.id)
    Console().print(table)

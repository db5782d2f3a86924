"""``samewhere search``: ask the index from the shell."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.tables import print_table

if TYPE_CHECKING:
    import shapely

    from indexer import Hit, Query


class Target(StrEnum):
    """What is searched."""

    cells = "cells"
    tiles = "tiles"


MAX_FILE_BYTES = 32 << 20
EPILOG = """
Example: samewhere search --place 12.49,41.89 --min-km 500 -k 10

Example: samewhere search --image patch.tif --target tiles --country ITA --country FRA --geojson

Example: samewhere search --place 12.49,41.89 --target tiles --source s2-sample --where 'cloud_percent < 10' --explain
"""


def search(
    context: typer.Context,
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
    query: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Ask with a query in JSON, as Query.to_json gives it, or with the query.json that the app exports: "
            "that brings its filters and options along.",
        ),
    ] = None,
    cell: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only in this H3 cell; may be repeated.")] = None,
    polygon: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Only inside this polygon, a GeoJSON file.")
    ] = None,
    continent: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="AF, AN, AS, EU, NA, OC or SA; may be repeated.")
    ] = None,
    source: Annotated[list[str] | None, typer.Option(help="Only tiles of this source; may be repeated.")] = None,
    after: Annotated[datetime | None, typer.Option(help="Only tiles taken then or later.")] = None,
    before: Annotated[datetime | None, typer.Option(help="Only tiles taken earlier.")] = None,
    max_cloud: Annotated[
        float | None, typer.Option(min=0, max=100, help="Only tiles with at most this cloud, %.")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="Only rows that fulfil this, as 'gsd_m <= 20'; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Snapshot of that name, where a directory keeps several.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say on standard error how the answer was found.")] = False,
    index: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Directory or address of the index.", show_default="in SAMEWHERE_HOME"),
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Name or file of the checkpoint.", show_default="the one that built the index")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_geojson: Annotated[bool, typer.Option("--geojson", help="Print GeoJSON points.")] = False,
) -> None:
    """Find the cells or tiles that resemble a place, an image or a tile most."""
    if sum(option is not None for option in (place, image, tile, query)) != 1:
        raise typer.BadParameter("give exactly one of --place, --image, --tile and --query.")
    if as_json and as_geojson:
        raise typer.BadParameter("give --json or --geojson, not both.")
    from data.geo import BBox, hex_to_cell
    from indexer import Compare, SearchIndex, Where
    from indexer.hits import hits_to_geojson

    chosen = Where(
        bbox=BBox.parse(bbox) if bbox is not None else None,
        polygon=_polygon(polygon) if polygon is not None else None,
        cells=tuple(hex_to_cell(text) for text in cell) if cell else None,
        countries=tuple(country) if country else None,
        continents=tuple(text.upper() for text in continent) if continent else None,
        sources=tuple(source) if source else None,
        after=after,
        before=before,
        max_cloud_percent=max_cloud,
        compare=tuple(Compare.parse(text) for text in where or []),
    )
    options: dict[str, Any] = {
        "k": k,
        "target": target.value,
        "min_km": min_km,
        "spacing_km": spacing_km,
        "where": chosen,
        "view": view,
    }
    asking, options = _exported(context, query, options) or (_query(place, image, tile, query), options)
    hits, plan = SearchIndex.open(index, checkpoint=checkpoint, name=name).explain(asking, **options)
    if explain:
        typer.echo("\n".join(plan), err=True)
    if as_json:
        asked = {"kind": asking.kind, "lonlat": asking.lonlat, "tile": tile, "image": str(image) if image else None}
        typer.echo(json.dumps({"query": asked, "hits": [asdict(hit) for hit in hits]}, indent=2))
    elif as_geojson:
        typer.echo(json.dumps(hits_to_geojson(hits)))
    else:
        _print_table(hits)


def _exported(
    context: typer.Context, query: Path | None, options: dict[str, Any]
) -> tuple[Query, dict[str, Any]] | None:
    """The search that a file of the app holds, with its options; those given in the shell win. None for others."""
    from app.request import is_request, read_request
    from indexer import Where

    if query is None:
        return None
    try:
        content = json.loads(_text(query))
    except (ValueError, RecursionError):
        return None  # the query's own reader says what is wrong
    if not is_request(content):
        return None
    request = read_request(content)
    found = {name: getattr(request, name) for name in options}
    for name in ("k", "target", "min_km", "spacing_km", "view"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            found[name] = options[name]
    empty, given = Where(), options["where"]
    told = {one.name: value for one in fields(Where) if (value := getattr(given, one.name)) != getattr(empty, one.name)}
    found["where"] = replace(found["where"], **told)
    return request.query, found


def _query(place: str | None, image: Path | None, tile: str | None, query: Path | None) -> Query:
    from data.geo import parse_place
    from indexer import Query

    if place is not None:
        return Query.place(*parse_place(place))
    if image is not None:
        from data.patch import read_patch

        return Query.image(read_patch(image))
    if query is not None:
        return Query.from_json(_text(query))
    return Query.tile(tile or "")


def _text(path: Path) -> str:
    """A small text file.

    Raises:
        QueryError: it cannot be read, or is not small.
    """
    from data.errors import QueryError

    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise QueryError(f"{path} has {path.stat().st_size:,} bytes; at most {MAX_FILE_BYTES:,} are read.")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(f"{path} cannot be read: {error}. Give a text file.") from error


def _polygon(path: Path) -> shapely.Geometry:
    """The outline in a GeoJSON file: a geometry, a feature, or all features of a collection together.

    Raises:
        QueryError: it holds no polygon.
    """
    import shapely

    from data.errors import QueryError

    try:
        content = json.loads(_text(path))
        parts = content["features"] if content.get("type") == "FeatureCollection" else [content]
        shapes = [shapely.from_geojson(json.dumps(part.get("geometry") or part)) for part in parts]
    except (ValueError, KeyError, TypeError, AttributeError, shapely.errors.GEOSException) as error:
        raise QueryError(f"{path} is no GeoJSON: {error}. Draw one at geojson.io, for example.") from error
    whole = shapely.union_all(shapes)
    if whole.geom_type not in ("Polygon", "MultiPolygon") or whole.is_empty:
        raise QueryError(f"{path} holds a {whole.geom_type}, not a polygon.")
    return whole


def _print_table(hits: list[Hit]) -> None:
    from rich import box
    from rich.table import Table

    if not hits:
        typer.echo("Nothing passes these filters.")
        return
    table = Table(box=box.SIMPLE)
    for name, width in (("#", 2), ("score", 6), ("lon", 8), ("lat", 7), ("km", 6)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    table.add_column("country", no_wrap=True, min_width=7)
    if any(hit.source for hit in hits):
        table.add_column("source", no_wrap=True)
    table.add_column("id", no_wrap=True)  # of all columns this one gives way where the terminal is narrow
    for hit in hits:
        km = "" if hit.km is None else f"{hit.km:,.0f}"
        row = [str(hit.rank), f"{hit.score:.3f}", f"{hit.lon:.3f}", f"{hit.lat:.3f}", km, hit.country]
        table.add_row(*row, *([hit.source] if hit.source else []), hit.id)
    print_table(table)

"""``samewhere data stac``: patches from a STAC catalogue of Sentinel-2 into a dataset, with their pixels.

Owns the options and what is told of items that were passed over. Nothing is read twice: a killed run goes on at its
shard, and the same patch again is none.
"""

from __future__ import annotations

from typing import Annotated

import typer

from app.commands import dataset

EPILOG = (
    "Example: samewhere data stac --api earth-search --bbox 11,45,12,46 --datetime 2023-06-01/2023-08-31 --name veneto"
)
LISTED = 20


def stac(
    api: Annotated[str, typer.Option(help="planetary-computer, earth-search, cdse, or the URL of a STAC API.")],
    bbox: Annotated[str, typer.Option(metavar="W,S,E,N", help="Where; W > E crosses 180°.")],
    name: Annotated[str, typer.Option(help="Dataset to add to; made where there is none.")],
    collection: Annotated[str, typer.Option(help="Collection of Sentinel-2 L2A.")] = "sentinel-2-l2a",
    datetime: Annotated[str | None, typer.Option(help="When: 2023-06, or 2023-06-01/2023-08-31.")] = None,
    max_cloud: Annotated[float, typer.Option(help="Per cent at most, of the scene and of the patch.")] = 20.0,
    per_cell: Annotated[int, typer.Option(help="Patches in a cell, each of another scene, the clearest.")] = 1,
    resolution: Annotated[int, typer.Option(help="Of the H3 cells; 5 has a cell every 17 km.")] = 5,
    size: Annotated[int, typer.Option(help="Pixels of 10 m on a patch's side.")] = 256,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Add the clearest patch of every H3 cell in a box; only the windows that are needed are read."""
    from data.catalogue import dataset_path
    from data.geo import BBox
    from data.ingest import ingest
    from data.stac import StacSource
    from data.stac_presets import api_of
    from data.stac_search import StacQuery

    query = StacQuery(
        collection,
        BBox.parse(bbox),
        datetime=datetime,
        max_cloud=max_cloud,
        per_cell=per_cell,
        resolution=resolution,
        size_px=size,
    )
    path, chosen = dataset_path(name), api_of(api)
    source = StacSource(chosen, query)
    typer.echo(f"{api}: {source.items:,} items for {len(source.addresses):,} patches", err=True)
    root = f"{chosen.url}?collections={collection}&datetime={datetime or '..'}&cloud={max_cloud:g}&size={size}"
    with dataset.progress_bar(f"{name}: patches") as show:
        report = ingest(
            source,
            path,
            keep_pixels=True,
            progress=show,
            root=root,
            threads=chosen.connections,
            trust_addresses=True,
        )
    passed = list(source.passed_over.values())
    for failure in passed[:LISTED]:
        typer.echo(f"  passed over: {failure.address}: {failure.reason}", err=True)
    if len(passed) > LISTED:
        typer.echo(f"  … and {len(passed) - LISTED:,} more items.", err=True)
    dataset.tell(name, report, as_json=as_json)
    if passed:
        raise typer.Exit(1)

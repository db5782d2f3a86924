"""Options of ``samewhere index`` that say where rows are written beside the directory: to Milvus."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class StoreName(StrEnum):
    """Where rows are written."""

    local = "local"
    milvus = "milvus"


StoreOption = Annotated[StoreName, typer.Option(help="Write the rows to Milvus too; --uri says where.")]
UriOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Of Milvus: a file ….db, or http(s)://host:19530; a token comes from the environment."
    ),
]


def milvus_address(store: StoreName, uri: str | None) -> str | None:
    """The address that the options name, None for the directory alone; refused before anything is made."""
    if (store == StoreName.milvus) != (uri is not None):
        raise typer.BadParameter("--store milvus and --uri ADDRESS go together.")
    if uri is None:
        return None
    from indexer.milvus_address import Address

    return Address.parse(uri).text


def send_to_milvus(place: Path, address: str, *, name: str | None = None) -> str:
    """Write the current snapshot of an index to Milvus, with a bar on standard error; returns the address."""
    from rich.console import Console
    from rich.progress import Progress

    from indexer.milvus_push import push

    begun = time.monotonic()
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("push", total=None)

        def show(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - begun, 1e-9)
            bar.update(task, completed=done, total=total, description=f"push, {rate:,.0f} rows a second")

        try:
            return push(place, address, name=name, progress=show)
        except KeyboardInterrupt:
            typer.echo(f"\nStopped. What was sent is kept: `samewhere index push {address}` goes on.", err=True)
            raise

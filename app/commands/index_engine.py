"""Options of the ``samewhere index`` commands that say where shards are made, and the engine that they name."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from data.cores import cores

if TYPE_CHECKING:
    from indexer.encoder import EncoderPair
    from indexer.engines import Engine


class EngineName(StrEnum):
    """Where shards are made."""

    inline = "inline"
    pool = "pool"
    ray = "ray"


EngineOption = Annotated[EngineName, typer.Option(help="Make shards in this process, in several, or on Ray.")]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Processes of a pool or tasks at a time.")]
AddressOption = Annotated[str | None, typer.Option(help="Of a Ray cluster.", show_default="one on this machine")]
DeviceOption = Annotated[
    str, typer.Option(help="What embeds: cpu, cuda, cuda:1 or mps. Another rounds the last digits otherwise.")
]
GpusOption = Annotated[
    float | None, typer.Option(min=0, help="GPUs of each Ray task, or a share of one.", show_default="none")
]


def own_device(chosen: EngineName, device: str) -> str:
    """Where this process loads the encoders: on the device if it embeds itself, else workers load them there."""
    return device if chosen == EngineName.inline else "cpu"


def make_engine(
    chosen: EngineName,
    pair: EncoderPair,
    *,
    workers: int | None,
    address: str | None,
    gpus: float | None,
    device: str,
) -> Engine:
    """The engine that the options name.

    Raises:
        typer.BadParameter: an option belongs to another engine.
    """
    from functools import partial

    from indexer.encoder import load_encoder
    from indexer.engines import Inline, Pool, Ray

    if chosen != EngineName.ray:
        for option, value in (("--address", address), ("--gpus", gpus)):
            if value is not None:
                raise typer.BadParameter(f"{option} needs --engine ray.")
    if chosen == EngineName.inline:
        if workers is not None:
            raise typer.BadParameter("--workers needs --engine pool or ray.")
        return Inline(pair)
    many = workers or cores()
    load = partial(load_encoder, pair.name, "pair", device)
    if chosen == EngineName.pool:
        return Pool(load, pair.fingerprint, many)
    return Ray(load, pair.fingerprint, many, address, gpus or 0.0)

"""``samewhere data pull``: datasets from the hub, verified, into huggingface_hub's own cache.

Owns the choice of shards and what is believed of a download. Every file must have the size and the SHA-256 that the hub
lists for it; one that has not is removed, named, and the others go on. A connection that breaks is taken up where it
broke, and a second run fetches only what is missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from data.errors import SamewhereError, SourceError
from data.files import sha256

EPILOG = "Example: samewhere data pull s2-100k --shards 0-9"
REPOSITORIES = {"s2-100k": "torchgeo/s2-100k"}
INDEX = "index.csv"
SHARD = re.compile(r"data/shard-(\d+)\.tar")


def pull(
    name: Annotated[str, typer.Argument(help="Dataset: s2-100k.")],
    shards: Annotated[
        str | None, typer.Option(help="Which shards, as 0-9 or 0,4,7-9; all of them where not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Download a dataset and verify it; what is there already is verified too."""
    if name not in REPOSITORIES:
        raise SourceError(f"{name!r} cannot be pulled; there is {', '.join(REPOSITORIES)}.")
    ranges = None if shards is None else parse_shards(shards)
    commit, listed = _listing(REPOSITORIES[name])
    wanted = _choose(listed, ranges)
    typer.echo(f"{name}: {len(wanted) - 1} shards, {sum(listed[file].size for file in wanted) / 1e9:,.1f} GB", err=True)
    root, damaged = Path(), []
    for number, file in enumerate(wanted):
        path = _fetch(REPOSITORIES[name], file, commit)
        root = path.parent if file == INDEX else root
        promised = listed[file].lfs.sha256 if listed[file].lfs else None
        if path.stat().st_size != listed[file].size or (promised and sha256(path) != promised):
            path.resolve().unlink()  # the cache's own copy, to which this name is a link
            path.unlink(missing_ok=True)
            damaged.append(file)
        typer.echo(f"{number + 1}/{len(wanted)} {file} {'DAMAGED' if file in damaged else 'verified'}", err=True)
    if as_json:
        typer.echo(json.dumps({"name": name, "path": str(root), "files": len(wanted), "damaged": damaged}, indent=2))
    else:
        typer.echo(f"{root}\nNext: samewhere data add {root} --name {name}")
    if damaged:
        typer.echo(
            f"Not what the hub promised, and removed: {', '.join(damaged)}. Run the command again to fetch them anew.",
            err=True,
        )
        raise typer.Exit(1)


def parse_shards(text: str) -> list[tuple[int, int]]:
    """Read ``0-9`` or ``0,4,7-9``: first and last number of each range.

    Raises:
        SourceError: it is none of these.
    """
    ranges = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last:
            raise SourceError(f"--shards: expected numbers and ranges such as 0-9 or 0,4,7-9, got {text!r}.")
        ranges.append((first, last))
    return ranges


def _choose(listed: dict[str, Any], ranges: list[tuple[int, int]] | None) -> list[str]:
    """The index and the shards of some ranges, by number."""
    there = {int(found[1]): file for file in listed if (found := SHARD.fullmatch(file))}
    if INDEX not in listed or not there:
        raise SourceError("The hub's dataset has no index.csv and data/shard-*.tar (any more). Update Samewhere.")
    for first, last in ranges or []:
        if missing := {first, last} - set(there):
            raise SourceError(f"--shards: there is no shard {min(missing)}; there are {min(there)} to {max(there)}.")
    chosen = sorted(n for n in there if ranges is None or any(first <= n <= last for first, last in ranges))
    return [INDEX, *(there[number] for number in chosen)]


def _listing(repository: str) -> tuple[str, dict[str, Any]]:
    """The newest commit and its files, with the sizes and hashes that the hub keeps them under."""
    from huggingface_hub import HfApi

    with _hub_errors(repository):
        found = HfApi(endpoint=os.environ.get("HF_ENDPOINT")).dataset_info(repository, files_metadata=True, timeout=30)
        return str(found.sha), {file.rfilename: file for file in found.siblings or []}


def _fetch(repository: str, file: str, commit: str) -> Path:
    from huggingface_hub import hf_hub_download

    endpoint = os.environ.get("HF_ENDPOINT")
    with _hub_errors(f"{repository}, {file}"):
        return Path(hf_hub_download(repository, file, repo_type="dataset", revision=commit, endpoint=endpoint))


@contextlib.contextmanager
def _hub_errors(what: str) -> Iterator[None]:
    try:
        yield
    except SamewhereError:
        raise
    except Exception as error:  # the HTTP library, and with it its errors, changes with huggingface_hub's version
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(
            f"{what}: could not be fetched from the hub ({reason}). Run the command again when that is mended: it goes "
            "on where it broke."
        ) from error

"""Sends a snapshot to Milvus, so that it is there whole or not at all.

Owns the order of writing: rows, then files, then a look at whether all have come, then the pointer that makes the
snapshot the current one. What is there already is not sent again, so a push that was cut off goes on where it stopped,
and one of a snapshot that shares its cells with the last sends its tiles alone.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import IndexStoreError
from indexer.files import disk_errors, sha256
from indexer.milvus_address import Address
from indexer.milvus_client import TEXT_BYTES, VECTOR, Milvus
from indexer.milvus_layout import (
    PART_BYTES,
    TEXTS,
    Pointer,
    current_name,
    fields_of,
    files_name,
    light_files,
    part_count,
    pointers,
    rows_name,
)
from indexer.object_store import sha256_of
from indexer.rows import KINDS, vectors_of
from indexer.snapshot import MANIFEST, Manifest, check_files, held_snapshot

AT_ONCE = {"cells": 2000, "tiles": 500}
"""Rows a request; a tile's picture may have 64 kB, and a request at most 64 MB."""
AT_ONCE_BYTES = 16 << 20
KEPT = 2
"""Snapshots that stay: the current one, and the one that readers may have open."""

Sent = Callable[[int, int], None]
"""Is told rows that are there, and rows in all."""


def push(index: Path, address: str, *, name: str | None = None, progress: Sent | None = None) -> str:
    """Write the current snapshot of an index to Milvus and make it the current one there.

    Args:
        index: the index, or one of its snapshots.
        address: as :meth:`indexer.milvus_address.Address.parse` reads it.
        name: of the snapshot, where a directory keeps several.
        progress: is told rows done and in all.

    Returns:
        The address under which it is found, as it was read.

    Raises:
        IndexStoreError: the snapshot is damaged, Milvus cannot be reached or written to, or a text is longer than it
            takes.
        MissingDependencyError: the client is not installed.
    """
    place = Address.parse(address)
    with held_snapshot(index, name) as directory:
        with disk_errors(directory, "Reading"):
            manifest = Manifest.read(directory, index=index)
            check_files(directory, manifest, index=index)
            for kind in KINDS:
                for file in (f"{kind}.parquet", f"{kind}.arrow"):
                    if sha256(directory / file) != manifest.files[file]["sha256"]:
                        raise IndexStoreError(
                            f"{directory / file} is damaged and nothing was pushed. Run `samewhere index verify`."
                        )
        with disk_errors(place.file or directory, "Writing to"):
            client = Milvus(place, make=True)
        try:
            known = pointers(client)
            total, before = sum(manifest.counts.values()), 0
            for kind in KINDS:
                done = before

                def told(rows: int, done: int = done) -> None:
                    if progress is not None:
                        progress(done + rows, total)

                _send_rows(client, kind, manifest, directory, told)
                before += manifest.counts[kind]
            sent = _send_files(client, known, manifest, directory)
            _point(client, pointers(client), manifest, *sent)  # others may have pushed meanwhile
        finally:
            client.close()
    return place.text


def _send_rows(client: Milvus, kind: str, manifest: Manifest, directory: Path, told: Callable[[int], None]) -> None:
    """Send the rows of one kind that are not there."""
    name, count = rows_name(client, kind, manifest), manifest.counts[kind]
    path = directory / f"{kind}.parquet"
    dim = int(manifest.checkpoint["dim"])
    fields = fields_of(pq.read_schema(path))
    begun = client.has(name)
    client.make(name, fields, dim=dim)
    client.load(name)
    if not begun or client.count(name) != count:
        step = max(1, min(AT_ONCE[kind], AT_ONCE_BYTES // (4 * dim)))
        first = 0
        for batch in pq.ParquetFile(path).iter_batches(batch_size=step):
            last = first + len(batch)
            there = client.count(name, f"row >= {first} and row < {last}") if begun else 0
            if there != len(batch):
                client.put(name, list(_as_rows(kind, pa.Table.from_batches([batch]), first, fields)), anew=there > 0)
            first = last
            told(first)
        client.flush(name)
        _check_count(client, name, count)
    told(count)


def _as_rows(kind: str, table: pa.Table, first: int, fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows as Milvus takes them.

    Raises:
        IndexStoreError: a text or a picture is longer than it takes.
    """
    columns: dict[str, list[Any]] = {}
    for name in fields:
        if name == "row":
            columns[name] = list(range(first, first + len(table)))
            continue
        values = table[name]
        if pa.types.is_timestamp(values.type):
            values = values.cast(pa.int64())
        plain = values.to_pylist()
        if pa.types.is_binary(values.type):
            plain = [base64.b64encode(value).decode("ascii") for value in plain]
        if fields[name]["datatype"] == "VARCHAR":
            for row, value in enumerate(plain):
                if value is not None and len(value.encode()) > TEXT_BYTES:
                    raise IndexStoreError(
                        f"{kind[:-1]} {table['id'][row].as_py()}: its {name} is {len(value.encode()):,} bytes of text, "
                        f"Milvus takes {TEXT_BYTES:,}. Leave the row out, or make its {name} smaller."
                    )
        columns[name] = plain
    vectors = vectors_of(table)
    for number in range(len(table)):
        yield {name: values[number] for name, values in columns.items()} | {VECTOR: vectors[number]}


def _send_files(client: Milvus, known: list[Pointer], manifest: Manifest, directory: Path) -> tuple[int, str]:
    """Send the manifest and the light tables, if they are not there.

    Returns:
        Size and SHA-256 of the manifest that is there: ours, or that of an equal snapshot built at another time.
    """
    name, files = files_name(client, manifest.fingerprint), light_files(manifest)
    tables = sum(part_count(size) for _, size, _ in files)
    if client.has(name):
        client.load(name)
        for earlier in known:
            if earlier.fingerprint == manifest.fingerprint and client.count(name) == part_count(earlier.size) + tables:
                return earlier.size, earlier.sha256
        client.drop(name)  # of a push that was cut off
    client.make(name, TEXTS, dim=2)
    client.load(name)
    texts: list[dict[str, Any]] = []
    number = 0
    for path in (directory / file for file in (MANIFEST, *(file for file, _, _ in files))):
        with path.open("rb") as opened:
            while part := opened.read(PART_BYTES):
                texts.append(_text(number, base64.b64encode(part).decode("ascii")))
                number += 1
                if len(texts) == AT_ONCE_BYTES // TEXT_BYTES:
                    client.put(name, texts)
                    texts = []
    if texts:
        client.put(name, texts)
    client.flush(name)
    content = (directory / MANIFEST).read_bytes()
    _check_count(client, name, part_count(len(content)) + tables)
    return len(content), sha256_of(content)


def _text(number: int, content: str) -> dict[str, Any]:
    """A row of a collection of texts; each collection must have a vector."""
    return {"number": number, "content": content, VECTOR: [0.0, 0.0]}


def _point(client: Milvus, known: list[Pointer], manifest: Manifest, size: int, digest: str) -> None:
    """Make the snapshot the current one, and let go of those that are older than the one before it."""
    name = current_name(client)
    if known and (known[-1].fingerprint, known[-1].sha256) == (manifest.fingerprint, digest):
        return
    pointer = Pointer(
        number=known[-1].number + 1 if known else 1,
        fingerprint=manifest.fingerprint,
        size=size,
        sha256=digest,
        collections=(*(rows_name(client, kind, manifest) for kind in KINDS), files_name(client, manifest.fingerprint)),
    )
    client.make(name, TEXTS, dim=2)
    client.load(name)
    client.put(name, [_text(pointer.number, pointer.text())], anew=True)
    client.flush(name)
    kept = [*known, pointer][-KEPT:]
    gone = [old for old in known if old not in kept]
    needed = {collection for entry in kept for collection in entry.collections}
    for old in gone:
        for collection in old.collections:
            if collection not in needed and client.has(collection):
                client.drop(collection)
    if gone:
        client.delete(name, [old.number for old in gone])
        client.flush(name)


def _check_count(client: Milvus, name: str, expected: int) -> None:
    """Refuse to go on where rows are missing or doubled."""
    seen = client.count(name)
    if seen != expected:
        raise IndexStoreError(
            f"{client.address.text} ({name}) has {seen:,} rows where {expected:,} were sent. Nothing was made current; "
            "run the push again."
        )

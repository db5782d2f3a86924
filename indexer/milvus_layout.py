"""How an index lies in Milvus: collections, what commits them, and how the small part of it comes back to a client.

::

    samewhere_cells_0123456789abcdef   a row a cell: row number, light columns, embedding
    samewhere_tiles_fedcba9876543210   a row a tile: the same, and its thumbnail in base64
    samewhere_files_0011223344556677   the manifest and both light tables, cut into texts of base64
    samewhere_current                  names snapshots and the SHA-256 of their manifests; the highest number is current

Owns that layout. Rows are named by the SHA-256 of their row file, so a snapshot shares the collections of rows that it
has in common with the last; files are named by the snapshot's fingerprint. Nothing in a collection is changed once its
snapshot is committed. Nothing that comes from a server is trusted before its size and SHA-256 are those that were
promised, and its types those of a manifest and of rows.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock

from data.errors import IndexStoreError
from indexer.files import disk_errors, durable, sync_directory
from indexer.milvus_client import TEXT_BYTES, VECTOR, Milvus
from indexer.rows import KINDS, TEXT, extra_columns, light, read_light, schema
from indexer.snapshot import MANIFEST, Manifest

PART_BYTES = TEXT_BYTES // 4 * 3
"""Bytes of a file that one text of base64 holds."""
PARTS_AT_ONCE = 256
MANIFEST_BYTES = 1 << 24
MOST_FIELDS = 60
"""Of 64 that a collection may have; further columns are in the light table alone."""
TEXTS: dict[str, dict[str, Any]] = {
    "number": {"datatype": "INT64", "is_primary": True},
    "content": {"datatype": "VARCHAR", "max_length": TEXT_BYTES},
}
"""Fields of the collections that hold texts."""
_NUMBERS = {
    pa.uint8(): "INT16",
    pa.int8(): "INT16",
    pa.int16(): "INT16",
    pa.uint16(): "INT32",
    pa.int32(): "INT32",
    pa.uint32(): "INT64",
    pa.int64(): "INT64",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
}
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Pointer:
    """An entry of ``…_current``.

    Attributes:
        number: the highest is the current one.
        fingerprint: of the snapshot, 64 hex digits.
        size: bytes of its manifest.
        sha256: of its manifest.
        collections: that it needs.
    """

    number: int
    fingerprint: str
    size: int
    sha256: str
    collections: tuple[str, ...]

    def text(self) -> str:
        """As it is stored."""
        entry = {"size": self.size, "sha256": self.sha256}
        content = {"fingerprint": self.fingerprint, "manifest": entry, "collections": list(self.collections)}
        return json.dumps(content, sort_keys=True)


def current_name(client: Milvus) -> str:
    """The collection of pointers."""
    return f"{client.address.prefix}_current"


def files_name(client: Milvus, fingerprint: str) -> str:
    """The collection of a snapshot's manifest and light tables."""
    return f"{client.address.prefix}_files_{fingerprint[:16]}"


def rows_name(client: Milvus, kind: str, manifest: Manifest) -> str:
    """The collection of a kind of rows."""
    return f"{client.address.prefix}_{kind}_{manifest.files[f'{kind}.parquet']['sha256'][:16]}"


def fields_of(layout: pa.Schema) -> dict[str, dict[str, Any]]:
    """The fields of a collection of rows, without the vector; ``row`` is the key.

    Every column but extras whose names or types Milvus does not take; those are in the light table alone. Times are
    microseconds since 1970, cells are INT64 (their highest bit is 0), thumbnails base64.

    Args:
        layout: of the row file, or of the light table.
    """
    fields: dict[str, dict[str, Any]] = {"row": {"datatype": "INT64", "is_primary": True}}
    for column in layout:
        name, kind = column.name, column.type
        plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", name) and name not in ("row", VECTOR)
        if not plain or (len(fields) > MOST_FIELDS and name != "thumbnail"):
            continue
        cell = kind == pa.uint64() and (name in ("id", "key") or name.startswith("parent_"))
        if cell or pa.types.is_timestamp(kind):
            options: dict[str, Any] = {"datatype": "INT64"}
        elif kind in _NUMBERS:
            options = {"datatype": _NUMBERS[kind]}
        elif pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_binary(kind):
            options = {"datatype": "VARCHAR", "max_length": TEXT_BYTES}
        else:
            continue
        fields[name] = options | ({"nullable": True} if column.nullable else {})
    return fields


def pointers(client: Milvus) -> list[Pointer]:
    """Every pointer, the current one last; none where nothing was pushed.

    Raises:
        IndexStoreError: Milvus cannot be asked, or one of them is no pointer.
    """
    name = current_name(client)
    if not client.has(name):
        return []
    client.load(name)
    found = client.query(name, "number >= 0", ["number", "content"])
    return sorted((_read_pointer(client, row) for row in found), key=lambda pointer: pointer.number)


def _read_pointer(client: Milvus, row: dict[str, Any]) -> Pointer:
    try:
        content = json.loads(row["content"])
        found = Pointer(
            number=int(row["number"]),
            fingerprint=str(content["fingerprint"]),
            size=int(content["manifest"]["size"]),
            sha256=str(content["manifest"]["sha256"]),
            collections=tuple(str(name) for name in content["collections"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise no_index(client, f"holds no pointer to an index ({type(error).__name__})") from error
    own = re.compile(re.escape(client.address.prefix) + r"_(cells|tiles|files)_[0-9a-f]{16}")
    digests = _DIGEST.fullmatch(found.fingerprint) and _DIGEST.fullmatch(found.sha256)
    if (
        not digests
        or not 0 < found.size <= MANIFEST_BYTES
        or not all(own.fullmatch(name) for name in found.collections)
    ):
        raise no_index(client, "holds a pointer that is none of an index")
    return found


def part_count(size: int) -> int:
    """How many texts a file of so many bytes is."""
    return -(-size // PART_BYTES)


def light_files(manifest: Manifest) -> list[tuple[str, int, str]]:
    """The light tables of a snapshot: name, size and SHA-256; their parts follow the manifest's in this order."""
    files = [(f"{kind}.arrow", manifest.files[f"{kind}.arrow"]) for kind in KINDS]
    return [(name, int(entry["size"]), str(entry["sha256"])) for name, entry in files]


def fetch_light(client: Milvus, cache: Path) -> tuple[Manifest, dict[str, pa.Table]]:
    """The manifest and the light tables of the current snapshot; each snapshot's are fetched once and kept.

    Args:
        client: an open connection.
        cache: a folder for what is fetched; made if need be.

    Returns:
        The manifest, and the mapped light table of each kind.

    Raises:
        IndexStoreError: there is no index, Milvus cannot be asked, or it holds something else than it promises.
    """
    known = pointers(client)
    if not known:
        raise IndexStoreError(f"{client.address.text} holds no index. Push one there, or correct the address.")
    pointer = known[-1]
    directory = cache / pointer.fingerprint
    with disk_errors(cache, "Fetching into"):
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / "fetch.lock"):
            if not _is_whole(directory):
                _fetch(client, pointer, directory)
        manifest = Manifest.read(directory, index=client.address.text)
        return manifest, {kind: read_light(directory / f"{kind}.arrow") for kind in KINDS}


def _is_whole(directory: Path) -> bool:
    """Whether a snapshot's manifest and light tables are here; their contents were checked when they were fetched."""
    try:
        manifest = Manifest.read(directory, index=directory)
    except IndexStoreError:
        return False
    return all(
        (directory / name).is_file() and (directory / name).stat().st_size == size
        for name, size, _ in light_files(manifest)
    )


def _fetch(client: Milvus, pointer: Pointer, directory: Path) -> None:
    """Bring a snapshot's manifest and light tables here. The manifest gets its name last, when all is good."""
    name, fetched = files_name(client, pointer.fingerprint), directory / "fetched"
    if not client.has(name):
        raise no_index(client, f"lacks the collection {name}")
    client.load(name)
    fetched.mkdir(parents=True, exist_ok=True)
    _read_file(client, name, 0, fetched / MANIFEST, (pointer.size, pointer.sha256))
    try:
        manifest = Manifest.read(fetched, index=client.address.text)
        plain = _is_plain(manifest)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise no_index(client, f"holds a manifest that is none ({type(error).__name__})") from error
    if not plain or manifest.fingerprint != pointer.fingerprint:
        raise no_index(client, "holds the manifest of another snapshot than it says, or one that is none")
    at = part_count(pointer.size)
    for file, size, digest in light_files(manifest):
        _read_file(client, name, at, directory / file, (size, digest))
        at += part_count(size)
    for kind in KINDS:
        _check_table(client, manifest, kind, directory)
    (fetched / MANIFEST).replace(directory / MANIFEST)
    sync_directory(directory)
    fetched.rmdir()


def _read_file(client: Milvus, name: str, first: int, to: Path, promised: tuple[int, str]) -> None:
    """Fetch a file from its texts, and keep it if its size and SHA-256 are what was promised."""
    seen, size, end = hashlib.sha256(), 0, first + part_count(promised[0])
    with durable(to) as file:
        for start in range(first, end, PARTS_AT_ONCE):
            numbers = list(range(start, min(start + PARTS_AT_ONCE, end)))
            rows = client.query(name, f"number in {numbers}", ["number", "content"])
            found = {row["number"]: row["content"] for row in rows}
            for number in numbers:
                try:
                    content = base64.b64decode(found[number], validate=True)
                except (KeyError, TypeError, ValueError) as error:
                    raise no_index(client, f"lacks part {number} of {name} ({to.name}), or it is damaged") from error
                file.write(content)
                seen.update(content)
                size += len(content)
        if (size, seen.hexdigest()) != promised:
            raise no_index(client, f"holds another {to.name} in {name} than was promised")


def _is_plain(manifest: Manifest) -> bool:
    """Whether every entry that is used has the type it should have."""

    def is_count(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40

    entries = [manifest.files[f"{kind}.{suffix}"] for kind in KINDS for suffix in ("arrow", "parquet")]
    made_by = manifest.checkpoint
    return (
        all(is_count(manifest.counts[kind]) for kind in KINDS)
        and all(is_count(entry["size"]) and _DIGEST.fullmatch(entry["sha256"]) for entry in entries)
        and all(is_count(entry["size"]) for entry in manifest.files.values())
        and is_count(made_by["dim"])
        and 0 < made_by["dim"] <= 1 << 15
        and isinstance(made_by["name"], str)
        and isinstance(made_by["fingerprint"], str)
        and all(isinstance(name, str) and is_count(rows) for name, rows in manifest.sources.items())
        and isinstance(manifest.parameters, dict)
        and isinstance(manifest.search, dict)
        and isinstance(manifest.failed, list)
    )


def _check_table(client: Milvus, manifest: Manifest, kind: str, directory: Path) -> None:
    """Refuse a light table that is none: what is mapped later is not looked at again."""
    try:
        table = read_light(directory / f"{kind}.arrow")
        table.validate(full=True)
        right = schema(kind, 1, extra_columns(table.schema) if kind == "tiles" else None)
        coded = pa.dictionary(pa.int32(), pa.string())
        fits = sorted(table.column_names) == sorted(light(right)) and all(
            table.schema.field(name).type == (coded if name in TEXT else right.field(name).type)
            and (right.field(name).nullable or not table[name].null_count)
            for name in light(right)
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        raise no_index(client, f"holds no table of {kind} ({type(error).__name__})") from error
    if not fits or len(table) != manifest.counts[kind]:
        raise no_index(client, f"holds a table of {kind} with other columns or rows than its manifest promises")


def no_index(client: Milvus, what: str) -> IndexStoreError:
    """The sentence about a server that holds something else than an index."""
    return IndexStoreError(
        f"{client.address.text} {what}. Do not use it; push the index again from where it was built: "
        f"`samewhere index push {client.address.text}`."
    )

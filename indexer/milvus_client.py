"""Milvus as this project uses it: one address, one client, few verbs, and its troubles as sentences.

Owns the differences between the embedded Milvus (a file of this machine) and a cluster, the limits of both, and the
words about what goes wrong. The same client speaks to both. A token comes from ``SAMEWHERE_MILVUS_TOKEN``
(``user:password``, or a key) and is never shown.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import IndexStoreError, MissingDependencyError
from indexer.encoder import Vectors
from indexer.milvus_address import TOKEN, Address
from indexer.vectors import Rows

LIMIT = 16384
"""Most answers of one request, and most rows that one query returns: Milvus's own limit."""
TEXT_BYTES = 65535
"""Longest text: Milvus's own limit."""
CONNECT_S, CALL_S = 10.0, 120.0
VECTOR = "embedding"


@dataclass(frozen=True)
class Ranked:
    """What one search request brought, for each of Q queries.

    Attributes:
        rows: (m,) row numbers of each query, best first.
        scores: (m,) products of each, as Milvus computed them.
    """

    rows: list[Rows]
    scores: list[Vectors]


class Milvus:
    """An open connection; many threads may use one."""

    def __init__(self, address: Address, *, make: bool = False) -> None:
        """Connect.

        Args:
            address: where.
            make: whether an embedded file is made where there is none.

        Raises:
            IndexStoreError: there is nothing there, it cannot be reached or is in use, or the token is refused.
            MissingDependencyError: the client is not installed, or for a file the embedded Milvus.
        """
        self.address = address
        self._pymilvus = _import("pymilvus")
        for module in ("pymilvus", "milvus_lite"):  # they log what they raise, with a traceback
            logging.getLogger(module).setLevel(logging.CRITICAL)
        if address.file is not None:
            _import("milvus_lite")
            if make:
                address.file.parent.mkdir(parents=True, exist_ok=True)
            elif not address.file.exists():
                raise IndexStoreError(f"{address.text} does not exist. Push an index there, or correct the path.")
        _Files.hold(address.file)
        try:
            with self.trouble("Opening"):
                self._client = self._pymilvus.MilvusClient(
                    address.uri, token=os.environ.get(TOKEN, ""), timeout=CONNECT_S, dedicated=True
                )
        except BaseException:
            _Files.release(address.file)
            raise
        self._open = True

    def close(self) -> None:
        """Close the connection, and an embedded file with the last one to it; a second time does nothing."""
        if self._open:
            self._open = False
            with contextlib.suppress(Exception):  # it is gone either way
                self._client.close()
            _Files.release(self.address.file)

    @contextlib.contextmanager
    def trouble(self, doing: str, name: str = "") -> Iterator[None]:
        """The client's errors inside the block as one sentence.

        Raises:
            IndexStoreError: always instead of them.
        """
        where = f"{self.address.text} ({name})" if name else self.address.text
        try:
            yield
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("pymilvus", "grpc", "milvus_lite"):
                raise
            raise IndexStoreError(f"{doing} {where} failed: {self._reason(error)}") from None

    def _reason(self, error: Exception) -> str:
        """Why, and what to do. What a server says is shortened and stripped: it may hold anything."""
        said = str(getattr(error, "message", "") or "")
        low = said.lower()
        if "auth" in low or "permission" in low or "denied" in low:
            return f"access is denied. Check the environment variable {TOKEN} (user:password, or a key)."
        if "open local milvus failed" in low:
            return (
                "it cannot be opened: another process has it open (only one may), it is no file of Milvus, or the disk "
                "refuses. Close the other process, or correct the path."
            )
        if not said or "connect" in low or "unavailable" in low or "deadline" in low or "timeout" in low:
            return "nobody answers there. Check that Milvus is running, the host and the port, and TLS (milvus+tls://)."
        plain = re.sub(r"[^\x20-\x7e]+", " ", said)[:200].strip()
        return f"Milvus says: {plain.rstrip('.')}."

    def has(self, name: str) -> bool:
        """Whether there is a collection of that name."""
        with self.trouble("Looking into", name):
            return bool(self._client.has_collection(name, timeout=CALL_S))

    def make(self, name: str, fields: Mapping[str, Mapping[str, Any]], *, dim: int) -> None:
        """Make a collection if there is none: its fields, then ``embedding`` with an index that compares every row.

        Args:
            name: of the collection.
            fields: options of each field by name, as ``{"datatype": "INT64", "is_primary": True}``.
            dim: D of the vectors.
        """
        if self.has(name):
            return
        kinds = self._pymilvus.DataType
        with self.trouble("Making a collection in", name):
            schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
            for field, options in fields.items():
                schema.add_field(field, **{**options, "datatype": getattr(kinds, options["datatype"])})
            schema.add_field(VECTOR, kinds.FLOAT_VECTOR, dim=dim)
            index = self._client.prepare_index_params()
            index.add_index(VECTOR, index_type="FLAT", metric_type="IP")
            self._client.create_collection(
                name, schema=schema, index_params=index, consistency_level="Strong", timeout=CALL_S
            )

    def load(self, name: str) -> None:
        """Make a collection ready to be asked."""
        with self.trouble("Loading", name):
            self._client.load_collection(name, timeout=CALL_S)

    def put(self, name: str, rows: Sequence[Mapping[str, Any]], *, anew: bool = False) -> None:
        """Send rows; ``anew`` replaces those that have the same key."""
        with self.trouble("Writing to", name):
            send = self._client.upsert if anew else self._client.insert
            send(name, [dict(row) for row in rows], timeout=CALL_S)

    def flush(self, name: str) -> None:
        """Have all that was sent on the disk, where it is seen."""
        with self.trouble("Writing to", name):
            self._client.flush(name, timeout=CALL_S)

    def drop(self, name: str) -> None:
        """Remove a collection."""
        with self.trouble("Removing a collection of", name):
            self._client.drop_collection(name, timeout=CALL_S)

    def delete(self, name: str, ids: Sequence[int]) -> None:
        """Remove rows by their key."""
        with self.trouble("Writing to", name):
            self._client.delete(name, ids=list(ids), timeout=CALL_S)

    def count(self, name: str, expression: str = "") -> int:
        """How many rows there are, or pass."""
        with self.trouble("Counting in", name):
            found = self._client.query(name, filter=expression, output_fields=["count(*)"], timeout=CALL_S)
            return int(found[0]["count(*)"])

    def query(self, name: str, expression: str, fields: Sequence[str]) -> list[dict[str, Any]]:
        """Some columns of the rows that pass, in any order; at most ``LIMIT`` of them."""
        with self.trouble("Reading", name):
            found = self._client.query(name, filter=expression, output_fields=list(fields), limit=LIMIT, timeout=CALL_S)
            return [dict(row) for row in found]

    def search(self, name: str, queries: Vectors, limit: int, expression: str = "") -> Ranked:
        """The rows with the largest products, of each of (Q, D) queries."""
        with self.trouble("Searching", name):
            found = self._client.search(
                name,
                [np.ascontiguousarray(query, dtype=np.float32) for query in queries],
                filter=expression,
                limit=limit,
                output_fields=["row"],
                anns_field=VECTOR,
                search_params={"metric_type": "IP"},
                timeout=CALL_S,
            )
            rows: list[NDArray[np.int64]] = [np.array([hit["row"] for hit in hits], dtype=np.int64) for hits in found]
            scores = [np.array([hit["distance"] for hit in hits], dtype=np.float32) for hits in found]
        return Ranked(rows, scores)


class _Files:
    """Embedded files of this process: each is served while any connection to it is open."""

    _lock = threading.Lock()
    _open: dict[str, int] = {}  # noqa: RUF012  # shared by all, on purpose

    @classmethod
    def hold(cls, file: Path | None) -> None:
        """One connection more."""
        if file is not None:
            with cls._lock:
                cls._open[str(file.absolute())] = cls._open.get(str(file.absolute()), 0) + 1

    @classmethod
    def release(cls, file: Path | None) -> None:
        """One less; with the last one other processes may open the file."""
        if file is None:
            return
        with cls._lock:
            cls._open[str(file.absolute())] -= 1
            if not cls._open[str(file.absolute())]:
                del cls._open[str(file.absolute())]
                from milvus_lite.server_manager import server_manager_instance

                server_manager_instance.release_server(str(file))


def _import(module: str) -> Any:
    """A module of the extra ``milvus``.

    Raises:
        MissingDependencyError: it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.replace("_", "-")
        raise MissingDependencyError(
            f'Milvus needs the package {package}, which is not installed. Run: pip install -e ".[milvus]"'
        ) from error

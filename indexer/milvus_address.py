"""Addresses of indexes in Milvus.

Owns their form. Refuses those that carry credentials, because addresses are printed: a token comes from
``SAMEWHERE_MILVUS_TOKEN``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from data.errors import IndexStoreError

SCHEMES = ("milvus://", "milvus+tls://")
TOKEN = "SAMEWHERE_MILVUS_TOKEN"  # the variable's name
PREFIX = "samewhere"
PORT = 19530
_FILE = re.compile(r"(?P<file>.*[^/]\.db)(?:/(?P<prefix>[A-Za-z_][A-Za-z0-9_]{0,99}))?/?")
_HOST = re.compile(
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*)|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/(?P<prefix>[A-Za-z_][A-Za-z0-9_]{0,99}))?/?"
)


@dataclass(frozen=True)
class Address:
    """Where collections lie.

    Attributes:
        text: as it is printed and can be given again: ``milvus:///folder/world.db``, ``milvus://host:19530/prefix``, or
            ``milvus+tls://…`` for a cluster behind TLS.
        uri: as the client takes it: a file, or http(s)://host:port.
        prefix: of the collections' names.
        file: of an embedded Milvus, None for a cluster.
    """

    text: str
    uri: str
    prefix: str
    file: Path | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address: of the forms above, or a file ``….db``, or ``http(s)://host:port[/prefix]``.

        Raises:
            IndexStoreError: it is none, or carries credentials.
        """
        scheme, found, rest = text.partition("://")
        if not found:
            scheme, rest = "milvus", text
        if scheme in ("http", "https"):
            scheme = "milvus+tls" if scheme == "https" else "milvus"
        if scheme not in ("milvus", "milvus+tls"):
            raise IndexStoreError(f"{scheme}:// is no address of Milvus. {_FORMS}")
        if any(sign in rest for sign in "@?#"):
            raise IndexStoreError(
                "An address of Milvus holds no credentials and no options, because it is printed. Leave out what "
                f"stands before @ or after ? and #, and put the token into the environment variable {TOKEN}."
            )
        if scheme == "milvus" and (match := _FILE.fullmatch(rest)):
            file, prefix = Path(match["file"]).expanduser(), match["prefix"] or PREFIX
            ending = "" if prefix == PREFIX else f"/{prefix}"
            return cls(f"milvus://{file}{ending}", str(file), prefix, file)
        match = _HOST.fullmatch(rest)
        port = int(match["port"] or PORT) if match else 0
        if match is None or not 0 < port < 1 << 16:
            raise IndexStoreError(f"{text!r} is no address of Milvus. {_FORMS}")
        place, prefix = f"{match['host']}:{port}", match["prefix"] or PREFIX
        ending = "" if prefix == PREFIX else f"/{prefix}"
        return cls(f"{scheme}://{place}{ending}", f"http{'s' if '+' in scheme else ''}://{place}", prefix, None)


_FORMS = (
    "Write milvus:///folder/world.db for a file of this machine, milvus://host:19530 for a cluster (milvus+tls:// for "
    "one behind TLS), and /prefix behind either where several indexes share it."
)


def is_milvus(address: str) -> bool:
    """Whether an address says that it is one of Milvus."""
    return address.startswith(SCHEMES)

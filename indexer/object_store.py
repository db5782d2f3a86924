"""One folder of an object store: reading by ranges, listing, and writing what is not there yet.

Owns the differences between stores, and their troubles as sentences. Nothing is ever overwritten or deleted here: an
object is written whole, by put-if-absent, or not at all. Refuses addresses that carry credentials, because addresses
are printed; each store's own variables and files (as ``AWS_PROFILE``, ``AWS_ENDPOINT_URL``) say who asks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec

from data.errors import IndexStoreError, MissingDependencyError
from data.files import TEMPORARY, sync_directory

PACKAGES = {"s3": "s3", "s3a": "s3"}
"""The extra that a protocol needs, by protocol."""
WRITABLE = ("file", "memory", "s3", "s3a")
"""Protocols whose put-if-absent is one step. fsspec's default looks first and writes then: two would win."""
_CLIENTS = ("botocore", "aiobotocore", "aiohttp")
_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "412")
_MEMORY = threading.Lock()


class ObjectStore:
    """A folder of objects at an address such as ``s3://bucket/folder``, ``memory://folder`` or ``file:///folder``."""

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        """Reach no network yet.

        Args:
            url: the folder. A path without a protocol is one on this machine.
            options: for the protocol's client, as ``{"anon": True}`` for a public bucket.

        Raises:
            IndexStoreError: it is no such address, or carries credentials.
            MissingDependencyError: the protocol's client is not installed.
        """
        plain = "://" not in url
        parts = urlsplit(url)
        protocol = "file" if plain else parts.scheme
        if protocol not in ("file", "memory") and ("@" in parts.netloc or parts.query or parts.fragment):
            raise IndexStoreError(
                f"An address of {protocol}:// may hold a bucket and a folder only, because it is printed. Leave out "
                "what stands before @ or after ?, and give credentials in the environment, as AWS_PROFILE."
            )
        self.address = url.rstrip("/")
        self.protocol = protocol
        try:
            self._fs, root = fsspec.core.url_to_fs(
                url, **{"use_listings_cache": False, "skip_instance_cache": True} | dict(options or {})
            )
        except ImportError as error:
            extra = PACKAGES.get(protocol)
            action = f'pip install -e ".[{extra}]"' if extra else f"install fsspec's client for {protocol}://"
            raise MissingDependencyError(
                f"{self.address} needs a package that is not installed. Run: {action}"
            ) from error
        except ValueError as error:
            raise IndexStoreError(
                f"{self.address}: {protocol}:// is no kind of store that is known. Use s3://bucket/folder, or a path."
            ) from error
        self._root = str(root).rstrip("/")
        if not self._root.strip("/"):
            raise IndexStoreError(f"{self.address} names no folder. Use an address such as s3://bucket/folder.")

    def names(self, folder: str = "") -> set[str]:
        """Names of the objects right in a folder; none where there is no such folder."""
        path = self._path(folder)
        with self._trouble("Listing"):
            try:
                found = self._fs.ls(path, detail=False)
            except FileNotFoundError:
                self._check_bucket()
                return set()
        return {str(name).rstrip("/").rpartition("/")[2] for name in found}

    def size(self, name: str) -> int | None:
        """Bytes of an object, None where there is none."""
        with self._trouble("Looking into"):
            try:
                return int(self._fs.info(self._path(name))["size"])
            except FileNotFoundError:
                return None

    def read(self, name: str, start: int, end: int) -> bytes:
        """Bytes ``start`` to ``end`` of an object; fewer where it ends before.

        Raises:
            IndexStoreError: there is none, or the store cannot be reached.
        """
        with self._trouble("Reading", name):
            return bytes(self._fs.cat_file(self._path(name), start=start, end=end)) if end > start else b""

    def put(self, name: str, content: bytes | Path) -> bool:
        """Write an object if its name is free; whoever reads sees the whole of it or nothing.

        Returns:
            Whether it was written; False where the name is taken.

        Raises:
            IndexStoreError: the store cannot be written to, or not in this way.
        """
        if self.protocol not in WRITABLE:
            raise IndexStoreError(
                f"{self.address} can be read but not written to: that {self.protocol}:// never overwrites what another "
                f"has written is not known. Use one of {', '.join(f'{p}://' for p in WRITABLE)}."
            )
        with self._trouble("Writing to", name):
            try:
                return self._put(self._path(name), content)
            except FileExistsError:
                return False
            except OSError as error:  # stores that speak S3 do not all say which of the conditions failed
                if _code(error) in _TAKEN:
                    return False
                raise

    def _put(self, path: str, content: bytes | Path) -> bool:
        if self.protocol == "file":
            _link(Path(path), content)
        elif self.protocol == "memory":
            with _MEMORY:  # looks, then writes
                self._fs.pipe_file(path, content.read_bytes() if isinstance(content, Path) else content, mode="create")
        elif isinstance(content, Path):
            self._fs.put_file(str(content), path, mode="create")
        else:
            self._fs.pipe_file(path, content, mode="create")
        return True

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _check_bucket(self) -> None:
        """Tell an empty folder from a bucket that does not exist: a listing answers both in the same way."""
        bucket = self._root.lstrip("/").partition("/")[0]
        if self.protocol in ("s3", "s3a") and not self._fs.exists(bucket):
            raise IndexStoreError(f"{self.address}: there is no bucket {bucket}. Make it, or correct the address.")

    @contextlib.contextmanager
    def _trouble(self, doing: str, name: str = "") -> Iterator[None]:
        """A client's errors as sentences. What the client says is left out: it may hold keys and signed addresses."""
        where = f"{self.address}/{name}" if name else self.address
        try:
            yield
        except FileNotFoundError:
            reason = "there is no such bucket or object. Correct the address, or push an index there"
        except PermissionError:
            reason = (
                "access is denied. Check the credentials (for S3: AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret)"
            )
        except OSError as error:
            told = os.strerror(error.errno) if error.errno else type(error).__name__
            reason = f"{told}. Check the network and the address, and run it again; what was copied is kept"
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in _CLIENTS:
                raise
            reason = _client_reason(error)
        else:
            return
        raise IndexStoreError(f"{doing} {where} failed: {reason}.") from None


def _client_reason(error: Exception) -> str:
    """Why a client gave up before the store answered."""
    kind = type(error).__name__
    if "Credential" in kind or "Token" in kind or "Profile" in kind:
        return f"no usable credentials ({kind}). Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret"
    if "Region" in kind or "Validation" in kind or ("Endpoint" in kind and "Connection" not in kind):
        return f"the address or the settings cannot be used ({kind}). Check the bucket's name and AWS_ENDPOINT_URL"
    return f"the store cannot be reached ({kind}). Check the network and AWS_ENDPOINT_URL, and run it again"


def _code(error: BaseException) -> str:
    """The code that an S3 store gave, '' where the error has another cause."""
    response = getattr(error.__cause__, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _link(path: Path, content: bytes | Path) -> None:
    """Put-if-absent on a disk: write beside, then link, which fails where the name is taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{TEMPORARY}")
    try:
        with temporary.open("xb") as file:
            if isinstance(content, Path):
                with content.open("rb") as given:
                    while block := given.read(1 << 24):
                        file.write(block)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def sha256_of(content: bytes) -> str:
    """SHA-256 of some bytes, 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def is_plain_name(name: object) -> bool:
    """Whether a name from elsewhere is that of a file in its folder, and nothing that leads out of it."""
    return isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) is not None

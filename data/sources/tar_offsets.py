"""Where each file lies in a plain tar archive, so that it can be read in place.

Owns the walk over an archive's headers, done once: the offsets are kept below ``SAMEWHERE_HOME`` and hold as long as
the archive's size and time do. A damaged stretch hides the files in it and no others; it is listed with the rest, so
that somebody counts it. Nothing is ever extracted.

Source:
    POSIX.1-1988 ustar: headers and contents fill blocks of 512 bytes; two blocks of zeros end an archive.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from data.errors import SourceError
from data.files import durable
from data.home import home

BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class Offsets:
    """What an archive holds.

    Attributes:
        size: bytes of the archive.
        mtime_ns: when it was last written.
        members: (name, first byte, bytes) of every regular file, in the order of the archive.
        damage: (first byte, byte after the last) of what is neither a file nor padding.
    """

    size: int
    mtime_ns: int
    members: list[tuple[str, int, int]]
    damage: list[tuple[int, int]]


def is_tar(head: bytes) -> bool:
    """Whether a file that begins with these 512 bytes is an uncompressed tar archive."""
    return head[257:262] == b"ustar"


def offsets_of(archive: Path) -> Offsets:
    """Offsets of an archive, from an earlier walk where it is the same archive.

    Raises:
        SourceError: it cannot be read, or is no plain tar archive.
    """
    try:
        status = archive.stat()
        kept = _kept_at(archive)
        with suppress(OSError, ValueError, TypeError, KeyError):  # damaged, or by another version: walk again
            fields = json.loads(kept.read_text(encoding="utf-8"))
            if (fields["size"], fields["mtime_ns"]) == (status.st_size, status.st_mtime_ns):
                return Offsets(
                    status.st_size,
                    status.st_mtime_ns,
                    [(*m,) for m in fields["members"]],
                    [(*d,) for d in fields["damage"]],
                )
        with archive.open("rb") as file:
            if not is_tar(file.read(BLOCK)):
                raise SourceError(
                    f"{archive}: not a plain tar archive. Download it again, or unpack what is compressed (gunzip)."
                )
            file.seek(0)
            members, damage = _walk(file, status.st_size)
    except OSError as error:
        raise SourceError(f"{archive}: cannot be read ({error.strerror or error}). Check the file.") from error
    offsets = Offsets(status.st_size, status.st_mtime_ns, members, damage)
    with suppress(OSError):  # a home that cannot be written costs a walk each time, no more
        kept.parent.mkdir(parents=True, exist_ok=True)
        with durable(kept) as out:
            out.write(json.dumps(asdict(offsets)).encode())
    return offsets


def _walk(file: BinaryIO, size: int) -> tuple[list[tuple[str, int, int]], list[tuple[int, int]]]:
    """Read every header. What lies between the end of one file and the next header should be nothing but zeros."""
    members: dict[str, tuple[str, int, int]] = {}  # as in tar itself, a later file of the same name replaces an earlier
    gaps = []
    end = 0
    with suppress(tarfile.TarError), tarfile.TarFile(fileobj=file, ignore_zeros=True) as tar:
        while (member := tar.next()) is not None:
            if member.offset > end:
                gaps.append((end, member.offset))
            end = tar.offset  # where the next header should begin
            if member.isreg():
                members.pop(member.name, None)
                members[member.name] = (member.name, member.offset_data, member.size)
    damage = [gap for gap in gaps if not _zeros(file, *gap)]
    if end <= size and not (size - end >= BLOCK and _zeros(file, end, size)):
        damage.append((end, size))  # an archive without its end has lost nobody knows how much
    return list(members.values()), damage


def _zeros(file: BinaryIO, start: int, stop: int) -> bool:
    file.seek(start)
    while start < stop:
        content = file.read(min(1 << 20, stop - start))
        if not content or content.strip(b"\0"):
            return False
        start += len(content)
    return True


def _kept_at(archive: Path) -> Path:
    name = hashlib.sha256(str(archive.resolve()).encode()).hexdigest()[:32]
    return home() / "tar-offsets" / f"{name}.json"

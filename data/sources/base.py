"""What every source of patches has in common: addresses in a fixed order, and reading one of them.

Owns the seam between files, products and catalogues on one side and ingestion on the other. A source knows how many
patches it has without reading them, so shards are ranges of its addresses and a job resumes at a shard. One patch that
cannot be read costs that patch alone: it is counted and named in the shard's report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from data.errors import SamewhereError, SkippedPatch
from data.patch import Patch

Level = Literal["L1C", "L2A"]
AHEAD = 16
"""Patches that are in memory at a time while a shard is read: 50 MB of 256 × 256 × 12."""


@dataclass(frozen=True)
class Record:
    """A patch and what a catalogue keeps beside the patch's own fields.

    Attributes:
        patch: reflectance with NaN for nodata, bands, lonlat, gsd_m, acquired.
        address: where it came from; the source's ``read`` gives it again.
        footprint: (N, 2) degrees, outline on the ground, open ring with longitudes continuous, or None.
        level: "L1C", "L2A", or None where that is not known.
        cloud_percent: 0…100 of the patch under cloud, or None.
    """

    patch: Patch
    address: str
    footprint: NDArray[np.float64] | None = None
    level: Level | None = None
    cloud_percent: float | None = None


class Source(Protocol):
    """Patches that can be counted, sliced and read.

    Attributes:
        kind: of source, as "geotiff" or "s2-100k".
        addresses: of every patch, in an order that is the same each time.
    """

    kind: str
    addresses: Sequence[str]

    def read(self, address: str) -> Record:
        """Read one patch.

        Raises:
            SkippedPatch: it is left out on purpose; the message is a reason that many patches share.
            PatchError: it cannot be read; the sentence says why.
        """


@dataclass(frozen=True)
class Failure:
    """One patch that could not be read, and why."""

    address: str
    reason: str


@dataclass
class ShardReport:
    """What came of one shard.

    Attributes:
        read: patches.
        skipped: reason → how many were left out on purpose.
        failed: what could not be read.
    """

    read: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    failed: list[Failure] = field(default_factory=list)


def shard_ranges(count: int, size: int) -> list[range]:
    """Ranges of ``size`` addresses, the last one perhaps shorter."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def read_all(
    source: Source, addresses: Sequence[str], report: ShardReport, *, pool: ThreadPoolExecutor | None = None
) -> Iterator[Record]:
    """Read what can be read, in order, and write into ``report`` what cannot.

    Args:
        source: of the patches.
        addresses: of those to read.
        report: of the shard.
        pool: threads that read at the same time, each a few patches ahead; by default one after the other.
    """

    def attempt(address: str) -> Record | SamewhereError:
        try:
            return source.read(address)
        except SamewhereError as error:
            return error

    for rows in shard_ranges(len(addresses), AHEAD):
        some = addresses[rows.start : rows.stop]
        for address, result in zip(some, (pool.map if pool else map)(attempt, some), strict=True):
            if isinstance(result, SkippedPatch):
                report.skipped[str(result)] += 1
            elif isinstance(result, SamewhereError):
                report.failed.append(Failure(address, str(result)))
            else:
                report.read += 1
                yield result

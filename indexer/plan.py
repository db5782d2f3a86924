"""Cuts what is wanted into shards, the unit that a killed job redoes.

Owns the rule: a shard is a run of whole H3 parents of one source, in the order of the rows. So shards of a source never
share a parent, and the same rows always give the same shards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.geo import RESOLUTION_BITS, Cells, cell_parent
from indexer.sources import Wanted

SHARD_ROWS = {"cells": 2401, "tiles": 343}
"""Some 25 shards of each kind over the Earth's land: a kill costs about a second of work."""


@dataclass(frozen=True, eq=False)
class Shard:
    """Some rows to make in one go: their kind and source, which one in order, and their ids."""

    kind: str
    source: str
    number: int
    ids: NDArray[Any]

    @property
    def file_name(self) -> str:
        """Name of the shard's row file."""
        return f"{self.kind}-{self.source}-{self.number:05d}.parquet"


def plan_shards(kind: str, source: str, ids: NDArray[Any], keys: Cells, *, rows: int) -> list[Shard]:
    """Cut rows into shards of about ``rows`` rows.

    Args:
        kind: ``cells`` or ``tiles``.
        source: of the rows.
        ids: (N,) of the rows.
        keys: (N,) of the rows, ascending.
        rows: the size to aim at; a shard is at most one parent larger, unless more stand in a single point.
    """
    if not len(ids):
        return []
    for resolution in range(16):  # the coarsest parents that are no larger than a shard should be
        parents = cell_parent(keys | RESOLUTION_BITS, resolution)
        starts = np.flatnonzero(np.diff(parents, prepend=np.uint64(0)))
        sizes = np.diff(starts, append=len(ids))
        if int(sizes.max()) <= rows:
            break
    cuts, filled = [0], 0
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        if filled >= rows:
            cuts, filled = [*cuts, start], 0
        filled += size
    return [Shard(kind, source, n, part) for n, part in enumerate(np.split(ids, cuts[1:]))]


def plan_digest(wanted: Iterable[tuple[str, Wanted]]) -> str:
    """SHA-256 over every source's ids and contents: two plans with the same digest make the same rows."""
    digest = hashlib.sha256()
    for source, rows in wanted:
        digest.update(f"{source} {len(rows.ids)} ".encode())
        digest.update(np.ascontiguousarray(rows.keys).tobytes())
        if rows.ids.dtype != np.uint64:
            digest.update("\n".join(rows.ids.tolist()).encode())
        digest.update(np.ascontiguousarray(rows.content).tobytes())
    return digest.hexdigest()

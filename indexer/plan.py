"""Cuts a set of cells into shards, the unit that a killed build redoes.

Owns the rule: a shard is a run of whole H3 parents, in id order. So shards never share a parent, their
concatenation is sorted by id, and the same cells always give the same shards.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from data.geo import Cells, cell_parent


@dataclass(frozen=True)
class Shard:
    """Some rows to make in one go: what they are (``cells`` or ``tiles``), which one in order, and their ids."""

    kind: str
    number: int
    ids: Cells

    @property
    def file_name(self) -> str:
        """Name of the shard's row file."""
        return f"{self.kind}-{self.number:05d}.parquet"


def plan_shards(kind: str, ids: Cells, *, rows: int) -> list[Shard]:
    """Cut ids into shards of about ``rows`` rows.

    Args:
        kind: ``cells`` or ``tiles``.
        ids: (N,) uint64 of one resolution, ascending.
        rows: the size to aim at; a shard is at most one parent larger.
    """
    if not len(ids):
        return []
    own = (int(ids[0]) >> 52) & 15
    for resolution in range(own + 1):  # the coarsest parents that are no larger than a shard should be
        starts = np.flatnonzero(np.diff(cell_parent(ids, resolution), prepend=np.uint64(0)))
        sizes = np.diff(starts, append=len(ids))
        if int(sizes.max()) <= rows:
            break
    cuts, filled = [0], 0
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        if filled >= rows:
            cuts, filled = [*cuts, start], 0
        filled += size
    return [Shard(kind, n, part) for n, part in enumerate(np.split(ids, cuts[1:]))]


def plan_digest(shards: list[Shard]) -> str:
    """SHA-256 over every shard's ids: two plans with the same digest make the same rows."""
    digest = hashlib.sha256()
    for shard in shards:
        digest.update(f"{shard.file_name} {len(shard.ids)} ".encode())
        digest.update(shard.ids.tobytes())
    return digest.hexdigest()

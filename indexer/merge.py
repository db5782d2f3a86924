"""Joins row files to one, in order: shards just made and rows that an older snapshot holds already.

Owns the merge. Every input ascends, so each is read once from front to back, one row group at a time; what comes out
does not depend on how the rows were spread over the inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from indexer.rows import open_writer, sort_rows


@dataclass(frozen=True)
class Input:
    """A row file, and which of its rows count: (N,) bool, or None for all."""

    path: Path
    kept: NDArray[np.bool_] | None = None


def merge_rows(file: BinaryIO, inputs: Sequence[Input], layout: pa.Schema, *, row_group: int) -> int:
    """Write the rows of all inputs to one Parquet file, by key and id. Of two rows of one id the first input's stays.

    Args:
        file: to write to.
        inputs: row files, each in order.
        layout: columns of the result; a column that an input lacks is null there.
        row_group: rows in each of the result's groups.

    Returns:
        How many rows were written.
    """
    kept, keys, ids, origin = [], [], [], []
    for number, source in enumerate(inputs):
        table = pq.read_table(source.path, columns=["key", "id"])
        mask = np.ones(len(table), dtype=bool) if source.kept is None else source.kept
        kept.append(mask)
        keys.append(table["key"].to_numpy()[mask])
        column = table["id"].to_numpy()
        ids.append((column if column.dtype == np.uint64 else column.astype(np.str_))[mask])
        origin.append(np.full(int(mask.sum()), number))
    total = 0
    with open_writer(file, layout) as writer:
        if not sum(map(len, keys)):
            return 0
        all_ids, source_of = np.concatenate(ids), np.concatenate(origin)
        doubled = np.ones(len(all_ids), dtype=bool)  # maybe with another key: a place may be given a metre apart
        doubled[np.unique(all_ids, return_index=True)[1]] = False
        _forget(kept, source_of, np.flatnonzero(doubled))
        order = sort_rows(np.concatenate(keys)[~doubled], all_ids[~doubled])
        sequence = source_of[~doubled][order]
        readers = [_Reader(source.path, mask, layout) for source, mask in zip(inputs, kept, strict=True)]
        starts = np.flatnonzero(np.r_[True, sequence[1:] != sequence[:-1]])
        ends = np.r_[starts[1:], len(sequence)]
        waiting: list[pa.Table] = []
        rows = 0
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            for part in readers[sequence[start]].take(end - start):
                waiting.append(part)
                rows += len(part)
                while rows >= row_group:
                    whole = pa.concat_tables(waiting)
                    writer.write_table(whole[:row_group].combine_chunks(), row_group_size=row_group)
                    waiting, rows, total = [whole[row_group:]], rows - row_group, total + row_group
        if rows:
            writer.write_table(pa.concat_tables(waiting).combine_chunks(), row_group_size=row_group)
    return total + rows


def _forget(kept: list[NDArray[np.bool_]], source_of: NDArray[np.int64], doubled: NDArray[np.int64]) -> None:
    """Take rows out of the masks of their inputs, by position among all rows that were kept."""
    first = np.searchsorted(source_of, np.arange(len(kept)))
    for number, mask in enumerate(kept):
        mine = doubled[source_of[doubled] == number] - first[number]
        mask[np.flatnonzero(mask)[mine]] = False


class _Reader:
    """Gives the kept rows of a row file, as many as are asked for at a time, from front to back."""

    def __init__(self, path: Path, kept: NDArray[np.bool_], layout: pa.Schema) -> None:
        self._parts = self._read(path, kept, layout)
        self._rest: Any = None

    @staticmethod
    def _read(path: Path, kept: NDArray[np.bool_], layout: pa.Schema) -> Iterator[pa.Table]:
        with pq.ParquetFile(path) as file:
            at = 0
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                mask = kept[at : at + size]
                at += size
                if not mask.any():
                    continue
                table = file.read_row_group(group)
                table = table if mask.all() else table.filter(pa.array(mask))
                yield pa.table(
                    [
                        table[field.name] if field.name in table.column_names else pa.nulls(len(table), field.type)
                        for field in layout
                    ],
                    schema=layout,
                )

    def take(self, count: int) -> Iterator[pa.Table]:
        while count:
            if self._rest is None or not len(self._rest):
                self._rest = next(self._parts)
            part = self._rest[:count]
            self._rest = self._rest[len(part) :]
            count -= len(part)
            yield part
